"""Flags of the originals that we do not have, and what to type instead; every command line answers them."""

ANSWERS = {
    "multi_gpu": "type torchrun --nproc_per_node=N runner_mockingjay.py --train ... for N GPUs",
    "kaldi_data": "pre-training reads stores; import the matrices by preprocess/preprocess_kaldi.py --feats "
    "--data_dir DIR --kind KIND --name NAME, then --train data.train=[data/NAME/SPLIT]",
    "load_ws": "type --plot --layer ws:RESULT.json, the result of a probe with --weighted_sum",
    "target": "a store holds no labels; texts as numbers come from preprocess/preprocess_text.py --target, phones with "
    "times from preprocess/preprocess_alignment.py, other features to predict from data.target=[data/NAME/SPLIT]",
    "n_tokens": "a store holds no labels; subwords and words of texts come from preprocess/preprocess_text.py --target "
    "subword --n_tokens N",
    "save_dir": "type --output_path DIR --name NAME",
    "phone_set": "type preprocess/preprocess_alignment.py --phone_set SET --name NAME, then data.alignment=data/NAME; "
    "of cpc_phone all is in config/s3prl_phone_linear.yaml",
    "input_dim": "leave it out, the store says how wide its features are",
    "plot_attention": "type --plot --output_attention",
    "test_reconstruct": "type --test for the masked loss, --plot --with_head for pictures",
}
