"""Numbers of a page computed again, each by its kind: from predictions, checkpoints, stores, and whole analyses."""

import io
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch

from commands.analyse import ROOM, analyse
from commands.report import Beside
from commands.settings import Analyse
from downstream.config import DownstreamConfig, OnlineFile
from downstream.experiment import Experiment
from downstream.intervals import of_runs
from downstream.setting import ONLINE, Setting
from downstream.tasks.base import Task
from mockingjay.checkpoint import Pretrained, load_pretrained
from mockingjay.pretraining.data import open_data
from mockingjay.pretraining.run import pretraining
from mockingjay.runs import checkpoint_in
from mockingjay.upstreams.pretrained import PretrainedUpstream
from mockingjay.upstreams.spec import UpstreamSpec
from report.runs import Other, Pretraining, Probe, Runs
from report.stated import Stated, sha256
from utility.config import build, resolve
from utility.predictions import predictions_of
from utility.results import RESULT
from utility.runs import mean, read_json
from utility.store.lists import without_list
from utility.store.reading import is_split
from utility.text import short

EXACT = 1e-9  # what is made from the same predictions again
CLOSE = 1e-3  # and what is computed again, perhaps on another machine, by whole numbers,
POINTS = 0.1  # or in percent


class Missing(Exception):
    """What a number was made from is not there."""


@dataclass(frozen=True)
class Again:
    """A number as it is now, and how far it may be from what is stated."""

    value: Sequence[float | None] | str
    within: float = 0.0

    def differs(self, stated: Sequence[float | None] | str) -> str:
        """What differs, in words; empty where nothing does."""
        if isinstance(stated, str) or isinstance(self.value, str):
            return "" if stated == self.value else f"is {short(self.value)}, the page says {short(stated)}"
        if len(stated) != len(self.value):
            return f"has {len(self.value)} values, the page has {len(stated)}"
        for was, now in zip(stated, self.value):
            if (was is None) != (now is None):
                return f"is {now}, the page says {was}"
            if was is not None and now is not None and not abs(was - now) <= self.within * max(1.0, abs(was)):
                return f"is {now:.6g}, the page says {was:.6g}"
        return ""


