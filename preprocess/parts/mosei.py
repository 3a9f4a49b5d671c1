"""MOSI and MOSEI: segments of the sound of videos, with sentiments and emotions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from preprocess.parts.corpora import WHOLE, Corpus, Utterance, corpus_root
from preprocess.parts.label_table import Labelled, Labels, labelled
from preprocess.parts.mosei_labels import Columns, Segment, read_parts, read_segments
from utility.audio.headers import audio_files
from utility.audio.waveform import AudioError, audio_header
from utility.text import cut

TRAIN, MOSEI_SEED, MOSI_SEED = 0.9, 29, 1122  # of the legacy divisions


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which segments are taken, and how they are divided.

    `rule` None is the table's own division, where it has one, or that of `parts`, a table of videos. Where they are
    `segmented` every segment is a recording of its own. `min_abs` is of the sentiment; a bound of 0 is none."""

    corpus: Literal["mosei", "mosi"]
    rule: Literal["standard", "legacy"] | None
    parts: Path | None
    segmented: bool
    min_seconds: float
    max_seconds: float
    min_abs: float
    typed_abs: bool  # asked for, not a default


def mosei(root: Path, file: Path, choice: Choice, splits: Sequence[str] = ()) -> tuple[Corpus, Labels]:
    """The segments that `file` (CSV, TSV or .csd) labels, of the recordings `<video>.wav` and the like below `root`.

    Segments without a sentiment, outside the bounds of `choice` or of no part are left out and counted in the notes.
    Raises ValueError, naming file and line, for what makes no sense."""
    root = corpus_root(root, ())
    columns, segments = read_segments(file)
    _check(file, columns, choice)
    if choice.parts:
        parts = read_parts(choice.parts)
        segments = (replace(segment, split=parts.get(segment.video, "")) for segment in segments)
    recordings = _recordings(root)
    counts: Counter[str] = Counter()
    kept = list(_kept(segments, columns, choice, root, recordings, counts))
    if choice.rule == "legacy":
        kept = _legacy_mosei(kept) if choice.corpus == "mosei" else _legacy_mosi(kept)
    if kept and not any(_stem(segment, choice) in recordings for segment in kept):
        raise ValueError(f"{root}: none of the recordings of {file} is here, e.g. {cut(_stem(kept[0], choice))}.wav")
    early = sum(segment.early for segment in kept)
    notes = [f"{file}: {counts.total() + len(kept)} segments, {len(kept)} taken"]
    notes += [f"{file}: {count} left out: {why}" for why, count in counts.items()]
    notes += [f"{file}: {early} that start below 0 start at 0"] if early else []
    if choice.min_abs and not columns.sentiment:
        notes.append(f"{file}: no column sentiment: none is left out as too near to 0")
    if not _divided(columns, choice):
        notes.append(f"{file}: no column split: all are one split, {WHOLE}")
    pairs = (_pair(segment, choice, recordings) for segment in kept)
    return labelled(root, columns.shown, pairs, splits, f"segments of {file}", notes)


def _check(file: Path, columns: Columns, choice: Choice) -> None:
    """Refuse what was asked for and cannot be had of these columns."""
    if choice.rule == "standard" and not _divided(columns, choice):
        raise ValueError(f"{file}: no column split, which --split standard needs: --parts TABLE, or --split legacy")
    if choice.typed_abs and choice.min_abs and not columns.sentiment:
        raise ValueError(f"{file}: no column sentiment, which --min_abs {choice.min_abs:g} needs: --min_abs 0")
    if not choice.segmented and not columns.timed:
        raise ValueError(f"{file}: no columns start and end: --segmented where each segment is a recording of its own")


def _divided(columns: Columns, choice: Choice) -> bool:
    return bool(columns.split or choice.parts) or choice.rule == "legacy"


def _recordings(root: Path) -> Mapping[str, str]:
    """Paths below `root` by their names without suffix; of two of one name the one in the fewest folders."""
    paths: dict[str, str] = {}
    for path in sorted(audio_files(root), key=lambda path: (path.count("/"), path)):
        paths.setdefault(PurePosixPath(path).stem, path)
    return paths


def _stem(segment: Segment, choice: Choice) -> str:
    return segment.stem if choice.segmented else segment.video


def _kept(
    segments: Iterator[Segment],
    columns: Columns,
    choice: Choice,
    root: Path,
    recordings: Mapping[str, str],
    counts: Counter[str],
) -> Iterator[Segment]:
    """The segments that are wanted; the others are counted with the reason."""
    for segment in segments:
        reason = ""
        if _divided(columns, choice) and choice.rule != "legacy" and not segment.split:
            reason = "of no part"
        elif columns.sentiment and segment.sentiment is None:
            reason = "without a sentiment"
        elif segment.sentiment is not None and abs(segment.sentiment) < choice.min_abs:
            reason = f"a sentiment nearer to 0 than {choice.min_abs:g}"
        elif choice.min_seconds or choice.max_seconds:
            reason = _length_reason(segment, choice, root / recordings.get(_stem(segment, choice), "-"))
        if reason:
            counts[reason] += 1
        else:
            yield segment


def _length_reason(segment: Segment, choice: Choice, path: Path) -> str:
    """Why a segment is too short or too long; its recording is asked where the labels do not say how long it is."""
    seconds = segment.seconds
    if seconds is None:
        try:
            samples, rate = audio_header(path)
        except AudioError:
            return ""  # it is listed in errors.csv
        seconds = samples / rate - (0.0 if choice.segmented else segment.start or 0.0)
    if seconds < choice.min_seconds:
        return f"shorter than {choice.min_seconds:g} s"
    return f"longer than {choice.max_seconds:g} s" if 0 < choice.max_seconds < seconds else ""


def _legacy_mosei(segments: Sequence[Segment]) -> list[Segment]:
    """Nine of ten videos, drawn as the original did, are train, the others test."""
    videos = sorted({segment.video for segment in segments})
    order = np.random.RandomState(MOSEI_SEED).permutation(len(videos))
    train = {videos[i] for i in order[: int(TRAIN * len(videos))]}
    return [replace(segment, split="train" if segment.video in train else "test") for segment in segments]


def _legacy_mosi(segments: Sequence[Segment]) -> list[Segment]:
    """Nine of ten segments, in the order of the labels, drawn as pandas.DataFrame.sample draws, are train."""
    count = round(TRAIN * len(segments))
    train = set(np.random.RandomState(MOSI_SEED).choice(len(segments), count, replace=False).tolist())
    return [replace(segment, split="train" if i in train else "test") for i, segment in enumerate(segments)]


def _pair(segment: Segment, choice: Choice, recordings: Mapping[str, str]) -> Labelled:
    stem = _stem(segment, choice)
    span = (None, None) if choice.segmented else (segment.start, segment.stop)
    utterance = Utterance(
        segment.id, segment.split or WHOLE, segment.speaker, recordings.get(stem, f"{stem}.wav"), *span
    )
    return utterance, segment.values
