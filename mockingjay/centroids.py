"""Centroids in a file: the vectors, and of which points they are, so that the same codes can be given to others."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build, differences, section
from utility.files import replace_file
from utility.precision import Precision
from utility.text import cut, parse_json, short

NAME = "centroids.safetensors"
KEY = "mockingjay"  # of the metadata


@section
class PointsOf:
    """Of what points are made: frames of an upstream's layer."""

    upstream: str  # a spec, as it is typed
    assume: dict[str, Any] | None = None  # what was said of a bare checkpoint
    seed: int  # of weights that are drawn
    fingerprint: str  # of the upstream
    layer: int | str | list[int | str | float]
    stack: int = Field(ge=1)  # neighbouring frames side by side
    width: int = Field(ge=1)  # of a point: that of a frame times `stack`
    precision: Precision = "fp32"
    features: FeatureConfig | None = None  # what the upstream takes; None of waveforms
    stated: str | None = None  # features that are not computed here
    stored: str | None = None  # what made the store of states whose rows are the frames

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a point, without the words for it."""
        return {key: value for key, value in as_dict(self).items() if key not in ("upstream", "assume", "seed")}

    @property
    def in_words(self) -> str:
        """What is clustered, for a line."""
        stacked = f", {self.stack} frames stacked" if self.stack > 1 else ""
        what = f"{self.upstream}, layer {self.layer}"
        if self.upstream == "baseline":
            what = f"frames of {self.features.in_words()}" if self.features else self.stated or "frames"
        return f"{what}{stacked}"


@section
class Search:
    """How the centroids were found."""

    clusters: int
    restarts: int
    passes: int  # over all frames, at most
    seed: int
    source: str  # fingerprint of what they were found on


@section
class About:
    """What a file of centroids says of them."""

    format: Literal["mockingjay-centroids-1"] = "mockingjay-centroids-1"
    fingerprint: str
    points: PointsOf
    search: Search
    passes_done: int
    inertia: float  # mean squared distance of a point to its centroid
    total_inertia: float
    frames: int  # points that these are of
    versions: dict[str, str]


@dataclass(frozen=True)
class Centroids:
    """Centroids [K, D], float32, and what they are of."""

    values: Tensor
    points: PointsOf

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the vectors and of what decides a point."""
        digest = hashlib.sha256(json.dumps(self.points.identity, sort_keys=True).encode())
        digest.update(self.values.cpu().contiguous().numpy().astype("<f4").tobytes())
        return digest.hexdigest()[:16]


def write_centroids(file: Path, centroids: Centroids, about: About) -> None:
    """Put centroids in place of `file`, whole or not at all."""
    assert about.fingerprint == centroids.fingerprint, "they are of each other"
    metadata = {KEY: json.dumps(as_dict(about), sort_keys=True)}  # one key: several would come in any order
    replace_file(file, save({"centroids": centroids.values.cpu().contiguous()}, metadata))


def read_centroids(file: Path) -> tuple[Centroids, About]:
    """What `write_centroids` wrote; ValueError for another file, or one that is damaged."""
    if file.is_dir():
        file = file / NAME
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: no such file of centroids: runner_mockingjay.py --cluster --clusters makes one"
        )
    try:
        with safe_open(file, "pt") as content:
            text = (content.metadata() or {}).get(KEY)
            values = content.get_tensor("centroids") if text and "centroids" in content.keys() else None  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{file}: damaged, or no safetensors: {cut(' '.join(str(error).split()))}") from None
    if text is None or values is None:
        raise ValueError(f"{file}: no centroids of runner_mockingjay.py --cluster")
    try:
        about = build(About, parse_json(text))
    except ValueError as error:
        raise ValueError(f"{file}: damaged: {error}") from None
    centroids = Centroids(values, about.points)
    shape = [about.search.clusters, about.points.width]
    if list(values.shape) != shape or values.dtype != torch.float32 or about.fingerprint != centroids.fingerprint:
        raise ValueError(f"{file}: damaged: its centroids are not those that were written: make them again")
    return centroids, about


def check_points(there: PointsOf, here: PointsOf, file: Path, given: str) -> None:
    """Raise ValueError where centroids in `file` are of other points than those of `given`."""
    words = replace(there, upstream=here.upstream, assume=here.assume, seed=here.seed)
    pairs = differences(words, here)
    shown = [
        f"{key} {short(one)} there, {short(other)} here"
        for key, one, other in pairs
        if key not in ("fingerprint", "stored")
    ]
    if pairs:
        reason = "; ".join(shown[:3]) or "the weights, or what made the states, are others"
        raise ValueError(f"{file} holds centroids of {there.in_words}, which {given} does not fit: {reason}")
