"""The originals' configs, whose numbers may be text and whose keys may be absent, as ours."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mockingjay.config import PretrainConfig
from mockingjay.model.transformer import LAYER_NORM_EPS
from utility.audio.feature_config import STATIC_DIM, FeatureConfig
from utility.audio.s3prl_online import UNUSED
from utility.config import build
from utility.text import short

AUDIO_KEYS: dict[str, type] = {  # of a block `audio` in S3PRL >= 0.3
    "target_level": float, "win_ms": float, "hop_ms": float, "n_freq": int, "n_mels": int, "n_mfcc": int
}  # fmt: skip
ONLINE_KINDS = {"linear": "s3prl_linear", "mel": "s3prl_mel", "mfcc": "s3prl_mfcc"}
ONLINE_KEYS = {"feat_type", "channel", "log", "delta", "cmvn"}  # of its `input` and `target`; both channels are alike
LONGEST_TEXT = 1000
FEATURE_NAME = re.compile(r"(mel|fbank|mfcc|linear)(\d+)")
FRAME_SHIFTS = {"mel": 0.0125, "linear": 0.0125, "fbank": 0.01, "mfcc": 0.01, "fmllr": 0.01}  # seconds
OPTIMIZERS = {
    "adam": "bertadam", "lamb": "lamb", "adamW": "adamw", "BertAdam_with_schedule": "bertadam",
    "Lamb_with_schedule": "lamb", "AdamW": "adamw", "AdamW_with_schedule": "adamw",
}  # fmt: skip
# What S3PRL v0.1.0 computes online where its block `online` does not say it, and its keys that are not of features.
FIRST_ONLINE: dict[str, Any] = {
    "target_level": -25.0, "win_ms": 25.0, "hop_ms": 10.0, "n_freq": 201, "n_mels": 40, "n_mfcc": 13
}  # fmt: skip
FIRST_PART: dict[str, Any] = {"channel": 0, "log": False, "delta": 0, "cmvn": False}
OF_RECORDINGS = {"roots", "libri_root", "sample_rate", "max_time", "noise_proportion", "noise_type", "snrs"}


class Section:
    """A section of an original's config; values may be text, `None` and "None" count as absent.

    `read` gathers which keys were asked for, as `section.key`; sections of one config share it."""

    def __init__(self, name: str, values: Any, read: set[str] | None = None):
        if not isinstance(values, Mapping):
            raise ValueError(f"config block {name!r} is {_short(values)}, expected keys and values")
        self.name, self.values, self.read = name, values, set() if read is None else read

    def path(self, key: str) -> str:
        """The full name of a key."""
        return f"{self.name}.{key}".removeprefix(".")

    def raw(self, key: str) -> Any:
        """The value of `key` as it stands there, None where it is absent."""
        self.read.add(self.path(key))
        return self.values.get(key)

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of `key` as int, float, bool or str, `default` where it is absent; without one it must be there."""
        value = self.raw(key)
        if value is None or value == "None":
            if default is None and key not in self.values:
                raise ValueError(f"config key {self.path(key)!r} is missing")
            return default
        try:
            return _convert(value, kind)
        except (TypeError, ValueError, OverflowError, KeyError):
            wanted = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}[kind]
            raise ValueError(f"config key {self.path(key)!r} is {_short(value)}, expected {wanted}") from None

    def section(self, key: str) -> "Section":
        """A section of this one, empty where it is absent."""
        return Section(self.path(key), self.raw(key) or {}, self.read)


def _convert(value: Any, kind: type) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[str(value).lower()] if not isinstance(value, int) else bool(value)
    if kind is str and isinstance(value, str):
        return value
    if kind is str or isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    if kind is float:
        if not math.isfinite(float(value)):
            raise ValueError
        return float(value)
    number = int(value) if isinstance(value, str) else value
    if number != int(number):
        raise ValueError
    return int(number)


def _short(value: Any) -> str:
    return short(value, 60) if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"


def model_section(block: Section, task: Section) -> dict[str, Any]:
    """Our section `model` from `transformer` (first `mockingjay`); the lengths come from `task` in later files."""
    epsilon = block.get("layer_norm_eps", float, LAYER_NORM_EPS)
    if epsilon != LAYER_NORM_EPS:
        raise ValueError(f"config key '{block.name}.layer_norm_eps' is {epsilon}, only {LAYER_NORM_EPS} is known")
    longest = block.get("max_input_length", int, 0) or task.get("sequence_length", int, 0)
    return {
        "layers": block.get("num_hidden_layers", int),
        "hidden_size": block.get("hidden_size", int),
        "heads": block.get("num_attention_heads", int),
        "ffn_size": block.get("intermediate_size", int),
        "dropout": block.get("hidden_dropout_prob", float, 0.1),
        "attention_dropout": block.get("attention_probs_dropout_prob", float, 0.1),
        "activation": block.get("hidden_act", str, "gelu"),
        "downsample_rate": block.get("downsample_rate", int, 1),
        "max_input_length": longest or None,
        "share_layers": block.get("share_layer", bool, False),
        "pre_layer_norm": block.get("pre_layer_norm", bool, False),
        "initializer_range": block.get("initializer_range", float, 0.02),
        "prune_heads": pruned_heads(block.raw("prune_headids")),
    }