class Recomputed:
    """The numbers of some runs, computed again; what several of them need is opened once."""

    def __init__(self, results: Path, runs: Runs, device: torch.device, temporary: Path):
        """What is computed on the way lies in the folder `temporary`, which is the caller's to remove."""
        self.results, self.device, self.temporary, self.beside = results, device, temporary, Beside()
        self.probes: Mapping[str, Probe] = {one.place: one for one in runs.probes}
        self.pretrainings: Mapping[str, Pretraining] = {one.place: one for one in runs.pretrainings}
        self.analyses: Mapping[str, Other] = {one.place: one for one in runs.analyses}
        self._experiments: dict[str, Experiment] = {}
        self._checkpoints: dict[str, Pretrained] = {}
        self._analysed: dict[tuple[str, str], Mapping[str, Any]] = {}

    def again(self, one: Stated) -> Again:
        """The number now; Missing says what is not there, ValueError and OSError what is damaged."""
        ways: Mapping[str, Callable[[Stated], Again]] = {
            "file": self._file,
            "test": self._test,
            "dev": self._dev,
            "checkpoint": self._checkpoint,
            "difference": self._difference,
            "weights": self._weights,
            "data": self._data,
            "parameters": self._parameters,
            "loss": self._loss,
            "layer": self._layer,
        }
        try:
            return ways[one.kind](one)
        except FileNotFoundError as error:
            raise Missing(f"{error.filename or error} is not there") from None

    def _file(self, one: Stated) -> Again:
        return Again(sha256(self.results / str(one.of["file"])))

    def _probe(self, one: Stated) -> Probe:
        return _known(self.probes, one.of.get("run"))

    def _test(self, one: Stated) -> Again:
        probe = self._probe(one)
        value, sure = self._of_runs(probe, "test")
        return Again([value, *((sure.low, sure.high) if sure is not None else (None, None))], EXACT)

    def _of_runs(self, probe: Probe, part: str) -> tuple[float | None, Any]:
        for file in (predictions_of(folder, part) for folders in probe.folders for folder in folders):
            if not file.is_file():
                raise Missing(f"{file} is not there")
        value, sure = of_runs(self._task(probe), probe.folders, part)
        return value, sure.interval

    def _task(self, probe: Probe) -> Task:
        task = self.beside.task(probe)
        if task is None:
            raise Missing(f"{probe.place} is of a version whose config is none of today's")
        return task

    def _dev(self, one: Stated) -> Again:
        """The mean over seeds and folds, each by its own predictions."""
        probe = self._probe(one)
        values = []
        for folders in probe.folders:
            for folder in folders:
                values.append(self._of_runs(replace(probe, folders=((folder,),)), "dev")[0])
        return Again([mean(values)], EXACT)

    def _checkpoint(self, one: Stated) -> Again:
        """The test part is answered again by the probe's checkpoint, in a copy of its folder."""
        probe = self._probe(one)
        experiment = self._experiment(probe)
        copied = experiment.directory
        copied.mkdir(parents=True, exist_ok=True)
        for file in probe.folders[0][0].glob("*.ckpt"):
            shutil.copyfile(file, copied / file.name)
        experiment.load_best()
        value = experiment.score_test().figures()[experiment.setting.task.metric.key]
        return Again([value], POINTS if probe.metric.unit == "%" else CLOSE)

    def _experiment(self, probe: Probe) -> Experiment:
        """The run of the first seed as it was set, in a temporary folder, with states that are computed again."""
        if probe.place not in self._experiments:
            folder, task = probe.folders[0][0], self._task(probe)
            config = build(DownstreamConfig, probe.config)
            kept = self.temporary / f"run{len(self._experiments)}"
            config = replace(config, data=replace(config.data, cache=str(kept / "cache")))
            online = resolve(OnlineFile, folder / ONLINE).online if (folder / ONLINE).is_file() else None
            spec = UpstreamSpec.parse(str(probe.origin.get("spec") or probe.upstream))
            _check_there([*config.data.train, *config.data.dev, *config.data.test])
            setting = Setting(
                task,
                spec,
                config,
                int(probe.result["seed"]),
                self.device,
                True,
                assume=probe.origin.get("assumed"),
                online=online,
            )
            self._experiments[probe.place] = Experiment(setting, kept)
        return self._experiments[probe.place]

    def _difference(self, one: Stated) -> Again:
        first, second = (_known(self.probes, place) for place in one.of["runs"])
        apart = self.beside.paired(first, second)
        if apart is None:
            raise Missing(f"{first.place} and {second.place} have no predictions of the same utterances")
        return Again([apart.value, apart.low, apart.high], EXACT)

    def _weights(self, one: Stated) -> Again:
        if "run" in one.of:
            return Again(self._experiment(self._probe(one)).fingerprint)
        saved = self._pretrained(one)
        upstream = PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift)
        return Again(upstream.fingerprint)

    def _data(self, one: Stated) -> Again:
        return Again(self._experiment(self._probe(one)).source())

    def _pretrained(self, one: Stated) -> Pretrained:
        run = _known(self.pretrainings, one.of.get("pretraining"))
        if run.place not in self._checkpoints:
            path = checkpoint_in(run.folder)
            if path is None:
                raise Missing(f"{run.place} has no checkpoint")
            self._checkpoints[run.place] = load_pretrained(path)
        return self._checkpoints[run.place]

    def _parameters(self, one: Stated) -> Again:
        return Again([sum(p.numel() for p in self._pretrained(one).model.parameters())])

    def _loss(self, one: Stated) -> Again:
        """The loss on dev, by the batches that the training looked at."""
        saved = self._pretrained(one)
        _check_there(saved.config.data.dev)
        objective = pretraining(saved.model.to(self.device), saved.config, self.device)
        data = open_data(saved.config.data.dev, saved.config)
        scores = objective.evaluate(islice(data.once(self.device), saved.config.eval_batches))
        return Again([scores["loss"]], CLOSE)

    def _layer(self, one: Stated) -> Again:
        """The experiment is run again with all upstreams: which tokens count depends on all of them."""
        run = _known(self.analyses, one.of.get("analysis"))
        key = run.place, str(one.of["experiment"])
        if key not in self._analysed:
            self._analysed[key] = self._analyse(run, key[1])
        curves = self._analysed[key]["experiments"][key[1]]["upstreams"]
        return Again([point["score"] for point in curves[one.of["upstream"]]], CLOSE)

    def _analyse(self, run: Other, experiment: str) -> Mapping[str, Any]:
        content, command = run.content, shlex.split(str(run.content.get("command", "")))
        if run.content.get("joined") or not command:
            raise Missing(f"{run.place} joins runs, it was not computed")
        specs = [word for flag, word in pairwise(command) if flag == "--upstream"]
        _check_there(content["config"]["data"]["store"])
        name = f"{len(self._analysed)}"
        settings = Analyse(
            run=(experiment,),
            everything=False,
            upstreams=tuple(UpstreamSpec.parse(word) for word in specs),
            assume=None,
            layer=_behind(command, "--layer"),
            controls="--controls" in command,
            config=run.folder / "config.yaml",
            online_config=None if (file := _behind(command, "--online_config")) is None else Path(file),
            seed=int(content["seed"]),
            samples=int(content["samples"]),
            bootstrap=0,
            cpu=self.device.type == "cpu",
            dry_run=False,
            expdir=self.temporary,
            name=name,
            resume=None,
            original_files=False,
            msg=False,
            overrides=(),
        )
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            analyse(settings)
        return read_json(self.temporary / ROOM / name / RESULT)


def _behind(command: Sequence[str], flag: str) -> str | None:
    return command[command.index(flag) + 1] if flag in command else None


def _known(runs: Mapping[str, Any], place: Any) -> Any:
    if place not in runs:
        raise Missing(f"the run {place} is not there")
    return runs[place]


def _check_there(paths: Sequence[str]) -> None:
    """Raise Missing where a store's split, or a folder or table of recordings, is not there."""
    for path in paths:
        if not is_split(path) and not without_list(path)[0].exists():
            raise Missing(f"{path} is not there")
