"""Training straight from audio: the level, noise and features of a batch of waveforms, on the device they are on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.audio.features import FeatureExtractor
from utility.audio.noise import _on, add_noise, levelled, read_noise
from utility.audio.online_config import OnlineConfig
from utility.batches import Batch, Waveforms
from utility.seeds import utterance_generators


class Online:
    """Waveforms to batches of features; `noisy` says whether they get the noise that the config draws."""

    def __init__(self, config: OnlineConfig, noisy: bool):
        self.config = config
        self.input = FeatureExtractor(config.input)
        self.target = None if config.target in (None, config.input) else FeatureExtractor(config.target)
        drawn = noisy and config.noise_proportion > 0
        self.noise = read_noise(config.noise_type, config.input.sample_rate) if drawn else None  # [M], a loop

    @torch.no_grad()
    def __call__(self, batch: Waveforms, generator: torch.Generator | None = None, multiple: int = 1) -> Batch:
        """Features of the waveforms, padded to a multiple of so many frames, and the target where it is another.

        What is drawn comes from the generator, without one from the ids: the same at every evaluation."""
        clean, counts = batch.samples, batch.num_samples
        if self.config.target_level is not None:
            clean = levelled(clean, counts, self.config.target_level)
        heard, chosen = self._heard(clean, counts, batch.ids, generator)
        threads = torch.get_num_threads()
        features = _padded(self.input(heard, counts, threads)[0], multiple)
        target = None
        if self.target is not None:
            target = _padded(self.target(clean, counts, threads)[0], multiple)
        elif len(chosen):
            rows, target = _on(chosen, clean), features.clone()
            without_noise = self.input(clean[rows], counts[chosen], threads)[0]
            target[rows, : without_noise.shape[1]] = without_noise
        return batch.with_features(features, target)

    def _heard(
        self, clean: Tensor, counts: Tensor, ids: Sequence[str], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """The waveforms [B, N], some with noise, and which these are: int64 [R], in host memory."""
        if self.noise is None:
            return clean, torch.empty(0, dtype=torch.int64)
        self.noise = self.noise.to(clean.device)
        chance, which, start = _uniform(ids, generator)
        chosen = (chance < self.config.noise_proportion).nonzero()[:, 0]
        snrs = torch.tensor(self.config.snrs)[(which[chosen] * len(self.config.snrs)).long()]
        first = _on((start[chosen] * len(self.noise)).long(), clean)[:, None]
        noise = self.noise[(first + torch.arange(clean.shape[1], device=clean.device)) % len(self.noise)]
        rows, heard = _on(chosen, clean), clean.clone()
        heard[rows] = add_noise(clean[rows], counts[chosen], noise, snrs)
        return heard, chosen


def _uniform(ids: Sequence[str], generator: torch.Generator | None) -> Tensor:
    """Three numbers in [0, 1) for each utterance, [3, B]."""
    if generator is not None:
        return torch.rand(3, len(ids), generator=generator)
    return torch.stack([torch.rand(3, generator=own) for own in utterance_generators(ids)], 1)


def _padded(features: Tensor, multiple: int) -> Tensor:
    return F.pad(features, (0, 0, 0, -features.shape[1] % multiple))
