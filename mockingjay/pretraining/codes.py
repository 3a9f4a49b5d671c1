"""Pre-training on codes: the code of each masked frame is predicted, and how codes and predictions are spread."""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mockingjay.figures.codes import Codes
from mockingjay.model.layout import Packing
from mockingjay.objectives.codes import UNKNOWN, CodePrediction, CodeUse, count_codes
from mockingjay.objectives.masking import alter
from mockingjay.pretraining.step import Generators, NothingToEvaluate, Pretraining
from utility.batches import Batch, real_frames

COLLAPSED = 0.02  # predictions whose perplexity is below this share of that of the codes say next to nothing


def code_scores(logits: Tensor, codes: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Loss and accuracy of logits [N, C, K] of codes [N, C], and the share N of the real frames [B]."""
    seen = CodePrediction(logits, codes)
    loss = seen.loss()
    accuracy = seen.correct() / loss.count.clamp(min=1)
    return {"loss": loss.mean(), "accuracy": accuracy, "masked_share": len(codes) / lengths.sum()}


class CodePretraining(Pretraining):
    """Cross-entropy between the head's logits and the codes of masked frames; other frames get no logits."""

    SCORES = staticmethod(code_scores)

    def _step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        seen = self._prediction(batch, generator, self.packed)
        return self.scores(seen.logits, seen.codes, (batch.lengths // self.model.downsample_rate).clamp(min=1))

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Cross-entropy and accuracy of the masked frames of `batches`, with masks fixed by the utterance ids; and of
        each codebook the share of codes in use, entropy and perplexity of codes and of predictions."""
        self.model.eval()
        total, count, correct = 0.0, 0.0, 0.0
        size, books = self.config.codes.size, self.config.codes.codebooks
        counts = {name: torch.zeros(books, size, dtype=torch.int64) for name in ("codes", "predicted")}
        for batch in batches:
            with self.autocast():
                seen = self._prediction(*self.fixed(batch))
            loss, right = seen.loss(), seen.correct()
            total, count, correct = total + float(loss.total), count + float(loss.count), correct + float(right)
            counts["codes"] += count_codes(seen.codes, size).cpu()
            counts["predicted"] += count_codes(seen.predicted, size).cpu()
        if not count:
            raise NothingToEvaluate
        uses = {name: [CodeUse.of(book) for book in one] for name, one in counts.items()}
        return {"loss": total / count, "accuracy": correct / count, **_figures(uses)}

    @torch.no_grad()
    def codes_in_use(self, batches: Iterable[Batch]) -> list[CodeUse]:
        """How all real frames of `batches` are spread over the codes of each codebook."""
        counts = torch.zeros(self.config.codes.codebooks, self.config.codes.size, dtype=torch.int64)
        for batch in batches:
            batch = batch.to(self.device)
            stacked, lengths = self.model.stack(batch.features, batch.lengths)
            real = real_frames(lengths, stacked.shape[1])
            codes = self._codes(batch, stacked, real.flatten().nonzero()[:, 0])
            counts += count_codes(codes, self.config.codes.size).cpu()
        return [CodeUse.of(book) for book in counts]

    @torch.no_grad()
    def show(self, batch: Batch) -> Codes:
        """The input, the codes and the predictions of a batch of one utterance, masked as in `evaluate`."""
        self.model.eval()
        batch, generators = self.fixed(batch)
        stacked, lengths = self.model.stack(batch.features, batch.lengths)
        inputs, chosen = self._masked(batch, stacked, lengths, generators)
        logits = self.model.head(self.model.last_state(inputs, lengths))
        real = real_frames(lengths, stacked.shape[1])
        where = real.flatten().nonzero()[:, 0]
        masked = torch.zeros_like(real).flatten()
        masked[chosen] = True
        return Codes(
            inputs.flatten(0, 1)[where].cpu().numpy(),
            self._codes(batch, stacked, where).cpu().numpy(),
            logits.flatten(0, 1)[where].argmax(-1).cpu().numpy(),
            masked[where].cpu().numpy(),
            self.model.downsample_rate,
        )

    def _prediction(self, batch: Batch, generator: Generators, packed: bool = False) -> CodePrediction:
        stacked, lengths = self.model.stack(batch.features, batch.lengths)
        layout = self.layout(stacked, lengths, batch, packed)
        inputs, where = self._masked(batch, stacked, lengths, generator)
        states = self.model.last_state(inputs, lengths, layout)
        states = layout.unpack(states) if isinstance(layout, Packing) else states
        return CodePrediction(self.model.head(states.flatten(0, 1)[where]), self._codes(batch, stacked, where))

    def _masked(self, batch: Batch, stacked: Tensor, lengths: Tensor, generator: Generators) -> tuple[Tensor, Tensor]:
        """What the model sees of (stacked) frames [B, T', D], and which of the flat batch are masked, int64 [N]."""
        altered = alter(stacked, lengths, self.config.masking, generator, self.host_lengths(batch), self.alter)
        assert altered.where is not None, "the config hides frames"
        return self.model.hide(altered.inputs, altered.learnt), altered.where

    def _codes(self, batch: Batch, stacked: Tensor, where: Tensor) -> Tensor:
        """The codes [N, codebooks] of the (stacked, unaltered) frames at `where` [N] in the flat batch."""
        if self.model.quantizer is not None:
            truth = stacked if batch.target is None else self.model.stack(batch.target, batch.lengths)[0]
            return self.model.quantizer(truth.flatten(0, 1)[where])
        assert batch.target is not None, "data.target names stores of codes"
        rate, frames = self.model.downsample_rate, stacked.shape[1]
        codes = batch.target[:, (rate - 1) // 2 :: rate][:, :frames]  # of the frame in the middle of each stack
        codes = F.pad(codes, (0, 0, 0, frames - codes.shape[1]), value=UNKNOWN)
        return codes.flatten(0, 1)[where].long()


def _figures(uses: Mapping[str, list[CodeUse]]) -> dict[str, float]:
    """What is logged of each codebook; its number from 1 stands behind the name where there are several."""
    figures: dict[str, float] = {}
    for name, books in uses.items():
        for number, use in enumerate(books, start=1):
            end = f"_{number}" if len(books) > 1 else ""
            figures |= {
                f"{name}_used{end}": use.used,
                f"{name}_entropy{end}": use.entropy,
                f"{name}_perplexity{end}": use.perplexity,
            }
    return figures


def collapse_in(figures: Mapping[str, float]) -> list[str]:
    """Lines for predictions of an evaluation that have collapsed onto few codes."""
    lines = []
    for name, value in figures.items():
        if not name.startswith("predicted_perplexity"):
            continue
        there = figures[name.replace("predicted", "codes")]
        if value < COLLAPSED * there:
            book = f" of codebook {name.rpartition('_')[2]}" if name[-1].isdigit() else ""
            lines.append(
                f"predictions{book} have collapsed: perplexity {value:.1f}, that of the codes is {there:.1f}: early in "
                "training that passes; later lower optimizer.lr, or raise optimizer.warmup"
            )
    return lines
