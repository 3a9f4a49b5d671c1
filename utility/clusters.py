"""k-means: first centroids from a sample, sums over all rows, and the nearest centroid of a row, alone or in any batch.

It knows no model and no files. Rows and centroids are float32, sums are float64; a CPU and CUDA go the same way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utility.centres import searched_centres
from utility.device import exact_float32
from utility.seeds import numpy_generator
from utility.threads import side_by_side

BLOCK = 1024  # rows that are compared with all centroids at once: the products stay in the processor's cache
BATCH = 10_000  # rows of an array that go to the device at once
SEEDING = 30  # rows of the sample for each cluster, by which a restart is made; BATCH at least
ITERATIONS = 20  # of Lloyd's over rows in memory, at most
PAIRS = 1 << 22  # numbers of rows beside centroids that are compared in float64 at once


@dataclass(frozen=True)
class KMeans:
    """How centroids are looked for: the best of `restarts` on a sample, then Lloyd iterations over all rows.

    These are `passes` at most; they end when the inertia falls by less than `tolerance` of it."""

    clusters: int
    restarts: int = 3
    passes: int = 10
    seed: int = 0
    tolerance: float = 1e-3
    sample_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if self.clusters < 2:
            raise ValueError(f"{self.clusters} clusters, expected 2 or more")
        if self.restarts < 1:
            raise ValueError(f"{self.restarts} restarts, expected 1 or more")
        if self.passes < 0:
            raise ValueError(f"{self.passes} passes, expected 0 or more")


@torch.inference_mode()
def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The centroid nearest to each row, the first of equal ones: rows [N, D], centroids [K, D], float32 -> int64 [N].

    A row gets the same one alone and in any batch, on any device. Products of matrices are rounded otherwise in another
    batch, so they decide only where the second nearest is farther than their worst error; other rows are decided by
    sums of squares in float64, added in a fixed order."""
    compared = _Compared.of(centroids)
    blocks = rows.split(BLOCK)
    if rows.device.type == "cpu":  # blocks are too small for several threads in each of their steps
        return torch.cat(side_by_side(compared.nearest, blocks, torch.get_num_threads()))
    return torch.cat([compared.nearest(block) for block in blocks])


@dataclass(frozen=True)
class _Compared:
    """Centroids as rows are compared with them: less their mean, because distances are less than the level of rows."""

    centroids: Tensor  # [K, D]
    centre: Tensor  # [D]
    columns: Tensor  # [D, K]: the centroids less the centre
    norms: Tensor  # [K]: their squared lengths
    reach: Tensor  # the greatest length

    @classmethod
    def of(cls, centroids: Tensor) -> "_Compared":
        """In float32, or in float64 where PyTorch's products of float32 are not of that."""
        exact = exact_float32(centroids.device.type, torch.get_float32_matmul_precision())
        centre = centroids.double().mean(0).float()
        shifted = (centroids - centre).to(torch.float32 if exact else torch.float64)
        return cls(centroids, centre, shifted.T.contiguous(), shifted.square().sum(1), shifted.norm(dim=1).max())

    def nearest(self, block: Tensor) -> Tensor:
        """The nearest centroid of rows [n, D], int64 [n]."""
        moved = (block - self.centre).to(self.columns.dtype)
        scores = torch.addmm(self.norms, moved, self.columns, alpha=-2)  # [n, K]: |x - c|^2 - |x|^2
        label = _least(scores)
        best = scores.gather(1, label[:, None])[:, 0]
        scores.scatter_(1, label[:, None], torch.inf)
        error = 4 * (block.shape[1] + 8) * 2.0**-24  # of a difference of two scores, in squared lengths
        bound = best + error * (moved.norm(dim=1) + self.reach).square()
        close = (scores.amin(1) <= bound).nonzero()[:, 0]
        if len(close):
            candidates = scores[close] <= bound[close, None]
            candidates.scatter_(1, label[close, None], True)
            label[close] = _decided(block[close], self.centroids, candidates)
        return label


def _least(scores: Tensor) -> Tensor:
    """The column of the least number of each row, int64 [n]: NumPy finds it in a fifth of PyTorch's time on a CPU."""
    return torch.from_numpy(scores.numpy().argmin(1)) if scores.device.type == "cpu" else scores.argmin(1)


