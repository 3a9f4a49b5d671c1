"""Rows of figures: printed as soon as they are there, and kept in a file after each one."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from utility.files import replacing

Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class Scale:
    """Where and how large: a GPU, or tiny sizes on a CPU that show that every stage runs."""

    device: torch.device
    budgets: tuple[int, ...]  # frames of a batch, padding included
    square: int  # of a large product
    width: int  # of a block
    copied: int  # bytes
    rounds: int  # of which the median counts
    words: tuple[str, ...] = ()  # of every config

    @property
    def gpu(self) -> bool:
        """Whether there is one."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done its work."""
        if self.gpu:
            torch.cuda.synchronize(self.device)


ON_GPU = Scale(torch.device("cuda"), (9000, 96_000), 8192, 768, 1 << 30, 10)
ON_CPU = Scale(
    torch.device("cpu"), (600,), 128, 32, 1 << 20, 2,
    ("model.hidden_size=32", "model.heads=4", "model.ffn_size=64", "model.layers=2", "gru.hidden_size=32"),
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """Something to measure, and about how many seconds that takes on a GPU; it fails alone."""

    name: str
    seconds: float
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Row:
    """What was measured, or `note`: why it was not."""

    stage: str
    name: str
    figures: Figures = field(default_factory=dict)
    note: str = ""

    def line(self) -> str:
        """A row of a Markdown table."""
        words = [f"{name} {_number(value)}" for name, value in self.figures.items()]
        return f"| {self.stage} | {self.name} | {self.note or ', '.join(words)} |"


def _number(value: float | int | str) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


class Table:
    """The rows of a run that has so many seconds, in `path` and on the screen."""

    def __init__(self, path: Path, seconds: float):
        self.path, self.seconds, self.start = path, seconds, time.monotonic()
        self.rows: list[Row] = []

    @property
    def left(self) -> float:
        """Seconds until the run should be over."""
        return self.seconds - (time.monotonic() - self.start)

    def run(self, stage: str, measurement: Measurement) -> None:
        """Measure, where the time is enough; whatever goes wrong is a row as well."""
        if measurement.seconds > self.left:
            note = f"left out: takes about {measurement.seconds:.0f} s, {max(self.left, 0):.0f} s are left"
            self.add(Row(stage, measurement.name, note=note))
            return
        try:
            self.add(Row(stage, measurement.name, measurement.measure()))
        except Exception as error:  # the others go on
            text = str(error).strip().splitlines()
            self.add(Row(stage, measurement.name, note=f"failed: {type(error).__name__}: {text[0] if text else ''}"))

    def add(self, row: Row) -> None:
        """Print a row and write all so far."""
        self.rows.append(row)
        print(row.line(), flush=True)
        content = {"seconds": round(self.seconds - self.left, 1), "rows": [asdict(row) for row in self.rows]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")
