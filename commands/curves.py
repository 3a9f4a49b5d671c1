"""What `--each` prints: the plan of a curve, and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from downstream.crossings import gain_at
from downstream.curves import Amount, CurvePlan, check, curve_folders
from downstream.opened import Opened
from downstream.setting import Setting
from mockingjay.upstreams.spec import UpstreamSpec
from utility.runs import with_unit
from utility.text import cut


def with_upstreams(setting: Setting, specs: Sequence[UpstreamSpec]) -> list[Setting]:
    """The setting with each upstream; of several those that are checkpoints are told what is assumed of these."""
    alone = len(specs) == 1
    return [
        replace(setting, upstream=spec, assume=setting.assume if alone or spec.of_checkpoint else None)
        for spec in specs
    ]


def curve_plan_in_words(plan: CurvePlan, settings: Sequence[Setting], directory: Path) -> str:
    """What each value would train on, with each upstream; everything that a run refuses is refused here."""
    lines, opened = [], Opened()
    for setting, folder in zip(settings, curve_folders(plan, settings, directory), strict=True):
        amounts = check(plan, setting, folder, opened).amounts
        for value, of_value in zip(plan.values, amounts, strict=True):
            shown = dict.fromkeys(_parts(fold, amount) for (fold, _), amount in of_value.items())  # a sweep: once
            lines += [f"{setting.upstream.label} {value.name}{parts}" for parts in shown]
    counts = f"{len(settings)} upstreams, {len(plan.values)} values of {plan.key}"
    folds = f", {len({fold for fold, _ in amounts[0]})} folds" if plan.folds else ""
    choices = f"{len(plan.values[0].choices)} settings with {len(plan.seeds)} seeds each"
    return "\n".join([*lines, f"runs: {counts}{folds}, {choices}"])


def _parts(fold: str, amount: Amount) -> str:
    hours = "" if amount.hours is None else f" ({amount.hours:.4f} hours)"
    where = f", fold {fold}" if fold else ""
    return f"{where}: train {amount.utterances:g}{hours}, dev {amount.dev}, test {amount.test} utterances"


def curve_in_words(content: Mapping[str, Any], directory: Path) -> str:
    """The table of a curve, where its lines cross, and its files."""
    unit, key = content["metric"]["unit"], content["key"].rpartition(".")[2]
    hours = all(point["hours"] is not None for curve in content["curves"] for point in curve["points"])
    head = f"{'upstream':<24} {key:<16}" + (f" {'hours':>9}" if hours else "") + f" {'utterances':>10}"
    lines = [f"{head} {f'dev {unit}'.strip():>8} {f'test {unit}'.strip():>8}  {content['metric']['better']} is better"]
    for curve in content["curves"]:
        for point in curve["points"]:
            row = f"{cut(curve['upstream'], 24):<24} {cut(point['name'].partition('=')[2], 16):<16}"
            row += (f" {point['hours']:9.4g}" if hours else "") + f" {point['utterances']:10.6g}"
            lines.append(f"{row} {point['dev_mean']:8.2f} {point['test_mean']:8.2f}{_spread(point)}{_chosen(point)}")
    lines += _crossings_in_words(content)
    over = f"{len(content['seeds'])} seeds" if len(content["seeds"]) > 1 else "1 seed"
    lines.append(
        f"{content['task']} over {content['key']}, {over}, {content['steps']}; {directory}/curve.json, curve.png"
    )
    return "\n".join(lines)


def _spread(point: Mapping[str, Any]) -> str:
    """Behind the mean of a point: its deviation and its interval, where there are any."""
    spread = "" if point["test_deviation"] is None else f" +- {point['test_deviation']:.2f}"
    interval = point["interval"]
    return spread if interval is None else f"{spread} [{interval['low']:.2f}, {interval['high']:.2f}]"


def _chosen(point: Mapping[str, Any]) -> str:
    """What dev chose for each seed, where there was a choice."""
    if not all(isinstance(chosen, str) and chosen for chosen in point["chosen"]):
        return ""
    return f"  {', '.join(dict.fromkeys(point['chosen']))}"


def _crossings_in_words(content: Mapping[str, Any]) -> list[str]:
    """A line for each crossing, and for each two curves that do not cross."""
    unit, lines = content["metric"]["unit"], []
    crossed = {tuple(crossing["curves"]) for crossing in content["crossings"]}
    for crossing in content["crossings"]:
        one, other = crossing["curves"]
        ends = []
        for name, hours, gain in zip(crossing["between"], crossing["hours"], crossing["gains"]):
            better = one if gain["mean"] > 0 else other
            agreed = sum((value > 0) == (gain["mean"] > 0) for value in gain["seeds"] if value)
            at = name if hours is None else f"{name} ({hours:.4g} hours)"
            by = f"{with_unit(abs(gain['mean']), unit)}{_paired(gain)}"
            by += f", in {agreed} of {len(gain['seeds'])} seeds" if len(gain["seeds"]) > 1 else ""
            ends.append(f"at {at} {better} is better by {by}")
        lines.append(f"{one} and {other} cross between {' and '.join(crossing['between'])}: {'; '.join(ends)}")
    curves = content["curves"]
    for i, first in enumerate(curves):
        for second in curves[i + 1 :]:
            if (first["upstream"], second["upstream"]) not in crossed:
                lines.append(_apart_in_words(content, first, second))
    return lines


def _apart_in_words(content: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """That two curves do not cross."""
    gains = [gain_at(content, one, other, number)["mean"] for number in range(len(one["points"]))]
    if not any(gains):
        return f"{one['upstream']} and {other['upstream']} are equal at every value"
    better, worse = (one, other) if max(gains) > 0 else (other, one)
    where = "at every value" if all(gains) else "wherever they differ"
    return f"{better['upstream']} is better than {worse['upstream']} {where}"


def _paired(gain: Mapping[str, Any]) -> str:
    """The interval of a gain as it is printed behind its size."""
    if gain["interval"] is None:
        return ""
    low, high = gain["interval"]["low"], gain["interval"]["high"]
    low, high = (low, high) if gain["mean"] > 0 else (-high, -low)
    return f" [{low:.2f}, {high:.2f}]"
