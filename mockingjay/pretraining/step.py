"""Pre-training: what a step computes, on what data."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.figures.spectrograms import Reconstruction
from mockingjay.model.frame_model import FrameModel
from mockingjay.model.layout import Packing
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import TransformerEncoder
from mockingjay.objectives.apc import ahead
from mockingjay.objectives.loss import MaskedLoss, masked_loss
from mockingjay.objectives.masking import alter
from mockingjay.pretraining.data import Data
from utility.batches import Batch
from utility.seeds import utterance_generators
from utility.training.trainer import autocast

Generators = torch.Generator | list[torch.Generator]


class NothingToEvaluate(ValueError):
    """No frame of the utterances counts in the loss."""

    def __init__(self) -> None:
        super().__init__("nothing to evaluate: the utterances are too short for any of their frames to count")


class Pretraining:
    """What all objectives share: a model on a device, and how batches are masked the same way at every look."""

    def __init__(self, model: FrameModel, config: PretrainConfig, device: torch.device):
        self.model, self.config, self.device = model.to(device), config, device
        if isinstance(model.encoder, TransformerEncoder):
            model.encoder.recompute = config.speed.recompute
            if config.speed.compile and device.type == "cuda":
                model.encoder.compile_blocks()

    def fixed(self, batch: Batch) -> tuple[Batch, list[torch.Generator]]:
        """A batch on the device, long utterances in pieces, and the generators that their ids stand for."""
        batch = batch.to(self.device)
        if self.config.model.max_input_length is not None:
            batch = Segments.of(batch.lengths, self.config.model.max_input_length).split_batch(batch)
        return batch, utterance_generators(batch.ids)

    @property
    def packed(self) -> bool:
        """Whether training batches are computed on real frames end to end."""
        return self.config.speed.packed and self.device.type == "cuda"

    def packing(self, frames: int, batch: Batch) -> Packing:
        """Where the real frames of a batch of `frames` (stacked) frames lie."""
        encoder = self.model.encoder
        assert isinstance(encoder, TransformerEncoder), "a config with a GRU refuses speed.packed"
        return Packing.of(self.host_lengths(batch), frames, self.device, encoder.causal)

    def host_lengths(self, batch: Batch) -> Tensor:
        """Lengths [B] in (stacked) frames, in host memory."""
        lengths = batch.lengths if batch.host_lengths is None else batch.host_lengths
        rate = self.model.downsample_rate
        return lengths if rate == 1 else (lengths // rate).clamp(min=1)

    def autocast(self):
        """Matrix products as the config says."""
        return autocast(self.device, self.config.trainer.precision)


@dataclass(frozen=True)
class Prediction:
    """What the model saw, what it predicted and the truth, all [B, T', ...]; the loss counts where `mask` is True."""

    inputs: Tensor
    prediction: Tensor
    truth: Tensor
    mask: Tensor
    lengths: Tensor  # [B]

    def loss(self) -> MaskedLoss:
        """L1 over the chosen elements."""
        return masked_loss(self.prediction, self.truth, self.mask)


class FramePretraining(Pretraining):
    """Rebuild altered frames, or predict those that come (APC)."""

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of a batch, and the share of its real frames that counted in it."""
        seen = self._prediction(batch, generator, self.packed)
        return {"loss": seen.loss().mean(), "masked_share": seen.mask.any(-1).sum() / seen.lengths.sum()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean L1 over all chosen elements of `batches`, with masks fixed by the utterance ids."""
        self.model.eval()
        total, count = 0.0, 0.0
        for batch in batches:
            with self.autocast():
                loss = self._prediction(*self.fixed(batch)).loss()
            total += float(loss.total)
            count += float(loss.count)
        if not count:
            raise NothingToEvaluate
        return {"loss": total / count}

    @torch.no_grad()
    def reconstruct(self, batch: Batch, data: Data) -> Reconstruction:
        """What the model makes of a batch of one utterance, masked as in `evaluate`; its segments end to end."""
        self.model.eval()
        seen = self._prediction(*self.fixed(batch))
        shown = {"true": seen.truth, "predicted": seen.prediction, "masked": seen.inputs, "mask": seen.mask}
        lengths = seen.lengths.tolist()
        shown = {name: torch.cat([v[:t] for v, t in zip(value, lengths)]) for name, value in shown.items()}
        return Reconstruction.of(shown, self.model.downsample_rate, data.source, data.target)

    def _prediction(self, batch: Batch, generator: Generators, packed: bool = False) -> Prediction:
        stacked, lengths = self.model.stack(batch.features, batch.lengths)
        packing = self.packing(stacked.shape[1], batch) if packed else None
        if self.config.objective == "apc":
            prediction = self._predict(stacked, lengths, packing)
            prediction, known = ahead(prediction, lengths, self.config.apc.time_shift)
            return Prediction(stacked, prediction, stacked, known[..., None].expand_as(stacked), lengths)
        truth = stacked if batch.target is None else self.model.stack(batch.target, batch.lengths)[0]
        altered = alter(stacked, lengths, self.config.masking, generator)
        inputs = self.model.hide(altered.inputs, altered.learnt)
        return Prediction(inputs, self._predict(inputs, lengths, packing), truth, altered.mask, lengths)

    def _predict(self, inputs: Tensor, lengths: Tensor, packing: Packing | None) -> Tensor:
        if packing is None:
            return self.model.predict(inputs, lengths).prediction
        return self.model.predict_packed(inputs, lengths, packing)