def pruned_heads(value: Any) -> list[int]:
    """Heads counted over all layers, from a list or from text as "0,1,12-15", where 15 is the first that is kept."""
    if value is None or value == "None":
        return []
    if isinstance(value, Sequence) and not isinstance(value, str) and all(type(head) is int for head in value):
        return list(value)
    if not isinstance(value, str) or not re.fullmatch(r"\s*\d{1,6}(-\d{1,6})?\s*(,\s*\d{1,6}(-\d{1,6})?\s*)*", value):
        raise ValueError(f"config key 'prune_headids' is {_short(value)}, expected heads as 0,1,12-15")
    heads: list[int] = []
    for part in value.split(","):
        first, dash, end = part.strip().partition("-")
        heads += range(int(first), int(end)) if dash else [int(first)]
    return heads


def masking_section(block: Section, input_dim: int) -> dict[str, Any]:
    """Our section `masking`; a band below 1 is a share of the feature, as in later files."""
    longest = block.get("mask_consecutive_max", int, block.get("mask_consecutive", int, 7))
    band = block.get("mask_frequency", float, 0.0)
    return {
        "proportion": block.get("mask_proportion", float, 0.15),
        "consecutive_min": block.get("mask_consecutive_min", int, longest),
        "consecutive_max": longest,
        "allow_overlap": block.get("mask_allow_overlap", bool, True),
        "bucket_ratio": block.get("mask_bucket_ratio", float, 1.2),
        "frequency": int(band * input_dim) if band < 1 else int(band),
        "noise": block.get("noise_proportion", float, 0.0),
    }


