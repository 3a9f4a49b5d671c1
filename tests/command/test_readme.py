"""Every command and every Python block of README.md and docs/*.md runs, on a smaller corpus and with fewer steps."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.campaign.zygote import GIB, Zygote
from tests.conftest import PROJECT
from tests.helpers.files import LINKED
from tests.helpers.huggingface_models import write_model

PAGES = (
    "README.md",
    "docs/report.md",
    "docs/analysis.md",
    "docs/originals.md",
    "docs/export.md",
    "docs/scaling.md",
    "docs/upstreams.md",
    "docs/tasks.md",
    "docs/codes.md",
)
SMALLER = {
    "preprocess/demo_corpus.py": ["--minutes", "1.5", "--speakers", "6"],
    "run_downstream.py": ["--cpu", "trainer.steps=4", "trainer.eval_every=2", "data.batch_frames=300"],
}
TRAINING = ["model.hidden_size=16", "model.heads=2", "model.ffn_size=16", "trainer.steps=4", "trainer.eval_every=2"]
PROBING = SMALLER["run_downstream.py"][1:]
SEVERAL_MACHINES = "--nnodes=4 --nproc_per_node=8 --max-restarts=3 --rdzv_backend=c10d --rdzv_endpoint=head:29500"
TRANSFORMERS = find_spec("transformers") is not None
SCHEDULER = "tcp://10.0.0.1:8786"


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(heading, language, text) of every fenced block of a page."""
    found, heading = [], ""
    text = (PROJECT / page).read_text(encoding="utf-8")
    for match in re.finditer(r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2], match[3]))
    return found


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(heading, words) of every line that starts Python or torchrun; several machines become two processes of one.

    Blocks of `text` are of a reader's own corpora: tests of their tasks run the like."""
    shown = [(heading, block) for heading, language, block in blocks(page) if language != "text"]
    lines = [(heading, line) for heading, block in shown for line in block.splitlines()]
    found = []
    for heading, line in lines:
        if line.startswith(("python ", "torchrun ")):
            line = line.replace(SEVERAL_MACHINES, "--nproc_per_node=2")
            line = line.replace("torchrun ", "python -m torch.distributed.run --standalone ")
            found.append((heading, shlex.split(line)[1:]))
    return found


def run(folder: Path, words: list[str], warm: Zygote) -> str:
    """Run a command of a page, made smaller, in `folder`; what it prints. All but torchrun's start warm."""
    at = next(i for i, word in enumerate(words) if word.endswith(".py"))
    launcher, script, words = words[:at], words[at], words[at + 1 :]
    smaller = [*SMALLER.get(script, []), *(TRAINING if "--train" in words else [])]
    smaller += PROBING if "--train_phone" in words else []
    if "probe.solver=sgd" not in words and any(word.startswith("config/demo_") for word in words):
        strength = [] if any("probe.l2" in word for word in words) else ["probe.l2=[1e-3]"]
        smaller = [*strength, *(word for word in smaller if not word.startswith("trainer."))]  # no steps are made
    smaller = [] if {"--preprocess", "--info", "--export"} & set(words) else smaller
    smaller += ["--num", "1"] if "--plot" in words and script == "runner_mockingjay.py" else []
    if launcher:
        done = subprocess.run(
            [sys.executable, *launcher, script, *words, *smaller],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        code, stdout, stderr = done.returncode, done.stdout, done.stderr
    else:
        outcome = warm.run([script, *words, *smaller], folder, timeout=300, memory=8 * GIB)
        code, stdout, stderr = outcome.code, outcome.stdout, outcome.stderr
    assert code == 0, f"{script} {words}: {stderr}"
    assert stdout.strip(), f"{script} {words} printed nothing"
    return stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory, warm) -> Path:
    """A folder where the README's demo has run, with recordings and alignments as a reader of it would have them."""
    folder = tmp_path_factory.mktemp("readme")
    for name in (*LINKED, *(path.name for path in PROJECT.glob("run*.py"))):
        (folder / name).symlink_to(PROJECT / name)
    steps = [words for heading, words in commands("README.md") if heading == "The demo"]
    assert len(steps) == 6
    for words in steps:
        run(folder, words, warm)
    corpus = folder / "data/demo_corpus"
    for path in (corpus / "LibriSpeech").rglob("*.flac"):
        split, speaker = path.relative_to(corpus / "LibriSpeech").parts[:2]
        (folder / "recordings" / split / speaker).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "recordings" / split / speaker / path.name)
    (folder / "alignments").mkdir()
    for path in (corpus / "alignments").rglob("*.TextGrid"):
        shutil.copy(path, folder / "alignments" / path.name)
    return folder


@pytest.fixture
def scheduler():
    """The address of a Dask scheduler with a worker on this machine."""
    distributed = pytest.importorskip("distributed", reason="dask absent: pip install -r requirements-dask.txt")
    one = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(**one) as local:
        yield local.scheduler_address


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run_in_order(page, demo, warm, request):
    steps = [words for heading, words in commands(page) if heading != "The demo"]
    assert len(steps) >= {
        "README.md": 11,
        "docs/scaling.md": 8,
        "docs/upstreams.md": 15,
        "docs/tasks.md": 2,
        "docs/report.md": 2,
    }.get(page, 3)
    if page == "docs/upstreams.md" and TRANSFORMERS:
        write_model(demo / "models/hubert-base", "hubert")
    for words in steps:
        if "hf:models" in " ".join(words) and not TRANSFORMERS:
            continue  # `make test-hf` has it
        if SCHEDULER in words:
            words = [request.getfixturevalue("scheduler") if word == SCHEDULER else word for word in words]
        run(demo, words, warm)
    if page == "README.md":
        shown = {path.suffix for path in (demo / "result/result_mockingjay/demo/best-dump").iterdir()}
        assert shown >= {".png", ".wav", ".npy", ".json"}
        assert len(list((demo / "result").glob("result_*_phone_linear/exp_000/confusion.png"))) == 3
        assert (demo / "data/mine/train.npy").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_runs(page, demo, warm):
    codes = [text for _, language, text in blocks(page) if language == "python"]
    assert bool(codes) == (page in ("README.md", "docs/export.md", "docs/upstreams.md"))
    recordings = sorted((demo / "recordings/dev").rglob("*.flac"))
    for name, path in zip(("a.wav", "b.wav"), recordings):
        shutil.copy(path, demo / name)  # the reader of sound files looks at what a file holds, not at its name
    if page == "docs/export.md":
        run(demo, ["runner_mockingjay.py", *shlex.split("--export s3prl --ckpt demo/best.ckpt")], warm)
        run(demo, ["runner_mockingjay.py", *shlex.split("--export hf --ckpt demo/best.ckpt")], warm)
    for code in codes:
        if "transformers" in code and not TRANSFORMERS:
            continue  # `make test-hf` has it, and tests the folder itself
        done = subprocess.run([sys.executable, "-c", code], cwd=demo, capture_output=True, text=True)
        assert done.returncode == 0, f"{code}\n{done.stderr}"


def test_no_page_shows_a_command_that_is_not_run():
    pages = {path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("docs/*.md")} | {"README.md"}
    assert {page for page in pages if commands(page)} == set(PAGES)


def test_pages_link_to_files_that_are_there():
    for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_readme_is_short():
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 220


@pytest.mark.slow
@pytest.mark.parametrize("script", ["runner_mockingjay.py", "run_downstream.py", "run_analysis.py", "run_report.py"])
def test_help_names_every_mode_and_shows_examples(script):
    done = subprocess.run([sys.executable, script, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
