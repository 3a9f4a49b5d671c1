"""Error rates of recognition, over words, characters or phones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from utility.error_rate import ErrorCounts, as_characters, as_words
from utility.runs import Metric


@dataclass(frozen=True)
class ErrorMetric:
    """An error rate, and what it is of: the tokens of a text."""

    metric: Metric
    tokens: Callable[[str], Sequence[str]]


PER = ErrorMetric(Metric("per", "phone error rate", "%", "lower"), as_words)
WER = ErrorMetric(Metric("wer", "word error rate", "%", "lower"), as_words)
CER = ErrorMetric(Metric("cer", "character error rate", "%", "lower"), as_characters)


@dataclass(frozen=True)
class RecognitionScore:
    """Sums over utterances: the loss (float64) of so many `units`, and the errors of each metric by its key.

    Of words of a list `outside` counts the words of the references that are not in it."""

    loss: Tensor
    units: int
    errors: Mapping[str, ErrorCounts]
    outside: int | None = None

    @property
    def count(self) -> int:
        """Utterances."""
        return next(iter(self.errors.values())).utterances

    def __add__(self, other: "RecognitionScore") -> "RecognitionScore":
        errors = {key: counts + other.errors[key] for key, counts in self.errors.items()}
        outside = None if self.outside is None or other.outside is None else self.outside + other.outside
        return RecognitionScore(self.loss + other.loss, self.units + other.units, errors, outside)

    def figures(self) -> dict[str, float]:
        """The loss of a unit; the rate of each metric in percent, its errors by kind, the tokens of the references, and
        the share of utterances with an error, in percent; of words of a list the share of the references' words that
        are outside."""
        figures = {"loss": float(self.loss) / max(self.units, 1)}
        for key, counts in self.errors.items():
            figures |= {
                key: counts.rate,
                f"{key}_correct": counts.correct,
                f"{key}_substitutions": counts.substitutions,
                f"{key}_deletions": counts.deletions,
                f"{key}_insertions": counts.insertions,
                f"{key}_reference": counts.reference,
                f"{key}_utterances": counts.sentence_rate,
            }
        if self.outside is not None:
            figures["outside"] = 100 * self.outside / max(self.errors["wer"].reference, 1)
        return figures
