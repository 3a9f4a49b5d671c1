"""A linear probe solved for on made-up frames: seconds, passes, and the share of the machine's product rate.

    python -m benchmarks.exact                        1 M frames of 768 dimensions, 41 classes, kept in memory
    python -m benchmarks.exact --frames 100000 --streamed

The frames overlap as phones do: about two thirds of them can be told. `--streamed` keeps none, so that each pass makes
batches anew, as it reads them from a cache that is larger than the memory that is kept."""

import argparse
import time
from collections.abc import Iterator, Mapping

import torch

from downstream.exact.rows import KEPT
from downstream.exact.solver import GRID, Exact
from downstream.heads.linear import Linears
from downstream.metrics.classes import ClassScore, accuracy, class_score
from utility.batches import Batch

UTTERANCE = 1000  # frames
RANK = 64  # directions in which the classes differ, and in which frames vary most


class Frames:
    """Utterances of float16 frames, as a cache holds them, each of its own generator: none is held."""

    def __init__(self, frames: int, size: int, classes: int, first: int = 0):
        self.numbers, self.size, self.classes = range(first, first + -(-frames // UTTERANCE)), size, classes
        generator = torch.Generator().manual_seed(0)
        self.mixing = torch.randn(RANK, size, generator=generator) * torch.linspace(2, 0.2, RANK)[:, None]
        self.centres = torch.randn(classes, RANK, generator=generator) * 0.35

    def __call__(self) -> Iterator[Batch]:
        """A batch for each utterance."""
        for number in self.numbers:
            generator = torch.Generator().manual_seed(number + 1)
            classes = torch.randint(self.classes, (UTTERANCE,), generator=generator)
            hidden = self.centres[classes] + torch.randn(UTTERANCE, RANK, generator=generator)
            frames = hidden @ self.mixing + 0.3 * torch.randn(UTTERANCE, self.size, generator=generator)
            yield Batch(frames.half().float()[None], torch.tensor([UTTERANCE]), [str(number)], classes[None])


def product_rate(size: int = 2048, rounds: int = 5) -> float:
    """Floating-point operations in a second of large float32 products, the best of some rounds."""
    one, other = torch.randn(2, size, size)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        one @ other
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


@torch.no_grad()
def main() -> None:
    """Solve, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--classes", type=int, default=41)
    parser.add_argument("--l2", type=float, nargs="*", default=GRID)
    parser.add_argument("--streamed", action="store_true", help="keep no frames between passes")
    given = parser.parse_args()
    train = Frames(given.frames, given.size, given.classes)
    dev = Frames(given.frames // 20, given.size, given.classes, first=1 << 20)
    generator = torch.Generator().manual_seed(0)
    head = Linears(lambda states, _: states, [given.size, given.classes], 0.0, generator, solved=True).eval()
    solver = Exact(given.l2, accuracy("frame"), _score, kept=0 if given.streamed else KEPT)
    rate, start = product_rate(), time.perf_counter()
    said = solver(head, train, dev, _print)
    whole = time.perf_counter() - start
    seconds = sum(row["seconds"] for row in said["strengths"])
    operations = 4 * given.frames * given.size * given.classes * (said["passes"] - 1)  # scores, and the gradient
    print(f"{whole:.1f} s with reading and moments; dev chose l2 {said['l2']:g}, {said['passes']} passes")
    each, done = seconds / (said["passes"] - 1), operations / seconds
    print(
        f"{each:.3f} s a pass: {done / 1e9:.1f} of {rate / 1e9:.1f} GFLOP/s, {100 * done / rate:.0f} % "
        f"({torch.get_num_threads()} threads)"
    )


def _score(output: torch.Tensor, batch: Batch) -> ClassScore:
    assert batch.target is not None, "they are made with it"
    return class_score(output, batch.target)


def _print(number: int, figures: Mapping[str, float]) -> None:
    print(f"pass {number}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
