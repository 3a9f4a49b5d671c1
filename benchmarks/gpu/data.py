"""What goes before and behind a model: features on the device, batches, and representations into a store."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.limits import seconds_of
from benchmarks.gpu.table import Figures, Measurement, Scale
from benchmarks.steps import BASE_1, Precision, made_up
from mockingjay.build import new_model
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.audio.feature_config import FeatureConfig
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.batches import Waveforms
from utility.device import claim_device
from utility.loader import Loader
from utility.store.reading import Store

RATE, SECONDS = 16000, 14
FEATURES = {"mel": 1, "fbank": 0, "mfcc": 2, "linear": 0}  # and their deltas
EXTRACTIONS: tuple[tuple[Precision, str], ...] = (("fp32", "float32"), ("bf16", "float32"), ("bf16", "float16"))


def features(scale: Scale) -> Iterator[Measurement]:
    """Training straight from audio: features of a batch of noise of 14 s each, made on the device."""

    def made(kind: str, noise: float) -> Figures:
        config = FeatureConfig(kind=kind, deltas=FEATURES[kind])  # type: ignore[arg-type]
        seconds = SECONDS if scale.gpu else 1
        utterances = max(max(scale.budgets) // round(seconds / config.frame_shift), 2)
        samples = 0.1 * torch.randn(utterances, seconds * RATE)
        counts = torch.full((utterances,), seconds * RATE)
        ids = [f"u{number}" for number in range(utterances)]
        batch = Waveforms(samples, counts, config.num_frames(counts), ids).to(scale.device)
        online, generator = Online(OnlineConfig(noise_proportion=noise, input=config), noisy=True), torch.Generator()
        spent = seconds_of(lambda: online(batch, generator, 64), scale)
        return {
            "frames/s": int(batch.lengths.sum()) / spent,
            "ms": 1000 * spent,
            "x real time": len(ids) * seconds / spent,
        }

    for kind in FEATURES:
        yield Measurement(kind, 3, partial(made, kind, 0.0))
    yield Measurement("mel with noise on half of it", 3, partial(made, "mel", 0.5))


def extraction(scale: Scale) -> Iterator[Measurement]:
    """A store through Base into another one, all layers' last: what `--extract` does."""

    def extracted(precision: Precision, dtype: str, budget: int) -> Figures:
        claim_device(cpu=not scale.gpu, precision=precision)
        with tempfile.TemporaryDirectory() as name:
            folder, config = Path(name), BASE_1.resolved(*scale.words)
            frames, utterances = (1150, 300) if scale.gpu else (60, 6)
            store = Store([made_up(folder, "input", BASE_1.input_dim, frames, utterances, 0.3)])
            model = new_model(config, BASE_1.input_dim, BASE_1.input_dim, 0).eval()
            upstream = PretrainedUpstream(model, config, None, 0.0125).to(scale.device)
            how = ExtractionOptions(precision=precision, dtype=dtype, batch_frames=budget, quiet=True)  # type: ignore[arg-type]
            times = []
            for _ in range(3 if scale.gpu else 1):  # the first ones choose kernels
                start = time.perf_counter()
                represent(upstream, store, folder / "states", "all", how)
                times.append(time.perf_counter() - start)
                shutil.rmtree(folder / "states")
            return {"frames/s": int(store.lengths.sum()) / times[-1]}

    for budget in scale.budgets:
        for precision, dtype in EXTRACTIONS:
            name = f"Base, {precision}, stored as {dtype}, batches of {budget:,} frames"
            yield Measurement(name, 10, partial(extracted, precision, dtype, budget))


def loading(scale: Scale) -> Iterator[Measurement]:
    """Batches of Base from a store, pinned as training on a GPU has them."""

    def loaded(workers: int) -> Figures:
        with tempfile.TemporaryDirectory() as name:
            words = f"loader.workers={workers}", f"loader.batch_frames={max(scale.budgets)}"
            frames, utterances = (1150, 400) if scale.gpu else (60, 30)
            store = Store([made_up(Path(name), "input", BASE_1.input_dim, frames, utterances, 0.3)])
            loader = Loader(store, BASE_1.resolved(*words).loader)
            stream, count = loader.stream(pin=scale.gpu), len(loader.epoch(0))
            start = time.perf_counter()
            found = sum(int(next(stream)[1].lengths.sum()) for _ in range(count))  # threads start, pages come to memory
            first, start = time.perf_counter() - start, time.perf_counter()
            found = sum(int(next(stream)[1].lengths.sum()) for _ in range(2 * count))
            return {"frames/s": found / (time.perf_counter() - start), "first epoch s": first}

    for workers in (0, 4, 8) if scale.gpu else (0, 2):
        yield Measurement(f"{workers} workers", 6, partial(loaded, workers))
