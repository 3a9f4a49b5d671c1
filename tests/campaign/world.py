"""A folder of small corpora, stores, checkpoints and configs, made of noise by a seed: what all campaigns work on.

Every corpus is a fraction of a minute, every model has one narrow layer: a command takes a fraction of a second."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import MEL, write_store
from utility.audio.feature_config import FeatureConfig
from utility.labels.alignment import write_alignment

RATE = 16000
FBANK = FeatureConfig(kind="fbank", deltas=0)
MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 16}
GRU: dict[str, Any] = {"objective": "apc", "encoder": "gru", "gru": {"layers": 1, "hidden_size": 8}}
MASKING = {"proportion": 0.4, "consecutive_min": 2, "consecutive_max": 4}
TRAINER = {"steps": 6, "eval_every": 3, "save_every": 2, "log_every": 1, "precision": "fp32"}
PHONES = ("aa", "b", "iy", "sil")
PARTS = ("train", "dev", "test")
TRANSCRIBED = "s{speaker}-{part}{number}"  # ids of the store's utterances


def sound(seed: Sequence[int], seconds: float) -> NDArray[np.float64]:
    """Noise whose strength and colour change as in syllables, [samples] below 1."""
    rng = np.random.default_rng([abs(number) for number in seed])
    count = round(seconds * RATE)
    noise = rng.standard_normal(count + 64)
    smooth = np.convolve(noise, np.hanning(int(rng.integers(4, 40))), "same")[:count]
    loud = 0.6 + 0.4 * np.sin(np.arange(count) * (2 * np.pi * 4 / RATE) + rng.uniform(0, 6))
    return 0.3 * loud * smooth / np.abs(smooth).max()


def build_world(root: Path, seed: int = 0) -> Path:
    """Fill the new folder `root`; the same seed gives the same numbers."""
    _recordings(root, seed)
    _texts(root, seed)
    for number, part in enumerate(PARTS):
        write_store(root / "data/mel" / part, _lengths(part), seed=seed * 7 + number)
    times = [(0.0, 0.11, "aa"), (0.11, 0.2, "b"), (0.2, 0.3, "iy")]
    write_alignment(root / "phones", [(name, times) for part in PARTS for name in _lengths(part)])
    write_checkpoint(root / "ckpt/base/best.ckpt", FBANK, seed=seed, model=MODEL)
    write_checkpoint(root / "ckpt/mel/best.ckpt", MEL, seed=seed, model=MODEL)
    write_checkpoint(root / "ckpt/gru/best.ckpt", FBANK, seed=seed, **GRU)
    for name, values in _configs(root).items():
        path = root / "config" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return root


def _lengths(part: str) -> dict[str, int]:
    """Frames of each utterance of a part of the store."""
    count = {"train": 9, "dev": 6, "test": 3}[part]
    return {TRANSCRIBED.format(speaker=n % 3, part=part, number=n): 30 + 3 * n for n in range(count)}


def _recordings(root: Path, seed: int) -> None:
    def write(path: str, number: int, kind: str | None = None) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, sound([seed, number], 0.25 + 0.1 * (number % 4)), RATE, format=kind)

    for n in range(6):
        part, speaker = ("train-clean-100", "dev-clean")[n % 2], 10 + n % 3
        write(f"libri/{part}/{speaker}/1/{speaker}-1-{n:04d}.flac", n)
    for n in range(4):
        write(f"timit/{('TRAIN', 'TEST')[n % 2]}/DR1/FAB{n % 2}0/SX{n}.WAV", 10 + n, "WAV")
    for n, suffix in enumerate(("wav", "flac", "au", "wav", "flac")):
        write(f"flat/s{n % 2}/u{n}.{suffix}", 20 + n)
    for n in range(6):
        write(f"online/{('train', 'train', 'dev')[n % 3]}/s/u{n}.wav", 30 + n)


def _texts(root: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 99])
    for version in ("new", "old"):
        lines = []
        for utterance in range(5):
            ends = np.cumsum(rng.integers(2, 20, 6))  # hundredths of a second
            for start, end in zip([0, *ends[:-1]], ends):
                lines.append(f"u{utterance} 1 {start / 100:.2f} {(end - start) / 100:.2f} {rng.choice(PHONES)}")
        path = root / f"ctm_{version}" / "all.ctm"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    blogmel = []
    for utterance in range(6):
        frames = rng.standard_normal((10 + 5 * utterance, 8))
        blogmel += [f"10-1-{utterance:04d}", *(" ".join(f"{value:.6f}" for value in row) for row in frames), "."]
    (root / "apc").mkdir()
    (root / "apc/train-clean-100.blogmel").write_text("\n".join(blogmel) + "\n", encoding="utf-8")


def _configs(root: Path) -> Mapping[str, Any]:
    parts = {part: [str(root / "data/mel" / part)] for part in PARTS}
    loader = {"batch_frames": 150}
    common = {"data": parts, "loader": loader, "trainer": TRAINER, "eval_batches": 2}
    masked = {**common, "model": MODEL, "masking": MASKING}
    audio = {
        "data": {part: [str(root / "online" / part)] for part in ("train", "dev")},
        "online": {"target_level": -25},
    }
    trainer = {"steps": 6, "eval_every": 3, "save_every": 2, "log_every": 2}
    probing = {**parts, "alignment": str(root / "phones"), "cache": "cache", "split": "given", "batch_frames": 150}
    return {
        "train": masked,
        "apc": {**common, **GRU},
        "online": {**masked, **audio},
        "probe": {"data": probing, "trainer": trainer},
    }
