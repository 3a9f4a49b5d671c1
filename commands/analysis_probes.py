"""Finished probes for an analysis: what the states of an upstream are worth to them while something is cut of it, and
a loss that attacks on its input raise. `analysis` gets both as functions."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from analysis.collect import Subject
from analysis.config import AnalysisConfig
from analysis.probed import Probed
from analysis.robustness import Loss
from commands.finished_probes import BEST, FinishedProbe, StatesNow
from downstream.experiment import KIND, Experiment
from downstream.setting import Setting
from downstream.tasks.table import find_task
from mockingjay.upstreams.attentive import Attentive
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.spec import UpstreamSpec
from utility.batches import Batch
from utility.config import as_dict
from utility.runs import read_json, write_json
from utility.training.checkpoint import load_checkpoint, load_weights


@dataclass(frozen=True)
class OpenedProbe:
    """A finished probe beside an upstream: its own one, or another one that it is trained for again."""

    probe: FinishedProbe
    subject: Subject
    setting: Setting
    retrain: bool

    @classmethod
    def of(
        cls, probe: FinishedProbe, subject: Subject, spec: UpstreamSpec, device: torch.device, steps: int | None
    ) -> "OpenedProbe":
        """With `steps` it is trained again, for so many at most. Checks all that can be checked before work is done."""
        task = find_task(probe.task, probe.config)
        setting = Setting(task, spec, probe.config, probe.seed, device, True, online=probe.online)
        opened = cls(probe, subject, setting, steps is not None)
        experiment = opened.experiment(Path(), opened.states())
        if steps is None:
            opened.load(experiment, probe.folder / BEST)
        elif experiment.solver is None and experiment.steps() > steps:
            trainer = replace(probe.config.trainer, steps=steps, epochs=None)
            opened = replace(opened, setting=replace(setting, config=replace(probe.config, trainer=trainer)))
        return opened

    def states(self) -> StatesNow:
        """What gives the states: of the test part, or for training of all."""
        return StatesNow(self.subject.upstream, ("train", "dev", "test") if self.retrain else ("test",))

    def experiment(self, directory: Path, states: StatesNow) -> Experiment:
        """The probing run on the upstream as it is."""
        return Experiment(self.setting, directory, states)

    @staticmethod
    def load(experiment: Experiment, path: Path) -> None:
        """Take the probe's weights from a checkpoint."""
        load_weights(experiment.probe, load_checkpoint(path, KIND).get("model", {}), path)

    @property
    def name(self) -> str:
        """What its figure is called."""
        return f"{self.probe.task} {self.setting.task.metric.key}, {'retrained' if self.retrain else 'frozen'}"

    def score(self, states: StatesNow) -> float:
        """The metric on the probe's test part, of the upstream as it is."""
        with TemporaryDirectory() as folder:
            experiment = self.experiment(Path(folder), states)
            if self.retrain:
                experiment.train()
            self.load(experiment, (Path(folder) if self.retrain else self.probe.folder) / BEST)
            score = experiment.test.score(experiment.probe, self.setting.device)
        return score.figures()[self.setting.task.metric.key]

    def about(self) -> dict[str, Any]:
        """In words, for a result."""
        of = self.probe.upstream == self.subject.upstream.fingerprint
        return {
            "figure": self.name,
            "probe": str(self.probe.folder),
            "task": self.probe.task,
            "metric": str(self.setting.task.metric),
            "of": "this upstream" if of else "another upstream: it is trained for this one",
            "retrained": self.retrain,
            "steps": self.setting.config.trainer.steps if self.retrain else None,
        }


