"""How well a pre-trained model rebuilds its input without masking: what pruning costs, and what attacks raise."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from analysis.robustness import Loss
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.checkpoint import Pretrained
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import stack_frames
from mockingjay.objectives.apc import ahead
from mockingjay.objectives.loss import MaskedLoss, masked_loss
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.batches import real_frames

L1 = "reconstruction L1"


def reconstruction_loss(upstream: PretrainedUpstream, saved: Pretrained) -> Loss:
    """The mean L1 between the features [B, T, D] and what the head of `saved` makes of the upstream's last state, over
    real frames; it has a gradient. A model that predicts frames to come (APC) is measured on those.

    The upstream is that of the checkpoint, whatever is cut of it at the moment. ValueError where the checkpoint holds
    no head, or its head predicts other features than it takes."""
    measured = _of(upstream, saved)
    return lambda features, lengths: measured(features, lengths).mean()


def reconstruction_score(
    upstream: PretrainedUpstream, saved: Pretrained, utterances: UtteranceInputs
) -> Callable[[Upstream], Mapping[str, float]]:
    """A score for pruning: the mean of the same over the real frames of all utterances. Errors as there."""
    measured = _of(upstream, saved)

    @torch.no_grad()
    def score(_: Upstream) -> Mapping[str, float]:
        total, count = 0.0, 0.0
        for _number, inputs in utterances.each():
            loss = measured(inputs, torch.tensor([inputs.shape[1]], device=inputs.device))
            total, count = total + float(loss.total), count + float(loss.count)
        return {L1: total / count}

    return score


def _of(upstream: PretrainedUpstream, saved: Pretrained) -> Callable[[Tensor, Tensor], MaskedLoss]:
    head, rate, limit = saved.model.head, upstream.rate, upstream.max_input_length
    if saved.config.objective == "codes":
        raise ValueError(f"{saved.path}: its head predicts codes: there is no reconstruction")
    if saved.model.target_dim != saved.model.input_dim or saved.target != saved.features:
        raise ValueError(f"{saved.path}: its head predicts other features than it takes: there is no reconstruction")
    head = head.to(next(upstream.parameters()).device).eval()
    _check_head(head, upstream)

    def measured(features: Tensor, lengths: Tensor) -> MaskedLoss:
        if limit is not None and features.shape[1] > limit:
            segments = Segments.of(lengths, limit)
            features, lengths = segments.split(features), segments.lengths
        stacked, lengths = stack_frames(features, lengths, rate)
        prediction = head(upstream.encoder(stacked, lengths)[-1])
        counted = real_frames(lengths, stacked.shape[1])
        if saved.config.objective == "apc":
            prediction, counted = ahead(prediction, lengths, saved.config.apc.time_shift)
        return masked_loss(prediction, stacked, counted[..., None].expand_as(stacked))

    return measured


@torch.no_grad()
def _check_head(head: nn.Module, upstream: PretrainedUpstream) -> None:
    """Raise ValueError where a checkpoint holds the encoder alone."""
    head(next(upstream.parameters()).new_zeros(1, 1, upstream.hidden_size))
