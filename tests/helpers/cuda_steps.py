"""Training steps and extraction by the project's own code, traced on fake CUDA tensors; a program prints the traces.

Widths are small, layers and masking those of the configs: kernels do not depend on widths."""

import json
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.setting import Setting
from downstream.tasks.table import find_task
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.run import RunContext, make_trainer
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.pretrained import PretrainedUpstream
from mockingjay.upstreams.spec import UpstreamSpec
from tests.helpers.fake_cuda import CUDA, fake_cuda
from tests.helpers.shared import PROJECT
from tests.helpers.speech import write_store
from utility.audio.feature_config import FeatureConfig
from utility.batches import AnyBatch
from utility.config import resolve
from utility.side_stream import fed
from utility.store.reading import Store
from utility.training.trainer import Step, Trainer

LENGTHS = {f"{'ab'[i % 2]}-{i}": 190 - 7 * i for i in range(10)}
Plain = dict[str, Any] | str  # a trace, or what was raised
SMALL = ("model.hidden_size=64", "model.heads=4", "model.ffn_size=96", "gru.hidden_size=32", "codes.size=16")


@dataclass(frozen=True)
class PretrainingStep:
    """An update of pre-training by a config of the repository; `linear` predicts spectrograms of 1,025 values."""

    config: str
    words: tuple[str, ...] = ()
    linear: bool = False

    def trainer(self, folder: Path, device: torch.device) -> Trainer:
        """The trainer of the plain command on a small store."""
        write_store(folder / "input" / "train", LENGTHS)
        words = ["data.dev=[]", "data.test=[]", f"data.train=[{folder / 'input' / 'train'}]", "data.target=[]"]
        if self.linear:
            write_store(folder / "linear" / "train", LENGTHS, FeatureConfig(kind="linear", deltas=0))
            words.append(f"data.target=[{folder / 'linear' / 'train'}]")
        words += ["loader.batch_frames=1600", "loader.workers=0", *SMALL, *self.words]
        config = resolve(PretrainConfig, PROJECT / "config" / self.config, words)
        return make_trainer(config, 0, RunContext(folder, folder, device, quiet=True, say=lambda line: None))


@dataclass(frozen=True)
class FineTuningStep:
    """An update of a probe of speakers, and of the Transformer below it."""

    def trainer(self, folder: Path, device: torch.device) -> Trainer:
        """The trainer of `run_downstream.py --run speaker_frame` on a small store."""
        store = write_store(folder / "input" / "train", LENGTHS)
        (folder / "small.yaml").write_text("model: {hidden_size: 64, heads: 4, ffn_size: 96}\n")
        words = [
            f"data.train=[{store}]",
            f"data.cache={folder / 'cache'}",
            "upstream.fine_tune=True",
            "trainer.precision=bf16",
        ]
        config = resolve(DownstreamConfig, None, words)
        spec = UpstreamSpec("random", str(folder / "small.yaml"), word="random")
        setting = Setting(find_task("speaker_frame"), spec, config, 0, device, quiet=True)
        return Experiment(setting, folder / "run").trainer()


STEPS: dict[str, PretrainingStep | FineTuningStep] = {
    "Base": PretrainingStep("mockingjay_libri.yaml"),
    "Base, padded": PretrainingStep("mockingjay_libri.yaml", ("speed.packed=False",)),
    "Base, bf16 residual": PretrainingStep("mockingjay_libri.yaml", ("speed.residual=bf16",)),
    "Large": PretrainingStep("mockingjay_libri_linearLarge.yaml", linear=True),
    "TERA": PretrainingStep("tera_libri_base.yaml"),
    "AALBERT": PretrainingStep("aalbert_libri_6L.yaml", ("trainer.accumulation=1",)),
    "APC": PretrainingStep("apc_libri.yaml"),
    "Transformer-APC": PretrainingStep("apc_libri_transformer.yaml"),
    "Transformer-APC, padded": PretrainingStep("apc_libri_transformer.yaml", ("speed.packed=False",)),
    "BEST-RQ": PretrainingStep("bestrq_libri.yaml"),
    "fine-tuning": FineTuningStep(),
}


def traced_step(name: str, folder: Path) -> Plain:
    """What an update did when its buffers were made: forward, backward, optimiser."""
    with fake_cuda() as trace:
        trainer = STEPS[name].trainer(folder, CUDA)
        stream = fed(trainer.training.loader.stream(pin=True), CUDA)
        trainer.update(stream)
        trace.clear()
        trainer.update(stream)
    return asdict(trace)


def traced_faults(folder: Path) -> dict[str, Plain]:
    """What updates of Base did that were spoilt, by fault."""
    found: dict[str, Plain] = {}
    with fake_cuda() as trace:
        trainer = STEPS["Base"].trainer(folder, CUDA)
        plain, stream = trainer.training, fed(trainer.training.loader.stream(pin=True), CUDA)
        trainer.update(stream)
        for name, fault in FAULTS.items():
            trainer.training = replace(plain, step=_spoilt(plain.step, fault))
            trace.clear()
            found[name] = _or_error(lambda: trainer.update(stream) or asdict(trace))
    return found


def _types(loss: Tensor) -> None:
    with torch.autocast("cuda", enabled=False):
        loss.expand(2, 2) @ loss.expand(2, 2).bfloat16()


FAULTS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda loss: loss.item(),
    "blocking copy": lambda loss: torch.zeros(3).pin_memory().to(CUDA),
    "pageable copy": lambda loss: torch.zeros(3).to(CUDA, non_blocking=True),
    "made of numbers": lambda loss: torch.tensor([1, 2], device=CUDA),
    "bool index": lambda loss: loss[None][loss[None] > 0],
    "host operand": lambda loss: loss + torch.ones(3),
    "types": _types,
}


def _spoilt(step: Step, fault: Callable[[Tensor], Any]) -> Step:
    def spoilt(batch: AnyBatch, generator: torch.Generator) -> Mapping[str, Tensor]:
        values = step(batch, generator)
        fault(values["loss"].detach())
        return values

    return spoilt


def traced_extraction(folder: Path) -> Plain:
    """What the utterances did on their way through Base into a store, in five batches."""
    store = Store([write_store(folder / "input" / "all", LENGTHS)])
    config = resolve(PretrainConfig, PROJECT / "config" / "mockingjay_libri.yaml", list(SMALL))
    with fake_cuda() as trace:
        upstream = PretrainedUpstream(new_model(config, 80, 80, 0).eval(), config, None, 0.0125).to(CUDA)
        assert upstream.fingerprint  # reads all weights, once
        trace.clear()
        how = ExtractionOptions(precision="bf16", batch_frames=400, quiet=True)
        assert represent(upstream, store, folder / "states", "all", how)
    return asdict(trace)


def _or_error(work: Callable[[], Plain]) -> Plain:
    try:
        return work()
    except Exception:
        return traceback.format_exc()


def main() -> None:
    """Print as JSON the traces of all steps, of extraction, and of faults, or why there is none."""
    found: dict[str, Plain] = {}
    for name in [*STEPS, "extraction", "faults"]:
        with tempfile.TemporaryDirectory() as folder:
            if name == "faults":
                found |= traced_faults(Path(folder))
            elif name == "extraction":
                found[name] = _or_error(lambda path=Path(folder): traced_extraction(path))
            else:
                found[name] = _or_error(lambda path=Path(folder), name=name: traced_step(name, path))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
