"""How the objective bends, told from some of the rows: what makes a step of Newton's method cheap."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from downstream.exact.objective import Moments, Point
from downstream.exact.rows import Block

SHARE, ENOUGH = 10, 1 << 15  # one of so many rows, and all of so few
LARGEST = 256 << 20  # bytes of a sample


@dataclass(frozen=True)
class Sample:
    """Standardised inputs [n, D] of rows that lie evenly among all, float32."""

    inputs: Tensor

    @classmethod
    def of(cls, rows: Iterable[Block], moments: Moments) -> "Sample":
        """Every tenth row of many, all of few."""
        wanted = min(max(moments.count // SHARE, ENOUGH), LARGEST // (4 * len(moments.mean)))
        step = -(-moments.count // wanted)
        found, seen = [], 0
        for block in rows:
            found.append(((block.inputs[-seen % step :: step].double() - moments.mean) / moments.scale).float())
            seen += len(block.inputs)
        return cls(torch.cat(found))

    def hessian(self, point: Point, l2: float) -> Callable[[Point], Point]:
        """The product of the sample's Hessian at a point with a direction: one of (diag(p) - p p') x (z z'), and l2."""
        chances = self._scores(point).softmax(1)

        def product(along: Point) -> Point:
            bent = self._scores(along).mul_(chances)
            bent -= chances * bent.sum(1, keepdim=True)
            weight = (bent.T @ self.inputs).double() / len(bent) + l2 * along.weight
            return Point(weight, bent.sum(0, dtype=torch.float64) / len(bent))

        return product

    def _scores(self, point: Point) -> Tensor:
        return torch.addmm(point.bias.float(), self.inputs, point.weight.T.float())
