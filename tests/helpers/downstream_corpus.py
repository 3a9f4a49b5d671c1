"""A small corpus for the tests of probing, and the words and settings that name it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import run_downstream
from downstream.config import DownstreamConfig
from downstream.setting import Setting
from downstream.tasks.table import MODULES, TASKS, find_task
from mockingjay.upstreams.spec import UpstreamSpec
from utility.config import build
from utility.labels.alignment import write_alignment
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

PHONES, SPEAKERS, EACH, WIDTH, SHIFT = ["aa", "b", "sil"], 6, 6, 8, 0.01
OF_CORPUS = ("downstream.tasks.phones", "downstream.tasks.speakers")
TABLELESS = tuple(name for name in TASKS if MODULES[name] in OF_CORPUS)  # tasks of which a corpus has the answers
QUICK = ["trainer.steps=30", "trainer.eval_every=10", "trainer.save_every=10", "optimizer.lr=0.02"]


class Doubling(nn.Module):
    """An upstream of one's own: (B, T, D) -> (B, T, 2 D), with a weight to tune."""

    out_dim = 2 * WIDTH

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, features):
        return torch.cat([features, self.scale * features.abs()], dim=-1)


class Drawing(nn.Module):
    """An upstream of one's own whose weights are drawn when it is made, and which takes lengths."""

    out_dim = WIDTH

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, features, lengths):
        return self.linear(features) * (torch.arange(features.shape[1]) < lengths[:, None])[..., None]


@dataclass(frozen=True)
class Small:
    """Where the small corpus lies, and the words that name it."""

    root: Path

    def words(self, *more: str) -> list[str]:
        data = [f"data.train=[{self.root}/store/all]", f"data.cache={self.root}/cache"]
        phones = [f"data.alignment={self.root}/phones", "data.dev_share=0.2", "data.test_share=0.2"]
        places = ["--expdir", str(self.root / "result"), "--logdir", str(self.root / "log")]
        return ["--cpu", "--no-msg", *places, *data, *phones, *QUICK, *more]

    def run(self, task: str, upstream: str, *more: str) -> None:
        assert run_downstream.main(["--run", task, "--upstream", upstream, *self.words(*more)]) == 0

    def setting(self, task: str, name: str = "baseline", **sections: dict) -> Setting:
        data = {"train": [f"{self.root}/store/all"], "alignment": f"{self.root}/phones", "cache": f"{self.root}/cache"}
        trainer = {"steps": 30, "eval_every": 10, "save_every": 10, **sections.pop("trainer", {})}
        shares = {"dev_share": 0.2, "test_share": 0.2}
        values = {"data": {**data, **shares, **sections.pop("data", {})}, "trainer": trainer, **sections}
        config = build(DownstreamConfig, values)
        return Setting(find_task(task), UpstreamSpec.parse(name), config, 1, torch.device("cpu"), quiet=True)


def write_store(root: Path, split: str, utterances: dict[str, np.ndarray]) -> None:
    info = StoreInfo(row_shape=list(next(iter(utterances.values())).shape[1:]), frame_shift=SHIFT)
    rows = [Row(key, len(frames), 0, key.split("-")[0], f"{key}.wav") for key, frames in utterances.items()]
    writer = StoreWriter.open(root, split, rows, info)
    for index, frames in enumerate(utterances.values()):
        writer.write(index, frames)
    assert writer.finish()


def write_codes(root: Path, split: str, codes: dict[str, np.ndarray], size: int, shift: float = SHIFT) -> None:
    """A store of codes below `size`: of each utterance [T, codebooks], or [T]."""
    books = [len(next(iter(codes.values()))[0])] if next(iter(codes.values())).ndim > 1 else [1]
    info = StoreInfo(kind="codes", dtype="int32", row_shape=books, codes=size, frame_shift=shift)
    rows = [Row(key, len(own), 0, key.split("-")[0], f"{key}.wav") for key, own in codes.items()]
    writer = StoreWriter.open(root, split, rows, info)
    for index, own in enumerate(codes.values()):
        writer.write(index, own.reshape(len(own), -1).astype(np.int32))
    assert writer.finish()


def small_corpus(root: Path) -> Small:
    """Six speakers with six utterances: frames that show their phone and, weaker, their speaker."""
    rng = np.random.default_rng(0)
    patterns, voices = rng.normal(size=(len(PHONES), WIDTH)), rng.normal(size=(SPEAKERS, WIDTH))
    utterances, aligned = {}, []
    for speaker in range(SPEAKERS):
        for number in range(EACH):
            counts = rng.integers(2, 12, size=6)
            codes = rng.integers(len(PHONES), size=6)
            frames = np.repeat(patterns[codes], counts, axis=0) + voices[speaker]
            key = f"s{speaker}-{number}"
            utterances[key] = (frames + rng.normal(scale=0.7, size=frames.shape)).astype(np.float32)
            ends = np.cumsum(counts) * SHIFT - SHIFT / 2
            starts = [0.0, *ends[:-1]]
            aligned.append((key, [(a, b, PHONES[c]) for a, b, c in zip(starts, ends, codes)]))
    write_store(root / "store", "all", utterances)
    write_alignment(root / "phones", aligned)
    return Small(root)
