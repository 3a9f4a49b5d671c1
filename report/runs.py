"""All finished runs below a folder of results, as a report reads them; what is damaged is kept by name."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from utility.results import RESULT, SUMMARY, read_result, summary_folders
from utility.runs import Metric, read_json
from utility.text import read_text, short
from utility.training.log import read_metrics
from utility.worst import WORST, read_worst

CURVE, CONFIG, METRICS = "curve.json", "config.yaml", "metrics.jsonl"
DUMP = "-dump"  # at the end of the name of a folder of pictures, beside a checkpoint
Folders = tuple[tuple[Path, ...], ...]  # of each seed those of its folds


@dataclass(frozen=True)
class Score:
    """A figure, its interval and its spread; None is unknown."""

    value: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None  # over seeds or folds
    method: str = ""  # of the interval, or why there is none

    @classmethod
    def of(cls, value: Any, interval: Any, reason: Any, deviation: Any = None) -> "Score":
        """From the fields of a result or a summary."""
        if not isinstance(interval, Mapping):
            return cls(_number(value), deviation=_number(deviation), method=str(reason or ""))
        low, high = _number(interval.get("low")), _number(interval.get("high"))
        return cls(_number(value), low, high, _number(deviation), str(interval.get("method", "")))


@dataclass(frozen=True)
class Probe:
    """A probing run, with all its seeds, folds and settings."""

    place: str  # its folder below the folder of results
    folder: Path
    task: str
    upstream: str
    metric: Metric
    test: Score
    dev: float | None
    folders: Folders
    result: Mapping[str, Any]  # of the first seed and fold
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Mapping[str, Any]:
        """Empty for a result of an earlier version."""
        return _table(self.result, "config")

    def setting(self, section: str, key: str) -> Any:
        """A value of its config."""
        return _table(self.config, section).get(key)

    @property
    def origin(self) -> Mapping[str, Any]:
        """What is known of the upstream: fingerprint, spec, checkpoint, step."""
        return _table(_table(self.result, "fingerprints"), "upstream")

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One for each seed, of folds those of all; empty for a single run."""
        folds = self.summary.get("folds")
        return [row for part in folds for row in part["seeds"]] if folds else self.summary.get("seeds", ())

    @property
    def layer(self) -> str:
        """Which hidden states it reads, in words."""
        if self.setting("upstream", "fine_tune"):
            return "fine-tuned"
        if self.result.get("layer_weights"):
            return "weighted sum"
        labels = list(dict.fromkeys(str(one.get("layer_label")) for one in self._chosen()))
        words = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
        return f"{words} by dev" if len(self.by_layer) > 1 else words

    def _chosen(self) -> Iterator[Mapping[str, Any]]:
        yield self.result
        for folders in self.folders[1:]:
            yield read_result(folders[0] / RESULT)

    @property
    def by_layer(self) -> dict[str, list[float]]:
        """The dev scores of a sweep over layers, one for each seed and fold, by the name of the setting."""
        tried: dict[str, list[float]] = {}
        for row in self.rows:
            for name, value in row.get("tried", {}).items():
                if value is not None and "layer=" in name:
                    tried.setdefault(name, []).append(float(value))
        return tried

    @property
    def warnings(self) -> list[str]:
        """What its files warn of."""
        solver = self.result.get("solver")
        found = [self.result.get("warning"), self.summary.get("warning")]
        found += list(solver.get("warnings", ())) if isinstance(solver, Mapping) else []
        return list(dict.fromkeys(str(one).removeprefix("warning: ") for one in found if one))


@dataclass(frozen=True)
class Other:
    """A curve over labels, or an analysis: its folder and the content of its file."""

    place: str
    folder: Path
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Pretraining:
    """A pre-training run; `result` is empty where it has not finished, `metrics` where its log is not there."""

    place: str
    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    metrics: Sequence[Mapping[str, float]]
    worst: Sequence[tuple[Path, str, float]] = ()  # folder of pictures, utterance and loss, greatest first

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name


@dataclass(frozen=True)
class Damaged:
    """A file that cannot be read, and why."""

    place: str
    reason: str


@dataclass(frozen=True)
class Runs:
    """All that was found, each kind by its place."""

    probes: Sequence[Probe] = ()
    curves: Sequence[Other] = ()
    analyses: Sequence[Other] = ()
    pretrainings: Sequence[Pretraining] = ()
    damaged: Sequence[Damaged] = ()


