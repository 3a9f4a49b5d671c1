"""The originals' YAML files as configs of ours: by the reader of their checkpoints, and what only a file says."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mockingjay.config import PretrainConfig
from mockingjay.foreign.settings import (
    AUDIO_KEYS,
    OF_RECORDINGS,
    ONLINE_KEYS,
    ONLINE_KINDS,
    OPTIMIZERS,
    Section,
    batches_per_step,
    computed_features,
    model_name,
    pretrain_values,
    run_section,
    stores,
)
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build, nearest, read_yaml
from utility.text import short

MARKS = {"mockingjay", "transformer", "dataloader", "runner", "solver", "downstream"}  # sections that ours lack
FRAMES_EACH = 1500  # of an utterance, where a batch of so many utterances becomes one of frames
OTHER_MODELS = ("dual_transformer", "wave_transformer")
LABELS = "labels are of probes"
UNUSED = {  # keys of theirs that mean nothing here, and what to type instead
    "dual_transformer": "",
    "optimizer.loss_scale": "",
    "dataloader.n_jobs": "loader.workers=N reads ahead",
    "dataloader.dev_batch_size": "",
    "dataloader.max_label_len": LABELS,
    "dataloader.phone_path": LABELS,
    "dataloader.train_proportion": LABELS,
    "dataloader.sentiment_config": LABELS,
    "dataloader.libri_root": "data.train=[...] names recordings",
    "online.libri_root": "data.train=[...] names recordings",
    "runner.apex": "trainer.precision=bf16",
    "solver.apex": "trainer.precision=bf16",
    "runner.fp16": "trainer.precision=bf16",
    "runner.load_model_list": "",
    "solver.load_model_list": "",
    "pretrain_expert": "data.train=[...] names what is read",
    "downstream": "of probes: run_downstream.py --config FILE",
    "model": "of probes: run_downstream.py --config FILE",
}


@dataclass(frozen=True)
class ConfigSource:
    """What a command was given as its config, ready for `utility.config.resolve`.

    Of an original's file `note` names in a line what has no meaning here, `missing` what to type where its data are not
    on this machine, and `input_dim` is the size of a frame that it states, 0 where it states none."""

    source: Path | str | Mapping[str, Any] | None
    note: str = ""
    missing: str = ""
    input_dim: int = 0


def read_config(file: Path | str | None) -> ConfigSource:
    """A pre-training YAML, ours or an original's; ValueError names a key that neither knows."""
    values = {} if file is None else read_yaml(file)
    return convert(str(file), values, _pretraining) if is_original(values) else ConfigSource(file)


def is_original(values: Mapping[str, Any]) -> bool:
    """Whether a YAML has the sections of the originals."""
    return not MARKS.isdisjoint(values)


def read_online(source: Path | str | Mapping[str, Any] | None) -> ConfigSource:
    """What is to be laid over a config to train from audio: as ours, or an original's online.yaml."""
    if source is None:
        return ConfigSource(None)
    values = source if isinstance(source, Mapping) else read_yaml(source)
    parts = [values.get(name) for name in ("input", "target")]
    if not any(isinstance(part, Mapping) and "feat_type" in part for part in parts):
        return ConfigSource(source)
    name = "online_config" if isinstance(source, Mapping) else str(source)
    return convert(name, {"online": values}, _from_audio)


def convert(
    name: str, values: Mapping[str, Any], by: Callable[[Section], ConfigSource], unused: Mapping[str, str] = UNUSED
) -> ConfigSource:
    """An original's config by `by`; a key that this does not ask for is named in the note, or refused."""
    config = Section("", values)
    try:
        given = by(config)
        left = [key for key in _keys(values, config.read, unused) if key not in config.read]
        strange = next((key for key in left if key not in unused), None)
        if strange is not None:
            raise _unknown(strange, config.read | unused.keys())
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    words = [f"{key} ({unused[key]})" if unused[key] else key for key in left]
    said = [given.note, given.missing, f"without a meaning here: {', '.join(words)}" if words else ""]
    note = "; ".join(part for part in said if part)
    return replace(given, note=f"{name} is an original's config; {note}" if note else "")


