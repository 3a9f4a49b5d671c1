"""What each command is told, typed and frozen: a field for every flag of its modes. It loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mockingjay.upstreams.spec import UpstreamSpec
from utility.precision import Precision

Assume = Mapping[str, Any] | None  # what --assume says of the checkpoint


@dataclass(frozen=True, kw_only=True)
class Train:
    """`--train`; `ckpt` is where `--load` starts from."""

    config: Path | None
    online_config: Path | None
    seed: int | None
    name: str | None
    logdir: Path
    ckpdir: Path
    ckpt: Path | None
    assume: Assume
    resume: bool | Literal["auto"]
    load: bool
    cpu: bool
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Info:
    """`--info` of a checkpoint, or of any upstream; `input` is the store whose features it is given."""

    described: Path | UpstreamSpec
    assume: Assume
    input: Path | None
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Export:
    """`--export`: `export` is the kind of folder."""

    export: str
    ckpt: Path
    assume: Assume
    output: Path | None
    msg: bool
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class OnData:
    """What a model is given to work on; `input` None is the config's data.test."""

    assume: Assume
    input: Path | None
    output: Path | None
    cpu: bool
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Look(OnData):
    """A checkpoint and data that it is given."""

    ckpt: Path


@dataclass(frozen=True, kw_only=True)
class Stored(OnData):
    """How representations are written."""

    layer: str
    format: str
    dtype: Literal["float32", "float16"]
    precision: Precision
    shard: tuple[int, int]
    overwrite: bool


@dataclass(frozen=True, kw_only=True)
class Extract(Stored):
    """`--extract`: of any upstream."""

    upstream: UpstreamSpec
    seed: int
    online_config: Path | None
    statistics: Path | None


@dataclass(frozen=True, kw_only=True)
class OfPoints:
    """What is clustered: the frames of an input, or an upstream's states of them; `upstream` None is neither said."""

    upstream: UpstreamSpec | None
    assume: Assume
    input: Path | None
    output: Path | None
    statistics: Path | None
    cpu: bool
    msg: bool
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Cluster(OfPoints):
    """`--cluster`; `passes` None are those that fit the input."""

    online_config: Path | None
    layer: str
    clusters: int
    stack: int
    restarts: int
    passes: int | None
    precision: Precision
    seed: int


@dataclass(frozen=True, kw_only=True)
class Apply(OfPoints):
    """`--cluster --apply`."""

    apply: Path


@dataclass(frozen=True, kw_only=True)
class Units(OfPoints):
    """`--extract --codes`."""

    codes: Path


@dataclass(frozen=True, kw_only=True)
class Test(Stored, Look):
    """`--test`, which extracts too."""


@dataclass(frozen=True, kw_only=True)
class Plot(Look):
    """`--plot --output_attention`; `alignment` has the phones that are drawn."""

    num: int
    alignment: Path | None


@dataclass(frozen=True, kw_only=True)
class PlotReconstructions(Plot):
    """`--plot --with_head`, of the first utterances or of the `worst`."""

    worst: bool


@dataclass(frozen=True, kw_only=True)
class PlotStates(Plot):
    """`--plot`."""

    layer: str


@dataclass(frozen=True, kw_only=True)
class TestAndPlot(Test):
    """`--test --load --plot`."""

    num: int
    alignment: Path | None


@dataclass(frozen=True, kw_only=True)
class PlotAlterations:
    """`--plot --alterations`: those of a checkpoint, or without one those of a config."""

    ckpt: Path | None
    assume: Assume
    ckpdir: Path
    config: Path | None
    online_config: Path | None
    input: Path | None
    output: Path | None
    num: int
    alignment: Path | None
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """`run_downstream.py --run`; several upstreams, and `each`, are for a curve."""

    run: str
    upstreams: tuple[UpstreamSpec, ...]
    assume: Assume
    layer: str | None
    weighted_sum: bool | None
    fine_tune: bool | None
    config: Path | None
    online_config: Path | None
    seed: int
    seeds: int
    sweep: list[str]
    folds: bool
    each: str | None
    expdir: Path
    logdir: Path
    name: str | None
    resume: str | None
    cpu: bool
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainClassic:
    """The originals' `--train_phone` and the like: `task` and `upstream` in our words."""

    task: str
    upstream: str
    ckpt: Path | None
    assume: Assume
    fine_tune: bool
    config: Path | None
    seed: int | None
    name: str | None
    expdir: Path
    logdir: Path
    resume: bool | Literal["auto"]
    load: bool
    cpu: bool
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TestClassic:
    """The originals' `--test_phone` and the like; `dckpt` is the probe."""

    task: str
    upstream: str
    ckpt: Path | None
    assume: Assume
    dckpt: Path
    fine_tune: bool
    config: Path | None
    cpu: bool
    msg: bool
    dry_run: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Analyse:
    """`run_analysis.py --run`; `everything` is the word all: what cannot be run is skipped."""

    run: tuple[str, ...]
    everything: bool
    upstreams: tuple[UpstreamSpec, ...]
    assume: Assume
    layer: str | None
    controls: bool
    config: Path | None
    online_config: Path | None
    seed: int
    samples: int
    bootstrap: int
    cpu: bool
    dry_run: bool
    expdir: Path
    name: str | None
    resume: str | None
    original_files: bool
    msg: bool
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page of results, or its table."""

    results: Path
    title: str
    baseline: str | None
    against: Path | None
    figures: int
    sound: float
    date: str | None
    format: Literal["html", "md", "csv"]
    output: Path
    logdir: Path


@dataclass(frozen=True, kw_only=True)
class Verify:
    """`--verify` of a page."""

    verify: Path
    results: Path
    share: float
    seed: int
    logdir: Path
