"""Measure one GPU: what it can do, and how near to that training, features and extraction come.

Each row is printed as soon as it is measured, and the file is written again after each. A row that fails leaves the
others alone. What does not fit into --seconds is left out, and its row says so."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.gpu.checks import checks
from benchmarks.gpu.data import extraction, features, loading
from benchmarks.gpu.limits import facts, products
from benchmarks.gpu.steps import steps, waits
from benchmarks.gpu.table import ON_CPU, ON_GPU, Measurement, Scale, Table

STAGES: dict[str, Callable[[Scale], Iterator[Measurement]]] = {
    "facts": facts,
    "products": products,
    "waits": waits,
    "tests": checks,
    "features": features,
    "extraction": extraction,
    "loader": loading,
    "steps": steps,  # last: there are more of them than fit
}


def main() -> int:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES), help="stages (default: all)")
    parser.add_argument("--seconds", type=float, default=470, help="how long all of it may take (default: 470)")
    parser.add_argument("--json", type=Path, default=Path("result/gpu.json"), help="where the figures go")
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the CPU, to see that every stage runs")
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        parser.error("no CUDA device: --cpu shows what would be measured")
    scale = ON_CPU if args.cpu else ON_GPU
    table = Table(args.json, args.seconds)
    print("| stage | what | figures |\n| --- | --- | --- |")
    for stage in args.only:
        for measurement in STAGES[stage](scale):
            table.run(stage, measurement)
            if scale.gpu:
                torch.cuda.empty_cache()
    return 1 if any(row.note.startswith("failed") for row in table.rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
