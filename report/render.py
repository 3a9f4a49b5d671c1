"""A page as text: the template of `page/`, filled."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader

from report.content import Content
from report.leaderboard import Row
from report.runs import Pretraining, Probe, Score
from report.stated import as_json
from report.words import amount, digits_of, duration, interval, number, relative_to, signed
from utility.results import RESULT, SUMMARY

HERE = Path(__file__).parent / "page"
MARKS = {"S": "substitution", "D": "deletion", "I": "insertion"}
Shown = tuple[float | str | None, str]  # what a column is sorted by, and what stands there


def render(content: Content, code: str, date: str | None) -> str:
    """The page, whole. `code` is the fingerprint of the program that makes it."""
    clean = relative_to(content.options.project)

    def finalize(value: Any) -> Any:
        return clean(value) if type(value) is str else value

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, finalize=finalize, trim_blocks=True, lstrip_blocks=True
    )
    fields = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    said = _said(content)
    functions = {
        "number": number,
        "interval": interval,
        "signed": signed,
        "digits_of": digits_of,
        "bounds": lambda given, digits: interval(Score.of(None, given, ""), digits),
        "about_row": _about_row(content),
        "trained_row": _trained_row,
        "analysis_rows": _analysis_rows,
        "run_row": _run_row,
        "facts": _facts,
    }
    numbers = clean(as_json(content.numbers, {"made_of": said, "code": code}))
    return environment.get_template("page.html").render(
        **fields,
        **functions,
        code=code,
        date=date,
        said=said,
        parts=_parts(content),
        places={card.probe.place: card.number for card in content.cards},
        marks=MARKS,
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        json=numbers,
    )


def _parts(content: Content) -> list[dict[str, str]]:
    there = (
        ("leaderboard", "Scores", content.board.rows),
        ("pretraining", "Pre-training", content.pretrainings),
        ("curves", "Labels", content.curves),
        ("layers", "Layers", content.analyses),
        ("runs", "All runs", content.cards),
        ("check", "Checking", True),
    )
    return [{"id": name, "title": title} for name, title, wanted in there if wanted]


def _said(content: Content) -> str:
    """What a page is of."""
    runs = content.runs
    counts = (
        (len(runs.probes), "probe"),
        (len(runs.curves), "curve"),
        (len(runs.analyses), "analysis"),
        (len(runs.pretrainings), "pre-training run"),
    )
    plural = {"analysis": "analyses"}
    words = [f"{count} {name if count == 1 else plural.get(name, f'{name}s')}" for count, name in counts if count]
    return f"{', '.join(words) or 'No run'}." + (f" {len(runs.damaged)} files cannot be read." if runs.damaged else "")


def _about_row(content: Content) -> Any:
    """What stands under an upstream's name: its weights, size and steps."""
    by_place = {run.place.rpartition("/")[2]: run for run in content.runs.pretrainings}

    def about(row: Row) -> str:
        cells = [cell for (other, _), cell in content.board.cells.items() if other == row]
        probe = cells[0].probe
        words = [row.about]
        size = probe.result.get("parameters")
        if isinstance(size, Mapping) and size.get("upstream"):
            words.append(f"{amount(size['upstream'])} parameters")
        if probe.origin.get("step"):
            words.append(f"{probe.origin['step']:,} updates")
        checkpoint = probe.origin.get("checkpoint")
        run = by_place.get(Path(str(checkpoint)).parent.name) if checkpoint else None
        if run is not None and (hours := _hours(run)) is not None:
            words.append(f"{number(hours, 2)} hours of speech")
        return ", ".join(filter(None, words))

    return about


def _hours(run: Pretraining) -> float | None:
    train = run.result.get("division", {}).get("train", {})
    return train.get("hours") if isinstance(train, Mapping) else None


def _trained_row(run: Pretraining) -> list[Shown]:
    result, metrics = run.result, run.metrics
    size = result.get("parameters", {}).get("upstream")
    losses = [one["loss"] for one in metrics if "loss" in one]
    devs = [one["dev_loss"] for one in metrics if "dev_loss" in one]
    masked = [100 * one["masked_share"] for one in metrics if "masked_share" in one]
    speeds = [one["frames_per_s"] for one in metrics if "frames_per_s" in one]
    best = result.get("dev_value") if result else min(devs, default=None)
    hours = _hours(run)
    steps = result.get("steps") or (metrics[-1]["step"] if metrics else None)
    weights = result.get("fingerprints", {}).get("weights", {}).get("fingerprint", "–")
    shown: list[Shown] = [
        (None, str(run.config.get("objective", "masked"))),
        (size, amount(size)),
        (hours, number(hours, 2)),
        (steps, "–" if steps is None else f"{steps:,.0f}"),
    ]
    for value, digits in (
        (losses[-1] if losses else None, 4),
        (best, 4),
        (median(masked) if masked else None, 1),
        (median(speeds) if speeds else None, 0),
    ):
        shown.append((value, number(value, digits)))
    shown.append((result.get("seconds"), duration(result.get("seconds"))))
    return [*shown, (None, weights if result else "not finished")]


