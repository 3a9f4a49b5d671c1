"""Computational sequences (.csd), the HDF5 files in which CMU publishes the labels of MOSI and MOSEI."""

from collections.abc import Iterator
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
    roots = [name for name in tree if hasattr(tree.get(name), "keys")]
    if len(roots) != 1 or not hasattr(data := tree[roots[0]].get("data"), "keys"):
        told = f"it has {cut(', '.join(map(short, tree))) or 'nothing'}"
        raise ValueError(
            f"{file}: not a computational sequence: expected one group at the root with data in it; {told}"
        )
    return data


def _values(where: str, videos: Any, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Intervals [n, 2] in seconds and labels [n, 1 or 7] of a video."""
    try:
        arrays = [videos[video][name] for name in ("intervals", "features")]
        shapes = [array.shape for array in arrays]
        if max(shape[0] for shape in shapes) > MOST:
            raise ValueError(f"{where}: claims more than {MOST} segments")
        spans, labels = (array[()] for array in arrays)
    except (KeyError, AttributeError, TypeError, IndexError, OSError, RuntimeError):
        raise ValueError(f"{where}: no intervals and features that can be read") from None
    if spans.shape != (len(labels), 2) or labels.ndim != 2 or labels.shape[1] not in COLUMNS:
        told = f"intervals {list(spans.shape)} and features {list(labels.shape)}"
        raise ValueError(f"{where}: {told}, expected [n, 2] and [n, 1] (sentiment) or [n, 7] (and six emotions)")
    if not {spans.dtype.kind, labels.dtype.kind} <= set("fiu"):
        raise ValueError(f"{where}: intervals and features are no numbers")
    return spans, labels


def _text(value: np.generic) -> str:
    """A number in the fewest digits that give it back at its own width, as tables have it."""
    return "" if np.isnan(value) else str(value)
