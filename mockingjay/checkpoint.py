"""Any checkpoint, ours or the originals', as model, config, features and saved training; its file is opened once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mockingjay.build import build_model, empty_model
from mockingjay.config import PretrainConfig
from mockingjay.content import check_content
from mockingjay.foreign.assumptions import Assumptions
from mockingjay.foreign.checkpoints import from_original
from mockingjay.model.frame_model import FrameModel, NoHead
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build, differences
from utility.text import short
from utility.training.checkpoint import FORMAT, check_format, check_weights, read_file, save_checkpoint
from utility.training.folder import read_folder

KIND = "pretrain"


def check_features(one: FeatureConfig | None, other: FeatureConfig | None, name: str, other_name: str) -> None:
    """Raise a ValueError with both values where two feature definitions differ."""
    if one is not None and other is not None and one != other:
        ignored = ("s3prl",) if (one.s3prl is None) != (other.s3prl is None) else ()
        pairs = differences(one, other, ignored)
        differing = ", ".join(f"{key} {short(mine)} against {short(theirs)}" for key, mine, theirs in pairs)
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
    sources: Mapping[str, str] = field(default_factory=dict)  # how residual and shift are known, where not by the file

    def about(self) -> dict[str, Any]:
        """All that a file says of it besides weights and optimiser, as plain types."""
        return {
            "config": as_dict(self.config),
            "features": self.features and as_dict(self.features),
            "target": self.target and as_dict(self.target),
            "input_dim": self.model.input_dim,
            "target_dim": self.model.target_dim,
            "headless": isinstance(self.model.head, NoHead),
            "frame_shift": self.frame_shift,
            "seed": self.seed,
            "state": {"step": self.step},
            "stated": dict(self.stated),
            "assumed": list(self.assumed),
            "sources": dict(self.sources),
        }


def load_pretrained(path: Path | str, assume: Mapping[str, Any] | None = None) -> Pretrained:
    """Open a pre-training checkpoint, ours or the originals', or a folder of `--export`, in evaluation mode.

    `assume` says what the file does not: `{"residual": False, "shift": 3}` of a bare APC state dict, which is refused
    without `residual`. ValueError for what it says otherwise, or does not have."""
    path, said = Path(path), Assumptions.of(assume)
    saved = pretrained(read_content(path, assume=said), path)
    said.check(assumable(saved.config), str(path))
    return saved


def save_pretrained(saved: Pretrained, path: Path, cannot_resume: str) -> None:
    """Write a model as a checkpoint that `load_pretrained` opens; training cannot go on from it, for that reason."""
    weights = {name: value.cpu() for name, value in saved.model.state_dict().items()}
    save_checkpoint(path, KIND, {"model": weights, "cannot_resume": cannot_resume, **saved.about()})


def assumable(config: PretrainConfig) -> dict[str, Any]:
    """What of a model `--assume` may say, by its keys there."""
    values: dict[str, Any] = {"residual": config.gru.residual} if config.encoder == "gru" else {}
    return values | ({"shift": config.apc.time_shift} if config.objective == "apc" else {})


def read_content(path: Path, kind: str | None = KIND, assume: Assumptions | None = None) -> dict[str, Any]:
    """What a checkpoint of `kind` (None: of any) holds, one of the originals in our terms; nothing in it runs.

    The file is opened once. Raises FileNotFoundError, or ValueError in one line: damaged, of another program or kind, a
    type that is not inert, tensors unlike its config."""
    if path.is_dir():
        return {"kind": KIND, "written_by": "folder of --export", **read_folder(path)}
    content = read_file(path)
    if isinstance(content, dict) and "format" in content:
        check_format(content, path, kind)
        return {"written_by": f"{FORMAT}, {content.get('kind')}", **content}
    return {"kind": KIND, **from_original(content, path, assume).content()}


def pretrained(content: Mapping[str, Any], path: Path) -> Pretrained:
    """The model that the `content` of a checkpoint describes, in evaluation mode.

    What a damaged or foreign file may hold is checked before anything is made from it: ValueError in one line."""
    try:
        check_content(content)
        config = build(PretrainConfig, _brought_up(content["config"]))
        features, target = (_features(content[key]) for key in ("features", "target"))
        model = _model(config, content, path)
        shift, seed, progress = content["frame_shift"], content["seed"], content["state"]
    except KeyError as error:
        raise ValueError(f"{path}: incomplete checkpoint: it has no {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    optimizer, reason = content.get("optimizer"), content.get("cannot_resume", "")
    return Pretrained(
        path,
        content.get("written_by", ""),
        model.eval(),
        config,
        features,
        target,
        None if shift is None or math.isnan(shift) else float(shift),
        seed,
        progress["step"],
        SavedTraining(progress, optimizer, reason or ("" if optimizer else "it holds no optimiser state")),
        content.get("stated", {}),
        tuple(content.get("assumed", ())),
        content.get("sources", {}),
    )


def _brought_up(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved config in today's keys: once `gru.dropout` fell on the prenet too."""
    gru = config.get("gru")
    if not isinstance(gru, Mapping) or "prenet_dropout" in gru or not gru.get("prenet_layers"):
        return config
    return {**config, "gru": {**gru, "prenet_dropout": gru.get("dropout", 0.0)}}


def _features(value: Mapping[str, Any] | None) -> FeatureConfig | None:
    return None if value is None else build(FeatureConfig, value)


def _model(config: PretrainConfig, content: Mapping[str, Any], path: Path) -> FrameModel:
    """The model with its weights; it takes memory only once they are known to fit."""
    sizes, weights, headless = (content["input_dim"], content["target_dim"]), content["model"], content.get("headless")
    empty = empty_model(config, *sizes)
    if headless:
        empty.head = NoHead()
    check_weights(empty, weights, path)
    model = build_model(config, *sizes)
    if headless:
        model.head = NoHead()
    model.load_state_dict(weights)
    return model


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
