"""Copies between host memory and a GPU, while the GPU computes."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from utility.batches import AnyBatch, device_parts

Label = TypeVar("Label")


class Copies(Protocol):
    """Copies that nobody waits for before what was copied is used."""

    def to_device(self, batch: AnyBatch, /) -> AnyBatch: ...

    def join(self, batch: AnyBatch, /) -> None: ...

    def to_host(self, values: Tensor, /) -> Callable[[], np.ndarray]: ...


class SideStream:
    """Copies on a stream of their own, beside the one that computes."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def to_device(self, batch: AnyBatch) -> AnyBatch:
        """Begin to copy a batch, which is pinned; `join` comes before its use."""
        with torch.cuda.stream(self.stream):
            return batch.to(self.device)

    def join(self, batch: AnyBatch) -> None:
        """Let what is computed from now on wait for all copies begun so far, and hold the memory of `batch` for it."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        for part in device_parts(batch).values():
            part.record_stream(computing)

    def to_host(self, values: Tensor) -> Callable[[], np.ndarray]:
        """Begin to copy values that are computed by then; the call waits for them, in any thread."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            pinned.copy_(values, non_blocking=True)
            values.record_stream(self.stream)
            done = self.stream.record_event()

        def arrived() -> np.ndarray:
            done.synchronize()
            return pinned.numpy()

        return arrived


def copies_beside(device: torch.device) -> Copies | None:
    """What copies while a device computes; None of a CPU, where nothing is copied."""
    return SideStream(device) if device.type == "cuda" else None


def fed(batches: Generator[tuple[Label, AnyBatch]], device: torch.device) -> Generator[tuple[Label, AnyBatch]]:
    """An endless stream of batches as a device is best fed: a GPU gets each while it computes the one before."""
    copies = copies_beside(device)
    return batches if copies is None else one_ahead(batches, copies)


def one_ahead(batches: Generator[tuple[Label, AnyBatch]], copies: Copies) -> Generator[tuple[Label, AnyBatch]]:
    """An endless stream of batches, each on the device and with its own label; one more is on its way there."""

    def sent(stream: Iterator[tuple[Label, AnyBatch]]) -> tuple[Label, AnyBatch]:
        label, batch = next(stream)
        return label, copies.to_device(batch)

    with closing(batches):
        following = sent(batches)
        while True:
            label, batch = following
            copies.join(batch)  # before the next copy begins: this one is not to wait for that
            following = sent(batches)
            yield label, batch
