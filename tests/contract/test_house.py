"""The house: imports point down only, the GPL library stays in its corner, configs and examples hold what they say."""

import ast
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from analysis.config import AnalysisConfig
from downstream.config import ConfigFile, DownstreamConfig
from examples.compare import table as compare
from examples.table import table
from mockingjay.config import PretrainConfig
from tests.conftest import PROJECT
from utility.audio.online_config import OnlineConfig
from utility.config import as_dict, resolve

ALLOWED = {  # what the files of a room may import besides their own room
    "utility": set(),
    "mockingjay": {"utility"},
    "downstream": {"mockingjay", "utility"},
    "analysis": {"mockingjay", "utility"},
    "report": {"utility"},
    "originals": {"downstream", "mockingjay", "utility"},
    "commands": {"originals", "downstream", "analysis", "report", "mockingjay", "utility"},
    "preprocess": {"utility"},
    "runners": {"commands", "originals", "downstream", "analysis", "report", "mockingjay", "utility"},
    "benchmarks": {"analysis", "downstream", "mockingjay", "preprocess", "tests", "utility"},
}
# Inside a room a file may import its own folder, and what stands on a line above its own.
FLOORS = {
    "mockingjay": (
        {"model", "objectives", "figures", "sound", "runs"},
        {"config"},
        {"build"},
        {"content", "foreign"},
        {"checkpoint"},
        {"pretraining", "upstreams"},
        {"inputs", "upstream"},
        {"encoding"},
        {"representation", "describe", "centroids", "points", "result"},
        {"states", "inspection", "export", "codes"},
        {"drawing"},
    ),
    "downstream": (
        {"figures", "heads", "label_modes", "metrics", "model", "outcomes", "solver"} | {"crossings"},
        {"config", "curve_figure"},
        {"exact", "folds", "layers", "made_from", "sources", "tuning"},
        {"splits", "utterances"},
        {"examples", "labels"},
        {"decoding"},
        {"tasks"},
        {"corpus", "intervals", "probe", "setting", "solved"},
        {"opened"},
        {"experiment"},
        {"report"},
        {"comparison", "sweep"},
        {"fold_runs"},
        {"curves"},
    ),
    "analysis": (
        {"__init__", "attention", "centring", "folds", "information", "layer_weights", "original_cca", "packed"}
        | {"pair_moments", "repeats", "report_join", "robustness", "robustness_content", "segments", "warping"}
        | {"word_vectors"},
        {"boundaries", "cca", "discrimination", "filterbank", "frame_rates", "moments", "sampling", "words"}
        | {"figures", "frame_phones"},
        {"abx", "boundary_scores", "cka", "moment_files", "sentences", "shape", "similarity", "utterance_inputs"},
        {"attention_blocks", "attention_experiment", "probed", "reconstruction", "robustness_experiment"},
        {"collect", "config", "experiment_names", "scores"},
        {"collectors"},
        {"frame_rows", "material"},
        {"gather", "original_scheme"},
        {"experiments_abx", "experiments_boundaries", "experiments_cca", "experiments_discrimination", "experiments_mi"}
        | {"experiments_shape", "experiments_units"},
        {"experiments_models", "experiments_weights", "experiments_words", "joint"},
        {"experiments_maps"},
        {"experiments"},
        {"study"},
        {"report"},
    ),
    "report": (
        {"__init__", "errors", "pictures", "runs", "sound"},
        {"figures", "leaderboard"},
        {"stated", "words"},
        {"content", "tables"},
        {"render"},
    ),
    "utility": (
        {"batches", "files", "interrupts", "intervals", "original_flags", "pickles", "precision", "tables", "text"},
        {
            "torch_files",
            "openmp",
            "threads",
            "command",
            "flags",
            "config",
            "device",
            "side_stream",
            "arpa",
            "error_rate",
        },
        {"background", "seeds", "arrays", "utterance_ids"},
        {"loader", "locks", "kaldi", "runs", "temporary_array", "peak_memory", "centres"},
        {"clusters", "predictions", "results", "worst"},
        {"clustering"},
        {"audio", "labels", "training"},
        {"store"},
        {"plot"},
    ),
}
OLD_ADDRESSES = {"mockingjay/nn_transformer.py", "mockingjay/original_api.py"}  # they only name what is elsewhere now
ROOMS = {*ALLOWED, "tests", "examples", "runner_mockingjay", "run_downstream", "run_analysis", "run_report", "hubconf"}
NOT_OURS = {".venv", ".venv-hf", "data", "result", "log", "tests", "examples"}


