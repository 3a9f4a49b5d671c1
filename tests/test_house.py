"""The house: imports point down only, the GPL library stays in its corner, configs and examples hold what they say."""

import ast
import json
import sys
from pathlib import Path

import pytest
import yaml

from downstream.config import DownstreamConfig
from examples.table import table
from mockingjay.config import PretrainConfig
from tests.conftest import PROJECT
from utility.config import as_dict, resolve
from utility.online import OnlineConfig

ALLOWED = {
    "utility": set(),
    "mockingjay": {"utility"},
    "downstream": {"mockingjay", "utility"},
    "analysis": {"mockingjay", "utility"},
    "preprocess": {"utility"},
    "runners": {"downstream", "analysis", "mockingjay", "utility"},
    "benchmarks": {"downstream", "mockingjay", "preprocess", "utility"},
}
ROOMS = {*ALLOWED, "tests", "examples", "runner_mockingjay", "run_downstream", "run_analysis", "hubconf"}
NOT_OURS = {".venv", ".venv-hf", "data", "result", "log", "tests", "examples"}


def sources() -> list[Path]:
    return [p for p in PROJECT.rglob("*.py") if not NOT_OURS & set(p.relative_to(PROJECT).parts)]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_imports_point_down_only():
    assert len(sources()) > 40
    for path in sources():
        parts = path.relative_to(PROJECT).parts
        room = parts[0] if len(parts) > 1 else "runners"
        outside = (imports(path) & ROOMS) - {room}
        assert outside <= ALLOWED[room], f"{path} may not import {outside - ALLOWED[room]}"


def test_only_the_built_in_corpus_loads_the_gpl_library():
    users = {path.name for path in sources() if "espeakng_loader" in imports(path)}
    assert users == {"demo_speech.py", "demo_voices.py"}  # the voices lie beside the library's data


def test_only_the_exported_code_imports_transformers():
    assert {path.name for path in sources() if "transformers" in imports(path)} == {"huggingface.py"}


def test_imports_are_declared():
    names = {"PyYAML": "yaml", "scikit-learn": "sklearn"}
    lines = [line for file in PROJECT.glob("requirements*.txt") for line in file.read_text().splitlines()]
    declared = {line.partition("==")[0] for line in lines if "==" in line}
    known = {names.get(name, name.replace("-", "_")) for name in declared} | ROOMS | sys.stdlib_module_names
    for path in sources():
        assert imports(path) <= known, f"{path}: {imports(path) - known}"


@pytest.mark.parametrize("path", sorted((PROJECT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_configs_are_valid_and_hold_only_what_differs(path):
    schema = DownstreamConfig if path.name.startswith(("demo_", "real_", "downstream")) else PretrainConfig
    config = as_dict(resolve(schema, path))
    defaults = as_dict(schema())
    if path.name == "downstream.yaml":  # the commented page of every key
        assert yaml.safe_load(path.read_text()) == defaults
        return
    if path.name == "online.yaml":  # likewise
        assert yaml.safe_load(path.read_text())["online"] == as_dict(OnlineConfig())
        return
    for section, values in yaml.safe_load(path.read_text()).items():
        for key in values if isinstance(values, dict) else ():
            assert config[section][key] != defaults[section][key], f"{path.name}: {section}.{key} is the default"
        assert config[section] != defaults[section], f"{path.name}: {section} is the default"


def test_table_of_results(tmp_path):
    single = tmp_path / "result_baseline_phone_linear" / "libri-1_mel"
    several = tmp_path / "result_transformer_phone_linear" / "libri-2_last_layer"
    for folder in (single, several):
        folder.mkdir(parents=True)
    (single / "result.json").write_text(json.dumps({"test_accuracy": 44.68}))
    (several / "summary.json").write_text(json.dumps({"test_mean": 50.12, "test_deviation": 0.149}))
    assert table(tmp_path).splitlines() == [
        "| system | phone_linear libri |",
        "| --- | ---: |",
        "| 1 mel | 44.7 |",
        "| 2 last layer | 50.1 ± 0.1 |",
    ]
