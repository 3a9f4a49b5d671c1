"""Pre-training: what a step computes, on what data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.figures.spectrograms import Reconstruction
from mockingjay.model.frame_model import FrameModel
from mockingjay.model.layout import Packing, Scope
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import TransformerEncoder
from mockingjay.objectives.apc import ahead
from mockingjay.objectives.loss import MaskedLoss, masked_loss
from mockingjay.objectives.masking import Alter, alter, apply_alterations
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

    SCORES: ClassVar[Callable[..., dict[str, Tensor]]]  # what a step gives of a batch, of tensors alone

    def __init__(self, model: FrameModel, config: PretrainConfig, device: torch.device):
        self.model, self.config, self.device = model.to(device), config, device
        if isinstance(model.encoder, TransformerEncoder):
            model.encoder.recompute = config.speed.recompute
            model.encoder.residual = torch.bfloat16 if config.speed.residual == "bf16" else None
        self.alter: Alter = apply_alterations
        self.scores = self.SCORES
        self.packed = device.type == "cuda" and config.packs  # training batches: real frames end to end
        self.graphs = config.speed.graphs and device.type == "cuda"
        if config.speed.compile and device.type == "cuda":
            self.compile(mode="reduce-overhead" if self.graphs else "default")

    def compile(self, **how: Any) -> None:
        """Fuse the kernels of a step by torch.compile, `how` as it takes it: alterations, embedding, blocks, head and
        scores each become few graphs for all lengths, none of them broken.

        PyTorch's compiler is loaded here: at import it would cost every program a second."""
        compiled = partial(torch.compile, dynamic=True, **how)
        if isinstance(self.model.encoder, TransformerEncoder):
            self.model.encoder.compile_parts(compiled)
        self.model.head.forward = compiled(self.model.head.forward)
        self.alter, self.scores = compiled(self.alter), compiled(self.scores)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of a batch, and what is logged beside it."""
        if not self.graphs:
            return self._step(batch, generator)
        torch.compiler.cudagraph_mark_step_begin()
        return {name: value.clone() for name, value in self._step(batch, generator).items()}  # graphs write over theirs

    def _step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        raise NotImplementedError

    def fixed(self, batch: Batch) -> tuple[Batch, list[torch.Generator]]:
        """A batch on the device, long utterances in pieces, and the generators that their ids stand for."""
        batch = batch.to(self.device)
        if self.config.model.max_input_length is not None:
            batch = Segments.of(batch.lengths, self.config.model.max_input_length).split_batch(batch)
        return batch, utterance_generators(batch.ids)

    def layout(self, stacked: Tensor, lengths: Tensor, batch: Batch, packed: bool) -> Packing | Scope | None:
        """How the encoder computes a batch of (stacked) frames [B, T', D]; None of a GRU."""
        encoder, host_lengths = self.model.encoder, self.host_lengths(batch)
        if not isinstance(encoder, TransformerEncoder):
            return None
        if packed:
            return Packing.of(host_lengths, stacked.shape[1], self.device, encoder.causal)
        return Scope(lengths, stacked.shape[1], encoder.causal, host_lengths=host_lengths)

    def host_lengths(self, batch: Batch) -> Tensor:
        """Lengths [B] in (stacked) frames, in host memory."""
        lengths = batch.lengths if batch.host_lengths is None else batch.host_lengths
        rate = self.model.downsample_rate
        return lengths if rate == 1 else (lengths // rate).clamp(min=1)

    def autocast(self):
        """Matrix products as the config says."""
        return autocast(self.device, self.config.trainer.precision)


def frame_scores(prediction: Tensor, truth: Tensor, mask: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Loss over the chosen elements, all [B, T', ...], and the share of real frames that have some."""
    loss = masked_loss(prediction, truth, mask).mean()
    return {"loss": loss, "masked_share": mask.any(-1).sum() / lengths.sum()}


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

    SCORES = staticmethod(frame_scores)

    def _step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        seen = self._prediction(batch, generator, self.packed)
        return self.scores(seen.prediction, seen.truth, seen.mask, seen.lengths)

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
        layout = self.layout(stacked, lengths, batch, packed)
        if self.config.objective == "apc":
            prediction = self._predict(stacked, lengths, layout)
            prediction, known = ahead(prediction, lengths, self.config.apc.time_shift)
            return Prediction(stacked, prediction, stacked, known[..., None].expand_as(stacked), lengths)
        truth = stacked if batch.target is None else self.model.stack(batch.target, batch.lengths)[0]
        altered = alter(stacked, lengths, self.config.masking, generator, apply=self.alter)
        inputs = self.model.hide(altered.inputs, altered.learnt)
        return Prediction(inputs, self._predict(inputs, lengths, layout), truth, altered.mask, lengths)

    def _predict(self, inputs: Tensor, lengths: Tensor, layout: Packing | Scope | None) -> Tensor:
        """The prediction [B, T', D'], zero at padding where that is not computed."""
        predicted = self.model.head(self.model.last_state(inputs, lengths, layout))
        return layout.unpack(predicted) if isinstance(layout, Packing) else predicted
