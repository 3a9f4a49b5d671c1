"""What Yang et al. 2020 (arXiv 2006.03265) found in Mockingjay's heads, and whether it holds for an upstream.

Each finding is a statement, whether it `holds` (None: what it needs was not measured), and the figures behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CUT_ORDERS = {"diagonal": "diagonality", "vertical": "verticality", "global": "globalness"}
WORTH = 0.05  # of a figure of the whole model: what heads that can go cost at most
LOSS = "reconstruction"  # what a figure begins with that is better when it is lower

Content = Mapping[str, Any]


def findings(content: Content) -> list[dict[str, Any]]:
    """The findings on the content of one upstream's attention, as `analyse_attention` gives it."""
    costs = _first_costs(content.get("pruning"))
    return [
        _about(
            "cutting diagonal heads costs most",
            [cost["diagonal"] > max(cost["vertical"], cost["global"]) for cost in costs.values()],
            costs,
        ),
        _about(
            "cutting vertical heads costs more than global ones",
            [cost["vertical"] > cost["global"] for cost in costs.values()],
            costs,
        ),
        _raised(content.get("pruning")),
        _spared(content.get("pruning")),
        _shifted(content["heads"]),
        _concentrated(content),
    ]


def _about(statement: str, holds: Sequence[bool], figures: Any) -> dict[str, Any]:
    """It holds where it does so for every figure."""
    return {"statement": statement, "holds": all(holds) if holds else None, "figures": figures}


def _curves(pruning: Content | None) -> dict[str, Content]:
    return {} if pruning is None else {curve["name"]: curve for curve in pruning["heads"]}


def _worse(name: str, figures: Sequence[float]) -> np.ndarray:
    """How much worse a figure is after each step than that of the whole model, as a share of that."""
    change = (np.array(figures) - figures[0]) / max(abs(figures[0]), 1e-12)
    return change if name.startswith(LOSS) else -change


def _first_costs(pruning: Content | None) -> dict[str, dict[str, float]]:
    """By figure: what the first step costs in the order of each category."""
    curves = _curves(pruning)
    costs: dict[str, dict[str, float]] = {}
    for category, order in CUT_ORDERS.items():
        for name, figures in curves[order]["figures"].items() if order in curves else ():
            costs.setdefault(name, {})[category] = float(_worse(name, figures)[1])
    return costs


def _raised(pruning: Content | None) -> dict[str, Any]:
    best: dict[str, float] = {}
    for order in ("globalness", "verticality"):
        for name, figures in _curves(pruning).get(order, {"figures": {}})["figures"].items():
            if not name.startswith(LOSS):
                best[name] = max(best.get(name, -np.inf), float(-_worse(name, figures)[1:].min()))
    return _about("cutting global or vertical heads can raise accuracy", [gain > 0 for gain in best.values()], best)


def _spared(pruning: Content | None) -> dict[str, Any]:
    """More than half of the heads, in the best order, cost less than `WORTH`."""
    spared: dict[str, float] = {}
    for curve in _curves(pruning).values():
        total = max(curve["steps"])
        for name, figures in curve["figures"].items():
            cheap = [step / total for step, worse in zip(curve["steps"], _worse(name, figures)) if worse <= WORTH]
            spared[name] = max(spared.get(name, 0.0), max(cheap))
    return _about("more than half of the heads can go", [share > 0.5 for share in spared.values()], spared)


def _shifted(heads: Content) -> dict[str, Any]:
    """Of the diagonal heads none looks at its own frame most."""
    diagonal = np.array(heads["category"]) == "diagonal"
    offsets = np.array(heads["offset"])[diagonal]
    figures = {"diagonal heads": int(diagonal.sum()), "on their own frame": int((offsets == 0).sum())}
    holds = [not (offsets == 0).any()] if len(offsets) else []
    return _about("no diagonal head looks at its own frame most", holds, figures)


def _concentrated(content: Content) -> dict[str, Any]:
    """The greatest |concentration| over phones, in the mean over heads."""
    shown, category = content["maps"].get("concentration, phones"), np.array(content["heads"]["category"]).ravel()
    means: dict[str, float] = {}
    for name, chosen in (("vertical heads", category == "vertical"), ("other heads", category != "vertical")):
        if shown is not None and chosen.any():
            values = np.abs(np.array(shown["values"], dtype=np.float64)[chosen])
            means[name] = float(np.nanmax(values, axis=1).mean())
    holds = [means["vertical heads"] > means["other heads"]] if len(means) == 2 else []
    return _about("vertical heads concentrate on some phones more than others do", holds, means)
