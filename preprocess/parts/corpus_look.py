"""A corpus before anything is computed: what its headers say, what is broken, and what labels and texts fit it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from preprocess.parts.corpora import Corpus, Utterance
from utility.audio.headers import in_threads
from utility.audio.waveform import WHOLE, AudioError, Span, audio_form, read_in_pieces, span_samples
from utility.labels.table import match_rows
from utility.store.files import source_of
from utility.text import short

PIECE = 1 << 20  # samples decoded at once
FULL_SCALE, IN_A_ROW = 0.999, 3  # so many samples beside each other at full scale are clipped
SILENT_PEAK = 1e-4  # 80 dB below full scale


class Form(NamedTuple):
    """What a header says; of a recording that cannot be read the reason alone."""

    samples: int
    rate: int
    channels: int
    reason: str = ""


class Heard(NamedTuple):
    """What decoding tells of an utterance: the largest sample, whether it is clipped, and the reason of a failure."""

    peak: float
    clipped: bool
    reason: str = ""


@dataclass(frozen=True)
class Look:
    """The utterances of a corpus, their lengths in seconds [U], 0 where broken, and why each broken one is."""

    corpus: Corpus
    seconds: np.ndarray
    rates: np.ndarray
    channels: np.ndarray
    broken: Mapping[int, str]
    heard: Sequence[Heard] | None

    @property
    def utterances(self) -> Sequence[Utterance]:
        """As the corpus has them, ordered by split and id."""
        return self.corpus.utterances

    @property
    def good(self) -> np.ndarray:
        """Which utterances are not broken [U]."""
        return self.seconds > 0


def look_at(corpus: Corpus, read: bool, threads: int) -> Look:
    """Read every header once, and every utterance's samples where `read` says so."""
    utterances = corpus.utterances
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))
    forms = dict(zip(paths, in_threads(_form, [corpus.root / path for path in paths], "headers", threads)))
    seconds = np.zeros(len(utterances))
    rates, channels = np.zeros(len(utterances), np.int64), np.zeros(len(utterances), np.int64)
    broken: dict[int, str] = {}
    for i, utterance in enumerate(utterances):
        form = forms[utterance.path]
        try:
            reason = corpus.broken.get(utterance.path) or form.reason
            if reason:
                raise ValueError(reason)
            first, last = span_samples(form.samples, form.rate, (utterance.start, utterance.stop))
        except ValueError as error:
            broken[i] = str(error)
            continue
        seconds[i], rates[i], channels[i] = (last - first) / form.rate, form.rate, form.channels
    heard = None
    if read:
        asked = [(corpus.root / u.path, (u.start, u.stop), int(rate)) for u, rate in zip(utterances, rates)]
        heard = list(in_threads(_heard, asked, "samples", threads))
        for i, sound in enumerate(heard):
            if sound.reason and i not in broken:
                broken[i], seconds[i] = sound.reason, 0.0
    return Look(corpus, seconds, rates, channels, broken, heard)


def _form(path: Path) -> Form:
    try:
        return Form(*audio_form(path))
    except (AudioError, OSError) as error:
        return Form(0, 1, 0, str(error).removeprefix(f"{path}: "))


def _heard(asked: tuple[Path, Span, int]) -> Heard:
    """Decode one utterance; of a recording with a broken header nothing."""
    path, span, rate = asked
    if not rate:
        return Heard(0.0, False)
    try:
        samples, _, _ = audio_form(path)
        first, last = span_samples(samples, rate, span) if span != WHOLE else (0, samples)
        starts = range(0, last - first, PIECE)
        pieces = [(max(start - IN_A_ROW + 1, 0), min(start + PIECE, last - first)) for start in starts]
        peak, clipped = 0.0, False
        for wave in read_in_pieces(path, rate, pieces, span=span):
            loud = np.abs(wave)
            peak = max(peak, float(loud.max()))
            clipped = clipped or _runs(loud >= FULL_SCALE)
        return Heard(peak, clipped)
    except (AudioError, OSError) as error:
        return Heard(0.0, False, str(error).removeprefix(f"{path}: "))


def _runs(full: np.ndarray) -> bool:
    """Whether so many neighbours are at full scale."""
    together = full
    for _ in range(IN_A_ROW - 1):
        together = together[:-1] & full[len(full) - len(together) + 1 :]
    return bool(together.any())


def describe(look: Look) -> dict[str, Any]:
    """What was seen, ready for JSON."""
    utterances, good = look.utterances, look.good
    splits = look.corpus.splits
    of_split = np.array([u.split for u in utterances])
    about: dict[str, Any] = {
        "corpus": str(look.corpus.root),
        "all": _sizes(look, np.ones(len(utterances), bool)),
        "splits": {split: _sizes(look, of_split == split) for split in splits},
        "speakers_in_several_splits": _shared_speakers(utterances),
        "broken": [
            {"id": utterances[i].id, "split": utterances[i].split, "path": _source(utterances[i]), "reason": reason}
            for i, reason in sorted(look.broken.items())
        ],
        "left_out": look.corpus.left_out,
        "not_read": list(look.corpus.unread),
    }
    if look.heard is not None:
        named = [(u.id, sound) for u, sound, fine in zip(utterances, look.heard, good) if fine]
        about["clipped"] = [key for key, sound in named if sound.clipped]
        about["silent"] = [key for key, sound in named if sound.peak < SILENT_PEAK]
    return about


def matched(look: Look, ids: Sequence[str]) -> dict[str, Any]:
    """Which utterances have no text (or alignment), and which of these have no utterance."""
    own, theirs = {u.id for u in look.utterances}, set(ids)
    return {
        "both": len(own & theirs),
        "audio_without": sorted(own - theirs),
        "without_audio": sorted(theirs - own),
    }


