"""What the checkpoint of a probe says that it was made from, so that no other run goes on from it."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstream.config import HIDDEN_SIZE, DownstreamConfig
from utility.config import as_dict, build


def plain_part(checkpoint: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """What the checkpoint in `path` says under `name`: plain values by their names; ValueError for anything else."""
    part = checkpoint.get(name)
    try:
        json.dumps(part)
    except (TypeError, ValueError, RecursionError):
        part = None
    if not isinstance(part, dict):
        raise ValueError(f"{path}: damaged, or not of a probe: its {name!r} holds no plain values")
    return part


def trained_by(config: DownstreamConfig) -> dict[str, Any]:
    """What of a config shapes the weights: all but how the outputs of a trained probe are decoded."""
    return {name: values for name, values in as_dict(config).items() if name != "decode"}


def of_today(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint, perhaps of an earlier version, says that it was made from, as it would be said now."""
    config = there.get("config")
    if not isinstance(config, dict):
        return {"facts": here["facts"], **there}
    probe = config.get("probe")
    if "facts" not in there and isinstance(probe, dict) and probe.get("hidden_size") == HIDDEN_SIZE:
        now = here["config"]["probe"]["hidden_size"]
        config = {**config, "probe": {**probe, "hidden_size": HIDDEN_SIZE if now == HIDDEN_SIZE else None}}
    with contextlib.suppress(ValueError, TypeError):  # there were fewer keys: the rest was as by default
        config = trained_by(build(DownstreamConfig, config))
    return {"facts": here["facts"], **there, "config": config}
