"""Any checkpoint, ours or the originals', as model, config, features and saved training; its file is opened once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mockingjay.build import build_model
from mockingjay.config import PretrainConfig
from mockingjay.foreign.checkpoints import from_original
from mockingjay.model.frame_model import FrameModel, NoHead
from utility.audio.features import FeatureConfig
from utility.config import build, differences
from utility.text import short
from utility.training.checkpoint import FORMAT, check_format, load_weights, read_file
from utility.training.folder import read_folder

KIND = "pretrain"


def check_features(one: FeatureConfig | None, other: FeatureConfig | None, name: str, other_name: str) -> None:
    """Raise a ValueError with both values where two feature definitions differ."""
    if one is not None and other is not None and one != other:
        ignored = ("s3prl",) if (one.s3prl is None) != (other.s3prl is None) else ()
        pairs = differences(one, other, ignored)
        differing = ", ".join(f"{key} {mine!r} against {theirs!r}" for key, mine, theirs in pairs)
        raise ValueError(f"features of {name} and {other_name} differ: {differing}")


@dataclass(frozen=True)
class SavedTraining:
    """Where the training stood, and what continuing it needs."""

    progress: Mapping[str, Any]  # `utility.training.trainer.Progress` as plain values
    optimizer: Mapping[str, Any] | None  # its state_dict
    cannot_resume: str  # why it cannot go on; empty where it can


@dataclass(frozen=True)
class Pretrained:
    """An opened checkpoint: a model in evaluation mode and what the file says of it; None is what it does not say."""

    path: Path
    written_by: str  # which program, in which form
    model: FrameModel
    config: PretrainConfig
    features: FeatureConfig | None
    target: FeatureConfig | None
    frame_shift: float | None  # seconds
    seed: int | None
    step: int  # optimiser updates done
    training: SavedTraining
    stated: Mapping[str, str] = field(default_factory=dict)  # `features`, `target`: definitions not computed here
    assumed: tuple[str, ...] = ()  # fields that the file does not state, taken from the name of its data


def load_pretrained(path: Path | str) -> Pretrained:
    """Open a pre-training checkpoint, ours or the originals', or a folder of `--export`, in evaluation mode."""
    path = Path(path)
    return pretrained(read_content(path), path)


def read_content(path: Path, kind: str | None = KIND) -> dict[str, Any]:
    """What a checkpoint of `kind` (None: of any) holds, one of the originals in our terms; nothing in it runs.

    The file is opened once. Raises FileNotFoundError, or
    ValueError in one line: damaged, of another program or kind, a type that is not inert, tensors unlike its config."""
    if path.is_dir():
        return {"kind": KIND, "written_by": "folder of --export", **read_folder(path)}
    content = read_file(path)
    if isinstance(content, dict) and "format" in content:
        check_format(content, path, kind)
        return {"written_by": f"{FORMAT}, {content.get('kind')}", **content}
    return {"kind": KIND, **from_original(content, path).content()}


KINDS: dict[str, Any] = {  # plain values of a checkpoint; a bool is none of these
    "input_dim": int,
    "target_dim": int,
    "features": Mapping | None,
    "target": Mapping | None,
    "frame_shift": float | int | None,
    "seed": int | None,
    "state": Mapping,
    "optimizer": Mapping | None,
}
WIDEST = 1 << 24  # values of a frame


def _check_kinds(content: Mapping[str, Any]) -> None:
    """Raise ValueError for content that no writer of ours gives a checkpoint; what is missing is said elsewhere."""
    for name, kind in KINDS.items():
        if name in content and (not isinstance(content[name], kind) or isinstance(content[name], bool)):
            raise ValueError(f"damaged: its {name} is {short(content[name])}")
    for name in ("input_dim", "target_dim"):
        if not 1 <= content.get(name, 1) <= WIDEST:
            raise ValueError(f"damaged: its {name} is {short(content[name])}")
    if type(content.get("state", {}).get("step", 0)) is not int:
        raise ValueError(f"damaged: its step is {short(content['state']['step'])}")


def pretrained(content: Mapping[str, Any], path: Path) -> Pretrained:
    """The model that the `content` of a checkpoint describes, in evaluation mode."""
    try:
        _check_kinds(content)
        config = build(PretrainConfig, content["config"])
        features, target = (content[key] and build(FeatureConfig, content[key]) for key in ("features", "target"))
        model = build_model(config, content["input_dim"], content["target_dim"])
        if content.get("headless"):
            model.head = NoHead()
        load_weights(model, content["model"], path)
        shift, seed, progress = content["frame_shift"], content["seed"], content["state"]
        step = progress["step"]
    except KeyError as error:
        raise ValueError(f"{path}: incomplete checkpoint: it has no {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    optimizer, reason = content.get("optimizer"), content.get("cannot_resume", "")
    training = SavedTraining(progress, optimizer, reason or ("" if optimizer else "it holds no optimiser state"))
    shift = None if shift is None or math.isnan(shift) else shift
    written_by, assumed = content.get("written_by", ""), tuple(content.get("assumed", ()))
    given = (model.eval(), config, features, target, shift, seed, step, training, content.get("stated", {}), assumed)
    return Pretrained(path, written_by, *given)


def check_input(features: FeatureConfig | None, stated: str | None, saved: Pretrained, name: str) -> None:
    """Raise ValueError where frames are not of the definition that a checkpoint states; one that states none takes any.

    What the frames are is `features`, or `stated` where they are not computed here, or neither where nobody knows."""
    here = features.in_words() if features else stated or "features that it does not state"
    needed = saved.stated.get("features")
    if needed is not None:
        if needed != stated:
            raise ValueError(
                f"{name} holds {here}; the checkpoint takes features that are not computed here: {needed}. A store "
                "of them says so under 'stated' in its features.yaml"
            )
        return
    wanted = saved.features
    if wanted is None:
        return
    # S3PRL stores nothing that it computes online, so frames of unknown origin are no such features.
    if stated is not None or (features is None and wanted.s3prl is not None):
        raise ValueError(f"{name} holds {here}; the checkpoint takes {wanted.in_words()}: make a store of these")
    check_features(features, wanted, name, "the checkpoint")
