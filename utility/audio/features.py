"""Acoustic features: one batched, device-agnostic definition for preprocessing, training and export."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
import torch
from torch import Tensor

from utility.audio import s3prl_online, spectrum
from utility.config import section
from utility.threads import side_by_side

Count = TypeVar("Count", int, np.ndarray, Tensor)
LOG_FLOOR = 1e-6
PRE_EMPHASIS = 0.97
STATIC_DIM = {"mel": 80, "fbank": 80, "mfcc": 13, "kaldi_fbank": 80, "kaldi_mfcc": 13}

Kind = Literal[
    "mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc", "s3prl_linear", "s3prl_mel", "s3prl_mfcc"
]  # fmt: skip


@section
class FeatureConfig:
    """What is computed from a waveform; stored with features and checkpoints.

    `mel` (50 ms windows every 12.5 ms), `fbank`, `mfcc` (25 ms every 10 ms) and `linear` (as `mel`) are the originals'
    features, those of librosa 0.7: frames centred on multiples of the hop, reflection at the utterance's own ends.
    `kaldi_fbank` and `kaldi_mfcc` are Kaldi's (`snip_edges`, no dither, `use_energy` off, samples scaled to 16 bit).
    `s3prl_mel`, `s3prl_linear` and `s3prl_mfcc` are what S3PRL computes online since 0.3, with the options `s3prl`;
    their deviation in CMVN is the unbiased one, and they bring an utterance to a level themselves.
    """

    kind: Kind = "mel"
    deltas: Annotated[int, pydantic.Field(ge=0, le=2)] = 1
    cmvn: Literal["none", "utterance"] = "utterance"
    sample_rate: Annotated[int, pydantic.Field(ge=4000, le=384000)] = 16000
    s3prl: s3prl_online.S3prlOptions | None = None

    def __post_init__(self) -> None:
        if self.kind == "linear" and self.deltas:
            raise ValueError(f"linear features take deltas=0, got deltas={self.deltas}")
        if self.kind in s3prl_online.KINDS:
            options = self.s3prl or s3prl_online.S3prlOptions()
            options.check(self.kind, self.sample_rate)
            object.__setattr__(self, "s3prl", options)
        elif self.s3prl is not None:
            raise ValueError(f"options s3prl would change nothing with kind {self.kind}: leave them out")

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without options of S3PRL where there are none: files and fingerprints stay as they were before these."""
        return {key: value for key, value in plain(self).items() if key != "s3prl" or value is not None}

    def __repr__(self) -> str:
        """Likewise: fingerprints are made of it."""
        names = ["kind", "deltas", "cmvn", "sample_rate", *(["s3prl"] if self.s3prl else [])]
        return f"FeatureConfig({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def in_words(self) -> str:
        """The definition in a line."""
        text = f"{self.kind}, deltas {self.deltas}, cmvn {self.cmvn}, {self.sample_rate} Hz"
        return text if self.s3prl is None else f"{text}, {self.s3prl.in_words(self.kind)}"

    @property
    def centred(self) -> bool:
        """Whether frame t is centred on sample t * hop (librosa) or starts there (Kaldi)."""
        return not self.kind.startswith("kaldi")

    @property
    def window(self) -> int:
        """Samples that one frame sees."""
        if self.s3prl is not None:
            return s3prl_online.samples(self.s3prl.win_ms, self.sample_rate)
        return int(self.sample_rate * (0.05 if self.kind in ("mel", "linear") else 0.025))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        if self.s3prl is not None:
            return s3prl_online.samples(self.s3prl.hop_ms, self.sample_rate)
        return int(self.sample_rate * (0.0125 if self.kind in ("mel", "linear") else 0.01))

    @property
    def fft_size(self) -> int:
        """Points of the Fourier transform, the window zero-padded to it."""
        if self.s3prl is not None:
            return self.s3prl.fft_size
        if self.kind in ("fbank", "mfcc"):
            return self.window
        scale = 2 if self.kind in ("mel", "linear") else 1
        return 1 << (scale * self.window - 1).bit_length()

    @property
    def dim(self) -> int:
        """Values per frame, deltas included."""
        static = STATIC_DIM.get(self.kind, self.fft_size // 2 + 1) if self.s3prl is None else self.s3prl.dim(self.kind)
        return static * (1 + self.deltas)

    @property
    def band_centres(self) -> np.ndarray | None:
        """Centres of the mel bands that the static values are, in Hz, float64 [bands]; None of other kinds."""
        if self.s3prl is not None:
            mel = self.kind == "s3prl_mel"
            return s3prl_online.htk_centres(self.sample_rate, self.s3prl.n_mels) if mel else None
        bands = STATIC_DIM.get(self.kind)
        if bands is None or self.kind.endswith("mfcc"):
            return None
        if not self.centred:
            return spectrum.kaldi_centres(self.sample_rate, bands)
        return spectrum.slaney_centres(self.sample_rate, bands)

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.sample_rate

    @property
    def frame_offset(self) -> float:
        """Seconds from the first sample to the centre of frame 0."""
        return float(self.frame_times(1)[0])

    def num_frames(self, num_samples: Count) -> Count:
        """Frames of a waveform, or a part of one, of `num_samples`; see `too_short` for whole utterances."""
        if self.centred:
            return (num_samples > 0) * (1 + num_samples // self.hop)
        return (num_samples >= self.window) * (1 + (num_samples - self.window) // self.hop)

    @property
    def min_samples(self) -> int:
        """The fewest samples of an utterance: one window, of which the reflection at its ends makes no more."""
        return self.window

    def too_short(self, num_samples: int) -> str:
        """Why an utterance of so many samples has no features; empty where it has some."""
        if num_samples >= self.min_samples:
            return ""
        return f"too short: {num_samples} samples where one window of {self.kind} features has {self.min_samples}"

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        return (frames - 1) * self.hop + (1 if self.centred else self.window)

    def frame_times(self, num_frames: int) -> np.ndarray:
        """Centres of the frames in seconds, float64 [T]."""
        first = 0.0 if self.centred else self.window / 2
        return (first + self.hop * np.arange(num_frames, dtype=np.float64)) / self.sample_rate


class FeatureExtractor:
    """Waveforms to features; the numbers of an utterance do not depend on padding or on its batch, to the last bit.

    All frames of a batch are cut from one packed signal and computed in blocks of a fixed number of frames, so every
    frame goes through operations of the same shapes whatever surrounds it, and padding costs no computation.
    """

    def __init__(self, config: FeatureConfig, dtype: torch.dtype = torch.float32):
        """`dtype` is that of the features: float64 too of S3PRL's kinds, which are computed in it."""
        if dtype != torch.float32 and config.s3prl is None:
            raise ValueError(f"{config.kind} features are computed in float32, not {dtype}")
        self.config, self.dtype = config, dtype
        self._kernels: dict[torch.device, _Kernel] = {}

    def __call__(self, waveforms: Tensor, num_samples: Tensor, threads: int = 1) -> tuple[Tensor, Tensor]:
        """float32 [B, N] (full scale 1) and int64 [B] -> features [B, T, dim], zero beyond lengths int64 [B].

        On a CPU by so many threads. Raises `ValueError` for an utterance too short for one frame.
        """
        if waveforms.dim() != 2 or num_samples.shape != waveforms.shape[:1]:
            shapes = f"{list(waveforms.shape)} and {list(num_samples.shape)}"
            raise ValueError(f"expected waveforms [B, N] and num_samples [B], got {shapes}")
        counts = num_samples.tolist()
        if counts and max(counts) > waveforms.shape[1]:
            raise ValueError(f"num_samples {max(counts)} exceeds the {waveforms.shape[1]} samples of the batch")
        return self.of([waveform[:count] for waveform, count in zip(waveforms, counts)], threads)

    @torch.no_grad()
    def of(self, waveforms: Sequence[Tensor], threads: int = 1) -> tuple[Tensor, Tensor]:
        """The same of waveforms [N] of one device."""
        device = self._checked(waveforms)
        if device not in self._kernels:
            self._kernels[device] = _Kernel(self.config, device)
        count = min(threads, len(waveforms)) if device.type == "cpu" else 1
        shares = [waveforms[start::count] for start in range(count)]
        with torch.autocast(device.type, enabled=False):
            parts = side_by_side(self._compute, shares, threads)
        if count == 1:
            return parts[0]
        longest = max(part.shape[1] for part, _ in parts)
        features = torch.zeros(len(waveforms), longest, self.config.dim, dtype=self.dtype)
        lengths = torch.empty(len(waveforms), dtype=torch.int64)
        for start, (part, own) in enumerate(parts):
            features[start::count, : part.shape[1]], lengths[start::count] = part, own
        return features, lengths

    def _compute(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        config, device = self.config, waveforms[0].device
        packed = _pack(config, waveforms)
        features = self._kernels[device](packed, config.dim)
        if config.deltas:
            append = spectrum.add_deltas if config.s3prl is None else s3prl_online.add_regression_deltas
            append(features, packed.lengths, config.deltas)
        if config.cmvn == "utterance":
            deviation = spectrum.POPULATION if config.s3prl is None else spectrum.Deviation(1, s3prl_online.LOG_FLOOR)
            spectrum.normalise(features, packed.lengths, 1 + config.deltas, deviation)
        return features.to(self.dtype), torch.tensor(packed.lengths, device=device)

    def _checked(self, waveforms: Sequence[Tensor]) -> torch.device:
        if not waveforms:
            raise ValueError("expected at least one waveform, got an empty batch")
        shortest = min(map(len, waveforms))
        if self.config.num_frames(shortest) < 1:
            need = 1 if self.config.centred else self.config.window
            raise ValueError(f"{self.config.kind} features need at least {need} samples, got {shortest}")
        return waveforms[0].device


@dataclass(frozen=True)
class _Packed:
    """Utterances end to end with their edges, each starting on a multiple of the hop: one stride cuts all frames."""

    signal: Tensor  # fits whole blocks of frames
    first: list[int]  # frame of the signal that is each utterance's frame 0
    lengths: list[int]  # frames of each utterance


def _pack(config: FeatureConfig, waveforms: Sequence[Tensor]) -> _Packed:
    window, hop, device = config.window, config.hop, waveforms[0].device
    if config.kind == "linear":
        waveforms = [_preemphasise(waveform.to(torch.float64, copy=True)) for waveform in waveforms]
    lead = window // 2 if config.centred else 0
    if config.s3prl is not None:
        waveforms = [s3prl_online.to_level(waveform, config.s3prl.target_level) for waveform in waveforms]
        lead = (window + 1) // 2  # PyTorch's STFT puts an odd window one sample earlier
    counts = np.array([len(waveform) for waveform in waveforms])
    lengths = config.num_frames(counts)
    regions = lengths - 1 - (-window // hop)  # rows, the last of them shared with what follows
    tails = regions * hop - lead - counts  # below 0 where Kaldi's frames leave samples over
    edge = waveforms[0].new_zeros(window + hop)
    pieces = []
    for waveform, tail in zip(waveforms, tails.tolist()):
        pieces += [edge[:lead], waveform[: len(waveform) + min(tail, 0)], edge[: max(tail, 0)]]
    block = _block_frames(device)
    pieces.append(edge.new_zeros(-regions.sum() % block * hop + window))
    signal, first = torch.cat(pieces), regions.cumsum() - regions
    counts, tails, start = counts[:, None], tails[:, None], (first * hop + lead)[:, None]
    outside = np.arange(-lead, len(edge))
    sample = outside + counts * (outside >= 0)  # [B, edges], from the utterance's first sample
    real = outside < tails
    source, sample = (start + spectrum.reflected(sample, counts))[real], (start + sample)[real]
    signal[torch.from_numpy(sample).to(device)] = signal[torch.from_numpy(source).to(device)]
    return _Packed(signal, first.tolist(), lengths.tolist())


def _preemphasise(signal: Tensor) -> Tensor:
    """x[t] - 0.97 x[t - 1] of float64 [N] in its place, the first sample kept."""
    signal[1:] -= PRE_EMPHASIS * signal[:-1]
    return signal


def _block_frames(device: torch.device) -> int:
    """Frames computed at once: few enough for a core's cache, many enough that threads seldom wait for each other."""
    return 128 if device.type == "cpu" else 4096


class _Kernel:
    """The constants of one configuration on one device, and what is computed with them frame by frame."""

    def __init__(self, config: FeatureConfig, device: torch.device):
        self.config, self.dtype = config, torch.float32 if config.s3prl is None else torch.float64
        self.block = _block_frames(device)
        kaldi, rate, fft = not config.centred, config.sample_rate, config.fft_size
        window = 32768 * spectrum.kaldi_window(config.window) if kaldi else spectrum.hann_window(config.window)
        self.window = torch.from_numpy(window).to(device)
        if config.s3prl is not None:
            bands = s3prl_online.MFCC_BANDS if config.kind == "s3prl_mfcc" else config.s3prl.n_mels
            self.mel = spectrum.FilterBank(s3prl_online.htk_mel(rate, fft, bands), device, np.float64)
            cosines = spectrum.cosine_transform(s3prl_online.MFCC_BANDS, config.s3prl.n_mfcc)
            self.cosines = torch.from_numpy(np.ascontiguousarray(cosines)).to(device)
            return
        bands = {"mfcc": 128, "kaldi_mfcc": 23}.get(config.kind, 80)
        mel = spectrum.kaldi_mel(rate, fft, bands) if kaldi else spectrum.slaney_mel(rate, fft, bands)
        cosines = spectrum.cosine_transform(bands, STATIC_DIM["mfcc"])
        cosines = cosines * (spectrum.kaldi_lifter(cosines.shape[1]) if kaldi else 10)  # 10: decibels
        self.mel = spectrum.FilterBank(mel, device)
        self.cosines = torch.from_numpy(np.ascontiguousarray(cosines)).to(device)

    def __call__(self, packed: _Packed, dim: int) -> Tensor:
        """Features [B, T, dim], only the static ones filled in, zero beyond lengths [B]."""
        device = packed.signal.device
        features = torch.zeros(len(packed.first), max(packed.lengths), dim, dtype=self.dtype, device=device)
        static = dim // (1 + self.config.deltas)
        utterances = [rows[:length, :static] for rows, length in zip(features, packed.lengths)]
        if self.config.kind == "mfcc":
            bands = [torch.empty(length, len(self.cosines) + 1, device=device) for length in packed.lengths]
            self._fill(bands, packed)
            for rows, source in zip(utterances, bands):
                self._limited_cepstra(source, rows)
        else:
            self._fill(utterances, packed)
        return features

    def _fill(self, utterances: list[Tensor], packed: _Packed) -> None:
        """Put what `_features` gives of each utterance's frames into its rows."""
        window, hop = self.config.window, self.config.hop
        work = spectrum.workspace(self.block, window, self.config.fft_size, packed.signal.device, self.dtype)
        end, block = 0, packed.signal  # no block yet
        for rows, first in zip(utterances, packed.first):
            done = 0
            while done < len(rows):
                if first + done >= end:
                    start, end = end, end + self.block
                    signal = packed.signal[start * hop : (end - 1) * hop + window]
                    block = self._features(signal, work)
                    continue
                count = min(len(rows) - done, end - first - done)
                rows[done : done + count] = block[first + done - start :][:count]
                done += count

    def _features(self, signal: Tensor, work: spectrum.Workspace) -> Tensor:
        """One block of frames from the samples below them, [block, static dim]; mfcc: log10 of bands, and the RMS."""
        config, offsets = self.config, None
        if not config.centred:  # a frame's first sample, emphasised otherwise, meets a window of 0
            signal = signal.to(torch.float64)
            offsets = (1 - PRE_EMPHASIS) * signal.unfold(0, config.window, config.hop).mean(1)
            signal = _preemphasise(signal)
        power = work.power(signal, config.hop, offsets, self.window)
        if config.s3prl is not None:
            return self._s3prl(power, config.s3prl.log)
        if config.kind == "linear":
            return power.log10_().mul_(0.1).add_(0.8).clamp_(0, 1)  # (20 log10 |X| - 20 + 100) / 100
        bands = self.mel(power)
        if config.kind == "mfcc":
            frames = signal.unfold(0, config.window, config.hop)
            level = torch.linalg.vector_norm(frames, dim=1, keepdim=True) / config.window**0.5
            return torch.cat([bands.clamp_(min=1e-10).log10_(), level], 1)
        if config.centred:
            return bands.add_(LOG_FLOOR).log_()
        logarithms = bands.clamp_(min=torch.finfo(torch.float32).eps).log_()
        if config.kind == "kaldi_fbank":
            return logarithms
        cepstra = logarithms.new_empty(len(logarithms), self.cosines.shape[1])
        spectrum.transform(logarithms, self.cosines, cepstra)
        return cepstra

    def _limited_cepstra(self, source: Tensor, rows: Tensor) -> None:
        """Fill rows [T, 13] of one utterance: cepstra of bands no lower than 80 dB below the loudest, after the RMS."""
        bands = source[:, :-1]
        spectrum.transform(torch.maximum(bands, bands.amax() - 8), self.cosines, rows)
        rows[:, 0] = source[:, -1]

    def _s3prl(self, power: Tensor, log: bool) -> Tensor:
        """The same of S3PRL's kinds, from powers float64 [block, bins]."""
        if self.config.kind == "s3prl_mfcc":
            bands = self.mel(power).add_(s3prl_online.MFCC_FLOOR).log_()
            cepstra = bands.new_empty(len(bands), self.cosines.shape[1])
            spectrum.transform(bands, self.cosines, cepstra)
            return cepstra
        values = self.mel(power) if self.config.kind == "s3prl_mel" else power
        return values.add_(s3prl_online.LOG_FLOOR).log_() if log else values
