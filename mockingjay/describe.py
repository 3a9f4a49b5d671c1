"""What a checkpoint or an upstream is, in lines a person reads."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from mockingjay.checkpoint import KIND, Pretrained, assumable, pretrained, read_content
from mockingjay.config import PretrainConfig
from mockingjay.foreign.assumptions import Assumptions
from mockingjay.model.frame_model import NoHead
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.weights import weights_below
from utility.audio.feature_config import FeatureConfig
from utility.text import short

NOT_STATED = "not stated"


def describe_checkpoint(path: Path, assume: Mapping[str, Any] | None = None) -> str:
    """Format, model, size, features, steps done and config of a checkpoint; errors as when it is opened."""
    said = Assumptions.of(assume)
    content = read_content(path, None, said)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: incomplete checkpoint: it has no 'model'")
    lines = [("file", path), ("format", content["written_by"])]
    if content.get("kind") == KIND:
        saved = pretrained(content, path)
        said.check(assumable(saved.config), str(path))
        lines += [*_of_model(saved), *_of_states(load_upstream(saved))]
    else:
        said.check({}, str(path))
        lines += _of_other(content, path)
    text = _in_columns(lines)
    made = {key: content[key] for key in ("about", "config") if key in content}
    return f"{text}\n{yaml.safe_dump(made, sort_keys=False)}".rstrip()


def describe_upstream(upstream: Upstream, source: str) -> str:
    """Family, parameters, input, layers and frames, batches, long recordings and fingerprint of any upstream."""
    lines = [("upstream", source), ("family", upstream.family or type(upstream).__name__)]
    lines += [("parameters", _parameters(upstream)), ("input", _input(upstream))]
    return _in_columns([*lines, *_of_states(upstream)])


def _in_columns(lines: Iterable[tuple[str, Any]]) -> str:
    return "\n".join(f"{name + ':' if name else '':<15}{value}" for name, value in lines)


def _parameters(upstream: Upstream) -> str:
    """How many there are, and how many of them fine-tuning trains."""
    total = _count(sum(value.numel() for value in upstream.parameters()))
    below = {name for prefix in upstream.frozen_by_default for name in weights_below(upstream, prefix)}
    frozen = [value.numel() for name, value in upstream.named_parameters() if name in below]
    if not frozen:
        return f"{total}, fine-tuning trains all" if sum(1 for _ in upstream.parameters()) else "none"
    prefixes = ", ".join(upstream.frozen_by_default)
    return f"{total}, fine-tuning trains all but the {_count(sum(frozen))} of {prefixes}, unless told"


def _input(upstream: Upstream) -> str:
    if upstream.takes == "waveform":
        return upstream.input_rule or f"waveforms of {upstream.sample_rate} Hz"
    features = upstream.feature_config
    return upstream.input_rule or (features.in_words() if features else "features, not stated of which kind")


def _of_states(upstream: Upstream) -> Iterator[tuple[str, Any]]:
    """The layers by label, their frames, batches, long recordings, the fingerprint, and the step."""
    title = "layers"
    for labels, frames in _alike(upstream):
        yield title, f"{_span(labels)}: {frames}"
        title = ""
    one_by_one = "any number of utterances at once" if upstream.batched else "one utterance at a time"
    yield "batches", upstream.batch_rule or one_by_one
    if upstream.takes == "waveform":
        yield "long audio", _long(upstream)
    yield "fingerprint", upstream.fingerprint
    if upstream.step is not None:
        yield "step", upstream.step


def _alike(upstream: Upstream) -> list[tuple[list[str], str]]:
    """The labels in their order, those together that differ in nothing, and what their frames are."""
    groups: list[tuple[list[str], str]] = []
    for kind in (upstream.inner, upstream.layers):
        for number, label in enumerate(kind):
            frames = _frames(upstream, label)
            if number and groups[-1][1] == frames:
                groups[-1][0].append(label)
            else:
                groups.append(([label], frames))
    return groups


def _span(labels: list[str]) -> str:
    return f"{labels[0]} ... {labels[-1]}" if len(labels) > 2 else ", ".join(labels)


def _frames(upstream: Upstream, label: str) -> str:
    """Width, frame shift, first centre and receptive field of the states of a label."""
    shift, offset = (NOT_STATED if value is None else f"{1000 * value:g} ms" for value in upstream.times(label))
    text = f"{upstream.width(label)} wide"
    if upstream.takes == "features":
        return f"{text}, a frame every {shift}, the first centred at {offset}"
    field = upstream.field(label)
    sees = f"{1000 * field.size / field.rate:g} ms ({field.size} samples)" if field.size else NOT_STATED
    return f"{text}, a frame every {shift} ({field.stride} samples), the first centred at {offset}, sees {sees}"


def _long(upstream: Upstream) -> str:
    if upstream.longest is None:
        return "whole"
    assert upstream.sample_rate is not None, "of waveforms"
    longest, overlap = (samples / upstream.sample_rate for samples in (upstream.longest, upstream.overlap))
    return f"above {longest:g} s in pieces of {longest:g} s, of which {overlap:g} s at either end are dropped"


def _of_model(saved: Pretrained) -> Iterator[tuple[str, Any]]:
    config, model, training = saved.config, saved.model, saved.training
    yield "model", f"{family(config)}, {model.num_layers} layers of {model.hidden_size}, {_size(model.state_dict())}"
    yield "input", f"{model.input_dim} per frame, {_features(saved, 'features', model.input_dim)}"
    yield "target", _target(saved)
    yield "frame shift", _frame_shift(saved)
    for key, value in assumable(config).items():
        text = f"{value} frames ahead" if key == "shift" else "yes" if value else "no"
        yield {"shift": "predicts"}.get(key, key), text + (f", {saved.sources[key]}" if key in saved.sources else "")
    yield "head", "absent: only representations" if isinstance(model.head, NoHead) else "present"
    yield from _progress(training.progress, bool(training.optimizer))
    yield "seed", NOT_STATED if saved.seed is None else saved.seed
    yield "goes on", f"no: {training.cannot_resume}" if training.cannot_resume else "with --train --load"


def _of_other(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    state = content.get("state") or {}
    if not all(isinstance(value, torch.Tensor) for value in content["model"].values()) or not _known(state):
        raise ValueError(f"{path}: damaged: its model or its state is none that a training saves")
    yield "model", _size(content["model"])
    yield from _progress(state, bool(content.get("optimizer")))
    if "seed" in content:
        yield "seed", short(content["seed"])


def _known(state: Any) -> bool:
    best = state.get("best") if isinstance(state, dict) else ""
    return best is None or isinstance(best, int | float)


def _progress(state: Mapping[str, Any], counted: bool) -> Iterator[tuple[str, Any]]:
    """Where training stood; a step of 0 is believed only where it was `counted` by an optimiser."""
    yield "steps done", state.get("step") if counted else state.get("step") or NOT_STATED
    if state.get("best") is not None:
        yield "best on dev", f"{state['best']:.4f} at step {state.get('best_step')}"


def family(config: PretrainConfig) -> str:
    """What the literature calls a model of this config."""
    if config.objective == "apc":
        return "APC" if config.encoder == "gru" else "Transformer-APC"
    if config.objective == "codes":
        return "BEST-RQ" if config.codes.source == "random_projection" else "MelHuBERT"
    if config.model.share_layers:
        return "AALBERT"
    return "TERA" if config.masking.frequency or config.masking.noise else "Mockingjay"


def _target(saved: Pretrained) -> str:
    """What is predicted of each frame."""
    dim, codes = saved.model.target_dim, saved.config.codes
    if saved.config.objective != "codes":
        return f"{dim} per frame, {_features(saved, 'target', dim)}"
    books = f"a code of {codes.size}" if codes.codebooks == 1 else f"{codes.codebooks} codes of {codes.size}"
    if codes.source == "store":
        return f"{books} per frame, {saved.stated.get('target', 'not stated of what')}"
    return f"{books} per frame, random projection of {dim} values, {_features(saved, 'target', dim)}"


def _size(weights: Mapping[str, torch.Tensor]) -> str:
    return f"{_count(sum(value.numel() for value in weights.values()))} parameters"


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e5 else str(number)


def _frame_shift(saved: Pretrained) -> str:
    if saved.frame_shift is None:
        return NOT_STATED
    shift = f"{1000 * saved.frame_shift:g} ms"
    return f"{NOT_STATED}; {shift} by the name of its data" if "frame_shift" in saved.assumed else shift


def _features(saved: Pretrained, name: Literal["features", "target"], dim: int) -> str:
    features: FeatureConfig | None = getattr(saved, name)
    if name in saved.stated:
        return f"not computed here: {saved.stated[name]}"
    if features is None:
        return f"not stated of which kind: any store of width {dim} fits"
    if name in saved.assumed:
        return f"{features.kind}, deltas {features.deltas} by the name of its data; cmvn and sample rate not stated"
    return features.in_words()
