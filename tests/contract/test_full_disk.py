"""A full disk is one line that names the file, and nothing half-written stays."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from preprocess.demo.corpus import write_flac
from utility.labels.alignment import Alignment, write_alignment
from utility.temporary_array import TemporaryArray
from utility.training.checkpoint import save_checkpoint
from utility.training.folder import write_folder

FULL = Path("/dev/full")


@pytest.fixture
def full(monkeypatch):
    """Files of these names take no byte."""
    chosen = Path.open

    def of(*names: str) -> None:
        def opened(self, mode="r", *words, **more):
            return chosen(FULL if self.name in names and "w" in mode else self, mode, *words, **more)

        monkeypatch.setattr(Path, "open", opened)

    return of


@pytest.mark.parametrize("name", ["raw", "utterances.csv", "labels.txt", "segments.npy"])
def test_an_alignment_is_named_and_the_old_one_stays(tmp_path, full, name):
    write_alignment(tmp_path / "a", [("u", [(0.0, 1.0, "old")])])
    full(name)
    with pytest.raises(OSError, match="No space left on device") as refused:
        write_alignment(tmp_path / "a", [("u", [(0.0, 1.0, "new")])])
    assert refused.value.filename == str(tmp_path / "a")
    assert Alignment(tmp_path / "a").labels == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_recording_of_the_demo_corpus_is_named(tmp_path):
    """It was `soundfile.LibsndfileError: System error.`, with a traceback."""
    with pytest.raises(OSError, match="flac: cannot be written, perhaps the disk is full"):
        write_flac(tmp_path / "missing" / "a.flac", np.zeros(400, np.int16))


def test_temporary_arrays_say_where_temporary_files_lie():
    rows = TemporaryArray(np.float32, (3,))
    rows.file = FULL.open("r+b", buffering=0)
    with pytest.raises(OSError, match="No space left") as refused:
        rows.append(np.ones((2, 3), np.float32))
    assert "TMPDIR" in refused.value.filename


def test_weights_of_an_export_are_named(tmp_path):
    """It was a SafetensorError with a traceback."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"model.safetensors: cannot be written, perhaps the disk is full"):
            write_folder(tmp_path, {"a": torch.zeros(10_000)}, {})
        with pytest.raises(OSError, match=r"a.ckpt: cannot be written, perhaps the disk is full"):
            save_checkpoint(tmp_path / "a.ckpt", "test", {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
