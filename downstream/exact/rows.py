"""The labelled frames or utterances of a part, in blocks, pass after pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from utility.batches import Batch
from utility.labels.alignment import IGNORE

BLOCK = 4096  # rows of a block: few enough for float32 sums, and for a processor's cache
FAR = 4.0  # a mean of so many deviations is taken away, so that float32 products lose no digits
KEPT = 2 << 30  # bytes of rows that are kept between passes; more are read again in each


@dataclass(frozen=True)
class Block:
    """Some rows: what a linear layer reads of each [n, D], and its class [n]."""

    inputs: Tensor
    classes: Tensor


class Rows:
    """All labelled rows of a part less `shift` [D], `BLOCK` at a time, in the order of its batches.

    `batches` gives these anew for each pass; `gather` makes of states and lengths what the layer reads. The first pass
    keeps the rows, float16 where that loses nothing, as long as they take no more than `kept` bytes."""

    def __init__(
        self,
        batches: Callable[[], Iterable[Batch]],
        gather: Callable[[Tensor, Tensor], Tensor],
        kept: int = KEPT,
    ):
        self.batches, self.gather, self.budget = batches, gather, kept
        self.kept: list[Block] | None = None  # of a whole pass
        self.shift: Tensor | None = None  # known with the first block

    def __iter__(self) -> Iterator[Block]:
        """The blocks, float32; all but the last have `BLOCK` rows."""
        if self.kept is not None:
            for block in self.kept:
                yield Block(block.inputs.float(), block.classes)
            return
        kept, room = [], self.budget
        for block in self._read():
            self._shift(block.inputs)
            yield block
            if room >= 0:
                narrow = _narrow(block.inputs)
                room -= narrow.numel() * narrow.element_size() + block.classes.numel() * 8
                kept.append(Block(narrow, block.classes))
            if room < 0:
                kept.clear()
        self.kept = kept if room >= 0 else None

    def _shift(self, inputs: Tensor) -> None:
        """Take the shift away, in place; it is about the mean of the first block where that is far from 0."""
        if self.shift is None:
            values = inputs.double()
            mean, deviation = values.mean(0), values.std(0, correction=0)
            self.shift = torch.where(mean.abs() > FAR * deviation, mean.half().float(), 0.0)
            self._far = self.shift.nonzero()[:, 0]
        if len(self._far):
            inputs[:, self._far] -= self.shift[self._far]

    def _read(self) -> Iterator[Block]:
        inputs: list[Tensor] = []
        classes: list[Tensor] = []
        waiting = 0
        for batch in self.batches():
            assert batch.target is not None, "examples have their labels"
            labelled = batch.target != IGNORE
            inputs.append(self.gather(batch.features, batch.lengths)[labelled])
            classes.append(batch.target[labelled])
            waiting += len(classes[-1])
            if waiting < BLOCK:
                continue
            rows, labels = torch.cat(inputs), torch.cat(classes)
            whole = waiting // BLOCK * BLOCK
            for start in range(0, whole, BLOCK):
                stop = start + BLOCK
                yield Block(rows[start:stop].float().contiguous(), labels[start:stop].contiguous())
            inputs, classes, waiting = [rows[whole:].clone()], [labels[whole:].clone()], waiting - whole
        if waiting:
            yield Block(torch.cat(inputs).float(), torch.cat(classes))


def _narrow(inputs: Tensor) -> Tensor:
    """The same numbers as float16 where all of them are such numbers; a copy of its own."""
    half = inputs.half()
    return half if torch.equal(half.float(), inputs) else inputs.clone()