def read_runs(root: Path, logs: Path) -> Runs:
    """The runs below `root`; metrics of pre-training are below `logs`, in folders of the runs' names.

    Folders that a curve or a summary stands for are no runs of their own. ValueError where `root` is no folder."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder of results: name the one that --expdir and --ckpdir wrote to")
    found: dict[type, list[Any]] = {Probe: [], Pretraining: [], Damaged: []}
    curves: list[Other] = []
    analyses: list[Other] = []
    for folder, names in _folders(root):
        place, file = folder.relative_to(root).as_posix(), _telling(names)
        if file is None:
            continue
        try:
            one = _read(place, folder, file, logs)
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).replace(f"{root.as_posix()}/", "") or type(error).__name__
            found[Damaged].append(Damaged(f"{place}/{file}", reason))
            continue
        if isinstance(one, Other):
            (curves if file == CURVE else analyses).append(one)
        else:
            found[type(one)].append(one)
    return Runs(
        sorted(found[Probe], key=_place),
        sorted(curves, key=_place),
        sorted(analyses, key=_place),
        sorted(found[Pretraining], key=_place),
        sorted(found[Damaged], key=_place),
    )


def _place(one: Any) -> str:
    return str(one.place)


def _telling(names: Sequence[str]) -> str | None:
    """The file that says what a folder's run is, None of a folder without one."""
    trained = CONFIG in names and any(name.endswith(".ckpt") for name in names)
    if trained and not any(name.startswith("predictions_") for name in names) and not {CURVE, SUMMARY} & set(names):
        return CONFIG
    return next((name for name in (CURVE, SUMMARY, RESULT) if name in names), None)


def _read(place: str, folder: Path, file: str, logs: Path) -> Probe | Other | Pretraining:
    if file == CONFIG:
        return _pretraining(place, folder, logs)
    if file == SUMMARY:
        return _summarised(place, folder)
    content = read_json(folder / file)
    if file == CURVE or content.get("kind") == "analysis":
        (_check_curves if file == CURVE else _check_analysis)(content)
        return Other(place, folder, content)
    return _single(place, folder)


def _check_curves(content: Mapping[str, Any]) -> None:
    """Raise ValueError for what a page cannot lay out."""
    _check(content, ("task", "key", "axis", "deviation_over", "seeds"))
    _check(content.get("metric"), ("name", "unit", "better"))
    for curve in _listed(content.get("curves")):
        _check(curve, ("upstream",))
        for point in _listed(curve.get("points")):
            _check(point, ("name", "value", "hours", "test_mean", "test_deviation", "interval"))


def _check_analysis(content: Mapping[str, Any]) -> None:
    """Raise ValueError for what a page cannot lay out."""
    experiments = content.get("experiments")
    for experiment in _listed(list(experiments.values()) if isinstance(experiments, Mapping) else None):
        _check(experiment, ("measure",))
        for points in _table(experiment, "upstreams").values():
            for point in _listed(points):
                _check(point, ("label", "score"))


def _check(content: Any, keys: Sequence[str]) -> None:
    lacking = [key for key in keys if not isinstance(content, Mapping) or key not in content]
    if lacking:
        raise ValueError(f"damaged, it has no {lacking[0]}")


def _listed(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"damaged, {short(value)} is no list")
    return value


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with its files, but none below a curve, a summary or a finished run, and no hidden ones."""
    for folder, below, names in os.walk(root):
        if {CURVE, SUMMARY, RESULT} & set(names):
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(folder), names


def _single(place: str, folder: Path) -> Probe:
    result = read_result(folder / RESULT)
    test = Score.of(result["value"], result.get("interval"), result.get("no_interval"))
    return _probe(place, folder, result, test, result["dev_value"], ((folder,),), {})


def _summarised(place: str, folder: Path) -> Probe:
    summary, folders = read_json(folder / SUMMARY), summary_folders(folder / SUMMARY)
    value = summary["test_mean"] if summary.get("interval_of") != "pooled" else summary["pooled"]
    test = Score.of(value, summary.get("interval"), summary.get("no_interval"), summary["test_deviation"])
    return _probe(
        place,
        folder,
        read_result(folders[0][0] / RESULT),
        test,
        summary["dev_mean"],
        tuple(map(tuple, folders)),
        summary,
    )


def _probe(
    place: str,
    folder: Path,
    result: Mapping[str, Any],
    test: Score,
    dev: float | None,
    folders: Folders,
    summary: Mapping[str, Any],
) -> Probe:
    about = result["metric"]
    name, unit, better = str(about["name"]), str(about["unit"]), about.get("better", "higher")
    if better not in ("higher", "lower"):
        raise ValueError(f"its metric is better {better!r}: expected higher or lower")
    best = 0.0 if better == "lower" else 100.0 if unit == "%" else 1.0
    metric = Metric(name, name, unit, better, best)
    return Probe(place, folder, result["task"], result["upstream"], metric, test, dev, folders, result, summary)


def _pretraining(place: str, folder: Path, logs: Path) -> Pretraining:
    config = yaml.safe_load(read_text(folder / CONFIG))
    if not isinstance(config, Mapping):
        raise ValueError("damaged, it holds no settings")
    result = read_json(folder / RESULT) if (folder / RESULT).is_file() else {}
    own = [Path(result["log"])] if isinstance(result.get("log"), str) else []
    log = next((one for one in (logs / folder.name, *own, folder) if (one / METRICS).is_file()), None)
    worst = [(file.parent, *one) for file in folder.glob(f"*{DUMP}/{WORST}") for one in read_worst(file).items()]
    worst.sort(key=lambda one: (-one[2], one[0], one[1]))
    return Pretraining(place, folder, config, result, [] if log is None else read_metrics(log), worst)


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
