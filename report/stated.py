"""The numbers that a page states, each with what it can be computed from again: what `--verify` draws from.

They lie in the page itself, as JSON. A number is of a `kind`, which says how it is made; `of` says from what."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, get_args

from report.leaderboard import Leaderboard
from report.runs import Other, Pretraining, Probe, Runs
from utility.predictions import predictions_of
from utility.text import parse_json, read_text, short

Kind = Literal["file", "test", "dev", "checkpoint", "difference", "weights", "data", "parameters", "loss", "layer"]
ELEMENT = "numbers"


@dataclass(frozen=True)
class Stated:
    """A number, or three of them (with the ends of an interval), or a fingerprint."""

    kind: Kind
    about: str  # in words
    of: Mapping[str, Any]
    value: Sequence[float | None] | str


def stated(runs: Runs, board: Leaderboard, folder: Path) -> list[Stated]:
    """All numbers of a page; `folder` is that of the results, which places are below."""
    found = []
    known: set[tuple[str, str]] = set()  # a checkpoint that many runs read is stated once
    for one in (one for probe in runs.probes for one in _of_probe(probe, folder)):
        mark = one.kind, f"{one.about.partition(': ')[2]} {one.value}"
        if one.kind != "weights" or mark not in known:
            found.append(one)
        known.add(mark)
    found += _differences(board)
    found += [one for run in runs.pretrainings for one in _of_pretraining(run)]
    return found + [one for analysis in runs.analyses for one in _of_analysis(analysis)]


def _of_probe(probe: Probe, root: Path) -> Iterator[Stated]:
    if probe.test.value is None:
        return
    name = f"{probe.place}: {probe.metric.name}"
    for folders in probe.folders:
        for folder in folders:
            file = predictions_of(folder, "test")
            if file.is_file():
                place = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
                yield Stated("file", place, {"file": place}, sha256(file))
    yield Stated("test", f"{name} on test", {"run": probe.place}, [probe.test.value, probe.test.low, probe.test.high])
    if probe.dev is not None:
        yield Stated("dev", f"{name} on dev", {"run": probe.place}, [probe.dev])
    if (probe.folders[0][0] / "best.ckpt").is_file() and isinstance(probe.result.get("value"), float):
        about = f"{name} on test, of the checkpoint of its first seed"
        yield Stated("checkpoint", about, {"run": probe.place}, [probe.result["value"]])
    fingerprints = probe.result.get("fingerprints")
    if not isinstance(fingerprints, Mapping):
        return
    kinds: dict[str, Kind] = {"upstream": "weights", "store": "data"}
    for key, kind in kinds.items():
        known = fingerprints.get(key)
        if isinstance(known, Mapping) and known.get("fingerprint"):
            words = known.get("spec") if key == "upstream" else ", ".join(map(str, known.get("splits", ())))
            yield Stated(kind, f"{kind} of {probe.place}: {words}", {"run": probe.place}, str(known["fingerprint"]))


def _differences(board: Leaderboard) -> Iterator[Stated]:
    for column in board.columns:
        cells = {row: board.cells[row, column] for row in board.rows if (row, column) in board.cells}
        best = next(row for row, cell in cells.items() if cell.best)
        for cell in cells.values():
            for other, apart in ((best, cell.minus_best), (board.beside(column), cell.minus_baseline)):
                if apart is None or other is None:
                    continue
                names = [cell.probe.place, cells[other].probe.place]
                about = f"{column.task}: {names[0]} minus {names[1]}"
                yield Stated("difference", about, {"runs": names}, [apart.value, apart.low, apart.high])


def _of_pretraining(run: Pretraining) -> Iterator[Stated]:
    fingerprints = run.result.get("fingerprints")
    weights = fingerprints.get("weights") if isinstance(fingerprints, Mapping) else None
    if not isinstance(weights, Mapping):
        return
    yield Stated("weights", f"weights of {run.place}", {"pretraining": run.place}, str(weights.get("fingerprint")))
    size = run.result.get("parameters")
    if isinstance(size, Mapping) and isinstance(size.get("upstream"), int):
        yield Stated("parameters", f"parameters of {run.place}", {"pretraining": run.place}, [size["upstream"]])
    if isinstance(run.result.get("dev_value"), float):
        yield Stated("loss", f"loss of {run.place} on dev", {"pretraining": run.place}, [run.result["dev_value"]])


def _of_analysis(run: Other) -> Iterator[Stated]:
    """The scores of all layers, those of one experiment and upstream together: they are computed together."""
    for name, experiment in run.content.get("experiments", {}).items():
        if not isinstance(experiment, Mapping) or not isinstance(experiment.get("upstreams"), Mapping):
            continue
        for curve, points in experiment["upstreams"].items():
            scores = [point.get("score") for point in points if isinstance(point, Mapping)]
            of = {"analysis": run.place, "experiment": name, "upstream": curve}
            yield Stated("layer", f"{run.place}: {name} of {curve}, {len(scores)} layers", of, scores)


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_json(numbers: Sequence[Stated], about: Mapping[str, Any]) -> str:
    """For a script element: `<` cannot end it there."""
    content = {**about, "numbers": [asdict(one) for one in numbers]}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


class _Found(HTMLParser):
    """The text of the element that holds the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.text = False, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script" and ("id", ELEMENT) in attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data


def read_stated(page: Path) -> tuple[list[Stated], dict[str, Any]]:
    """The numbers of a page, and what else it says of itself; ValueError where it is none of ours, or damaged."""
    found = _Found()
    found.feed(read_text(page))
    try:
        content = parse_json(found.text)
        numbers = [Stated(**one) for one in content.pop("numbers")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{page}: no page of run_report.py, or damaged: no numbers are in it") from None
    for one in numbers:
        if one.kind not in get_args(Kind) or not isinstance(one.of, Mapping):
            raise ValueError(f"{page}: damaged: a number of the kind {short(one.kind)}")
    return numbers, content
