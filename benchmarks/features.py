"""Feature extraction from FLAC files, x real time per core, beside librosa's own pipeline and Kaldi's code."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import kaldi_native_fbank as knf
import librosa
import numpy as np
import soundfile
import threadpoolctl
import torch

from benchmarks.contest import Turn
from preprocess.parts.corpora import folder
from preprocess.parts.extraction import extract_split, processes
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.kinds import Kind
from utility.audio.waveform import read_audio
from utility.device import keep_memory

RATE = 16000
SETTINGS = {"single 12 s": (1, 5, 12), "batch 30 x 2 s": (30, 1, 2)}  # utterances of a batch, batches, seconds of each
DEVICE_BATCH = (64, 12)
SHORT = {"n_fft": 400, "hop_length": 160, "pad_mode": "reflect"}
LONG = {"n_fft": 2048, "win_length": 800, "hop_length": 200, "pad_mode": "reflect"}


@dataclass(frozen=True)
class Stage:
    """One kind of features and who else computes it: float32 [N] -> static features [T, dim], not yet normalised."""

    kind: Kind
    deltas: int
    static: Callable[[np.ndarray], np.ndarray]

    @property
    def config(self) -> FeatureConfig:
        return FeatureConfig(kind=self.kind, deltas=self.deltas)

    @property
    def name(self) -> str:
        return f"features {self.kind}{self.config.dim}"

    def baseline(self, waveform: np.ndarray) -> np.ndarray:
        """What one writes on top of the library: its features, its deltas, numpy's normalisation; float32 [T, D]."""
        static = self.static(waveform).T
        parts = [static, *(librosa.feature.delta(static, order=order) for order in range(1, self.deltas + 1))]
        features = np.concatenate(parts).T
        return (features - features.mean(0)) / (features.std(0) + 1e-16)


@dataclass(frozen=True)
class Extracting:
    """A stage in one of SETTINGS, decoding included, on one core."""

    stage: Stage
    setting: str

    def __call__(self) -> Turn:
        keep_memory()
        torch.set_num_threads(1)
        size, batches, seconds = SETTINGS[self.setting]
        files = write_audio(Path(tempfile.mkdtemp()), size * batches, seconds)
        return _ours(self.stage, files, size)


def measure(rounds: int) -> list[dict]:
    """One row per kind and setting: audio seconds of a turn, and x real time of one core for ours and the baseline.

    Contestants take turns; a round's figure is CPU time, so what else the machine does hardly matters. With a CUDA
    device, batches that lie on it are measured too, by the clock, beside the baseline on one core without decoding.
    """
    keep_memory()  # as preprocessing does
    rows = []
    with tempfile.TemporaryDirectory() as scratch, _one_core():
        for setting, (size, batches, seconds) in SETTINGS.items():
            files = write_audio(Path(scratch), size * batches, seconds)
            for stage in STAGES:
                turns = _ours(stage, files, size), functools.partial(_theirs, stage, files)
                rows.append(_row(stage, setting, len(files) * seconds, _medians(turns, rounds, time.process_time)))
        if torch.cuda.is_available():
            rows += [_on_device(stage, rounds) for stage in STAGES]
    return rows


def scaling(seconds: float, n_jobs: Sequence[int] = (1, 2), kind: Kind = "mel") -> dict:
    """Wall seconds of extracting a made-up corpus of so many `seconds` with each number of jobs, and their ratio.

    The first number of jobs goes first and again last, and its faster time counts.
    """
    with tempfile.TemporaryDirectory() as scratch, _one_core():
        root = Path(scratch)
        write_audio(root / "corpus", max(round(seconds / 12), 1), 12)
        times: dict[int, float] = {}
        for turn, jobs in enumerate((*n_jobs, n_jobs[0])):
            corpus = folder(root / "corpus")
            start = time.perf_counter()
            with processes(jobs) as workers:
                split = next(iter(corpus.splits))
                result = extract_split(corpus, split, root / str(turn), FeatureConfig(kind=kind), workers)
            times[jobs] = min(times.get(jobs, np.inf), time.perf_counter() - start)
    first, last = times[n_jobs[0]], times[n_jobs[-1]]
    return {"stage": f"extraction {kind}", "seconds": result.extracted, "wall": times, "ratio": first / last}


