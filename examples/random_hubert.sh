#!/usr/bin/env bash
# A folder of Transformers' HuBERT without weights, for --upstream random:hf:FOLDER: examples/random_hubert.sh FOLDER LAYERS WIDTH
set -euo pipefail
usage="usage: examples/random_hubert.sh FOLDER LAYERS WIDTH"
folder="${1:?$usage}" layers="${2:?$usage}" width="${3:?$usage}"
mkdir -p "$folder"
printf '{"model_type": "hubert", "num_hidden_layers": %d, "hidden_size": %d, "num_attention_heads": %d,
 "intermediate_size": %d}\n' "$layers" "$width" $((width / 64)) $((4 * width)) > "$folder/config.json"
printf '{"sampling_rate": 16000, "do_normalize": true}\n' > "$folder/preprocessor_config.json"