@dataclass(frozen=True)
class LayerRow:
    """The best layer of an upstream in an experiment."""

    experiment: str
    upstream: str
    label: str
    score: float | None
    interval: str
    chance: float | None
    measure: str


def _analysis_rows(content: Mapping[str, Any]) -> Iterator[LayerRow]:
    for name, experiment in content.get("experiments", {}).items():
        sign = 1 if experiment.get("higher_is") == "better" else -1
        for curve, points in (experiment.get("upstreams") or {}).items():
            scored = [point for point in points if isinstance(point.get("score"), int | float)]
            if not scored:
                continue
            last = experiment.get("shown") == "rows"
            best = scored[-1] if last else max(scored, key=lambda point: sign * point["score"])
            chance = experiment.get("chance")
            chance = chance.get(curve) if isinstance(chance, Mapping) else chance
            unit = f" ({experiment['unit']})" if experiment.get("unit") else ""
            bounds = interval(Score(best["score"], best.get("low"), best.get("high")), 3)
            yield LayerRow(name, curve, best["label"], best["score"], bounds, chance, f"{experiment['measure']}{unit}")


def _run_row(probe: Probe) -> list[Shown]:
    digits = digits_of(probe.metric.unit)
    division = probe.result.get("division")
    train = division.get("train") if isinstance(division, Mapping) else None
    hours = train.get("hours") if isinstance(train, Mapping) else None
    solver = probe.result.get("solver")
    rate = solver.get("l2") if isinstance(solver, Mapping) else probe.setting("optimizer", "lr")
    seconds = _seconds(probe)
    seeds = len(probe.folders)
    folds = len(probe.folders[0])
    finished = _finished(probe)
    return [
        (None, f"{probe.task}, {probe.metric}"),
        (None, probe.upstream),
        (None, probe.layer),
        (hours, number(hours, 3)),
        (rate, "–" if rate is None else f"{rate:g}"),
        (probe.dev, number(probe.dev, digits)),
        (probe.test.value, number(probe.test.value, digits)),
        (None, interval(probe.test, digits)),
        (seeds, f"{seeds}" if folds == 1 else f"{seeds} × {folds} folds"),
        (probe.result["steps"], f"{probe.result['steps']:,}"),
        (seconds, duration(seconds)),
        (finished.timestamp(), f"{finished:%Y-%m-%d %H:%M}"),
    ]


def _seconds(probe: Probe) -> float | None:
    seconds = probe.result.get("seconds")
    return seconds if isinstance(seconds, int | float) else None


def _finished(probe: Probe) -> datetime:
    """When its file was written, UTC."""
    file = probe.folder / (SUMMARY if probe.summary else RESULT)
    return datetime.fromtimestamp(int(file.stat().st_mtime), UTC)


def _facts(probe: Probe) -> Iterator[tuple[str, str]]:
    """What a card says of a run, in words."""
    result = probe.result
    digits = digits_of(probe.metric.unit)
    yield "metric", f"{probe.metric}, {probe.metric.better} is better"
    if probe.test.method:
        yield "interval", probe.test.method
    for name, control in (result.get("controls") or {}).items():
        yield name, f"{number(control.get('value'), digits)}, {control.get('about')}"
    for part in ("train", "dev", "test"):
        own = result.get("division", {}).get(part)
        if isinstance(own, Mapping):
            speakers = f", {own['speakers']} speakers" if own.get("speakers") else ""
            yield part, f"{own.get('utterances'):,} utterances{speakers}, {number(own.get('hours'), 3)} hours"
    for name, known in result.get("fingerprints", {}).items():
        words = known.get("spec") or ", ".join(map(str, known.get("splits") or known.get("columns") or ()))
        yield f"{name}, fingerprint", f"{words} {known.get('fingerprint')}"
    for row in probe.rows:
        chosen = f", {row['chosen']} by dev" if row.get("chosen") else ""
        yield (
            f"seed {row.get('seed')}",
            f"dev {number(row.get('dev_value'), digits)}, test {number(row.get('test_value'), digits)}{chosen}",
        )
    solver = result.get("solver")
    if isinstance(solver, Mapping):
        yield "solver", str(solver.get("in_words"))
    yield "versions", ", ".join(f"{name} {text}" for name, text in result.get("versions", {}).items())
