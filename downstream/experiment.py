"""One probing run: opened and checked, trained with an eye on dev, and then scored once on test."""

import hashlib
import json
import shutil
import time
from dataclasses import replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

from downstream.examples import Frames, Sound, Unread, Use
from downstream.layers import ProbedLayers
from downstream.made_from import of_today, plain_part, trained_by
from downstream.metrics.base import Score, selection_error
from downstream.opened import Opened
from downstream.probe import Probe, Sealed, evaluate
from downstream.setting import Setting
from downstream.solved import SOLVER, check_solvable, solve
from downstream.tasks.base import check_used
from mockingjay.inputs import PAD_MULTIPLE, source_fingerprint
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.spec import UpstreamSpec
from utility.config import Difference, differences
from utility.files import remove_leftovers, replace_file, replace_folder, replacing, temporary
from utility.loader import Loader, LoaderConfig, Source, balanced_shares
from utility.predictions import PredictionFile, predictions_of, read_predictions
from utility.store.reading import Store
from utility.store.recordings import Recordings
from utility.text import short
from utility.training.checkpoint import load_checkpoint, load_weights
from utility.training.trainer import Progress, Run, Trainer, Training, count_steps, newest_checkpoint

KIND = STEM = "probe"
RESULT = "result.json"


def _causes_first(difference: Difference) -> tuple[bool, str]:
    """What differs in the facts of labels follows from something else, where that differs too."""
    return difference.key.startswith("facts"), difference.key


