#!/usr/bin/env bash
# The whole pipeline on the built-in corpus: minutes on two CPU cores. `make demo` runs it; PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python}"
ckpt=result/result_mockingjay/demo/best.ckpt

run() { printf '\n$ python %s\n' "$*"; "$python" "$@"; }

started=$SECONDS
rm -rf result/result_mockingjay/demo log/log_mockingjay/demo result/result_analysis/demo result/demo data/representations \
    log/log_downstream/demo
run preprocess/demo_corpus.py --minutes 20
run preprocess/preprocess_libri.py --data_path data/demo_corpus --name demo_mel160
run preprocess/preprocess_libri.py --data_path data/demo_corpus --name demo_mel160_bare --no-apply_cmvn
run preprocess/preprocess_alignment.py --data_path data/demo_corpus/alignments --name demo_phones
run runner_mockingjay.py --train --config config/mockingjay_demo.yaml --name demo
run runner_mockingjay.py --test --ckpt demo/best.ckpt
run runner_mockingjay.py --plot --num 2 --ckpt demo/best.ckpt --alignment data/demo_phones
run runner_mockingjay.py --plot --with_head --worst --num 2 --ckpt demo/best.ckpt --alignment data/demo_phones
run runner_mockingjay.py --plot --output_attention --num 2 --ckpt demo/best.ckpt --alignment data/demo_phones

run run_analysis.py --run cca_phone,mi_phone --ckpt demo/best.ckpt --controls --name demo \
    "data.store=[data/demo_mel160/dev,data/demo_mel160/test]" data.alignment=data/demo_phones mi.seeds=1

places="--expdir result/demo --logdir log/log_downstream/demo"
phones="--run phone_linear --config config/demo_phones.yaml $places"
speakers="--run speaker_utterance --config config/demo_speakers.yaml $places"
bare="data.train=[data/demo_mel160_bare/train]" # CMVN takes the mean of an utterance, and with it most of a speaker
bare_phones="$bare data.dev=[data/demo_mel160_bare/dev] data.test=[data/demo_mel160_bare/test]"
bare_speakers="$bare"
sgd="probe.solver=sgd optimizer.lr=2e-2 trainer.steps=600 trainer.eval_every=100"
for task in phones speakers; do
    others="bare_$task"
    # shellcheck disable=SC2086  # the flags are words
    run run_downstream.py ${!task} --upstream baseline ${!others} --name "demo-1_filterbank,_without_CMVN"
    run run_downstream.py ${!task} --upstream baseline --name "demo-2_filterbank,_with_CMVN"
    run run_downstream.py ${!task} --upstream random --ckpt "$ckpt" --layer all --name "demo-3_random,_layer_by_dev"
    run run_downstream.py ${!task} --upstream pretrained --ckpt "$ckpt" --layer all \
        --name "demo-4_pre-trained,_layer_by_dev"
    # A sum of layers is trained by steps: its score depends on their rate, those above do not.
    run run_downstream.py ${!task} --upstream pretrained --ckpt "$ckpt" --weighted_sum $sgd \
        --name "demo-5_pre-trained,_weighted_sum_by_SGD"
done

printf '\nTest accuracy (%%). Phones: of speakers and sentences that were never seen. The models take features with CMVN.\n\n'
"$python" examples/table.py result/demo
run run_report.py result --title "The demo" --baseline baseline
printf '\nOpen result/report.html in a browser. Figures: result/result_mockingjay/demo/best-dump, result/result_analysis/demo, result/demo; curves: tensorboard --logdir log/\n'
printf 'Done in %d minutes %d seconds.\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
