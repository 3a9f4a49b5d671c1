"""Checkpoints, ours and foreign: bits, structure, hostile pickles; exported folders; what probes leave."""

import copy
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.campaign.families.base import CPU, NEW, PROBE, RUNNER, Input, pick
from tests.campaign.judge import Expected
from tests.campaign.mutations.pickles import hostile
from tests.campaign.mutations.raw import CHANGES, append, changed, cut
from tests.campaign.mutations.texts import changed_json, changed_lines
from tests.campaign.mutations.values import HUGE, changed_tree, is_huge
from utility.torch_files import read_torch

LARGE = ("model", "optimizer", "Transformer", "SpecHead", "Optimizer")
RUN = "exp/result_baseline_phone_linear/done"
SUMMED = "exp/result_pretrained_phone_linear/summed"
TEST = "world/data/mel/test"
TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "sparse": lambda t: t.to_sparse(), "meta": lambda t: t.to("meta"), "a Parameter": nn.Parameter,
    "half": lambda t: t.half(),
    "double": lambda t: t.double(), "int64": lambda t: t.long(), "bool": lambda t: t.bool(),
    "complex": lambda t: t.to(torch.complex64),
    "not finite": lambda t: t * float("nan"), "infinite": lambda t: t + float("inf"), "flat": lambda t: t.flatten(),
    "empty": lambda t: t[:0], "one more": lambda t: t[None], "expanded": lambda t: torch.zeros(1).expand(10**9),
    "text": str,
    "a number": lambda t: float(t.sum()), "nothing": lambda t: None, "a list": lambda t: t.tolist(),
    "turned": lambda t: t.t() if t.ndim == 2 else t,
    "other views": lambda t: torch.as_strided(t, (t.numel(),), (0,)),
}  # fmt: skip


def uses(rng: np.random.Generator, path: str) -> tuple[str, ...]:
    """A command that opens the pre-training checkpoint `path`; of an APC state dict it says what that does not."""
    ways = (
        (RUNNER, "--info", path),
        (RUNNER, "--info", path),
        (RUNNER, "--extract", *CPU, "--ckpt", path, "--input", TEST, "--output", "out"),
        (RUNNER, "--test", *CPU, "--ckpt", path, "--input", TEST, "--output", "out"),
        (RUNNER, "--export", "safetensors", "--ckpt", path, "--output", "out"),
        (RUNNER, "--export", "s3prl", "--ckpt", path, "--output", "out"),
        (*NEW, "--config", "world/good.yaml", "--load", "--ckpt", path),
        (*PROBE, "--upstream", "pretrained", "--ckpt", path, "--config", "world/probe.yaml"),
    )
    return (*pick(rng, *ways), *_told(path))


def _told(path: str) -> tuple[str, ...]:
    return ("--assume", "residual=true") if path.endswith(".pt") else ()


def bits(world: Path, rng: np.random.Generator) -> Input:
    """A checkpoint with changed bytes: the weights must be those that were saved, or it must be refused.

    Where the file has no checksum (the originals' old form), nobody can tell: such a file may be accepted."""
    paths = [world / "ckpt/base/best.ckpt", world / "ckpt/apc.ckpt", *sorted((world / "originals").iterdir())]
    path = paths[int(rng.integers(2)) if rng.random() < 0.7 else int(rng.integers(2, len(paths)))]
    whole = path.read_bytes()
    if rng.random() < 0.15:
        data, how, lacking = cut(whole, rng), "cut", True
    else:
        changes = tuple(change for change in CHANGES if change not in (cut, append))
        (data, how), lacking = changed(whole, rng, changes), False
    name = f"in{path.suffix}"
    words = (RUNNER, "--export", "safetensors", "--ckpt", name, "--output", "out", *_told(name))
    export = "safetensors" if path.name == "best.ckpt" else path.name
    same = ("out/model.safetensors", f"export/{export}/model.safetensors") if zipfile.is_zipfile(path) else None
    return Input(words, f"{path.name}: {how}", {name: data}, Expected(lacking), same)


