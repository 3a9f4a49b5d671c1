#!/usr/bin/env bash
# Real speech, from recordings to a table of probes: examples/real_speech.sh CORPORA_DIR [mockingjay|family|models NAME...]
#
# CORPORA_DIR holds libri_mini (LibriSpeech's layout with alignments/), an4 ({train,dev,test}/<speaker>/*.flac) and
# timit_sample (NLTK's). `mockingjay` (the default) pre-trains one model for about 30 minutes on two cores and probes it
# on phones and speakers, which takes as long; `family` pre-trains five kinds of models for the same time each; `models`
# pre-trains those of the family that are named, and probes nothing. All of it can be started again and continues. JOBS
# jobs run side by side (default 2), each on one core.
set -euo pipefail
corpora="$(cd "${1:?usage: examples/real_speech.sh CORPORA_DIR [mockingjay|family|models NAME...]}" && pwd)"
what="${2:-mockingjay}"
cd "$(dirname "$0")/.."
. examples/side_by_side.sh
. examples/real_models.sh
export PYTHON="${PYTHON:-python}"
ckpt=result/result_mockingjay/real/best.ckpt

tune="probe.solver=sgd optimizer.lr=4e-3 data.fine_tune_frames=3000 trainer.steps=200 trainer.eval_every=50"
sgd="probe.solver=sgd trainer.steps=800 trainer.eval_every=100 optimizer.lr" # what is not one linear layer on one layer

# One line per probe: its data (the column of the table), its system (the row), and the flags. A linear probe of one
# layer is solved for, all layers in one go, and needs no seeds but those of random weights.
phone_probes() { # COLUMN TASK FLAGS...
    local column=$1 task=$2 flags="${*:3} --run $2" rate=2e-2
    case "$task" in phone_1hidden) flags="$flags $sgd=4e-3" rate=4e-3 ;; esac
    local layers="--layer all"
    case "$task" in phone_1hidden) layers="--sweep layer=0,1,2,3" ;; esac
    echo "$column-1_mel $flags --upstream baseline"
    echo "$column-3_random,_layer_by_dev $flags --upstream random --ckpt $ckpt $layers"
    echo "$column-4_pre-trained,_last_layer $flags --upstream pretrained --ckpt $ckpt"
    echo "$column-5_pre-trained,_layer_by_dev $flags --upstream pretrained --ckpt $ckpt $layers"
    echo "$column-6_pre-trained,_weighted_sum_by_SGD $flags --upstream pretrained --ckpt $ckpt --weighted_sum $sgd=$rate"
    case "$column-$task" in libri-phone_linear | libri_10%-phone_linear | timit-phone_linear)
        echo "$column-7_pre-trained,_fine-tuned $flags --upstream pretrained --ckpt $ckpt --fine_tune $tune" ;;
    esac
}

probes() {
    local tenth="data.label_fraction=0.1"
    local speakers="--config config/real_an4.yaml --run speaker_utterance"
    phone_probes libri phone_linear --config config/real_libri.yaml
    phone_probes libri_10% phone_linear --config config/real_libri.yaml $tenth
    phone_probes timit phone_linear --config config/real_timit.yaml
    phone_probes timit_10% phone_linear --config config/real_timit.yaml $tenth
    phone_probes libri phone_1hidden --config config/real_libri.yaml
    phone_probes timit phone_1hidden --config config/real_timit.yaml
    phone_probes mfa phone_linear --config config/real_mfa.yaml
    echo "an4-1_mel $speakers --upstream baseline"
    echo "an4-2_mel_without_CMVN $speakers --upstream baseline" \
        "data.train=[data/an4_mel160_raw/train] data.dev=[data/an4_mel160_raw/dev] data.test=[data/an4_mel160_raw/test]"
    echo "an4-3_random,_layer_by_dev $speakers --upstream random --ckpt $ckpt --layer all"
    echo "an4-4_pre-trained,_last_layer $speakers --upstream pretrained --ckpt $ckpt"
    echo "an4-5_pre-trained,_layer_by_dev $speakers --upstream pretrained --ckpt $ckpt --layer all"
    echo "an4-6_pre-trained,_weighted_sum_by_SGD $speakers --upstream pretrained --ckpt $ckpt --weighted_sum" \
        "probe.solver=sgd trainer.steps=1500 --sweep lr=4e-3,4e-2"
    echo "an4-7_pre-trained,_fine-tuned $speakers --upstream pretrained --ckpt $ckpt --fine_tune $tune"
}

probe() { # NAME FLAGS...: run it, or continue it, unless it is finished
    local upstream task
    upstream="$(grep -oP -- '--upstream \K\S+' <<<"$*")"
    task="$(grep -oP -- '--run \K\S+' <<<"$*")"
    local run="$results/result_${upstream}_$task/$1"
    local drawn="--seeds 3"
    case "$upstream $*" in random* | *solver=sgd*) ;; *) drawn="" ;; esac # all seeds would give the same
    [ -f "$run/summary.json" ] && return
    [ -z "$drawn" ] && grep -q '"value": [0-9]' "$run/result.json" 2> /dev/null && return
    # shellcheck disable=SC2046,SC2086
    "$PYTHON" run_downstream.py "${@:2}" --expdir "$results" --logdir "log/log_downstream/${results##*/}" \
        $drawn --no-msg --name "$1" $([ -d "$run" ] && echo --resume) 2>&1 | sed "s/^/[$1] /"
}

family_probes() {
    local name ckpt
    while read -r _ name _; do
        ckpt="--upstream pretrained --ckpt result/result_mockingjay/$name/best.ckpt --layer all"
        echo "libri-$name --config config/real_libri.yaml --run phone_linear $ckpt"
        echo "an4-$name --config config/real_an4.yaml --run speaker_utterance $ckpt"
    done < <(family)
    echo "libri-mel --config config/real_libri.yaml --run phone_linear --upstream baseline"
    echo "an4-mel --config config/real_an4.yaml --run speaker_utterance --upstream baseline"
}

export -f pretrain probe
prepare
if [ "$what" = models ]; then
    for name in "${@:3}"; do
        family | grep " $name " || { echo "no model is called $name" >&2; exit 2; }
    done | side_by_side pretrain
    exit
elif [ "$what" = family ]; then
    export results=result/real_family
    family | side_by_side pretrain
    family_probes | side_by_side probe
else
    export results=result/real
    pretrain config/mockingjay_real.yaml real 6000
    probes | side_by_side probe
fi
"$PYTHON" examples/table.py $results
