#!/usr/bin/env bash
# Phones from any upstream, in one table with what each cost: examples/upstreams.sh CORPORA_DIR CHECKPOINT [LAYERS WIDTH]
#
# CORPORA_DIR holds libri_mini (LibriSpeech's layout with alignments/). All is read straight from the recordings of its
# three readers with a Montreal alignment, one each for train, dev and test. A HuBERT of random weights (12 layers of 768
# unless LAYERS and WIDTH say otherwise), its filterbank control, and CHECKPOINT, a pre-training run of ours, are probed.
# It can be started again and continues; hidden states are kept in data/representations. Needs requirements-hf.txt.
set -euo pipefail
corpora="$(cd "${1:?usage: examples/upstreams.sh CORPORA_DIR CHECKPOINT [LAYERS WIDTH]}" && pwd)"
ckpt="$(realpath "${2:?usage: examples/upstreams.sh CORPORA_DIR CHECKPOINT [LAYERS WIDTH]}")"
layers="${3:-12}" width="${4:-768}"
cd "$(dirname "$0")/.."
python="${PYTHON:-python}" results="${RESULTS:-result/upstreams}" hubert="data/hubert_${3:-12}_${4:-768}"

for reader in 4088 4406 5652; do
    "$python" preprocess/generate_len_for_bucket.py --name "mfa_$reader" --speaker_from none \
        --data_path "$corpora/libri_mini/LibriSpeech/train-clean-100/$reader"
done
[ -d data/mfa_phones ] || "$python" preprocess/preprocess_alignment.py --phone_set arpabet39 --name mfa_phones \
    --data_path "$corpora/libri_mini/alignments/mfa"

examples/random_hubert.sh "$hubert" "$layers" "$width"
printf 'online: {target_level: null, input: {kind: kaldi_fbank, deltas: 1}}\n' > "$hubert/filterbank.yaml"

probe() { # NAME FLAGS...: run it, or continue it
    "$python" run_downstream.py --run phone_linear --config config/real_mfa.yaml --expdir "$results" --name "$1" \
        --logdir "log/log_downstream/${results##*/}" --resume=auto \
        data.split=given data.dev_speakers=[] data.test_speakers=[] data.alignment=data/mfa_phones \
        data.train=[data/mfa_4406/all.csv] data.dev=[data/mfa_4088/all.csv] data.test=[data/mfa_5652/all.csv] "${@:2}"
}

sgd="probe.solver=sgd optimizer.lr=2e-2 trainer.steps=800 trainer.eval_every=100"
# shellcheck disable=SC2086  # the settings are words
probe all_layers --upstream "random_hubert=random:hf:$hubert" --weighted_sum $sgd
probe last_layer --upstream "random_hubert=random:hf:$hubert"
probe frames --upstream filterbank=baseline --online_config "$hubert/filterbank.yaml"
# shellcheck disable=SC2086
probe all_layers --upstream "ours=pretrained:$ckpt" --weighted_sum $sgd
probe last_layer --upstream "ours=pretrained:$ckpt"
"$python" examples/compare.py "$results"
