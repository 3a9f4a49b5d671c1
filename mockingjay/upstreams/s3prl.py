"""An expert of S3PRL's interface as an upstream."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mockingjay.upstreams.expert_folder import Entry, find_entry, importable
from mockingjay.upstreams.measured import APART, MeasuredUpstream, whole_number
from mockingjay.upstreams.tuned import load_module_weights, tuned_from
from mockingjay.upstreams.users_code import made, undisturbed
from utility.files import files_below

SAMPLE_RATE = 16000  # of every waveform in S3PRL
STATES, LAST = "hidden_states", "last_hidden_state"  # of what an expert gives
CODE = (".py", ".yaml", ".yml", ".json")
WEIGHTS = (".pt", ".pth", ".th", ".ckpt", ".bin", ".model", ".safetensors", ".npy", ".npz", ".pkl", ".onnx", ".h5")


class S3prlUpstream(MeasuredUpstream):
    """The expert that a folder makes: called with a list of 1-D waveforms of 16 kHz, it gives a dict of hidden states.

    They are T0, T1 ... of "hidden_states", a list or a tuple, or one tensor; where an expert has no such key,
    "last_hidden_state", or the only other one. "last_hidden_state" beside them, where it is not the last of them, is
    `final`. `get_downsample_rates(key)` says the samples from one frame to the next.

    The code of the folder is run. What it imports must be installed, and what it downloads is its own doing: nothing is
    downloaded here. `entry` is which of the folder's experts, where it has several; random weights are drawn from
    `seed`. A `file` goes to the entry's `ckpt`, where it has such a parameter or takes `**kwargs`; to any other expert
    it is the state dict of its weights. A file that fine-tuning wrote is always weights: it remembers the `ckpt`.
    ValueError or FileNotFoundError in one line for what does not fit."""

    family = "an expert of S3PRL's interface"

    def __init__(self, folder: str, file: str = "", entry: str = "", seed: int = 0):
        called, path = f"upstream s3prl:{folder}", Path(folder).resolve()
        with undisturbed(seed), importable(path):
            expert, made_from = _made(called, find_entry(path, entry), file)
            if not isinstance(expert, nn.Module):
                raise ValueError(f"{called}: its expert is a {type(expert).__name__}, expected an nn.Module")
            rates = getattr(expert, "get_downsample_rates", None)
            if not callable(rates):
                raise ValueError(f"{called}: its {type(expert).__name__} has no get_downsample_rates(key): add it")
            given = made(lambda: rates(STATES), f"{called}: get_downsample_rates failed")
        super().__init__(called, expert, SAMPLE_RATE, whole_number(called, "get_downsample_rates", given))
        self.folder, self.made_from = path, made_from
        self.measure(takes_batches=True)

    def states_of(self, waves: list[Tensor]) -> dict[str, Tensor]:
        given = self.module(waves)
        if not isinstance(given, dict):
            raise ValueError(f"gave a value of type {type(given).__name__}, expected a dict with {STATES!r}")
        key = _key(given)
        states = given[key]
        states = [states] if isinstance(states, Tensor) else states
        if not isinstance(states, list | tuple):
            raise ValueError(
                f"gave a value of type {type(states).__name__} as {key!r}, expected a list of tensors [B, T, H]"
            )
        apart = {APART: given[LAST]} if key == STATES and isinstance(given.get(LAST), Tensor) else {}
        return {f"T{layer}": state for layer, state in enumerate(states)} | apart

    def code(self) -> Sequence[object]:
        digest, known = hashlib.sha256(), bool(self.module.state_dict())
        for name in files_below(self.folder):
            if name.endswith(CODE) or (not known and name.endswith(WEIGHTS)):  # those of an expert that hides them
                digest.update(name.encode() + (self.folder / name).read_bytes())
        if self.made_from and not known:
            digest.update(Path(self.made_from).read_bytes())
        return type(self.module).__qualname__, digest.hexdigest()


def _made(called: str, make: Entry, file: str) -> tuple[Any, str]:
    """The expert of an entry with the weights of `file`, and the file that it was made from, if any."""
    name = getattr(make, "__name__", "its entry")
    if file and not Path(file).is_file():
        raise FileNotFoundError(f"{called}: the file {file} does not exist")
    parameters = made(lambda: inspect.signature(make).parameters, f"{called}: {name} cannot be called")
    keywords = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    ckpt, weights = "", file
    if file and (tuned := tuned_from(Path(file))) is not None:
        ckpt = tuned
        if ckpt and not Path(ckpt).is_file():
            raise FileNotFoundError(f"{called}: {file} was tuned from {ckpt}, which is gone: put it there again")
    elif "ckpt" in parameters or keywords:
        ckpt, weights = str(Path(file).resolve()) if file else "", ""
    if "ckpt" in parameters and parameters["ckpt"].default is inspect.Parameter.empty and not ckpt:
        raise ValueError(f"{called}: {name} needs a checkpoint: name its file behind the folder, as {called}:FILE")
    expert = made(lambda: make(**({"ckpt": ckpt} if ckpt else {})), f"{called}: {name} failed")
    if weights and isinstance(expert, nn.Module):
        load_module_weights(expert, Path(weights))
    return expert, ckpt


def _key(given: dict[str, Any]) -> str:
    """Where an expert has put its states."""
    for key in (STATES, LAST):
        if given.get(key) is not None:
            return key
    others = [key for key, value in given.items() if isinstance(value, list | tuple | Tensor)]
    if len(others) != 1:
        raise ValueError(f"gave a dict with {', '.join(map(str, others)) or 'no states'}, expected {STATES!r}")
    return others[0]
