"""Where a run's figures go: one JSON line per record, TensorBoard, and lines where there is no terminal."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from utility.files import naming, replacing
from utility.text import parse_json, read_text
from utility.training.events import Board


class RunLog:
    """Metrics of a run: `metrics.jsonl` in `directory`, and on a `board` for TensorBoard.

    `start` is the step the run continues from: what an interrupted run wrote beyond it is taken back."""

    def __init__(self, directory: Path, start: int = 0, board: Board | None = None):
        directory.mkdir(parents=True, exist_ok=True)
        self.path, self.board = directory / "metrics.jsonl", board or Board(None)
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step(line) <= start and start]
            with replacing(self.path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in kept))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record named figures of a step; OSError names the file when the disk is full: metrics.jsonl is complete."""
        line = json.dumps({"step": step, **values}) + "\n"
        with naming(self.path), self.path.open("ab") as file:  # nothing waits in a buffer for the end of the run
            file.write(line.encode())
        self.board.scalars(step, values)


class ProgressLines:
    """Lines for a run that has no terminal and so no progress bar: at most one in `INTERVAL` seconds."""

    INTERVAL = 30.0

    def __init__(
        self, start: int, stop: int, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None
    ):
        self.first, self.stop, self.clock, self.stream = start, stop, clock, stream or sys.stderr
        self.began = self.last = clock()

    def say(self, step: int, loss: float, rate: float, frames_per_s: float) -> None:
        """Print where the run stands, unless a line was printed a short time ago."""
        now = self.clock()
        if self.stream.isatty() or now - self.last < self.INTERVAL:
            return
        self.last = now
        left = _span((now - self.began) / (step - self.first) * (self.stop - step))
        figures = f"loss {loss:.4f}, rate {rate:.3g}, {frames_per_s:.0f} frames/s"
        print(f"step {step}/{self.stop}: {figures}, {left} left", file=self.stream, flush=True)


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _step(line: str) -> float:
    record = _record(line)
    return float("inf") if record is None else record["step"]  # the half line of a killed run is beyond any step


def _record(line: str) -> dict[str, float] | None:
    """The figures of a line, its step among them; None for a line that is no record."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "step" not in record:
        return None
    return record if all(type(value) in (int, float) for value in record.values()) else None


def read_metrics(directory: Path) -> list[dict[str, float]]:
    """The records of a run, in order; ValueError names a line that is none."""
    file, records = directory / "metrics.jsonl", []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        record = _record(line)
        if record is None:
            raise ValueError(f"{file}: line {number} is no record of a run: remove that line")
        records.append(record)
    return records
