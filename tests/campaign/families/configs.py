"""Configs and the words of commands."""

from pathlib import Path

import numpy as np
import yaml

from tests.campaign.families.base import CPU, DOWNSTREAM, NEW, PROBE, RUNNER, Input, newly_huge, pick
from tests.campaign.judge import Expected
from tests.campaign.mutations.texts import changed_yaml
from tests.campaign.mutations.values import TEXTS, value

DRY = ("--dry_run",)
CKPT = "world/ckpt/base/best.ckpt"
COMMANDS: tuple[tuple[str, ...], ...] = (
    (*NEW, "--config", "world/good.yaml"),
    (*NEW, "--config", "world/good.yaml", "--seed", "3", "model.layers=2"),
    (*NEW, "--config", "world/good.yaml", "--load", "--ckpt", CKPT),
    (*NEW, "--config", "world/good.yaml", "--online_config", "world/online.yaml", *DRY),
    (RUNNER, "--info", CKPT),
    (RUNNER, "--export", "safetensors", "--ckpt", CKPT, "--output", "out"),
    (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "world/data/mel/test", "--output", "out", "--layer", "all"),
    (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "world/data/mel/test", "--output", "out", "--format", "ark"),
    (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "world/data/mel/test", "--output", "out", "--shard", "1/2"),
    (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "world/data/mel/test", "--output", "out", "--layer",
     "ws:world/exp/result_pretrained_phone_linear/summed/result.json"),
    (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "world/audio", "--output", "out"),
    (RUNNER, "--test", *CPU, "--ckpt", CKPT, "--input", "world/data/mel/test", "--output", "out",
    "masking.proportion=0.5"),
    (*PROBE, "--upstream", "baseline", "--config", "world/probe.yaml"),
    (*PROBE, "--upstream", "baseline", "--config", "world/probe.yaml", "--sweep", "lr=0.01,0.02", "--seeds", "2", *DRY),
    (*PROBE, "--ckpt", CKPT, "--config", "world/probe.yaml", "--weighted_sum"),
    (*PROBE, "--ckpt", CKPT, "--config", "world/probe.yaml", "--layer", "0", "probe.dropout=0.1", *DRY),
    (DOWNSTREAM, "--run", "phone_concat", *CPU, "--expdir", "out", "--upstream", "baseline", "--config",
    "world/probe.yaml", *DRY),
    (RUNNER, "--train_phone", *CPU, "--expdir", "out", "--config", "world/probe.yaml"),
    ("preprocess/preprocess_any.py", "--data_path", "world/audio", "--name", "out", "--n_jobs", "1"),
    ("preprocess/preprocess_any.py", "--data_path", "world/manifest.csv", "--name", "out", "--n_jobs", "1", "--clip"),
    ("preprocess/preprocess_any.py", "--train", "world/audio", "--name", "out", "--n_jobs", "1", "--sample_rate",
    "8000"),
    ("preprocess/preprocess_libri.py", "--data_path", "world/libri", "--splits", "dev-clean", "--n_jobs", "1"),
    ("preprocess/preprocess_timit.py", "--data_path", "world/timit", "--n_jobs", "1", "--feature_type", "mfcc",
    "--delta"),
    ("preprocess/generate_len_for_bucket.py", "--data_path", "world/audio", "--name", "out", "--n_jobs", "1"),
    ("preprocess/preprocess_alignment.py", "--data_path", "world/texts/a.ctm", "--name", "out", "--format", "ctm"),
    ("preprocess/preprocess_alignment.py", "--data_path", "world/texts/u.TextGrid", "--phone_set", "arpabet39", *DRY),
    ("preprocess/preprocess_apc.py", "--data_path", "world/apc/train", "--name", "out", "--frame_shift", "0.02"),
)  # fmt: skip
OVERRIDES = (
    "model.layers", "model.hidden_size", "model.heads", "model.ffn_size", "model.dropout", "model.max_input_length",
    "model.downsample_rate", "loader.max_frames", "loader.batch_frames", "loader.workers", "optimizer.lr",
    "optimizer.betas",
    "optimizer.warmup", "trainer.steps", "trainer.accumulation", "trainer.precision", "trainer.log_every",
    "masking.proportion",
    "masking.consecutive_max", "data.train", "data.test", "data.target", "objective", "encoder", "apc.time_shift",
    "gru.layers",
    "gru.hidden_size", "model", "data.alignment", "data.cache", "data.split_seed", "data.label_fraction",
    "probe.hidden_size",
)  # fmt: skip
FLAGS = (
    "--seed", "--layer", "--shard", "--num", "--dtype", "--precision", "--format", "--input", "--name", "--splits",
    "--n_jobs",
    "--sample_rate", "--feature_type", "--frame_shift", "--sweep", "--seeds", "--upstream", "--run", "--tier",
    "--phone_set",
    "--audio_extension", "--speaker_from", "--id_from", "--resume", "--load", "--dry_run", "--no-dry_run",
    "--overwrite", "--wat",
)  # fmt: skip
INPUTS = (
    "world",
    "world/data",
    "world/data/mel",
    "world/texts/a.ctm",
    "world/manifest.csv",
    "nowhere",
    "/dev/zero",
    "pipe",
    "/",
)