def labelled(corpus: Corpus, table: Path, column: str) -> tuple[dict[str, Any], Sequence[str]]:
    """What a table of labels says of the utterances, and the label of each [U], empty where it has none."""
    utterances = corpus.utterances
    rows = match_rows(str(table), [column], [u.id for u in utterances], [u.path for u in utterances])
    labels = rows.values[column]
    splits: dict[str, Counter[str]] = {split: Counter() for split in corpus.splits}
    for utterance, label in zip(utterances, labels):
        if label:
            splits[utterance.split][label] += 1
    classes = sum(splits.values(), Counter())
    about = {
        "table": str(table),
        "column": column,
        "classes": dict(sorted(classes.items())),
        "splits": {split: dict(sorted(counts.items())) for split, counts in splits.items()},
        "utterances_without_label": [u.id for u, label in zip(utterances, labels) if not label],
        "rows_without_utterance": rows.spare,
    }
    return about, labels


def _sizes(look: Look, chosen: np.ndarray) -> dict[str, Any]:
    fine = np.flatnonzero(chosen & look.good)
    speakers = {look.utterances[i].speaker for i in np.flatnonzero(chosen).tolist()}
    about: dict[str, Any] = {
        "utterances": int(chosen.sum()),
        "broken": int(chosen.sum()) - len(fine),
        "hours": float(look.seconds[fine].sum() / 3600),
        "speakers": len(speakers - {""}),
        "without_speaker": sum(not look.utterances[i].speaker for i in np.flatnonzero(chosen).tolist()),
        "sample_rates": _counted(look.rates[fine]),
        "channels": _counted(look.channels[fine]),
    }
    if len(fine):
        order = fine[np.argsort(look.seconds[fine], kind="stable")]
        for name, i in (("shortest", order[0]), ("longest", order[-1])):
            about[name] = {"id": look.utterances[i].id, "seconds": float(look.seconds[i])}
        about["median_seconds"] = float(np.median(look.seconds[fine]))
    return about


def _counted(values: np.ndarray) -> dict[str, int]:
    return {
        str(value): count for value, count in zip(*(part.tolist() for part in np.unique(values, return_counts=True)))
    }


def _shared_speakers(utterances: Sequence[Utterance]) -> dict[str, int]:
    """How many speakers two splits share, where they share any."""
    speakers: dict[str, set[str]] = {}
    for utterance in utterances:
        speakers.setdefault(utterance.split, set()).add(utterance.speaker)
    pairs = {f"{one}, {other}": len((speakers[one] & speakers[other]) - {""}) for one, other in _pairs(speakers)}
    return {pair: count for pair, count in pairs.items() if count}


def _pairs(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return combinations(sorted(names), 2)


def _source(utterance: Utterance) -> str:
    return source_of(utterance.path, utterance.start, utterance.stop)


def table_lines(about: Mapping[str, Any]) -> list[str]:
    """The sizes of all splits, and of the corpus, as a table."""
    head = ("split", "utterances", "broken", "hours", "speakers", "shortest", "median", "longest", "Hz", "channels")
    rows = [head, *(_cells(name, sizes) for name, sizes in about["splits"].items())]
    if len(about["splits"]) > 1:
        rows.append(_cells("(all)", about["all"]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]


def _cells(name: str, sizes: Mapping[str, Any]) -> tuple[str, ...]:
    lengths = [sizes[key]["seconds"] if key in sizes else None for key in ("shortest", "longest")]
    lengths.insert(1, sizes.get("median_seconds"))
    kinds = [" ".join(sizes[key]) or "-" for key in ("sample_rates", "channels")]
    shown = ["-" if length is None else f"{length:.2f} s" for length in lengths]
    counts = (str(sizes["utterances"]), str(sizes["broken"]), f"{sizes['hours']:.2f}", str(sizes["speakers"]))
    return (name, *counts, *shown, *kinds)


def note_lines(about: Mapping[str, Any]) -> list[str]:
    """What a user should know besides, a line each."""
    shared = [f"{pair}: {count}" for pair, count in about["speakers_in_several_splits"].items()]
    notes = [f"speakers in several splits: {'; '.join(shared)}"] if shared else []
    for name in ("clipped", "silent"):
        if about.get(name):
            notes.append(f"{len(about[name])} {name}, {short(about[name][0])} for one")
    for what in ("text", "alignment"):
        if what in about:
            found = about[what]
            notes.append(f"{what} {found['folder']}: {found['both']} utterances have one")
            for key, words in (
                ("audio_without", f"utterances without {what}"),
                ("without_audio", f"{what}s without audio"),
            ):
                if found[key]:
                    notes.append(f"  {len(found[key])} {words}, {short(found[key][0])} for one")
    if "labels" in about:
        notes += _label_notes(about["labels"])
    return notes


def _label_notes(labels: Mapping[str, Any]) -> list[str]:
    counts: Counter[str] = Counter(labels["classes"])
    most = sorted(counts, key=lambda name: (-counts[name], name))
    shown = "  ".join(f"{short(name)} {counts[name]}" for name in most[:20])
    more = f"  and {len(most) - 20} more" if len(most) > 20 else ""
    without, spare = len(labels["utterances_without_label"]), labels["rows_without_utterance"]
    lines = [f"labels {labels['column']} of {labels['table']}: {len(counts)} different: {shown}{more}"]
    if without or spare:
        lines.append(f"  {without} utterances without label, {spare} rows without utterance")
    return lines
