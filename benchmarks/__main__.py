"""Measure every stage on this machine: absolute, as a share of its limit, and beside a plain eager baseline."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchmarks import features, huggingface, layers, loading, probing, steps
from benchmarks.against import measurable
from benchmarks.contest import Result, Turn, contest
from benchmarks.limits import COPIED, Products, copying, reading
from benchmarks.steps import PlainRepresentations, PlainSteps, Precision, Representations, Shape, Steps
from utility.files import replacing

PRECISIONS: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
PART_ROUNDS = 5
CODEBOOKS = (1, 1024), (1, 8192), (8, 8192)  # how many, and codes of each
CORPUS_SECONDS = 3600.0


@dataclass(frozen=True)
class Row:
    """One measured figure; `share` is of the limit of its stage, `ratio` the baseline's time over ours."""

    stage: str
    value: float
    unit: str
    share: float | None = None
    ratio: float | None = None
    memory: float | None = None  # MiB beyond an idle process

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `TITLES`."""
        share = "" if self.share is None else f"{100 * self.share:.0f} %"
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        memory = "" if self.memory is None else f"{self.memory:.0f}"
        return (
            self.stage,
            f"{self.value:,.4g}" if self.value < 1000 else f"{self.value:,.0f}",
            self.unit,
            share,
            ratio,
            memory,
        )


TITLES = "stage", "measured", "unit", "of its limit", "x baseline", "peak MiB"


def limits(rounds: int) -> Iterator[Row]:
    """What the machine can do at best."""
    results = contest({"copy": copying, "read": reading}, rounds)
    yield Row("limit: copy in memory", 2 * COPIED / results["copy"].seconds / 1e9, "GB/s, read + written")
    yield Row("limit: read a file held in memory", COPIED / results["read"].seconds / 1e9, "GB/s")


def extraction(rounds: int) -> Iterator[Row]:
    """Features, one core; then a corpus by one and two processes."""
    for row in features.measure(rounds):
        yield Row(f"{row['stage']}, {row['setting']}", row["ours"], "x real time", ratio=row["ratio"])
    results = features.scaling(CORPUS_SECONDS)
    yield Row("features, 2 processes beside 1", results["ratio"], "times as fast")


def loader(rounds: int) -> Iterator[Row]:
    """Batches from a store."""
    makers: dict[str, Callable[[], Turn]] = {f"{n} workers": loading.Loading(n) for n in (0, 1, 2)}
    results = contest({"read": reading, "plain": loading.plain_loading, **makers}, rounds)
    frames = loading.UTTERANCES * loading.FRAMES
    for name in makers:
        seconds = results[name].seconds
        share = frames * loading.DIM * 4 / seconds / (COPIED / results["read"].seconds)
        ratio = results["plain"].seconds / seconds
        yield Row(f"loader, {name}", frames / seconds, "frames/s", share, ratio, results[name].memory)
    decoding = contest({f"{n} workers": loading.Loading(n, decoded=True) for n in (0, 1, 2)}, rounds)
    for name, result in decoding.items():
        ratio = decoding["0 workers"].seconds / result.seconds
        yield Row(f"loader, from FLAC, {name} (beside none)", frames / result.seconds, "frames/s", ratio=ratio)
    yield Row("first batch of 300,000 utterances", loading.first_batch(300_000), "s")
    yield Row("padding, Base on LibriSpeech's lengths", 100 * loading.padding_share(), "% of what is computed")


def training(rounds: int) -> Iterator[Row]:
    """Pre-training steps of each shape."""
    for shape in (steps.BASE_3, steps.BASE_1, steps.TERA, steps.LARGE, steps.APC):
        makers: dict[str, Callable[[], Turn]] = {"plain": PlainSteps(shape)}
        makers |= {name: Steps(shape, name) for name in PRECISIONS}
        yield from _computing(f"step {shape.name}", shape, makers, 3, rounds)
        if torch.cuda.is_available() and shape is not steps.APC:
            yield from choices(shape, rounds)
        if shape is steps.BASE_3:
            yield from_audio(shape, rounds)
        for name, seconds in steps.parts(shape, "bf16", PART_ROUNDS).items():
            yield Row(f"step {shape.name}, bf16: {name}", 1000 * seconds, "ms")


def choices(shape: Shape, rounds: int) -> Iterator[Row]:
    """What CUDA offers besides: packed and compiled, each beside neither; utterances of uneven length."""
    uneven = replace(shape, spread=0.5)
    ways = {"padded": (), "packed": ("speed.packed=True",), "compiled": ("speed.compile=True",)}
    results = contest({name: Steps(uneven, "bf16", words) for name, words in ways.items()}, rounds)
    yield from _beside_first(f"step {shape.name}, bf16, uneven", results)


def codes(rounds: int) -> Iterator[Row]:
    """Steps on codes beside one that rebuilds the same frames."""
    size = ("model.layers=3", "model.hidden_size=256", "model.heads=4", "model.ffn_size=1024")
    for shape in (steps.BASE_1, replace(steps.BASE_1, name="3 layers of 256", overrides=size)):
        for share in (0.15, 0.33):
            masked = f"masking.proportion={share}"
            ways = {f"{n} x {k:,} codes": (f"codes.codebooks={n}", f"codes.size={k}") for n, k in CODEBOOKS}
            makers = {name: Steps(shape, "bf16", (masked, "objective=codes", *way)) for name, way in ways.items()}
            results = contest({"masked L1": Steps(shape, "bf16", (masked,)), **makers}, rounds)
            yield from _beside_first(f"step {shape.name}, bf16, {100 * share:.0f} % masked", results)


def from_audio(shape: Shape, rounds: int) -> Row:
    """On-the-fly training beside that on stored features."""
    results = contest({"stored": Steps(shape, "bf16"), "online": Steps(shape, "bf16", online=True)}, rounds)
    times = results["online"].seconds / results["stored"].seconds
    return Row(f"step {shape.name}, bf16, straight from audio", times, "x a step on stored features")


def representing(rounds: int) -> Iterator[Row]:
    """Representations, stored."""
    for shape in (steps.BASE_3, steps.TERA):
        makers: dict[str, Callable[[], Turn]] = {"plain": PlainRepresentations(shape)}
        makers |= {name: Representations(shape, name) for name in PRECISIONS}
        yield from _computing(f"extract {shape.name}", shape, makers, 1, rounds, batches=2)


def transformers(rounds: int) -> Iterator[Row]:
    """Representations of Transformers' models; needs requirements-hf.txt."""
    for words, frames, results in huggingface.measure(rounds):
        plain = results.get("plain loop")
        for name, result in results.items():
            ratio = None if plain is None or name == "plain loop" else plain.seconds / result.seconds
            yield Row(f"{name} {words}", frames / result.seconds, "frames/s", ratio=ratio, memory=result.memory)