def _keys(values: Mapping[str, Any], read: Set[str], unused: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """The full names of all keys, a section that nobody asked for as one."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path in read and path not in unused:
            yield from _keys(value, read, unused, f"{path}.")
        else:
            yield path


def _unknown(key: str, known: Set[str]) -> ValueError:
    section, _, name = key.rpartition(".")
    names = sorted(other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == section)
    return ValueError(f"unknown config key {short(key)}{nearest(name, names)}")


def _pretraining(config: Section) -> ConfigSource:
    """A file of Mockingjay's or S3PRL's pre-training."""
    block, runner = config.section(model_name(config)), run_section(config)
    if not block.values:
        raise ValueError("it has no section transformer (or mockingjay), so it says nothing of a model")
    for key in OTHER_MODELS:
        if block.get(key, bool, False):
            raise ValueError(f"config key {block.path(key)!r}: there is no such model here")
    check_optimizer(config.section("optimizer"))
    heard = next((_online(config.section(key)) for key in ("online", "audio") if config.raw(key)), None)
    width = block.get("input_dim", int, 0)
    if heard is not None:
        width = build(FeatureConfig, heard["online"]["input"]).dim
    data, duo = config.section("dataloader"), runner.get("duo_feature", bool, False)
    values = pretrain_values(config, config.section("task"), config, width, duo)
    values["data"], missing = _data(data, duo)
    if heard is not None:
        values["data"], missing = heard["data"], _absent(heard["data"]["train"])
    values["loader"] = {**_loader(data, block.get("max_input_length", int, 0)), **(heard or {}).get("loader", {})}
    values["trainer"] |= _rhythm(runner, batches_per_step(config, config))
    if heard is not None:
        values["online"] = heard["online"]
    build(PretrainConfig, values)
    return ConfigSource(values, missing=missing, input_dim=width)


def _from_audio(config: Section) -> ConfigSource:
    """A file of S3PRL's online features, to be laid over a config."""
    values = _online(config.section("online"))
    train = values["data"]["train"]
    build(PretrainConfig, values)
    return ConfigSource(values if train else {**values, "data": {}}, missing=_absent(train))


def check_optimizer(optimizer: Section) -> None:
    """Raise ValueError for an optimiser that is none of the originals'."""
    kind = optimizer.get("type", str, "") or optimizer.get("name", str, "adam")
    if kind not in OPTIMIZERS:
        name = optimizer.path("type" if "type" in optimizer.values else "name")
        raise ValueError(f"config key {name!r} is {short(kind)}, expected one of {', '.join(OPTIMIZERS)}")


def _online(audio: Section) -> dict[str, Any]:
    """Our sections `online`, `loader` and `data` of what S3PRL computes online."""
    known = {*AUDIO_KEYS, "input", "target", *(OF_RECORDINGS if audio.name == "online" else ())}
    for key in audio.values:
        if key not in known:
            raise _unknown(audio.path(str(key)), {audio.path(name) for name in known})
    parts: dict[str, FeatureConfig] = {}
    for name in ("input", "target"):
        block = audio.section(name)
        for key in block.values:
            if key not in ONLINE_KEYS:
                raise _unknown(block.path(str(key)), {block.path(name) for name in ONLINE_KEYS})
        features = computed_features(audio, name) if block.values or name == "input" else parts["input"]
        if features is None:
            raise ValueError(
                f"config block {block.path('')[:-1]!r}: such features are not computed here: expected feat_type "
                f"{', '.join(ONLINE_KINDS)} with delta 0 to 2, log not of mfcc, and all of {', '.join(AUDIO_KEYS)}"
            )
        parts[name] = features
    same = parts["input"] == parts["target"]
    online: dict[str, Any] = {
        "target_level": None,  # such features bring each utterance to their level themselves
        "noise_proportion": audio.get("noise_proportion", float, 0.0),
        "noise_type": audio.get("noise_type", str, "gaussian"),
        "input": as_dict(parts["input"]),
        "target": None if same else as_dict(parts["target"]),
    }
    online |= {"snrs": audio.raw("snrs")} if "snrs" in audio.values else {}
    roots, longest = audio.raw("roots"), audio.get("max_time", float, 0.0) / 1000
    audio.get("sample_rate", int, 16000)
    folders = (
        [root for root in roots if isinstance(root, str) and Path(root).is_dir()] if isinstance(roots, list) else []
    )
    values: dict[str, Any] = {"online": online, "data": {"train": folders}}
    if longest:
        values["loader"] = {"max_frames": max(int(longest / parts["input"].frame_shift), 1)}
    return values


def _absent(train: list[str]) -> str:
    """The line of recordings that are not on this machine."""
    return (
        ""
        if train
        else "its recordings are not here: say data.train=[FOLDER, or a table by generate_len_for_bucket.py]"
    )


def _data(data: Section, duo: bool) -> tuple[dict[str, Any], str]:
    """Our section `data`, and the line about features that are not on this machine."""
    path, target = data.get("data_path", str, ""), data.get("target_path", str, "")
    sets = {part: data.raw(f"{part}_set") for part in ("train", "dev", "test")}
    here = bool(path) and Path(path).is_dir()
    values = {part: stores(path, names) if here else [] for part, names in sets.items()}
    values["target"] = [store for names in sets.values() for store in stores(target, names)] if duo else []
    return values, "" if here else missing_data(path)


def missing_data(path: str) -> str:
    """The line of a file whose features are not on this machine."""
    where = f"its data_path {short(path)} is not here" if path else "it names no data"
    return f"{where}: say data.train=[data/NAME/SPLIT] (and data.dev, data.test)"


def _loader(data: Section, segment: int) -> dict[str, Any]:
    """Our section `loader`: batches of utterances are batches of frames here, and what is too long is cropped."""
    batch, longest = data.get("batch_size", int, 0), data.get("max_timestep", int, 0)
    values: dict[str, Any] = {"batch_frames": frames_of(batch)} if batch else {}
    if segment or "max_timestep" in data.values:
        values["max_frames"] = segment or (longest if longest > 0 else None)
    return values


def frames_of(batch_size: int) -> int:
    """Frames of a batch that the originals fill with so many utterances."""
    return batch_size * FRAMES_EACH


def _rhythm(runner: Section, batches: int) -> dict[str, Any]:
    """What of our section `trainer` says how often; `batches` make one of the runner's steps."""
    values: dict[str, Any] = rhythm(runner, batches)
    epochs = runner.get("n_epochs", int, 0)
    return values | ({"epochs": epochs, "steps": None} if epochs > 0 else {})


def rhythm(runner: Section, batches: int = 1) -> dict[str, int]:
    """The same of any run: steps between logs, looks at dev and checkpoints, and how many of these are kept."""
    every = {"log_every": "log_step", "eval_every": "dev_step", "save_every": "save_step"}
    values = {ours: runner.get(theirs, int, 0) // batches for ours, theirs in every.items()}
    values["max_keep"] = runner.get("max_keep", int, 0)
    return {key: value for key, value in values.items() if value > 0}
