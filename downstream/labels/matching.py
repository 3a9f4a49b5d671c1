"""Utterances that a folder of answers knows by their ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from downstream.config import DataConfig
from downstream.utterances import FramedUtterances
from utility.text import short


class Known(Protocol):
    """Answers by the ids of utterances."""

    @property
    def ids(self) -> Sequence[str]: ...

    def __contains__(self, key: str, /) -> bool: ...


def known_utterances(
    place: str | Path, known: Known, utterances: FramedUtterances, config: DataConfig
) -> tuple[np.ndarray, int]:
    """The utterances that the folder `place` knows, by their number, and how many it lacks.

    ValueError where these are none, or where some are missing that `data.unaligned` does not leave out."""
    missing = [key for key in utterances.ids if key not in known]
    if len(missing) == len(utterances):
        theirs = "the recordings'" if utterances.recorded else "the store's"
        raise ValueError(
            f"{place} has none of the {len(utterances)} utterances: its ids look like "
            f"{short(known.ids[0])}, {theirs} like {short(missing[0])}"
        )
    if missing and config.unaligned == "error":
        raise ValueError(
            f"{place} lacks {len(missing)} of the {len(utterances)} utterances, {short(missing[0])} for "
            f"one; data.unaligned=leave_out goes on without them"
        )
    there = np.array([i for i, key in enumerate(utterances.ids) if key in known], dtype=np.int64)
    return there, len(missing)
