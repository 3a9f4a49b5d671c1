"""What a point of a result says of several samples of the corpus."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def of_samples(scores: Sequence[float | None]) -> dict[str, Any]:
    """The score of each sample and their deviation; nothing of a single one. An unknown score counts nowhere."""
    if len(scores) < 2:
        return {}
    known = [score for score in scores if score is not None]
    return {"per_sample": list(scores), "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None}


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
