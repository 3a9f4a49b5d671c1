"""Flags of the originals that we do not have, and what to type instead; every command line answers them."""

ANSWERS = {
    "multi_gpu": "type torchrun --nproc_per_node=N runner_mockingjay.py --train ... for N GPUs",
    "kaldi_data": "pre-training reads stores; make one by preprocess/preprocess_any.py --data_path DIR "
    "(or a CSV of paths), then --train data.train=[data/NAME/SPLIT]",
    "load_ws": "type --plot --layer ws:RESULT.json, the result of a probe with --weighted_sum",
    "target": "a store holds no labels; phones and words come from preprocess/preprocess_alignment.py, other features "
    "to predict from data.target=[data/NAME/SPLIT]",
    "n_tokens": "no subwords are made; phone and word labels come from preprocess/preprocess_alignment.py --tier words",
    "save_dir": "type --output_path DIR --name NAME",
    "phone_set": "type preprocess/preprocess_alignment.py --phone_set SET --name NAME, then data.alignment=data/NAME; "
    "of cpc_phone all is in config/s3prl_phone_linear.yaml",
    "input_dim": "leave it out, the store says how wide its features are",
    "plot_attention": "type --plot --output_attention",
    "test_reconstruct": "type --test for the masked loss, --plot --with_head for pictures",
}
