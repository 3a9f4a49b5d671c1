"""Preprocessing on the workers of a Dask cluster: the same bytes, also when a worker or the script is killed."""

import hashlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess import preprocess_any
from tests.conftest import PROJECT
from utility.command import run

distributed = pytest.importorskip("distributed", reason="dask.distributed absent: pip install -r requirements-dask.txt")
pytestmark = pytest.mark.slow
RECORDINGS, SECONDS = 24, 20


@pytest.fixture(scope="module")
def dask_cluster():
    """Two workers on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as local:
        yield local


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for i in range(RECORDINGS):
        soundfile.write(root / f"{i}.wav", 0.1 * rng.standard_normal(SECONDS * 16000 + 977 * i), 16000)
    (root / "bad.wav").write_text("no")
    return root


def flags(speech: Path, out: Path, name: str) -> list[str]:
    return [f"--data_path={speech}", f"--output_path={out}", f"--name={name}", "--feature_type=linear"]


@pytest.fixture(scope="module")
def expected(speech, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("local")
    assert preprocess_any.main([*flags(speech, out, "local"), "--n_jobs=1"]) == 1
    return digests(out / "local")


def digests(store: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(store.iterdir())}


def hears_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(words: list[str]) -> subprocess.Popen:
    command = [sys.executable, PROJECT / "preprocess/preprocess_any.py", *words]
    return subprocess.Popen(
        command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hears_interrupts
    )


def wait_for_some(process: subprocess.Popen, progress: Path) -> None:
    """Until some, not all, rows are written."""
    while not (progress.is_file() and any(progress.read_bytes()[:RECORDINGS])):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    assert not all(progress.read_bytes()[:RECORDINGS])


def signal_all(processes: set[int], number: int) -> None:
    for process in processes:
        os.kill(process, number)


def test_cluster_makes_the_same_bytes(dask_cluster, speech, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*flags(speech, Path("data"), "there"), "--dask", dask_cluster.scheduler_address]
    assert preprocess_any.main(words) == 1
    assert sorted(expected) == ["all.csv", "all.digest", "all.npy", "errors.csv", "features.yaml"]
    assert digests(tmp_path / "data/there") == expected
    assert preprocess_any.main(words) == 1
    assert "was finished already" in capsys.readouterr().out


def test_killed_script_continues_and_the_work_of_a_killed_worker_is_redone(dask_cluster, speech, expected, tmp_path):
    words = [*flags(speech, tmp_path, "killed"), "--dask", dask_cluster.scheduler_address]
    progress = tmp_path / "killed/all.progress"
    before = {worker.pid for worker in dask_cluster.workers.values()}
    script = start(words)
    wait_for_some(script, progress)
    signal_all(before, signal.SIGSTOP)  # on a busy machine they would be done before the script hears of it
    script.send_signal(signal.SIGINT)
    time.sleep(1)
    signal_all(before, signal.SIGCONT)  # to workers that do not answer Dask says goodbye for a minute or more
    assert script.wait(60) == 130
    assert script.stderr.read() == "preprocess_any.py: interrupted\n"
    script = start(words)
    wait_for_some(script, progress)
    os.kill(min(before), signal.SIGKILL)
    assert script.wait(60) == 1, script.stderr.read()
    assert digests(tmp_path / "killed") == expected
    assert {worker.pid for worker in dask_cluster.workers.values()} != before


def refused(words: list[str], capsys) -> str:
    """The one line of a script that ends with exit code 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["preprocess_any.py", *words])
        with pytest.raises(SystemExit) as stop:
            run(preprocess_any.main)
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_cluster_that_does_not_fit_is_refused_before_any_work(dask_cluster, speech, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("preprocess.parts.cluster.PATIENCE", 0.5)
    words = [*flags(speech, tmp_path, "none"), "--dask"]
    line = refused([*words, "tcp://127.0.0.1:9"], capsys)
    assert "--dask tcp://127.0.0.1:9: no scheduler answers there within 0.5 seconds" in line
    monkeypatch.setattr("preprocess.parts.cluster._code", lambda: "another")
    line = refused([*words, dask_cluster.scheduler_address], capsys)
    assert "has other code or libraries" in line
    assert str(PROJECT) in line
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp://") as idle:
        assert "it has no workers" in refused([*words, idle.scheduler_address], capsys)
    assert not (tmp_path / "none").exists()


def test_workers_are_given_a_few_tasks_at_a_time(dask_cluster, tmp_path, monkeypatch):
    from preprocess.parts.cluster import cluster

    taken = []

    def calls() -> Iterator[Callable[[], int]]:
        for i in range(30):
            taken.append(i)
            yield partial(int, i)

    monkeypatch.setattr("preprocess.parts.cluster.IN_FLIGHT", 2)
    with cluster(dask_cluster.scheduler_address, [tmp_path]) as workers:
        results = workers(calls(), 30)
        first = next(results)
        assert 0 < len(taken) < 30
        assert sorted([first, *results]) == list(range(30))


def test_what_workers_lack_and_what_kills_them_is_said(dask_cluster, tmp_path, monkeypatch):
    from preprocess.parts.cluster import cluster

    def results(calls: list, folder: Path = tmp_path) -> list:
        with cluster(dask_cluster.scheduler_address, [folder]) as workers:
            return sorted(workers(iter(calls), len(calls)))

    assert results([partial(int, i) for i in range(30)]) == list(range(30))
    with pytest.raises(OSError, match=f"No module named 'absent' there: start .* PYTHONPATH={PROJECT}"):
        results([partial(importlib.import_module, "absent")])
    with pytest.raises(OSError, match=r"absent: the machines of the cluster must share"):
        results([partial(int, 1)], tmp_path / "absent")
    monkeypatch.setattr(dask_cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(OSError, match="several workers died at the same few recordings"):
        results([partial(os._exit, 1)])
