"""The trainer's config; apart from the trainer, so that who only reads a checkpoint does not load it."""

from typing import Literal

import pydantic

from utility.config import section
from utility.precision import Precision


@section
class TrainerConfig:
    """Length and rhythm of a run; all but `epochs` counted in optimiser updates."""

    steps: int | None = pydantic.Field(500_000, ge=1)  # None where `epochs` says how long
    epochs: int | None = pydantic.Field(None, ge=1, le=1_000_000)  # passes over the training data
    accumulation: int = pydantic.Field(1, ge=1)  # batches per update
    # Of matrix products; weights, losses, optimiser stay fp32. tf32: 10 bits of mantissa on CUDA, fp32 elsewhere.
    precision: Precision = "bf16"
    # Of several processes, where their network is slow: average gradients while backward still computes others, and
    # send them as bf16. Neither changes what a representation is: fingerprints do not name them.
    reduce_overlap: bool = pydantic.Field(False, repr=False)
    reduce_dtype: Literal["fp32", "bf16"] = pydantic.Field("fp32", repr=False)
    log_every: int = pydantic.Field(100, ge=1)
    eval_every: int = pydantic.Field(5000, ge=1)
    save_every: int = pydantic.Field(5000, ge=1)
    max_keep: int = pydantic.Field(2, ge=1)  # step checkpoints kept; the best on dev is kept apart
    patience: int | None = pydantic.Field(None, ge=1)  # stop after so many evaluations without a better one

    def __post_init__(self) -> None:
        """Exactly one of steps and epochs counts; steps left at their default count as not given."""
        usual = type(self).steps
        if self.epochs is not None and self.steps not in (None, usual):
            raise ValueError(f"steps {self.steps} and epochs {self.epochs} both say how long: set one of them to null")
        object.__setattr__(self, "steps", None if self.epochs is not None else self.steps or usual)
