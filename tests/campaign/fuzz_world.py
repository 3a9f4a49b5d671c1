"""The sound files that mutations start from: configs, stores, alignments, checkpoints, exports, results."""

import contextlib
import io
import json
import lzma
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import run_downstream
import runner_mockingjay
from tests.campaign.mutations.audio import seeds
from tests.helpers.checkpoints import GRU, write_checkpoint
from tests.helpers.s3prl_later import checkpoints
from tests.helpers.speech import wav, write_store
from utility.kaldi.archives import write_ark
from utility.labels.alignment import write_alignment

MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
CKPT = "ckpt/base/best.ckpt"
PROBE = "exp/result_baseline_phone_linear/done"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
PHONES = [(0.0, 0.1, "aa"), (0.1, 0.3, "b")]
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.5
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.3
            text = "aa"
        intervals [2]:
            xmin = 0.3
            xmax = 0.5
            text = "b"
"""
TEXTS = {
    "u.TextGrid": GRID,
    "short.TextGrid": 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n1\n"IntervalTier"\n'
    '"phones"\n'
    '0\n1\n2\n0\n0.5\n"aa"\n0.5\n1\n"b"\n',
    "a.ctm": ";; made\nu1 1 0.00 0.10 aa\nu1 1 0.10 0.20 b 0.9\nu2 1 0.00 0.25 sil\nu2 1 0.25 0.10 aa\n",
    "SI1.PHN": "0 2400 h#\n2400 4800 aa\n4800 9000 b\n",
    "SI1.WRD": "0 2400 she\n2400 4800 had\n4700 9000 your\n",
    "montreal.txt": "0.0 0.1 aa\n0.1 0.3 b\n0.3 0.35 sil\n",
    "cpc.txt": "u1 1 1 1 2 2 0\nu2 0 0 3 3 3 1\n",
    "a.json": json.dumps(
        {"aa": [["u1", "u1.wav", 0.0, 0.1], ["u2", "u2.wav", 0.1, 0.2]], "b": [["u1", "u1.wav", 0.1, 0.3]]}
    ),
    "b.json": json.dumps({"u1": ["u1.wav", [0.0, 0.1, "aa"], [0.1, 0.3, "b"]], "u2": ["u2.wav", [0.0, 0.2, "b"]]}),
    "train.blogmel": "u1\n1 2 3\n4 5 6\n.\nu2\n1.5 -2e-3 3\n.\n",
}


def build_world(root: Path) -> Path:
    """Fill the new folder `root`; nothing of it depends on the machine."""
    root.mkdir(parents=True)
    for number, (part, first) in enumerate({"train": "s", "dev": "d", "test": "t"}.items()):
        lengths = {f"{first}{speaker}-{k}": 30 for speaker in range(3) for k in range(4)}
        write_store(root / "data/mel" / part, lengths, seed=number)
    write_alignment(root / "phones", [(f"{f}{s}-{k}", PHONES) for f in "sdt" for s in range(3) for k in range(4)])
    for name, text in TEXTS.items():
        (root / "texts").mkdir(exist_ok=True)
        (root / "texts" / name).write_text(text)
    _configs(root)
    with contextlib.chdir(root), contextlib.redirect_stdout(io.StringIO()):
        _audio(root)
        _apc(root / "apc")
        os.symlink(".", "world")  # files name others as inputs beside a link to the world do
        _kaldi(Path("world/kaldi"))
        _checkpoints()
        os.unlink("world")
    return root


def _configs(root: Path) -> None:
    parts = {part: [f"world/data/mel/{part}"] for part in ("train", "dev", "test")}
    trainer = {"steps": 1, "eval_every": 1, "save_every": 1, "log_every": 1, "precision": "fp32"}
    pretrain = {
        "data": parts, "model": {**MODEL, "downsample_rate": 1, "dropout": 0.1, "max_input_length": None},
        "masking": {"proportion": 0.4, "consecutive_min": 2, "consecutive_max": 2}, "optimizer": {"lr": 0.001,
        "warmup": 0.1},
        "loader": {"max_frames": 200, "batch_frames": 400}, "trainer": trainer,
    }  # fmt: skip
    probe = {
        "data": {**parts, "alignment": "world/phones", "cache": "cache", "split": "given"},
        "upstream": {"layer": "last"},
        "probe": {"hidden_size": 8}, "optimizer": {"lr": 0.01, "betas": [0.9, 0.99]}, "trainer": {"steps": 2,
        "eval_every": 1, "save_every": 1, "max_keep": 2},
    }  # fmt: skip
    online = {
        "data": {"train": ["world/lengths.csv"], "dev": [], "test": []},
        "online": {
            "target_level": -25.0, "noise_proportion": 0.5, "noise_type": "gaussian", "snrs": [3.0, 6.0],
            "dev_noise": False,
            "input": {"kind": "mel", "deltas": 0, "cmvn": "utterance", "sample_rate": 16000},
            "target": None,
        },
    }  # fmt: skip
    for name, values in {"good": pretrain, "probe": probe, "online": online}.items():
        (root / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def _audio(root: Path) -> None:
    for number in range(3):
        wav(root / f"audio/train/s{number}/x{number}.wav", 8000, seed=number)
    rows = "".join(f"x{n},audio/train/s{n}/x{n}.wav,s{n},0.5,16000,8000\n" for n in range(3))
    (root / "lengths.csv").write_text(f"id,path,speaker,duration,rate,num_samples\n{rows}")
    manifest = "".join(f"m{n},audio/train/s{n}/x{n}.wav,s{n},train,0.1,0.4\n" for n in range(3))
    (root / "manifest.csv").write_text(f"id,path,speaker,split,start,end\n{manifest}")
    wav(root / "libri/dev-clean/84/1/84-1-0000.wav", 8000)
    wav(root / "timit/TRAIN/DR1/FABC0/SI1.wav", 8000)
    (root / "recordings").mkdir()
    for number, seed in enumerate(seeds(np.random.default_rng(0))):
        (root / "recordings" / f"{number:02}.{seed.extension}").write_bytes(seed.data)


def _apc(folder: Path) -> None:
    (folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        torch.save(
            torch.from_numpy(rng.standard_normal((5 + number, 4)).astype(np.float32)), folder / f"train/u{number}.pt"
        )
    (folder / "train/lengths.pkl").write_bytes(pickle.dumps({f"u{n}.pt": 5 + n for n in range(3)}, 2))
    (folder / "train.blogmel.xz").write_bytes(lzma.compress(TEXTS["train.blogmel"].encode()))


def _kaldi(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    matrices = {f"u{number}": rng.standard_normal((6, 4)).astype(np.float32) for number in range(3)}
    write_ark(folder / "a.ark", matrices.items())
    text = "".join(
        f"{key}  [\n" + "\n".join("  " + " ".join(f"{v:.4f}" for v in row) for row in m) + " ]\n"
        for key, m in matrices.items()
    )
    (folder / "text.ark").write_text(text)


def _checkpoints() -> None:
    shutil.copytree(FIXTURES, "originals", ignore=shutil.ignore_patterns("*.npz", "*.md", "*.wav", "ffn_*"))
    for name, content in checkpoints().items():
        torch.save(content, f"originals/{name}.ckpt")
    quiet = ["--cpu", "--no-msg"]
    runner_mockingjay.main(
        ["--train", *quiet, "--config", "good.yaml", "--ckpdir", "ckpt", "--logdir", "log", "--name", "base"]
    )
    gru: dict[str, Any] = GRU
    write_checkpoint(Path("ckpt/apc.ckpt"), **gru)
    for form in ("safetensors", "s3prl", "hf"):
        runner_mockingjay.main(["--export", form, "--no-msg", "--ckpt", CKPT, "--output", f"export/{form}"])
    for path in (Path("ckpt/apc.ckpt"), *sorted(Path("originals").iterdir())):
        words = ["--export", "safetensors", "--no-msg", "--ckpt", str(path), "--output", f"export/{path.name}"]
        told = ["--assume", "residual=true"] if path.suffix == ".pt" else []  # an APC state dict does not say
        runner_mockingjay.main([*words, *told])
    words = ["--run", "phone_linear", *quiet, "--config", "probe.yaml", "--expdir", "exp", "--name", "done"]
    run_downstream.main([*words, "--upstream", "baseline"])
    run_downstream.main([*words[:-1], "summed", "--ckpt", CKPT, "--weighted_sum"])
    shutil.rmtree("cache", ignore_errors=True)
