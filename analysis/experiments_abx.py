"""Do phones between the same neighbours differ? ABX errors, across speakers and within."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from analysis.abx import HEADER, AbxError, AbxTask, Items, Speakers
from analysis.collect import Subject
from analysis.gather import Gathered, Want
from analysis.material import ABX, Material, described, digest
from analysis.sampling import Tokens
from analysis.scores import LayerScore, Resampled
from utility.files import replacing

CHANCE = 50.0  # %


class PhoneAbx:
    """ABX errors of phones. The score is the error across speakers; where nobody can be X, that within speakers."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "abx_phone"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """The frames of the tokens. Other neighbours of the same tokens make other cells, so they count as well."""
        neighbours = digest(*self.items.columns.values())
        return [Want("token_frames", ABX, tuple(labels), frozenset([neighbours]))]

    @cached_property
    def tokens(self) -> Tokens:
        return self.material.tokens(ABX, self.sample).tokens

    @cached_property
    def items(self) -> Items:
        """The drawn tokens with their neighbours."""
        return self.material.items(self.tokens)

    @cached_property
    def tasks(self) -> dict[Speakers, AbxTask]:
        """Across and within speakers, as far as there are cells; ValueError where there are none."""
        abx, tasks = self.material.config.abx, {}
        kinds: list[Speakers] = ["across", "within"] if len(set(self.items.speaker)) > 1 else ["within"]
        for kind in kinds:
            seed = int(self.material.generator(f"abx {kind}", self.sample).integers(2**31))
            try:
                tasks[kind] = AbxTask(self.items, kind, abx.max_size_group, abx.max_x_across, seed)
            except ValueError:
                if kind == kinds[-1] and not tasks:
                    raise
        return tasks

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw tokens and cells; ValueError where no two phones have the same neighbours."""
        assert self.tasks, "or there was an error"

    def ceiling(self) -> float | None:
        return 0.0

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """Every second X is nearer to B."""
        return CHANCE

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Tokens, cells, and what was left out."""
        cells = {f"cells_{kind}_speakers": len(task.cells) for kind, task in self.tasks.items()}
        speakers = {"speakers": len(set(self.items.speaker)), "score_is": f"{next(iter(self.tasks))} speakers"}
        return {**described(self.material.tokens(ABX, self.sample)), **cells, **speakers}

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The error of one layer in %; its interval by resampling the neighbours."""
        frames, lengths = gathered.token_frames(ABX, self.sample, label)
        device = next(iter(gathered.subject.upstream.parameters()), torch.zeros(0)).device
        found = {kind: task.error(frames, lengths, device) for kind, task in self.tasks.items()}
        main, error = next(iter(found.items()))
        resampled = None
        if resamples and error.contexts > 1:
            generator = self.material.generator("bootstrap abx", self.sample)
            values = tuple(error.resampled(generator, resamples).tolist())
            items = digest(self.tokens.ids, self.tokens.table, len(error.cells))
            resampled = Resampled("bootstrap", f"abx {main} {self.sample} {items}", error.contexts, values)
        detail: dict[str, Any] = {f"{kind}_speakers": in_figures(one) for kind, one in found.items()}
        detail["score_is"] = f"{main} speakers"
        return LayerScore.of(error.error, len(self.tokens), resampled, detail=detail)

    def write_items(self, folder: Path) -> None:
        """The item file of ABX programs: abx_phone_sampleK.item, times in seconds."""
        here, items = self.material.utterances, self.items
        columns = items.phone, items.previous, items.next, items.speaker
        lines = [HEADER]
        for row, *labels in zip(self.tokens.table, *(column.tolist() for column in columns)):
            lines.append(" ".join([here.ids[row["utterance"]], f"{row['start']:.6f}", f"{row['end']:.6f}", *labels]))
        with replacing(folder / f"{self.name}_sample{self.sample}.item") as new:
            new.write_text("\n".join(lines) + "\n", encoding="utf-8")


def in_figures(found: AbxError) -> dict[str, Any]:
    """An error in %, and what it is of."""
    return {"error": found.error, "cells": len(found.cells), "pairs": found.pairs, "neighbours": found.contexts}
