#!/usr/bin/env bash
# Which objective teaches most? A race at one budget of frames and one encoder size: examples/bakeoff.sh CORPORA_DIR
#
# CORPORA_DIR holds libri_mini, an4 and timit_sample, as for examples/real_speech.sh. MODELS are pre-trained: Mockingjay,
# TERA, AALBERT, APC (GRUs), an APC of Transformers, BEST-RQ, and k-means codes in two iterations (codes of the
# filterbank, then of layer 2 of the first iteration's model). They, a Mockingjay with random weights and the filterbank
# are probed: phones (LibriSpeech), speakers and letters (AN4), and held-out CCA of phones by layer. Each model's state at
# half of its budget is probed on phones, too. It ends with tables in Markdown and a page of all runs: tables.md and
# report.html in result/bakeoff/STEPS.
#
#   BUDGET  frames of a model's batches, padding included (default 5550000: 6 minutes of one core for Mockingjay)
#   SEEDS   of pre-training (default 1); the best three by the phones of dev, or those of BEST, get the others
#   BEST    names, as BEST="BEST-RQ codes_it2"
#   MODELS  names, if not all of them; Mockingjay is always there
#   JOBS    side by side (default 2), each on one core
#
# It can be started again and continues.
set -euo pipefail
corpora="$(cd "${1:?usage: examples/bakeoff.sh CORPORA_DIR}" && pwd)"
cd "$(dirname "$0")/.."
. examples/side_by_side.sh
. examples/real_models.sh
export PYTHON="${PYTHON:-python}" OMP_NUM_THREADS=1
budget="${BUDGET:-5550000}" seeds="${SEEDS:-1}" jobs="${JOBS:-2}" batch=3000
all=(codes_it1 codes_it2 Mockingjay TERA AALBERT APC Transformer-APC BEST-RQ)

refuse() { echo "bakeoff.sh: $1" >&2; exit 2; }
known() { # VARIABLE NAMES...: refuse a name that is no model's
    for name in "${@:2}"; do
        case " ${all[*]} " in *" $name "*) ;; *) refuse "$1: no model is called $name: expected some of ${all[*]}" ;; esac
    done
}

for number in "$budget" "$seeds" "$jobs"; do
    [[ "$number" =~ ^[1-9][0-9]{0,11}$ ]] || refuse "BUDGET, SEEDS and JOBS are whole numbers above 0, got $number"
done
steps=$((budget / batch / 4 * 4)) # a multiple of 4: four states are kept, half of the budget is the second
[ "$steps" -ge 4 ] || refuse "BUDGET=$budget: at least $((4 * batch)) frames are needed, 4 updates of $batch"
# shellcheck disable=SC2206  # names without blanks
wanted=(${MODELS:-${all[*]}})
known MODELS "${wanted[@]}"
# shellcheck disable=SC2086
known BEST ${BEST:-}
case " ${wanted[*]} " in *" Mockingjay "*) ;; *) wanted+=(Mockingjay) ;; esac

export steps batch out="result/bakeoff/$steps"
export models="$out/models"
minutes=$(((${#wanted[@]} + 3 * (seeds - 1)) * (6 * steps / 1848 + 6) / jobs + 6 * 2 / jobs + 5))
echo "About $minutes minutes with $jobs jobs side by side: $steps updates of $batch frames a model, then its probes."

named() { # ITERATION SEED: what its codes are called; as in the configs for the first seed and the usual budget
    local name="codes_$1"
    [ "$1" = it1 ] || [ "$steps" = 1848 ] || name+="_$steps"
    [ "$2" = 1 ] || name+="_s$2"
    echo "$name"
}

codes() { # NAME STORE/SPLIT FLAGS...: the codes of a split, unless they are there
    local output="data/${2%%_*}_$1"
    [ -f "$output/${2#*/}.csv" ] ||
        "$PYTHON" runner_mockingjay.py --cluster --input "data/$2" --output "$output" --no-msg "${@:3}"
}

quantise() { # NAME CONFIG FLAGS...: codes of all stores that the config trains on and tests; centroids of LibriSpeech
    local split clusters
    clusters="$(grep -oP '^  size: \K\d+' "$2")" || { echo "$2: no codes.size in it" >&2; return 1; }
    codes "$1" libri_mel160/train-clean-100 --clusters "$clusters" "${@:3}" || return
    for split in libri_mel160/test-other an4_mel160/train an4_mel160/dev timit_mel160/train timit_mel160/dev; do
        codes "$1" "$split" --apply "data/libri_$1/centroids.safetensors" || return
    done
}

targets() { # NAME: these codes, as what is predicted of data.train, data.dev and data.test
    local libri="data/libri_$1" an4="data/an4_$1" timit="data/timit_$1"
    echo "data.target=[$libri/train-clean-100,$an4/train,$timit/train,$an4/dev,$timit/dev,$libri/test-other]"
}

model() { # NAME SEED: pre-train it, or continue it, unless it is finished; how long it took is noted
    local name=$1 seed=$2 config changes stack rate=$((steps / 4)) times="$out/times/$1_s$2.txt" own
    case "$name" in
    BEST-RQ) config=config/bestrq_real.yaml changes="" ;;
    codes_it1)
        config=config/melhubert_real_it1.yaml own="$(named it1 "$seed")"
        stack="$(grep -oP '^  downsample_rate: \K\d+' "$config")" # frames that the model takes together have one code
        quantise "$own" "$config" --seed "$seed" ${stack:+--stack "$stack"} || return
        changes="$(targets "$own")" ;;
    codes_it2)
        model codes_it1 "$seed" || return
        config=config/melhubert_real_it2.yaml own="$(named it2 "$seed")"
        quantise "$own" "$config" --seed "$seed" --layer 2 \
            --upstream "pretrained:$models/codes_it1_s$seed/mockingjay-$steps.ckpt" || return
        changes="$(targets "$own")" ;;
    *) read -r config _ _ changes < <(family | grep " family_$name ") ;;
    esac
    [ -f "$models/${name}_s$seed/mockingjay-$steps.ckpt" ] && return
    mkdir -p "${times%/*}" && echo "start $(date +%s)" >> "$times"
    # shellcheck disable=SC2086  # the changes are words
    pretrain "$config" "${name}_s$seed" "$steps" $changes "loader.batch_frames=$batch" trainer.max_keep=4 \
        "trainer.save_every=$rate" "trainer.eval_every=$rate" --seed "$seed" --logdir "$out/logs" 2>&1 |
        sed "s/^/[$name, seed $seed] /" && echo "end $(date +%s)" >> "$times"
}

