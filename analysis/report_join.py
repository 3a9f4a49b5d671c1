"""Several runs of the analysis as one result, for one figure of all their curves."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from utility.text import short

# What an experiment must have in common for its curves to share an axis.
SAME = ("measure", "unit", "higher_is", "shown")
LEVELS = ("chance", "ceiling")
LISTS = ("differences", "layer_weights")
BY_CURVE = ("upstreams", "heads", "block_heads", "changes", "pruning", "maps")  # tables by curve, or by map
Experiments = Mapping[str, Mapping[str, Any]]


def join(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The content of a result.json with the curves of all runs; `results` are those contents by the name of the run.

    A curve that two runs have with the same scores is there once. One name for two curves becomes NAME (RUN). Chance
    and ceiling that differ become one of each run; counts of data that differ are said to. ValueError for no run, for
    what is no result of an analysis, and for an experiment that two runs measure otherwise."""
    if not results:
        raise ValueError("no results to join: name the folders of one run or more")
    runs = {run: _experiments(run, content) for run, content in results.items()}
    names = _names(runs, _clashes(runs, results))
    joined: dict[str, dict[str, Any]] = {}
    for run, experiments in runs.items():
        for name, experiment in experiments.items():
            renamed = _renamed(experiment, names[run])
            renamed |= {level: _by_run(run, experiment.get(level)) for level in LEVELS}
            if name in joined:
                _add(f"{name} of {run}", joined[name], renamed)
            else:
                joined[name] = renamed
    for experiment in joined.values():
        for level in LEVELS:
            experiment[level] = _one_level(experiment[level])
    curves = {
        names[run](curve): about
        for run, content in results.items()
        for curve, about in _table(content, "curves").items()
    }
    return {"kind": "analysis", "joined": list(results), "experiments": joined, "curves": curves}


def _experiments(run: str, content: Mapping[str, Any]) -> Experiments:
    experiments = content.get("experiments") if isinstance(content, Mapping) else None
    if not isinstance(experiments, Mapping) or not all(isinstance(one, Mapping) for one in experiments.values()):
        raise ValueError(
            f"{run}: no result of an analysis, its experiments are {short(experiments)}: name runs of run_analysis.py"
        )
    for name, experiment in experiments.items():
        for key in BY_CURVE:
            if not isinstance(experiment.get(key) or {}, Mapping):
                raise ValueError(f"{run}: {name}: its {key} is {short(experiment[key])}, expected a table by name")
    return experiments


def _names(runs: Iterable[str], clashes: Collection[str]) -> dict[str, Callable[[str], str]]:
    """What each run calls its curves."""

    def of_run(run: str) -> Callable[[str], str]:
        return lambda curve: f"{curve} ({run})" if curve in clashes else curve

    return {run: of_run(run) for run in runs}


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A field that is a table by name, empty where it is none."""
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def _clashes(runs: Mapping[str, Experiments], results: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Names that stand for two curves: other scores in one experiment, or other fingerprints."""
    known: dict[tuple[str, ...], Any] = {}
    clashes = set()
    for run, experiments in runs.items():
        marks: dict[tuple[str, ...], Any] = {
            (name, key, curve): value
            for name, experiment in experiments.items()
            for key in BY_CURVE
            for curve, value in (experiment.get(key) or {}).items()
        }
        marks |= {("fingerprint", "", curve): mark for curve, mark in _fingerprints(results[run]).items()}
        clashes |= {place[-1] for place, value in marks.items() if known.setdefault(place, value) != value}
    return clashes


def _fingerprints(content: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprints of the upstreams of a result by their name."""
    return {
        name: str(origin["fingerprint"])
        for name, origin in _table(content, "fingerprints").items()
        if isinstance(origin, Mapping) and "fingerprint" in origin
    }


def _renamed(experiment: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """What can be joined of an experiment, with other names of its curves in every field that names them."""
    copy = {key: experiment.get(key) for key in (*SAME, *BY_CURVE, *LISTS, "data")}
    for key in BY_CURVE:
        if experiment.get(key):
            copy[key] = {rename(curve): value for curve, value in experiment[key].items()}
    if experiment.get("differences"):
        copy["differences"] = [
            one | {end: [rename(one[end][0]), one[end][1]] for end in ("one", "other")}
            for one in experiment["differences"]
        ]
    return copy


def _add(where: str, joined: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put an experiment of another run to those of the runs before it."""
    for key in SAME:
        if joined.get(key) != more.get(key):
            raise ValueError(
                f"{where}: its {key} is {short(more.get(key))}, that of the runs before it {short(joined.get(key))}: "
                "join only runs that measure alike"
            )
    for key in BY_CURVE:
        if more.get(key):
            joined[key] = {**(joined.get(key) or {}), **more[key]}
    for key in LISTS:
        if more.get(key):
            before: Sequence[Any] = joined.get(key) or []
            joined[key] = [*before, *(one for one in more[key] if one not in before)]
    for level in LEVELS:
        joined[level] = {**joined[level], **more[level]}
    if joined.get("data") != more.get("data"):
        joined["data"] = {"samples": "differ between runs"}


def _by_run(run: str, level: Any) -> dict[str, Any]:
    """Chance or the ceiling by name: of the run, or of the names that it has already."""
    if isinstance(level, Mapping):
        return {f"{name} ({run})": value for name, value in level.items()}
    return {} if level is None else {run: level}


def _one_level(levels: Mapping[str, Any]) -> Any:
    """One number where all runs agree, null where none has one."""
    values = list(levels.values())
    return None if not values else values[0] if all(value == values[0] for value in values) else dict(levels)
