"""Multinomial logistic regression with L2: its value, its gradient, and how far the optimum can be at most."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from downstream.exact.rows import Block

WIDEST = 2048  # inputs up to which their covariance is computed, to precondition with
FLAT = 1e-12  # variance in shares of the mean square, below which an input says nothing
PRODUCT_ERROR = 1e-5  # relative; products that err more are no float32 products


@dataclass(frozen=True)
class Moments:
    """What a pass says of the training rows, float64: `count`; `mean` and `scale` of the inputs [D], the scale of one
    that never changes infinite; `axes` [D, D] (None: the inputs themselves) along which standardised inputs have the
    `variances` [D]; `shares` [K] of the classes, and the `sums` [K, D] over each of standardised inputs, by `count`."""

    count: int
    mean: Tensor
    scale: Tensor
    axes: Tensor | None
    variances: Tensor
    shares: Tensor
    sums: Tensor

    @classmethod
    def of(cls, blocks: Iterable[Block], classes: int) -> "Moments":
        """Those of all blocks; ValueError where there are none, or where only one class is there."""
        total: _Sums | None = None
        for block in blocks:
            total = _Sums(block.inputs, classes) if total is None else total
            total.add(block)
        if total is None:
            raise ValueError("no labelled item to train on: do the labels fit these recordings?")
        if int((total.classes > 0).sum()) < 2:
            raise ValueError("all labelled items of the training part are of one class: there is nothing to learn")
        return total.moments()


class _Sums:
    """Sums over rows of their distance from a point close to the mean, so that no digits are lost."""

    def __init__(self, inputs: Tensor, classes: int):
        point, size = inputs.double().mean(0), inputs.shape[1]
        wide, self.dtype = size > WIDEST, product_type(inputs, size)
        self.point, self.count = point, 0
        self.first = torch.zeros_like(point)
        self.second = point.new_zeros(size) if wide else point.new_zeros(size, size)
        self.by_class = point.new_zeros(classes, size)
        self.classes = torch.zeros(classes, dtype=torch.int64, device=point.device)

    def add(self, block: Block) -> None:
        centred = (block.inputs.double() - self.point).float()
        self.count += len(centred)
        self.first += centred.sum(0, dtype=torch.float64)
        factors = centred.to(self.dtype)
        self.second += (factors.T @ factors).double() if self.second.ndim == 2 else (factors * factors).sum(0).double()
        self.by_class.index_add_(0, block.classes, centred.double())
        self.classes += torch.bincount(block.classes, minlength=len(self.classes))

    def moments(self) -> Moments:
        offset, shares = self.first / self.count, self.classes / self.count
        full = self.second.ndim == 2
        second = self.second / self.count - (torch.outer(offset, offset) if full else offset**2)
        variance = second.diagonal() if full else second
        mean = self.point + offset
        flat = variance <= FLAT * (mean**2 + variance.clamp(min=0))
        scale = torch.where(flat, torch.inf, variance.clamp(min=0).sqrt())
        sums = (self.by_class / self.count - shares[:, None] * offset) / scale
        if not full:
            return Moments(self.count, mean, scale, None, (~flat).double(), shares.double(), sums)
        variances, axes = torch.linalg.eigh(second / scale / scale[:, None])
        return Moments(self.count, mean, scale, axes, variances.clamp(min=0), shares.double(), sums)


class Point(NamedTuple):
    """Weights [K, D] of standardised inputs and biases [K], float64."""

    weight: Tensor
    bias: Tensor


class Found(NamedTuple):
    """What a pass finds at a point: the mean `loss` in nats without, the `value` with L2 and its `gradient`; the `gap`,
    which the value is above its minimum at most; and the `curvature` [K, K] along the biases."""

    loss: float
    value: float
    gradient: Point
    gap: float
    curvature: Tensor

    @property
    def steepness(self) -> float:
        """The norm of the gradient."""
        return float(self.gradient.weight.square().sum() + self.gradient.bias.square().sum()) ** 0.5


class Objective:
    """Mean cross-entropy of softmax(W z + b) over rows, z = (x - mean) / scale, plus l2 / 2 |W|^2; b is free.

    Products are float32 and sums over blocks float64. `folded` weights act on the inputs as they are, so that no pass
    standardises any."""

    def __init__(self, rows: Iterable[Block], moments: Moments):
        self.rows, self.moments, self.passes = rows, moments, 0
        self.dtype: torch.dtype | None = None  # of products

    def product_type(self, inputs: Tensor) -> torch.dtype:
        """What products of such inputs are made of; it is asked once."""
        self.dtype = self.dtype or product_type(inputs, len(self.moments.shares))
        return self.dtype

    def folded(self, point: Point) -> tuple[Tensor, Tensor]:
        """Weight and bias for inputs that are not standardised."""
        weight = point.weight / self.moments.scale
        return weight, point.bias - weight @ self.moments.mean

    def at(self, point: Point, l2: float) -> Found:
        """Value, gradient and gap at a point, by one pass."""
        self.passes += 1
        weight, bias = self.folded(point)
        loss, together = bias.new_zeros(()), bias.new_zeros(len(bias), len(bias))
        by_class, by_input = torch.zeros_like(bias), torch.zeros_like(weight)
        for block in self.rows:
            dtype = self.product_type(block.inputs)
            inputs = block.inputs.to(dtype)
            scores = torch.addmm(bias.to(dtype), inputs, weight.T.to(dtype))
            likely = torch.log_softmax(scores, 1)
            place = block.classes[:, None]
            loss -= likely.gather(1, place).sum(dtype=torch.float64)
            chances = likely.exp_()
            together += (chances.T @ chances).double()
            chances.scatter_add_(1, place, chances.new_full((1, 1), -1.0).expand_as(place))
            by_class += chances.sum(0, dtype=torch.float64)
            by_input += (chances.T @ inputs).double()
        moments = self.moments
        residual = (by_input / moments.count - by_class[:, None] / moments.count * moments.mean) / moments.scale
        gradient = Point(residual + l2 * point.weight, by_class / moments.count)
        mean = float(loss) / moments.count
        value = mean + l2 / 2 * float(point.weight.square().sum())
        curvature = torch.diag(moments.shares + gradient.bias) - together / moments.count
        return Found(mean, value, gradient, self._gap(point, residual, gradient, l2), curvature)

    def _gap(self, point: Point, residual: Tensor, gradient: Point, l2: float) -> float:
        """What the value at a point lies above its minimum at most: the gap to the dual value of probabilities nearby.

        The dual is the mean entropy of probabilities p_i less |R|^2 / (2 l2), with R the mean of (p_i - y_i) z_i, for
        all p whose mean is the classes' shares. Where the softmax has that mean, its dual value lies |gradient|^2 /
        (2 l2) below the value. Where it has another one (the bias is not optimal yet) what classes have too much of is
        taken from them in proportion, and given to the others; entropy is concave, and so loses no more by it than
        the last but one term."""
        shares, excess = self.moments.shares, gradient.bias.clamp(min=0)
        gap = float(gradient.weight.square().sum()) / (2 * l2) + float(gradient.bias @ point.bias)
        moved = float(excess.sum())
        if moved > 0:
            seen = shares > 0
            taken = (excess / (shares + gradient.bias).clamp(min=1e-300))[:, None] * (residual + self.moments.sums)
            given = (-gradient.bias).clamp(min=0) / moved
            other = residual - taken + given[:, None] * taken.sum(0)
            gap -= float((excess[seen] * shares[seen].log()).sum())
            gap += (float(other.square().sum()) - float(residual.square().sum())) / (2 * l2)
        return max(gap, 0.0)


def product_type(inputs: Tensor, outputs: int) -> torch.dtype:
    """float32 where the products of this process are that, float64 where it has chosen bfloat16 or TF32 for them."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(inputs.shape[1], outputs, generator=generator).to(inputs.device)
    true = inputs.double() @ weight.double()
    error = float((inputs @ weight - true).norm())
    return torch.float32 if error <= PRODUCT_ERROR * float(true.norm()) else torch.float64
