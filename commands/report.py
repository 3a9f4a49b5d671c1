"""One page of all results, or its table of scores."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.figures.draw import figures
from commands.settings import Report
from downstream.comparison import FinishedRun
from downstream.config import DownstreamConfig
from downstream.curve_figure import curve_figure
from downstream.intervals import Predicted, difference, lacking, sureness
from downstream.tasks.base import Task
from report.content import Content, Options, Rooms, gather
from report.leaderboard import Difference, leaderboard
from report.render import render
from report.runs import Probe, Runs, read_runs
from report.tables import as_csv, as_markdown
from utility.config import as_dict, differences
from utility.files import replacing
from utility.store.reading import Store
from utility.text import short

TABLES = {"md": as_markdown, "csv": as_csv}
ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("analysis", "commands", "downstream", "mockingjay", "preprocess", "report", "utility")


def report(settings: Report) -> int:
    """Write the page, or print the table; the exit code, 1 where a file cannot be read, which is said."""
    runs = read_runs(settings.results, settings.logdir)
    if not any((runs.probes, runs.curves, runs.analyses, runs.pretrainings, runs.damaged)):
        raise ValueError(f"{settings.results}: no finished run below it: name the folder that --expdir wrote to")
    beside = Beside()
    if settings.format == "html":
        if settings.output.is_dir():
            raise ValueError(f"--output {settings.output} is a folder: name a file")
        text = render(page_content(runs, settings, beside), code_fingerprint(), settings.date)
        with replacing(settings.output) as new:
            new.write_text(text, encoding="utf-8")
        print(f"{settings.output}: {len(runs.probes)} probes, {len(text.encode()) / 1e6:.1f} MB; open it in a browser")
    else:
        board = leaderboard(runs.probes, beside.examined, beside.paired, settings.baseline)
        print(TABLES[settings.format](board), end="")
    for one in runs.damaged:
        print(f"{settings.results}/{one.place} is left out: {one.reason}", file=sys.stderr)
    return int(bool(runs.damaged))


def page_content(runs: Runs, settings: Report, beside: "Beside") -> Content:
    """All that stands on the page."""
    rooms = Rooms(beside.paired, beside.examined, changed, figures, curve_figure)
    options = Options(
        settings.title,
        settings.baseline,
        settings.figures,
        settings.sound,
        settings.against,
        Path.cwd(),
    )
    return gather(runs, settings.results, rooms, options)


class Beside:
    """Runs beside each other, by what they predicted; every file is read once."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task | None] = {}
        self._predicted: dict[str, Predicted | None] = {}
        self._roots: dict[str, str] = {}  # of the recordings of stores, by their paths

    def task(self, probe: Probe) -> Task | None:
        """Its task, None of a config that is none of today's."""
        if probe.place not in self._tasks:
            try:
                self._tasks[probe.place] = _finished(probe).task()
            except ValueError:
                self._tasks[probe.place] = None
        return self._tasks[probe.place]

    def predicted(self, probe: Probe) -> Predicted | None:
        """The mean over its seeds, None where its predictions are not there, or are of other utterances."""
        if probe.place not in self._predicted:
            self._predicted[probe.place] = self._read(probe)
        return self._predicted[probe.place]

    def _read(self, probe: Probe) -> Predicted | None:
        task = self.task(probe)
        if task is None or not probe.config:
            return None
        try:
            return _finished(probe).predicted(task)
        except (ValueError, OSError):
            return None

    def paired(self, one: Probe, other: Probe) -> Difference | None:
        """See `Paired`."""
        first, second = self.predicted(one), self.predicted(other)
        if first is None or second is None or lacking(first, second) is not None:
            return None
        apart = difference(first, second)
        sure = sureness(apart)
        low, high = (None, None) if sure.interval is None else (sure.interval.low, sure.interval.high)
        return Difference(apart.value, low, high, sure.reason or "")

    def examined(self, probe: Probe) -> str:
        """See `Examined`: of predictions their ids, else the counts of the division; and where the recordings are, as
        the stores say, or the names of these where they are not there any more."""
        predicted, recordings = self.predicted(probe), self._recordings(probe)
        if predicted is None:
            return short([probe.result.get("division"), recordings], 10**4)
        return hashlib.sha256("\n".join([*recordings, *sorted(predicted.answers)]).encode()).hexdigest()

    def _recordings(self, probe: Probe) -> list[str]:
        paths = probe.setting("data", "test") or probe.setting("data", "train") or []
        return sorted({self._roots.setdefault(path, _audio_root(path)) for path in map(str, paths)})


def _audio_root(path: str) -> str:
    """The folder of the recordings of a store, or the store where it does not say."""
    try:
        return Store([path]).info.audio_root or path
    except (ValueError, OSError):
        return "/".join(Path(path).parts[-2:])


def _finished(probe: Probe) -> FinishedRun:
    """A run as comparisons have it."""
    return FinishedRun(probe.place, probe.result, probe.folders)


def changed(probe: Probe) -> Sequence[str]:
    """The settings of a run that differ from the defaults."""
    return [f"{key}={_plain(now)}" for key, _, now in differences(as_dict(DownstreamConfig()), probe.config)]


def _plain(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def code_fingerprint() -> str:
    """16 hex digits of all code that can make a result or a page."""
    digest = hashlib.sha256()
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*")):
            if file.suffix in (".py", ".html", ".css", ".js"):
                digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
