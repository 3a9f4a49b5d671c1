"""Stores, tables of recordings, Kaldi's archives, the originals' APC features."""

import gzip
import lzma
import pickle
from pathlib import Path

import numpy as np
import yaml

from tests.campaign.families.base import CPU, NEW, PROBE, RUNNER, Input, newly_huge, pick
from tests.campaign.judge import Expected
from tests.campaign.mutations.arrays import changed_array
from tests.campaign.mutations.pickles import hostile
from tests.campaign.mutations.raw import changed, cut
from tests.campaign.mutations.texts import changed_lines, changed_table, changed_yaml
from tests.campaign.mutations.values import changed_tree

CKPT = "world/ckpt/base/best.ckpt"


def stores(world: Path, rng: np.random.Generator) -> Input:
    """A store with a wrong array, table or features.yaml."""
    files = {
        f"in/{name}": (world / "data/mel" / name).read_bytes() for name in ("features.yaml", "train.csv", "train.npy")
    }
    name = str(rng.choice(list(files)))
    old, lacking = files[name], False
    if name.endswith("npy"):
        data, how, lacking = changed_array(old, rng)
    elif name.endswith("csv"):
        data, how = changed_table(old, rng)
    else:
        data, how = changed_yaml(yaml.safe_load(old), rng)
    files[name] = data
    words = pick(
        rng,
        (*NEW, "--config", "world/good.yaml", "data.train=[in/train]"),
        (*NEW, "--config", "world/good.yaml", "data.train=[in/train]", "--dry_run"),
        (*PROBE, "--upstream", "baseline", "--config", "world/probe.yaml", "data.train=[in/train]"),
        (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "in/train", "--output", "out"),
        (RUNNER, "--extract", *CPU, "--ckpt", CKPT, "--input", "in/train", "--output", "out", "--format", "ark"),
    )
    whole = lacking and data != old and "--dry_run" not in words
    huge = not name.endswith("npy") and newly_huge(old, data)
    return Input(words, f"{Path(name).name}: {how}", files, Expected(whole, huge))


def tables(world: Path, rng: np.random.Generator) -> Input:
    """A manifest for preprocess_any.py, or a table of lengths for training from audio."""
    if rng.random() < 0.5:
        old = (world / "manifest.csv").read_bytes().replace(b"audio/", b"world/audio/")
        tabs = rng.random() < 0.2
        data, how = changed_table(old.replace(b",", b"\t") if tabs else old, rng, "\t" if tabs else ",")
        name = "in.tsv" if tabs else "in.csv"
        words = pick(
            rng,
            ("preprocess/preprocess_any.py", "--data_path", name, "--name", "out", "--n_jobs", "1"),
            ("preprocess/preprocess_any.py", "--data_path", name, "--name", "out", "--n_jobs", "1", "--clip"),
        )
        return Input(words, f"manifest: {how}", {name: data}, Expected(huge=newly_huge(old, data)))
    old = (world / "lengths.csv").read_bytes().replace(b"audio/", b"world/audio/")
    data, how = changed_table(old, rng)
    online = (*NEW, "--config", "world/good.yaml", "--online_config", "world/online.yaml", "data.train=[in.csv]")
    words = pick(
        rng,
        online,
        (*online, "--dry_run"),
        ("preprocess/generate_len_for_bucket.py", "--data_path", "in.csv", "--name", "out"),
    )
    return Input(words, f"lengths: {how}", {"in.csv": data}, Expected(huge=newly_huge(old, data)))


def kaldi(world: Path, rng: np.random.Generator) -> Input:
    """An archive, binary or text, or an scp."""
    name = str(rng.choice(["a.ark", "a.ark", "text.ark", "a.scp", "a.scp", "a.ark.gz"]))
    old = (world / "kaldi" / name.removesuffix(".gz")).read_bytes()
    lacking = False
    if name == "a.ark.gz":
        packed = gzip.compress(old, mtime=0)
        choice = rng.integers(3)
        data = (cut(packed, rng), changed(packed, rng)[0], gzip.compress(b"u " + bytes(400 << 20), 1, mtime=0))[choice]
        how, lacking = ("cut", "bytes", "bomb of 400 MB")[choice], bool(choice == 0)
    elif name == "a.ark" and rng.random() < 0.3:
        data, how, lacking = cut(old, rng), "cut", False  # it may end after an entry, or before the first
    elif name.endswith("ark"):
        data, how = changed(old, rng) if name == "a.ark" else changed_lines(old, rng)
    else:
        data, how = changed_lines(old, rng)
    words = ("tests/campaign/entries/read_kaldi.py", f"in/{name}")
    return Input(words, f"{name}: {how}", {f"in/{name}": data}, Expected(lacking))


def apc(world: Path, rng: np.random.Generator) -> Input:
    """Text of APC's features, plain and packed, and folders of tensors with lengths.pkl."""
    words = ["preprocess/preprocess_apc.py", "--name", "out", "--data_path"]
    kind = str(rng.choice(["text", "text", "xz", "gz", "lengths", "lengths", "tensor", "hostile"]))
    text = (world / "texts/train.blogmel").read_bytes()
    if kind == "text":
        data, how = changed_lines(text, rng)
        return Input(
            (*words, "in/train.blogmel"),
            f"text: {how}",
            {"in/train.blogmel": data},
            Expected(huge=newly_huge(text, data)),
        )
    if kind == "gz":  # which is refused by its name, before anybody unpacks it
        choice = int(rng.integers(4))
        packed = gzip.compress(changed_lines(text, rng)[0] if choice else b"u1\n" + b"0" * (400 << 20), 1, mtime=0)
        data = (packed, cut(packed, rng), changed(packed, rng)[0], packed)[choice]
        how, name = ("bomb of 400 MB", "cut", "bytes", "text")[choice], "in/train.blogmel.gz"
        return Input((*words, name if rng.random() < 0.5 else "in"), f"gz: {how}", {name: data}, Expected(lacking=True))
    if kind == "xz":
        packed, choice = (world / "apc/train.blogmel.xz").read_bytes(), int(rng.integers(4))
        data = _packed(packed, text, choice, rng)
        how = ("cut", "bytes", "text", "bomb of 400 MB")[choice]
        return Input(
            (*words, "in/train.blogmel.xz"),
            f"xz: {how}",
            {"in/train.blogmel.xz": data},
            Expected(lacking=bool(choice == 0)),
        )
    files = {f"in/{path.name}": path.read_bytes() for path in sorted((world / "apc/train").iterdir())}
    name = "in/lengths.pkl" if kind == "lengths" or rng.random() < 0.5 else "in/u1.pt"
    if kind == "hostile":
        files[name], how = hostile(rng)
    elif kind == "lengths":
        tree, how = changed_tree(pickle.loads(files["in/lengths.pkl"]), rng)
        files[name] = pickle.dumps(tree, int(rng.choice([0, 2, 4])))
    else:
        files[name], how = changed(files[name], rng)
    return Input((*words, "in"), f"{Path(name).name}: {how}", files)


def _packed(packed: bytes, text: bytes, choice: int, rng: np.random.Generator) -> bytes:
    if choice == 0:
        return cut(packed, rng)
    if choice == 1:
        return changed(packed, rng)[0]
    return lzma.compress(changed_lines(text, rng)[0] if choice == 2 else b"u1\n" + b"0" * (400 << 20), preset=0)
