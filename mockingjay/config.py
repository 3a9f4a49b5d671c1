"""The pre-training config: the sections of the other modules, and the data."""

from dataclasses import field
from typing import Literal

import pydantic

from mockingjay.model.gru import GruConfig
from mockingjay.model.transformer import TransformerConfig
from mockingjay.objectives.apc import ApcConfig
from mockingjay.objectives.codes import CodesConfig
from mockingjay.objectives.masking import MaskingConfig
from utility.audio.online_config import OnlineConfig
from utility.config import section
from utility.loader import LoaderConfig
from utility.training.config import TrainerConfig
from utility.training.optimization import OptimizerConfig


@section
class DataConfig:
    """Which stores are read; each entry is a store and a split of it, as in `data/libri_mel160/train-clean-360`.

    With a section `online` each is a table by `preprocess/generate_len_for_bucket.py`, or a folder of audio."""

    train: list[str] = field(default_factory=list)
    dev: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)  # `duo_feature`: what is predicted, paired by utterance id


@section
class PretrainLoader(LoaderConfig):
    """Batches of about six utterances, as in the originals, in few shapes."""

    max_frames: int | None = pydantic.Field(1500, gt=0)
    pad_multiple: int = pydantic.Field(64, ge=1, le=100_000)


@section
class SpeedConfig:
    """How training computes; only `residual` changes what is computed, by rounding."""

    # Real frames end to end instead of padded batches, on CUDA: true, false, or null for Transformers' default, true.
    packed: bool | None = None
    compile: bool = False  # kernels fused by torch.compile, made in the first steps; on CUDA
    graphs: bool = False  # with compile: a CUDA graph for each padded shape, where batches are small
    recompute: bool = False  # keep only the input of each block for backward: less memory, more time; on CPUs too
    # Precision in which states go from block to block under trainer.precision bf16: bf16 moves half the bytes.
    residual: Literal["fp32", "bf16"] = "fp32"


@section
class PretrainConfig:
    """Everything `runner_mockingjay.py` takes from a YAML file."""

    data: DataConfig = field(default_factory=DataConfig)
    online: OnlineConfig | None = None  # train straight from audio
    loader: PretrainLoader = field(default_factory=PretrainLoader)
    # Rebuild what is altered, or predict what comes, or the codes of masked frames.
    objective: Literal["masked", "apc", "codes"] = "masked"
    encoder: Literal["transformer", "gru"] = "transformer"  # under `apc` the transformer only looks back
    model: TransformerConfig = field(default_factory=TransformerConfig)
    gru: GruConfig = field(default_factory=GruConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    apc: ApcConfig = field(default_factory=ApcConfig)
    codes: CodesConfig = field(default_factory=CodesConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval_batches: int = pydantic.Field(50, ge=1)  # batches of the dev set that each evaluation reads

    def __post_init__(self) -> None:
        if self.encoder == "gru" and self.objective != "apc":
            raise ValueError("encoder 'gru' only looks back and cannot rebuild masked frames: set objective 'apc'")
        if self.encoder == "gru" and (self.speed.packed or self.speed.recompute or self.speed.residual == "bf16"):
            raise ValueError(
                "speed.packed, speed.recompute and speed.residual are for Transformers: leave them out with encoder "
                "'gru'"
            )
        if self.speed.graphs and (self.speed.packed or not self.speed.compile or self.trainer.accumulation > 1):
            raise ValueError(
                "speed.graphs goes with speed.compile true, and neither with speed.packed true nor with "
                "trainer.accumulation"
            )
        if self.speed.residual == "bf16" and self.trainer.precision != "bf16":
            raise ValueError(
                f"speed.residual bf16 goes with trainer.precision bf16, not {self.trainer.precision}: set one of them"
            )
        if self.objective == "apc" and self.data.target:
            raise ValueError("objective 'apc' predicts its own input: data.target must be empty")
        if self.objective == "codes" and not self.masking.hides_frames:
            raise ValueError(
                "objective 'codes' predicts masked frames: masking.proportion or masking.start_probability must be "
                "above 0"
            )
        if self.online is not None and self.data.target and not self.predicts_stored_codes:
            raise ValueError("online.target says what is predicted: data.target must be empty")
        if self.online is not None and self.online.target and self.predicts_stored_codes:
            raise ValueError("codes.source 'store': data.target says what is predicted: online.target must be null")
        if self.online is not None and self.objective == "apc" and (self.online.target or self.online.noise_proportion):
            raise ValueError("objective 'apc' predicts its own input: no online.target, and online.noise_proportion 0")

    @property
    def packs(self) -> bool:
        """Whether training batches are packed where the device can."""
        by_default = self.encoder == "transformer" and not self.speed.graphs
        return by_default if self.speed.packed is None else self.speed.packed

    @property
    def predicts_stored_codes(self) -> bool:
        """Whether `data.target` names stores of codes."""
        return self.objective == "codes" and self.codes.source == "store"

    @property
    def hides_behind_a_vector(self) -> bool:
        """Whether the model has a learnt vector that stands in place of hidden frames."""
        return self.objective != "apc" and self.masking.fill == "learnt" and self.masking.hides_frames
