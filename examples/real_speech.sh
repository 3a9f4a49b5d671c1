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
python="${PYTHON:-python}"
ckpt=result/result_mockingjay/real/best.ckpt

prepare() {
    "$python" preprocess/preprocess_libri.py --data_path "$corpora/libri_mini" --name libri_mel160
    "$python" preprocess/preprocess_any.py --data_path "$corpora/an4" --feature_type mel --delta --id_from stem \
        --name an4_mel160
    "$python" preprocess/preprocess_any.py --data_path "$corpora/an4" --feature_type mel --delta --id_from stem \
        --no-apply_cmvn --name an4_mel160_raw
    "$python" preprocess/preprocess_timit.py --data_path "$corpora/timit_sample" --drop_sa \
        --dev_speakers FAEM0 MARC0 --test_speakers FTLG0 MBGT0 FAPB0 MBMA1 --name timit_mel160
    local phones=preprocess/preprocess_alignment.py
    [ -d data/libri_phones ] || "$python" $phones --data_path "$corpora/libri_mini/alignments/pocketsphinx" \
        --phone_set arpabet39 --name libri_phones
    [ -d data/mfa_phones ] || "$python" $phones --data_path "$corpora/libri_mini/alignments/mfa" \
        --phone_set arpabet39 --name mfa_phones
    [ -d data/timit_phones ] || "$python" $phones --data_path "$corpora/timit_sample" \
        --phone_set timit39 --name timit_phones
}

pretrain() { # NAME STEPS CHANGES...: run it, or continue it, unless it is finished
    local run="result/result_mockingjay/$1"
    [ -f "$run/mockingjay-$2.ckpt" ] && return
    # shellcheck disable=SC2046
    "$python" runner_mockingjay.py --train --config config/mockingjay_real.yaml --name "$1" trainer.steps="$2" "${@:3}" \
        $(compgen -G "$run/mockingjay-*.ckpt" > /dev/null && echo --resume)
}

# Five models for the same time: NAME, the STEPS that one core did in 6 minutes (each timed beside another on 2 cores),
# and what differs from config/mockingjay_real.yaml.
family() {
    local quick="model.pre_layer_norm=true optimizer.lr=1e-3"
    echo "family_Mockingjay 1850 $quick"
    echo "family_TERA 1900 $quick masking.frequency=16 masking.noise=0.15"
    echo "family_AALBERT 2100 $quick model.share_layers=true"
    echo "family_APC 1500 objective=apc encoder=gru gru.hidden_size=256 optimizer.lr=1e-3"
    echo "family_Transformer-APC 1850 $quick objective=apc"
}

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
    "$python" run_downstream.py "${@:2}" --expdir "$results" $drawn --no-msg --name "$1" \
        $([ -d "$run" ] && echo --resume) 2>&1 | sed "s/^/[$1] /"
}

family_probes() {
    local name ckpt
    while read -r name _; do
        ckpt="--upstream pretrained --ckpt result/result_mockingjay/$name/best.ckpt --layer all"
        echo "libri-$name --config config/real_libri.yaml --run phone_linear $ckpt"
        echo "an4-$name --config config/real_an4.yaml --run speaker_utterance $ckpt"
    done < <(family)
    echo "libri-mel --config config/real_libri.yaml --run phone_linear --upstream baseline"
    echo "an4-mel --config config/real_an4.yaml --run speaker_utterance --upstream baseline"
}

export python
export -f pretrain probe
prepare
if [ "$what" = models ]; then
    for name in "${@:3}"; do
        family | grep "^$name " || { echo "no model is called $name" >&2; exit 2; }
    done | side_by_side pretrain
    exit
elif [ "$what" = family ]; then
    export results=result/real_family
    family | side_by_side pretrain
    family_probes | side_by_side probe
else
    export results=result/real
    pretrain real 6000
    probes | side_by_side probe
fi
"$python" examples/table.py $results
