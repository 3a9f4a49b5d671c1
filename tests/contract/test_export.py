"""Doors out: what is exported gives our numbers, alone and in a batch, without this project on the path."""

import json
import math
import re
import runpy
import subprocess
import sys

import pytest
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.export.portable import portable
from mockingjay.export.s3prl import UpstreamExpert, WaveformExpert
from mockingjay.export.write import write_export
from mockingjay.upstream import load_upstream
from runner_mockingjay import main
from tests.conftest import PROJECT
from tests.helpers.export_models import (
    MODELS,
    as_here,
    check_alone,
    expected,
    largest_difference,
    waveforms,
    write_checkpoint,
)
from utility.audio.feature_config import FeatureConfig
from utility.training.folder import read_folder

# What S3PRL's probing does with upstreams, in a program of its own. It looks for `mockingjay` in vain.
S3PRL = """
import importlib.util, runpy, sys, torch
assert not any(importlib.util.find_spec(name) for name in ("mockingjay", "utility"))
wavs = torch.load(sys.argv[1])
for folder in sys.argv[2:]:
    (entry,) = (name for name in runpy.run_path(folder + "/hubconf.py") if not name.startswith("_"))
    expert = torch.hub.load(folder, entry, source="local")
    rate = expert.get_downsample_rates("hidden_states")
    assert isinstance(rate, int)
    with torch.no_grad():
        found = expert(wavs)
        alone = [expert([wav])["hidden_states"] for wav in wavs]
    states = found["hidden_states"]
    weights = torch.nn.Parameter(torch.zeros(len(states)))  # the featuriser's, over layers
    stacked = torch.stack(states, dim=0)
    mixed = (weights.softmax(-1)[:, None] * stacked.view(len(states), -1)).sum(0).view(*stacked.shape[1:])
    counts = [round(len(wav) / rate) for wav in wavs]
    assert abs(mixed.shape[1] - max(counts)) < 5
    rows = [row[:count] for row, count in zip(mixed, counts)]
    assert all(len(row) == count for row, count in zip(rows, counts))
    sum(row.sum() for row in rows).backward()
    assert torch.isfinite(weights.grad).all()
    assert torch.equal(found["last_hidden_state"], states[-1])
    expert.train()  # fine-tuning
    expert(wavs)["last_hidden_state"].sum().backward()
    assert any(p.grad is not None for p in expert.parameters())
    torch.save([states, alone], folder + "/states.pt")
"""


@pytest.fixture(scope="module", params=MODELS)
def ckpt(request, tmp_path_factory):
    return write_checkpoint(request.param, tmp_path_factory.mktemp("ckpt") / f"{request.param}.ckpt")


