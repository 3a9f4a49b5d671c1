"""Is a stage slower than in another checkout? It takes turns with itself on the library of that one."""

import argparse
import importlib.util
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Literal

from benchmarks.contest import Turn, contest

Stages = Mapping[str, Callable[[], Turn]]
PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
ROOMS = "analysis", "commands", "downstream", "mockingjay", "preprocess", "report", "utility"
SLACK = 1.02  # a smaller ratio is no loss: a checkout beside itself gives as much
COLUMNS = "| stage | there | here | here / there, by run | |"


@dataclass(frozen=True)
class Repeated:
    """A maker whose turn is so many turns: short ones are told apart only together."""

    maker: Callable[[], Turn]
    times: int

    def __call__(self) -> Turn:
        turn = self.maker()

        def turns() -> None:
            for _ in range(self.times):
                turn()

        return turns


@dataclass(frozen=True)
class Elsewhere:
    """A maker (pickled) of these benchmarks on the library of a checkout; `RuntimeError` where another one is found.

    The checkout stands first and alone in the path: rooms are namespaces, so two of them would merge."""

    maker: bytes
    checkout: Path

    def __call__(self) -> Turn:
        here = {"", str(Path.cwd()), str(Path(__file__).parents[1])}
        sys.path[:] = [str(self.checkout), *(entry for entry in sys.path if entry not in here)]
        for name in [name for name in sys.modules if name.partition(".")[0] in ROOMS]:
            del sys.modules[name]  # what these benchmarks import at their start
        os.chdir(self.checkout)
        turn: Turn = pickle.loads(self.maker)()
        strays = [name for name, module in sys.modules.items() if self._is_stray(name, module)]
        if strays:
            raise RuntimeError(f"{strays[0]} is not from {self.checkout}: another version is installed or was imported")
        return turn

    def _is_stray(self, name: str, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return name.partition(".")[0] in ROOMS and file is not None and not Path(file).is_relative_to(self.checkout)


@dataclass(frozen=True)
class Comparison:
    """Seconds of a stage in another checkout and in this one, and their ratio in each run; above 1 is slower here."""

    there: float
    here: float
    ratios: tuple[float, ...]

    @property
    def slower(self) -> bool:
        """In every run by more than SLACK."""
        return min(self.ratios) > SLACK

    @property
    def faster(self) -> bool:
        """In every run by more than SLACK."""
        return max(self.ratios) < 1 / SLACK

    def row(self, stage: str) -> str:
        """Of the table of COLUMNS."""
        verdict = "slower" if self.slower else "faster" if self.faster else ""
        ratios = " ".join(f"{ratio:.3f}" for ratio in sorted(self.ratios))
        return f"| {stage} | {self.there:.4g} s | {self.here:.4g} s | {ratios} | {verdict} |"


def compare(maker: Callable[[], Turn], there: Path, rounds: int, runs: int) -> Comparison:
    """Each run has new processes; its ratio is the median over its rounds, in which one goes right after the other.

    Who goes first alternates."""
    pickled, checkouts = pickle.dumps(maker), {"there": there.resolve(), "here": Path.cwd()}
    makers = {name: Elsewhere(pickled, checkout) for name, checkout in checkouts.items()}
    swapped = dict(reversed(makers.items()))
    results = [contest(swapped if run % 2 else makers, rounds) for run in range(runs)]
    ratios = (median(h / t for h, t in zip(found["here"].times, found["there"].times)) for found in results)
    seconds = {name: median(found[name].seconds for found in results) for name in makers}
    return Comparison(seconds["there"], seconds["here"], tuple(ratios))


def _features() -> Stages:
    from benchmarks import features

    return {
        f"{stage.name}, {setting}": Repeated(features.Extracting(stage, setting), 5)
        for stage in features.STAGES
        for setting in features.SETTINGS
    }


def _loader() -> Stages:
    from benchmarks.loading import Loading

    stored = {f"loader, {n} workers": Repeated(Loading(n), 20) for n in (0, 1, 2)}
    return stored | {f"loader, from FLAC, {n} workers": Loading(n, decoded=True) for n in (0, 1, 2)}


def _training() -> Stages:
    from benchmarks.steps import APC, BASE_1, BASE_3, LARGE, TERA, Steps

    shapes = BASE_3, BASE_1, TERA, LARGE, APC
    stored = {f"step {shape.name}, {p}": Steps(shape, p) for shape in shapes for p in PRECISIONS}
    return stored | {f"step {BASE_3.name}, bf16, straight from audio": Steps(BASE_3, "bf16", online=True)}


def _codes() -> Stages:
    from benchmarks.steps import BASE_1, Steps

    found = {}
    for books, size in ((1, 1024), (8, 8192)):
        words = "objective=codes", f"codes.codebooks={books}", f"codes.size={size}"
        found[f"step Base, bf16, {books} x {size:,} codes"] = Steps(BASE_1, "bf16", words)
    return found


def _representations() -> Stages:
    from benchmarks.steps import BASE_3, TERA, Representations

    return {f"extract {shape.name}, {p}": Representations(shape, p) for shape in (BASE_3, TERA) for p in PRECISIONS}


def _transformers() -> Stages:
    from benchmarks.huggingface import SHAPES, SPANS, Extraction, Task

    tasks = {f"{shape}, {words}": Task(shape, *span) for shape in SHAPES for words, span in SPANS.items()}
    return {f"hf: {name}": Extraction(task) for name, task in tasks.items()}


def _probes() -> Stages:
    from benchmarks.probing import Probing

    return {"probe from the cache": Probing(False, 20), "probe through a tuned Base": Probing(True, 1)}


# The library is imported by each alone: a process that takes turns must not have this checkout's.
SECTIONS: Mapping[str, Callable[[], Stages]] = {
    "features": _features,
    "loader": _loader,
    "training": _training,
    "codes": _codes,
    "representations": _representations,
    "transformers": _transformers,
    "probes": _probes,
}


def measurable(sections: Iterable[str]) -> list[str]:
    """All of them but for those of an extra that is not installed."""
    there = importlib.util.find_spec("transformers") is not None
    return [name for name in sections if there or name != "transformers"]


def main() -> int:
    """Print a table, a row as soon as it is there; 1 where a stage is slower."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of another version of this repository; . shows the noise")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=measurable(SECTIONS), help="sections (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each in a run, of which the median counts")
    parser.add_argument("--runs", type=int, default=3, help="times that both start anew")
    args = parser.parse_args()
    if not (args.checkout / "mockingjay").is_dir():
        parser.error(f"{args.checkout}: not a checkout of this repository; it has no folder mockingjay")
    print(f"{COLUMNS}\n| --- | ---: | ---: | ---: | --- |")
    slower = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        for section in args.only:
            for stage, maker in SECTIONS[section]().items():
                found = compare(maker, args.checkout, args.rounds, args.runs)
                print(found.row(stage), flush=True)
                if found.slower:
                    slower.append(stage)
    if slower:
        print(f"\nSlower in every run by more than {100 * (SLACK - 1):.0f} %: {'; '.join(slower)}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
