"""Groups of arrays that the original analysis programs gave, whatever archives and groups the fixtures folder holds."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.shared import FIXTURES


def groups_with(*keys: str) -> list:
    """A pytest parameter (file, group) for each group of arrays that has all these keys; one that is skipped if
    none."""
    found = []
    for path in sorted(FIXTURES.glob("*.npz")):
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
        groups = sorted({name.rpartition("/")[0] for name in names} - {""})
        found += [
            pytest.param(path.name, group, id=f"{path.stem}:{group}")
            for group in groups
            if all(f"{group}/{key}" in names for key in keys)
        ]
    reason = f"no archive in {FIXTURES} holds {', '.join(keys)}: set MOCKINGJAY_SHARED to a folder that has one"
    return found or [pytest.param("", "", id="none", marks=pytest.mark.skip(reason=reason))]


def analysis_files() -> list:
    """A pytest parameter for each archive `analysis*.npz`; one that is skipped if none."""
    found = [pytest.param(path, id=path.stem) for path in sorted(FIXTURES.glob("analysis*.npz"))]
    reason = f"no analysis*.npz in {FIXTURES}: set MOCKINGJAY_SHARED to the folder that holds fixtures"
    return found or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]


def below(file: Path, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, by the rest of their names."""
    with np.load(file) as archive:
        return {name.removeprefix(prefix): archive[name] for name in archive.files if name.startswith(prefix)}


def arrays(file: str, group: str) -> dict[str, np.ndarray]:
    """The arrays of a group, by the rest of their names."""
    with np.load(FIXTURES / file, allow_pickle=False) as archive:
        names = [name for name in archive.files if name.rpartition("/")[0] == group]
        return {name.rpartition("/")[2]: archive[name] for name in names}
