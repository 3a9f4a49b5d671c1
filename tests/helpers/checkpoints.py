"""Small checkpoints with random weights."""

from pathlib import Path

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from tests.helpers.speech import MEL
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build
from utility.training.checkpoint import save_checkpoint

TRANSFORMER = {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48, "downsample_rate": 3}
GRU = {"objective": "apc", "encoder": "gru", "gru": {"layers": 2, "hidden_size": 24, "prenet_layers": 1}}


def write_checkpoint(
    path: Path, features: FeatureConfig | None = MEL, width: int = 80, seed: int = 5, step: int = 1, **settings: object
) -> Path:
    """A pre-training checkpoint of the config `settings` for frames of `features`, or of `width` numbers."""
    config = build(PretrainConfig, settings)
    width, stated = (width, None) if features is None else (features.dim, as_dict(features))
    about = {"config": as_dict(config), "seed": seed, "input_dim": width, "target_dim": width}
    about |= {"features": stated, "target": stated, "frame_shift": features.frame_shift if features else 0.01}
    weights = new_model(config, width, width, seed).state_dict()
    save_checkpoint(path, "pretrain", {"model": weights, "state": {"step": step}, **about})
    return path
