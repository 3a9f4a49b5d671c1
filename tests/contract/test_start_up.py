"""What opening a model loads: nothing that plots, reads tables or trains."""

import json
import subprocess
import sys

import pytest

import hubconf
from tests.conftest import PROJECT
from tests.contract.test_house import ROOMS, imports
from tests.helpers.export_models import write_checkpoint

HEAVY = ("matplotlib", "pandas", "tensorboardX", "scipy.signal", "torch._dynamo", "librosa", "soundfile", "sklearn")
OWN = ("utility.training.trainer", "utility.store.reading", "downstream", "originals", "commands")
PROGRAM = """
import json, sys
import mockingjay.upstream
first = set(sys.modules)
import hubconf, torch
states, lengths = hubconf.upstream(sys.argv[1]).from_waveforms([torch.randn(8000)])
assert len(states) == 4
print(json.dumps({"imported": sorted(first), "used": sorted(sys.modules)}))
"""


@pytest.mark.slow
def test_upstreams_load_nothing_heavy_and_hub_names_what_they_need(tmp_path):
    """In a process of its own: this one has loaded everything already."""
    ckpt = write_checkpoint("stacked", tmp_path / "small.ckpt")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ckpt], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    loaded = json.loads(done.stdout)
    for when, names in loaded.items():
        assert not set(names) & {*HEAVY, *OWN}, when
    files = [PROJECT / f"{name.replace('.', '/')}.py" for name in loaded["used"]]
    ours = [file for file in files if file.is_file() and file.parent != PROJECT]
    assert len(ours) > 20
    needed = set().union(*(imports(file) for file in ours)) - ROOMS - sys.stdlib_module_names
    assert needed == set(hubconf.dependencies)


@pytest.mark.slow
def test_training_begins_without_what_few_of_its_runs_need():
    program = "import json, sys, commands.pretrain; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert "mockingjay.pretraining.resynthesis" in loaded
    assert not loaded & {"scipy.signal", "scipy.stats", "matplotlib.pyplot", "librosa", "sklearn", "torch._dynamo"}