def sources() -> list[Path]:
    return [p for p in PROJECT.rglob("*.py") if not NOT_OURS & set(p.relative_to(PROJECT).parts)]


def modules(path: Path) -> set[str]:
    """Every module that a file imports, whole: `from a import b` is `a.b` where that is a file of ours."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.add(inner if (PROJECT / f"{inner.replace('.', '/')}.py").is_file() else node.module)
    return imported


def imports(path: Path) -> set[str]:
    """The packages that a file imports."""
    return {name.split(".")[0] for name in modules(path)}


@pytest.mark.slow
def test_imports_point_down_only():
    assert len(sources()) > 40
    for path in sources():
        relative = path.relative_to(PROJECT)
        if relative.as_posix() in OLD_ADDRESSES:
            continue
        room = relative.parts[0] if len(relative.parts) > 1 else "runners"
        outside = (imports(path) & ROOMS) - {room}
        assert outside <= ALLOWED[room], f"{path} may not import {outside - ALLOWED[room]}"


@pytest.mark.slow
@pytest.mark.parametrize("room", FLOORS)
def test_imports_inside_a_room_point_down_only(room):
    floor = {name: number for number, names in enumerate(FLOORS[room]) for name in names}
    inside = [path.relative_to(PROJECT / room) for path in sources() if (PROJECT / room) in path.parents]
    inside = [path for path in inside if f"{room}/{path}" not in OLD_ADDRESSES]
    assert {path.parts[0].removesuffix(".py") for path in inside} == floor.keys()
    for path in inside:
        own = path.parts[0].removesuffix(".py")
        for module in modules(PROJECT / room / path):
            package, _, rest = module.partition(".")
            other = rest.split(".")[0]
            if package == room and other != own:
                assert floor[other] < floor[own], f"{room}/{path} may not import {module}"


def test_packages_are_empty_and_scripts_folders_hide_no_standard_module():
    packages = [path for path in sources() if path.name == "__init__.py"]
    assert not [
        path for path in packages if any(isinstance(n, ast.ImportFrom) for n in ast.walk(ast.parse(path.read_text())))
    ]
    scripts = {PROJECT, PROJECT / "preprocess", PROJECT / "examples"}
    hidden = [path for folder in scripts for path in folder.glob("*.py") if path.stem in sys.stdlib_module_names]
    assert not hidden


@pytest.mark.slow
def test_only_the_built_in_corpus_loads_the_gpl_library():
    users = {path.name for path in sources() if "espeakng_loader" in imports(path)}
    assert users == {"speech.py"}


@pytest.mark.slow
def test_only_the_exported_code_imports_transformers():
    assert {path.name for path in sources() if "transformers" in imports(path)} == {"huggingface.py"}


@pytest.mark.slow
def test_imports_are_declared():
    names = {"PyYAML": "yaml", "scikit-learn": "sklearn", "flashlight-text": "flashlight"}
    names |= {"Jinja2": "jinja2", "pillow": "PIL"}
    lines = [line for file in PROJECT.glob("requirements*.txt") for line in file.read_text().splitlines()]
    declared = {line.partition("==")[0] for line in lines if "==" in line}
    known = {names.get(name, name.replace("-", "_")) for name in declared} | ROOMS | sys.stdlib_module_names
    for path in sources():
        assert imports(path) <= known, f"{path}: {imports(path) - known}"


PROBES = ("demo_", "real_", "s3prl_", "superb_", "small_", "sentiment", "downstream")


@pytest.mark.parametrize("path", sorted((PROJECT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_configs_are_valid_and_hold_only_what_differs(path):
    schema = DownstreamConfig if path.name.startswith(PROBES) else PretrainConfig
    schema = ConfigFile if path.name.startswith("paper_") else schema
    schema = AnalysisConfig if path.name.startswith("analysis") else schema
    config = as_dict(resolve(schema, path))
    defaults = as_dict(schema())
    if path.name in ("analysis.yaml", "downstream.yaml", "pretrain.yaml"):  # the commented pages of every key
        assert yaml.safe_load(path.read_text()) == defaults
        return
    if path.name == "online.yaml":  # likewise
        assert yaml.safe_load(path.read_text())["online"] == as_dict(OnlineConfig())
        return
    for section, values in yaml.safe_load(path.read_text()).items():
        for key in values if isinstance(values, dict) else ():
            assert config[section][key] != defaults[section][key], f"{path.name}: {section}.{key} is the default"
        assert config[section] != defaults[section], f"{path.name}: {section} is the default"


SCRIPTS = [path for path in sorted((PROJECT / "examples").glob("*.py")) if not path.name.startswith("own_")]


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--help"]])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_examples_without_their_argument_show_usage(path, words, monkeypatch, capsys):
    """They ended in IndexError."""
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(path), run_name="__main__")
    assert left.value.code == 2
    results = ("compare.py", "layers.py", "table.py", "table_of_bakeoff.py", "table_of_tasks.py")
    name = "RESULT_DIRECTORY" if path.name in results else "CHECKPOINT"
    assert capsys.readouterr().err == f"usage: python {path} {name}\n"


def test_architecture_names_every_folder_and_no_other():
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    hidden = {".venv", ".venv-hf", "data", "result", "log", "build"}
    paths = [p.relative_to(PROJECT) for p in PROJECT.rglob("*.py") if not hidden & set(p.relative_to(PROJECT).parts)]
    folders = {parent.as_posix() for path in paths for parent in path.parents}
    assert folders <= named, "docs/architecture.md does not name them"
    assert not [name for name in named if not (PROJECT / name).is_dir()]


def result_of(spec: str, value: float, **more) -> dict:
    """A result.json, as far as a comparison reads it."""
    name = spec.partition("=")[0]
    about = {"task": "phone_linear", "upstream": name, "metric": {"name": "frame accuracy", "unit": "%"}}
    about |= {"value": value, "dev_value": value + 1, "layer_label": "T3", "layers": ["T3"]}
    about |= {"fingerprints": {"upstream": {"spec": spec}}, "parameters": {"trained": 99, "upstream": 1234567}}
    cost = {"states_seconds": 12.34, "training_seconds": 5.0, "frames": 1000, "states_bytes": 2_500_000}
    return about | {"cost": cost | more}


def test_comparison_of_results_shows_controls_and_cost(tmp_path):
    runs = {
        "result_mel_phone_linear/a": result_of("mel=baseline", 40.0, states_seconds=None),
        "result_hubert_phone_linear/b": result_of("hubert=hf:x", 52.25),
        "result_hubert_phone_linear/unread": result_of("hubert=hf:x", 52.25) | {"value": None},
        "result_ours_phone_linear/c/seed_1": result_of("ours=pretrained:y", 60.0),
        "result_ours_phone_linear/c/seed_2": result_of("ours=pretrained:y", 62.0, states_seconds=None),
    }
    for place, content in runs.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "result.json").write_text(json.dumps(content))
    folders = [{"folder": f"{tmp_path}/result_ours_phone_linear/c/seed_{seed}"} for seed in (1, 2)]
    (tmp_path / "result_ours_phone_linear/c/summary.json").write_text(json.dumps({"seeds": folders}))
    title, _, head, _, *rows = compare(tmp_path).splitlines()
    assert title == "phone_linear: frame accuracy (%)"
    assert head.startswith("| upstream | run | test | dev | above features | layer |")
    assert rows == [
        "| mel | a | 40.0 | 41.0 | +0.0 | T3 | 1,234,567 | 99 | 1,000 | - | 2.5 | 5.0 |",
        "| hubert | b | 52.2 | 53.2 | +12.2 | T3 | 1,234,567 | 99 | 1,000 | 12.3 | 2.5 | 5.0 |",
        "| ours | c | 61.0 ± 1.4 | 62.0 | +21.0 | T3 | 1,234,567 | 99 | 1,000 | 12.3 | 2.5 | 5.0 |",
    ]


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