def test_safetensors_folder_opens_like_the_checkpoint(ckpt, tmp_path):
    write_export(load_pretrained(ckpt), "safetensors", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    about = json.loads((tmp_path / "config.json").read_text())
    assert (about["state"]["step"], about["input_dim"]) == (7, load_pretrained(ckpt).model.input_dim)
    one, other = load_pretrained(ckpt), load_pretrained(tmp_path)
    assert (one.config, one.features, one.target, one.step) == (other.config, other.features, other.target, other.step)
    wanted, _ = expected(ckpt)
    upstream = load_upstream(str(tmp_path))
    with torch.no_grad():
        states, _ = upstream.from_waveforms(waveforms())
    assert largest_difference(states, wanted) == 0
    assert upstream.fingerprint == load_upstream(str(ckpt)).fingerprint
    features = torch.randn(1, 40, one.model.input_dim, generator=torch.Generator().manual_seed(1))
    predictions = [found.model(features, torch.tensor([40])).prediction for found in (one, other)]
    assert torch.equal(*predictions)


@pytest.mark.slow
def test_s3prl_folders_are_called_as_s3prl_does(tmp_path):
    ckpts = {name: write_checkpoint(name, tmp_path / f"{name}.ckpt") for name in MODELS}
    for name, ckpt in ckpts.items():
        write_export(load_pretrained(ckpt), "s3prl", tmp_path / name)
    torch.save(waveforms(), tmp_path / "wavs.pt")
    command = [sys.executable, "-I", "-c", as_here(S3PRL), tmp_path / "wavs.pt", *(tmp_path / name for name in MODELS)]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, ckpt in ckpts.items():
        states, alone = torch.load(tmp_path / name / "states.pt")
        assert largest_difference(states, expected(ckpt)[0]) < 1e-6
        check_alone(ckpt, alone)


@pytest.mark.slow
def test_the_entry_of_a_folder_is_its_only_public_name_and_no_other_folder_has_it(tmp_path):
    """S3PRL copies all public names: a folder replaced its `mockingjay_local` and made imports upstreams."""
    entries = []
    for name in MODELS:
        write_export(load_pretrained(write_checkpoint(name, tmp_path / f"{name}.ckpt")), "s3prl", tmp_path / name)
        (entry,) = (word for word in runpy.run_path(str(tmp_path / name / "hubconf.py")) if not word.startswith("_"))
        assert re.fullmatch("mockingjay_[0-9a-f]{8}", entry)
        assert entry in (tmp_path / name / "README.md").read_text()
        entries.append(entry)
    assert len(set(entries)) == len(MODELS)


@pytest.mark.slow
def test_exported_code_is_small_and_its_own(tmp_path):
    for entries in ({"mockingjay.export.s3prl": "expert"}, {"mockingjay.export.huggingface": "modeling_mockingjay"}):
        files = portable(entries)
        text = "\n".join(files.values())
        assert not any(
            f"{package}." in line for line in text.splitlines() for package in ("from mockingjay", "from utility")
        )
        for unneeded in ("matplotlib", "tensorboardX", "pandas", "soundfile", "yaml", "tqdm"):
            assert f"import {unneeded}" not in text
            assert f"from {unneeded}" not in text
        assert {name.count(".") for name in files} == {1}  # flat


@pytest.mark.parametrize("entry", ["upstream", "mockingjay_local"])
def test_torch_hub_loads_from_the_repository(ckpt, entry):
    loaded = torch.hub.load(str(PROJECT), entry, source="local", ckpt=str(ckpt))
    with torch.no_grad():
        if entry == "upstream":
            states, _ = loaded.from_waveforms(waveforms())
        else:
            states = loaded(waveforms())["hidden_states"]
    assert largest_difference(states, expected(ckpt)[0]) == 0


def test_hubconf_imports_nothing(tmp_path):
    code = "import sys, hubconf; assert not {'torch', 'mockingjay', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("door", ["hf", "s3prl", "safetensors"])
def test_command_exports(door, tmp_path, capsys):
    ckpt = write_checkpoint("apc", tmp_path / "run" / "best.ckpt")
    assert not main(["--export", door, "--ckpt", str(ckpt)])
    folder = tmp_path / "run" / f"best-{door}"
    assert str(folder) in capsys.readouterr().out
    assert {"config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"would not use model\.layers=2"):
        main(["--export", door, "--ckpt", str(ckpt), "model.layers=2"])


def test_what_cannot_go_through_a_door_is_refused(tmp_path):
    other = write_checkpoint("stacked", tmp_path / "other.ckpt", FeatureConfig(sample_rate=8000))
    with pytest.raises(ValueError, match="8000 Hz"):
        write_export(load_pretrained(other), "s3prl", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    with pytest.raises(ValueError, match="its own config"):
        UpstreamExpert(tmp_path, model_config="x.yaml")
    with pytest.raises(ValueError, match="at least one waveform"):
        WaveformExpert(load_upstream(str(write_checkpoint("apc", tmp_path / "apc.ckpt"))))([])


@pytest.mark.slow
def test_checkpoints_of_the_originals_go_through(fixtures_dir, tmp_path):
    checkpoints = [*fixtures_dir.glob("*.ckpt"), *fixtures_dir.glob("apc*.pt")]
    assert len(checkpoints) > 4
    generator = torch.Generator().manual_seed(0)
    for path in checkpoints:
        assume = {"residual": True} if path.suffix == ".pt" else None  # which an APC state dict does not say
        found, folder = load_pretrained(path, assume), tmp_path / path.stem
        for door in ("hf", "safetensors"):  # the second writes over what the first left
            write_export(found, door, folder)
        assert (folder / "preprocessor_config.json").is_file() == (found.features is not None)
        features, lengths = torch.randn(2, 30, found.model.input_dim, generator=generator), torch.tensor([30, 17])
        states = [load_upstream("transformer", place)(features, lengths) for place in (found, folder)]
        assert largest_difference(*states) == 0
        assert all(state.abs().max() > 0.1 for state in states[0])
        if found.features is None:
            with pytest.raises(ValueError, match="takes only features"):
                write_export(found, "s3prl", folder)


def test_damaged_folders_are_refused_in_one_line(tmp_path):
    write_export(load_pretrained(write_checkpoint("apc", tmp_path / "apc.ckpt")), "safetensors", tmp_path / "folder")
    weights, about = tmp_path / "folder" / "model.safetensors", tmp_path / "folder" / "config.json"
    whole, text = weights.read_bytes(), about.read_text()
    for damage, said in ((whole[:100], "damaged"), (whole[:-8], "damaged"), (b"", "damaged")):
        weights.write_bytes(damage)
        with pytest.raises(ValueError, match=said) as error:
            read_folder(tmp_path / "folder")
        assert "\n" not in str(error.value)
    weights.write_bytes(whole)
    for wrong, said in ((text[:50], "not valid JSON"), ("[1]", "another program"), ("{}", "another program")):
        about.write_text(wrong)
        with pytest.raises(ValueError, match=said):
            load_pretrained(tmp_path / "folder")
    about.unlink()
    with pytest.raises(FileNotFoundError, match="is a folder without"):
        load_pretrained(tmp_path / "folder")


FOREIGN = {
    "frame_shift": "x",
    "seed": math.inf,
    "input_dim": 1.5,
    "target_dim": 10**18,
    "features": [],
    "state": {"step": "x"},
    "optimizer": [],
    "config": [[]],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_export_of_foreign_content_is_refused_in_one_line(name, tmp_path):
    """A frame shift 'x' was taken silently, the others ended in TypeError."""
    folder, file = tmp_path / "folder", tmp_path / "folder" / "config.json"
    write_export(load_pretrained(write_checkpoint("apc", tmp_path / "apc.ckpt")), "safetensors", folder)
    about = json.loads(file.read_text())
    file.write_text(json.dumps(about | {name: FOREIGN[name]}))
    with pytest.raises(ValueError, match=f"{folder}: (damaged: its |expected sections)") as refused:
        load_pretrained(folder)
    assert len(str(refused.value)) < 400
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="not valid JSON"):
        load_pretrained(folder)
