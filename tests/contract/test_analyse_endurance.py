"""Analyses that are killed end with the same result, and their memory does not grow with the corpus."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.helpers.analysis_corpus import analysed_corpus
from tests.helpers.downstream_corpus import write_store
from utility.labels.alignment import write_alignment

TIMES = ("seconds", "peak_memory_mib")
KILLS = 10


def started(words: list[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "run_analysis.py", *words], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL
    )


def finished(words: list[str]) -> None:
    assert started(words).wait(timeout=600) == 0


def without_times(folder: Path) -> dict:
    content = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in content.items() if key not in TIMES}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_analysis_that_is_killed_ten_times_ends_with_the_same_result(tmp_path):
    """Each time as soon as it has written something new."""
    corpus = analysed_corpus(tmp_path)
    names = "cca_phone,cca_word,cca_mel,mi_phone,awd,segmentation,shape"
    words = ["--run", names, "--upstream", corpus.tiny, "--upstream", "baseline", *corpus.words()]
    finished([*words, "--name", "undisturbed"])
    killed = 0
    for _ in range(KILLS):
        before = files_below(corpus.folder("killed"))
        running = started([*words, "--name", "killed", "--resume", "auto"])
        while running.poll() is None:
            there = files_below(corpus.folder("killed"))
            if any(path.suffix in (".json", ".npy", ".npz") for path in there - before):
                running.kill()
                killed += 1
                break
            time.sleep(0.01)
        running.wait()
    assert killed >= 5
    finished([*words, "--name", "killed", "--resume", "auto"])
    assert without_times(corpus.folder("killed")) == without_times(corpus.folder("undisturbed"))
    assert not [path for path in corpus.folder("killed").rglob("*") if path.name.endswith((".tmp", ".old"))]


def files_below(folder: Path) -> set[Path]:
    """What is there; os.walk does not mind that a temporary folder goes meanwhile, as Path.rglob does."""
    return {Path(root, name) for root, _, names in os.walk(folder) for name in names}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_flat_from_ten_to_forty_minutes(tmp_path):
    """All frames count, in frames of 10 ms; tokens are drawn."""
    rng = np.random.default_rng(0)
    peaks = []
    for number, minutes in enumerate((10, 40)):
        root = tmp_path / str(minutes)
        frames = {f"s{n % 4}-{n}": rng.normal(size=(1000, 40)).astype(np.float32) for n in range(6 * minutes)}
        write_store(root / "store", "all", frames)
        said = [(start / 10, start / 10 + 0.1, "abcd"[start % 4]) for start in range(99)]
        write_alignment(root / "phones", [(key, said) for key in frames])
        del frames
        words = ["--run", "cca_phone,cca_mel,shape,mi_phone", "--upstream", "baseline", "--cpu", "--no-msg"]
        words += [f"data.store=[{root}/store/all]", f"data.alignment={root}/phones", "sampling.utterances=100000"]
        finished([*words, "--bootstrap", "20", "mi.seeds=1", "--expdir", str(root), "--name", "run"])
        result = json.loads((root / "result_analysis" / "run" / "result.json").read_text())
        assert result["experiments"]["cca_mel"]["upstreams"]["baseline"][0]["samples"] == 6000 * minutes
        peaks.append(result["peak_memory_mib"])
        assert number == 0 or peaks[1] < 1.1 * peaks[0], peaks
