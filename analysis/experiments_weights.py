"""The layer weights of finished probes, beside the norms of layers and the scores of single layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.config import ProbesConfig
from analysis.layer_weights import CAVEAT, LayerWeights, layer_weights
from utility.runs import read_json

RESULT = "result.json"


def read_probes(paths: Sequence[str], key: str) -> dict[str, dict[str, Any]]:
    """The results of probes by the file's name: files, and all below folders, in order; ValueError where there is
    none."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.rglob(RESULT)) if path.is_dir() else [path] if path.is_file() else []
        if not found:
            raise ValueError(f"probes.{key}: {path} holds no {RESULT} of a probe")
        files += found
    contents = {str(file): read_json(file) for file in files}
    return {name: content for name, content in contents.items() if content.get("kind", "probe") == "probe"}


def weights_content(probes: ProbesConfig, norms: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The experiment in result.json; `norms` are the mean norms of states by the upstream's name, as `shape` has them.

    Of folders for `single` the results of single layers count, of those for `weighted` those with weights. ValueError
    where none has any, and for probes that do not fit together."""
    weighted = read_probes(probes.weighted, "weighted")
    with_weights = {name: content for name, content in weighted.items() if content.get("layer_weights")}
    if not with_weights:
        raise ValueError(f"none of {len(weighted)} results of probes.weighted has weights: probe with --weighted_sum")
    single = read_probes(probes.single, "single") if probes.single else {}
    single = {name: content for name, content in single.items() if not content.get("layer_weights")}
    listed = layer_weights(with_weights, single, norms)
    return {
        "measure": "layer weight",
        "unit": "",
        "higher_is": "better",
        "upstreams": {},
        "chance": None,
        "ceiling": None,
        "layer_weights": [_plain(one) for one in listed],
        "data": [{"probes": len(with_weights), "probes_of_single_layers": len(single)}],
        "notes": [CAVEAT],
    }


def _plain(weights: LayerWeights) -> dict[str, Any]:
    scores = weights.scores
    return {
        "task": weights.task,
        "upstream": weights.upstream,
        "seeds": list(weights.seeds),
        "mean": _listed(weights.mean),
        "deviation": _listed(weights.deviation),
        "times_norm": None if weights.times_norm is None else _listed(weights.times_norm),
        "scores": None
        if scores is None
        else {
            "metric": scores.metric,
            "unit": scores.unit,
            "better": scores.better,
            "mean": _listed(scores.mean),
            "deviation": _listed(scores.deviation),
        },
    }


def _listed(values: np.ndarray) -> list[float | None]:
    """As JSON has it: null for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
