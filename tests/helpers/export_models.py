"""Small checkpoints of every kind, and waveforms to try them on."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mockingjay.upstream import load_upstream
from tests.helpers import checkpoints
from utility.audio.feature_config import FeatureConfig

SIZE = {"layers": 3, "hidden_size": 24, "heads": 2, "ffn_size": 48, "initializer_range": 0.2}
MODELS = {
    "stacked": {"model": SIZE | {"downsample_rate": 3}},
    "shared_pre_norm": {"model": SIZE | {"share_layers": True, "pre_layer_norm": True, "activation": "relu"}},
    "pieces": {"model": SIZE | {"max_input_length": 30}},
    "transformer_apc": {"objective": "apc", "model": SIZE},
    "apc": {"objective": "apc", "encoder": "gru", "gru": {"layers": 2, "hidden_size": 24, "prenet_layers": 1}},
}
FEATURES = {
    "stacked": FeatureConfig(),
    "pieces": FeatureConfig(kind="mfcc", deltas=2),
    "apc": FeatureConfig(kind="s3prl_mel", deltas=1),
}
DEFAULT_FEATURES = FeatureConfig(kind="fbank", deltas=0, cmvn="none")
SAMPLES = (16000, 9050, 400)


def write_checkpoint(name: str, path: Path, features: FeatureConfig | None = None) -> Path:
    """A checkpoint of the model `name` with random weights."""
    features = features or FEATURES.get(name, DEFAULT_FEATURES)
    return checkpoints.write_checkpoint(path, features, step=7, **MODELS[name])


def waveforms() -> list[Tensor]:
    """Three utterances of different lengths at 16 kHz."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, generator=generator) * 0.1 for count in SAMPLES]


@torch.no_grad()
def expected(ckpt: Path) -> tuple[tuple[Tensor, ...], Tensor]:
    """Our own hidden states of the waveforms in one batch, and their lengths."""
    return load_upstream("transformer", ckpt).from_waveforms(waveforms())


@torch.no_grad()
def check_alone(ckpt: Path, alone: Sequence[Sequence[Tensor]]) -> None:
    """Hidden states of each waveform by itself are ours to 1e-6, and those of the batch to 1e-5."""
    (together, lengths), upstream = expected(ckpt), load_upstream("transformer", ckpt)
    for row, (states, wave) in enumerate(zip(alone, waveforms(), strict=True)):
        assert largest_difference(states, upstream.from_waveforms([wave])[0]) < 1e-6
        assert largest_difference(states, [state[row : row + 1, : lengths[row]] for state in together]) < 1e-5


@torch.no_grad()
def largest_difference(states, wanted) -> float:
    """Between two lists of hidden states of one shape."""
    assert len(states) == len(wanted)
    assert all(one.shape == other.shape for one, other in zip(states, wanted))
    return max((one - other).abs().max().item() for one, other in zip(states, wanted))


def as_here(code: str) -> str:
    """The code for a process that takes the kernels of this one: those of another precision differ in the last bits."""
    return f"import torch\n\ntorch.set_float32_matmul_precision({torch.get_float32_matmul_precision()!r})\n{code}"
