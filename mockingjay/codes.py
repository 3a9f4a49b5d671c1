"""Centroids of an upstream's states, and the store of codes that they give to a corpus."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mockingjay.centroids import NAME, About, Centroids, PointsOf, Search, read_centroids, write_centroids
from mockingjay.encoding import rows_of
from mockingjay.inputs import source_fingerprint
from mockingjay.points import StatePoints
from utility.clustering import Distances, check_enough, find_centroids, kept_in, squared_distances
from utility.clusters import KMeans, nearest
from utility.config import as_dict, build, section
from utility.runs import read_json, write_json
from utility.store.files import SplitFiles, read_info, removed_if_refused, unlike
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

PACKAGES = ("torch", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Corpus:
    """Points of a corpus, what they are of, and where their codes go: `folder/split`."""

    points: StatePoints
    of: PointsOf
    folder: Path
    split: str
    quiet: bool = False

    @property
    def files(self) -> SplitFiles:
        """The files of the codes."""
        return SplitFiles(self.folder, self.split)

    @property
    def search(self) -> Path:
        """The folder of an unfinished search for centroids."""
        return self.folder / "centroids.search"

    @property
    def coding(self) -> Path:
        """The folder of unfinished codes."""
        return self.folder / f"{self.split}.coding"

    @property
    def record(self) -> Path:
        """What is known of finished codes: their source, their inertia."""
        return self.folder / f"{self.split}.json"

    def source(self) -> str:
        """The fingerprint of what the points are computed from."""
        encoding = self.points.encoding
        return source_fingerprint(encoding.upstream, encoding.inputs.corpus, self.folder)


@section
class Coded:
    """Codes that were written: the mean squared distance of a point to its centroid, points, utterances that failed."""

    inertia: float
    frames: int
    failed: int


@torch.inference_mode()
def cluster(corpus: Corpus, how: KMeans, say: Callable[[str], None]) -> tuple[About, Coded]:
    """Find centroids of a corpus, and write them and its codes; ValueError where the folder holds others.

    A run that was killed is continued; one that is finished is told again."""
    check_enough(corpus.points, how)
    source, file = corpus.source(), corpus.folder / NAME
    search = Search(clusters=how.clusters, restarts=how.restarts, passes=how.passes, seed=how.seed, source=source)
    if file.is_file():
        centroids, about = read_centroids(file)
        _check_same(about, search, corpus.of, file)
        coded = write_codes(corpus, centroids)
    else:
        if corpus.files.info.exists() and not corpus.search.exists():
            raise ValueError(f"{corpus.folder} holds another store already: choose another --output")
        settings = {"points": corpus.of.in_words, **as_dict(search), **corpus.of.identity, "sample": how.sample_bytes}
        with kept_in(corpus.search, settings):
            about, coded = _search(corpus, how, search, say)
    shutil.rmtree(corpus.search, ignore_errors=True)
    return about, coded


def _search(corpus: Corpus, how: KMeans, search: Search, say: Callable[[str], None]) -> tuple[About, Coded]:
    """Centroids of a corpus and its codes; the inertia of the last centroids is known when codes are written."""
    found = find_centroids(corpus.points, corpus.search, how, say)
    centroids = Centroids(found.centroids, corpus.of)
    coded = write_codes(corpus, centroids)
    about = About(
        fingerprint=centroids.fingerprint,
        points=corpus.of,
        search=search,
        passes_done=found.passes,
        inertia=coded.inertia,
        total_inertia=coded.inertia * coded.frames,
        frames=coded.frames,
        versions={name: version(name) for name in PACKAGES},
    )
    write_centroids(corpus.folder / NAME, centroids, about)
    return about, coded


@torch.inference_mode()
def write_codes(corpus: Corpus, centroids: Centroids) -> Coded:
    """Write the codes that centroids give to a corpus, or find them there; ValueError where others are.

    Those of a run that was killed are continued."""
    source, files = corpus.source(), corpus.files
    made = {"centroids": centroids.fingerprint, "source": source}
    if files.table.exists() and corpus.record.exists():
        record = read_json(corpus.record)
        if any(record.get(key) != value for key, value in made.items()):
            what = "by other centroids" if record.get("source") == source else "of another input"
            raise ValueError(f"{files} holds codes that were made {what}: choose another --output")
        coded = build(Coded, {key: value for key, value in record.items() if key not in made})
    else:
        info = _info(corpus, centroids)
        if files.info.exists() and unlike(read_info(files.info), info):
            raise ValueError(
                f"{corpus.folder} holds another store, or codes of other centroids: choose another --output"
            )
        with removed_if_refused(files), kept_in(corpus.coding, made):
            coded = _write_codes(corpus, centroids, info)
        write_json(corpus.record, {**made, **as_dict(coded)})
    shutil.rmtree(corpus.coding, ignore_errors=True)
    return coded


def _check_same(about: About, search: Search, of: PointsOf, file: Path) -> None:
    """Raise ValueError where a folder holds centroids of another search."""
    named = {"source": "its input was another"}
    for key in ("clusters", "restarts", "passes", "seed", "source"):
        one, other = getattr(about.search, key), getattr(search, key)
        if one != other:
            reason = named.get(key, f"{key} is {one} there, {other} here")
            raise ValueError(f"{file} is there already: {reason}: choose another --output")
    if about.points.identity != of.identity:
        raise ValueError(
            f"{file} is there already, of {about.points.in_words}, not of {of.in_words}: choose another --output"
        )


def _write_codes(corpus: Corpus, centroids: Centroids, info: StoreInfo) -> Coded:
    """Write what is missing of the codes."""
    points, inputs = corpus.points, corpus.points.inputs
    rows = rows_of(inputs.corpus, points.lengths, inputs.num_samples)
    writer = StoreWriter.open(corpus.folder, corpus.split, rows, info)
    distances = Distances(corpus.coding, len(points.parts))
    pending = np.zeros(len(points.lengths), bool)
    pending[writer.pending()] = True
    for failed in np.flatnonzero((points.lengths == 0) & pending).tolist():
        writer.fail(failed, inputs.reason(failed))
    missing = distances.missing
    parts = [part for part, who in enumerate(points.parts) if missing[part] or pending[who].any()]
    total = int(sum(points.lengths[points.parts[part]].sum() for part in parts))
    with tqdm(total=total, unit="frame", unit_scale=True, disable=corpus.quiet or None) as bar:
        _assign(points, parts, centroids.values.to(points.device), writer, distances, bar)
    assert writer.finish(), "one process does all of it"
    inertia, frames = distances.mean()
    return Coded(inertia=inertia, frames=frames, failed=len(writer.failures()))


def _assign(
    points: StatePoints, parts: list[int], values: torch.Tensor, writer: StoreWriter, distances: Distances, bar: tqdm
) -> None:
    """Write the codes of some parts; a part's distance is noted first, so that finished codes have all of them."""
    failed: dict[int, str] = {}
    made: dict[int, list[np.ndarray]] = {}  # codes of a part, int32
    part, total = -1, 0.0
    for group in points.read(parts, failed.__setitem__):
        if group.part != part:  # what is left of one before belongs to a recording that failed
            part, total, made = group.part, 0.0, {}
        labels = nearest(group.rows, values)
        total += squared_distances(group.rows, values, labels)
        codes, at = labels.to(torch.int32).cpu().numpy()[:, None], 0
        for utterance, _, size in group.spans:
            made.setdefault(utterance, []).append(codes[at : at + size])
            at += size
        bar.update(len(labels))
        if group.last:
            distances.put(part, total, sum(len(codes) for pieces in made.values() for codes in pieces))
            for utterance, pieces in made.items():
                writer.write(utterance, np.concatenate(pieces))
    for utterance, reason in failed.items():
        writer.fail(utterance, reason)
    for part in np.flatnonzero(distances.missing).tolist():
        distances.put(part, 0.0, 0)  # every recording of it failed


def _info(corpus: Corpus, centroids: Centroids) -> StoreInfo:
    encoding, of = corpus.points.encoding, corpus.of
    upstream, given = encoding.upstream, encoding.inputs.corpus.info
    shift, offset = upstream.times(encoding.layers.labels(upstream)[0])
    if upstream.takes == "features" and given.frame_shift > 0:
        shift, offset = given.frame_shift, given.frame_offset
    if shift is not None:
        shift, offset = shift * of.stack, (offset or 0.0) + shift * (of.stack - 1) / 2
    rate = {"sample_rate": upstream.sample_rate} if upstream.takes == "waveform" else {}
    return StoreInfo(
        kind="codes",
        dtype="int32",
        row_shape=[1],
        codes=len(centroids.values),
        frame_shift=math.nan if shift is None else shift,
        frame_offset=offset,
        features=None if upstream.takes == "waveform" else given.features,
        stated=f"{len(centroids.values)} clusters of {of.in_words} (centroids {centroids.fingerprint})",
        audio_root=given.audio_root,
        made_by={
            "centroids": centroids.fingerprint,
            "upstream": of.fingerprint,
            "layers": of.layer,
            "stack": of.stack,
            **rate,
            "checkpoint": of.upstream,
        },
    )
