"""Memory, descriptors and threads of a real training of 2,500 steps: they must stay what they were."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.jobs import Bench, Failure, Job, References, Result
from tests.campaign.scenarios import BY_NAME, Scenario
from tests.campaign.zygote import ENVIRONMENT, PROJECT

COLUMNS = ("runs", "steps", "samples", "MB at 20 %", "MB at the end", "growing memory", "growing others")
STEPS = 2500
SETTLED = 0.2  # share of the run after which nothing may grow
MEGABYTE = 1 << 20
MOST_GROWTH = 12  # MB: allocators round, and a picture is now and then larger
KINDS = ("train_w0", "train_w2", "online_w0", "train_apc_gru")


@dataclass(frozen=True)
class Sample:
    """What a process held at a moment."""

    memory: int
    descriptors: int
    threads: int


def jobs(references: References, scenarios: Sequence[Scenario] = ()) -> Iterator[Job]:
    """One run of each kind."""
    for name in KINDS:

        def work(bench: Bench, rng: random.Random, name: str = name) -> Result:
            return hold(bench, BY_NAME[name])

        yield Job(f"load/{name}/0", work)


def hold(bench: Bench, scenario: Scenario, steps: int = STEPS) -> Result:
    """One training, sampled from start to end."""
    place = bench.place("here")
    words = scenario.words(0, bench.world)
    words += [f"trainer.steps={steps}", "trainer.save_every=100", "trainer.eval_every=250", "trainer.log_every=20"]
    command = [sys.executable, str(PROJECT / words[0]), *words[1:]]
    bench.typed.append(f"cd {place} && python {' '.join(words)}   # a process of its own")
    with (bench.folder / "stderr").open("w") as errors:
        process = subprocess.Popen(command, cwd=place, env={**os.environ, **ENVIRONMENT}, stderr=errors, stdout=errors)
        samples = list(_samples(process, place / "log/run/metrics.jsonl"))
    failures = []
    if process.returncode or not samples:
        failures.append(Failure("failed", (bench.folder / "stderr").read_text()[-1500:]))
        return Result(scenario.name, {"runs": 1, "steps": steps}, tuple(failures))
    early, last = samples[int(len(samples) * SETTLED)], samples[-1]
    growth = (last.memory - early.memory) / MEGABYTE
    if growth > MOST_GROWTH:
        failures.append(Failure("growing memory", f"{growth:.1f} MB more at the end than at {SETTLED:.0%}"))
    settled = samples[int(len(samples) * SETTLED) :]
    for name in ("descriptors", "threads"):
        counts = [getattr(sample, name) for sample in settled]
        half = len(counts) // 2
        if min(counts[half:]) > max(counts[:half]):
            failures.append(Failure(f"growing {name}", f"{counts[0]} to {counts[-1]}"))
    kinds = [failure.what for failure in failures]
    memory = kinds.count("growing memory")
    values = (1, steps, len(samples), early.memory // MEGABYTE, last.memory // MEGABYTE, memory, len(kinds) - memory)
    return Result(scenario.name, dict(zip(COLUMNS, values)), tuple(failures))


def _samples(process: subprocess.Popen[bytes], metrics: Path) -> Iterator[Sample]:
    """Twice a second, from the first record of the run on."""
    root = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        time.sleep(0.5)
        try:
            if metrics.exists() and metrics.stat().st_size:
                memory = int((root / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                held = Sample(memory, len(os.listdir(root / "fd")), len(os.listdir(root / "task")))
                if memory:  # none is left of a process that has just ended
                    yield held
        except (OSError, IndexError):
            break
    process.wait()