def probes(rounds: int) -> Iterator[Row]:
    """Training a probe."""
    for tuned, updates in ((False, 20), (True, 1)):
        ours, plain = probing.Probing(tuned, updates), probing.PlainProbing(tuned)
        results = contest({"ours": ours, "plain": plain}, rounds)
        frames, seconds = 6000 if tuned else 2000, results["ours"].seconds / updates  # of one update
        name = "probe through a tuned Base" if tuned else "probe from the cache"
        ratio = results["plain"].seconds / seconds
        yield Row(name, frames / seconds, "frames/s", ratio=ratio, memory=results["ours"].memory)


def analysis(measured: int) -> Iterator[Row]:
    """Layer analysis beside the original's procedure, which is measured on some layers."""
    for stage, value, unit, ratio, memory in layers.rows(layers.Task(), measured):
        yield Row(stage, value, unit, ratio=ratio, memory=memory)


def _beside_first(stage: str, results: Mapping[str, Result]) -> Iterator[Row]:
    """Milliseconds of each, beside the first of them."""
    first = next(iter(results))
    for name, result in results.items():
        ratio = results[first].seconds / result.seconds
        yield Row(f"{stage}, {name} (beside {first})", 1000 * result.seconds, "ms", ratio=ratio)


def _computing(
    stage: str, shape: Shape, makers: Mapping[str, Callable[[], Turn]], passes: int, rounds: int, batches: int = 1
) -> Iterator[Row]:
    """Ours beside the baseline, and both beside the matrix products alone."""
    recurrent = shape.resolved().encoder == "gru"
    bounds = {} if recurrent else {f"limit {n}": Products(shape, d, passes == 3) for n, d in PRECISIONS.items()}
    results = contest({**bounds, **makers}, rounds)
    frames, operations = batches * shape.utterances * shape.frames, passes * shape.operations
    for name in bounds:
        yield Row(f"{stage}, {name}: products alone", operations / results[name].seconds / 1e9, "GFLOP/s")
    for name in makers:
        result: Result = results[name]
        limit = results.get(f"limit {name}")
        share = None if limit is None else batches * limit.seconds / result.seconds
        ratio = None if name == "plain" else results["plain"].seconds / result.seconds
        yield Row(f"{stage}, {name}", frames / result.seconds, "frames/s", share, ratio, result.memory)


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {  # each takes the rounds, analysis the original's layers
    "limits": limits,
    "features": extraction,
    "loader": loader,
    "training": training,
    "codes": codes,
    "representations": representing,
    "transformers": transformers,
    "probes": probes,
    "analysis": analysis,
}


def machine() -> str:
    """What this ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    processor = f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor}{gpu}, PyTorch {torch.__version__}"


def main() -> None:
    """Run the chosen sections, print a Markdown table, leave the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=measurable(SECTIONS), help="sections (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant, of which the median counts")
    parser.add_argument("--layers", type=int, default=2, help="analysis: layers that the original's procedure runs on")
    parser.add_argument("--json", type=Path, default=Path("result/benchmarks.json"), help="where the figures go")
    args = parser.parse_args()
    print(f"{machine()}\n\n| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch  # for what is made up here and in the contestants' processes
        for section in args.only:
            for row in SECTIONS[section](args.layers if section == "analysis" else args.rounds):
                rows.append(row)
                print(f"| {' | '.join(row.cells())} |", flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.json) as temporary:
        temporary.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
