"""A number for each utterance: sentiment, quality as listeners hear it ..."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.config import DataConfig, ProbeConfig
from downstream.examples import Examples, Use
from downstream.figures import scatter_figure
from downstream.labels.numbers import NumberLabels, NumberSource, table_numbers
from downstream.metrics.numbers import NUMBER_METRICS, NumberOutcomes, NumberScore
from downstream.splits import Division, Indices
from downstream.tasks.base import UsualTask
from downstream.tasks.classification import ByUtterance, target_of
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.loader import Source
from utility.runs import Metric, defined, with_unit

LOSSES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss}


@dataclass(frozen=True)
class Regression(UsualTask):
    """A task with one number for each utterance, learnt in units of the training part's deviation.

    `chosen` is what dev chooses by, one of `NUMBER_METRICS`, `lowers` the loss, one of `LOSSES`. With `bounds` no
    prediction is beyond them. With `sentiment` its usual accuracies are figures, too."""

    name: str
    about: str
    level: ByUtterance
    division: Division
    uses: Collection[str]
    chosen: str = "mae"
    lowers: str = "mse"
    bounds: tuple[float, ...] = ()
    sentiment: bool = False
    columns: Sequence[str] = ("true", "predicted")

    @property
    def item(self) -> str:
        """What gets a number."""
        return self.level.item

    @property
    def metric(self) -> Metric:
        """Over all utterances at once."""
        return NUMBER_METRICS[self.chosen]

    @property
    def loss_label(self) -> str:
        """In standardised numbers."""
        return f"{NUMBER_METRICS[self.lowers].name} (of standardised labels)"

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> NumberSource:
        """The numbers' source."""
        return table_numbers(self.name, utterances, config, self.bounds)

    def source(self, frames: Source, labels: NumberLabels, chosen: Indices, use: Use) -> Examples:
        """Utterances with their number."""
        return self.level.source(frames, labels, chosen, use)

    def head(self, width: int, labels: NumberLabels, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """One output [B, 1]."""
        return self.level.head(width, 1, config, generator)

    def loss(self, output: Tensor, batch: Batch, labels: NumberLabels) -> Mapping[str, Tensor]:
        """The mean loss of standardised numbers."""
        return {"loss": self._losses(output, batch, labels).mean()}

    def score(self, output: Tensor, batch: Batch, labels: NumberLabels) -> NumberScore:
        """The numbers themselves, and the sum of the losses."""
        loss = float(self._losses(output, batch, labels).double().sum())
        true, predicted = target_of(batch).cpu().numpy(), self._predicted(output, labels).cpu().numpy()
        return NumberScore(loss, (true,), (predicted,), self.sentiment)

    def predictions(self, output: Tensor, batch: Batch, labels: NumberLabels) -> Iterable[Sequence[str]]:
        """True and predicted number, with all digits."""
        for true, predicted in zip(target_of(batch).tolist(), self._predicted(output, labels).tolist()):
            yield repr(true), repr(predicted)

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> NumberOutcomes:
        """The numbers of each utterance."""
        found = [(row["id"], float(row["true"]), float(row["predicted"])) for row in rows]
        true, predicted = (np.array([row[place] for row in found], np.float64) for place in (1, 2))
        return NumberOutcomes([key for key, *_ in found], true, predicted, self.chosen)

    def figures(self, score: NumberScore, labels: NumberLabels, title: str) -> Mapping[str, Figure]:
        """Predictions against true numbers."""
        correlation = with_unit(defined(score.figures()["pearson"]), "")
        return {"scatter": scatter_figure(*score.pairs(), f"{title}\nr = {correlation}")}

    def facts(self, labels: NumberLabels) -> Mapping[str, object]:
        """What labels are standardised by."""
        return {"label_mean": labels.mean, "label_deviation": labels.deviation}

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What spoils a result on plain features."""
        return self.level.caution(features)

    def _predicted(self, output: Tensor, labels: NumberLabels) -> Tensor:
        """Numbers as the labels are, float64 [B]."""
        output = output[:, 0].double()
        if self.bounds:
            low, high = self.bounds
            return (low + high) / 2 + (high - low) / 2 * output.tanh()
        return labels.mean + labels.deviation * output

    def _losses(self, output: Tensor, batch: Batch, labels: NumberLabels) -> Tensor:
        """That of each utterance [B]."""
        standard = (
            (number - labels.mean) / labels.deviation for number in (self._predicted(output, labels), target_of(batch))
        )
        return LOSSES[self.lowers](*standard, reduction="none")