def feature_config(path: str, dim: int) -> FeatureConfig | None:
    """The originals' own features that a data path names, as in `data/libri_mel160_subword5000`; None for others."""
    match = FEATURE_NAME.search(PurePosixPath(path).name)
    if match is None or int(match[2]) != dim:
        return None
    kind, static = match[1], STATIC_DIM.get(match[1], 1025)
    if dim % static or dim // static > (1 if kind == "linear" else 3):
        return None
    return build(FeatureConfig, {"kind": kind, "deltas": dim // static - 1})


def online_features(audio: Section, part: str, dim: int) -> FeatureConfig | str:
    """The features that a block of S3PRL says it computes for `part`, `input` or `target`, of `dim` values.

    Where they are not computed here it is the definition as text. Raises ValueError for a definition of another size.
    """
    config = computed_features(audio, part)
    if config is None:
        return definition(audio, part)
    if config.dim != dim:
        raise ValueError(f"its config says features of {config.dim} values for the {part}, its weights have {dim}")
    return config


def computed_features(audio: Section, part: str) -> FeatureConfig | None:
    """The features that S3PRL's block `audio` (0.3 and later) or `online` (v0.1.0) defines; None of other kinds."""
    first, block = audio.name.rpartition(".")[2] == "online", audio.raw(part)
    keys = set(audio.values) - (OF_RECORDINGS if first else set())
    known = keys <= {*AUDIO_KEYS, "input", "target"} if first else keys == {*AUDIO_KEYS, "input", "target"}
    if not known or not isinstance(block, Mapping):
        return None
    if not (set(block) <= ONLINE_KEYS and "feat_type" in block if first else set(block) == ONLINE_KEYS):
        return None
    if None in [audio.values[key] for key in keys] or None in block.values():
        return None
    usual, section = (FIRST_PART if first else {}), audio.section(part)
    section.raw("channel")  # there is one here
    kind, log = section.get("feat_type", str), section.get("log", bool, usual.get("log"))
    deltas, cmvn = section.get("delta", int, usual.get("delta")), section.get("cmvn", bool, usual.get("cmvn"))
    if kind not in ONLINE_KINDS or not 0 <= deltas <= 2 or (kind == "mfcc" and log):
        return None
    stated = {key: audio.get(key, wanted, FIRST_ONLINE[key] if first else None) for key, wanted in AUDIO_KEYS.items()}
    used = {key: value for key, value in {**stated, "log": log}.items() if key not in UNUSED[ONLINE_KINDS[kind]]}
    values = {"kind": ONLINE_KINDS[kind], "deltas": deltas, "cmvn": "utterance" if cmvn else "none", "s3prl": used}
    rate = {"sample_rate": audio.get("sample_rate", int, 16000)} if first else {}
    try:
        return build(FeatureConfig, values | rate)
    except ValueError as error:
        raise ValueError(f"config block {audio.name!r}: {error}") from None


def definition(audio: Section, part: str) -> str:
    """What a block says of `part` as one line of JSON."""
    other = {"input": "target", "target": "input"}[part]
    values = {key: value for key, value in audio.values.items() if key != other}
    kaldi = values.get("kaldi")
    if isinstance(kaldi, Mapping) and isinstance(kind := kaldi.get("feat_type"), str):
        values["kaldi"] = {key: value for key, value in kaldi.items() if key in ("feat_type", kind)}
    return json.dumps(_plain({audio.name: values}))[:LONGEST_TEXT]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"


def frame_shift(path: str, audio: Section) -> float | None:
    """Seconds between frames, as far as a config or the name of its data tells."""
    stated = stated_shift(audio)
    if stated is not None:
        return stated
    return next((shift for kind, shift in FRAME_SHIFTS.items() if kind in PurePosixPath(path).name), None)


def stated_shift(audio: Section) -> float | None:
    """Seconds between frames that S3PRL's block `audio` states, of its own features or of Kaldi's."""
    if "hop_ms" in audio.values:
        return audio.get("hop_ms", float) / 1000
    kaldi = audio.section("kaldi")
    kind = kaldi.section(kaldi.get("feat_type", str, ""))
    return kind.get("frame_shift", float) / 1000 if "frame_shift" in kind.values else None


def data_section(data: Section, duo: bool) -> dict[str, Any]:
    """Our section `data`: where the original's features lay."""
    path, target = data.get("data_path", str, ""), data.get("target_path", str, "")
    train = data.raw("train_set")
    return {
        "train": stores(path, train),
        "test": stores(path, data.raw("test_set")),
        "target": stores(target, train) if duo else [],
    }


def stores(folder: str, splits: Any) -> list[str]:
    """Splits of a store, as a config of ours names them."""
    known = isinstance(splits, list) and all(isinstance(split, str) for split in splits)
    return [f"{folder}/{split}" for split in splits] if folder and known else []


def pretrain_config(config: Section, task: Section, run: Section, input_dim: int, duo: bool) -> PretrainConfig:
    """The whole config; `task` is empty where the model's block says how to mask, `duo` is for another target."""
    return build(PretrainConfig, pretrain_values(config, task, run, input_dim, duo))


def pretrain_values(config: Section, task: Section, run: Section, input_dim: int, duo: bool) -> dict[str, Any]:
    """The same as keys and values of ours."""
    name = model_name(config)
    block, optimizer = config.section(name), run.section("optimizer")
    runner = run_section(run)
    kind = optimizer.get("type", str, "") or optimizer.get("name", str, "adam")
    steps = runner.get("total_steps", int, 500_000)
    rate = optimizer.get("learning_rate", float, 0.0) or optimizer.get("lr", float, 4e-4)
    clip = optimizer.get("gradient_clipping", float, 0.0) or runner.get("gradient_clipping", float, 1.0)
    masked = task if task.values else block
    return {
        "data": data_section(config.section("dataloader"), duo),
        "model": model_section(block, task),
        "masking": masking_section(masked, input_dim * block.get("downsample_rate", int, 1)),
        "optimizer": {
            "name": OPTIMIZERS.get(kind, "adamw"),
            "lr": rate,
            "warmup": optimizer.get("warmup_proportion", float, 0.07),
            "clip": clip,
        },
        "trainer": {
            "steps": max(steps // batches_per_step(config, run), 1),
            "accumulation": accumulation(run),
            "precision": "fp32",
        },
    }


def model_name(config: Section) -> str:
    """The section of the model: the first Mockingjay has another name for it."""
    return "transformer" if "transformer" in config.values else "mockingjay"


def run_section(run: Section) -> Section:
    """The section that says how long a run is."""
    return run.section("runner" if "runner" in run.values else "solver")


def accumulation(run: Section) -> int:
    """Batches of an update."""
    counts = run.section("optimizer").get("gradient_accumulation_steps", int, 0)
    return counts or run_section(run).get("gradient_accumulate_steps", int, 0) or 1


def batches_per_step(config: Section, run: Section) -> int:
    """The first Mockingjay counts its steps in batches, S3PRL in updates."""
    return accumulation(run) if model_name(config) == "mockingjay" else 1
