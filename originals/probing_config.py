"""The originals' YAML files of probes as configs of ours: S3PRL's downstream.yaml, Mockingjay's block `downstream`."""

from pathlib import Path
from typing import Any, NamedTuple

from downstream.config import DownstreamConfig
from mockingjay.foreign.configs import ConfigSource, convert, frames_of, is_original, missing_data, rhythm
from mockingjay.foreign.settings import Section, stores
from mockingjay.upstreams.selection import AVERAGE
from utility.config import build, read_yaml
from utility.text import short

CLASSIFIERS = {  # task -> its block in S3PRL's `model`, and in Mockingjay's `downstream`
    "phone_linear": ("linear", "linear"),
    "phone_1hidden": ("1hidden", "linear"),
    "phone_concat": ("concat", "linear"),
    "speaker_frame": ("linear", "linear"),
    "speaker_utterance": ("utterance", "rnn"),
}
PRETRAINING = "of pre-training: runner_mockingjay.py --train --config FILE"
HERE = "dev chooses, test is read once"
UNUSED = {
    **dict.fromkeys(("mockingjay", "transformer", "dual_transformer", "optimizer", "solver"), PRETRAINING),
    "online": "a probe reads stores, by preprocess_any.py",
    "dataloader.n_jobs": "",
    "dataloader.dev_batch_size": "",
    "dataloader.max_timestep": "",
    "dataloader.max_label_len": "",
    "dataloader.sentiment_config": "",
    "dataloader.libri_root": "",
    "dataloader.target_path": "",
    "dataloader.phone_path": "data.alignment=data/NAME, by preprocess_alignment.py",
    **{f"{section}.evaluation": HERE for section in ("runner", "downstream")},
    **{f"{section}.load_model_list": "" for section in ("runner", "downstream")},
    "runner.apex": "",
    "runner.time_scale": "",
    **{f"runner.{name}": "" for name in ("LinearDisentangler", "MeanDisentangler", "MeanClassifier", "RnnClassifier")},
    **{f"runner.{name}": "" for name in ("SelfAttentionClassifier", "Conv1dClassifier")},
}


def read_probing_config(file: Path | None, task: str) -> ConfigSource:
    """A probing YAML, ours or an original's, of which `task` says which classifier is meant."""
    values = {} if file is None else read_yaml(file)
    if not is_original(values):
        return ConfigSource(file)
    return convert(str(file), values, lambda config: _probing(config, task), UNUSED)


def _probing(config: Section, task: str) -> ConfigSource:
    first = isinstance(config.values.get("downstream"), dict)  # Mockingjay: all of a probe in one block
    if not first and ({"mockingjay", "transformer"} & config.values.keys() or not config.values.get("runner")):
        raise ValueError(
            "it is of pre-training: of a probe it would have a section runner without a model, or downstream"
        )
    runner, data = config.section("downstream" if first else "runner"), config.section("dataloader")
    models = runner if first else config.section("model")
    names = {blocks[first] for blocks in CLASSIFIERS.values()}
    found = {name: _classifier(models.section(name)) for name in names if name in models.values}
    chosen = found.get(CLASSIFIERS[task][first] if task in CLASSIFIERS else "", Classifier({}, {}, ()))
    where, missing = _data(data)
    values: dict[str, Any] = {
        "data": where,
        "probe": chosen.probe,
        "upstream": chosen.upstream,
        "optimizer": {
            "lr": runner.get("learning_rate", float, 4e-3),
            "warmup": runner.get("warmup_proportion", float, 0.07),
            "clip": runner.get("gradient_clipping", float, 1.0),
        },
        "trainer": {"steps": runner.get("total_steps", int, 500_000), "patience": None, **rhythm(runner)},
    }
    build(DownstreamConfig, values)
    return ConfigSource(values, "; ".join(chosen.notes), missing)


class Classifier(NamedTuple):
    """A classifier of the originals: our sections `probe` and `upstream`, and what of it there is not here."""

    probe: dict[str, Any]
    upstream: dict[str, Any]
    notes: tuple[str, ...]


def _classifier(block: Section) -> Classifier:
    """A block of `model`, or of Mockingjay's `downstream`: feed-forward, or of whole utterances."""
    upstream, hidden = _selected(block)
    block.get("input_dim", int, 0)
    size, drop = block.get("hidden_size", int, 0), block.get("drop", float, 0.0)
    if "mode" in block.values:  # of whole utterances
        if block.get("mode", str, "classification") != "classification":
            raise ValueError(f"config key {block.path('mode')!r} is {short(block.raw('mode'))}: probes classify")
        rate, before, after = (
            block.get("sample_rate", int, 1),
            block.raw("pre_linear_dims"),
            block.raw("post_linear_dims"),
        )
        if size and not before and all(width == size for width in after or ()):
            recurrent = {"head": "gru", "hidden_size": size, "skip": rate, "dropout": drop}
            return Classifier({**recurrent, "hidden_layers": len(after or ())}, upstream, hidden)
        plain = not size and not before and not after and rate == 1
        note = f"{block.name}: here the mean of all frames and one linear layer, without GRU or hidden layers"
        return Classifier({}, upstream, (*hidden, *(() if plain else (note,))))
    if block.get("sequencial", bool, False):
        raise ValueError(f"config key {block.path('sequencial')!r}: there is no recurrent classifier here")
    # In Mockingjay's first files, which say nothing of layers, two of them were hidden.
    layers = block.get("layers", int, 3)
    layers = 1 if block.get("linear", bool, False) else layers
    probe: dict[str, Any] = {"hidden_layers": layers - 1}
    if layers > 1:
        probe |= {"dropout": drop, **({"hidden_size": size} if size else {})}
    if "concat" in block.values:
        probe["context"] = block.get("concat", int)
    return Classifier(probe, upstream, hidden)


def _selected(block: Section) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Our section `upstream` of `select_hidden`, which counts the layers without the embedding."""
    value = block.raw("select_hidden")
    if value in (None, "upstream", "last"):
        return {}, ()
    if value in ("weighted_sum", "weighted_sum_norm"):
        return {"weighted_sum": True}, ()
    if value == "first" or (type(value) is int and value >= 0):
        return {"layer": 1 if value == "first" else value + 1}, ()
    if value == "average":
        return {"layer": AVERAGE}, (f"{block.path('select_hidden')} average: here the embedding counts, too",)
    raise ValueError(
        f"config key {block.path('select_hidden')!r} is {short(value)}, expected last, first, weighted_sum ..."
    )


def _data(data: Section) -> tuple[dict[str, Any], str]:
    """Our section `data`, and the line about features that are not on this machine."""
    path, batch = data.get("data_path", str, ""), data.get("batch_size", int, 0)
    here = bool(path) and Path(path).is_dir()
    values: dict[str, Any] = {"label_fraction": data.get("train_proportion", float, 1.0)}
    for part in ("train", "dev", "test"):
        listed = stores(path, data.raw(f"{part}_set"))
        values[part] = listed if here else []
    if batch:
        frames = frames_of(batch)
        values |= {"batch_frames": frames, "fine_tune_frames": frames, "batch_utterances": batch}
    return values, "" if here else missing_data(path)
