"""Any checkpoint, ours or the originals', as model, config and features."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mockingjay.build import build_model
from mockingjay.config import PretrainConfig
from mockingjay.foreign.checkpoints import is_ours, read_original
from mockingjay.model.frame_model import FrameModel, NoHead
from utility.audio.features import FeatureConfig
from utility.config import build, differences
from utility.training.checkpoint import load_checkpoint, load_weights
from utility.training.folder import read_folder

KIND = "pretrain"


def check_features(one: FeatureConfig | None, other: FeatureConfig | None, name: str, other_name: str) -> None:
    """Raise a ValueError with both values where two feature definitions differ."""
    if one is not None and other is not None and one != other:
        differing = ", ".join(f"{key} {mine!r} against {theirs!r}" for key, mine, theirs in differences(one, other))
        raise ValueError(f"features of {name} and {other_name} differ: {differing}")


@dataclass(frozen=True)
class Pretrained:
    """A model with what its checkpoint says of it; `features` is None where the store did not say."""

    model: FrameModel
    config: PretrainConfig
    features: FeatureConfig | None
    target: FeatureConfig | None
    frame_shift: float  # seconds
    seed: int
    step: int = 0  # optimiser updates done


def load_pretrained(path: Path) -> Pretrained:
    """Open a pre-training checkpoint, ours or the originals', or a folder of `--export`, in evaluation mode."""
    return pretrained(read_folder(path) if path.is_dir() else open_checkpoint(path), path)


def open_checkpoint(path: Path) -> Mapping[str, Any]:
    """What a pre-training checkpoint holds, one of the originals in our terms; nothing in it runs."""
    return load_checkpoint(path, KIND) if is_ours(path) else read_original(path).content()


def pretrained(content: Mapping[str, Any], path: Path) -> Pretrained:
    """The model that the `content` of a checkpoint describes, in evaluation mode."""
    try:
        config = build(PretrainConfig, content["config"])
        features, target = (content[key] and build(FeatureConfig, content[key]) for key in ("features", "target"))
        model = build_model(config, content["input_dim"], content["target_dim"])
        if content.get("headless"):
            model.head = NoHead()
        load_weights(model, content["model"], path)
        step = content["state"]["step"]
    except KeyError as error:
        raise ValueError(f"{path}: incomplete checkpoint: it has no {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    return Pretrained(model.eval(), config, features, target, content["frame_shift"], content["seed"], step)
