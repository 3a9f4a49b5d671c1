"""Checkpoints as S3PRL's pre-training writes them since 0.3, small and with random weights, made from a seed."""

import argparse
from typing import Any

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.foreign.names import head_names, to_theirs
from mockingjay.model.frame_model import GruModel
from utility.config import build

SIZES = {"layers": 2, "hidden_size": 8, "heads": 2, "ffn_size": 8}
AUDIO = {
    "target_level": -25, "win_ms": 25, "hop_ms": 10, "n_freq": 201, "n_mels": 16, "n_mfcc": 13,
    "input": {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True},
    "target": {"feat_type": "mel", "channel": 1, "log": True, "delta": 0, "cmvn": True},
}  # fmt: skip
KALDI = {
    "kaldi": {"feat_type": "fbank", "fbank": {"num_mel_bins": 16, "frame_length": 25.0, "frame_shift": 10.0}},
    "delta": {"order": 0, "win_length": 5}, "cmvn": {"use_cmvn": True},
}  # fmt: skip
TASK = {
    "loss": "L1", "sequence_length": 1500, "position_encoding_size": 8, "mask_proportion": 0.15,
    "mask_consecutive_min": 7, "mask_consecutive_max": 7, "mask_allow_overlap": True, "mask_bucket_ratio": 1.5,
    "mask_frequency": 0.2, "noise_proportion": 0.0,
}  # fmt: skip
RUN = {
    "runner": {"total_steps": 1000, "gradient_clipping": 5.0, "gradient_accumulate_steps": 4},
    "optimizer": {"name": "AdamW_with_schedule", "lr": 0.0002, "warmup_proportion": 0.07},
}
WIDTH = 16  # of a frame


def transformer(seed: int = 0, pre_layer_norm: bool = False, audio: dict[str, Any] | None = None) -> dict[str, Any]:
    """TERA or Mockingjay on features that `audio` defines (default: S3PRL's online log mel)."""
    ours = {**SIZES, "pre_layer_norm": pre_layer_norm, "embedding_norm": pre_layer_norm}
    config = build(PretrainConfig, {"model": ours})
    weights = new_model(config, WIDTH, WIDTH, seed).state_dict()
    encoder = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    block = {
        "input_dim": -1, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "share_layer": False, "pre_layer_norm": pre_layer_norm,
    }  # fmt: skip
    return {
        "Transformer": to_theirs(encoder, config.model),
        "SpecHead": {theirs: weights[f"head.{ours}"] for ours, (theirs,) in head_names().items()},
        "Step": 2,
        "Args": argparse.Namespace(seed=seed, upstream="tera", device="cpu"),
        "Config": RUN,
        "Upstream_Config": {"transformer": block, "task": dict(TASK), "audio": audio or AUDIO},
    }


def apc(seed: int = 0) -> dict[str, Any]:
    """S3PRL's own APC, which states all of its settings."""
    gru = {"layers": 2, "hidden_size": 8}
    config = build(PretrainConfig, {"objective": "apc", "encoder": "gru", "gru": gru})
    model = new_model(config, WIDTH, WIDTH, seed)
    assert isinstance(model, GruModel)
    names = {"encoder.rnns.": "rnn_layers.", "head.": "postnet."}
    tensors = {}
    for name, value in model.state_dict().items():
        ours, theirs = next(pair for pair in names.items() if name.startswith(pair[0]))
        tensors[theirs + name.removeprefix(ours)] = value
    settings = {
        "model": {"paras": {"num_layers": 2, "hidden_size": 8, "dropout": 0.1, "residual": True}},
        "task": {"sequence_length": 1500, "n_future": 5},
        "data": {"audio": {"feat_type": "fbank", "feat_dim": WIDTH, "frame_length": 25, "frame_shift": 10}},
    }
    about = {"Step": 2, "Args": argparse.Namespace(seed=seed), "Config": {}, "Upstream_Config": settings}
    return {**about, "model": tensors, "config": settings}


def checkpoints() -> dict[str, dict[str, Any]]:
    """One of each kind, by name."""
    return {
        "later_tera": transformer(0),
        "later_preln": transformer(1, pre_layer_norm=True),
        "later_kaldi": transformer(2, audio=KALDI),
        "later_apc": apc(3),
    }