pretraining() { # SEED NAMES...: a job a line; the second iteration of codes makes the first, too
    for name in "${@:2}"; do
        case "$name ${*:2} " in "codes_it1 "*" codes_it2 "*) ;; *) echo "$name $1" ;; esac
    done
}

# One line per probe: SEED, DATA-SYSTEM, and its flags; a blank at its end would join it with the next one. An exact probe
# needs no seeds but those of random weights.
probes() { # SEED SYSTEMS...
    local name upstream state layers sum drawn
    local phones="--run phone_linear --config config/real_libri.yaml"
    local speakers="--run speaker_utterance --config config/real_an4.yaml"
    local letters
    letters="--run ctc_char --config config/small_ctc_char.yaml data.text=data/an4_text $(parts an4_mel160)"
    for name in "${@:2}"; do
        state="$models/${name}_s$1/mockingjay" layers="--layer all" sum=--weighted_sum drawn=""
        upstream="--upstream $name=pretrained:$state-$steps.ckpt"
        case "$name" in
        filterbank) # CMVN takes the mean of an utterance, and with it most of a speaker: these are heard without it, too
            upstream="--upstream filterbank=baseline" layers="" sum=""
            echo "$1 an4-filterbank_without_CMVN $upstream $speakers $(parts an4_mel160_raw)" ;;
        random) upstream="--upstream random=random:$models/Mockingjay_s$1/mockingjay-$steps.ckpt" drawn="--seeds 3" ;;
        *) echo "$1 libri_half-$name --upstream $name=pretrained:$state-$((steps / 2)).ckpt $layers $phones" ;;
        esac
        echo "$1 libri-$name $upstream $layers $drawn $phones"
        echo "$1 an4-$name $upstream $layers $drawn $speakers"
        echo "$1 an4-$name $upstream $sum $letters"
    done
}

probe() { # SEED NAME FLAGS...: run it, or continue it; what is finished is only read
    "$PYTHON" run_downstream.py "${@:3}" --expdir "$out/seed$1" --logdir "log/log_downstream/${out#result/}/seed$1" \
        --no-msg --resume=auto --name "$2" 2>&1 |
        sed "s/^/[seed $1, $2] /"
}

analyse() { # NAME FLAGS...: run it, or continue it, unless it is finished
    [ -f "$out/result_analysis/$1/result.json" ] || "$PYTHON" run_analysis.py "${@:2}" data.alignment=data/libri_phones \
        --expdir "$out" --name "$1" --resume=auto --no-msg
}

layers() { # every model's layers beside phones, and codes beside phones
    local name upstreams=() stores=()
    for name in "${wanted[@]}"; do
        upstreams+=(--upstream "$name=pretrained:$models/${name}_s1/mockingjay-$steps.ckpt")
        case "$name" in codes_*) stores+=("$name=data/libri_$(named "${name#codes_}" 1)/test-other") ;; esac
    done
    upstreams+=(--upstream "random=random:$models/Mockingjay_s1/mockingjay-$steps.ckpt" --upstream filterbank=baseline)
    analyse layers --run cca_phone "${upstreams[@]}" \
        "data.store=[data/libri_mel160/train-clean-100,data/libri_mel160/test-other]"
    [ ${#stores[@]} = 0 ] || analyse codes --run units_phone "units.store=[$(IFS=,; echo "${stores[*]}")]"
}

export -f family pretrain named codes quantise targets model probe
prepare
prepare_texts
pretraining 1 "${wanted[@]}" | side_by_side model
probes 1 "${wanted[@]}" random filterbank | side_by_side probe
layers
if [ "$seeds" -gt 1 ]; then
    # shellcheck disable=SC2206
    best=(${BEST:-$("$PYTHON" examples/table_of_bakeoff.py "$out" | sed -n 's/^Best three by the phones of dev: //p')})
    for seed in $(seq 2 "$seeds"); do pretraining "$seed" "${best[@]}"; done | side_by_side model
    for seed in $(seq 2 "$seeds"); do probes "$seed" "${best[@]}"; done | side_by_side probe
fi
"$PYTHON" examples/table_of_bakeoff.py "$out" | tee "$out/tables.md"
"$PYTHON" run_report.py "$out" --title "A race of objectives" --baseline filterbank --figures 60 --logdir "$out/logs"
