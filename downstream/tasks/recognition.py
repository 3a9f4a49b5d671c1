"""What was said: phones, characters, subwords or words, by connectionist temporal classification (CTC)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.config import DataConfig, DecodeConfig, DownstreamConfig, ProbeConfig
from downstream.decoding.decoder import Decoder, decode_batch, make_decoder
from downstream.decoding.greedy import greedy
from downstream.decoding.lexicon import LexiconDecoder
from downstream.examples import Use, Wholes
from downstream.heads.recognition import Emissions, RecognitionHead
from downstream.labels.texts import TextSource, Transcripts, text_source
from downstream.labels.units import UnitKind
from downstream.metrics.errors import CER, PER, WER, ErrorMetric, RecognitionScore
from downstream.outcomes import Summed, percentage
from downstream.splits import PARTS, Division, Indices
from downstream.tasks.base import UsualTask
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch, real_frames
from utility.error_rate import ErrorCounts, count_all
from utility.loader import Source
from utility.runs import Metric
from utility.text import short

KINDS: dict[str, tuple[UnitKind, Sequence[ErrorMetric]]] = {
    "ctc_phone": ("phone", (PER,)),
    "ctc_char": ("char", (WER, CER)),
    "ctc_subword": ("subword", (WER, CER)),
    "ctc_word": ("word", (WER,)),
}
KEYS = {"phone": {"data.strip_stress"}, "subword": {"data.subword_model"}, "word": {"data.min_count"}, "char": set()}
OTHERS = ("hypothesis", "score")  # columns of the second hypothesis, the third ...
LINEAR, RECURRENT = 256, 1024  # usual widths
LEFT_OUT = 0.01  # of the training utterances: more that are too short are worth a warning


@dataclass(frozen=True)
class Recognition(UsualTask):
    """A task of sequences of units, scored by error rates, of which the first of `metrics` chooses.

    How outputs are read, and how many frames make a step, do not make it another task."""

    name: str
    about: str
    kind: UnitKind
    metrics: Sequence[ErrorMetric]
    uses: Collection[str] = field(compare=False)
    stack: int = field(default=1, compare=False)
    decode: DecodeConfig = field(default_factory=DecodeConfig, compare=False)
    item: str = "utterance"
    loss_label: str = "CTC loss of a unit (nats)"
    division: Division = field(default_factory=lambda: Division("speaker", unknown_speakers=True))

    @property
    def metric(self) -> Metric:
        """The first error rate."""
        return self.metrics[0].metric

    @property
    def columns(self) -> Sequence[str]:
        """Texts and errors; of several hypotheses the scores, and the others."""
        columns = ["reference", "hypothesis", "S", "D", "I"]
        if self.decode.nbest > 1:
            columns += ["score", *(f"{name}_{k}" for k in range(2, self.decode.nbest + 1) for name in OTHERS)]
        return columns

    @property
    def watched(self) -> "Recognition":
        """Read greedily: a search would take longer than the steps between two looks at dev."""
        return replace(self, decode=DecodeConfig())

    @property
    def beside(self) -> Mapping[str, str]:
        """Reference and hypothesis as NIST's sclite reads them."""
        return {"reference.trn": "reference", "hypothesis.trn": "hypothesis"}

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> TextSource:
        """The units of texts, or of an alignment."""
        return text_source(self.name, self.kind, utterances, config)

    def source(self, frames: Source, labels: Transcripts, chosen: Indices, use: Use) -> Wholes:
        """Whole utterances; to train on, those whose units have a step each."""
        if use.training:
            chosen = np.asarray(chosen)[labels.long_enough(chosen, use.probe.stack)]
        return Wholes(frames, labels.codes, chosen, own_length=True)

    def head(self, width: int, labels: Transcripts, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """Linear layers, or with LSTMs between; gives `Emissions`. ValueError where no utterance could train it, or
        its outputs could not be decoded."""
        _decoder(self.decode, labels)
        if not labels.long_enough(labels.train, config.stack).any():
            raise ValueError(
                f"{self.name}: each of the {len(labels.train)} training utterances has fewer steps than units "
                f"(probe.stack={config.stack})"
            )
        recurrent = _head(self.kind, config) == "bilstm"
        usual = RECURRENT if recurrent else LINEAR
        return RecognitionHead(
            width,
            len(labels.units.names),
            stack=config.stack,
            projector=usual if config.projector is None else config.projector,
            hidden=config.hidden_size or RECURRENT,
            layers=config.layers if recurrent else 0,
            dropout=config.dropout,
            generator=generator,
        )

    def loss(self, output: Emissions, batch: Batch, labels: Transcripts) -> Mapping[str, Tensor]:
        """The CTC loss of the batch by its units: it does not depend on how utterances are put together.

        The original's mean over utterances of loss by length does."""
        loss, units = ctc_loss(output, *_target(batch))
        return {"loss": loss / units.clamp(min=1)}

    def score(self, output: Emissions, batch: Batch, labels: Transcripts) -> RecognitionScore:
        """Loss and errors."""
        loss, units = ctc_loss(output, *_target(batch))
        pairs = self._pairs(output, batch, labels)
        errors = {one.metric.key: ErrorCounts.of(_count(one, pairs)) for one in self.metrics}
        decoder, outside = _decoder(self.decode, labels), None
        if isinstance(decoder, LexiconDecoder):
            outside = sum(decoder.outside(reference) for reference, _ in pairs)
        return RecognitionScore(loss.double(), int(units), errors, outside)

    def predictions(self, output: Emissions, batch: Batch, labels: Transcripts) -> Iterable[Sequence[str]]:
        """What was said, what was recognised, and its errors of the first metric; the other hypotheses."""
        pairs = self._pairs(output, batch, labels)
        counts = _count(self.metrics[0], pairs).tolist()
        for (reference, hypothesis), (_, *errors), found in zip(pairs, counts, self._found(output, labels)):
            cells = [reference, hypothesis, *map(str, errors)]
            if self.decode.nbest > 1:
                cells += [cell for text, score in found for cell in (text, f"{score:.4f}")][1:]
            yield cells + [""] * (len(self.columns) - len(cells))

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> Summed:
        """Errors and reference tokens of each utterance."""
        ids, sums = [], []
        for row in rows:
            ids.append(row["id"])
            tokens = self.metrics[0].tokens(row["reference"])
            sums.append((sum(int(row[kind]) for kind in "SDI"), len(tokens)))
        return Summed(ids, np.array(sums, np.float64).reshape(-1, 2), percentage)

    def figures(self, score: RecognitionScore, labels: Transcripts, title: str) -> Mapping[str, Figure]:
        """None."""
        return {}

    def facts(self, labels: Transcripts) -> Mapping[str, object]:
        """The units in the order of the outputs; how many units of dev and test have none; how many training utterances
        are too short; a digest of what was said."""
        return {
            "units": list(labels.units.names),
            "unseen_units": {part: labels.unseen[part] for part in PARTS[1:]},
            "too_short": self._too_short(labels),
            "texts": labels.digest,
        }

    def caution(self, features: FeatureConfig | None) -> None:
        """No kind of features is known to spoil it."""

    def warning(self, labels: Transcripts) -> str | None:
        """Many training utterances that are too short."""
        count, all_of_them = self._too_short(labels), len(labels.train)
        if count <= LEFT_OUT * all_of_them:
            return None
        return (
            f"{count} of {all_of_them} training utterances have fewer steps than units and are left out of training: "
            f"probe.stack={self.stack} frames make a step"
        )

    def _too_short(self, labels: Transcripts) -> int:
        return int((~labels.long_enough(labels.train, self.stack)).sum())

    def _pairs(self, output: Emissions, batch: Batch, labels: Transcripts) -> list[tuple[str, str]]:
        """Reference and hypothesis of each utterance."""
        best = (found[0][0] for found in self._found(output, labels))
        return list(zip(map(labels.reference, batch.ids), best, strict=True))

    def _found(self, output: Emissions, labels: Transcripts) -> list[list[tuple[str, float]]]:
        """The texts of each utterance, best first; the search is made once for a batch."""
        if not output.found:
            decoder = _decoder(self.decode, labels)
            if decoder is None:
                codes = greedy(output.logits, output.lengths)
                output.found = [[(labels.units.text(one), 0.0)] for one in codes]
            else:
                output.found = list(decode_batch(decoder, output.log_probabilities(), output.lengths))
        return output.found


def _decoder(config: DecodeConfig, labels: Transcripts) -> Decoder | None:
    """What searches for texts; None for greedy reading, which takes a whole batch."""
    return None if config.method == "greedy" else _search(config, labels)


@lru_cache(maxsize=1)
def _search(config: DecodeConfig, labels: Transcripts) -> Decoder:
    """Made once, for a language model may be large."""
    words = labels.training_words() if config.method == "lexicon" and config.lexicon is None else None
    return make_decoder(config, labels.units, words)


def ctc_loss(output: Emissions, target: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over utterances of -log p(units), and the number of these units, of a target [B, U] of lengths [B].

    Units without an output, which dev and test may have, are passed over. An utterance with fewer steps than it takes
    adds nothing. Graves et al., "Connectionist temporal classification", ICML 2006."""
    kept = real_frames(lengths, target.shape[1]) & (target >= 0)
    order = kept.int().argsort(dim=1, descending=True, stable=True)  # those with an output first, in their order
    counts = kept.sum(1)
    loss = F.ctc_loss(
        output.log_probabilities().transpose(0, 1),
        target.gather(1, order).clamp(min=0),
        output.lengths,
        counts,
        reduction="sum",
        zero_infinity=True,
    )
    return loss, counts.sum()


def _count(one: ErrorMetric, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Correct tokens, substitutions, deletions, insertions of references and hypotheses, [U, 4]."""
    return count_all((one.tokens(reference), one.tokens(hypothesis)) for reference, hypothesis in pairs)


def _target(batch: Batch) -> tuple[Tensor, Tensor]:
    assert batch.target is not None, "examples have their units"
    assert batch.target_lengths is not None, "and say how many"
    return batch.target, batch.target_lengths


def _head(kind: UnitKind, config: ProbeConfig) -> str:
    return config.head or ("linear" if kind == "phone" else "bilstm")


def task(name: str, config: DownstreamConfig) -> Recognition:
    """One of `KINDS`, as a config wants it; ValueError for what its head has no use for."""
    kind, metrics = KINDS[name]
    probe, decode, head = config.probe, config.decode, _head(kind, config.probe)
    if head not in ("linear", "bilstm"):
        raise ValueError(f"{name}: probe.head={head} gives one answer for an utterance: expected linear or bilstm")
    for key in ("hidden_layers", "context", *(("hidden_size",) if head == "linear" else ())):
        if getattr(probe, key) is not None:
            raise ValueError(
                f"probe.{key}={getattr(probe, key)} would change nothing: {name} with head {head} has none"
            )
    if probe.metric is not None:
        known = [one.metric.key for one in metrics]
        if probe.metric not in known:
            raise ValueError(f"probe.metric={short(probe.metric)}: {name} computes {', '.join(known)}")
        metrics = sorted(metrics, key=lambda one: one.metric.key != probe.metric)
    uses = {f"probe.{key}" for key in ("head", "projector", "stack", "specaug", "metric")} | KEYS[kind]
    uses |= {"probe.layers"} if head == "bilstm" else set()
    uses |= {f"decode.{one.name}" for one in fields(DecodeConfig)}
    decode.check()
    return Recognition(name, TASKS[name], kind, tuple(metrics), frozenset(uses), probe.stack, decode)
