"""What `--dry_run` prints: the resolved config, the data found, the model's size; nothing is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from commands.upstreams import Opened
from mockingjay.checkpoint import Pretrained
from mockingjay.config import PretrainConfig
from mockingjay.describe import describe_upstream
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict
from utility.store.reading import Store, is_split
from utility.store.recordings import Recordings


def print_plan(
    config: Any, data: Sequence[str], models: Mapping[str, nn.Module], output: Path | str | None, *more: str
) -> None:
    """Print a plan: `data` are lines of `describe_paths`, `models` by what they are called; None is no config."""
    if config is not None:
        print(f"config:\n{_indented(yaml.safe_dump(as_dict(config), sort_keys=False))}")
    print("data:\n" + _indented("\n".join(data) or "none"))
    for name, model in models.items():
        print(f"{name}: {count_parameters(model):,} parameters")
    for line in more:
        print(line)
    print("dry run: nothing is written" + (f"; the output would go to {output}" if output is not None else ""))


def print_extraction(opened: Opened, output: Path) -> None:
    """The plan of `--extract`."""
    upstream = opened.upstream
    features = upstream.feature_config and upstream.feature_config.before_corpus  # sizes take no statistics
    if opened.pretrained is not None:
        return print_look(opened.pretrained, opened.paths, output, features)
    features, rate = (None, upstream.sample_rate) if upstream.takes == "waveform" else (features, None)
    print(describe_upstream(upstream, opened.source))
    data = describe_paths("input", opened.paths, features, rate)
    return print_plan(None, data, {"model": upstream}, output)


def print_look(
    pretrained: Pretrained, paths: Sequence[str], output: Path | None, features: FeatureConfig | None = None
) -> None:
    """The plan of a command that looks at a checkpoint, by its features where no others are given."""
    data = describe_paths("test", paths, features or pretrained.features)
    print_plan(pretrained.config, data, {"model": pretrained.model}, output, f"steps done: {pretrained.step}")


def describe_parts(config: PretrainConfig, features: FeatureConfig | None = None) -> list[str]:
    """The lines of a pre-training config's data; what is not on this machine is named."""
    lines = []
    recorded = config.online.input if config.online is not None else features
    for part in ("train", "dev", "test", "target"):
        lines += describe_paths(part, getattr(config.data, part), recorded)
    return lines


def describe_paths(
    part: str, paths: Sequence[str], features: FeatureConfig | None, sample_rate: int | None = None
) -> list[str]:
    """`part path: utterances, hours` of stores, and of recordings as features or as waveforms of a rate."""
    return [f"{part} {path}: {_size(path, features, sample_rate)}" for path in paths]


def count_parameters(model: nn.Module) -> int:
    """Numbers that a model holds."""
    return sum(parameter.numel() for parameter in model.parameters())


def _size(path: str, features: FeatureConfig | None, sample_rate: int | None) -> str:
    try:
        if is_split(path) or (features is None and sample_rate is None):
            corpus: Store | Recordings = Store([path])
        else:
            corpus = Recordings([path], features, sample_rate)
    except (ValueError, OSError) as error:
        return f"not usable: {error}"
    seconds = float(corpus.lengths.sum()) * corpus.info.frame_shift
    hours = f"{seconds / 3600:.2f} hours" if seconds > 0 else "hours unknown"
    frames = f"frames of {corpus.info.row_shape}" if is_split(path) or features else f"samples at {sample_rate} Hz"
    return f"{len(corpus.ids)} utterances, {hours}, {int(corpus.lengths.sum())} {frames}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())
