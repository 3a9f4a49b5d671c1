"""Every command of the README runs, in its order, on a smaller corpus and with fewer steps."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

SMALLER = {
    "preprocess/demo_corpus.py": ["--minutes", "1.5", "--speakers", "6"],
    "run_downstream.py": ["--cpu", "trainer.steps=4", "trainer.eval_every=2", "data.batch_frames=300"],
}
TRAINING = ["model.hidden_size=16", "model.heads=2", "model.ffn_size=16", "trainer.steps=4", "trainer.eval_every=2"]

PROBING = SMALLER["run_downstream.py"][1:]


def commands() -> list[list[str]]:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(("python ", "torchrun "))]
    return [shlex.split(line.replace("torchrun ", "python -m torch.distributed.run --standalone ")) for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_of_the_readme_run_in_order(tmp_path):
    for name in (
        "config",
        "preprocess",
        "utility",
        "mockingjay",
        "downstream",
        "commands",
        "originals",
        "runner_mockingjay.py",
        "run_downstream.py",
    ):
        (tmp_path / name).symlink_to(PROJECT / name)
    assert len(commands()) >= 14
    seen = set()
    for _, *words in commands():
        at = next(i for i, word in enumerate(words) if word.endswith(".py"))
        launcher, script, words = words[:at], words[at], words[at + 1 :]
        if "recordings/" in words:
            shutil.copytree(tmp_path / "data/demo_corpus/LibriSpeech/dev", tmp_path / "recordings")
        smaller = [*SMALLER.get(script, []), *(TRAINING if "--train" in words else [])]
        smaller += PROBING if "--train_phone" in words else []
        smaller = [] if "--preprocess" in words else smaller
        smaller += ["--num", "1"] if "--plot" in words else []
        done = subprocess.run(
            [sys.executable, *launcher, script, *words, *smaller],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{script} {words}: {done.stderr}"
        assert done.stdout.strip(), f"{script} {words} printed nothing"
        seen.add(script)
    assert seen >= {"preprocess/preprocess_libri.py", "runner_mockingjay.py", *SMALLER}
    shown = {path.suffix for path in (tmp_path / "result/result_mockingjay/demo/best-dump").iterdir()}
    assert shown >= {".png", ".wav", ".npy", ".json"}
    assert len(list((tmp_path / "result").glob("result_*_phone_linear/exp_000/confusion.png"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("script", ["runner_mockingjay.py", "run_downstream.py"])
def test_help_names_every_mode_and_shows_examples(script):
    done = subprocess.run([sys.executable, script, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
