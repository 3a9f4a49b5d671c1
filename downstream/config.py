"""The configuration of a probing run; config/downstream.yaml shows every key."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

import pydantic

from downstream.label_modes import COLUMNS, Mode
from utility.audio.online_config import OnlineConfig
from utility.config import section
from utility.precision import Precision
from utility.training.config import TrainerConfig
from utility.training.optimization import OptimizerConfig


def _name(value: Any) -> Any:
    """Names that YAML reads as something else: a number is taken back, of a truth value nobody knows what it was."""
    if isinstance(value, bool):
        raise ValueError("YAML reads yes, no, on, off, true and false as a truth value: put the name in quotes")
    return str(value) if isinstance(value, int | float) else value


HIDDEN_SIZE = 768  # of a hidden layer, where neither config nor task say it
Name = Annotated[str, pydantic.BeforeValidator(_name)]
Strength = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


@section
class DataConfig:
    """Which utterances are used, how they are divided, and how batches are filled."""

    # "store/split" folders; or recordings: tables, folders of audio, single files. A part without any is cut from it.
    # With a list behind it, "store/split@list.txt", only the utterances whose ids are in the file.
    train: list[str] = pydantic.Field(default_factory=list)
    dev: list[str] = pydantic.Field(default_factory=list)
    test: list[str] = pydantic.Field(default_factory=list)
    alignment: str | None = None  # folder written by preprocess_alignment.py; phone tasks need it
    unaligned: Literal["error", "leave_out"] = "error"  # utterances without a label, or not in the store
    label_rule: Literal["time", "index"] = "time"  # a frame's label: that of its centre, or of its number
    labels: str | None = None  # CSV or TSV with labels of utterances; tasks of utterances and speakers take it
    label_column: str | list[str] | None = None  # several: a class of each, or intensities of label_mode emotion
    label_kind: Literal["class", "number"] | None = None  # None: as the task and label_mode have it
    label_mode: Mode | None = None  # classes of numbers, or regression: the numbers themselves
    label_map: dict[Name, Name] = pydantic.Field(default_factory=dict)  # renames labels before anything else
    classes: list[Name] = pydantic.Field(default_factory=list)  # in this order; others are left out
    split_column: str | None = None  # divides: train, dev, test
    group_column: str | None = None  # what a division keeps together instead of the speaker
    fold: Name | None = None  # the group, or speaker, that is the test part
    dev_groups: int = pydantic.Field(0, ge=0)  # of a fold: so many whole groups are dev; 0: dev_share of all others
    split: Literal["auto", "given", "utterance", "speaker", "cpc"] = "auto"
    split_seed: int = pydantic.Field(0, ge=0)  # apart from the run's seed: all seeds see the same parts
    dev_share: float = pydantic.Field(0.1, gt=0, lt=1)
    test_share: float = pydantic.Field(0.1, gt=0, lt=1)
    dev_speakers: list[str] = pydantic.Field(default_factory=list)  # chosen by hand instead of drawn
    test_speakers: list[str] = pydantic.Field(default_factory=list)
    min_utterances: int = pydantic.Field(3, ge=1)  # speakers with fewer are left out of speaker tasks
    label_fraction: float = pydantic.Field(1.0, gt=0, le=1)  # of the training utterances
    text: str | None = None  # folder written by preprocess_text.py; recognition needs it, but where phones are aligned
    lexicon: str | None = None  # pronunciations: the phones of the texts' words
    strip_stress: bool = False  # phones without the digits 0 to 2 behind vowels
    subword_model: str | None = None  # a sentencepiece model
    min_count: int = pydantic.Field(1, ge=1)  # words of the training texts that are rarer are one unit, <unk>
    trials: str | None = None  # pairs of test utterances, "label id id" a line; verification needs it,
    dev_trials: str | None = None  # and these of dev; None: pairs of training speakers that are kept for it
    balance: bool = False  # classes are drawn equally often in training
    max_frames: int | None = pydantic.Field(None, gt=0)  # of a training utterance: a longer one gives a random crop
    cache: str = "data/representations"  # frozen representations are kept here
    cache_dtype: Literal["float32", "float16"] = "float16"
    batch_frames: int = pydantic.Field(2000, gt=0)  # frozen upstream, frame tasks and utterances read whole,
    piece_frames: int = pydantic.Field(50, gt=0)  # drawn in pieces of this many frames
    batch_utterances: int = pydantic.Field(32, gt=0)  # frozen upstream, means of utterances
    fine_tune_frames: int = pydantic.Field(6000, gt=0)  # whole utterances through an upstream of features,
    fine_tune_seconds: float = pydantic.Field(60.0, gt=0)  # or of waveforms

    def __post_init__(self) -> None:
        if self.dev_share + self.test_share >= 1:
            raise ValueError(f"dev_share {self.dev_share} and test_share {self.test_share} leave nothing to train on")
        if self.label_rule != "time" and self.alignment is None:
            raise ValueError(f"label_rule {self.label_rule} would change nothing: data.alignment is not set")
        if self.dev_trials is not None and self.trials is None:
            raise ValueError("dev_trials would change nothing: data.trials names no list for the test part")
        self._check_labels()

    def _check_labels(self) -> None:
        """Refuse keys that another one leaves no use for."""
        names = ("label_column", "label_mode", "label_map", "classes", "split_column", "group_column")
        given = [name for name in names if getattr(self, name)]
        if given and self.labels is None:
            raise ValueError(f"{given[0]} would change nothing: data.labels names no table")
        unlabelled = [name for name in ("label_mode", "label_map", "classes") if name in given]
        if unlabelled and not self.label_columns:
            raise ValueError(f"{unlabelled[0]} would change nothing: data.label_column names no column")
        if self.split_column and (self.dev or self.test):
            raise ValueError("split_column divides train: leave dev and test empty")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names one class twice")
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError("label_column names one column twice")
        if self.label_mode == "emotion" and len(self.label_columns) != COLUMNS:
            raise ValueError(f"label_mode emotion takes {COLUMNS} columns, label_column has {len(self.label_columns)}")
        if self.label_mode == "regression" and self.label_kind == "class":
            raise ValueError("label_mode regression goes with label_kind number")
        if self.label_mode not in (None, "regression") and self.label_kind == "number":
            raise ValueError(f"label_mode {self.label_mode} makes classes: it goes with label_kind class")

    @property
    def label_columns(self) -> list[str]:
        """What `label_column` lists."""
        if self.label_column is None:
            return []
        return [self.label_column] if isinstance(self.label_column, str) else self.label_column


@section
class UpstreamConfig:
    """What of the upstream is probed."""

    # A number (0: what enters the first block, k: the output of block k), a label (T3, C7, P, final), last, average;
    # with weighted_sum a list of these, or all.
    layer: pydantic.NonNegativeInt | str | list[pydantic.NonNegativeInt | str] = "last"
    weighted_sum: bool = False  # softmax over several hidden states (last: all), learnt with the probe
    fine_tune: bool = False  # train the upstream too, at probe.upstream_lr,
    freeze: list[str] | None = None  # but for parts whose names begin so; None: those that its papers leave frozen
    gradient_checkpointing: bool = False  # keep only what enters a block for backward: less memory, more time

    def __post_init__(self) -> None:
        if self.weighted_sum and not self.several and self.layer != "last":
            raise ValueError(f"weighted_sum takes all layers, or a list; it does not go with layer {self.layer}")
        for name in ("freeze", "gradient_checkpointing"):
            if getattr(self, name) and not self.fine_tune:
                raise ValueError(f"{name} would change nothing: without fine_tune all of the upstream stays as it is")

    @property
    def parts(self) -> Sequence[int | str]:
        """What `layer` lists, a number, label or word each."""
        listed = self.layer if isinstance(self.layer, list) else [self.layer]
        return [part for one in listed for part in (one.split(",") if isinstance(one, str) else [one])]

    @property
    def several(self) -> bool:
        """Whether `layer` says that more than one hidden state is read."""
        return len(self.parts) > 1 or self.layer == "all"


@section
class SpecAugConfig:
    """Stretches of states that training does not see, as many as drawn (Park et al. 2019, without the warp)."""

    time: int = pydantic.Field(2, ge=0, le=100)  # stretches of frames,
    time_width: int = pydantic.Field(40, ge=0)  # each 0 to so many
    dims: int = pydantic.Field(4, ge=0, le=100)  # bands of dimensions,
    dims_width: int = pydantic.Field(50, ge=0)  # each 0 to so many


@section
class DecodeConfig:
    """How outputs of recognition become units and words."""

    method: Literal["greedy", "beam", "lexicon"] = "greedy"
    beam: int = pydantic.Field(100, ge=1)  # hypotheses that are kept
    threshold: float = pydantic.Field(50.0, gt=0)  # a hypothesis so far below the best one is dropped
    lexicon: str | None = None  # words, one a line; None: those of the training texts
    lm: str | None = None  # an ARPA file, or KenLM's own
    lm_weight: float = 1.0  # in flashlight's sense: log10 scores of the LM beside natural logarithms
    word_score: float = 0.0  # added for each word
    nbest: int = pydantic.Field(1, ge=1)  # hypotheses that are written

    def check(self) -> None:
        """Raise ValueError for a key that is set, and that the chosen method has no use for."""
        searched = ("beam", "threshold", "nbest")
        used = {"greedy": (), "beam": searched, "lexicon": (*searched, "lexicon", "lm", "word_score")}[self.method]
        used = used if self.lm is None else (*used, "lm_weight")
        usual = DecodeConfig()
        for name in ("beam", "threshold", "lexicon", "lm", "lm_weight", "word_score", "nbest"):
            value = getattr(self, name)
            if name not in used and value != getattr(usual, name):
                needs = "decode.lm is not set" if name == "lm_weight" else f"decode.method is {self.method}"
                raise ValueError(f"decode.{name}={value} would change nothing: {needs}")


@section
class ProbeConfig:
    """The classifier."""

    hidden_size: int | None = pydantic.Field(None, gt=0, le=1 << 20)  # of each hidden layer; None: as the head has it
    hidden_layers: Literal[0, 1, 2] | None = None  # ReLU behind each; None: as the task has it
    context: int | None = pydantic.Field(None, gt=0, le=999)  # frames side by side, odd; None: as the task has it
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)  # before linear layers; of recurrent heads behind their layers
    upstream_lr: float = pydantic.Field(1e-4, gt=0)  # rate of the upstream's own weights with fine_tune
    solver: Literal["sgd", "exact"] = "sgd"  # exact: the optimum of a linear head, without a rate
    l2: list[Strength] = pydantic.Field(default_factory=list)  # exact: dev chooses
    head: Literal["linear", "bilstm", "gru"] | None = None  # None: as the task has it
    projector: int | None = pydantic.Field(None, ge=0, le=1 << 20)  # width of a linear layer in front; 0: none
    pool: Literal["mean", "statistics", "attention"] | None = None  # frames -> utterance; None: as the task has it
    layers: int = pydantic.Field(2, gt=0, le=16)  # of a recurrent head
    stack: int = pydantic.Field(1, gt=0, le=64)  # frames that make one step of recognition
    skip: int | None = pydantic.Field(None, gt=0)  # a GRU reads every so many frames; None: as the task has it
    loss: Literal["mse", "mae"] | None = None  # of numbers
    metric: str | None = None  # that dev chooses by, of those that the task computes; None: its first
    bounds: list[float] = pydantic.Field(default_factory=list)  # lowest and highest number that can be predicted
    specaug: SpecAugConfig | None = None  # masks of the states in training
    center: bool = True  # asv_cosine: embeddings get mean 0 and deviation 1 over the training utterances

    def __post_init__(self) -> None:
        if self.context is not None and self.context % 2 == 0:
            raise ValueError(
                f"context is {self.context}: expected an odd number of frames, the middle one is classified"
            )
        if self.bounds and not (len(self.bounds) == 2 and self.bounds[0] < self.bounds[1]):
            raise ValueError(f"bounds are {self.bounds}: expected the lowest and the highest number, as [1, 5]")
        if len(set(self.l2)) < len(self.l2):
            raise ValueError("l2 names one strength twice")

    def hidden(self, usual: int, size: int = HIDDEN_SIZE) -> list[int]:
        """Widths of the hidden layers, where a task usually has so many of that size."""
        width = size if self.hidden_size is None else self.hidden_size
        return [width] * (usual if self.hidden_layers is None else self.hidden_layers)


@section
class ProbeOptimizer(OptimizerConfig):
    """The originals probe with Adam at 4e-3: `adamw` without decay is Adam."""

    lr: float = pydantic.Field(4e-3, gt=0)
    warmup: float = pydantic.Field(0.05, ge=0, lt=1)
    weight_decay: float | None = pydantic.Field(0.0, ge=0)
    clip: float = pydantic.Field(5.0, gt=0)


@section
class ProbeTraining(TrainerConfig):
    """Shorter than pre-training, in fp32, stopped when dev no longer gains."""

    steps: int | None = pydantic.Field(3000, ge=1)
    precision: Precision = "fp32"
    log_every: int = pydantic.Field(20, ge=1)
    eval_every: int = pydantic.Field(200, ge=1)
    save_every: int = pydantic.Field(1000, ge=1)
    max_keep: int = pydantic.Field(1, ge=1)
    patience: int | None = pydantic.Field(5, ge=1)


@section
class DownstreamConfig:
    """All that shapes a probing run, apart from the flags that name task, upstream and seed."""

    data: DataConfig = pydantic.Field(default_factory=DataConfig)
    upstream: UpstreamConfig = pydantic.Field(default_factory=UpstreamConfig)
    probe: ProbeConfig = pydantic.Field(default_factory=ProbeConfig)
    decode: DecodeConfig = pydantic.Field(default_factory=DecodeConfig)
    optimizer: ProbeOptimizer = pydantic.Field(default_factory=ProbeOptimizer)
    trainer: ProbeTraining = pydantic.Field(default_factory=ProbeTraining)

    def __post_init__(self) -> None:
        if self.upstream.several and not self.upstream.weighted_sum and self.probe.solver != "exact":
            layer = ",".join(map(str, self.upstream.parts))
            raise ValueError(
                f"upstream.layer {layer} is several hidden states: choose one, or add --weighted_sum, or "
                "probe.solver=exact, which solves for one after the other"
            )


@section
class CurveConfig:
    """What a file of --config may say in the place of flags; a flag that is typed wins."""

    each: str | None = None  # --each
    upstreams: list[str] = pydantic.Field(default_factory=list)  # an --upstream each
    seeds: int | None = pydantic.Field(None, ge=1)  # --seeds


@section
class ConfigFile(DownstreamConfig):
    """A file of --config."""

    curve: CurveConfig = pydantic.Field(default_factory=CurveConfig)

    @property
    def config(self) -> DownstreamConfig:
        """What of it shapes a run."""
        return DownstreamConfig(**{field.name: getattr(self, field.name) for field in fields(DownstreamConfig)})


@section
class OnlineFile:
    """`--online_config`: what recordings are read as where the upstream does not say it, as pre-training from audio
    says it; its `data` is laid over that of the run."""

    online: OnlineConfig
    data: dict[str, Any] = pydantic.Field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.online.noise_proportion > 0:
            raise ValueError("online.noise_proportion: recordings are heard as they are: leave it out, or say 0")
