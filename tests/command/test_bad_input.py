"""Bad input of every kind: one line on stderr, exit code 2, nothing left behind; bad_input.md shows the lines."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.bad_analysis_cases import ANALYSES
from tests.helpers.bad_corpus import (
    clusters,
    comparisons,
    curves,
    exact,
    exports,
    importers,
    kaldi,
    labels,
    lists,
    recognition,
    reports,
    scoring,
    texts,
    units,
    utterances,
    verification,
)
from tests.helpers.bad_input_cases import TABLE as OTHERS
from tests.helpers.bad_input_cases import Case
from tests.helpers.bad_input_world import CANARY, build_world
from tests.helpers.bad_upstream_cases import UPSTREAMS
from tests.helpers.files import Watched, contents
from utility.command import run
from utility.training.checkpoint import save_checkpoint

PAGE = Path(__file__).with_name("bad_input.md")
UPDATE = os.environ.get("UPDATE_DOCS") == "1"
*SECTIONS, FINISHED = OTHERS.items()
CORPORA = (labels, lists, texts, kaldi, exports, importers)
CORPORA += (utterances, verification, recognition, scoring, exact, curves, comparisons, clusters, units, reports)
CORPUS_CASES = [case for module in CORPORA for case in module.CASES]
TABLE = dict(
    [*SECTIONS, ("Upstreams", UPSTREAMS), ("Layer analysis", ANALYSES), ("Corpora and labels", CORPUS_CASES), FINISHED]
)
CASES = [case for cases in TABLE.values() for case in cases]
SCRIPTS = {
    "runner_mockingjay.py": "runner_mockingjay",
    "run_downstream.py": "run_downstream",
    "run_analysis.py": "run_analysis",
    "run_report.py": "run_report",
    "preprocess_libri.py": "preprocess.preprocess_libri",
    "preprocess_timit.py": "preprocess.preprocess_timit",
    "preprocess_any.py": "preprocess.preprocess_any",
    "preprocess_apc.py": "preprocess.preprocess_apc",
    "preprocess_alignment.py": "preprocess.preprocess_alignment",
    "generate_len_for_bucket.py": "preprocess.generate_len_for_bucket",
    "demo_corpus.py": "preprocess.demo_corpus",
    "preprocess_text.py": "preprocess.preprocess_text",
    "preprocess_kaldi.py": "preprocess.preprocess_kaldi",
    "preprocess_mosei.py": "preprocess.preprocess_mosei",
    "export_kaldi.py": "preprocess.export_kaldi",
    "check_corpus.py": "preprocess.check_corpus",
    "make_trials.py": "preprocess.make_trials",
}
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # what Python hides by default
JARGON = ("Traceback", "Error:", "Exception", "[Errno", "ndarray", "pydantic", "pandas", "weights_only", "object at 0x")
INTRODUCTION = """\
# What bad input gets

