"""A store of float16: half the bytes, values within its rounding, and read by every stage."""

from pathlib import Path

import numpy as np
import pytest

import run_downstream
import runner_mockingjay
from preprocess import preprocess_any
from tests.helpers.speech import wav
from utility.store.reading import Store
from utility.training.log import read_metrics

ROUNDING, SMALLEST = 2.0**-11, 2.0**-25  # relative, and absolute below 2^-14
SMALL = ["model.hidden_size=16", "model.heads=2", "model.ffn_size=32", "model.layers=2", "trainer.precision=fp32"]
KINDS = ["mel", "fbank", "mfcc", "linear"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Stores of every kind in both types, without normalisation where values are largest."""
    root = tmp_path_factory.mktemp("halves")
    for i in range(6):
        wav(root / f"in/s{i % 2}/{i}.wav", 16000 + 800 * i, i)
    for dtype in ("float32", "float16"):
        for kind in KINDS:
            words = [f"--data_path={root / 'in'}", f"--output_path={root / dtype}", "--n_jobs=1", f"--name={kind}"]
            words += [f"--feature_type={kind}", f"--dtype={dtype}", f"--apply_cmvn={kind == 'mel'}"]
            assert preprocess_any.main(words) == 0
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_half_the_bytes_and_the_rounding_of_float16(data, kind):
    single, half = (Store(data / dtype / kind / "all") for dtype in ("float32", "float16"))
    sizes = [(data / dtype / kind / "all.npy").stat().st_size - 128 for dtype in ("float32", "float16")]
    assert sizes[0] == 2 * sizes[1] == 4 * int(single.lengths.sum()) * single.info.row_shape[0]
    assert single.fingerprint() != half.fingerprint()  # what is computed from them differs
    for index in range(len(single)):
        exact, rounded = single[index], half[index]
        assert rounded.dtype == np.float32
        assert np.abs(exact).max() > 0.1
        assert (exact != rounded).any()
        assert (np.abs(exact - rounded) <= np.maximum(ROUNDING * np.abs(exact), SMALLEST)).all()


@pytest.mark.slow
def test_training_extraction_and_probing_read_it(data, tmp_path):
    losses, states = [], []
    for dtype in ("float32", "float16"):
        path, folder = data / dtype / "mel/all", tmp_path / dtype
        words = ["--cpu", "--no-msg", "--ckpdir", str(folder), "--logdir", str(folder / "log"), "--name", "run"]
        run = [f"data.train=[{path}]", "data.dev=[]", "trainer.steps=3", "trainer.log_every=1", *SMALL]
        runner_mockingjay.main(["--train", *words, *run])
        losses.append([record["loss"] for record in read_metrics(folder / "log/run")])
        ckpt = str(tmp_path / "float32/run/mockingjay-3.ckpt")
        runner_mockingjay.main(
            ["--extract", "--cpu", "--no-msg", "--ckpt", ckpt, "--input", str(path), "--output", str(folder / "states")]
        )
        states.append(Store(folder / "states/all"))
        words = ["--run", "speaker_frame", "--upstream", "transformer", "--ckpt", ckpt, "--cpu", "--no-msg"]
        words += ["--expdir", str(folder), "--logdir", str(folder / "log"), f"data.train=[{path}]"]
        words += [f"data.cache={folder}/cache", "trainer.steps=2"]
        assert not run_downstream.main(words)
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert len(losses[0]) == 3
    for index in range(len(states[0])):
        assert np.abs(states[0][index] - states[1][index]).max() < 1e-2
