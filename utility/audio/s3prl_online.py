"""S3PRL's online features (versions 0.3 and later): their options, and the steps that no other kind has, in float64."""

import itertools
from collections.abc import Sequence

import numpy as np
import pydantic
import torch
from torch import Tensor

from utility.config import section

UNUSED = {"s3prl_linear": ("n_mels", "n_mfcc"), "s3prl_mel": ("n_mfcc",), "s3prl_mfcc": ("n_mels", "log")}  # options
KINDS = tuple(UNUSED)
LOG_FLOOR = 1e-10  # also added to the level of an utterance, and to a deviation
MFCC_BANDS, MFCC_FLOOR = 128, 1e-6
DELTA_WEIGHTS = (0.1, 0.2)  # of the differences of frames 1 and 2 away: n / (2 * (1 + 4))


@section
class S3prlOptions:
    """The block `audio` of S3PRL's upstream configs, under its own names."""

    target_level: float = pydantic.Field(-25.0, le=0)  # dB of full scale, the RMS that an utterance is brought to
    win_ms: float = pydantic.Field(25.0, gt=0, le=1000)
    hop_ms: float = pydantic.Field(10.0, gt=0, le=1000)
    n_freq: int = pydantic.Field(201, ge=2, le=1 << 16)  # bins of the spectrum: a Fourier transform of 2 (n_freq - 1)
    n_mels: int = pydantic.Field(80, ge=1, le=1 << 16)  # of s3prl_mel
    n_mfcc: int = pydantic.Field(13, ge=1, le=MFCC_BANDS)  # of s3prl_mfcc
    log: bool = True  # of s3prl_mel and s3prl_linear: the natural logarithm

    def check(self, kind: str, sample_rate: int) -> None:
        """Raise ValueError where an option would change nothing for `kind`, or a frame cannot be cut."""
        for name in UNUSED[kind]:
            if getattr(self, name) != getattr(S3prlOptions, name):
                raise ValueError(f"s3prl.{name} would change nothing with kind {kind}: leave it out")
        window, hop = (samples(ms, sample_rate) for ms in (self.win_ms, self.hop_ms))
        if not 1 <= window <= self.fft_size:
            raise ValueError(
                f"s3prl.win_ms {self.win_ms:g} is {window} samples at {sample_rate} Hz: expected 1 to {self.fft_size}, "
                f"the Fourier transform of s3prl.n_freq {self.n_freq}"
            )
        if hop < 1:
            raise ValueError(f"s3prl.hop_ms {self.hop_ms:g} is less than a sample at {sample_rate} Hz")

    @property
    def fft_size(self) -> int:
        """Points of the Fourier transform."""
        return 2 * (self.n_freq - 1)

    def in_words(self, kind: str) -> str:
        """The options that `kind` has, in a line."""
        size = {"s3prl_mel": f", {self.n_mels} bands", "s3prl_mfcc": f", {self.n_mfcc} coefficients"}.get(kind, "")
        log = "" if kind == "s3prl_mfcc" else ", log" if self.log else ", no log"
        return (
            f"level {self.target_level:g} dB, window {self.win_ms:g} ms, hop {self.hop_ms:g} ms, "
            f"{self.n_freq} frequencies{size}{log}"
        )

    def dim(self, kind: str) -> int:
        """Values per frame without deltas."""
        return {"s3prl_linear": self.n_freq, "s3prl_mel": self.n_mels, "s3prl_mfcc": self.n_mfcc}[kind]


def samples(milliseconds: float, sample_rate: int) -> int:
    """A time in whole samples, rounded as S3PRL does."""
    return round(milliseconds * sample_rate / 1000)


def to_level(waveform: Tensor, level: float) -> Tensor:
    """A waveform [N] as float64, brought to an RMS of `level` dB of full scale; silence stays silence."""
    waveform = waveform.to(torch.float64)
    square = waveform.square()
    # NumPy adds in an order that does not depend on how many threads there are.
    energy = float(square.numpy().mean()) if square.is_cpu else square.mean()
    return waveform * (10 ** (level / 20) / (energy**0.5 + LOG_FLOOR))


def htk_mel(sample_rate: int, fft_size: int, bands: int) -> np.ndarray:
    """Triangles at equal steps of HTK's mel scale, of height 1, from 0 to half the rate: float64 [bands, bins]."""
    edges = _htk_edges(sample_rate, bands)
    frequencies = np.linspace(0, sample_rate // 2, fft_size // 2 + 1)
    distance, width = np.subtract.outer(edges, frequencies), np.diff(edges)[:, None]
    return np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]).clip(min=0)


def htk_centres(sample_rate: int, bands: int) -> np.ndarray:
    """The tops of those triangles in Hz, float64 [bands]."""
    return _htk_edges(sample_rate, bands)[1:-1]


def _htk_edges(sample_rate: int, bands: int) -> np.ndarray:
    """In Hz, float64 [bands + 2]: triangle k reaches from edge k to edge k + 2."""
    mels = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), bands + 2)
    return 700 * (10 ** (mels / 2595) - 1)


def add_regression_deltas(features: Tensor, lengths: Sequence[int], orders: int) -> None:
    """Fill features [B, T, (1 + orders) * dim] behind their first part: each part is the slope of the one before it.

    A slope is the regression over 5 frames; the first and the last frame of an utterance are repeated beyond its ends.
    Frames beyond lengths are zero and stay zero."""
    parts = features.split(features.shape[2] // (1 + orders), 2)
    for source, result in itertools.pairwise(parts):
        for utterance, slope, length in zip(source, result, lengths):
            x = utterance[:length]
            padded = torch.cat([x[:1], x[:1], x, x[-1:], x[-1:]])
            near, far = padded[3:-1] - padded[1:-3], padded[4:] - padded[:-4]
            slope[:length] = DELTA_WEIGHTS[0] * near + DELTA_WEIGHTS[1] * far
