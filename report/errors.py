"""What a run got wrong: its worst utterances, and which answers it confuses; read from its predictions."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.error_rate import aligned, as_characters, as_words
from utility.predictions import SPEAKER, predictions_of, read_predictions

WORST = 20  # utterances that are listed
CONFUSED = 12  # pairs of answers
NO_LABEL = "-"  # of a frame
MARKS = ("", "S", "D", "I")  # by the kind of a piece of an alignment
Row = Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """A part of an alignment: its mark (S, D, I, empty where right), and both texts."""

    mark: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Utterance:
    """One that went wrong: by how much in words, and what stands beside what."""

    name: str
    speaker: str
    wrong: str  # "3 of 12 words", "12.4 % of 310 frames"
    pieces: Sequence[Piece] = ()
    true: str = ""
    predicted: str = ""


@dataclass(frozen=True)
class Confusion:
    """How often an answer was taken for another one, and the share of all that were to have that answer."""

    true: str
    predicted: str
    count: int
    share: float  # percent


@dataclass(frozen=True)
class Errors:
    """Of one part of one run. `counts` holds how often each true answer got each predicted one; `numbers` the true and
    the predicted ones of a regression."""

    utterances: int
    worst: Sequence[Utterance] = ()
    confusions: Sequence[Confusion] = ()
    counts: Mapping[tuple[str, str], int] | None = None
    numbers: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class _Scored:
    """What a row says: how wrong it is, the pairs that it adds to the confusions, and how it is shown."""

    badness: float
    pairs: Iterable[tuple[str, str]]
    show: Callable[[], Utterance]
    number: tuple[float, float] | None = None


def errors_of(folders: Sequence[Path], metric: str, classes: bool) -> Errors | None:
    """Those of the test part of one seed, whose folds are `folders`; None for tasks without answers of utterances.

    `metric` is the name of an error rate, which says what its tokens are; `classes` whether answers are classes, not
    numbers. ValueError for a file that is damaged."""
    counts: Counter[tuple[str, str]] = Counter()
    heap: list[tuple[float, int, _Scored]] = []
    numbers: list[tuple[float, float]] = []
    total = 0
    for total, row in enumerate(_rows(folders), 1):
        scored = _scored(row, metric, classes)
        if scored is None:
            return None
        counts.update(scored.pairs)
        if scored.number is not None:
            numbers.append(scored.number)
        if scored.badness > 0:
            item = (scored.badness, -total, scored)
            (heapq.heappush if len(heap) < WORST else heapq.heappushpop)(heap, item)
    worst = [scored.show() for *_, scored in sorted(heap, key=lambda one: (-one[0], -one[1]))]
    return Errors(total, worst, _confusions(counts), counts if classes and counts else None, numbers)


def _rows(folders: Sequence[Path]) -> Iterator[Row]:
    for folder in folders:
        yield from read_predictions(predictions_of(folder, "test"))


def _scored(row: Row, metric: str, classes: bool) -> _Scored | None:
    if "hypothesis" in row:
        return _recognised(row, metric)
    if "true" not in row:
        return _columns(row) if any(name.startswith("true_") for name in row) else None
    if not classes:
        return _number(row)
    true, predicted = row["true"].split(" "), row["predicted"].split(" ")
    if len(true) == len(predicted) > 1:
        return _frames(row, true, predicted)
    answer = (row["true"], row["predicted"])
    return _Scored(float(answer[0] != answer[1]), [answer], lambda: _utterance(row, "wrong", *answer))


def _utterance(row: Row, wrong: str, true: str = "", predicted: str = "", pieces: Sequence[Piece] = ()) -> Utterance:
    return Utterance(row["id"], row.get(SPEAKER, ""), wrong, pieces, true, predicted)


def _frames(row: Row, true: Sequence[str], predicted: Sequence[str]) -> _Scored:
    """The share of frames, and which answers were taken for which."""
    pairs = [(one, other) for one, other in zip(true, predicted) if one != NO_LABEL]
    missed = Counter(pair for pair in pairs if pair[0] != pair[1])
    share = 100 * missed.total() / len(pairs) if pairs else 0.0

    def show() -> Utterance:
        often = sorted(missed.items(), key=lambda one: (-one[1], one[0]))[:5]
        words = ", ".join(f"{one} → {other} {count} times" for (one, other), count in often)
        return _utterance(row, f"{share:.1f} % of {len(pairs)} frames: {words}")

    return _Scored(share, pairs, show)


def _recognised(row: Row, metric: str) -> _Scored:
    """The error rate of one utterance; the errors are those that the file states."""
    errors = sum(int(row[kind] or 0) for kind in "SDI")
    words = "character" not in metric
    tokens = as_words if words else as_characters
    reference, hypothesis = tokens(row["reference"]), tokens(row["hypothesis"])
    unit = "phones" if "phone" in metric else "words" if words else "characters"

    def show() -> Utterance:
        found = aligned(reference, hypothesis)
        pieces = [Piece(MARKS[kind], str(one or ""), str(other or "")) for kind, one, other in found]
        said = f"{errors} errors of {len(reference)} {unit}"
        return _utterance(row, said, pieces=pieces if words else _joined(pieces))

    rate = errors / max(len(reference), 1)
    return _Scored(rate, (), show)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Characters with a like mark as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].mark == piece.mark:
            last = joined.pop()
            piece = Piece(last.mark, last.reference + piece.reference, last.hypothesis + piece.hypothesis)
        joined.append(piece)
    return joined


def _columns(row: Row) -> _Scored:
    """Answers of several columns; right is who has all."""
    names = [name.removeprefix("true_") for name in row if name.startswith("true_")]
    missed = [name for name in names if row[f"true_{name}"] != row[f"predicted_{name}"]]
    true = ", ".join(f"{name} {row[f'true_{name}']}" for name in names)
    predicted = ", ".join(f"{name} {row[f'predicted_{name}']}" for name in names)
    pairs = [(f"{name} {row[f'true_{name}']}", f"{name} {row[f'predicted_{name}']}") for name in names]
    return _Scored(len(missed), pairs, lambda: _utterance(row, f"wrong: {', '.join(missed)}", true, predicted))


def _number(row: Row) -> _Scored:
    true, predicted = float(row["true"]), float(row["predicted"])
    apart = abs(true - predicted)
    return _Scored(
        apart, (), lambda: _utterance(row, f"off by {apart:.3g}", f"{true:g}", f"{predicted:.3g}"), (true, predicted)
    )


def _confusions(counts: Mapping[tuple[str, str], int]) -> list[Confusion]:
    """The most frequent ones."""
    totals: Counter[str] = Counter()
    for (true, _), count in counts.items():
        totals[true] += count
    wrong = [(count, pair) for pair, count in counts.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda one: (-one[0], one[1]))
    return [Confusion(*pair, count, 100 * count / totals[pair[0]]) for count, pair in wrong[:CONFUSED]]
