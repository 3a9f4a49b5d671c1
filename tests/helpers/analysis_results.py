"""Made-up contents of result.json of an analysis, one for each kind of figure."""

import numpy as np

LARGE = [*(f"C{i}" for i in range(1, 8)), "P", *(f"T{i}" for i in range(25)), "final"]
PHONES = [f"{a}{b}" for a in "abcdefghijkl" for b in ("", "h", "x")] + ["sil", "y", "z"]


def curve(labels, scores, half: float | None = 0.02, trials=()) -> list[dict]:
    """Points of one upstream, with intervals of ± `half`."""
    return [
        {
            "layer": i,
            "label": label,
            "score": score,
            "low": None if half is None or score is None else score - half,
            "high": None if half is None or score is None else score + half,
            "samples": 100,
            "per_trial": [score + trial for trial in trials],
            "detail": {},
        }
        for i, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]


def experiment(**fields) -> dict:
    return {"measure": "similarity to phones", "unit": "", "higher_is": "better"} | fields


def result(**experiments) -> dict:
    return {"kind": "analysis", "experiments": experiments}


def crowded() -> dict:
    """Five models of 34 layers, two single-layer controls with hard names, chance and ceiling."""
    generator = np.random.default_rng(0)
    names = ["wav2vec2-large", "hubert-large", "wavlm-large", "xls-r", "data2vec"]
    curves = {name: curve(LARGE, generator.uniform(0.1, 0.8, len(LARGE)).tolist()) for name in names}
    curves["_filterbank_with_$_in_its_long_long_long_name"] = curve(["F"], [0.4])
    curves["mel"] = curve(["F"], [0.3])
    about = {"chance": 0.1, "ceiling": 0.95, "data": {"tokens": 7800, "classes": 39}}
    return experiment(
        upstreams=curves,
        unit="in a unit whose name is so long that it needs several lines beside an axis of this height",
        **about,
    )


def deep() -> dict:
    """One model of 49 layers."""
    labels = [*LARGE[:8], *(f"T{i}" for i in range(49))]
    return experiment(upstreams={"xls-r-2b": curve(labels, np.linspace(0, 1, len(labels)).tolist())})


def over_steps() -> dict:
    curves = {f"base@{step}": curve([f"T{i}" for i in range(4)], [0.1, 0.2, 0.3, 0.4]) for step in (200, 100, 20000)}
    return experiment(upstreams=curves | {"mel": curve(["F"], [0.25])}, chance=0.05)


def matrix(rows, columns, values, **fields) -> dict:
    about = {"row_axis": "layer of a", "column_axis": "layer of b", "measure": "linear CKA", "unit": ""}
    return {"rows": list(rows), "columns": list(columns), "values": values} | about | fields


def layer_maps(count: int, layers: int = 25) -> dict:
    labels = [f"T{i}" for i in range(layers)]
    values = (1 / (1 + abs(np.subtract.outer(np.arange(layers), np.arange(layers))))).tolist()
    return experiment(maps={f"model {i}": matrix(labels, labels, values) for i in range(count)})


def relations() -> dict:
    values = np.random.default_rng(0).gamma(1, 1, (39, 39)) - 1
    values[:, 12] = values[12] = np.nan
    about = {"row_axis": "phone of the query", "column_axis": "phone of the key", "centre": 0.0}
    return experiment(maps={"T3 head 2": matrix(PHONES, PHONES, values.tolist(), **about)})


def attention(layers: int = 12) -> dict:
    generator = np.random.default_rng(0)
    shape = (layers, layers)
    heads = {
        "layers": [f"T{i}" for i in range(1, layers + 1)],
        "globalness": generator.uniform(1, 5, shape).tolist(),
        "verticality": (-generator.uniform(1, 5, shape)).tolist(),
        "diagonality": (-generator.uniform(0, 0.3, shape)).tolist(),
        "category": np.array(["global", "vertical", "diagonal"])[generator.integers(0, 3, shape)].tolist(),
    }
    names = ["globalness", "verticality", "diagonality", "weight", "random 0", "random 1", "random 2"]
    orders = [
        {"name": n, "steps": [0, 72, 144], "figures": {"loss": [0.4, 0.5, 0.6 + i / 10], "accuracy": [70, 60, 50 - i]}}
        for i, n in enumerate(names)
    ]
    span = {"name": "span", "steps": [None, 8, 2], "figures": {"loss": [0.4, 0.5, 0.7], "accuracy": [70, 65, 40]}}
    units = {"loss": "standard deviations of a feature", "accuracy": "%"}
    return experiment(heads={"base": heads}, pruning={"base": {"figures": units, "heads": orders, "span": [span]}})


def paired(one: tuple[str, str], other: tuple[str, str], value: float, half: float = 0.02) -> dict:
    return {"one": list(one), "other": list(other), "value": value, "low": value - half, "high": value + half}


def differences() -> dict:
    between = [paired(("ours", f"T{i}"), ("random", f"T{i}"), 0.01 * i) for i in range(5)]
    within = [paired(("ours", "T4"), ("ours", f"T{i}"), 0.1 - 0.025 * i) for i in range(4)]
    return experiment(differences=[*between, *within, paired(("ours", "T4"), ("mel", "F"), -0.1)])


def weights(seeds: int = 3) -> dict:
    scores = {"metric": "frame accuracy", "unit": "%", "better": "higher", "mean": [50, None, 60], "deviation": [1] * 3}
    one = {
        "task": "phone_linear",
        "upstream": "base",
        "seeds": list(range(seeds)),
        "mean": [0.2, 0.3, 0.5],
        "deviation": [0.01, 0.02, 0.03] if seeds > 1 else [None] * 3,
        "times_norm": [1.0, 1.0, 2.0],
        "scores": scores,
    }
    return experiment(layer_weights=[one, one | {"task": "speaker", "times_norm": None, "scores": None}])