def with_probes(
    subjects: Sequence[Subject],
    specs: Sequence[UpstreamSpec],
    config: AnalysisConfig,
    names: Sequence[str],
    device: torch.device,
    cache: Path,
) -> list[Subject]:
    """The upstreams with their probes: those of `attention.probes`, and those that `lnsr.probe` lists, where such an
    experiment is among `names`.

    ValueError for a folder that holds none, and a probe of no upstream of the run."""
    attention = config.attention
    listed = {"attention.probes": attention.probes if "attention" in names else []}
    listed |= {"lnsr.probe": config.lnsr.probe if "lnsr" in names else []}
    pruned, attacked = ([FinishedProbe.read(path, key) for path in paths] for key, paths in listed.items())
    for key, probes in (("attention.probes", pruned), ("lnsr.probe", attacked)):
        _check_known(key, probes, subjects)
    steps = attention.retrain_steps if attention.retrain else None
    made = []
    for subject, spec in zip(subjects, specs):
        scored = [
            OpenedProbe.of(probe, subject, spec, device, steps)
            for probe in _fitting(pruned, subject, attention.retrain)
        ]
        probed = Probed()
        if scored:
            probed = Probed(_score(scored, cache), {one.name: one.setting.task.metric.unit for one in scored})
            probed = replace(probed, scored_by=tuple(one.about() for one in scored))
        own = [probe for probe in attacked if probe.upstream == subject.upstream.fingerprint]
        if own:
            opened = OpenedProbe.of(own[0], subject, spec, device, None)
            probed = replace(probed, loss=_loss(opened), loss_of=own[0].task)
        told = [one.probe.digest for one in scored] + [probe.digest for probe in own[:1]]
        made.append(replace(subject, probed=replace(probed, key=json.dumps(told)) if told else probed))
    return made


def _check_known(key: str, probes: Sequence[FinishedProbe], subjects: Sequence[Subject]) -> None:
    known = {subject.upstream.fingerprint for subject in subjects}
    seen: set[tuple[str, str]] = set()
    for probe in probes:
        names = ", ".join(subject.name for subject in subjects)
        if probe.upstream not in known:
            raise ValueError(
                f"{key}: {probe.folder} is a probe of another upstream ({probe.upstream}) than {names}: name one of "
                "theirs"
            )
        found = (probe.upstream, "" if key == "lnsr.probe" else probe.task)
        if found in seen:
            raise ValueError(f"{key}: {probe.folder} is a second probe of its upstream for {probe.task}: name one")
        seen.add(found)


def _fitting(probes: Sequence[FinishedProbe], subject: Subject, retrain: bool) -> list[FinishedProbe]:
    """The upstream's own probe of each task; where probes are trained again also another upstream's."""
    if not isinstance(subject.upstream, Attentive):
        return []
    chosen: dict[str, FinishedProbe] = {}
    for probe in probes:
        own = probe.upstream == subject.upstream.fingerprint
        if own or (retrain and probe.task not in chosen):
            chosen[probe.task] = probe
    return list(chosen.values())


def _score(probes: Sequence[OpenedProbe], cache: Path) -> Callable[[Upstream], Mapping[str, float]]:
    """The figures of all probes; each is kept as soon as it is there, for it may have taken a training."""
    states = [probe.states() for probe in probes]

    def score(upstream: Upstream) -> Mapping[str, float]:
        figures = {}
        for probe, now in zip(probes, states):
            about = [upstream.fingerprint, probe.probe.digest, probe.retrain, as_dict(probe.setting.config)]
            name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
            file = cache / "scores" / f"probe_{name}.json"
            if not file.is_file():
                value = probe.score(now)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, {"value": value})
            figures[probe.name] = float(read_json(file)["value"])
        return figures

    return score


def _loss(probe: OpenedProbe) -> Callable[[Tensor], Loss]:
    """The probe's loss against its own answers to the clean input, so that utterances need no labels."""
    experiment = probe.experiment(Path(), probe.states())
    probe.load(experiment, probe.probe.folder / BEST)
    upstream, model, task = probe.subject.upstream, experiment.probe.eval(), probe.setting.task

    def answers(inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Batch]:
        states = experiment.layers.combine(upstream(inputs, lengths, experiment.layers.labels))
        read = states if isinstance(states, Tensor) else torch.stack(list(states), 2)
        return model(Batch(read.float(), upstream.num_frames(lengths), [""] * len(inputs)))

    def loss_of(clean: Tensor) -> Loss:
        with torch.no_grad():
            lengths = torch.tensor([clean.shape[1]], device=clean.device)
            target = answers(clean, lengths)[0].argmax(-1)

        def loss(inputs: Tensor, lengths: Tensor) -> Tensor:
            output, seen = answers(inputs, lengths)
            wanted = replace(seen, target=target.expand(len(inputs), *target.shape[1:]))
            return task.loss(output, wanted, experiment.corpus.labels)["loss"]

        return loss

    return loss_of