def configs(world: Path, rng: np.random.Generator) -> Input:
    """YAML for pre-training, probing and training from audio; one in twelve is no regular file."""
    kind = str(rng.choice(["good", "good", "probe", "online"]))
    dry = DRY if rng.random() < 0.7 else ()
    if kind == "good":
        words = (*NEW, *dry, "--config", "in.yaml")
    elif kind == "probe":
        words = (*PROBE, *dry, "--upstream", "baseline", "--config", "in.yaml")
    else:
        words = (*NEW, *dry, "--config", "world/good.yaml", "--online_config", "in.yaml")
    if rng.random() < 0.02:
        path = str(rng.choice(["pipe", "/dev/zero", "world/data", "/dev/null"]))
        words = tuple(path if word == "in.yaml" else word for word in words)
        return Input(words, f"{kind}: config {path}", pipes=("pipe",))
    old = (world / f"{kind}.yaml").read_bytes()
    data, how = changed_yaml(yaml.safe_load(old), rng)
    return Input(words, f"{kind}: {how}", {"in.yaml": data}, Expected(huge=newly_huge(old, data)))


def command_words(world: Path, rng: np.random.Generator) -> Input:
    """The words of a sound command: some lost, repeated, replaced, added."""
    words = list(pick(rng, *COMMANDS))
    old = " ".join(words).encode()
    names = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        at = int(rng.integers(1, len(words) + 1))
        how = str(
            rng.choice(["lost", "twice", "value", "value", "override", "override", "override", "flag", "swap", "input"])
        )
        if how == "lost" and at < len(words) and len(words) > 2:
            words.pop(at)
        elif how == "twice" and at < len(words):
            words.insert(at, words[at])
        elif how == "value":
            places = [k for k in range(1, len(words)) if not words[k].startswith("--")]
            if places:
                words[places[rng.integers(len(places))]] = _word(rng)
        elif how == "override":
            words.append(f"{OVERRIDES[rng.integers(len(OVERRIDES))]}={_word(rng)}")
        elif how == "flag":
            flag = FLAGS[rng.integers(len(FLAGS))]
            words[at:at] = [flag] if rng.random() < 0.3 else [flag, _word(rng)]
        elif how == "swap" and at + 1 < len(words):
            words[at], words[at + 1] = words[at + 1], words[at]
        elif how == "input":
            places = [k for k in range(1, len(words)) if words[k].startswith("world/")]
            if places:
                words[places[rng.integers(len(places))]] = str(rng.choice(INPUTS))
        names.append(how)
    words = [_harmless(words, number) for number in range(len(words))]
    huge = newly_huge(old, " ".join(words).encode(errors="surrogatepass")) or "/" in words  # the whole machine
    return Input(tuple(words), "+".join(names), expected=Expected(huge=huge), pipes=("pipe",), own_world=True)


def _word(rng: np.random.Generator) -> str:
    word = TEXTS[rng.integers(len(TEXTS))] if rng.random() < 0.5 else None
    if word is None:
        new = value(rng, 1)
        is_long = isinstance(new, int) and abs(new) > 10**40
        word = "1" + "0" * 400 if is_long else yaml.safe_dump(new, default_flow_style=True, width=10**6).split("\n")[0]
    return word.replace("\0", "").encode("utf-8", "replace").decode()


def _harmless(words: list[str], number: int) -> str:
    """A word, but for those that would write to, or wait for, what is not ours."""
    word, before = words[number], words[number - 1] if number else ""
    writes = before in ("--output", "--output_path", "--ckpdir", "--logdir", "--expdir", "--name")
    if writes and (word.startswith(("/", "~")) or word == "pipe" or ".." in word):
        return "out"
    return "--wat" if word.startswith("--dask") else word
