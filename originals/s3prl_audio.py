"""Recordings and waveforms as S3PRL v0.1.0's wrapper takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mockingjay.foreign.configs import read_online
from mockingjay.foreign.settings import AUDIO_KEYS, OF_RECORDINGS
from originals.mockingjay_api import Lengths, as_batch
from utility.audio.noise import levelled
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.audio.waveform import read_audio
from utility.batches import Waveforms
from utility.config import build, nearest, read_yaml
from utility.text import short

CHANNELS = 2  # of S3PRL's loader: with noise and without
OF_ONLINE = (*AUDIO_KEYS, *OF_RECORDINGS, "input", "target")

AnyWaveforms = np.ndarray | Tensor | Sequence[np.ndarray | Tensor]


def load_data(
    wav_path: str | Path,
    sample_rate: int = 16000,
    max_time: float | None = 40000,
    target_level: float | None = -25,
    seed: int = 0,
    **online: Any,
) -> Tensor:
    """A recording as float32 [N] at `sample_rate`, its channels averaged, of an RMS of `target_level` dB.

    Of more than `max_time` milliseconds it gives a piece whose place is drawn from `seed`. `online` is the rest of a
    block `online` of S3PRL, of which nothing else concerns loading: `load_data(path, **config["online"])`. Any rate is
    resampled, where the original stopped. Raises ValueError for a file that cannot be read, and for an unknown key."""
    for key in online:
        if key not in OF_ONLINE:
            raise ValueError(f"load_data: unknown key {short(key)}{nearest(key, sorted(OF_ONLINE))}")
    if sample_rate < 1 or (max_time is not None and max_time <= 0):
        raise ValueError(f"load_data: sample_rate {sample_rate} and max_time {max_time}: expected numbers above 0")
    wave = torch.from_numpy(read_audio(wav_path, sample_rate))
    longest = len(wave) if max_time is None else max(int(sample_rate * max_time / 1000), 1)
    if len(wave) > longest:
        draw = torch.Generator().manual_seed(seed)
        start = int(torch.randint(len(wave) - longest + 1, (1,), generator=draw))
        wave = wave[start : start + longest]
    if target_level is None:
        return wave
    return levelled(wave[None], torch.tensor([len(wave)]), target_level)[0]


def online_section(source: Mapping[str, Any] | Path | str) -> OnlineConfig:
    """The section `online` that a dict or a YAML gives, ours or S3PRL's, alone or within a config."""
    name = "online_config" if isinstance(source, Mapping) else str(source)
    values: Any = source if isinstance(source, Mapping) else read_yaml(source)
    if not values:
        raise ValueError(
            f"{name} is empty: it says which features a waveform becomes, as input: {{feat_type: mel, ...}}; of a "
            "checkpoint that knows its own, load_upstream(path).from_waveforms([...]) takes waveforms"
        )
    values = values.get("online", values)
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: 'online' is {short(values)}, expected keys and values")
    try:
        given = read_online(values).source
        assert isinstance(given, Mapping), "a dict stays one"
        return build(OnlineConfig, values if given is values else given["online"])
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix('online_config: ')}") from None


class FromAudio(nn.Module):
    """Waveforms to the features of a section `online`, without its noise; an utterance gives the same in any batch."""

    def __init__(self, config: OnlineConfig):
        super().__init__()
        self.features = config.input
        self._online = Online(replace(config, target=None, noise_proportion=0.0), noisy=False)

    def forward(self, x: AnyWaveforms, lengths: Lengths, device: torch.device) -> tuple[Tensor, Tensor]:
        """Features [B, T, D] and their lengths [B] of waveforms [B, N] with true samples [B].

        Also [N], a list of these, and S3PRL's [B, channels, N] and [B, N, channels], of which the first channel counts.
        Without lengths a waveform ends where only zeros follow."""
        samples, counts = _as_waveforms(x, lengths, device)
        for number, count in enumerate(counts.tolist()):
            reason = self.features.too_short(count)
            if reason:
                raise ValueError(f"waveform {number} is {reason}")
        frames = self.features.num_frames(counts)
        ids = [str(number) for number in range(len(samples))]
        batch = self._online(Waveforms(samples, counts.cpu(), frames, ids))
        return batch.features, frames


def _as_waveforms(x: AnyWaveforms, lengths: Lengths, device: torch.device) -> tuple[Tensor, Tensor]:
    wanted = "expected [N], [B, N], [B, channels, N] or a list of [N], floating point of full scale 1"
    if not isinstance(x, np.ndarray | Tensor):
        waves = [torch.as_tensor(wave) for wave in x]
        if lengths is not None or not waves or any(wave.ndim != 1 or not len(wave) for wave in waves):
            raise ValueError(f"a list of waveforms brings its own lengths, and none of them is empty: {wanted}")
        lengths = [len(wave) for wave in waves]
        x = nn.utils.rnn.pad_sequence(waves, batch_first=True)
    samples = torch.as_tensor(x)
    if samples.ndim == 3:
        by_channel = samples.shape[1] <= CHANNELS < samples.shape[2]
        by_sample = samples.shape[2] <= CHANNELS < samples.shape[1]
        samples = samples[:, 0] if by_channel else samples[:, :, 0] if by_sample else samples
    samples = samples[None] if samples.ndim == 1 else samples
    if samples.ndim != 2 or not samples.is_floating_point() or not samples.numel():
        kind = str(samples.dtype).removeprefix("torch.")
        raise ValueError(f"waveforms are {kind} of shape {list(torch.as_tensor(x).shape)}: {wanted}")
    batch, counts = as_batch(samples[:, :, None], lengths, device)
    return batch[:, :, 0], counts
