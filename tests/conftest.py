"""Fixtures of all tests, the markers that need a machine or data, and the header that says what is compared with."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.helpers.shared import CORPORA, FIXTURES, PROJECT

if TYPE_CHECKING:
    from tests.helpers.downstream_corpus import Small

__all__ = ["PROJECT"]


def pytest_report_header() -> str:
    speech = CORPORA if CORPORA.is_dir() else "none, its tests are skipped"
    return f"numbers of the originals: {FIXTURES}; real speech: {speech}"


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
