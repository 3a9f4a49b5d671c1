"""From a config to its model."""

import torch

from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel, GruModel, TransformerModel


def new_model(config: PretrainConfig, input_dim: int, target_dim: int, seed: int) -> FrameModel:
    """An untrained model with weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(config, input_dim, target_dim)


def empty_model(config: PretrainConfig, input_dim: int, target_dim: int) -> FrameModel:
    """The names and shapes of the model that `config` describes; it takes no memory.

    ValueError where its sizes are beyond any."""
    try:
        with torch.device("meta"):
            return build_model(config, input_dim, target_dim)
    except (RuntimeError, OverflowError, TypeError):
        raise ValueError("the sizes in its config are beyond any memory") from None


def build_model(config: PretrainConfig, input_dim: int, target_dim: int) -> FrameModel:
    """The model that `config` describes."""
    if config.encoder == "gru":
        return GruModel(config.gru, input_dim, target_dim)
    return TransformerModel(config.model, input_dim, target_dim, causal=config.objective == "apc")
