"""A folder in which the owner's commands work as typed: a tiny store, configs of the usual names, a trained run."""

import contextlib
import shutil
from pathlib import Path

import yaml

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from tests.helpers.speech import MEL, write_store
from utility.config import as_dict, build
from utility.labels.alignment import write_alignment
from utility.training.checkpoint import save_checkpoint

RUN = Path("result/result_mockingjay/mockingjay_libri_sd1337")
MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
UTTERANCES = {"train": 9, "dev": 6, "test": 3}
MASKING = {"proportion": 0.4, "consecutive_min": 2, "consecutive_max": 2}
TRAINER = {"steps": 2, "eval_every": 1, "log_every": 1, "precision": "fp32"}


def build_world(root: Path) -> None:
    """Fill `root`, the working directory of the commands, and let the owner's first line train there."""
    parts = {}
    for number, (part, count) in enumerate(UTTERANCES.items()):
        write_store(root / "data/mel" / part, {f"s{k % 3}-{part}{k}": 30 for k in range(count)}, seed=number)
        parts[part] = [f"data/mel/{part}"]
    aligned = [(f"s{k % 3}-{part}{k}", [(0.0, 0.2, "aa"), (0.2, 0.37, "b")]) for part in parts for k in range(9)]
    write_alignment(root / "phones", aligned)
    (root / "config").mkdir()
    pretraining = {"data": parts, "model": MODEL, "masking": MASKING, "trainer": TRAINER}
    probing = {"data": {**parts, "alignment": "phones", "cache": "cache"}, "trainer": {"steps": 2, "eval_every": 1}}
    for name, values in {
        "mockingjay_libri": pretraining,
        "other": {**pretraining, "masking": {**MASKING, "proportion": 0.6}},
        "downstream": probing,
        "probe": {**probing, "optimizer": {"lr": 0.01}},
        "online": {"data": parts, "online": {}},
    }.items():
        (root / "config" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    with contextlib.chdir(root):
        runner_mockingjay.main(["--train"])
        for copy in (RUN.with_name("mockingjay_libri_sd7"), RUN.with_name("other_sd1337"), RUN.with_name("named")):
            shutil.copytree(RUN, copy)
        shutil.copytree(RUN.parent, "elsewhere")
    _write_apc(root / "apc.ckpt")


def _write_apc(path: Path) -> None:
    config = build(PretrainConfig, {"objective": "apc", "encoder": "gru", "gru": {"layers": 1, "hidden_size": 8}})
    about = {"config": as_dict(config), "seed": 3, "input_dim": 80, "target_dim": 80, "frame_shift": MEL.frame_shift}
    about |= {"features": as_dict(MEL), "target": as_dict(MEL), "state": {"step": 1}}
    save_checkpoint(path, "pretrain", {"model": new_model(config, 80, 80, 3).state_dict(), **about})


def tree(root: Path) -> dict[str, object]:
    """Every folder, and every file with its content."""
    return {str(path.relative_to(root)): path.is_file() and path.read_bytes() for path in root.rglob("*")}
