"""`loader.batch_frames: auto`: the largest batch that fits, whole utterances, found without a failure."""

import pytest
import torch
import yaml

import runner_mockingjay
from mockingjay.config import PretrainConfig
from mockingjay.pretraining import budget
from mockingjay.pretraining.budget import affordable
from tests.helpers.speech import write_store
from utility.config import build, resolve

GIB = 2**30


class Memory:
    """Of a GPU: a step takes `base` and `per_frame` bytes, and more than foretold by `bend` from `beyond` frames on."""

    def __init__(self, total, base=GIB, per_frame=100_000, bend=1.0, beyond=0):
        self.total, self.base, self.per_frame, self.bend, self.beyond, self.tried = (
            total,
            base,
            per_frame,
            bend,
            beyond,
            [],
        )

    def peak(self, frames):
        self.tried.append(frames)
        taken = self.base + self.per_frame * frames * (self.bend if frames > self.beyond else 1.0)
        if taken > self.total:
            raise torch.OutOfMemoryError
        return taken


def test_the_largest_batch_of_whole_utterances_is_taken_in_three_trials():
    memory = Memory(80 * GIB)
    frames = affordable(memory.peak, 1536, 60 * GIB)
    assert frames % 1536 == 0
    assert memory.base + memory.per_frame * frames <= 60 * GIB < memory.base + memory.per_frame * (frames + 1536)
    assert memory.tried == [4 * 1536, 8 * 1536, frames]


@pytest.mark.parametrize("total", [80, 61])
def test_a_step_that_takes_more_than_was_foretold_is_made_smaller(total):
    """More than the limit of 60 GiB, or more than there is."""
    memory = Memory(total * GIB, bend=1.2, beyond=100_000)
    frames = affordable(memory.peak, 1536, 60 * GIB)
    taken = memory.base + 1.2 * memory.per_frame * frames
    assert 0.75 * 60 * GIB < taken <= 60 * GIB
    assert memory.tried[-1] == frames


def test_no_room_is_one_line():
    for memory in (Memory(GIB), Memory(80 * GIB, base=61 * GIB)):
        with pytest.raises(ValueError, match="no room for 8 utterances of 1536 frames: set a smaller number"):
            affordable(memory.peak, 1536, 60 * GIB)


def test_without_a_gpu_a_number_is_asked_for(tmp_path):
    store = write_store(tmp_path / "store/train", {"a-0": 30})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"train": [str(store)]}}))
    words = ["--train", "--config", f"{tmp_path}/config.yaml", "--ckpdir", f"{tmp_path}/result", "--cpu", "--no-msg"]
    with pytest.raises(ValueError, match="batch_frames auto is found by trial on a GPU"):
        runner_mockingjay.main([*words, "--logdir", f"{tmp_path}/log", "loader.batch_frames=auto"])
    assert not list((tmp_path / "result").rglob("*.yaml"))
    with pytest.raises(ValueError, match="batch_frames"):
        resolve(PretrainConfig, None, ["loader.batch_frames=0"])


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["masked", "apc", "codes"])
def test_a_trial_is_a_step_on_the_longest_utterances_of_the_corpus(tmp_path, monkeypatch, objective):
    """Cropped, padded; on a CPU, whose memory is not counted."""
    store = write_store(tmp_path / "store/train", {"a-0": 300, "a-1": 20})
    sizes = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
    values = {"data": {"train": [str(store)]}, "model": sizes, "objective": objective, "codes": {"size": 9}}
    values["loader"] = {"batch_frames": "auto", "max_frames": 200}
    config = build(PretrainConfig, values)
    seen = []
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: seen[-1])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100_000, 0))
    make = budget.pretraining

    def watched(*given):
        found = make(*given[:2], torch.device("cpu"))
        step = found.step

        def counted(batch, generator):
            seen.append(batch.features.shape[:2].numel())
            assert batch.features.shape[1] == 256
            scores = step(batch, generator)
            assert scores["loss"] > 0.1
            return scores

        found.step = counted
        return found

    monkeypatch.setattr(budget, "pretraining", watched)
    monkeypatch.setattr(budget.Batch, "to", lambda self, device: self)
    found = budget.settled(config, torch.device("cuda"))
    assert found.loader.batch_frames == seen[-1] > 8 * 256
    assert found.loader.budget % 256 == 0
    assert config.loader.batch_frames == "auto"
