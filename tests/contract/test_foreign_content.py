"""Files in our own formats that somebody else filled: one line, before memory is taken or work is done."""

import json
from pathlib import Path

import pytest
import torch

from mockingjay.checkpoint import load_pretrained, read_content
from mockingjay.describe import describe_checkpoint
from mockingjay.export.write import write_export
from tests.helpers.checkpoints import GRU, TRANSFORMER, write_checkpoint
from utility.training.checkpoint import FORMAT, load_checkpoint
from utility.training.folder import DESCRIPTION, WEIGHTS

HUGE = 1 << 70


def put(path: str, value: object):
    """A change of a nested key, as "config|model|layers"."""

    def change(content: dict) -> None:
        *places, key = path.split("|")
        for place in places:
            content = content[place]
        content[key] = value

    return change


def beyond_memory(content: dict) -> None:
    content["input_dim"], content["config"]["model"]["hidden_size"] = 1 << 52, 1 << 17


CONTENTS = {
    "no state": (put("state", None), "its 'state' is None"),
    "a state that is a list": (put("state", []), r"its 'state' is \[\]"),
    "no step": (put("state|step", None), "its 'state' is"),
    "a step below 0": (put("state|step", -1), "its 'state' is"),
    "pending 0": (put("state|pending", 0), "its 'state' is"),
    "pending text": (put("state|pending", {"loss": "x"}), "its 'state' is"),
    "a position of one number": (put("state|position", [1]), "its 'state' is"),
    "a best that is text": (put("state|best", "x"), "its 'state' is"),
    "features of a list": (put("features", []), r"its 'features' is \[\]"),
    "empty features": (put("features", {}), "its 'features' is {}"),
    "features that are text": (put("features", "mel"), "its 'features' is 'mel'"),
    "features of another kind": (put("features|kind", 3), "config key 'kind' has value 3"),
    "a fraction of a dimension": (put("input_dim", 1.5), "its 'input_dim' is 1.5, expected a whole number from 1"),
    "no dimension": (put("input_dim", 0), "its 'input_dim' is 0"),
    "true for a dimension": (put("target_dim", True), "its 'target_dim' is True"),
    "a dimension of 2^70": (put("target_dim", HUGE), "its 'target_dim' is 11805916"),
    "a seed of keys": (put("seed", {}), "its 'seed' is {}"),
    "a shift of text": (put("frame_shift", "x"), "its 'frame_shift' is 'x'"),
    "a shift below 0": (put("frame_shift", -0.01), "its 'frame_shift' is -0.01"),
    "no config": (put("config", None), "its 'config' is None"),
    "a config of a list": (put("config|model", []), "config key 'model' has value"),
    "a hidden size of 10^18": (
        put("config|model|hidden_size", 10**18),
        "config key 'model.hidden_size' has value 10",
    ),
    "a hidden size of 2^70": (
        put("config|model|hidden_size", HUGE),
        "config key 'model.hidden_size' has value 11",
    ),
    "a large hidden size": (put("config|model|hidden_size", 100_000), "has shape"),
    "a large ffn": (put("config|model|ffn_size", 10**6), "has shape"),
    "large frames": (put("input_dim", 1 << 52), "has shape"),
    "frames beyond any memory": (beyond_memory, "the sizes in its config are beyond any memory"),
    "layers of 2^70": (put("config|model|layers", HUGE), "config key 'model.layers' has value 11805916"),
    "a hundred layers": (put("config|model|layers", 100), "is missing: the model of this config has it"),
    "no model": (put("model", None), "(its 'model' is None|it has no 'model')"),
    "a model of numbers": (put("model", {1: 2}), "its 'model' is {1: 2}"),
    "text for a tensor": (put("model|head.output.bias", "x"), "'model' holds"),
    "whole numbers for a tensor": (put("model|head.output.bias", torch.zeros(240, dtype=torch.int64)), "torch.int64"),
    "an optimiser of text": (put("optimizer", "x"), "its 'optimizer' is 'x'"),
    "assumed text": (put("assumed", "x"), "its 'assumed' is 'x'"),
    "sources of a list": (put("sources", [1]), r"its 'sources' is \[1\]"),
    "a head that is text": (put("headless", "no"), "its 'headless' is 'no'"),
}


def refused(path: Path, said: str) -> None:
    for opened in (load_pretrained, describe_checkpoint):
        with pytest.raises(ValueError, match=said) as caught:
            opened(path)
        line = str(caught.value)
        assert "\n" not in line
        assert line.startswith(f"{path}")
        assert len(line) < len(str(path)) + 400


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENTS)
def test_a_checkpoint_of_ours(name, tmp_path):
    change, said = CONTENTS[name]
    path = write_checkpoint(tmp_path / "a.ckpt", model=TRANSFORMER)
    content = load_checkpoint(path, "pretrain")
    change(content)
    torch.save(content, path)
    refused(path, said)


JSON = [name for name in CONTENTS if "tensor" not in name and "model of" not in name and "no model" not in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON)
def test_a_folder_of_export(name, tmp_path):
    """Its config.json is text that anybody edits."""
    change, said = CONTENTS[name]
    folder = tmp_path / "folder"
    write_export(load_pretrained(write_checkpoint(tmp_path / "a.ckpt", model=TRANSFORMER)), "safetensors", folder)
    about = json.loads((folder / DESCRIPTION).read_text())
    change(about)
    (folder / DESCRIPTION).write_text(json.dumps(about))
    refused(folder, said)


@pytest.mark.parametrize("layers", [HUGE, 100])
def test_a_gru_of_many_layers(layers, tmp_path):
    path = write_checkpoint(tmp_path / "a.ckpt", **GRU)
    for key in ("layers", "prenet_layers"):
        content = load_checkpoint(path, "pretrain")
        content["config"]["gru"][key] = layers
        torch.save(content, tmp_path / "b.ckpt")
        refused(
            tmp_path / "b.ckpt", "is missing: the model of this config" if layers == 100 else f"gru.{key}' has value"
        )


def test_weights_of_a_folder_that_changed_are_found(tmp_path):
    folder = tmp_path / "folder"
    write_export(load_pretrained(write_checkpoint(tmp_path / "a.ckpt", model=TRANSFORMER)), "safetensors", folder)
    load_pretrained(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-100] ^= 4
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{WEIGHTS}: damaged: its bytes are not those that were written"):
        load_pretrained(folder)
    about = json.loads((folder / DESCRIPTION).read_text())
    assert about.pop("sha256")
    (folder / DESCRIPTION).write_text(json.dumps(about))
    load_pretrained(folder)  # of an older version, which wrote none
    (folder / DESCRIPTION).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="not valid JSON"):
        load_pretrained(folder)


def test_a_checkpoint_of_another_kind_is_described_or_refused(tmp_path):
    path = tmp_path / "probe.ckpt"
    for content, said in (
        ({"model": {"w": 1}}, "damaged: its model or its state"),
        ({"model": {}, "state": [1]}, "damaged: its model or its state"),
        ({"model": {}, "state": {"best": "x"}}, "damaged: its model or its state"),
        ({"model": 3}, "has no 'model'"),
    ):
        torch.save({"format": FORMAT, "kind": "probe", **content}, path)
        with pytest.raises(ValueError, match=said):
            describe_checkpoint(path)
    torch.save({"format": FORMAT}, path)
    with pytest.raises(ValueError, match="holds a None checkpoint, expected 'pretrain'"):
        read_content(path)
