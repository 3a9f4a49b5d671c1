#!/usr/bin/env bash
# Every pre-training config for STEPS (default 200) updates on the built-in corpus, and a probe of each: a table of dev
# losses and phone accuracies. Batches are small (FRAMES, default 600), for two CPU cores; PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python}" steps="${STEPS:-200}" frames="${FRAMES:-600}"
configs="${CONFIGS:-aalbert_libri_3L aalbert_libri_6L apc_libri apc_libri_transformer mockingjay_libri \
    mockingjay_libri_fbankBase tera_libri_base mockingjay_libri_linearLarge mockingjay_libri_fbankLarge \
    tera_libri_medium tera_libri_large}"

store() { # NAME FLAGS...
    [ -f "data/$1/test.csv" ] ||
        "$python" preprocess/preprocess_libri.py --data_path data/demo_corpus --name "$1" "${@:2}"
}

[ -d data/demo_corpus ] || "$python" preprocess/demo_corpus.py --minutes 20
store demo_mel160
store demo_linear1025 --feature_type linear
store demo_fbank160 --feature_type fbank --delta
store demo_fbank80 --feature_type fbank --no-delta
[ -d data/demo_phones ] ||
    "$python" preprocess/preprocess_alignment.py --data_path data/demo_corpus/alignments --name demo_phones

for config in $configs; do
    features="$(grep -oP 'data/libri_\K(mel160|fbank160|fbank80)' "config/$config.yaml" | head -1)"
    target=()
    grep -q '^  target:' "config/$config.yaml" &&
        target=("data.target=[data/demo_linear1025/train,data/demo_linear1025/dev,data/demo_linear1025/test]")
    parts=()
    for part in train dev test; do parts+=("data.$part=[data/demo_$features/$part]"); done
    [ -f "result/result_mockingjay/family_$config/mockingjay-$steps.ckpt" ] ||
        "$python" runner_mockingjay.py --train --config "config/$config.yaml" --name "family_$config" --no-msg \
            "trainer.steps=$steps" trainer.eval_every=50 trainer.log_every=10 trainer.accumulation=1 \
            "loader.batch_frames=$frames" eval_batches=10 "${parts[@]}" "${target[@]}"
    [ -f "result/family/result_pretrained_phone_linear/$features-$config/result.json" ] ||
        "$python" run_downstream.py --run phone_linear --upstream pretrained --no-msg \
            --ckpt "result/result_mockingjay/family_$config/best.ckpt" --config config/demo_phones.yaml \
            --expdir result/family --logdir log/log_downstream/family --name "$features-$config" "${parts[@]}"
    "$python" - "$config" "log/log_mockingjay/family_$config/metrics.jsonl" <<'PY'
import json, sys
records = [json.loads(line) for line in open(sys.argv[2])]
losses = {r["step"]: round(r["dev_loss"], 4) for r in records if "dev_loss" in r}
print(f"{sys.argv[1]}: dev loss by step {losses}")
PY
done
"$python" examples/table.py result/family
