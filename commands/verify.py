"""A page of results checked against the results, checkpoints and stores beside it."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from commands.recomputed import Missing, Recomputed
from commands.settings import Verify
from report.runs import read_runs
from report.stated import Stated, read_stated
from utility.device import pick_device
from utility.text import one_line


def verify(settings: Verify) -> int:
    """Print what agrees, what differs and what could not be checked; the exit code, 1 where something differs, and
    where nothing could be checked."""
    numbers, about = read_stated(settings.verify)
    drawn = _drawn(numbers, settings.share, settings.seed)
    runs = read_runs(settings.results, settings.logdir)
    agrees, differing, missing = 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="verify-") as temporary:
        recomputed = Recomputed(settings.results, runs, pick_device(cpu=True), Path(temporary))
        for one in drawn:
            try:
                apart = recomputed.again(one).differs(one.value)
            except Missing as error:
                missing += 1
                print(f"not checked: {one.about}: {error}")
                continue
            except (ValueError, OSError) as error:
                apart = f"cannot be computed: {one_line(str(error))}"
            if apart:
                differing += 1
                print(f"differs: {one.about}: {apart}")
            else:
                agrees += 1
                print(f"agrees: {one.about}", file=sys.stderr)
    print(
        f"{settings.verify}: {about.get('made_of', '')} {len(drawn)} of {len(numbers)} numbers and fingerprints looked "
        f"at: {agrees} agree, {differing} differ, {missing} not checked"
    )
    return int(differing > 0 or agrees == 0)


def _drawn(numbers: Sequence[Stated], share: float, seed: int) -> list[Stated]:
    """All files and weights, and a share of each other kind, at least one of it, in their order."""
    generator = np.random.default_rng(seed)
    chosen: set[int] = set()
    for kind in dict.fromkeys(one.kind for one in numbers):
        places = [place for place, one in enumerate(numbers) if one.kind == kind]
        whole = kind in ("file", "weights")
        count = len(places) if whole else max(round(share * len(places)), 1)
        chosen |= set(generator.permutation(places)[:count].tolist())
    return [one for place, one in enumerate(numbers) if place in chosen]
