"""Counts, sums and products of views side by side, per set of samples, in one streaming pass.

A view is a layer, a filterbank, labels as one-hot columns: samples [n, width]. Every sample belongs to one set: a fold,
or a group of utterances. The covariance of any union of sets follows from the sums, so all splits, all regularisations,
all measures and the bootstrap come from one pass (CCA: Raghu et al. 2017; CKA: Kornblith et al. 2019).

Sums are float64. Samples are measured from the mean of the first block, so that a large mean does not cancel digits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch

from analysis.packed import add_product, add_square, packed, packed_size, unpacked
from analysis.pair_moments import PairMoments, PairSums
from utility.threads import side_by_side


@dataclass(frozen=True)
class Layout:
    """Which views are summed, and which pairs of them are compared.

    `widths` gives each view's dimensions. Products of a view with itself are always kept, those of two views for
    `pairs`. `sets` is the number of disjoint sets of samples."""

    widths: Mapping[str, int]
    pairs: tuple[tuple[str, str], ...]
    sets: int

    def __post_init__(self) -> None:
        unknown = {name for pair in self.pairs for name in pair} - self.widths.keys()
        if unknown or not self.widths or min(self.widths.values()) < 1 or self.sets < 1:
            raise ValueError(f"no layout of moments: views {dict(self.widths)}, pairs {self.pairs}, {self.sets} sets")

    @property
    def products(self) -> tuple[tuple[str, str], ...]:
        """All pairs whose products are summed: of each view with itself, then `pairs`."""
        own = [(name, name) for name in self.widths]
        return (*own, *(pair for pair in dict.fromkeys(self.pairs) if pair[0] != pair[1]))

    @property
    def bytes(self) -> int:
        """Memory of the sums, whatever the number of samples."""
        w = self.widths
        own = sum(packed_size(n) for n in w.values())
        pairs = sum(w[x] * w[y] for x, y in self.products if x != y)
        rest = sum(w[x] + w[y] + 1 for x, y in self.products) + sum(2 * n + 3 for n in w.values())
        return 8 * self.sets * (own + pairs + rest)


def with_reference(layers: Mapping[str, int], reference: str, width: int, sets: int) -> Layout:
    """Every layer beside one view: a filterbank, labels, vectors, or one of the layers themselves."""
    return Layout({**layers, reference: width}, tuple((name, reference) for name in layers if name != reference), sets)


def all_pairs(layers: Mapping[str, int], sets: int) -> Layout:
    """Every layer beside every other, for maps."""
    return Layout(layers, tuple(combinations(layers, 2)), sets)


@dataclass
class ViewSums:
    """Sums of one view, per set: `values` and `squares` from the shift, the rest from zero."""

    values: np.ndarray  # [sets, width]
    squares: np.ndarray  # [sets] of |x|²
    directions: np.ndarray  # [sets, width] of x / |x|
    lengths: np.ndarray  # [sets] of |x|
    nonzero: np.ndarray  # [sets] samples with |x| > 0, float64 as the others


@dataclass
class ProductSums:
    """Sums over two views, per set, from their shifts; see PairSums. Of a view with itself `product` is packed:
    [sets, p (p + 1) / 2], see analysis/packed."""

    product: np.ndarray  # [sets, p, q]
    x_norm_y: np.ndarray  # [sets, q]
    y_norm_x: np.ndarray  # [sets, p]
    norms: np.ndarray  # [sets]


@dataclass
class Moments:
    """The sums of a layout; memory is `layout.bytes` and does not grow with samples."""

    layout: Layout
    counts: np.ndarray = field(init=False)  # [sets] int64
    shifts: dict[str, np.ndarray] = field(init=False, default_factory=dict)  # [width] each, once there are samples
    views: dict[str, ViewSums] = field(init=False)
    products: dict[tuple[str, str], ProductSums] = field(init=False)

    def __post_init__(self) -> None:
        sets, widths = self.layout.sets, self.layout.widths
        self.counts = np.zeros(sets, np.int64)
        self.views = {
            name: ViewSums(
                np.zeros((sets, width)), np.zeros(sets), np.zeros((sets, width)), np.zeros(sets), np.zeros(sets)
            )
            for name, width in widths.items()
        }
        self.products = {
            (x, y): ProductSums(
                np.zeros((sets, packed_size(widths[x])) if x == y else (sets, widths[x], widths[y])),
                np.zeros((sets, widths[y])),
                np.zeros((sets, widths[x])),
                np.zeros(sets),
            )
            for x, y in self.layout.products
        }

    def add(self, views: Mapping[str, np.ndarray], sets: int | np.ndarray) -> None:
        """Add paired samples: of each view a block [n, width], and the set of all rows or of each row [n].

        ValueError for a missing view, another width, unequal n, a set out of range, and values that are not finite."""
        blocks, numbers = self._checked(views, sets)
        if not len(numbers):
            return
        if not self.shifts:
            self.shifts = {name: block.mean(0, dtype=np.float64) for name, block in blocks.items()}
        for number in np.unique(numbers):
            rows = slice(None) if np.ndim(sets) == 0 else np.flatnonzero(numbers == number)
            self._add_to_set(int(number), {name: block[rows] for name, block in blocks.items()})

    def _checked(self, views: Mapping[str, np.ndarray], sets: int | np.ndarray) -> tuple[dict, np.ndarray]:
        blocks = {name: np.asarray(views[name]) for name in self.layout.widths if name in views}
        shapes = {name: list(block.shape) for name, block in blocks.items()}
        lengths = {block.shape[0] if block.ndim == 2 else -1 for block in blocks.values()}
        widths = {name: shape[-1] for name, shape in shapes.items() if shape}
        if widths != dict(self.layout.widths) or len(lengths) != 1 or -1 in lengths:
            raise ValueError(f"views of shapes {shapes}: expected [n, width] with widths {dict(self.layout.widths)}")
        for name, block in blocks.items():
            if not np.isfinite(block).all():
                raise ValueError(f"view {name} holds values that are not finite")
        numbers = np.broadcast_to(np.asarray(sets), lengths.pop() if np.ndim(sets) == 0 else np.shape(sets))
        if any(len(block) != len(numbers) for block in blocks.values()):
            raise ValueError(f"views of shapes {shapes}, but {len(numbers)} set numbers")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.layout.sets:
            raise ValueError(f"set {numbers.min()} ... {numbers.max()}: there are {self.layout.sets} sets, from 0")
        return blocks, numbers

    def _add_to_set(self, number: int, blocks: dict[str, np.ndarray]) -> None:
        """Add blocks to a set: views side by side, then products, each in a place of its own, so the same bits."""
        names, threads = list(blocks), torch.get_num_threads()
        made = side_by_side(lambda name: self._add_view(number, name, blocks[name]), names, threads)
        shifted = {name: x for name, (x, _) in zip(names, made)}
        norms = np.stack([norm for _, norm in made])  # [views, n]
        weighted = dict(zip(names, side_by_side(lambda name: norms @ shifted[name], names, threads)))

        def add(pair: tuple[str, str]) -> None:
            x, y = pair
            sums, i, j = self.products[pair], names.index(x), names.index(y)
            if x == y:
                add_square(sums.product[number], shifted[x])
            else:
                add_product(sums.product[number], shifted[x], shifted[y])
            sums.x_norm_y[number] += weighted[y][i]
            sums.y_norm_x[number] += weighted[x][j]
            sums.norms[number] += norms[i] @ norms[j]

        side_by_side(add, list(self.products), threads)
        self.counts[number] += len(blocks[names[0]])

    def _add_view(self, number: int, name: str, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add one view; its samples from the shift [n, width], float64, and their squared lengths [n]."""
        view, shift = self.views[name], self.shifts[name]
        x = block.astype(np.float64)  # a copy
        lengths = np.sqrt(np.einsum("ip,ip->i", x, x))  # [n]
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        x -= shift
        norms = np.einsum("ip,ip->i", x, x)
        values, directions = np.stack([np.ones(len(x)), inverse]) @ x
        view.values[number] += values
        view.directions[number] += directions + inverse.sum() * shift
        view.squares[number] += norms.sum()
        view.lengths[number] += lengths.sum()
        view.nonzero[number] += np.count_nonzero(lengths)
        return x, norms

    def merge(self, other: "Moments") -> None:
        """Add what another pass, or another process, has summed. ValueError for another layout."""
        if other.layout != self.layout:
            raise ValueError("moments of another layout cannot be added: other views, pairs or sets")
        if not other.shifts:
            return
        if not self.shifts:
            self.shifts = {name: shift.copy() for name, shift in other.shifts.items()}
        moves = {name: other.shifts[name] - self.shifts[name] for name in self.shifts}
        for number in np.flatnonzero(other.counts):
            for (x, y), sums in self.products.items():
                moved = other.sums(x, y, [int(number)]).moved(moves[x], moves[y])
                sums.product[number] += packed(moved.product) if x == y else moved.product
                sums.x_norm_y[number] += moved.x_norm_y
                sums.y_norm_x[number] += moved.y_norm_x
                sums.norms[number] += moved.norms
                if x == y:
                    self.views[x].values[number] += moved.x
                    self.views[x].squares[number] += moved.x_norm
        for name, view in self.views.items():
            view.directions += other.views[name].directions
            view.lengths += other.views[name].lengths
            view.nonzero += other.views[name].nonzero
        self.counts += other.counts

    def sums(self, x: str, y: str, sets: Iterable[int] | None = None) -> PairSums:
        """The sums of a union of sets, from the shifts; all sets where None. A set named twice counts twice.

        ValueError where the layout has not this pair."""
        swap = (x, y) not in self.products
        if (key := (y, x) if swap else (x, y)) not in self.products:
            raise ValueError(f"no products of {x} and {y} were summed")
        pair, one, two = self.products[key], self.views[x], self.views[y]
        times = self._times(sets)
        product = _total(times, pair.product)
        if x == y:
            product = unpacked(product, self.layout.widths[x])
        x_norm_y, y_norm_x = (pair.y_norm_x, pair.x_norm_y) if swap else (pair.x_norm_y, pair.y_norm_x)
        return PairSums(
            int(times @ self.counts),
            times @ one.values,
            times @ two.values,
            product.T if swap else product,
            float(times @ one.squares),
            float(times @ two.squares),
            times @ x_norm_y,
            times @ y_norm_x,
            float(times @ pair.norms),
        )

    def pair(self, x: str, y: str, sets: Iterable[int] | None = None) -> PairMoments:
        """Means and covariances of two views over a union of sets. ValueError for fewer than 2 samples."""
        chosen = None if sets is None else list(sets)
        xy = self.sums(x, y, chosen)
        if xy.count < 2:
            raise ValueError(f"{x} and {y}: {xy.count} samples in the chosen sets, at least 2 are needed")
        means = self.shifts[x] + xy.x / xy.count, self.shifts[y] + xy.y / xy.count
        xx, yy = self.sums(x, x, chosen).centred(), self.sums(y, y, chosen).centred()
        return PairMoments.from_sums(*means, xx, xy.centred(), yy)

    def product(self, x: str, y: str, number: int) -> np.ndarray:
        """The products of two views in one set from their shifts: [p, q], packed where x is y. A part of the sums."""
        return self.products[x, y].product[number] if (x, y) in self.products else self.products[y, x].product[number].T

    def _times(self, sets: Iterable[int] | None) -> np.ndarray:
        if sets is None:
            return np.ones(self.layout.sets)
        return np.bincount(np.fromiter(sets, np.int64), minlength=self.layout.sets).astype(np.float64)


def _total(times: np.ndarray, products: np.ndarray) -> np.ndarray:
    """The sum of products [sets, ...], each so many times; there is no copy of all sets."""
    total = np.zeros(products.shape[1:])
    for number in np.flatnonzero(times):
        total += products[number] if times[number] == 1 else times[number] * products[number]
    return total
