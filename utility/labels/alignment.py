"""Alignments on disk: labelled segments in seconds, turned into frame labels by a feature's own frame times."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from utility.arrays import ArrayFile, array_header
from utility.files import check_folder, naming, remove_leftovers, replace_folder, temporary
from utility.text import cut, short

TimedLabels = Sequence[tuple[float, float, str]]  # start and end in seconds, label

IGNORE = -100  # the label of a frame that has none; what torch's cross entropy leaves out by default
SEGMENT = np.dtype([("start", "<f8"), ("end", "<f8"), ("label", "<i4")])
LABELS, UTTERANCES, SEGMENTS, ERRORS = "labels.txt", "utterances.csv", "segments.npy", "errors.csv"
HEADER = ["id", "offset", "count"]
TOLERANCE = 0.1  # seconds by which an alignment may outlast its audio
GRID = 0.01  # seconds per label of CPC's alignments
LATEST = 1e9  # seconds: no recording is so long, and microseconds of more are no whole numbers
LONGEST_ID = 10000  # characters; tables have fields of 131072 at most
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
        self.labels = _read_labels(self.root / LABELS)
        self._where = _read_utterances(self.root / UTTERANCES)
        total = sum(count for _, count in self._where.values())
        table = _opened(self.root / SEGMENTS)
        if table.dtype != SEGMENT or table.shape != (total,):
            raise ValueError(f"{self.root / SEGMENTS}: holds {table.shape}, but {UTTERANCES} needs ({total},)")
        self._start = table.start
        self._file = self.root / SEGMENTS
        self._descriptor: int | None = None  # opened once: a corpus has many utterances

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_descriptor": None}

    def __del__(self) -> None:
        descriptor = self.__dict__.get("_descriptor")  # not there where the files do not fit together
        if descriptor is not None:
            os.close(descriptor)

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
            raise ValueError(f"{self.root}: no alignment of utterance {short(id)}")
        offset, count = self._where[id]
        file = self._file
        if self._descriptor is None:
            self._descriptor = os.open(file, os.O_RDONLY)
        size = SEGMENT.itemsize
        data = os.pread(self._descriptor, count * size, self._start + offset * size)
        if len(data) != count * size:
            raise ValueError(f"{file}: cut off; make it again")
        segments = np.frombuffer(bytearray(data), SEGMENT)
        starts, ends = segments["start"], segments["end"]
        if not ((starts >= 0) & (starts < ends) & (ends <= LATEST)).all():
            what = f"a segment has times that are not finite, negative, empty or beyond {LATEST:g} s"
            raise ValueError(f"{file}: {cut(id)}: {what}; make it again")
        if (np.rint((ends[:-1] - starts[1:]) * 1e6) > 0).any():
            raise ValueError(f"{file}: {cut(id)}: segments overlap or are out of order; make it again")
        return segments

    def fitting_segments(self, id: str, audio_end: float) -> np.ndarray:  # noqa: A002
        """`segments` of an utterance whose audio ends at `audio_end` seconds.

        `ValueError` besides for a label that has no name, and for segments that end over 0.1 s after the audio."""
        segments = self.segments(id)
        self._check_labels(id, segments)
        self._check_end(id, segments, audio_end)
        return segments

    def frame_labels(self, id: str, times: np.ndarray, duration: float | None = None) -> np.ndarray:  # noqa: A002
        """Labels int64 [T] of the frames with centres `times` [T] in seconds (ascending).

        A frame takes the label of the segment [start, end) that holds its centre; frames up to one frame shift beyond
        the last end take the last label, as centred analysis has a frame at the very end; the others get `IGNORE`.
        Times are compared to the microsecond. `duration` of the audio in seconds; without it the last centre stands
        for the end. `ValueError` for an unknown id, or an alignment that ends over 0.1 s after the audio.
        """
        return self._labels_at(id, self.segments(id), times, duration, last_holds=False)

    def index_labels(self, id: str, frames: int, shift: float, duration: float | None = None) -> np.ndarray:  # noqa: A002
        """Labels int64 [T] of frames `shift` seconds apart by their numbers, as S3PRL's phone probes have them.

        Frame i takes the label at i * shift + shift / 2, wherever its centre is; all frames beyond the last label take
        the last one. `ValueError` where segments do not border on multiples of 10 ms, and as `frame_labels` has it."""
        segments = self.segments(id)
        borders = np.concatenate([segments["start"], segments["end"][:-1]])  # the last one may end with the audio
        off = np.flatnonzero(_microseconds(borders) % round(GRID * 1e6))
        if len(off):
            raise ValueError(
                f"{self.root}: {cut(id)}: a segment begins or ends at {borders[off].min():.6f} s: labels by the number "
                f"of a frame (data.label_rule=index) come every {GRID} s; use data.label_rule=time"
            )
        return self._labels_at(id, segments, (np.arange(frames) + 0.5) * shift, duration, last_holds=True)

    def _labels_at(
        self,
        id: str,  # noqa: A002
        segments: np.ndarray,
        times: np.ndarray,
        duration: float | None,
        last_holds: bool,
    ) -> np.ndarray:
        """Labels at `times`; where `last_holds` all after the last end take the last one."""
        self._check_labels(id, segments)
        times = np.asarray(times, dtype=np.float64)
        if not len(times) or not len(segments):
            return np.full(len(times), IGNORE, dtype=np.int64)
        self._check_end(id, segments, times[-1] if duration is None else duration)
        centres, starts, ends = (_microseconds(x) for x in (times, segments["start"], segments["end"]))
        if last_holds:
            ends[-1] = max(ends[-1], centres[-1] + 1)
        elif len(centres) > 1:
            ends[-1] += centres[1] - centres[0] + 1
        latest = np.searchsorted(starts, centres, side="right") - 1
        held = (latest >= 0) & (centres < ends[latest])
        return np.where(held, segments["label"][latest].astype(np.int64), IGNORE)

    def _check_labels(self, id: str, segments: np.ndarray) -> None:  # noqa: A002
        if len(segments) and not 0 <= segments["label"].min() <= segments["label"].max() < len(self.labels):
            raise ValueError(
                f"{self.root / LABELS}: {len(self.labels)} labels, fewer than {SEGMENTS} uses for {cut(id)}"
            )

    def _check_end(self, id: str, segments: np.ndarray, audio_end: float) -> None:  # noqa: A002
        if len(segments) and segments["end"][-1] > audio_end + TOLERANCE:
            raise ValueError(
                f"{self.root}: {cut(id)}: the alignment ends at {segments['end'][-1]:.3f} s, but the audio at "
                f"{audio_end:.3f} s; they are not of the same recording"
            )


def write_alignment(root: str | Path, utterances: Iterable[tuple[str, TimedLabels]], order: str = "sorted") -> None:
    """Write (id, segments) pairs as one alignment; `root` appears, or changes, only when all are written.

    The labels, whose numbers are the classes, are `sorted`, or in the order in which they come (`first`).

    `ValueError` for segments that `check_segments` refuses, an id that comes twice, no utterance at all, or a `root`
    that holds something else.
    """
    root = Path(root)
    root = root.resolve() if root.is_symlink() else root  # what a link stands for is replaced, not the link
    check_folder(root)
    _refuse_foreign(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root.parent, root.name)
    with temporary(root) as scratch:
        scratch.mkdir()
        with naming(root):
            _write_files(scratch, utterances, order)
        replace_folder(scratch, root)


def check_segments(id: str, segments: TimedLabels) -> None:  # noqa: A002
    """`ValueError` naming id and line unless segments are positive, ascending, without overlap, and labelled, and for
    an id that no table holds."""
    if not id or len(id) > LONGEST_ID:
        raise ValueError(f"utterance id {short(id)}: expected 1 to {LONGEST_ID} characters")
    previous = 0.0
    for line, (start, end, label) in enumerate(segments, 1):
        where = f"{cut(id)}: segment {line} ({start} to {end} s, {short(label)})"
        if not (start >= 0 and abs(end) <= LATEST):
            raise ValueError(f"{where}: times must be finite and not negative, and at most {LATEST:g} s")
        if end <= start:
            raise ValueError(f"{where}: must end after it starts")
        if round((previous - start) * 1e6) > 0:
            raise ValueError(f"{where}: starts before the end of the one before, {previous} s")
        if not label or label != " ".join(label.split()):
            raise ValueError(f"{where}: a label must be one line of text")
        previous = end


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    return np.rint(seconds * 1e6).astype(np.int64)


def _opened(file: Path) -> ArrayFile:
    try:
        return ArrayFile.open(file)
    except ValueError as error:
        raise ValueError(f"{error}; make it again") from None


def _read_labels(file: Path) -> list[str]:
    """One label a line; a line twice would shift all classes after it."""
    try:
        labels = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text; make it again") from None
    seen: set[str] = set()
    for line, label in enumerate(labels, 1):
        if not label or label in seen:
            what = f"label {short(label)} is there twice" if label else "no label"
            raise ValueError(f"{file}: line {line}: {what}; make it again")
        seen.add(label)
    return labels


def _read_utterances(file: Path) -> dict[str, tuple[int, int]]:
    where: dict[str, tuple[int, int]] = {}
    total = 0
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        try:
            if next(rows, None) != HEADER:
                raise ValueError(f"{file}: expected the columns {','.join(HEADER)}")
            for row in rows:
                if len(row) != len(HEADER) or not all(re.fullmatch("[0-9]{1,15}", field) for field in row[1:]):
                    raise ValueError(f"{file}: expected id,offset,count in line {rows.line_num}")
                key, offset, count = row[0], int(row[1]), int(row[2])
                if key in where or offset != total:
                    what = f"id {short(key)} is there twice" if key in where else f"offset is {offset} after {total}"
                    raise ValueError(f"{file}: line {rows.line_num}: {what}; make it again")
                where[key] = offset, count
                total += count
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{file}: not a table of utterances: {error}") from None
    return where


def _refuse_foreign(root: Path) -> None:
    if root.exists():
        others = {path.name for path in root.iterdir()} - {LABELS, UTTERANCES, SEGMENTS, ERRORS}
        if others:
            raise ValueError(
                f"{root}: holds {short(min(others))}, which is no part of an alignment; choose another name"
            )


def _write_files(folder: Path, utterances: Iterable[tuple[str, TimedLabels]], order: str) -> None:
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
                raise ValueError(f"utterance {short(key)} comes twice")
            seen.add(key)
            coded = [(start, end, codes.setdefault(label, len(codes))) for start, end, label in segments]
            segments_file.write(np.array(coded, dtype=SEGMENT).tobytes())
            rows.writerow([key, total, len(coded)])
            total += len(coded)
    if not total:
        raise ValueError("no labelled segment in any utterance: nothing to write")
    labels = list(codes) if order == "first" else sorted(codes)
    (folder / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    ranks = np.empty(len(codes), dtype=np.int32)
    ranks[[codes[label] for label in labels]] = np.arange(len(labels))
    source = np.memmap(raw, dtype=SEGMENT, mode="r")
    with (folder / SEGMENTS).open("wb") as target:  # not mapped: a full disk would kill the process
        target.write(array_header([total], SEGMENT))
        for begin in range(0, total, CHUNK):
            part = np.array(source[begin : begin + CHUNK])
            part["label"] = ranks[part["label"]]
            target.write(part.tobytes())
    raw.unlink()
