"""Find centroids of frames or hidden states, give codes to corpora by them, and write codes as units in text."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from commands.common import check_output, parse_layers, say
from commands.dry_run import print_extraction
from commands.settings import Apply, Assume, Cluster, Extract, Units
from commands.upstreams import Opened, open_upstream
from mockingjay.centroids import NAME, Centroids, PointsOf, check_points, read_centroids
from mockingjay.codes import Coded, Corpus, cluster, write_codes
from mockingjay.encoding import Encoding
from mockingjay.inputs import Inputs
from mockingjay.points import StatePoints
from mockingjay.upstreams.selection import LayerSelection
from mockingjay.upstreams.spec import UpstreamSpec
from utility.clusters import KMeans
from utility.locks import held
from utility.precision import Precision
from utility.store.files import SplitFiles, read_info, split_name
from utility.store.lists import without_list
from utility.store.reading import Store
from utility.store.units import check_words, write_units

DATA = Path("data")
ELSEWHERE = "wait until it ends, or choose another --output"
PASSES, PASSES_OF_UPSTREAM = 10, 0
BASELINE = UpstreamSpec("baseline", word="baseline")


@dataclass(frozen=True)
class _Given:
    """What makes points of states: said by a search's flags, or by centroids."""

    stack: int
    precision: Precision
    seed: int
    assume: Assume


def find(settings: Cluster) -> int:
    """`--cluster --clusters K`: centroids and the codes of their corpus; 1 when some recordings could not be used."""
    spec = settings.upstream or BASELINE
    passes = settings.passes
    if passes is None:
        passes = PASSES if settings.upstream is None else PASSES_OF_UPSTREAM
    how = KMeans(settings.clusters, settings.restarts, passes, settings.seed)
    layers = parse_layers(settings.layer)
    opened = open_upstream(
        _extraction(settings, spec, settings.seed, layer=settings.layer, precision=settings.precision)
    )
    folder = settings.output or _default_folder(spec, settings)
    check_output(folder, settings.dry_run)
    given = _Given(settings.stack, settings.precision, settings.seed, settings.assume)
    corpus = _corpus(opened, spec, layers, folder, not settings.msg, given)
    if settings.dry_run:
        return _print_plan(opened, corpus, how)
    with held(folder, ELSEWHERE):
        about, coded = cluster(corpus, how, lambda text: say(settings.msg, text))
    say(
        settings.msg,
        f"{folder / NAME}: {how.clusters} centroids of {about.points.in_words}; {about.passes_done} passes; inertia "
        f"{about.inertia:.6g} per point, {about.total_inertia:.6g} of {about.frames} points",
    )
    return _told(corpus, coded, settings.msg)


def apply(settings: Apply) -> int:
    """`--cluster --apply CENTROIDS`: the codes of another corpus; 1 when some recordings could not be used."""
    corpus, centroids, opened = _applied(settings, settings.apply)
    if settings.dry_run:
        return _print_plan(opened, corpus, None)
    with held(corpus.folder, ELSEWHERE):
        coded = write_codes(corpus, centroids)
    say(settings.msg, f"inertia {coded.inertia:.6g} per point")
    return _told(corpus, coded, settings.msg)


def units(settings: Units) -> int:
    """`--extract --codes CENTROIDS`: codes as text, with and without repeats; of a store of codes, or of a corpus."""
    split, _ = without_list(str(settings.input))
    info = SplitFiles(split.parent, split_name(split.name)).info if split.name else None
    if info is not None and info.is_file() and read_info(info).kind == "codes":
        return _units_of_codes(settings)
    corpus, centroids, opened = _applied(settings, settings.codes)
    if settings.dry_run:
        return _print_plan(opened, corpus, None)
    with held(corpus.folder, ELSEWHERE):
        check_words(opened.corpus.ids)
        coded = write_codes(corpus, centroids)
        store = Store([corpus.folder / corpus.split], codes=True)
        say(settings.msg, write_units(store, corpus.folder / corpus.split))
    return _told(corpus, coded, settings.msg)


def _units_of_codes(settings: Units) -> int:
    """Units of a store of codes, which must be those of the centroids."""
    for flag, value in (("--upstream", settings.upstream), ("--statistics", settings.statistics)):
        if value is not None:
            raise ValueError(f"--input {settings.input} holds codes already: leave {flag} {value} out")
    assert settings.input is not None, "it was seen to hold codes"
    centroids, _ = read_centroids(settings.codes)
    store = Store([settings.input], codes=True)
    if store.info.made_by.get("centroids") != centroids.fingerprint:
        raise ValueError(f"--input {settings.input} holds codes of other centroids than {settings.codes}")
    folder = settings.output or store.paths[0].parent
    check_output(folder, settings.dry_run)
    if settings.dry_run:
        print(f"{len(store)} utterances of codes; dry run: nothing is written; the output would go to {folder}")
        return 0
    with held(folder, ELSEWHERE):
        say(settings.msg, write_units(store, folder / store.paths[0].name))
    return 0