def structure(world: Path, rng: np.random.Generator) -> Input:
    """A checkpoint of our form that holds something else."""
    path = world / ("ckpt/base/best.ckpt" if rng.random() < 0.7 else "ckpt/apc.ckpt")
    content = torch.load(path, weights_only=True)
    how = _change(content, rng, kept=("format", "kind"))
    words = uses(rng, "in.ckpt")
    if rng.random() < 0.2:
        words = (*NEW, "--config", "world/good.yaml", "--resume", "trainer.steps=2")  # so that it trains on
        return Input(words, f"resume: {how}", {"out/new/mockingjay-1.ckpt": _saved(content, rng)}, _of(content))
    return Input(words, how, {"in.ckpt": _saved(content, rng)}, _of(content))


def foreign(world: Path, rng: np.random.Generator) -> Input:
    """A checkpoint of the originals, or of later S3PRL, that holds something else, or whose settings do."""
    paths = sorted((world / "originals").iterdir())
    path = paths[rng.integers(len(paths))]
    with path.open("rb") as file:
        content = read_torch(file, path)
    how = _change(content, rng, kept=())
    name = f"in{path.suffix}"
    told = _told(name) if rng.random() < 0.9 else ()
    words = uses(rng, name) if rng.random() < 0.4 else (RUNNER, "--info", name, *told)
    return Input(words, f"{path.name}: {how}", {name: _saved(content, rng)}, _of(content))


def pickles(world: Path, rng: np.random.Generator) -> Input:
    """A file that would run code or take memory, wherever a checkpoint is read."""
    data, how = hostile(rng)
    where = str(rng.choice(["pretrain", "pretrain", "resume", "probe", "resumed probe"]))
    if where == "pretrain":
        return Input(uses(rng, "in.ckpt"), how, {"in.ckpt": data})
    if where == "resume":
        words = (*NEW, "--config", "world/good.yaml", "--resume")
        return Input(words, f"resume: {how}", {"out/new/mockingjay-1.ckpt": data})
    if where == "probe":
        return Input(_scoring(), f"probe: {how}", {"in.ckpt": data})
    files = _run_files(world) | {f"{RUN}/probe-1.ckpt": data, f"{RUN}/best.ckpt": data}
    files.pop(f"{RUN}/result.json")
    return Input(_resuming(), f"resumed probe: {how}", files)


