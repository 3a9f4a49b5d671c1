"""Probe or fine-tune an upstream, once or for many seeds and settings."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from commands.common import ELSEWHERE, ended, read_online, say_notes
from commands.dry_run import print_plan
from commands.settings import Probe
from downstream.config import DownstreamConfig, OnlineFile
from downstream.experiment import ONLINE, Experiment
from downstream.fold_runs import fold_folders, fold_settings, run_folds
from downstream.opened import Opened
from downstream.report import describe_result, run_folder
from downstream.setting import Setting
from downstream.splits import PARTS
from downstream.sweep import Choice, by_layer, choice_name, parse_sweep, run_many, run_single
from downstream.tasks.base import Task
from downstream.tasks.table import find_task
from mockingjay.foreign.configs import ConfigSource
from mockingjay.runs import DEFAULT_PROBING_CONFIG
from mockingjay.upstreams.spec import UpstreamSpec
from originals.probing_config import read_probing_config
from utility.config import read_yaml, resolve
from utility.device import claim_device, pick_device
from utility.locks import held
from utility.runs import with_unit
from utility.text import cut
from utility.training.distributed import Group
from utility.training.stopping import Stop, Stopped


def probe(settings: Probe) -> int:
    """Run what the settings say and print the result."""
    if settings.seeds < 1:
        raise ValueError(f"--seeds {settings.seeds}: expected at least 1")
    group = Group.join(pick_device(settings.cpu))
    with ExitStack() as stack:
        try:
            return _probe(settings, group, stack)
        except Stopped as stopped:
            return ended(stopped, group)


def _probe(settings: Probe, group: Group, stack: ExitStack) -> int:
    directory = group.by_leader(lambda: _folder(settings, stack))
    online, given = _online(settings, directory), _given(settings, directory)
    choices = _choices(settings, given, {} if online is None else {"data": online.data})
    config = choices[0].config
    task = _task(settings.run, choices)
    _check_complete(settings, config)
    _check_seeds(settings, choices)
    device = claim_device(settings.cpu, config.trainer.precision)
    quiet = not settings.msg or not group.leads
    setting = Setting(task, settings.upstream, config, settings.seed, device, quiet, group, Stop(), settings.assume)
    setting = setting if online is None else replace(setting, online=online.online)
    opened = Opened()
    choices = by_layer(setting, choices, opened)
    setting = replace(setting, config=choices[0].config)
    single = len(choices) == 1 and not choices[0].name and settings.seeds == 1 and not settings.folds
    if group.world > 1 and not (single and config.upstream.fine_tune):
        raise ValueError(
            "several processes are for one --fine_tune run, without --seeds, --sweep and --folds; start this"
        )
    if group.leads:
        say_notes(given)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    if settings.dry_run and settings.folds:
        _print_folds(setting, choices, len(seeds), directory)
    elif settings.dry_run:
        for choice in choices:
            print_experiment(Experiment(replace(setting, config=choice.config), directory), choice.name)
        if not single:
            print(f"runs: {len(choices)} settings with {settings.seeds} seeds each")
    elif single:
        result = run_single(setting, directory)
        if result is not None:
            print(describe_result(result, directory))
        group.leave()
    elif settings.folds:
        _print_fold_summary(run_folds(setting, choices, seeds, directory, opened), directory)
    else:
        _print_summary(run_many(setting, choices, seeds, directory, opened, warned=False), directory)
    return 0


def _folder(settings: Probe, stack: ExitStack) -> Path:
    """The run's folder, where no other run writes until the stack ends."""
    folder = run_folder(settings.expdir, settings.upstream.label, settings.run, settings.name, settings.resume)
    if not settings.dry_run:
        stack.enter_context(held(folder, ELSEWHERE))
    return folder


