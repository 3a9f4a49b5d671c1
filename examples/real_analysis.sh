#!/usr/bin/env bash
# What is in the layers of five models of real speech: examples/real_analysis.sh CORPORA_DIR [WORDS_DIR] [LAYERS WIDTH]
#
# CORPORA_DIR holds libri_mini, an4 and timit_sample, as for examples/real_speech.sh. WORDS_DIR (default: words beside
# it) holds word vectors, attributes of words and word similarities; where it is not, what needs them is left out. A
# Mockingjay and an APC are pre-trained for some 10 minutes on one core each. They, the Mockingjay with random weights,
# the filterbank and a HuBERT of random weights (12 layers of 768 unless LAYERS and WIDTH say otherwise) are looked at
# with three samples. It can be started again and continues. JOBS analyses run side by side (default 2), each on one
# core. With that HuBERT they take 15 GB of memory and 20 GB of disk. Needs requirements-hf.txt.
set -euo pipefail
usage="usage: examples/real_analysis.sh CORPORA_DIR [WORDS_DIR] [LAYERS WIDTH]"
corpora="$(cd "${1:?$usage}" && pwd)"
words="$(realpath "${2:-$corpora/../words}")"
layers="${3:-12}" width="${4:-768}"
cd "$(dirname "$0")/.."
. examples/side_by_side.sh
export PYTHON="${PYTHON:-python}"
hubert="data/hubert_${layers}_$width" mockingjay=result/result_mockingjay/family_Mockingjay/best.ckpt

examples/real_speech.sh "$corpora" models family_Mockingjay family_APC
[ -d data/libri_words ] || "$PYTHON" preprocess/preprocess_alignment.py --tier words --name libri_words \
    --data_path "$corpora/libri_mini/alignments/pocketsphinx"
examples/random_hubert.sh "$hubert" "$layers" "$width"

# Every fourth frame in experiments of frames: neighbours say nearly the same. One k-means a sample: three are drawn.
given=(sampling.every=4 mi.seeds=1 data.store=[data/libri_mel160/train-clean-100,data/libri_mel160/test-other]
       data.alignment=data/libri_phones data.words=data/libri_words words.agwe=pronunciation)
if [ -d "$words" ]; then
    given+=("words.vectors=$words/glove_100d.txt.gz" "words.semantic=$words/qvec/semcor_noun_verb.supersenses.en"
            "words.syntactic=$words/qvec/ptb.pos_tags"
            "words.similarity=[$words/word_similarity/EN-MEN-TR-3k.txt,$words/word_similarity/EN-SimVerb-3500.txt,$words/word_similarity/EN-SIMLEX-999.txt,$words/word_similarity/EN-MTurk-771.txt]")
fi
upstreams=(--upstream "Mockingjay=pretrained:$mockingjay" --upstream "random_Mockingjay=random:$mockingjay"
           --upstream APC=pretrained:result/result_mockingjay/family_APC/best.ckpt --upstream filterbank=baseline)
random_hubert=(--upstream "random_HuBERT=random:hf:$hubert")

analyse() { # NAME FLAGS...: run it, or continue it, unless it is finished
    local run="result/real/result_analysis/$1"
    [ -f "$run/result.json" ] && return
    # shellcheck disable=SC2046  # --resume, or no word
    "$PYTHON" run_analysis.py "${@:2}" --expdir result/real --name "$1" $([ -d "$run" ] && echo --resume) 2>&1 |
        sed "s/^/[$1] /"
}

probe() { # NAME FLAGS...: run it, or continue it
    "$PYTHON" run_downstream.py --run phone_linear --config config/real_libri.yaml --resume=auto --expdir result/real \
        --logdir log/log_downstream/real --name "$1" "${@:2}" 2>&1 | sed "s/^/[probe, $1] /"
}

run() { "$@"; }
export -f analyse probe run

tokens=cca_phone,cca_word,cca_agwe,mi_phone,mi_word,awd
[ -d "$words" ] && tokens+=,cca_glove,cca_semantic,cca_syntactic,wordsim
jobs() { # a line each, the longest first
    local all="${upstreams[*]} ${random_hubert[*]}" given="${given[*]}" model="${upstreams[*]:0:2}"
    echo "analyse layers --run $tokens,cca_speaker,cca_mel,cca_intra,cka,shape,segmentation --samples 3 $all $given" \
        cca.memory_mib=5000
    echo "analyse noise --run lnsr --samples 3 ${upstreams[*]:0:6} $given"
    echo "analyse heads --run attention,attention_blocks ${upstreams[*]:0:4} ${random_hubert[*]} $given" \
        attention.utterances=20
    echo "analyse beside --run cca_inter $all $given cca.memory_mib=5000"
    echo "probe weighted $model --weighted_sum --seeds 3 probe.solver=sgd optimizer.lr=2e-2 trainer.steps=800" \
        trainer.eval_every=100
    # Without HuBERT the sums of frames are small enough for groups to resample: these scores have intervals.
    echo "analyse frames --run cca_speaker,cca_mel,cca_intra,cka,shape --samples 3 ${upstreams[*]} $given"
    echo "probe layers $model --layer all"
}

jobs | side_by_side run
probes=result/real/result_Mockingjay_phone_linear
analyse weights --run layer_weights,shape "${upstreams[@]:0:2}" "${given[@]}" "probes.weighted=[$probes/weighted]" \
    "probes.single=[$probes/layers]"
"$PYTHON" examples/layers.py result/real
