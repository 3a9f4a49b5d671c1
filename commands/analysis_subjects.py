"""The upstreams whose layers are looked into, and the corpus as each takes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from analysis.collect import Subject
from analysis.config import AnalysisConfig, DataConfig
from commands.common import read_online
from commands.settings import Analyse
from downstream.sources import are_recordings, open_recordings, open_stores, unstated_features
from mockingjay.checkpoint import Pretrained, check_features, load_pretrained
from mockingjay.inputs import UtteranceSource
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.spec import UpstreamSpec
from utility.audio.feature_config import FeatureConfig
from utility.store.info import StoreInfo

FILTERBANK = FeatureConfig(kind="kaldi_fbank", deltas=0, cmvn="none")  # the control of recordings and waveforms
BASELINE = UpstreamSpec("baseline", word="baseline")


def with_controls(specs: Sequence[UpstreamSpec]) -> tuple[UpstreamSpec, ...]:
    """The features, and every checkpoint's or folder's architecture with random weights, behind the upstreams."""
    more: list[UpstreamSpec] = []
    if not any(spec.kind == "baseline" for spec in specs):
        more.append(BASELINE)
    for spec in specs:
        if spec.kind in ("pretrained", "pretrained_head", "hf"):
            source = f"hf:{spec.source}" if spec.kind == "hf" else spec.source
            run = spec.label.partition("@")[0]
            name = "random" if len(specs) == 1 else f"random {run}"
            random = UpstreamSpec("random", source, "", name, "random")
            if not any(other.name == name or (other.kind == "random" and other.source == source) for other in more):
                more.append(random)
    return (*specs, *(spec for spec in more if spec.label not in {other.label for other in specs}))


def open_subjects(
    specs: Sequence[UpstreamSpec], config: AnalysisConfig, settings: Analyse, device: torch.device
) -> list[Subject]:
    """Every upstream, and the corpus as it takes it; ValueError where they do not fit, before any work."""
    if not specs:
        return []
    paths = config.data.store
    recorded = are_recordings(paths)
    features = None if settings.online_config is None else read_online(settings.online_config).online.input
    if not recorded:
        if features is not None:
            raise ValueError(f"--online_config: {paths[0]} is a store, whose features are made: leave the flag out")
        store = open_stores(paths, config.data.unaligned).whole
        return [_subject(spec, store, settings, device) for spec in specs]
    subjects = [_heard(spec, config.data, features, settings, device) for spec in specs if spec.kind != "baseline"]
    if any(spec.kind == "baseline" for spec in specs):
        known = [subject.upstream.feature_config for subject in subjects if subject.upstream.takes == "features"]
        made = features or next((one for one in known if one), FILTERBANK)
        corpus = open_recordings(paths, made, unaligned=config.data.unaligned).whole
        place = [spec.kind for spec in specs].index("baseline")
        subjects.insert(place, _subject(specs[place], corpus, settings, device))
    return subjects


def _subject(spec: UpstreamSpec, corpus: UtteranceSource, settings: Analyse, device: torch.device) -> Subject:
    """An upstream of a store; of a checkpoint with its head."""
    upstream, saved = _loaded(spec, corpus.info, settings, device)
    return Subject(spec.label, upstream, corpus, saved)


def _loaded(
    spec: UpstreamSpec, info: StoreInfo | None, settings: Analyse, device: torch.device
) -> tuple[Upstream, Pretrained | None]:
    assume = settings.assume if spec.of_checkpoint else None
    if spec.kind != "pretrained":
        return load_upstream(spec, None, info, settings.seed, device, assume), None
    saved = load_pretrained(Path(spec.source), assume)
    return load_upstream(replace(spec, source=""), saved, info, settings.seed, device), saved


def _heard(
    spec: UpstreamSpec,
    data: DataConfig,
    features: FeatureConfig | None,
    settings: Analyse,
    device: torch.device,
) -> Subject:
    """An upstream of recordings: as waveforms, or as the features that it states, else those of --online_config."""
    upstream, saved = _loaded(spec, None, settings, device)
    if upstream.takes == "waveform":
        heard = open_recordings(data.store, None, upstream.sample_rate, data.unaligned).whole
        return Subject(spec.label, upstream, heard)
    wanted = upstream.feature_config or features
    if wanted is None:
        raise ValueError(unstated_features(spec.label))
    if features is not None:
        check_features(features, wanted, str(settings.online_config), spec.label)
    return Subject(spec.label, upstream, open_recordings(data.store, wanted, unaligned=data.unaligned).whole, saved)