def exports(world: Path, rng: np.random.Generator) -> Input:
    """An exported folder whose config or tensors are wrong, opened again, or by torch.hub with its code or ours.

    Its config has a digest of the tensors' file, so no change of that file may be accepted."""
    hub = rng.random() < 0.3
    folder = world / "export" / ("s3prl" if hub else "safetensors")
    files = {f"in/{path.name}": path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    name, lacking = ("in/config.json" if rng.random() < 0.6 else "in/model.safetensors"), False
    if name == "in/config.json":
        files[name], how = changed_json(json.loads(files[name]), rng)
    else:
        whole = files[name]
        files[name], how = _safetensors(whole, rng)
        lacking = files[name] != whole
    opened = ("in",) if rng.random() < 0.6 else ("project", "mockingjay_local", "in")
    words = ("tests/campaign/entries/open_hub.py", *opened) if hub else uses(rng, "in")
    huge = name.endswith("json") and any(str(number).encode() in files[name] for number in HUGE)
    return Input(words, f"{Path(name).name}: {how}", files, Expected(lacking, huge))


def probes(world: Path, rng: np.random.Generator) -> Input:
    """What a probe's run leaves, wrong: result.json, metrics.jsonl, config.yaml, checkpoints; it trains a step more."""
    kind = str(rng.choice(["ws", "ws", "result", "metrics", "checkpoint", "checkpoint", "score"]))
    files = _run_files(world)
    if kind == "ws":
        data, how = changed_json(json.loads((world / SUMMED / "result.json").read_text()), rng)
        words = (RUNNER, "--extract", *CPU, "--ckpt", "world/ckpt/base/best.ckpt", "--input", TEST, "--output", "out")
        return Input((*words, "--layer", "ws:in.json"), f"ws: {how}", {"in.json": data})
    if kind == "result":
        name = f"{RUN}/result.json"
        files[name], how = changed_json(json.loads(files[name]), rng)
    elif kind == "metrics":
        name = f"{RUN}/metrics.jsonl"
        lines = files[name].splitlines()
        at = int(rng.integers(len(lines)))
        lines[at], how = changed_json(json.loads(lines[at]), rng)
        files[name] = b"\n".join(lines) + b"\n" if rng.random() < 0.7 else changed_lines(files[name], rng)[0]
        files.pop(f"{RUN}/result.json")
    else:
        content = torch.load(world / RUN / "best.ckpt", weights_only=True)
        how = _change(content, rng, kept=("format", "kind"))
        data = _saved(content, rng)
        if kind == "score":
            return Input(_scoring(), f"scored checkpoint: {how}", {"in.ckpt": data}, _of(content))
        files |= {f"{RUN}/probe-1.ckpt": data, f"{RUN}/best.ckpt": data}
        if rng.random() < 0.5:
            files.pop(f"{RUN}/result.json")
    return Input(_resuming(), f"{kind}: {how}", files)


def _run_files(world: Path) -> dict[str, bytes]:
    names = ("result.json", "metrics.jsonl", "config.yaml", "probe-1.ckpt", "best.ckpt")
    return {f"{RUN}/{name}": (world / RUN / name).read_bytes() for name in names}


def _scoring() -> tuple[str, ...]:
    return (RUNNER, "--test_phone", *CPU, "--config", "world/probe.yaml", "--dckpt", "in.ckpt")


def _resuming() -> tuple[str, ...]:
    expdir = tuple("exp" if word == "out" else word for word in PROBE)
    return (*expdir, "--upstream", "baseline", "--config", "world/probe.yaml", "--name", "done", "--resume")


def _change(content: Any, rng: np.random.Generator, kept: tuple[str, ...]) -> str:
    """Change one tensor, or one plain value, of a checkpoint's content in place."""
    tensors = [(holder, key) for holder, key in _holders(content) if isinstance(holder[key], torch.Tensor)]
    if tensors and rng.random() < 0.3:
        holder, key = tensors[rng.integers(len(tensors))]
        name = list(TENSORS)[rng.integers(len(TENSORS))]
        try:
            holder[key] = TENSORS[name](holder[key])
        except (RuntimeError, TypeError, IndexError):  # an integer tensor that is no such thing
            holder[key] = None
        return f"{key} is {name}"
    plain = {key: value for key, value in content.items() if key not in kept and not isinstance(value, torch.Tensor)}
    for key in LARGE:  # else most changes would be of one of the many numbers there
        if key in plain and len(plain) > 1 and rng.random() < 0.7:
            plain.pop(key)
    if not plain:
        content.pop(next(iter(content)))
        return "the first is lost"
    new, how = changed_tree(plain, rng)
    for key in plain:
        content.pop(key)
    content.update(new)
    return how


def _holders(tree: Any) -> list[tuple[Any, Any]]:
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [place for key, inner in items for place in [(tree, key), *_holders(inner)]]


def _of(content: Any) -> Expected:
    return Expected(huge=is_huge(content))


def _saved(content: Any, rng: np.random.Generator) -> bytes:
    """The content as a torch file; now and then in the old form."""
    out = io.BytesIO()
    try:
        torch.save(content, out, _use_new_zipfile_serialization=bool(rng.random() < 0.9))
    except Exception:  # what torch cannot write, pickle does
        return pickle.dumps(copy.deepcopy(str(content)[:1000]))
    return out.getvalue()


def _safetensors(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """The header of a safetensors file changed, its length mended; or the file cut, or other bytes in its body."""
    kind = rng.random()
    if kind < 0.2:
        return cut(data, rng), "cut"
    if kind < 0.3:
        return changed(data, rng)[0], "bytes"
    length = struct.unpack("<Q", data[:8])[0]
    if kind < 0.6:
        body, how = changed(data[8 + length :], rng)
        return data[: 8 + length] + body, f"body {how}"
    header, how = changed_json(json.loads(data[8 : 8 + length]), rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :], how