def _applied(settings: Apply | Units, file: Path) -> tuple[Corpus, Centroids, Opened]:
    """The corpus of `--input` as the points that centroids are of; ValueError where it does not fit."""
    centroids, about = read_centroids(file)
    points = about.points
    spec = settings.upstream or UpstreamSpec.parse(points.upstream)
    if settings.upstream is None and spec.of_checkpoint and not Path(spec.source).exists():
        raise ValueError(f"{file} is of {spec}, which is not there any more: say by --upstream where it is now")
    assume = points.assume if settings.assume is None and settings.upstream is None else settings.assume
    extraction = _extraction(settings, spec, points.seed, assume=assume, precision=points.precision)
    which: Any = tuple(points.layer) if isinstance(points.layer, list) else points.layer
    opened = open_upstream(extraction, points.features)
    folder = settings.output or (file if file.is_dir() else file.parent)
    check_output(folder, settings.dry_run)
    given = _Given(points.stack, points.precision, points.seed, assume)
    corpus = _corpus(opened, spec, LayerSelection(which), folder, not settings.msg, given)
    check_points(points, corpus.of, file, f"--input {settings.input}")
    return corpus, centroids, opened


def _extraction(settings: Cluster | Apply | Units, spec: UpstreamSpec, seed: int, **more: object) -> Extract:
    """What `--extract` would be told of the same upstream and input."""
    if settings.input is None:
        raise ValueError("which frames? add --input, a store/split, or a table or folder of recordings")
    told = {
        "upstream": spec,
        "seed": seed,
        "input": settings.input,
        "output": settings.output,
        "assume": settings.assume,
        "online_config": settings.online_config if isinstance(settings, Cluster) else None,
        "statistics": settings.statistics,
        "layer": "last",
        "format": "npy",
        "dtype": "float32",
        "precision": "fp32",
        "shard": (0, 1),
        "overwrite": False,
        "cpu": settings.cpu,
        "msg": settings.msg,
        "dry_run": settings.dry_run,
        "overrides": (),
    }
    return Extract(**(told | more))  # type: ignore[arg-type]


def _corpus(
    opened: Opened, spec: UpstreamSpec, layers: LayerSelection, folder: Path, quiet: bool, given: _Given
) -> Corpus:
    """The points of an opened upstream, and where their codes go; ValueError where they cannot be clustered."""
    upstream, info = opened.upstream, opened.corpus.info
    if layers.several:
        raise ValueError("centroids are of one vector per frame, and --layer names several: choose one layer")
    if given.stack < 1:
        raise ValueError(f"--stack {given.stack}, expected 1 or more")
    inputs = Inputs(upstream, opened.corpus, layers.labels(upstream)[0])
    points = StatePoints(Encoding(upstream, inputs, layers, given.precision), given.stack)
    waves = upstream.takes == "waveform"
    made = [f"{key} {info.made_by.get(key)}" for key in ("upstream", "layers")]
    of = PointsOf(
        upstream=str(replace(spec, name="")),
        assume=None if given.assume is None else dict(given.assume),
        seed=given.seed,
        fingerprint=upstream.fingerprint,
        layer=layers.canonical(upstream).plain(),
        stack=given.stack,
        width=points.width,
        precision=given.precision,
        features=None if waves else info.features,
        stated=None if waves else info.stated,
        stored=", ".join(made) if info.kind == "representation" and not waves else None,
    )
    source = without_list(opened.paths[0])[0]
    split = split_name(Path(os.path.abspath(source)).stem)
    if (folder / split).resolve() == source.resolve():
        raise ValueError(f"--output {folder} is the store of the input: choose another")
    return Corpus(points, of, folder, split, quiet)


def _default_folder(spec: UpstreamSpec, settings: Cluster) -> Path:
    """`data/<store or upstream>_codes`; of a checkpoint the name of its run."""
    given = Path(os.path.abspath(without_list(str(settings.input))[0])) if settings.input else Path()
    name = given.parent.name if given.with_name(f"{given.name}.csv").is_file() else given.stem
    if settings.upstream is not None:
        name = Path(os.path.abspath(spec.source)).parent.name if spec.of_checkpoint and not spec.name else spec.label
    return DATA / f"{split_name(name)}_codes"


def _print_plan(opened: Opened, corpus: Corpus, how: KMeans | None) -> int:
    of = corpus.of
    print_extraction(opened, corpus.folder)
    clusters = f"{how.clusters} clusters of " if how else ""
    print(f"{clusters}{int(corpus.points.lengths.sum())} points of {of.width} numbers: {of.in_words}")
    return 0


def _told(corpus: Corpus, coded: Coded, msg: bool) -> int:
    """Say where the codes are; 1 when some recordings could not be used."""
    store = Store([corpus.folder / corpus.split], codes=True)
    say(
        msg,
        f"{len(store)} utterances, {int(store.lengths.sum())} codes below {store.info.codes} in "
        f"{corpus.folder / corpus.split}",
    )
    if coded.failed:
        print(f"{coded.failed} recordings not used, see {corpus.files.errors}", file=sys.stderr)
    return int(coded.failed > 0)
