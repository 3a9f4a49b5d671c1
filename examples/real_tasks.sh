#!/usr/bin/env bash
# What five representations know of real speech: examples/real_tasks.sh CORPORA_DIR
#
# CORPORA_DIR holds libri_mini, an4 and timit_sample, as for examples/real_speech.sh, fsdd (spoken digits) and nemo_pl
# (Polish emotions), both with their utterances.tsv. A Mockingjay, a TERA and an APC are pre-trained for some 6 minutes
# each. They, the Mockingjay with random weights and the filterbank are given seven tasks. Frozen states: a weighted sum
# for recognition, else the layer that dev chooses. It can be started again and continues. JOBS jobs run side by side
# (default 2), each on one core. Needs requirements-decode.txt.
set -euo pipefail
corpora="$(cd "${1:?usage: examples/real_tasks.sh CORPORA_DIR}" && pwd)"
cd "$(dirname "$0")/.."
. examples/side_by_side.sh
. examples/real_models.sh
export PYTHON="${PYTHON:-python}" results=result/real_tasks
echo "About 45 minutes on two cores: 15 of pre-training, 5 of phones, 20 of recognition, 5 of all else."

store() { # NAME FLAGS...
    "$PYTHON" preprocess/preprocess_any.py --name "$1" --feature_type mel --delta "${@:2}"
}

examples/real_speech.sh "$corpora" models family_Mockingjay family_TERA family_APC
for corpus in fsdd nemo_pl; do
    store "${corpus}_mel160" --data_path "$corpora/$corpus/utterances.tsv"
    store "${corpus}_mel160_raw" --data_path "$corpora/$corpus/utterances.tsv" --no-apply_cmvn
done
prepare_texts
[ -f data/an4_trials.txt ] || "$PYTHON" preprocess/make_trials.py --data_path "$corpora/an4/utterances.tsv" --first 7 \
    --output data/an4_trials.txt

# SYSTEM (a column of the table) UPSTREAM SUFFIX (of the stores' names, or -)
systems() {
    echo "1_filterbank_without_CMVN baseline _raw"
    echo "2_filterbank baseline -"
    echo "3_random random:family_Mockingjay -"
    for name in Mockingjay TERA APC; do echo "4_$name pretrained:family_$name -"; done
}

# One line per probe: DATA-SYSTEM, and its flags. An exact probe needs no seeds but those of random weights.
probes() {
    local system upstream suffix one layers sum swept seeds
    local exact="probe.solver=exact probe.pool=statistics probe.l2=[1,1e-1,1e-2,1e-3,1e-4,1e-5,1e-6]"
    local digits="--run utterance data.labels=$corpora/fsdd/utterances.tsv data.label_column=digit $exact"
    local emotion="--run emotion data.labels=$corpora/nemo_pl/utterances.tsv data.label_column=emotion $exact"
    local phones="data.lexicon=$corpora/an4/an4.dic trainer.steps=800 trainer.eval_every=100"
    local spoken
    spoken="$(parts an4_mel160) data.text=data/an4_text"
    while read -r system upstream suffix; do
        suffix="${suffix/-/}" layers="--layer all" sum=--weighted_sum swept="--sweep layer=0,1,2,3" seeds=""
        case "$upstream" in baseline) layers="" sum="" swept="" ;; random*) seeds="--seeds 3" ;; esac
        one="--upstream ${system#*_}=$upstream"
        if [ -z "$suffix" ]; then
            echo "an4-$system $one --run ctc_char $sum --config config/small_ctc_char.yaml $spoken"
            echo "an4-$system $one --run ctc_phone $sum --config config/small_ctc_phone.yaml $phones --seeds 3 $spoken"
            echo "libri-$system $one --run phone_linear $layers $seeds --config config/real_libri.yaml"
        fi
        echo "fsdd-$system $one $digits $layers $seeds $(parts "fsdd_mel160$suffix")"
        echo "fsdd_leaving_a_speaker_out-$system $one $digits $layers $seeds --folds" \
            "data.train=[data/fsdd_mel160$suffix/train,data/fsdd_mel160$suffix/dev,data/fsdd_mel160$suffix/test]"
        echo "nemo_pl_leaving_a_speaker_out-$system $one $emotion probe.projector=0 $layers $seeds --folds" \
            "data.train=[data/nemo_pl_mel160$suffix/all]"
        echo "an4-$system $one --run asv_cosine probe.pool=statistics data.trials=data/an4_trials.txt $swept $seeds" \
            "data.train=[data/an4_mel160$suffix/train,data/an4_mel160$suffix/dev,data/an4_mel160$suffix/test]"
    done < <(systems)
}

probe() { # NAME FLAGS...: run it, or continue it; what is finished is only read
    "$PYTHON" run_downstream.py "${@:2}" --expdir "$results" --logdir "log/log_downstream/${results##*/}" --no-msg \
        --resume=auto --name "$1" 2>&1 | sed "s/^/[$1] /"
}

# The recogniser of characters once more, with words of the training texts and a language model of them.
lexicon() { # SYSTEM UPSTREAM
    local folder="$results/result_${1#*_}_ctc_char"
    local greedy="$folder/an4-$1" run="$folder/an4_lexicon-$1"
    [ -d "$run" ] || { rm -rf "$greedy.copy" && cp -r "$greedy" "$greedy.copy" && mv "$greedy.copy" "$run"; }
    "$PYTHON" run_downstream.py --run ctc_char --upstream "${1#*_}=$2" --resume "$run" --no-msg \
        --logdir "log/log_downstream/${results##*/}" decode.method=lexicon decode.lm=data/an4.arpa \
        --sweep decode.lm_weight=0.25,0.5,1 --sweep decode.word_score=0,1,2 2>&1 |
        sed "s/^/[an4_lexicon-$1] /"
}

export -f probe lexicon
probes | side_by_side probe
systems | grep -v _raw | side_by_side lexicon

"$PYTHON" examples/table_of_tasks.py "$results"
for data in $(ls -d "$results"/result_filterbank_*/*-2_filterbank); do
    task="${data%/*}" task="${task#*result_filterbank_}" data="${data##*/}" data="${data%%-*}"
    printf '\n%s, %s: against the filterbank\n' "$task" "$data"
    "$PYTHON" run_downstream.py --compare "$results/result_filterbank_$task/$data"-* \
        $(ls -d "$results"/result_*_"$task/$data"-[3-9]*) | grep -v -e ' differs from ' -e '^  '
done
