"""States of models of Transformers, stored: `hf:` beside a plain loop that takes one utterance at a time."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.contest import Result, Turn, contest
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.huggingface import open_huggingface
from utility.device import claim_device
from utility.store.recordings import Recordings

RATE = 16000
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": (16,) * 7,
    },
    "base": {},  # the defaults: 12 blocks of 768, 7 convolutions of 512
}
SPANS: Mapping[str, tuple[int, float, float]] = {"1 to 3 s": (20, 1.0, 3.0), "10 s": (4, 10.0, 10.0)}
TEN_TIMES = "1 to 3 s, 10 times as many"


@dataclass(frozen=True)
class Task:
    """A wav2vec 2.0 of some shape, and so many recordings of noise from a shortest to a longest, in seconds."""

    shape: str
    utterances: int
    shortest: float
    longest: float

    @property
    def samples(self) -> list[int]:
        """Of each recording."""
        return np.linspace(self.shortest * RATE, self.longest * RATE, self.utterances).astype(int).tolist()

    @property
    def frames(self) -> int:
        """Of all recordings."""
        return sum((count - 400) // 320 + 1 for count in self.samples)

    def make(self) -> tuple[Path, Path]:
        """A folder of the model and one of the recordings."""
        from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
        from transformers.utils import logging

        logging.disable_progress_bar()
        root = Path(tempfile.mkdtemp())
        torch.manual_seed(0)
        Wav2Vec2Model(Wav2Vec2Config(**SHAPES[self.shape])).save_pretrained(root / "model")
        Wav2Vec2FeatureExtractor().save_pretrained(root / "model")
        (root / "audio").mkdir()
        draw = np.random.default_rng(0)
        for number, count in enumerate(self.samples):
            noise = 0.1 * draw.standard_normal(count)
            soundfile.write(root / "audio" / f"{number}.wav", noise, RATE)
        return root / "model", root / "audio"


@dataclass(frozen=True)
class Extraction:
    """The last state of all recordings stored as `--extract` does it; `alone` is one utterance at a time."""

    task: Task
    alone: bool = False

    def __call__(self) -> Turn:
        claim_device(cpu=True)
        model, audio = self.task.make()
        upstream = open_huggingface(model)
        upstream.batched = not self.alone
        corpus = Recordings([audio], None, sample_rate=RATE)

        def turn() -> None:
            represent(upstream, corpus, audio.parent / "states", "all", ExtractionOptions(quiet=True))
            shutil.rmtree(audio.parent / "states")

        return turn


@dataclass(frozen=True)
class PlainLoop:
    """What Transformers' documentation shows: feature extractor, model, an array for each utterance."""

    task: Task

    def __call__(self) -> Turn:
        from transformers import AutoFeatureExtractor, AutoModel

        folder, audio = self.task.make()
        model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
        paths = sorted(audio.iterdir())

        @torch.inference_mode()
        def turn() -> None:
            for path in paths:
                wave = soundfile.read(path, dtype="float32")[0]
                inputs = extractor(wave, sampling_rate=RATE, return_tensors="pt")
                np.save(audio.parent / f"{path.stem}.npy", model(**inputs).last_hidden_state[0].numpy())

        return turn


def measure(rounds: int) -> Iterator[tuple[str, int, dict[str, Result]]]:
    """Words for each task, its frames, and how its contestants did."""
    for shape in SHAPES:
        for words, (count, shortest, longest) in SPANS.items():
            task = Task(shape, count, shortest, longest)
            makers: dict[str, Callable[[], Turn]] = {
                "plain loop": PlainLoop(task),
                "hf:": Extraction(task),
                "hf:, one at a time": Extraction(task, alone=True),
            }
            yield f"{shape}, {words}", task.frames, contest(makers, rounds)
    count, shortest, longest = SPANS["1 to 3 s"]
    task = Task("tiny", 10 * count, shortest, longest)
    yield f"tiny, {TEN_TIMES}", task.frames, contest({"hf:": Extraction(task)}, rounds)
