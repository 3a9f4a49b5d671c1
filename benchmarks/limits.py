"""What the machine itself can do: the matrix products of a step alone, copies in memory, reading a file."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contest import Turn
from benchmarks.steps import Shape, wait
from utility.device import claim_device

COPIED = 1 << 28  # bytes


@dataclass(frozen=True)
class Products:
    """Only the matrix products of a training step, or of one forward pass, each on memory of its own."""

    shape: Shape
    dtype: torch.dtype
    training: bool = True

    def __call__(self) -> Turn:
        device = claim_device(cpu=False)
        config = self.shape.resolved().model
        tokens = self.shape.frames // config.downsample_rate
        rows = self.shape.utterances * tokens
        linear = [
            tuple(self._noise(device, *size) for size in ((rows, i), (i, o), (rows, o)))
            for i, o in _linears(self.shape)
        ]
        heads = self.shape.utterances * config.heads, tokens, config.hidden_size // config.heads
        attention = [tuple(self._noise(device, *heads) for _ in range(4)) for _ in range(config.layers)]

        def turn() -> None:
            for x, weight, gradient in linear:
                x @ weight
                if self.training:
                    gradient @ weight.T
                    x.T @ gradient
            for query, key, value, gradient in attention:
                self._attention(query, key, value, gradient)
            wait(device)

        return turn

    def _noise(self, device: torch.device, *size: int) -> Tensor:
        return torch.randn(size, device=device).to(self.dtype)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor) -> None:
        scores = query @ key.transpose(1, 2)
        scores @ value
        if self.training:
            gradient @ value.transpose(1, 2)
            scores.transpose(1, 2) @ gradient
            scores @ key
            scores.transpose(1, 2) @ query


def _linears(shape: Shape) -> list[tuple[int, int]]:
    """Inputs and outputs of each linear map."""
    config = shape.resolved().model
    size, rate = config.hidden_size, config.downsample_rate
    block = [(size, 3 * size), (size, size), (size, config.ffn_size), (config.ffn_size, size)]
    ends = [(shape.input_dim * rate, size), (size, size), (size, (shape.target_dim or shape.input_dim) * rate)]
    return ends + block * config.layers


def copying() -> Turn:
    """Copy `COPIED` bytes in memory."""
    device = claim_device(cpu=False)
    source, target = torch.ones(2, COPIED // 4, device=device)

    def turn() -> None:
        target.copy_(source)
        wait(device)

    return turn


def reading() -> Turn:
    """Read a file of `COPIED` bytes that the system holds in memory, as it does with stores that fit there."""
    path = Path(tempfile.mkdtemp()) / "file"
    path.write_bytes(os.urandom(COPIED))
    memory = memoryview(bytearray(1 << 22))

    def turn() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(memory):
                pass

    return turn
