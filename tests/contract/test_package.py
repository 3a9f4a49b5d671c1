"""The installed package: every folder is in it, it is imported from anywhere, and its ranges hold what is pinned."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
NOT_INSTALLED = {"tests", "benchmarks", "examples"}


def folders() -> set[str]:
    """Every folder with Python files that is a part of the package, as a dotted name."""
    tops = [path for path in PROJECT.iterdir() if path.is_dir() and path.name not in NOT_INSTALLED | {"data"}]
    paths = [path for top in tops if top.name.isidentifier() for path in top.rglob("*.py")]
    return {".".join(path.parent.relative_to(PROJECT).parts) for path in paths}


def pins(file: str) -> dict[str, str]:
    """Name -> release that a requirements file names itself."""
    lines = (PROJECT / file).read_text(encoding="utf-8").splitlines()
    return {
        canonicalize_name(name): release.partition(";")[0]
        for name, _, release in (line.partition("==") for line in lines)
        if release
    }


def test_every_folder_with_code_is_installed():
    assert len(folders()) > 15
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == folders()
    runners = {path.stem for path in PROJECT.glob("*.py")} - {"hubconf"}  # torch.hub reads it in the repository
    assert set(PYPROJECT["tool"]["setuptools"]["py-modules"]) == runners


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_pinned_releases_lie_in_the_ranges(extra):
    file = f"requirements-{extra}.txt" if extra else "requirements.txt"
    pinned = pins(file)
    for word in EXTRAS[extra] if extra else PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(word)
        assert requirement.specifier.contains(pinned.pop(canonicalize_name(requirement.name))), f"{file}: {word}"
    owners = {"editdistance"}  # of the owner's list, used by no code yet
    assert pinned.keys() == (set() if extra else owners)


def test_the_older_transformers_lies_in_the_range_too():
    (requirement,) = map(Requirement, EXTRAS["hf"])
    older = pins("requirements-hf4.txt")["transformers"]
    assert older < pins("requirements-hf.txt")["transformers"]
    assert requirement.specifier.contains(older)


def test_torch_is_pinned_as_one_plain_release():
    assert re.search(
        r"^torch==\d+\.\d+\.\d+$", (PROJECT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_files_for_strangers_name_one_release_and_licence():
    project = PYPROJECT["project"]
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    assert (PROJECT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
    assert f"## {project['version']}\n" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path) -> Path:
    """What a build reads, apart from the project, because a build leaves files beside what it reads."""
    names = {package.partition(".")[0] for package in PYPROJECT["tool"]["setuptools"]["packages"]}
    for name in names:
        shutil.copytree(PROJECT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *(path.name for path in PROJECT.glob("*.py"))):
        shutil.copy(PROJECT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def pip(*words: object) -> None:
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is absent: pip install -r requirements-dev.txt")
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def imported(modules: list[str], python: str | Path, path: str | Path, folder: Path) -> list[str]:
    """Import modules in a new interpreter that works in `folder`; the files that they come from."""
    code = f"import {', '.join(modules)}; print({', '.join(f'{module}.__file__' for module in modules)})"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code], cwd=folder, env=environment | {"PYTHONPATH": str(path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_installed_package_is_imported_from_another_folder(copy, tmp_path):
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-compile", "--no-build-isolation", "--no-index", "--target", target, copy)
    modules = ["runner_mockingjay", "mockingjay.upstream", "downstream.config", "preprocess.parts.corpora"]
    files = imported(modules, sys.executable, target, elsewhere)
    assert files == [f"{target}/{module.replace('.', '/')}.py" for module in modules]
    assert not NOT_INSTALLED & {path.name for path in target.iterdir()}


@pytest.mark.slow
def test_editable_install_is_imported_from_another_folder(copy, tmp_path):
    python, elsewhere = tmp_path / "venv/bin/python", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    pip("--python", python, "install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", copy)
    files = imported(["commands.common", "utility.config"], python, sysconfig.get_path("purelib"), elsewhere)
    assert files == [f"{copy}/commands/common.py", f"{copy}/utility/config.py"]
