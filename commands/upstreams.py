"""Open an upstream in words together with what it is given: a store, or recordings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from commands.chosen import draws_weights
from commands.common import open_model, read_online, say, test_paths
from commands.settings import Extract, Stored
from mockingjay.checkpoint import Pretrained, check_features
from mockingjay.foreign.assumptions import FLAG, in_words
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.spec import UpstreamSpec
from utility.audio.feature_config import FeatureConfig
from utility.audio.headers import unread_media, unread_note
from utility.device import claim_device, pick_device
from utility.store.lists import without_list
from utility.store.reading import Store, is_split, splits_in
from utility.store.recordings import Recordings

OF_NO_FEATURES = "which features? name a store, or say by --online_config YAML which to compute (config/online.yaml)"


@dataclass(frozen=True)
class Opened:
    """An upstream, its data, and what its representations say of their maker."""

    upstream: Upstream
    corpus: Store | Recordings
    paths: Sequence[str]
    source: str  # a checkpoint or a spec, in words
    pretrained: Pretrained | None  # where the upstream is of a checkpoint of ours


def open_upstream(settings: Extract, features: FeatureConfig | None = None) -> Opened:
    """The upstream of `--extract` and its data; ValueError where they do not fit, before any work.

    `features` are those of recordings where neither upstream nor `--online_config` says it."""
    spec = settings.upstream
    if settings.online_config is not None:
        features = read_online(settings.online_config).online.input
    if spec.of_checkpoint:
        pretrained = open_model(Path(spec.source), settings.overrides, settings.assume)
        return open_pretrained(pretrained, spec, settings, settings.seed, features)
    if settings.overrides:
        raise ValueError(f"{settings.overrides[0]} would change nothing: --upstream {spec} is no checkpoint of ours")
    if settings.input is None:
        raise ValueError(
            f"--upstream {spec} brings no test set: add --input, a store/split, or a table or folder of recordings"
        )
    paths, device = [str(settings.input)], _device(settings)
    if _is_stored(paths[0]):
        corpus: Store | Recordings = _store(paths, settings)
        upstream = load_upstream(spec, info=corpus.info, seed=settings.seed, device=device)
        _check_fits(upstream, corpus.info.features, paths[0])
    else:
        upstream, corpus = _with_recordings(spec, paths, features, settings, device)
    return Opened(upstream, corpus, paths, _in_words(spec, settings.seed), None)


def open_pretrained(
    pretrained: Pretrained, spec: UpstreamSpec, settings: Stored, seed: int, features: FeatureConfig | None = None
) -> Opened:
    """An opened checkpoint as the upstream that `spec` says, and its data.

    `features` are those of recordings where the checkpoint does not say which it takes."""
    paths = test_paths(settings, pretrained.config)
    of_config = settings.input is None and pretrained.config.online is None  # where stores are what is usual
    if _is_stored(paths[0]) or (of_config and not without_list(paths[0])[0].exists()):
        corpus: Store | Recordings = _store(paths, settings)
    else:
        corpus = _recordings(paths, _features(pretrained, spec, features), settings)
    upstream = load_upstream(
        replace(spec, source=""), pretrained, info=corpus.info, seed=seed, device=_device(settings)
    )
    source = _in_words(spec, seed)
    if settings.assume:
        source += f" {FLAG} {in_words(settings.assume)}"
    return Opened(upstream, corpus, paths, source, pretrained)


def _device(settings: Stored) -> torch.device:
    """Where states are computed; ValueError for a precision that is not there."""
    if settings.precision == "tf32" and pick_device(settings.cpu).type != "cuda":
        raise ValueError("precision tf32 needs a GPU, and this would run on a CPU: take fp32 or bf16 (--precision)")
    return claim_device(settings.cpu, "tf32" if settings.precision == "tf32" else "fp32")  # bf16 is autocast's work


def _is_stored(path: str) -> bool:
    return is_split(path) or bool(splits_in(without_list(path)[0]))


def _store(paths: Sequence[str], settings: Stored) -> Store:
    if isinstance(settings, Extract) and settings.online_config is not None:
        raise ValueError(f"{paths[0]} is a store, which has its features: leave --online_config out")
    if isinstance(settings, Extract) and settings.statistics is not None:
        raise ValueError(f"{paths[0]} is a store, which has its statistics: leave --statistics out")
    return Store(paths)


def _with_recordings(
    spec: UpstreamSpec, paths: Sequence[str], features: FeatureConfig | None, settings: Extract, device: torch.device
) -> tuple[Upstream, Recordings]:
    """An upstream that is no checkpoint of ours, and recordings as it takes them."""
    _check_there(paths)
    if features is not None:
        corpus = _recordings(paths, features, settings)
        upstream = load_upstream(spec, info=corpus.info, seed=settings.seed, device=device)
        if upstream.takes == "waveform":
            raise ValueError(f"--upstream {spec} takes waveforms: leave --online_config {settings.online_config} out")
        _check_fits(upstream, features, str(settings.online_config))
        return upstream, corpus
    if spec.kind in ("baseline", "random") and not spec.source.startswith("hf:"):
        raise ValueError(f"--upstream {spec}: {OF_NO_FEATURES}")
    upstream = load_upstream(spec, seed=settings.seed, device=device)
    if upstream.takes == "waveform":
        return upstream, _recordings(paths, None, settings, upstream.sample_rate)
    if upstream.feature_config is None:
        raise ValueError(f"--upstream {spec}: {OF_NO_FEATURES}")
    return upstream, _recordings(paths, upstream.feature_config, settings)


def _features(pretrained: Pretrained, spec: UpstreamSpec, features: FeatureConfig | None) -> FeatureConfig:
    """The features of recordings for a checkpoint."""
    if pretrained.features is not None:
        check_features(features, pretrained.features, "--online_config", spec.source)
        return pretrained.features
    stated = pretrained.stated.get("features")
    if features is None or stated:
        why = (
            f"takes features that are not computed here, {stated}" if stated else "does not say which features it takes"
        )
        help_ = "" if stated else ", or say by --online_config YAML which they are"
        raise ValueError(f"{spec.source} {why}: extract from a store, not from audio{help_}")
    return features


def _recordings(
    paths: Sequence[str], features: FeatureConfig | None, settings: Stored, sample_rate: int | None = None
) -> Recordings:
    _check_there(paths)
    first, _ = without_list(paths[0])
    if first.is_dir() and (unread := unread_note(unread_media(first))):
        say(settings.msg, f"{first}: {unread}")
    statistics = settings.statistics if isinstance(settings, Extract) else None
    return Recordings(paths, features, sample_rate, statistics=statistics)


def _check_there(paths: Sequence[str]) -> None:
    for path in paths:
        if not without_list(path)[0].exists():
            raise FileNotFoundError(f"--input {path}: neither a store/split nor a table, folder or file of recordings")


def _check_fits(upstream: Upstream, features: FeatureConfig | None, name: str) -> None:
    """Raise ValueError where an upstream states features, and is given others."""
    if upstream.takes == "features":
        check_features(features, upstream.feature_config, name, "the upstream")


def _in_words(spec: UpstreamSpec, seed: int) -> str:
    """What made representations: of a checkpoint its file, else the spec, and the seed where one was drawn from."""
    text = spec.source if spec.kind == "pretrained" else str(replace(spec, name=""))
    return f"{text} --seed {seed}" if draws_weights(spec) else text
