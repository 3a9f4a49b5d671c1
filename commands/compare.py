"""Finished probes beside each other."""

from collections.abc import Sequence
from pathlib import Path

from downstream.comparison import Beside, compare_runs
from downstream.intervals import Predicted
from utility.runs import Metric, with_interval
from utility.text import cut

SHOWN = 12  # settings that differ
WIDTH = 60


def compare(paths: Sequence[Path]) -> int:
    """Print the scores of runs, and how the others differ from the first."""
    task, predicted, runs = compare_runs(paths)
    first, *others = runs
    print(f"{task.name}: {task.metric} of {_part(predicted)}; {task.metric.better} is better")
    print(f"{'test':<24} {'minus the first':<34} run")
    print("\n".join(_row(one, task.metric) for one in runs))
    assert others[0].difference is not None, "only the first has none"
    print(f"scores: {first.sure.in_words}\ndifferences: {others[0].difference.in_words}")
    for one in others:
        print("\n".join(_more(first, one, len(predicted.answers))))
    return 0


def _part(predicted: Predicted) -> str:
    speakers = set(predicted.speakers)
    known = f"{len(speakers)} speakers" if all(speakers) else "unknown speakers"
    return f"{len(predicted.answers)} test predictions of {known}"


def _row(one: Beside, metric: Metric) -> str:
    minus = "-"
    if one.difference is not None and one.minus_first is not None:
        said = with_interval(one.minus_first, one.difference.about()["interval"], "")
        minus = f"{'+' * (one.minus_first >= 0)}{said} {_verdict(one, metric)}"
    return f"{with_interval(one.value, one.sure.about()['interval'], ''):<24} {minus:<34} {one.run.name}"


def _verdict(one: Beside, metric: Metric) -> str:
    assert one.minus_first is not None, "the first is beside nothing"
    if not one.clear:
        return "not clear"
    return "better" if (one.minus_first > 0) == (metric.better == "higher") else "worse"


def _more(first: Beside, one: Beside, rows: int) -> list[str]:
    """What a reader of a difference should know."""
    lines = [f"{one.run.name} differs from {first.run.name} in:"]
    lines += [f"  {cut(line, WIDTH * 2)}" for line in one.changed[:SHOWN]] or ["  nothing that was asked for"]
    if len(one.changed) > SHOWN:
        lines.append(f"  and {len(one.changed) - SHOWN} settings more")
    if one.other_answers:
        lines.append(
            f"warning: the true answers of {len(one.other_answers)} of {rows} differ, of {one.other_answers[0]} for "
            "one: the runs do not ask the same"
        )
    return lines