class Experiment:
    """A setting in a directory; making one checks everything that can be checked before work is done.

    Runs that are given the same `opened` share what they read."""

    def __init__(self, setting: Setting, directory: Path, opened: Opened | None = None):
        self.setting, self.directory, self.started = setting, directory, time.perf_counter()
        self.opened = Opened() if opened is None else opened
        self.seconds: dict[str, float | None] = {"states": None, "training": None}  # None: it was done before
        task, config, name = setting.task, setting.config, short(str(setting.upstream))
        check_used(task, config)
        self.solver = task.solver(config.probe)
        if self.solver is not None:
            check_solvable(config)
        self.upstream, sources = self.opened.upstream(setting)
        if config.upstream.fine_tune and not any(True for _ in self.upstream.parameters()):
            raise ValueError(f"fine_tune: upstream {name} has no weights to train")
        heard = self.upstream.takes == "waveform" or isinstance(sources.whole, Recordings)
        if config.upstream.fine_tune and config.data.max_frames and heard:
            raise ValueError("data.max_frames: recordings that tune an upstream are read whole: leave it out")
        self.layers = ProbedLayers.of(config.upstream, self.upstream, name)
        framed = self.opened.utterances(self.upstream, sources, self.layers.labels[0])
        self.corpus = self.opened.corpus(task, config.data, sources, framed)
        self.fingerprint = self.upstream.fingerprint
        self.parameters = sum(p.numel() for p in self.upstream.parameters())
        tuned = self.upstream if config.upstream.fine_tune else None
        width = self.upstream.width(self.layers.labels[0])
        self.probe = Probe(task, self.corpus.labels, config, self.layers, width, tuned, setting.seed).to(setting.device)
        self.test = Sealed(lambda: self._loader("test"))

    def warning(self) -> str | None:
        """What is likely to spoil the result without being an error, a line for each thing."""
        task = self.setting.task
        plain = isinstance(self.upstream, Baseline)
        caution = task.caution(self.corpus.store.info.features) if plain else None
        warnings = [caution and f"{task.name} {caution}", self.corpus.parts.warning, task.warning(self.corpus.labels)]
        return "\n".join(filter(None, warnings)) or None

    def source(self) -> str:
        """A fingerprint of what the upstream takes, and of who speaks."""
        corpus, beside = self.corpus.store, Path(self.setting.config.data.cache)
        text = source_fingerprint(self.upstream, corpus, beside)
        if isinstance(corpus, Store) and self.upstream.takes == "features":
            return text
        named = json.dumps([corpus.ids, corpus.speakers]).encode()  # no store that vouches for its table
        return f"{text} {hashlib.sha256(named).hexdigest()[:16]}"

    def about(self) -> dict:
        """What must be the same for a run to be continued."""
        about = {
            "task": self.setting.task.name,
            "upstream": self.fingerprint,
            "store": self.source(),
            "seed": self.setting.seed,
            "config": trained_by(self.setting.config),
            "facts": dict(self.setting.task.facts(self.corpus.labels)),
            **({"lists": lists} if (lists := self._lists()) else {}),
        }
        rows, trials = self.corpus.utterances.rows, self.corpus.utterances.trials
        about |= {} if trials is None else {"trials": dict(trials.digest)}
        return about if rows is None else {**about, "labels": rows.digest}

    def _lists(self) -> dict[str, str]:
        """The digests of the lists of utterances; their order counts where it divides."""
        ordered = self.setting.config.data.split == "cpc"
        lists = self.corpus.sources.lists()
        return {name: one.ordered_digest if ordered else one.digest for name, one in lists.items()}

    def train(self) -> Progress:
        """Train to the end, or on from the newest checkpoint; only the train and dev parts are read."""
        newest = self.setting.group.by_leader(lambda: newest_checkpoint(self.directory, STEM))
        if newest is not None:
            self.check_same()
        if self.solver is not None:
            if newest is not None:
                return Progress(step=self.state()["step"], best_step=self.state()["best_step"])
            fit = self._solve
        else:
            trainer = self.trainer()
            fit = trainer.fit
            if newest is not None:
                trainer.resume(newest)
        if self.setting.group.leads:
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.directory)
            for name, content in self.setting.configs().items():
                replace_file(self.directory / name, content)
        start = time.perf_counter()
        progress = fit()
        self.seconds["training"] = time.perf_counter() - start if newest is None else None
        return progress

    def _solve(self) -> Progress:
        """Solve for the head's weights instead of training it; a frozen upstream has run before it begins."""
        assert self.solver is not None, "who asks has looked"
        return solve(
            self.probe, self.probe.classifier, self.solver, self._loader("train"), self._loader("dev"), self._run()
        )

    def take_over(self, folder: Path) -> bool:
        """Begin with what a finished run in another folder was trained to, where that differs in nothing but decoding.

        Its checkpoint comes last: without it nothing was taken."""
        newest = newest_checkpoint(folder, STEM)
        if newest is None or not (folder / RESULT).is_file() or newest_checkpoint(self.directory, STEM) is not None:
            return False
        if differences(
            of_today(plain_part(load_checkpoint(newest, KIND), "about", newest), self.about()), self.about()
        ):
            return False
        for path in (folder / "metrics.jsonl", folder / "best.ckpt", newest):
            with replacing(self.directory / path.name) as new:
                shutil.copyfile(path, new)
        return True

    def trainer(self) -> Trainer:
        """What trains the probe from its start; a frozen upstream has run before it is there."""
        config = self.setting.config
        train, dev = self._loader("train", training=True), self._loader("dev")

        def evaluated() -> dict[str, float]:
            figures = evaluate(self.probe, dev.once(), self.setting.device, task=self.setting.task.watched).figures()
            error = selection_error(self.setting.task.metric, figures)
            return {**{name: value for name, value in figures.items() if not isnan(value)}, "selection_error": error}

        training = Training(
            module=self.probe,
            step=self.probe.step,
            loader=train,
            groups=self.probe.groups(config),
            evaluate=evaluated,
            choose="selection_error",
        )
        return Trainer(training, config.trainer, config.optimizer, self._run())

    def _run(self) -> Run:
        """Where the run leaves its files."""
        return Run(
            directory=self.directory,
            log=self.directory,
            stem=STEM,
            kind=KIND,
            about={"about": self.about()},
            seed=self.setting.seed,
            device=self.setting.device,
            quiet=self.setting.quiet,
            group=self.setting.group,
            stop=self.setting.stop,
            events=self.setting.event_folder(self.directory),
            texts=self.setting.texts(self.directory),
        )

    def steps(self) -> int:
        """Updates that training makes where nothing ends it early; no upstream runs for it, and no frame is read."""
        framed = self.corpus.utterances
        loader = self._loader("train", training=True, frames=Unread(framed.ids, framed.lengths))
        return count_steps(self.setting.config.trainer, loader, self.setting.group.world)

    def load_best(self) -> Score:
        """Take the weights of the step that did best on dev, and score them on dev again, into predictions_dev.tsv."""
        self.state()  # one that is damaged is refused before anything is written
        path = self.directory / "best.ckpt"
        load_weights(self.probe, load_checkpoint(path, KIND).get("model", {}), path)
        with self._predictions("dev") as predictions:
            score = evaluate(self.probe, self._loader("dev").once(), self.setting.device, predictions)
        self._write_beside("dev")
        return score

    def score_test(self) -> Score:
        """Score the loaded weights on test, once, into predictions_test.tsv."""
        with self._predictions("test") as predictions:
            score = self.test.score(self.probe, self.setting.device, predictions)
        self._write_beside("test")
        return score

    def _predictions(self, part: str) -> PredictionFile:
        framed, chosen = self.corpus.utterances, getattr(self.corpus.parts, part).tolist()
        speakers = {framed.ids[i]: framed.speakers[i] for i in chosen}
        return PredictionFile(predictions_of(self.directory, part), self.setting.task.columns, speakers)

    def _write_beside(self, part: str) -> None:
        """Write the task's other files of a part: reference_test.trn ..."""
        for name, column in self.setting.task.beside.items():
            path = self.directory / f"{Path(name).stem}_{part}{Path(name).suffix}"
            with replacing(path) as new, new.open("w", encoding="utf-8", newline="\n") as file:
                for row in read_predictions(predictions_of(self.directory, part)):
                    file.write(f"{row[column]} ({row['id']})\n")

    def layer_weights(self) -> list[float] | None:
        """The learnt weights of hidden states 0..L, if there are any."""
        return None if self.probe.layer_sum is None else self.probe.layer_sum.weights().tolist()

    def state(self) -> dict:
        """Where the newest checkpoint stands: `step`, `best_step` ..."""
        path, state = self._newest("state")
        if not all(type(state.get(name)) is int for name in ("step", "best_step")):
            raise ValueError(f"{path}: damaged, it does not say how far the probe was trained")
        return state

    def solved(self) -> dict | None:
        """How the head was solved, None where it was trained by steps."""
        return None if self.solver is None else self._newest(SOLVER)[1]

    def check_same(self) -> None:
        """Raise ValueError where the run in the directory was made from something else, naming both values."""
        here = self.about()
        there = of_today(self._newest("about")[1], here)
        for name, was, now in sorted(differences(there, here), key=_causes_first):
            change = f"{name} was {short(was)}, now {short(now)}"
            raise ValueError(f"{self.directory} cannot be continued: {change}; give the run another --name")

    def _newest(self, name: str) -> tuple[Path, dict[str, Any]]:
        """The newest checkpoint, and what it says under a name."""
        path = newest_checkpoint(self.directory, STEM)
        if path is None:
            raise ValueError(f"{self.directory}: no checkpoint to continue from")
        return path, plain_part(load_checkpoint(path, KIND), name, path)

    def write_tuned(self) -> UpstreamSpec | None:
        """Write the tuned upstream below the run's folder, whole or not at all; gives what opens it, or None."""
        if self.probe.upstream is None or type(self.upstream).write_tuned is Upstream.write_tuned:
            return None
        folder = self.directory / "upstream"
        with temporary(folder) as new:
            new.mkdir()
            path = self.upstream.write_tuned(new).relative_to(new)
            replace_folder(new, folder)
        return self.setting.upstream.tuned(folder / path)

    @cached_property
    def frames(self) -> Source:
        """What the loaders read: features, stored hidden states, or the cache, which is filled here; for an upstream
        that is tuned what that takes."""
        config, corpus, framed = self.setting.config, self.corpus.store, self.corpus.utterances
        if config.upstream.fine_tune and (self.upstream.takes == "waveform" or isinstance(corpus, Recordings)):
            if self.upstream.takes == "waveform":
                return Sound(framed.ids, framed.lengths, self.opened.waveforms(self.upstream, corpus))
            assert isinstance(corpus, Recordings), "they are read as waveforms, and become features on the way"
            return Sound(framed.ids, framed.lengths, lambda i: corpus.read(i, 0, int(framed.lengths[i])))
        if isinstance(corpus, Store):
            if config.upstream.fine_tune:
                return Frames([corpus])
            if isinstance(self.upstream, Baseline):
                return Frames([corpus], self.layers.picked() if self.upstream.stored else None)
        stored = self.opened.stored(self.upstream, self.corpus, self.layers, config.data, self.setting.quiet)
        self.seconds["states"] = stored.seconds
        return stored.frames

    def _loader(self, part: str, training: bool = False, frames: Source | None = None) -> Loader:
        config = self.setting.config
        use = Use(config.data, training, config.upstream.fine_tune, config.probe)
        chosen = getattr(self.corpus.parts, part)
        frames = self.frames if frames is None else frames
        examples = self.setting.task.source(frames, self.corpus.labels, chosen, use)
        sound = isinstance(frames, Sound)
        crop = None if sound else examples.crop  # recordings are read whole
        loader = LoaderConfig(batch_frames=examples.batch_frames(use), max_frames=crop)
        if use.fine_tune and self.upstream.takes == "features":
            loader = replace(loader, batch_frames=config.data.fine_tune_frames, pad_multiple=PAD_MULTIPLE)
        elif use.fine_tune:
            budget = config.data.fine_tune_seconds / self.corpus.utterances.info.frame_shift
            loader = replace(loader, batch_frames=max(round(budget), 1))
        target, shares = examples.target, None
        if training and config.data.balance:
            shares = balanced_shares([int(target.read(number)) for number in range(len(examples.ids))])
        return Loader(examples, loader, self.setting.seed, target, waveforms=sound, shares=shares)