def print_experiment(experiment: Experiment, name: str = "") -> None:
    """The plan of a probe, `name` its setting in a sweep."""
    parts = experiment.corpus.describe()
    rule, left_out, lists = parts.pop("rule"), parts.pop("left_out"), parts.pop("lists", {})
    lines = [
        f"{part}: {figures['utterances']} utterances, {figures['hours']:.4f} hours, {figures['speakers']} speakers"
        + ("" if part == "train" else f", {figures['speakers_of_train']} of them in train")
        for part, figures in parts.items()
    ]
    lines += [f"list {listed['list']}: {listed['ids']} ids, {listed['missing']} not there" for listed in lists.values()]
    lines += [f"division: {rule}", *(f"left out, {reason}: {count}" for reason, count in left_out.items())]
    models = {"upstream": experiment.upstream, "probe": experiment.probe}
    more = [f"setting: {name}"] if name else []
    more.append(f"hidden state: {experiment.layers.in_words()} (of {', '.join(experiment.upstream.layers)})")
    trainer = experiment.setting.config.trainer
    epochs = f" ({trainer.epochs} epochs)" if trainer.epochs else ""
    steps = f"{trainer.steps or experiment.steps()}{epochs}"
    more.append(f"steps: {steps if experiment.solver is None else 'none, it is solved for'}")
    print_plan(experiment.setting.config, lines, models, experiment.directory, *more)


def _print_folds(setting: Setting, choices: Sequence[Choice], seeds: int, directory: Path) -> None:
    """The plan of the first fold, and the parts of all."""
    opened = Opened()
    settings = fold_settings(setting, opened)
    folders = fold_folders(list(settings), directory)
    lines: list[str] = []
    for name, of_one in settings.items():
        experiment = Experiment(of_one, folders[name], opened)
        if not lines:
            print_experiment(experiment)
        parts = {part: len(getattr(experiment.corpus.parts, part)) for part in PARTS}
        lines.append(f"fold {name}: " + ", ".join(f"{part} {count}" for part, count in parts.items()) + " utterances")
    print("\n".join(lines))
    print(f"runs: {len(settings)} folds, {len(choices)} settings with {seeds} seeds each")


def _online(settings: Probe, directory: Path) -> OnlineFile | None:
    """What recordings are read as: the flag's file, or of a run that goes on its own."""
    file = settings.online_config
    if file is None and settings.resume is not None and (directory / ONLINE).is_file():
        file = directory / ONLINE
    if file is None:
        return None
    return read_online(file)


def _given(settings: Probe, directory: Path) -> ConfigSource:
    """The config that is meant: of --config, of a run that goes on, or the page of all keys."""
    file = settings.config
    if file is None and settings.resume is not None and (directory / "config.yaml").is_file():
        file = directory / "config.yaml"
    if file is None and DEFAULT_PROBING_CONFIG.is_file():
        file = DEFAULT_PROBING_CONFIG
    return read_probing_config(file, settings.run)


def _choices(settings: Probe, given: ConfigSource, above: Mapping[str, Any]) -> list[Choice]:
    flags = {"layer": settings.layer, "weighted_sum": settings.weighted_sum, "fine_tune": settings.fine_tune}
    words = [f"upstream.{name}={value}" for name, value in flags.items() if value is not None]
    return [
        Choice(
            choice_name(sweep), resolve(DownstreamConfig, given.source, [*words, *settings.overrides, *sweep], above)
        )
        for sweep in parse_sweep(settings.sweep)
    ]


def _task(name: str, choices: Sequence[Choice]) -> Task:
    """The task of all settings of a sweep; ValueError where they are not of one, so that dev cannot choose."""
    tasks = [find_task(name, choice.config) for choice in choices]
    for choice, task in zip(choices, tasks):
        if task != tasks[0]:
            raise ValueError(
                f"--sweep: {choice.name} is another task than {choices[0].name}: dev cannot choose between them; run "
                "each by itself"
            )
    return tasks[0]


