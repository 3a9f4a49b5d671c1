"""Seeds of everything that is drawn: pure functions of what they are named after, the same on every machine.

What a training step draws comes from (seed, step, batch), the order of an epoch from (seed, epoch), a crop from (seed,
epoch, utterance), what belongs to a text or an id from the text alone: none depends on workers, devices or a resume."""

import hashlib
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the scripts that only prepare data do without
    import torch


def text_seed(text: str) -> int:
    """32 bits of a text: its CRC."""
    return zlib.crc32(text.encode())


def text_order(text: str, seed: int = 0) -> bytes:
    """What texts are sorted by to come in a random order, which no other text changes."""
    return hashlib.sha256((f"{seed}:{text}" if seed else text).encode()).digest()


def step_seed(seed: int, step: int, batch: int) -> int:
    """64 bits for all that is drawn in batch `batch` of a step, counted over all processes: a resume draws the same,
    also with another number of processes."""
    return int(np.random.SeedSequence([seed, step, batch, 0]).generate_state(1, np.uint64)[0])


def numpy_generator(seed: int, *names: int) -> np.random.Generator:
    """NumPy's generator of the numbers that name what is drawn: (seed, epoch) the order of an epoch, (seed, epoch,
    utterance) a crop, (seed, speaker) a voice or a division."""
    return np.random.default_rng([seed, *names])


def utterance_generators(ids: Iterable[str]) -> "list[torch.Generator]":
    """A generator for each utterance, seeded by its id: the same draws at every evaluation and in any batch."""
    import torch

    return [torch.Generator().manual_seed(text_seed(name)) for name in ids]
