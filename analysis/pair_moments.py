"""Sums over the samples of two views, moved from one origin to another: what merging and centring have in common."""

from dataclasses import dataclass
from typing import Self

import numpy as np

RESOLUTION = 1e-14  # of the squared mean: below, what varies is the rounding of float32


def varies(covariance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Which dimensions of samples with this covariance [p, p] and mean [p] are not constant, [p] bool."""
    variances = np.diag(covariance)
    return (variances > RESOLUTION * mean**2) & (variances > 0)


@dataclass(frozen=True)
class PairSums:
    """Sums over n paired samples x_i [p] and y_i [q], both measured from some origin.

    `x_norm` is the sum of |x_i|², `x_norm_y` [q] that of |x_i|² y_i, `norms` that of |x_i|² |y_i|². The last three
    lines of sums serve the debiased CKA alone; they make it one pass."""

    count: int
    x: np.ndarray  # [p]
    y: np.ndarray  # [q]
    product: np.ndarray  # [p, q]
    x_norm: float
    y_norm: float
    x_norm_y: np.ndarray  # [q]
    y_norm_x: np.ndarray  # [p]
    norms: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Self:
        """The sums of samples x [n, p] and y [n, q], float64."""
        u, v = np.einsum("ip,ip->i", x, x), np.einsum("iq,iq->i", y, y)
        sums = x.sum(0), y.sum(0), x.T @ y, float(u.sum()), float(v.sum())
        return cls(len(x), *sums, u @ y, v @ x, float(u @ v))

    def moved(self, dx: np.ndarray, dy: np.ndarray) -> "PairSums":
        """The sums of x_i + dx and y_i + dy: every product written out."""
        n, x, y, product = self.count, self.x, self.y, self.product
        xd, yd, dx2, dy2 = float(x @ dx), float(y @ dy), float(dx @ dx), float(dy @ dy)
        right, left = product @ dy, dx @ product  # [p], [q]
        x_norm_y = self.x_norm_y + 2 * left + dx2 * y + (self.x_norm + 2 * xd + n * dx2) * dy
        y_norm_x = self.y_norm_x + 2 * right + dy2 * x + (self.y_norm + 2 * yd + n * dy2) * dx
        norms = self.norms + 2 * float(self.x_norm_y @ dy) + 2 * float(self.y_norm_x @ dx) + 4 * float(left @ dy)
        moved = product + np.outer(dx, y)
        if (x_moved := x + n * dx).any():  # not where samples are centred
            moved += np.outer(x_moved, dy)
        norms += dy2 * (self.x_norm + 2 * xd) + dx2 * (self.y_norm + 2 * yd) + n * dx2 * dy2
        return PairSums(
            n,
            x_moved,
            y + n * dy,
            moved,
            self.x_norm + 2 * xd + n * dx2,
            self.y_norm + 2 * yd + n * dy2,
            x_norm_y,
            y_norm_x,
            norms,
        )

    def centred(self) -> "PairSums":
        """The sums measured from the means of the samples, whose sums are 0."""
        return self.moved(-self.x / self.count, -self.y / self.count)


@dataclass(frozen=True)
class PairMoments:
    """Two views x and y of the same samples: means, covariances with n − 1, float64, and three sums for debiased CKA.

    With a_i = |x_i − mean|² and b_i = |y_i − mean|², `norms_xx` is the sum of a_i², `norms_xy` of a_i b_i, `norms_yy`
    of b_i²."""

    count: int
    mean_x: np.ndarray  # [p]
    mean_y: np.ndarray  # [q]
    xx: np.ndarray  # [p, p]
    xy: np.ndarray  # [p, q]
    yy: np.ndarray  # [q, q]
    norms_xx: float
    norms_xy: float
    norms_yy: float

    @classmethod
    def from_samples(cls, x: np.ndarray, y: np.ndarray) -> "PairMoments":
        """Of samples that fit in memory: x [n, p] and y [n, q]. ValueError for unequal n, or n < 2."""
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ValueError(f"views of shape {list(x.shape)} and {list(y.shape)}: expected [n, p] and [n, q], one n")
        if len(x) < 2:
            raise ValueError(f"{len(x)} samples have no covariance: at least 2 are needed")
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        xx, xy, yy = (PairSums.of(*pair).centred() for pair in ((x, x), (x, y), (y, y)))
        return cls.from_sums(mean_x, mean_y, xx, xy, yy)

    @classmethod
    def from_sums(
        cls, mean_x: np.ndarray, mean_y: np.ndarray, xx: PairSums, xy: PairSums, yy: PairSums
    ) -> "PairMoments":
        """Of sums that are centred already."""
        free = xy.count - 1
        products = xx.product / free, xy.product / free, yy.product / free
        return cls(xy.count, mean_x, mean_y, *products, xx.norms, xy.norms, yy.norms)

    @property
    def swapped(self) -> "PairMoments":
        """The same samples, y first."""
        moments = self.yy, self.xy.T, self.xx
        return PairMoments(self.count, self.mean_y, self.mean_x, *moments, self.norms_yy, self.norms_xy, self.norms_xx)