def _decided(rows: Tensor, centroids: Tensor, candidates: Tensor) -> Tensor:
    """The nearest of the candidates, bool [n, K], to each row [n, D]; the first of equal ones, int64 [n]."""
    row, centroid = candidates.nonzero().T
    distance = torch.empty(len(row), dtype=torch.float64, device=rows.device)
    step = max(PAIRS // rows.shape[1], 1)
    for start in range(0, len(row), step):
        pair = slice(start, start + step)
        distance[pair] = _squared(rows[row[pair]].double() - centroids[centroid[pair]].double())
    least = torch.full((len(rows),), torch.inf, dtype=torch.float64, device=rows.device)
    least.scatter_reduce_(0, row, distance, "amin")
    chosen = torch.full((len(rows),), len(centroids), device=rows.device)
    first = distance == least[row]
    return chosen.scatter_reduce_(0, row[first], centroid[first], "amin")


def _squared(differences: Tensor) -> Tensor:
    """Squared lengths of rows [P, D], float64, halves added to halves: no kernel chooses the order."""
    squares = differences.square()
    while (width := squares.shape[1]) > 1:
        half = width // 2
        added = squares[:, :half] + squares[:, half : 2 * half]
        squares = torch.cat([added, squares[:, 2 * half :]], 1) if width % 2 else added
    return squares[:, 0]


class Totals:
    """What a pass over rows leaves: of each centroid how many rows are nearest to it and their sum; all squares."""

    def __init__(self, clusters: int, width: int, device: torch.device | str = "cpu"):
        self.counts = torch.zeros(clusters, dtype=torch.int64, device=device)  # [K]
        self.sums = torch.zeros(clusters, width, dtype=torch.float64, device=device)  # [K, D]
        self.squares = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Count rows [N, D] with the centroids nearest to them [N]."""
        doubles = rows.double()
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.squares += doubles.square().sum()
        if rows.device.type == "cpu":
            self.sums.index_add_(0, labels, doubles)
        else:  # there it adds in any order, which would not be the same twice
            self.sums += torch.nn.functional.one_hot(labels, len(self.counts)).double().T @ doubles

    def inertia(self, centroids: Tensor) -> float:
        """The mean squared distance of a row to these centroids, to which the rows were counted."""
        means = centroids.double()
        across = (self.sums * means).sum()
        value = self.squares - 2 * across + (self.counts * means.square().sum(1)).sum()
        return max(float(value), 0.0) / max(int(self.counts.sum()), 1)

    def moved(self, centroids: Tensor, sample: Callable[[], np.ndarray], generator: np.random.Generator) -> Tensor:
        """The mean of each centroid's rows; one without any becomes a row of the sample, drawn by its squared distance
        to the others."""
        means = (self.sums / self.counts.clamp(min=1)[:, None]).float()
        empty = (self.counts == 0).nonzero()[:, 0]
        if not len(empty):
            return means
        means[empty] = centroids[empty]
        rows = sample()
        weights = np.concatenate([_distances(part, means) for part in pieces(rows, means.device)])
        for index in empty.tolist():
            total = weights.sum()
            drawn = generator.choice(len(rows), p=weights / total if total > 0 else None)
            means[index] = torch.from_numpy(rows[drawn]).to(means)
            weights[drawn] = 0
        return means


def pass_over(rows: Iterable[Tensor], centroids: Tensor) -> Totals:
    """The totals of rows that come in batches [N, D], each counted to the centroid nearest to it."""
    totals = Totals(len(centroids), centroids.shape[1], centroids.device)
    for batch in rows:
        totals.add(batch, nearest(batch, centroids))
    return totals


def pieces(rows: np.ndarray, device: torch.device | str) -> Iterator[Tensor]:
    """Rows of an array [N, D] on a device, some at a time."""
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(rows[start : start + BATCH]).to(device)


def _distances(rows: Tensor, centroids: Tensor) -> np.ndarray:
    return _squared(rows.double() - centroids[nearest(rows, centroids)].double()).cpu().numpy()


@torch.inference_mode()
def first_centroids(sample: np.ndarray, how: KMeans, device: torch.device | str = "cpu") -> tuple[Tensor, list[float]]:
    """Centroids [K, D] of a sample [N, D], float32, and what each restart's inertia was, per row of the sample.

    A restart is k-means++, swaps and Lloyd iterations on some rows of the sample; the best one goes on over all of it.
    Mini-batches would not be better: the sample is in memory. ValueError for fewer rows than clusters."""
    if len(sample) < how.clusters:
        raise ValueError(f"{how.clusters} clusters for {len(sample)} frames: ask for fewer")
    tried = [_restart(sample, how, number, device) for number in range(how.restarts)]
    inertias = [pass_over(pieces(sample, device), centroids).inertia(centroids) for centroids in tried]
    best = tried[int(np.argmin(inertias))]
    return _lloyd(sample, best, how.tolerance, numpy_generator(how.seed, how.restarts)), inertias


def _restart(sample: np.ndarray, how: KMeans, number: int, device: torch.device | str) -> Tensor:
    """Centroids [K, D] of a part of the sample that is drawn for this restart."""
    generator = numpy_generator(how.seed, number)
    size = min(max(SEEDING * how.clusters, BATCH), len(sample))
    rows = sample[np.sort(generator.choice(len(sample), size, replace=False))]
    return _lloyd(rows, searched_centres(rows, how.clusters, generator, device), how.tolerance, generator)


def _lloyd(rows: np.ndarray, centroids: Tensor, tolerance: float, generator: np.random.Generator) -> Tensor:
    """Centroids after Lloyd iterations over rows in memory, until the inertia falls by less than the tolerance."""
    before = np.inf
    for _ in range(ITERATIONS):
        totals = pass_over(pieces(rows, centroids.device), centroids)
        inertia = totals.inertia(centroids)
        centroids = totals.moved(centroids, lambda: rows, generator)
        if before - inertia < tolerance * before:
            break
        before = inertia
    return centroids
