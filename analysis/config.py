"""The configuration of an analysis; config/analysis.yaml shows every key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import pydantic

from analysis.boundaries import DISTANCES, PROMINENCES, WINDOWS, Distance, Setting, Times
from analysis.boundary_scores import Criterion, Scoring
from analysis.cca import Measure
from analysis.centring import Centring
from analysis.folds import FOLDS, GROUPS, TRIALS
from analysis.sampling import Sampling
from analysis.segments import ORIGINAL_PARTS, Part, Rule
from analysis.similarity import EPSILONS, CcaSettings
from utility.config import section

Group = Literal["utterance", "speaker", "sample"]
Attack = Literal["fgsm", "pgd"]
Objective = Literal["auto", "probe", "reconstruction", "drift"]


@section
class DataConfig:
    """What is looked at."""

    # "store/split" folders; or recordings: tables, folders of audio, single files
    store: list[str] = pydantic.Field(default_factory=list)
    alignment: str | None = None  # phones: a folder written by preprocess_alignment.py
    words: str | None = None  # words, likewise
    unaligned: Literal["error", "leave_out"] = "error"  # utterances that an alignment does not have
    batch_seconds: float = pydantic.Field(40.0, gt=0)  # of audio that goes through an upstream at once
    cache: str | None = None  # pooled states and moments; None: cache/ in the run's folder


@section
class SamplingConfig:
    """Which utterances and tokens are drawn, and which frames a token has."""

    utterances: int = pydantic.Field(500, ge=1)  # of frame experiments
    every: int = pydantic.Field(1, ge=1)  # frame experiments take every so manieth frame
    frames: Rule = "centre"
    phone_part: Part = "middle_third"
    part: Part = "mean"  # of words
    phones_max: int = pydantic.Field(200, ge=1)  # tokens of a phone
    phones_min: int = pydantic.Field(20, ge=1)
    words_max: int = pydantic.Field(15, ge=1)  # tokens of a word
    words_min: int = pydantic.Field(5, ge=1)
    words_frequent: int = pydantic.Field(500, ge=2)  # words, the most frequent ones
    all_words_max: int = pydantic.Field(200, ge=1)  # tokens of a word of an attribute or similarity file
    given: str | None = None  # the folder samples/ of another run: its tokens and utterances are taken

    def __post_init__(self) -> None:
        for key, part in (("phone_part", self.phone_part), ("part", self.part)):
            if self.frames != "centre" and part not in ORIGINAL_PARTS:
                raise ValueError(
                    f"{key}={part} needs frames=centre: frames={self.frames} has {' and '.join(ORIGINAL_PARTS)}"
                )

    @property
    def phones(self) -> Sampling:
        return Sampling(self.phones_max, self.phones_min)

    @property
    def words(self) -> Sampling:
        return Sampling(self.words_max, self.words_min, self.words_frequent)


@section
class CcaConfig:
    """Canonical correlations, and the folds of all experiments that hold samples out."""

    scheme: Literal["standard", "original"] = "standard"
    measure: Measure = "pwcca"
    epsilons: list[pydantic.NonNegativeFloat] = pydantic.Field(default_factory=lambda: list(EPSILONS), min_length=1)
    group: Group = "utterance"  # what is never divided between folds
    folds: int = pydantic.Field(FOLDS, ge=3, le=100)
    trials: int = pydantic.Field(TRIALS, ge=1)
    groups: int = pydantic.Field(GROUPS, ge=0)  # resampled for the interval
    memory_mib: float = pydantic.Field(2048.0, gt=0)  # of all sums at once
    base_layer: str = "0"  # of cca_intra
    map: Literal["cka_debiased", "cka", "svcca"] = "cka_debiased"  # of all pairs of layers, in cka and cca_inter
    filterbank: Literal["kaldi", "original", "store"] = "kaldi"  # of cca_mel for upstreams of waveforms
    weights: Literal["default", "mean"] = "default"  # original scheme: mean averages both views' weights

    def __post_init__(self) -> None:
        if self.trials > self.folds // 2:
            raise ValueError(f"trials is {self.trials}: each takes two of {self.folds} folds for itself")

    @property
    def settings(self) -> CcaSettings:
        return CcaSettings(self.measure, tuple(self.epsilons))


@section
class MiConfig:
    """Clusters and labels."""

    phone_clusters: int | None = pydantic.Field(None, ge=2)  # None: as the tokens allow, at most 500
    word_clusters: int | None = pydantic.Field(None, ge=2)  # None: at most 5000
    phones_max: int = pydantic.Field(1000, ge=1)  # tokens of a phone, of both parts together
    words_max: int = pydantic.Field(100, ge=1)
    train_share: float = pydantic.Field(0.6, gt=0, lt=1)  # of groups (cca.group); the others are scored
    seeds: int = pydantic.Field(3, ge=1)  # of k-means
    standardise: bool = False  # dimensions before k-means; the original does not


@section
class WordsConfig:
    """Files of words, and cosines between vectors."""

    vectors: str | None = None  # lines `word v1 v2 ...`
    agwe: str | None = None  # likewise, or pronunciation
    semantic: str | None = None  # lines `word<TAB>{"property": share, ...}`
    syntactic: str | None = None
    similarity: list[str] = pydantic.Field(default_factory=list)  # files, lines `word1 word2 score`
    pairs: str | None = None  # sentence pairs
    centre: Centring = "mean"  # before a cosine; the plain one is reported beside it
    centre_share: float = pydantic.Field(0.1, gt=0, lt=1)  # of the utterances, whose mean is taken off others


@section
class AwdConfig:
    """Acoustic word discrimination."""

    min_letters: int = pydantic.Field(5, ge=0)
    min_seconds: float = pydantic.Field(0.5, ge=0)
    max_pairs: int = pydantic.Field(10_000_000, ge=2)
    dtw: bool = True
    dtw_pairs: int = pydantic.Field(200_000, ge=2)  # above, pairs are drawn


@section
class AbxConfig:
    """ABX errors of phones."""

    max_size_group: int = pydantic.Field(10, ge=2)  # tokens that are A, B or X in a cell
    max_x_across: int = pydantic.Field(5, ge=1)  # speakers that give the X of the same A and B
    max_tokens: int = pydantic.Field(20_000, ge=2)  # above, pairs of neighbours are drawn


@section
class SegmentationConfig:
    """Word boundaries."""

    scoring: Scoring = "standard"
    times: Times = "centre"
    criterion: Criterion = "r_value"  # by which the setting is chosen on dev utterances
    dev_share: float = pydantic.Field(0.5, gt=0, lt=1)
    distance: Distance | None = None  # None: chosen on dev utterances; with all three nothing is chosen
    window: int | None = pydantic.Field(None, ge=1)
    prominence: float | None = pydantic.Field(None, ge=0)

    @property
    def setting(self) -> Setting | None:
        """The setting, where nothing of it is chosen."""
        if self.distance is None or self.window is None or self.prominence is None:
            return None
        return Setting(self.distance, self.window, self.prominence)

    @property
    def choices(self) -> tuple[Sequence[float], Sequence[int], Sequence[Distance]]:
        """The prominences, windows and distances that are chosen from."""
        return (
            PROMINENCES if self.prominence is None else (self.prominence,),
            WINDOWS if self.window is None else (self.window,),
            DISTANCES if self.distance is None else (self.distance,),
        )


@section
class AttentionConfig:
    """Heads, and blocks of like frames."""

    utterances: int = pydantic.Field(50, ge=2)
    pruning: bool = True  # what cut heads cost in reconstruction; of checkpoints with their head
    step: int | None = pydantic.Field(None, ge=1)  # heads cut at once; None: a sixth of all
    spans: bool = True  # cut spans, too
    # Folders of finished probes (run_downstream.py): what cut heads cost these
    probes: list[str] = pydantic.Field(default_factory=list)
    retrain: bool = True  # a probe is trained again at each step, as in the paper; false: it stays as it is
    retrain_steps: int = pydantic.Field(1000, ge=1)  # updates of such a training, at most

    def __post_init__(self) -> None:
        if self.probes and not self.pruning:
            raise ValueError("attention.probes would change nothing: attention.pruning=false cuts no heads")


@section
class LnsrConfig:
    """Layer-wise noise-to-signal ratios."""

    utterances: int = pydantic.Field(20, ge=2)
    attacks: list[Attack] = pydantic.Field(default_factory=lambda: list(get_args(Attack)), min_length=1)
    sizes: list[pydantic.PositiveFloat] = pydantic.Field(default_factory=lambda: [0.01, 0.1, 1.0], min_length=1)
    steps: int = pydantic.Field(10, ge=1)  # of pgd
    objective: Objective = "auto"  # what attacks raise, of all upstreams alike
    probe: list[str] = pydantic.Field(default_factory=list)  # folders of finished probes, one for each upstream

    def __post_init__(self) -> None:
        if self.probe and self.objective not in ("auto", "probe"):
            raise ValueError(f"lnsr.probe would change nothing: lnsr.objective={self.objective} raises no probe's loss")


@section
class ProbesConfig:
    """Results of run_downstream.py, for layer_weights: result.json files, or folders of them."""

    weighted: list[str] = pydantic.Field(default_factory=list)  # with --weighted_sum
    single: list[str] = pydantic.Field(default_factory=list)  # of a sweep over layer


@section
class UnitsConfig:
    """Codes of frames, for units_phone."""

    # "store/split" folders of codes, perhaps NAME=store/split; those of one name are one curve
    store: list[str] = pydantic.Field(default_factory=list)


@section
class AnalysisConfig:
    """All that shapes an analysis, apart from the flags that name experiments, upstreams and seed."""

    data: DataConfig = pydantic.Field(default_factory=DataConfig)
    sampling: SamplingConfig = pydantic.Field(default_factory=SamplingConfig)
    cca: CcaConfig = pydantic.Field(default_factory=CcaConfig)
    mi: MiConfig = pydantic.Field(default_factory=MiConfig)
    words: WordsConfig = pydantic.Field(default_factory=WordsConfig)
    awd: AwdConfig = pydantic.Field(default_factory=AwdConfig)
    abx: AbxConfig = pydantic.Field(default_factory=AbxConfig)
    segmentation: SegmentationConfig = pydantic.Field(default_factory=SegmentationConfig)
    attention: AttentionConfig = pydantic.Field(default_factory=AttentionConfig)
    lnsr: LnsrConfig = pydantic.Field(default_factory=LnsrConfig)
    probes: ProbesConfig = pydantic.Field(default_factory=ProbesConfig)
    units: UnitsConfig = pydantic.Field(default_factory=UnitsConfig)


def file_of(path: str, key: str) -> Path:
    """A file that a key names; ValueError where it is not there."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{key}: {path} is no file")
    return file
