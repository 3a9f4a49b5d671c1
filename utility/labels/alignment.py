"""Alignments on disk: labelled segments in seconds, turned into frame labels by a feature's own frame times."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from utility.files import check_folder

TimedLabels = Sequence[tuple[float, float, str]]  # start and end in seconds, label

IGNORE = -100  # the label of a frame that has none; what torch's cross entropy leaves out by default
SEGMENT = np.dtype([("start", "<f8"), ("end", "<f8"), ("label", "<i4")])
LABELS, UTTERANCES, SEGMENTS, ERRORS = "labels.txt", "utterances.csv", "segments.npy", "errors.csv"
HEADER = ["id", "offset", "count"]
TOLERANCE = 0.1  # seconds by which an alignment may outlast its audio
CHUNK = 1 << 20  # segments copied at once


class Alignment:
    """The alignment stored under `root`; segments stay on disk, only the table of utterances is held.

    `ValueError` where `root` holds no alignment, or one that does not fit together.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        for name in (LABELS, UTTERANCES, SEGMENTS):
            if not (self.root / name).is_file():
                raise ValueError(f"{root}: no alignment here ({name} is missing); make one by preprocess_alignment.py")
        self.labels = (self.root / LABELS).read_text(encoding="utf-8").splitlines()
        self._where = _read_utterances(self.root / UTTERANCES)
        total = sum(count for _, count in self._where.values())
        table = _mapped(self.root / SEGMENTS)
        if table.dtype != SEGMENT or table.shape != (total,):
            raise ValueError(f"{self.root / SEGMENTS}: holds {table.shape}, but {UTTERANCES} needs ({total},)")
        self._start = table.offset

    def __contains__(self, id: str) -> bool:  # noqa: A002
        return id in self._where

    def __len__(self) -> int:
        return len(self._where)

    @property
    def ids(self) -> list[str]:
        """Every utterance's id, in stored order."""
        return list(self._where)

    def segments(self, id: str) -> np.ndarray:  # noqa: A002
        """TimedLabels of one utterance [S]: fields `start`, `end` (seconds), `label` (index into `labels`)."""
        if id not in self._where:
            raise ValueError(f"{self.root}: no alignment of utterance {id!r}")
        offset, count = self._where[id]
        file = self.root / SEGMENTS
        segments = np.fromfile(file, SEGMENT, count, offset=self._start + offset * SEGMENT.itemsize)
        if len(segments) != count:
            raise ValueError(f"{file}: cut off; make it again")
        return segments

    def frame_labels(self, id: str, times: np.ndarray, duration: float | None = None) -> np.ndarray:  # noqa: A002
        """Labels int64 [T] of the frames with centres `times` [T] in seconds (ascending).

        A frame takes the label of the segment [start, end) that holds its centre; frames up to one frame shift beyond
        the last end take the last label, as centred analysis has a frame at the very end; the others get `IGNORE`.
        Times are compared to the microsecond. `duration` of the audio in seconds; without it the last centre stands
        for the end. `ValueError` for an unknown id, or an alignment that ends over 0.1 s after the audio.
        """
        segments = self.segments(id)
        if len(segments) and not 0 <= segments["label"].min() <= segments["label"].max() < len(self.labels):
            raise ValueError(f"{self.root / LABELS}: {len(self.labels)} labels, fewer than {SEGMENTS} uses for {id}")
        times = np.asarray(times, dtype=np.float64)
        if not len(times) or not len(segments):
            return np.full(len(times), IGNORE, dtype=np.int64)
        audio_end = times[-1] if duration is None else duration
        if segments["end"][-1] > audio_end + TOLERANCE:
            raise ValueError(
                f"{self.root}: {id}: the alignment ends at {segments['end'][-1]:.3f} s, but the audio at "
                f"{audio_end:.3f} s; they are not of the same recording"
            )
        centres, starts, ends = (_microseconds(x) for x in (times, segments["start"], segments["end"]))
        if len(centres) > 1:
            ends[-1] += centres[1] - centres[0] + 1
        latest = np.searchsorted(starts, centres, side="right") - 1
        held = (latest >= 0) & (centres < ends[latest])
        return np.where(held, segments["label"][latest].astype(np.int64), IGNORE)


