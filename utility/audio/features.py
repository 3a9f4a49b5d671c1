"""Waveforms to features: one batched, device-agnostic computation for preprocessing, training and export."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utility.audio import s3prl_online, spectrum
from utility.audio.feature_config import STATIC_DIM, FeatureConfig
from utility.device import sent
from utility.threads import side_by_side

LOG_FLOOR = 1e-6
PRE_EMPHASIS = 0.97
FULL_SCALE = 32768  # Kaldi's samples are 16 bit


class FeatureExtractor:
    """Waveforms to features; the numbers of an utterance do not depend on padding or on its batch, to the last bit.

    All frames of a batch are cut from one packed signal and computed in blocks of a fixed number of frames, so every
    frame goes through operations of the same shapes whatever surrounds it, and padding costs no computation.
    """

    def __init__(self, config: FeatureConfig, dtype: torch.dtype = torch.float32):
        """`dtype` is that of the features: float64 too of S3PRL's kinds, which are computed in it.

        Raises `ValueError` for another one, and for a `cmvn` of more than the utterance (see `before_corpus`)."""
        if dtype != torch.float32 and config.s3prl is None:
            raise ValueError(f"{config.kind} features are computed in float32, not {dtype}")
        config.check_alone()
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
        (lengths,) = sent([torch.tensor(packed.lengths)], device)
        return features.to(self.dtype), lengths

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
    there, here = sent([torch.from_numpy(sample), torch.from_numpy(source)], device)
    signal[there] = signal[here]
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
        if kaldi:
            window = FULL_SCALE * spectrum.kaldi_window(config.window, config.window_type)
        else:
            window = spectrum.hann_window(config.window)
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
        config = self.config
        if not config.centred:
            return self._kaldi(signal.to(torch.float64), work)
        power = work.power(signal, config.hop, None, self.window)
        if config.s3prl is not None:
            return self._s3prl(power, config.s3prl.log)
        if config.kind == "linear":
            return power.log10_().mul_(0.1).add_(0.8).clamp_(0, 1)  # (20 log10 |X| - 20 + 100) / 100
        bands = self.mel(power)
        if config.kind == "mfcc":
            frames = signal.unfold(0, config.window, config.hop)
            level = torch.linalg.vector_norm(frames, dim=1, keepdim=True) / config.window**0.5
            return torch.cat([bands.clamp_(min=1e-10).log10_(), level], 1)
        return bands.add_(LOG_FLOOR).log_()

    def _kaldi(self, signal: Tensor, work: spectrum.Workspace) -> Tensor:
        """The same of Kaldi's kinds, from samples float64."""
        config, tiny = self.config, torch.finfo(torch.float32).eps
        frames = signal.unfold(0, config.window, config.hop)
        means, energy, first = frames.mean(1), None, None
        if config.has_energy:
            energy = (frames - means[:, None]).square_().sum(1).mul_(FULL_SCALE**2).clamp_(min=tiny).log_()
        if config.window_type == "hamming":  # other windows are 0 where a frame's first sample is emphasised otherwise
            first = (1 - PRE_EMPHASIS) * (frames[:, 0] - means) * self.window[0]
        power = work.power(_preemphasise(signal), config.hop, (1 - PRE_EMPHASIS) * means, self.window, first)
        logarithms = self.mel(power).clamp_(min=tiny).log_()
        if config.kind == "kaldi_fbank":
            return logarithms
        cepstra = logarithms.new_empty(len(logarithms), self.cosines.shape[1])
        spectrum.transform(logarithms, self.cosines, cepstra)
        if energy is not None:
            cepstra[:, 0] = energy
        return cepstra

    def _limited_cepstra(self, source: Tensor, rows: Tensor) -> None:
        """Fill rows [T, 13] of one utterance: cepstra of bands no lower than 80 dB below the loudest; first the RMS."""
        bands = source[:, :-1]
        spectrum.transform(torch.maximum(bands, bands.amax() - 8), self.cosines, rows)
        if self.config.has_energy:
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
