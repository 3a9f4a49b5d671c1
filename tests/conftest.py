"""Where tests find what is not in the project: real corpora and the originals' fixtures; settings of the process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.process_settings import ProcessSettings

PROJECT = Path(__file__).resolve().parent.parent


def shared(name: str) -> Path:
    """The folder `name` in $MOCKINGJAY_SHARED, or in ../shared beside the project; a visible skip where absent."""
    root = Path(os.environ.get("MOCKINGJAY_SHARED", PROJECT.parent / "shared"))
    if not (root / name).is_dir():
        pytest.skip(f"{name} absent: set MOCKINGJAY_SHARED to the folder that holds it")
    return root / name


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Real speech: libri_mini, timit_sample, an4."""
    return shared("corpora")


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Checkpoints, features and scores of the original programs."""
    return shared("fixtures")


PRECISION = os.environ.get("PRECISION", torch.get_float32_matmul_precision())  # make test PRECISION=medium
torch.set_float32_matmul_precision(PRECISION)
SETTINGS = ProcessSettings.now()


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    """Programs that a test runs own the settings of the process: none outlives its test."""
    yield
    SETTINGS.restore()
