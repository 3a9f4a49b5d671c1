"""What `--dry_run` prints: the resolved config, the data found, the model's size; nothing is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from mockingjay.checkpoint import Pretrained
from mockingjay.config import PretrainConfig
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict
from utility.store.reading import Store, is_split
from utility.store.recordings import Recordings


def print_plan(
    config: Any, data: Sequence[str], models: Mapping[str, nn.Module], output: Path | str | None, *more: str
) -> None:
    """Print a plan: `data` are lines of `describe_paths`, `models` by what they are called."""
    print(f"config:\n{_indented(yaml.safe_dump(as_dict(config), sort_keys=False))}")
    print("data:\n" + _indented("\n".join(data) or "none"))
    for name, model in models.items():
        print(f"{name}: {count_parameters(model):,} parameters")
    for line in more:
        print(line)
    print("dry run: nothing is written" + (f"; the output would go to {output}" if output is not None else ""))


def print_look(pretrained: Pretrained, paths: Sequence[str], output: Path | None) -> None:
    """The plan of a command that looks at a checkpoint."""
    data = describe_paths("test", paths, pretrained.features)
    print_plan(pretrained.config, data, {"model": pretrained.model}, output, f"steps done: {pretrained.step}")


def describe_parts(config: PretrainConfig, features: FeatureConfig | None = None) -> list[str]:
    """The lines of a pre-training config's data; what is not on this machine is named."""
    lines = []
    recorded = config.online.input if config.online is not None else features
    for part in ("train", "dev", "test", "target"):
        lines += describe_paths(part, getattr(config.data, part), recorded)
    return lines


def describe_paths(part: str, paths: Sequence[str], features: FeatureConfig | None) -> list[str]:
    """`part path: utterances, hours` of stores and of recordings."""
    return [f"{part} {path}: {_size(path, features)}" for path in paths]


def count_parameters(model: nn.Module) -> int:
    """Numbers that a model holds."""
    return sum(parameter.numel() for parameter in model.parameters())


def _size(path: str, features: FeatureConfig | None) -> str:
    try:
        if is_split(path) or features is None:
            corpus: Store | Recordings = Store([path])
        else:
            corpus = Recordings([path], features)
    except (ValueError, OSError) as error:
        return f"not usable: {error}"
    seconds = float(corpus.lengths.sum()) * corpus.info.frame_shift
    hours = f"{seconds / 3600:.2f} hours" if seconds > 0 else "hours unknown"
    return f"{len(corpus.ids)} utterances, {hours}, {int(corpus.lengths.sum())} frames of {corpus.info.row_shape}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())
