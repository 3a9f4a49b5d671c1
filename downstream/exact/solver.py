"""The optimum of a linear head: for each strength of L2, from strong to weak; dev chooses one of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from downstream.exact.minimise import minimise
from downstream.exact.objective import Moments, Objective, Point
from downstream.exact.rows import KEPT, Rows
from downstream.exact.sample import Sample
from downstream.heads.linear import Linears
from downstream.metrics.base import Score, selection_error
from utility.batches import Batch
from utility.runs import Metric

GRID = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # strengths of L2 beside the mean loss
FLAT = 3e-5  # norm of a gradient, by standardised weights, that is small enough
SMALL = 1e-5  # nats of a gap that is not worth a warning
PASSES = 300  # at most, over the training part, for a strength
NEVER = -1e4  # the bias of a class that training lacks, while the others are solved for


@dataclass(frozen=True)
class Exact:
    """Solves a `Linears` of one layer for the minimum of mean cross-entropy + l2 / 2 |W|^2 over standardised inputs.

    `score` scores the head's output of a batch of dev; of the strengths `l2` dev takes the one with the best `metric`,
    then the lowest loss. Nothing is drawn: the result depends on no seed."""

    l2: Sequence[float]
    metric: Metric
    score: Callable[[Tensor, Batch], Score]
    flat: float = FLAT
    kept: int = KEPT

    def __call__(
        self,
        head: nn.Module,
        train: Callable[[], Iterable[Batch]],
        dev: Callable[[], Iterable[Batch]],
        log: Callable[[int, Mapping[str, float]], None],
    ) -> Mapping[str, Any]:
        """See `downstream.tasks.base.Solver`."""
        assert isinstance(head, Linears), "check_linear has looked"
        linear, rows = head.linears[-1], Rows(train, head.gather, self.kept)
        assert isinstance(linear, nn.Linear), "it is the only layer"
        moments = Moments.of(rows, linear.out_features)
        objective = Objective(rows, moments)
        objective.passes = 1
        sample = Sample.of(rows, moments)
        point, curvature = _first(moments)
        tried: list[dict[str, Any]] = []
        best: tuple[float, int, dict[str, Tensor]] | None = None
        for l2 in sorted(self.l2 or GRID, reverse=True):
            start, before = time.perf_counter(), objective.passes
            point, found = minimise(objective, sample, point, curvature, l2, self.flat, PASSES)
            curvature = found.curvature
            weight, bias = objective.folded(_with_unseen(point, moments))
            assert rows.shift is not None, "there was a block"
            linear.weight.copy_(weight)
            linear.bias.copy_(bias - weight @ rows.shift.double())
            figures = _figures(head, dev, self.score)
            cost = {"passes": objective.passes - before, "seconds": time.perf_counter() - start}
            dev_figures = {f"dev_{name}": value for name, value in figures.items()}
            row = {"l2": l2, "loss": found.loss, "gradient": found.steepness, "gap": found.gap, **dev_figures, **cost}
            log(objective.passes, row)
            tried.append(row)
            error = selection_error(self.metric, figures)
            if best is None or error < best[0]:
                best = error, len(tried) - 1, {name: value.clone() for name, value in head.state_dict().items()}
        assert best is not None, "there is a strength"
        head.load_state_dict(best[2])
        return self._said(tried, best[1], objective.passes, moments)

    def _said(self, tried: Sequence[Mapping[str, Any]], best: int, passes: int, moments: Moments) -> dict[str, Any]:
        chosen = tried[best]
        kept = 1 + sum(row["passes"] for row in tried[: best + 1])
        words = f"l2 {chosen['l2']:g}, at most {chosen['gap']:.1e} nats above the optimum, {passes} passes"
        warnings = [
            f"l2 {row['l2']:g}: after {row['passes']} passes still at most {row['gap']:.1e} nats above the optimum"
            for row in tried
            if row["gradient"] > 2 * self.flat and row["gap"] > SMALL
        ]
        if len(tried) > 1 and best in (0, len(tried) - 1):
            end, more = ("strongest", "stronger") if best == 0 else ("weakest", "weaker")
            warnings.append(f"dev chose the {end} l2, {chosen['l2']:g}: the best may be {more}, list more as probe.l2")
        return {
            "in_words": words,
            "l2": chosen["l2"],
            "gap": chosen["gap"],
            "loss": chosen["loss"],
            "passes": passes,
            "kept_pass": kept,
            "rows": moments.count,
            "seconds": sum(row["seconds"] for row in tried),
            "strengths": [dict(row) for row in tried],
            "warnings": warnings,
        }


def _first(moments: Moments) -> tuple[Point, Tensor]:
    """The optimum for an endless L2, and the mean of diag(p) - p p' there."""
    shares = moments.shares
    bias = torch.where(shares > 0, shares.clamp(min=1e-300).log(), NEVER)
    return Point(torch.zeros_like(moments.sums), bias), torch.diag(shares) - torch.outer(shares, shares)


def _with_unseen(point: Point, moments: Moments) -> Point:
    """The point with classes that training lacks: at the mean input as likely as half an item of all."""
    seen = moments.shares > 0
    bias = point.bias - point.bias[seen].logsumexp(0)
    return Point(point.weight, torch.where(seen, bias, bias.new_tensor(0.5 / moments.count).log()))


def _figures(
    head: nn.Module, batches: Callable[[], Iterable[Batch]], score: Callable[[Tensor, Batch], Score]
) -> dict[str, float]:
    total: Score | None = None
    for batch in batches():
        one = score(head(batch.features, batch.lengths), batch)
        total = one if total is None else total + one
    if total is None or not total.count:
        raise ValueError("no labelled item to choose by: do the labels fit the recordings of dev?")
    return total.figures()