def _row(stage: Stage, setting: str, seconds: float, times: Sequence[float]) -> dict:
    ours, baseline = (seconds / value for value in times)
    speeds = {"ours": ours, "baseline": baseline, "ratio": ours / baseline}
    return {"stage": stage.name, "setting": setting, "seconds": seconds} | speeds


def _medians(turns: Sequence[Turn], rounds: int, clock: Callable[[], float]) -> list[float]:
    """Median seconds of each turn after two that warm up, interleaved."""
    times: list[list[float]] = [[] for _ in turns]
    for _ in range(rounds + 2):
        for turn, spent in zip(turns, times):
            start = clock()
            turn()
            spent.append(clock() - start)
    return [median(spent[2:]) for spent in times]


def _ours(stage: Stage, files: Sequence[Path], size: int) -> Turn:
    extractor = FeatureExtractor(stage.config)

    def turn() -> None:
        for start in range(0, len(files), size):
            extractor.of([torch.from_numpy(read_audio(file, RATE)) for file in files[start : start + size]])

    return turn


def _theirs(stage: Stage, files: Sequence[Path]) -> None:
    for file in files:
        stage.baseline(librosa.load(file, sr=RATE)[0])


def _on_device(stage: Stage, rounds: int) -> dict:
    utterances, seconds = DEVICE_BATCH
    waveforms = [_waveform(seconds * RATE, seed) for seed in range(utterances)]
    batch = torch.from_numpy(np.stack(waveforms)).cuda()
    counts = torch.full((utterances,), seconds * RATE)
    extractor = FeatureExtractor(stage.config)

    def ours() -> None:
        extractor(batch, counts)
        torch.cuda.synchronize()

    def theirs() -> None:
        for waveform in waveforms:
            stage.baseline(waveform)

    times = _medians((ours, theirs), rounds, time.perf_counter)
    return _row(stage, f"on the device, {utterances} x {seconds} s", utterances * seconds, times)


def write_audio(folder: Path, utterances: int, seconds: int) -> list[Path]:
    """FLAC files that compress about as speech does (half of 16 bits)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seconds}-{number}.flac" for number in range(utterances)]
    for number, file in enumerate(files):
        soundfile.write(file, _waveform(seconds * RATE, number), RATE)
    return files


def _waveform(size: int, seed: int) -> np.ndarray:
    """Noise that swells and fades, and tones; float32 [size]."""
    rng = np.random.default_rng(seed)
    time = np.arange(size) / RATE
    loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    tones = sum(np.sin(2 * np.pi * hertz * time) / number for number, hertz in enumerate(rng.uniform(80, 4000, 5), 1))
    return (loudness * (0.1 * tones + 0.006 * rng.standard_normal(size))).astype(np.float32)


def _linear(waveform: np.ndarray) -> np.ndarray:
    magnitudes = np.abs(librosa.stft(librosa.effects.preemphasis(waveform, zi=np.zeros(1, np.float32)), **LONG))
    return np.clip((20 * np.log10(np.maximum(1e-5, magnitudes)) + 80) / 100, 0, 1).T


def _mel(options: dict, waveform: np.ndarray) -> np.ndarray:
    return np.log(librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=80, **options) + 1e-6).T


def _mfcc(waveform: np.ndarray) -> np.ndarray:
    cepstra = librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=13, **SHORT)
    cepstra[0] = librosa.feature.rms(y=waveform, frame_length=400, hop_length=160, pad_mode="reflect")
    return cepstra.T


def _kaldi(kind: str, waveform: np.ndarray) -> np.ndarray:
    options = knf.FbankOptions() if kind == "fbank" else knf.MfccOptions()
    options.frame_opts.dither = 0
    if kind == "fbank":
        options.mel_opts.num_bins = 80
    else:
        options.use_energy = False
    computer = knf.OnlineFbank(options) if kind == "fbank" else knf.OnlineMfcc(options)
    computer.accept_waveform(RATE, (waveform * 32768).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


STAGES = (
    Stage("mel", 1, functools.partial(_mel, LONG)),
    Stage("fbank", 0, functools.partial(_mel, SHORT)),
    Stage("fbank", 2, functools.partial(_mel, SHORT)),
    Stage("mfcc", 2, _mfcc),
    Stage("linear", 0, _linear),
    Stage("kaldi_fbank", 0, functools.partial(_kaldi, "fbank")),
    Stage("kaldi_mfcc", 0, functools.partial(_kaldi, "mfcc")),
)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