One line on stderr and exit code 2, before any work is done: what is wrong, where, and what is allowed or helps. The
table is run by `test_bad_input.py`; with `UPDATE_DOCS=1` in its environment that test writes this page. `DIR`
stands for the folder that the commands are run in, `HASH` for a fingerprint, N for a release.
"""
ANSWERS: dict[str, str] = {}  # what the cases of this session got, by name


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bad_input").resolve()
    build_world(root)
    for module in CORPORA:
        module.build(root)
    return root


@pytest.fixture(scope="module")
def watched(world) -> Watched:
    return Watched(world)


def answer(command: str, monkeypatch) -> int:
    """The exit code of a script, run in this process as from the shell."""
    script, *words = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [script, *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    main = importlib.import_module(SCRIPTS[script]).main
    with warnings.catch_warnings(record=True, action="always") as seen, pytest.raises(SystemExit) as left:
        run(main)
    shown = [str(warning.message) for warning in seen if not issubclass(warning.category, QUIET)]
    assert not shown, "Python warnings would be printed too"
    return left.value.code


def row(case: Case, line: str) -> str:
    """The row of a case on the page."""
    cells = (case.what, f"`{case.command}`", f"`{line}`")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def checked(case: Case, err: str, root: Path) -> str:
    """The one line in `err`, what may differ between machines taken out."""
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    line = re.sub(r"\b[0-9a-f]{16}\b", "HASH", err.rstrip("\n").replace(str(root), "DIR"))
    line = re.sub(r"Transformers [0-9.]+", "Transformers N", line)
    assert not [word for word in JARGON if word in line], line
    assert not [name for name in case.names if name not in line], line
    return line


@pytest.mark.parametrize("case", [case for case in CASES if case.code == 2], ids=lambda case: case.id)
def test_bad_input_gets_one_line_and_leaves_nothing(case, world, watched, monkeypatch, capfd, without_ffmpeg):
    monkeypatch.chdir(world)
    if case.needs:
        pytest.importorskip(case.needs)
    if case.without:
        monkeypatch.setitem(sys.modules, case.without, None)
    before = watched.state()
    code = answer(case.command, monkeypatch)
    line = checked(case, capfd.readouterr().err, world)
    assert code == 2, line
    after = watched.state()
    assert {name for name in before.keys() | after.keys() if before.get(name, 0) != after.get(name, 0)} == set()
    assert not (world / CANARY).exists()
    recorded(case, line)


@pytest.mark.parametrize("case", [case for case in CASES if case.code == 1], ids=lambda case: case.id)
def test_work_that_finished_without_some_files_says_so(case, world, monkeypatch, capfd):
    monkeypatch.chdir(world)
    code = answer(case.command, monkeypatch)
    line = checked(case, capfd.readouterr().err, world)
    assert code == 1, line
    assert (world / case.names[0]).is_file()
    assert not [name for name in contents(world) if name.endswith((".tmp", ".progress", ".plan.csv")) and "out" in name]
    recorded(case, line)


def recorded(case: Case, line: str) -> None:
    """Keep the answer for the page, or compare it with the page."""
    ANSWERS[case.what] = line
    if not UPDATE:
        assert row(case, line) in PAGE.read_text(encoding="utf-8").splitlines()


def test_page_holds_the_table():
    assert len({case.what for case in CASES}) == len(CASES)
    if UPDATE:
        parts = [INTRODUCTION]
        for title, cases in TABLE.items():
            rows = "\n".join(row(case, ANSWERS[case.what]) for case in cases)
            parts.append(f"## {title}\n\n| Input | Command | Line |\n| --- | --- | --- |\n{rows}\n")
        PAGE.write_text("\n".join(parts), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    shown = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in shown if name not in ("Input", "---")] == [case.what for case in CASES]


@pytest.mark.parametrize("workers", [0, 1])
def test_file_that_is_missing_in_the_middle_of_a_run(workers, world, monkeypatch, capfd):
    monkeypatch.chdir(world)
    words = f"data.train=[data/partial/train] loader.workers={workers} --no-msg --name middle{workers}"
    code = answer(f"runner_mockingjay.py --train --cpu --ckpdir ckpt --config good.yaml {words}", monkeypatch)
    assert code == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "data/partial/train/1-2-4.npy" in err
    assert "No such file or directory" in err
    assert "Errno" not in err


def test_place_where_nothing_can_be_made(world, monkeypatch, capfd):
    monkeypatch.chdir(world)
    assert answer("preprocess_libri.py --data_path . --output_path /proc/data", monkeypatch) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("preprocess_libri.py: /proc")


def test_checkpoint_on_a_full_disk(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 832 vs 726")

    monkeypatch.setattr("torch.save", fails)
    with pytest.raises(OSError, match=r"x\.ckpt: cannot be written, perhaps the disk is full"):
        save_checkpoint(tmp_path / "x.ckpt", "pretrain", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_disk_that_takes_no_more(world):
    words = "--data_path LibriSpeech --name full --n_jobs 1"
    command = f"ulimit -f 20; exec {sys.executable} {PROJECT}/preprocess/preprocess_libri.py {words}"
    ended = subprocess.run(["bash", "-c", command], cwd=world, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "data/full/" in ended.stderr
    assert "File too large" in ended.stderr


REAL = (
    ("preprocess/preprocess_libri.py", "--data_path nowhere", "nowhere: no such folder"),
    ("preprocess/preprocess_alignment.py", "--data_path grids_bad", "broken.TextGrid"),
    ("preprocess/demo_corpus.py", "--output_path demo", "demo: exists"),
    ("runner_mockingjay.py", "--test --ckpt ckpt/runs.ckpt", "ckpt/runs.ckpt"),
    ("run_downstream.py", "--run phone_linear --upstream baseline data.train=[data/cut/train]", "cut off"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "words", "message"), REAL, ids=[script for script, _, _ in REAL])
def test_real_processes_answer_alike(script, words, message, world, watched):
    before = watched.state()
    command = [sys.executable, str(PROJECT / script), *shlex.split(words)]
    ended = subprocess.run(command, cwd=world, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"{Path(script).name}: ")
    assert message in ended.stderr
    assert watched.state() == before
