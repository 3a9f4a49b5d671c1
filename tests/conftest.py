"""Fixtures of all tests, the markers that need a machine or data, settings, and a header that says what is compared."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

from tests.helpers.process_settings import ProcessSettings
from tests.helpers.shared import CORPORA, FIXTURES, PROJECT

if TYPE_CHECKING:
    from tests.campaign.zygote import Zygote
    from tests.helpers.downstream_corpus import Small
    from tests.helpers.heard_corpus import Heard

__all__ = ["PROJECT"]


def pytest_report_header() -> str:
    speech = CORPORA if CORPORA.is_dir() else "none, its tests are skipped"
    return f"numbers of the originals: {FIXTURES}; real speech: {speech}"


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every process of the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What asks for real speech needs it."""
    if {"corpora", "kaldi_dir"} & set(item.fixturenames):
        item.add_marker("needs_shared")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Real speech: libri_mini, timit_sample, an4."""
    if not CORPORA.is_dir():
        pytest.skip("no corpora: set MOCKINGJAY_SHARED to the folder that holds them")
    return CORPORA


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Checkpoints, features and scores of the original programs."""
    return FIXTURES


@pytest.fixture(scope="session")
def kaldi_dir() -> Path:
    """Archives that Kaldi wrote, of recordings; not in the project."""
    if not (FIXTURES / "kaldi").is_dir():
        pytest.skip("no archives of Kaldi: set MOCKINGJAY_SHARED to the folder that holds fixtures/kaldi")
    return FIXTURES / "kaldi"


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> "Small":
    """A small corpus for probing."""
    from tests.helpers.downstream_corpus import small_corpus

    return small_corpus(tmp_path_factory.mktemp("probing"))


@pytest.fixture(scope="session")
def heard(tmp_path_factory) -> "Heard":
    """A small corpus of recordings for probing."""
    from tests.helpers.heard_corpus import heard_corpus

    return heard_corpus(tmp_path_factory.mktemp("heard"))


@pytest.fixture(scope="session")
def warm() -> Iterator["Zygote"]:
    """Starts commands without their imports, which are dearer than most of them."""
    from tests.campaign.zygote import Zygote

    with Zygote() as zygote:
        yield zygote


@pytest.fixture
def strided(monkeypatch) -> None:
    """`hf:strided:MILLISECONDS` opens a small upstream of waveforms in probes."""
    from downstream import opened
    from tests.helpers.waveform_upstreams import Strided

    load = opened.load_upstream

    def loaded(spec, *rest, **more):
        word, _, shift = spec.source.partition(":")
        return Strided(int(shift)).eval() if word == "strided" else load(spec, *rest, **more)

    monkeypatch.setattr(opened, "load_upstream", loaded)


@pytest.fixture
def without_ffmpeg(monkeypatch) -> None:
    """A machine that has no ffmpeg, in this process."""
    monkeypatch.setattr("utility.audio.extensions.which", lambda program: None)
    monkeypatch.setattr("utility.audio.media.which", lambda program: None)


if os.environ.get("CI"):  # a change is judged by the same examples every time; elsewhere they are drawn anew
    hypothesis.settings.register_profile("ci", derandomize=True)
    hypothesis.settings.load_profile("ci")
PRECISION = os.environ.get("PRECISION", torch.get_float32_matmul_precision())  # make test PRECISION=medium
torch.set_float32_matmul_precision(PRECISION)
SETTINGS = ProcessSettings.now()


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    """Programs that a test runs own the settings of the process: none outlives its test."""
    yield
    SETTINGS.restore()
