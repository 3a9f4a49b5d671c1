"""The project's own tests that need a GPU."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.table import Figures, Measurement, Scale

TESTS = Path("tests")
SECONDS = 100


def checks(scale: Scale) -> Iterator[Measurement]:
    """`pytest -m cuda` on the files that hold such tests."""
    yield Measurement("pytest -m cuda", SECONDS, lambda: _passed(scale))


def _passed(scale: Scale) -> Figures:
    files = sorted(str(file) for file in TESTS.rglob("test_*.py") if "mark.cuda" in file.read_text())
    if not scale.gpu:
        return {"files": len(files), "result": "they run on CUDA only"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"result": "; ".join([lines[-1].strip("= ") if lines else "nothing was printed", *failed])}
