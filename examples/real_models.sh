# Read by other scripts: corpora and models of real speech. `corpora` is the folder of recordings, PYTHON the interpreter,
# and `models` the folder of pre-training runs, result/result_mockingjay unless it is set.

prepare() { # stores of features and alignments of libri_mini, an4 and timit_sample, unless they are there
    "$PYTHON" preprocess/preprocess_libri.py --data_path "$corpora/libri_mini" --name libri_mel160
    "$PYTHON" preprocess/preprocess_any.py --data_path "$corpora/an4" --feature_type mel --delta --id_from stem \
        --name an4_mel160
    "$PYTHON" preprocess/preprocess_any.py --data_path "$corpora/an4" --feature_type mel --delta --id_from stem \
        --no-apply_cmvn --name an4_mel160_raw
    "$PYTHON" preprocess/preprocess_timit.py --data_path "$corpora/timit_sample" --drop_sa \
        --dev_speakers FAEM0 MARC0 --test_speakers FTLG0 MBGT0 FAPB0 MBMA1 --name timit_mel160
    local phones=preprocess/preprocess_alignment.py
    [ -d data/libri_phones ] || "$PYTHON" $phones --data_path "$corpora/libri_mini/alignments/pocketsphinx" \
        --phone_set arpabet39 --name libri_phones
    [ -d data/mfa_phones ] || "$PYTHON" $phones --data_path "$corpora/libri_mini/alignments/mfa" \
        --phone_set arpabet39 --name mfa_phones
    [ -d data/timit_phones ] || "$PYTHON" $phones --data_path "$corpora/timit_sample" \
        --phone_set timit39 --name timit_phones
}

prepare_texts() { # AN4's texts as symbols, and a language model of its training part
    [ -d data/an4_text ] || "$PYTHON" preprocess/preprocess_text.py --data_path "$corpora/an4/utterances.tsv" \
        --fit_splits train --arpa data/an4.arpa --order 3 --name an4_text
}

pretrain() { # CONFIG NAME STEPS CHANGES...: run it, or continue it, unless it is finished
    local folder="${models:-result/result_mockingjay}"
    [ -f "$folder/$2/mockingjay-$3.ckpt" ] && return
    "$PYTHON" runner_mockingjay.py --train --config "$1" --ckpdir "$folder" --name "$2" --resume=auto \
        trainer.steps="$3" "${@:4}"
}

# Five models for the same time: CONFIG, NAME, the STEPS that one core did in 6 minutes (each timed beside another on 2
# cores), and what differs from the config.
family() {
    local real=config/mockingjay_real.yaml quick="model.pre_layer_norm=true optimizer.lr=1e-3"
    echo "$real family_Mockingjay 1850 $quick"
    echo "$real family_TERA 1900 $quick masking.frequency=16 masking.noise=0.15"
    echo "$real family_AALBERT 2100 $quick model.share_layers=true"
    echo "$real family_APC 1500 objective=apc encoder=gru gru.hidden_size=256 optimizer.lr=1e-3"
    echo "$real family_Transformer-APC 1850 $quick objective=apc"
}

parts() { # STORE: its three parts
    echo "data.train=[data/$1/train] data.dev=[data/$1/dev] data.test=[data/$1/test]"
}
