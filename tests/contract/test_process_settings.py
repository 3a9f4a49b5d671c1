"""Settings of the process (precision of matrix products, threads): made by programs, obeyed by no feature."""

import ast
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.pretrained import PretrainedUpstream
from mockingjay.upstreams.selection import LayerSelection
from tests.conftest import PRECISION, PROJECT
from tests.helpers.process_settings import ProcessSettings
from tests.helpers.speech import wav
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.s3prl_online import S3prlOptions
from utility.config import build
from utility.store.recordings import Recordings
from utility.threads import side_by_side, take_one_core

SETTERS = {
    "set_float32_matmul_precision", "set_num_threads", "set_num_interop_threads", "use_deterministic_algorithms",
    "set_flush_denormal", "set_default_dtype",
}  # fmt: skip
FULL = {"mel": 1, "fbank": 2, "mfcc": 2, "linear": 0, "kaldi_fbank": 2, "kaldi_mfcc": 2}
FULL |= {"s3prl_linear": 1, "s3prl_mel": 2, "s3prl_mfcc": 2}


def test_the_precision_is_the_one_asked_for():
    assert torch.get_float32_matmul_precision() == PRECISION
    assert os.environ.get("PRECISION", PRECISION) == PRECISION


@pytest.mark.slow
def test_make_passes_the_precision_on():
    words = [["make", "--dry-run", "test", "VENV=nowhere", *more] for more in ([], ["PRECISION=medium"])]
    ours = ("PRECISION", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS")  # of the make that may run this test
    bare = {key: value for key, value in os.environ.items() if key not in ours}
    plain, asked = (
        subprocess.run(line, cwd=PROJECT, env=bare, capture_output=True, text=True, check=True).stdout for line in words
    )
    assert "PRECISION=medium nowhere/bin/python -m pytest" in asked
    assert "PRECISION" not in plain


@pytest.mark.parametrize("turn", ["first", "second"])
def test_what_a_test_sets_ends_with_it(turn):
    assert torch.get_float32_matmul_precision() == PRECISION
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() != 7
    torch.set_float32_matmul_precision("medium" if PRECISION != "medium" else "high")
    torch.set_num_threads(7)
    torch.use_deterministic_algorithms(True)


def test_settings_are_restored_whole():
    before = ProcessSettings.now()
    torch.set_num_threads(before.threads + 1)
    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = not before.cudnn[0]
    torch.backends.cudnn.allow_tf32 = not before.cudnn[2]
    assert ProcessSettings.now() != before
    before.restore()
    assert ProcessSettings.now() == before


@pytest.mark.slow
def test_only_programs_make_settings():
    users = set()
    for room in ("utility", "mockingjay", "downstream", "analysis", "report", "originals", "preprocess", "commands"):
        for path in (PROJECT / room).rglob("*.py"):
            names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            if names & SETTERS:
                users.add(path.relative_to(PROJECT).as_posix())
    puts_back = {"mockingjay/upstreams/users_code.py"}  # what a user's own code has set
    assert users - puts_back == {"utility/device.py"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_features_obey_no_setting(kind, sample_rate):
    generator = torch.Generator().manual_seed(0)
    waveforms = [0.1 * torch.randn(size, generator=generator) for size in (5001, 30000, 2400)]
    options = S3prlOptions(n_freq=1025) if kind.startswith("s3prl") else None
    extractor = FeatureExtractor(FeatureConfig(kind=kind, deltas=FULL[kind], sample_rate=sample_rate, s3prl=options))
    expected = extractor.of(waveforms)[0]
    for threads in (1, 2, 5):
        for precision in ("medium", "highest"):
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(extractor.of(waveforms)[0], expected)
            assert torch.get_float32_matmul_precision() == precision
            assert torch.get_num_threads() == threads


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """40 recordings of 1 to 3 seconds."""
    root = tmp_path_factory.mktemp("recordings")
    for i in range(40):
        wav(root / f"{i:02}.wav", 16000 + 800 * i, i)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["medium", "highest"])
def test_extraction_from_audio_leaves_the_same_bytes_six_times(recordings, tmp_path, precision):
    """Features set the precision of the whole process while the encoder ran: five different files in six runs."""
    torch.set_float32_matmul_precision(precision)
    config = build(PretrainConfig, {"model": {"hidden_size": 256, "heads": 4, "layers": 2, "ffn_size": 1024}})
    upstream = PretrainedUpstream(new_model(config, 160, 160, 0).eval(), config, FeatureConfig(), 0.0125)
    how = ExtractionOptions(LayerSelection("all"), batch_frames=600, quiet=True)
    seen = set()
    for turn in range(6):
        assert represent(upstream, Recordings([recordings], FeatureConfig()), tmp_path / f"{turn}", "all", how)
        seen.add((tmp_path / f"{turn}/all.npy").read_bytes())
    assert len(seen) == 1
    assert np.load(tmp_path / "0/all.npy", mmap_mode="r").any()


def test_threads_that_take_one_core_leave_others_alone():
    before, seen = torch.get_num_threads(), {}

    def work(name: str) -> None:
        if name == "alone":
            take_one_core()
        seen[name] = torch.get_num_threads()

    for name in ("alone", "later"):
        thread = threading.Thread(target=work, args=(name,))
        thread.start()
        thread.join()
    assert seen == {"alone": 1, "later": before}
    assert side_by_side(lambda part: torch.get_num_threads(), [0, 1, 2], 3) == [1, 1, 1]
    assert torch.get_num_threads() == before
