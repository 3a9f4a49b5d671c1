"""Computational sequences (.csd), the HDF5 files in which CMU publishes the labels of MOSI and MOSEI."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from utility.text import cut, short

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
COLUMNS = {1: ("sentiment",), 7: ("sentiment", *EMOTIONS)}  # by the width of the features
MOST = 10**6  # segments of one video


def csd_rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The segments of all videos, sorted by video: where each lies in the file, and its values as a table has them.

    Ids are `video[0]`, `video[1]` ...; `segment` is the name of its own recording, `video_1`, `video_2` ..., where
    there are such. What is unknown (nan) is empty. Raises ValueError for what is no computational sequence."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise ValueError(f"{file}: a .csd needs h5py: pip install -r requirements-mosei.txt") from None
    try:
        tree = h5py.File(file, "r")
    except OSError:
        raise ValueError(f"{file}: not a computational sequence, that is no HDF5 file that can be read") from None
    with tree:
        videos = _videos(file, tree)
        names: tuple[str, ...] = ()
        for video in sorted(videos):
            where = f"{file}: {cut(video)}"
            spans, labels = _values(where, videos, video)
            if names and COLUMNS[labels.shape[1]] != names:
                raise ValueError(f"{where}: {labels.shape[1]} labels for each segment, the videos before have others")
            names = COLUMNS[labels.shape[1]]
            for i, (span, values) in enumerate(zip(spans, labels)):
                row = {"id": f"{video}[{i}]", "video": video, "segment": f"{video}_{i + 1}"}
                row |= dict(zip(("start", "end", *names), map(_text, (*span, *values))))
                yield f"{where}: segment {i}", row


def _videos(file: Path, tree: Any) -> Any:
    """What holds a group for every video: `data` of the one group at the root."""
    with _readable(f"{file}: not a computational sequence: its groups cannot be read"):
        roots = [name for name in tree if hasattr(tree.get(name), "keys")]
        data = tree[roots[0]].get("data") if len(roots) == 1 else None
    if not hasattr(data, "keys"):
        told = f"it has {cut(', '.join(map(short, tree))) or 'nothing'}"
        raise ValueError(
            f"{file}: not a computational sequence: expected one group at the root with data in it; {told}"
        )
    return data


def _values(where: str, videos: Any, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Intervals [n, 2] in seconds and labels [n, 1 or 7] of a video."""
    with _readable(f"{where}: no intervals and features that can be read"):
        spans, labels = (videos[video][name] for name in ("intervals", "features"))
        sizes, kinds = [tuple(array.shape) for array in (spans, labels)], {spans.dtype.kind, labels.dtype.kind}
    count = sizes[0][0] if sizes[0] else 0
    if count > MOST or sizes[0] != (count, 2) or sizes[1] not in [(count, width) for width in COLUMNS]:
        told = f"intervals {list(sizes[0])} and features {list(sizes[1])}"
        raise ValueError(f"{where}: {told}, expected [n, 2] and [n, 1] (sentiment) or [n, 7] (and six emotions)")
    if not kinds <= set("fiu"):
        raise ValueError(f"{where}: intervals and features are no numbers")
    with _readable(f"{where}: intervals and features are damaged"):
        return spans[()], labels[()]


@contextmanager
def _readable(told: str) -> Iterator[None]:
    """Say `told` of everything that h5py raises where a file is not as it should be."""
    try:
        yield
    except (KeyError, AttributeError, TypeError, ValueError, OSError, RuntimeError):
        raise ValueError(told) from None


def _text(value: np.generic) -> str:
    """A number in the fewest digits that give it back at its own width, as tables have it."""
    return "" if np.isnan(value) else str(value)
