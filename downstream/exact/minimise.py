"""Newton's method on the objective, until its gradient is small enough.

The Hessian is that of a sample, which takes a tenth of a pass; what it lacks, the memory of L-BFGS adds, so that a
tenth of the passes of L-BFGS alone are enough. SciPy's methods are not used: their line searches compare values, and
end where these differ by less than float32 products err, when the gradient, which decides about the gap, is still
large."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from downstream.exact.objective import Found, Objective, Point
from downstream.exact.sample import Sample

MEMORY = 20  # pairs of steps and gradients
NOISE = 1e-8  # relative; values that differ by less are not told apart
LOOKS = 12  # at most, along a line
ROUNDS, LEFT = 50, 0.1  # of conjugate gradients at most, and the share of the gradient that a step may leave
CURVED = 0.9  # a step is long enough where the slope is flatter by this factor, downhill or up


@dataclass(frozen=True)
class Scaled:
    """Coordinates [K (D + 1)] around a point in which the Hessian there is close to the identity.

    The Hessian is the mean over rows of (diag(p) - p p') x (z z'), plus l2. It is taken as the product of both means,
    plus l2, which it is at W = 0; the axes of both make it diagonal. A bias belongs to an input that is always 1."""

    start: Point
    classes: Tensor  # [K, K], a column is an axis
    inputs: Tensor | None  # [D, D], the same; None: the inputs themselves
    weight: Tensor  # [K, D], along the axes
    bias: Tensor  # [K]

    @classmethod
    def at(cls, start: Point, curvature: Tensor, objective: Objective, l2: float) -> "Scaled":
        """Those around a point where diag(p) - p p' has the mean `curvature` [K, K]."""
        moments = objective.moments
        among, classes = torch.linalg.eigh(curvature)
        among = among.clamp(min=0.5 / moments.count)
        weight = (among[:, None] * moments.variances + l2).rsqrt()
        return cls(start, classes, moments.axes, weight, among.rsqrt())

    def point(self, place: Tensor) -> Point:
        """Where coordinates lie."""
        along = self.along(place)
        return Point(self.start.weight + along.weight, self.start.bias + along.bias)

    def along(self, direction: Tensor) -> Point:
        """What a direction of the coordinates moves."""
        moved = direction.view(len(self.bias), -1)
        weight, bias = self.classes @ (moved[:, :-1] * self.weight), self.classes @ (moved[:, -1] * self.bias)
        return Point(weight if self.inputs is None else weight @ self.inputs.T, bias)

    def slope(self, gradient: Point) -> Tensor:
        """The gradient along the coordinates."""
        weight = gradient.weight if self.inputs is None else gradient.weight @ self.inputs
        weight, bias = (self.classes.T @ weight) * self.weight, (self.classes.T @ gradient.bias) * self.bias
        return torch.cat([weight, bias[:, None]], 1).flatten()


class Memory:
    """What L-BFGS remembers: the last steps, and the changes of the gradient along them."""

    def __init__(self) -> None:
        self.pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)

    def add(self, step: Tensor, change: Tensor) -> None:
        """A step and what it changed the gradient by; rounding may hide that it is convex."""
        if float(step @ change) > 0:
            self.pairs.append((step, change))

    def direction(self, gradient: Tensor, newton: Callable[[Tensor], Tensor]) -> Tensor:
        """Downhill (Nocedal and Wright, algorithm 7.4); without pairs as `newton`, an inverse Hessian, says."""
        direction = -gradient
        kept = []
        for step, change in reversed(self.pairs):
            share = float(step @ direction) / float(step @ change)
            direction = direction - share * change
            kept.append(share)
        direction = newton(direction)
        for (step, change), share in zip(self.pairs, reversed(kept)):
            direction = direction + (share - float(change @ direction) / float(step @ change)) * step
        return direction


@dataclass(frozen=True)
class Look:
    """A point that was looked at: its coordinates, what was found, and the gradient along them."""

    place: Tensor
    found: Found
    slope: Tensor


def minimise(
    objective: Objective, sample: Sample, start: Point, curvature: Tensor, l2: float, steepness: float, passes: int
) -> tuple[Point, Found]:
    """The point where the gradient is no longer than `steepness`, or the last one of so many `passes`, and what is
    found there; its bias is optimal for its weight."""
    scaled, end = Scaled.at(start, curvature, objective, l2), objective.passes + passes

    def look(place: Tensor) -> Look:
        found = objective.at(scaled.point(place), l2)
        return Look(place, found, scaled.slope(found.gradient))

    here = look(start.weight.new_zeros(scaled.weight.numel() + scaled.bias.numel()))
    memory = Memory()
    while here.found.steepness > steepness and objective.passes < end:
        there = _step(look, here, memory.direction(here.slope, _newton(sample, scaled, here.place, l2)))
        if there is None and not memory.pairs:
            break
        if there is None:
            memory = Memory()
            continue
        memory.add(there.place - here.place, there.slope - here.slope)
        here = there
    return _with_best_bias(objective, scaled.point(here.place), here.found, l2)


def _newton(sample: Sample, scaled: Scaled, place: Tensor, l2: float) -> Callable[[Tensor], Tensor]:
    """The inverse Hessian of the sample at a place, along the coordinates, by conjugate gradients."""
    product = sample.hessian(scaled.point(place), l2)

    def solve(wanted: Tensor) -> Tensor:
        found, left, along = torch.zeros_like(wanted), wanted.clone(), wanted.clone()
        first = square = float(wanted @ wanted)
        for _ in range(ROUNDS):
            bent = scaled.slope(product(scaled.along(along)))
            curve = float(along @ bent)
            if curve <= 0:  # rounding, where nothing bends
                break
            found += square / curve * along
            left -= square / curve * bent
            before, square = square, float(left @ left)
            if square <= LEFT**2 * first:
                break
            along = left + square / before * along
        return found

    return solve


def _step(look: Callable[[Tensor], Look], here: Look, direction: Tensor) -> Look | None:
    """A point along a direction that is lower as far as values tell, and where the slope is much flatter.

    Slopes along the line are exact where values are not, and rise all the way, for the objective is convex. None where
    no such point is seen."""
    slope = float(here.slope @ direction)
    low, high, length = (0.0, slope), None, 1.0
    for _ in range(LOOKS):
        there = look(here.place + length * direction)
        rise, gain = float(there.slope @ direction), here.found.value - there.found.value
        if rise > -CURVED * slope or gain < -1e-4 * length * slope - NOISE * abs(here.found.value):
            high = length, max(rise, -0.01 * slope)
        elif rise < CURVED * slope:
            low = length, rise
        else:
            return there
        if high is None:
            length *= 2 if length >= 1 else 1.5
        else:
            share = min(max(-low[1] / (high[1] - low[1]), 0.1), 0.9)
            length = low[0] + share * (high[0] - low[0])
    return None


def _with_best_bias(objective: Objective, point: Point, found: Found, l2: float) -> tuple[Point, Found]:
    """The point after a step of Newton's method along the biases alone, where the gap is smaller there: it shrinks with
    the square of the rest of the gradient, but with that of the biases itself."""
    step = torch.linalg.pinv(found.curvature, hermitian=True) @ found.gradient.bias
    better = Point(point.weight, point.bias - step)
    other = objective.at(better, l2)
    return (better, other) if other.gap < found.gap else (point, found)
