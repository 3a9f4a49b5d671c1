"""Probe or fine-tune an upstream, once or for many seeds and settings."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from commands.common import ELSEWHERE, ended, read_online, say_notes
from commands.curves import curve_in_words, curve_plan_in_words, with_upstreams
from commands.dry_run import print_plan
from commands.settings import Probe
from downstream.config import ConfigFile, DownstreamConfig, OnlineFile
from downstream.curves import CURVES, CurvePlan, Value, each_key, parse_each, run_curve
from downstream.experiment import Experiment
from downstream.fold_runs import fold_folders, fold_settings, run_folds
from downstream.intervals import stated
from downstream.opened import Opened
from downstream.report import describe_result, event_folders, run_folder
from downstream.setting import CONFIG, ONLINE, EventFolders, Setting
from downstream.splits import PARTS
from downstream.sweep import Choice, by_layer, choice_name, parse_sweep, run_many, run_single
from downstream.tasks.table import find_task
from mockingjay.foreign.configs import ConfigSource
from mockingjay.runs import DEFAULT_PROBING_CONFIG
from mockingjay.upstreams.spec import UpstreamSpec
from originals.probing_config import read_probing_config
from utility.config import read_yaml, resolve
from utility.device import claim_device, pick_device
from utility.locks import held
from utility.runs import in_brackets, with_interval, with_unit
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
    folders = group.by_leader(lambda: _folders(settings, stack))
    directory = folders.results
    online, given = _online(settings, directory), _given(settings, directory)
    above = {} if online is None else {"data": online.data}
    values = _values(settings, lambda words: _choices(settings, given, above, words))
    choices, task = values[0].choices, values[0].task
    config = choices[0].config
    _check_complete(settings, config)
    _check_seeds(settings, choices)
    device = claim_device(settings.cpu, config.trainer.precision)
    quiet = not settings.msg or not group.leads
    setting = Setting(task, settings.upstreams[0], config, settings.seed, device, quiet, group, Stop(), settings.assume)
    setting = replace(setting, events=folders, online=None if online is None else online.online)
    opened = Opened()
    values = [replace(one, choices=by_layer(setting, one.choices, opened)) for one in values]
    choices = values[0].choices
    setting = replace(setting, config=choices[0].config)
    several = len(choices) > 1 or settings.seeds > 1 or settings.folds or settings.each
    single = not several and not choices[0].name
    if group.world > 1 and not (single and config.upstream.fine_tune):
        raise ValueError(
            "several processes are for one --fine_tune run, without --seeds, --sweep, --folds and --each; start this"
        )
    if group.leads:
        say_notes(given)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    if settings.each:
        plan = CurvePlan(each_key(settings.each), values, seeds, settings.folds)
        upstreams = with_upstreams(setting, settings.upstreams)
        if settings.dry_run:
            print_experiment(Experiment(replace(upstreams[0], config=config), directory))
            print(curve_plan_in_words(plan, upstreams, directory))
        else:
            print(curve_in_words(run_curve(plan, upstreams, directory), directory))
    elif settings.dry_run and settings.folds:
        _print_folds(setting, choices, len(seeds), directory)
    elif settings.dry_run:
        for choice in choices:
            print_experiment(Experiment(choice.of(setting), directory), choice.name)
        if not single:
            print(f"runs: {len(choices)} settings with {settings.seeds} seeds each")
    elif single:
        result = run_single(setting, directory)
        if result is not None:
            print(describe_result(result, directory))
        group.leave()
    elif settings.folds:
        _print_fold_summary(run_folds(setting, choices, seeds, directory, opened, warned=False), directory)
    else:
        _print_summary(run_many(setting, choices, seeds, directory, opened, warned=False), directory)
    return 0


def _folders(settings: Probe, stack: ExitStack) -> EventFolders:
    """The run's folder, where no other run writes until the stack ends, and that of TensorBoard's files."""
    upstream = settings.upstreams[0].label if len(settings.upstreams) == 1 else CURVES
    folder = run_folder(settings.expdir, upstream, settings.run, settings.name, settings.resume)
    folders = event_folders(settings.logdir, folder, upstream, settings.run)
    if not settings.dry_run:
        stack.enter_context(held(folder, ELSEWHERE))
    return folders


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
    if file is None and settings.resume is not None and (directory / CONFIG).is_file():
        file = directory / CONFIG
    if file is None and DEFAULT_PROBING_CONFIG.is_file():
        file = DEFAULT_PROBING_CONFIG
    return read_probing_config(file, settings.run)


def _choices(
    settings: Probe, given: ConfigSource, above: Mapping[str, Any], of_value: Sequence[str] = ()
) -> list[Choice]:
    """The settings of a sweep; `of_value` are overrides of one value of a curve."""
    flags = {"layer": settings.layer, "weighted_sum": settings.weighted_sum, "fine_tune": settings.fine_tune}
    words = [f"upstream.{name}={value}" for name, value in flags.items() if value is not None]
    return [
        Choice(
            choice_name(sweep),
            resolve(ConfigFile, given.source, [*words, *settings.overrides, *of_value, *sweep], above).config,
        )
        for sweep in parse_sweep(settings.sweep)
    ]


def _values(settings: Probe, choices_of: Callable[[Sequence[str]], list[Choice]]) -> list[Value]:
    """The values of --each; without it one, with the settings of the sweep."""
    if settings.each is None:
        return [_value("", settings.run, choices_of(()))]
    flags = {f"upstream.{name}": f"--{name}" for name in ("layer", "weighted_sum", "fine_tune")}
    said = {key: flag for key, flag in flags.items() if getattr(settings, flag[2:]) is not None}
    said |= {word.partition("=")[0]: word for word in settings.overrides}
    said |= {word.partition("=")[0]: "--sweep" for swept in parse_sweep(settings.sweep) for word in swept}
    each = parse_each(settings.each, said)
    return [_value(choice_name((word,)), settings.run, choices_of([word])) for word in each]


def _value(name: str, run: str, choices: Sequence[Choice]) -> Value:
    """A value, with the settings of its sweep and their task."""
    choices = _with_tasks(run, choices)
    assert choices[0].task is not None, "each has one"
    return Value(name, choices[0].task, choices)


def _with_tasks(name: str, choices: Sequence[Choice]) -> list[Choice]:
    """The settings of a sweep, each with its task; ValueError where these are not alike, so that dev cannot choose."""
    tasks = [find_task(name, choice.config) for choice in choices]
    for choice, task in zip(choices, tasks):
        if task != tasks[0]:
            raise ValueError(
                f"--sweep: {choice.name} is another task than {choices[0].name}: dev cannot choose between them; run "
                "each by itself"
            )
    return [replace(choice, task=task) for choice, task in zip(choices, tasks)]


def _check_complete(settings: Probe, config: DownstreamConfig) -> None:
    """Say in one line all that is missing to probe a run of which nothing but its name is known."""
    if config.data.train:
        return
    train = f"data.train=[{','.join(_pretraining_data(settings.upstreams[0])) or 'data/NAME/SPLIT'}]"
    phones = "" if config.data.alignment else " data.alignment=data/NAME (of preprocess_alignment.py, for phones)"
    raise ValueError(
        f"data.train is empty: list the splits to train on in a YAML of --config or in {DEFAULT_PROBING_CONFIG}, or "
        f"type run_downstream.py --run {settings.run} {train}{phones}"
    )


def _check_seeds(settings: Probe, choices: Sequence[Choice]) -> None:
    """Refuse several seeds where nothing is drawn: no head, and no weights of the upstream."""
    drawn = any(spec.kind == "random" for spec in settings.upstreams) or any(
        choice.config.probe.solver != "exact" for choice in choices
    )
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
            test = f"{with_interval(row['test_value'], row['test_interval'], ''):>7} <- chosen on dev" if chosen else ""
            solved = row.get("solved", {}).get(name)
            how = "" if solved is None else f"  {solved['layer']:<8} {_how_solved(solved)}"
            print(f"{row['seed']:>6}  {name or '(as configured)':<32} {with_unit(dev, ''):>7}{how} {test}".rstrip())
    spread = f" +- {summary['test_deviation']:.2f}" if summary["test_deviation"] is not None else ""
    value = f"{with_unit(summary['test_mean'], '')}{spread} {unit}".rstrip() + in_brackets(summary["interval"])
    print(
        f"{summary['task']} {summary['upstream']}: test {value}, {summary['runs']} seeds "
        f"(dev {with_unit(summary['dev_mean'], '')}); {directory}/summary.json"
    )
    print(stated(summary))


def _how_solved(solved: Mapping[str, Any]) -> str:
    """What a row of the table says of a solved head."""
    formats = {"l2": "l2 {:<7g}", "gap": "gap {:.0e}", "seconds": "{:6.1f} s"}
    return " ".join(text.format(solved[name]) for name, text in formats.items() if name in solved)


def _print_fold_summary(summary: Mapping[str, Any], directory: Path) -> None:
    unit = summary["metric"]["unit"]
    print(f"{'fold':<24} {f'dev {unit}':>7} {f'test {unit}':>7}")
    for fold in summary["folds"]:
        spread = f" +- {fold['test_deviation']:.2f}" if fold["test_deviation"] is not None else ""
        dev, test = (with_unit(fold[f"{part}_value"], "") for part in ("dev", "test"))
        between = in_brackets(fold["test_interval"])
        print(f"{cut(fold['fold'], 24):<24} {dev:>7} {test:>7}{spread}{between}")
    together = summary["pooled"]
    pooled = (
        "" if together is None else f", of all their predictions {with_interval(together, summary['interval'], unit)}"
    )
    value = f"{with_unit(summary['test_mean'], '')} +- {with_unit(summary['test_deviation'], unit)}"
    print(
        f"{summary['task']} {summary['upstream']}: test {value} over {len(summary['folds'])} folds{pooled} "
        f"(dev {with_unit(summary['dev_mean'], '')}); {directory}/summary.json"
    )
    print(stated(summary))