def _check_complete(settings: Probe, config: DownstreamConfig) -> None:
    """Say in one line all that is missing to probe a run of which nothing but its name is known."""
    if config.data.train:
        return
    train = f"data.train=[{','.join(_pretraining_data(settings.upstream)) or 'data/NAME/SPLIT'}]"
    phones = "" if config.data.alignment else " data.alignment=data/NAME (of preprocess_alignment.py, for phones)"
    raise ValueError(
        f"data.train is empty: list the splits to train on in a YAML of --config or in {DEFAULT_PROBING_CONFIG}, or "
        f"type run_downstream.py --run {settings.run} {train}{phones}"
    )


def _check_seeds(settings: Probe, choices: Sequence[Choice]) -> None:
    """Refuse several seeds where nothing is drawn: no head, and no weights of the upstream."""
    drawn = settings.upstream.kind == "random" or any(choice.config.probe.solver != "exact" for choice in choices)
    if settings.seeds > 1 and not drawn:
        raise ValueError(
            f"--seeds {settings.seeds} would change nothing: probe.solver=exact draws nothing, all seeds give the "
            "same; leave it out"
        )


def _pretraining_data(spec: UpstreamSpec) -> list[str]:
    """The stores that the run of a checkpoint was trained on, where its folder says so."""
    file = Path(spec.source).parent / "config.yaml" if spec.of_checkpoint and spec.source else None
    values: Mapping[str, Any] = read_yaml(file) if file is not None and file.is_file() else {}
    data = values.get("data")
    train = data.get("train") if isinstance(data, Mapping) and not values.get("online") else None
    return [str(path) for path in train] if isinstance(train, list) else []


def _print_summary(summary: Mapping[str, Any], directory: Path) -> None:
    unit = summary["metric"]["unit"]
    names = [*summary["seeds"][0]["tried"]]
    if names != [""]:
        print(f"{'seed':>6}  {'setting':<32} {f'dev {unit}':>7} {f'test {unit}':>7}")
    for row in summary["seeds"]:
        for name, dev in row["tried"].items():
            chosen = name == row["chosen"]
            test = f"{row['test_value']:7.2f} <- chosen on dev" if chosen else f"{'':7}"
            solved = row.get("solved", {}).get(name)
            how = "" if solved is None else f"  {solved['layer']:<8} {_how_solved(solved)}"
            print(f"{row['seed']:>6}  {name or '(as configured)':<32} {dev:7.2f}{how} {test}".rstrip())
    spread = f" +- {summary['test_deviation']:.2f}" if summary["test_deviation"] is not None else ""
    value = f"{summary['test_mean']:.2f}{spread} {unit}".rstrip()
    print(
        f"{summary['task']} {summary['upstream']}: test {value}, {summary['runs']} seeds "
        f"(dev {summary['dev_mean']:.2f}); {directory}/summary.json"
    )


def _how_solved(solved: Mapping[str, Any]) -> str:
    """What a row of the table says of a solved head."""
    formats = {"l2": "l2 {:<7g}", "gap": "gap {:.0e}", "seconds": "{:6.1f} s"}
    return " ".join(text.format(solved[name]) for name, text in formats.items() if name in solved)


def _print_fold_summary(summary: Mapping[str, Any], directory: Path) -> None:
    unit = summary["metric"]["unit"]
    print(f"{'fold':<24} {f'dev {unit}':>7} {f'test {unit}':>7}")
    for fold in summary["folds"]:
        spread = f" +- {fold['test_deviation']:.2f}" if fold["test_deviation"] is not None else ""
        print(f"{cut(fold['fold'], 24):<24} {fold['dev_value']:7.2f} {fold['test_value']:7.2f}{spread}")
    together = summary["pooled"]
    pooled = "" if together is None else f", of all their predictions {with_unit(together, unit)}"
    value = f"{summary['test_mean']:.2f} +- {with_unit(summary['test_deviation'], unit)}"
    print(
        f"{summary['task']} {summary['upstream']}: test {value} over {len(summary['folds'])} folds{pooled} "
        f"(dev {summary['dev_mean']:.2f}); {directory}/summary.json"
    )
