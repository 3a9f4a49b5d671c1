"""Alignment files of every form, and stored alignments."""

import json
from pathlib import Path

import numpy as np

from tests.campaign.families.base import PROBE, Input, newly_huge
from tests.campaign.judge import Expected
from tests.campaign.mutations.arrays import changed_array
from tests.campaign.mutations.texts import changed_json, changed_lines, changed_table

FILES = {
    "u.TextGrid": "textgrid", "short.TextGrid": "textgrid", "a.ctm": "ctm", "SI1.PHN": "timit", "SI1.WRD": "timit",
    "montreal.txt": "montreal", "cpc.txt": "cpc", "a.json": "json", "b.json": "json",
}  # fmt: skip


def alignment_files(world: Path, rng: np.random.Generator) -> Input:
    """One file, wrong somewhere, through preprocess_alignment.py."""
    name = list(FILES)[rng.integers(len(FILES))]
    old = (world / "texts" / name).read_bytes()
    data, how = changed_json(json.loads(old), rng) if name.endswith("json") else changed_lines(old, rng)
    words = ["preprocess/preprocess_alignment.py", "--data_path", f"in/{name}", "--name", "out"]
    words += ["--format", FILES[name]] if rng.random() < 0.5 else []
    words += ["--tier", "words"] if name.endswith("WRD") else []
    words += (
        ["--phone_set", str(rng.choice(["arpabet39", "timit39"]))] if rng.random() < 0.2 and "WRD" not in name else []
    )
    words += ["--dry_run"] if rng.random() < 0.2 else []
    return Input(tuple(words), f"{name}: {how}", {f"in/{name}": data}, Expected(huge=newly_huge(old, data)))


def alignment_folders(world: Path, rng: np.random.Generator) -> Input:
    """A stored alignment, wrong somewhere, in a probe."""
    names = ("labels.txt", "utterances.csv", "segments.npy")
    files = {f"in/{name}": (world / "phones" / name).read_bytes() for name in names}
    name, lacking = names[rng.integers(3)], False
    old = files[f"in/{name}"]
    if name == "segments.npy" and rng.random() < 0.4:
        data, how = _times(old, rng)
    elif name == "segments.npy":
        data, how, lacking = changed_array(old, rng)
    elif name == "labels.txt":
        data, how = changed_lines(old, rng)
    else:
        data, how = changed_table(old, rng)
    files[f"in/{name}"] = data
    words = (*PROBE, "--upstream", "baseline", "--config", "world/probe.yaml", "data.alignment=in")
    return Input(words, f"{name}: {how}", files, Expected(lacking and data != old))


def _times(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """A segment with an odd start, end or label."""
    head, size = 10 + int.from_bytes(data[8:10], "little"), 20
    at = head + size * int(rng.integers((len(data) - head) // size))
    if rng.random() < 0.3:
        label = int(rng.choice([-1, 2, 99, 2**31 - 1]))
        return data[: at + 16] + label.to_bytes(4, "little", signed=True) + data[at + 20 :], f"label {label}"
    odd = float(rng.choice([np.nan, np.inf, -np.inf, -1.0, 1e300, 0.05]))
    at += int(rng.choice([0, 8]))
    return data[:at] + np.float64(odd).tobytes() + data[at + 8 :], f"time {odd}"
