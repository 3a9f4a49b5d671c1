"""Analyses that are killed end with the same result, and their memory does not grow with the corpus."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.campaign.zygote import Running, Zygote
from tests.conftest import PROJECT
from tests.helpers.analysis_corpus import TINY, analysed_corpus
from tests.helpers.downstream_corpus import write_store
from utility.labels.alignment import write_alignment

TIMES = ("seconds", "peak_memory_mib")
KILLS = 10
NAMES = "cca_phone,cca_mel,cca_intra,shape,cka,mi_phone,awd"  # of tokens and of frames


def started(warm: Zygote, words: list[str]) -> Running:
    return warm.start(["run_analysis.py", *words], PROJECT)


def finished(warm: Zygote, words: list[str]) -> None:
    assert started(warm, words).wait().code == 0


def without_times(folder: Path) -> dict:
    content = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in content.items() if key not in TIMES}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_analysis_that_is_killed_ten_times_ends_with_the_same_result(tmp_path, warm):
    """Killed in the middle of the pass, then as soon as a tenth, two tenths ... of what it keeps is there."""
    corpus = analysed_corpus(tmp_path)
    names = "cca_phone,cca_word,cca_mel,mi_phone,awd,segmentation,shape"
    words = ["--run", names, "--upstream", corpus.tiny, "--upstream", "baseline", *corpus.words()]
    finished(warm, [*words, "--name", "undisturbed"])
    everything = len(whole_files(corpus.folder("undisturbed")))
    moments = [0, *np.linspace(1, everything - 10, KILLS - 1).astype(int).tolist()]  # files that are there by then
    assert len(set(moments)) == KILLS
    for moment in moments:
        running = started(warm, [*words, "--name", "killed", "--resume", "auto"])
        while not running.ended() and not reached(corpus.folder("killed"), moment):
            time.sleep(0.005)
        running.kill()
        assert running.wait().code == -signal.SIGKILL, f"the run was over before it had written {moment} files"
    assert len(whole_files(corpus.folder("killed"))) < everything
    finished(warm, [*words, "--name", "killed", "--resume", "auto"])
    assert without_times(corpus.folder("killed")) == without_times(corpus.folder("undisturbed"))
    assert not [path for path in corpus.folder("killed").rglob("*") if path.name.endswith((".tmp", ".old"))]


def reached(folder: Path, moment: int) -> bool:
    """Whether so many whole files are there; for 0, whether the pass has begun to write one."""
    if moment:
        return len(whole_files(folder)) >= moment
    return any(path.suffix == ".npy" for path in files_below(folder))


def whole_files(folder: Path) -> set[Path]:
    """Files of the cache that stay: none in the temporary folder of a process."""
    cache = folder / "cache"
    return {path for path in files_below(cache) if not any(part[:1] == "." for part in path.relative_to(cache).parts)}


def files_below(folder: Path) -> set[Path]:
    """What is there; os.walk does not mind that a temporary folder goes meanwhile, as Path.rglob does."""
    return {Path(root, name) for root, _, names in os.walk(folder) for name in names}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_flat_from_ten_to_a_hundred_minutes(tmp_path):
    """All frames of 10 ms count, of a network and of the features; tokens are drawn."""
    rng = np.random.default_rng(0)
    (tmp_path / "tiny.yaml").write_text(TINY)
    peaks = []
    for minutes in (10, 100):
        root = tmp_path / str(minutes)
        frames = {f"s{n % 4}-{n}": rng.normal(size=(1000, 40)).astype(np.float32) for n in range(6 * minutes)}
        write_store(root / "store", "all", frames)
        phones = [(start / 10, start / 10 + 0.1, "abcd"[start % 4]) for start in range(99)]
        said = [(start / 2, start / 2 + 0.5, ("garden", "yellow", "silver")[start % 3]) for start in range(19)]
        write_alignment(root / "phones", [(key, phones) for key in frames])
        write_alignment(root / "words", [(key, said if n < 40 else [(0.0, 0.5, "a")]) for n, key in enumerate(frames)])
        del frames
        words = ["--run", NAMES, "--upstream", f"random:{tmp_path}/tiny.yaml", "--upstream", "baseline", "--cpu"]
        words += [f"data.store=[{root}/store/all]", f"data.alignment={root}/phones", f"data.words={root}/words"]
        words += ["sampling.utterances=100000", "mi.seeds=1", "awd.dtw=true", "awd.min_seconds=0.4", "--no-msg"]
        words += ["--bootstrap", "20", "--expdir", str(root), "--name", "run"]
        cold = [sys.executable, "run_analysis.py", *words]  # the peak of a warm one holds what it was forked from
        subprocess.run(cold, cwd=PROJECT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=600)
        result = json.loads((root / "result_analysis" / "run" / "result.json").read_text())
        for curve in result["experiments"]["cca_mel"]["upstreams"].values():
            assert curve[0]["samples"] == 6000 * minutes
        peaks.append(result["peak_memory_mib"])
    assert peaks[1] < 1.1 * peaks[0], peaks


@pytest.mark.slow
def test_the_peak_of_a_program_is_its_own():
    """That of getrusage was the memory of the process which started it, where that was larger: 1,200 MiB of tests."""
    large = np.ones(50_000_000)  # 400 MB that the program below does not have
    program = "from utility.peak_memory import peak_memory_mib; kept = b'x' * 10**8; print(peak_memory_mib())"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 100 < float(done.stdout) < 300
    assert large[-1] == 1
