"""From a config to its model."""

import torch

from mockingjay.config import PretrainConfig
from mockingjay.model.codes import CodeHead, RandomProjection
from mockingjay.model.frame_model import FrameModel, GruModel, TransformerModel


def new_model(config: PretrainConfig, input_dim: int, target_dim: int, seed: int) -> FrameModel:
    """An untrained model with weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config, input_dim, target_dim)
    if model.quantizer is not None:
        model.quantizer.draw(seed)
    if model.mask_vector is not None:
        generator = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(model.mask_vector, std=config.model.initializer_range, generator=generator)
    return model


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
    if config.objective != "codes":
        model = TransformerModel(config.model, input_dim, target_dim, causal=config.objective == "apc")
    else:
        codes, rate = config.codes, config.model.downsample_rate
        head = CodeHead(config.model.hidden_size, codes.codebooks, codes.size)
        model = TransformerModel(config.model, input_dim, target_dim, head=head)
        if codes.source == "random_projection":
            model.quantizer = RandomProjection(target_dim, rate, codes.codebooks, codes.size, codes.dim)
    if config.hides_behind_a_vector:
        model.mask_vector = torch.nn.Parameter(torch.zeros(input_dim * config.model.downsample_rate))
    return model
