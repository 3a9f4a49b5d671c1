#!/usr/bin/env bash
# A small race of objectives on the built-in corpus, after examples/demo.sh: examples/demo_bakeoff.sh
#
# Mockingjay, TERA, AALBERT, APC, BEST-RQ and k-means codes of the filterbank are pre-trained for STEPS updates each
# (default 300), and their last layers probed: phones (everyone's optimum) and words (a linear CTC, trained by steps).
# A Mockingjay with random weights and the filterbank stand beside them. Two jobs side by side, each on one core; it can
# be started again and continues. It ends with one page of the demo and the race, result/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/side_by_side.sh
export PYTHON="${PYTHON:-python}" OMP_NUM_THREADS=1
export steps="${STEPS:-300}"
[[ "$steps" =~ ^[1-9][0-9]{0,6}$ ]] || { echo "demo_bakeoff.sh: STEPS is a whole number above 0, got $steps" >&2; exit 2; }
[ -f data/demo_mel160/features.yaml ] || { echo "demo_bakeoff.sh: no built-in corpus: run make demo first" >&2; exit 2; }

race() { # NAME CONFIG CHANGES...: pre-train it, unless it is finished
    local folder=result/result_mockingjay
    [ -f "$folder/race_$1/result.json" ] || "$PYTHON" runner_mockingjay.py --train --config "$2" --name "race_$1" \
        --resume=auto "trainer.steps=$steps" "trainer.eval_every=$((steps / 3 + 1))" "trainer.save_every=$steps" "${@:3}" 2>&1 |
        sed "s/^/[$1] /"
}

probe() { # NAME SPEC FLAGS...: run it, or continue it
    "$PYTHON" run_downstream.py --upstream "$1=$2" --expdir result/race --logdir log/log_downstream/race --name race --resume=auto --no-msg "${@:3}" 2>&1 |
        sed "s/^/[$1] /"
}
export -f race probe

for split in train dev test; do
    [ -f "data/demo_codes/$split.csv" ] && continue
    how="--clusters 100"
    [ "$split" = train ] || how="--apply data/demo_codes/centroids.safetensors"
    # shellcheck disable=SC2086  # the flags are words
    "$PYTHON" runner_mockingjay.py --cluster --input "data/demo_mel160/$split" --output data/demo_codes $how --no-msg
done
[ -d data/demo_text ] || "$PYTHON" preprocess/preprocess_text.py --data_path data/demo_corpus --name demo_text

small=config/mockingjay_demo.yaml
side_by_side race << END
Mockingjay $small
TERA $small masking.frequency=16 masking.noise=0.15
AALBERT $small model.share_layers=true
APC $small objective=apc encoder=gru gru.hidden_size=256
BEST-RQ config/bestrq_demo.yaml
codes config/melhubert_demo.yaml
END

systems() { # a line each: NAME SPEC
    for name in Mockingjay TERA AALBERT APC BEST-RQ codes; do echo "$name pretrained:race_$name"; done
    echo "random random:result/result_mockingjay/race_Mockingjay/best.ckpt"
    echo "filterbank baseline"
}
systems | sed 's/$/ --run phone_linear --config config\/demo_phones.yaml/' | side_by_side probe
parts="data.train=[data/demo_mel160/train] data.dev=[data/demo_mel160/dev] data.test=[data/demo_mel160/test]"
systems | sed "s|$| --run ctc_char --config config/small_ctc_char.yaml $parts data.text=data/demo_text trainer.steps=300|" |
    side_by_side probe
"$PYTHON" run_report.py result --title "The demo, and a small race of objectives" --baseline filterbank