def write_alignment(root: str | Path, utterances: Iterable[tuple[str, TimedLabels]]) -> None:
    """Write (id, segments) pairs as one alignment; `root` appears, or changes, only when all are written.

    `ValueError` for segments that `check_segments` refuses, an id that comes twice, no utterance at all, or a `root`
    that holds something else.
    """
    root = Path(root)
    root = root.resolve() if root.is_symlink() else root  # what a link stands for is replaced, not the link
    check_folder(root)
    _refuse_foreign(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    scratch.chmod(0o755)
    try:
        _write_files(scratch, utterances)
        _swap(scratch, root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_segments(id: str, segments: TimedLabels) -> None:  # noqa: A002
    """`ValueError` naming id and line unless segments are positive, ascending, without overlap, and labelled."""
    previous = 0.0
    for line, (start, end, label) in enumerate(segments, 1):
        where = f"{id}: segment {line} ({start} to {end} s, {label!r})"
        if not (np.isfinite(start) and np.isfinite(end)) or start < 0:
            raise ValueError(f"{where}: times must be finite and not negative")
        if end <= start:
            raise ValueError(f"{where}: must end after it starts")
        if round((previous - start) * 1e6) > 0:
            raise ValueError(f"{where}: starts before the end of the one before, {previous} s")
        if not label or label != " ".join(label.split()):
            raise ValueError(f"{where}: a label must be one line of text")
        previous = end


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    return np.rint(seconds * 1e6).astype(np.int64)


def _mapped(file: Path) -> np.memmap:
    try:
        return np.load(file, mmap_mode="r")
    except (ValueError, EOFError):
        raise ValueError(f"{file}: not a segment table, or cut off; make it again") from None


def _read_utterances(file: Path) -> dict[str, tuple[int, int]]:
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        if next(rows, None) != HEADER:
            raise ValueError(f"{file}: expected the columns {','.join(HEADER)}")
        try:
            return {key: (int(offset), int(count)) for key, offset, count in rows}
        except ValueError:
            raise ValueError(f"{file}: expected id,offset,count in line {rows.line_num}") from None


def _refuse_foreign(root: Path) -> None:
    if root.exists():
        others = {path.name for path in root.iterdir()} - {LABELS, UTTERANCES, SEGMENTS, ERRORS}
        if others:
            raise ValueError(f"{root}: holds {min(others)!r}, which is no part of an alignment; choose another name")


def _write_files(folder: Path, utterances: Iterable[tuple[str, TimedLabels]]) -> None:
    codes: dict[str, int] = {}
    seen: set[str] = set()
    total = 0
    raw = folder / "raw"
    with raw.open("wb") as segments_file, (folder / UTTERANCES).open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(HEADER)
        for key, segments in utterances:
            check_segments(key, segments)
            if key in seen:
                raise ValueError(f"utterance {key!r} comes twice")
            seen.add(key)
            coded = [(start, end, codes.setdefault(label, len(codes))) for start, end, label in segments]
            segments_file.write(np.array(coded, dtype=SEGMENT).tobytes())
            rows.writerow([key, total, len(coded)])
            total += len(coded)
    if not total:
        raise ValueError("no labelled segment in any utterance: nothing to write")
    labels = sorted(codes)
    (folder / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    ranks = np.empty(len(codes), dtype=np.int32)
    ranks[[codes[label] for label in labels]] = np.arange(len(labels))
    source = np.memmap(raw, dtype=SEGMENT, mode="r")
    target = np.lib.format.open_memmap(folder / SEGMENTS, mode="w+", dtype=SEGMENT, shape=(total,))
    for begin in range(0, total, CHUNK):
        part = np.array(source[begin : begin + CHUNK])
        part["label"] = ranks[part["label"]]
        target[begin : begin + CHUNK] = part
    target.flush()
    raw.unlink()


def _swap(scratch: Path, root: Path) -> None:
    if root.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old.", dir=root.parent))
        os.replace(root, old)
        os.replace(scratch, root)
        shutil.rmtree(old)
    else:
        os.replace(scratch, root)
