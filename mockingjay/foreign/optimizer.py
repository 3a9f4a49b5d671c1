"""The originals' optimisers: which parameters form a group, and their saved state over our parameters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mockingjay.config import PretrainConfig
from mockingjay.foreign.names import counted
from mockingjay.model.groups import original_groups
from utility.text import short
from utility.training.optimization import make_optimizer

MOMENTS = {"bertadam": ("next_m", "next_v"), "lamb": ("exp_avg", "exp_avg_sq")}
EPSILON = {"bertadam": ("e", 1e-6), "lamb": ("eps", 1e-8)}


class Continuation(NamedTuple):
    """Where a saved run stands: its config, updates done, the state of our optimiser, or why it cannot go on."""

    config: PretrainConfig
    step: int
    optimizer: dict[str, Any] | None
    cannot_resume: str = ""


def continuation(saved: Any, step: int, config: PretrainConfig, model: nn.Module) -> Continuation:
    """Read `saved`, the state_dict of an original's optimiser, for `model` (perhaps without storage).

    `step` is what the file counts; the optimiser knows better. ValueError where the state is not of such a model."""
    name = config.optimizer.name
    if not saved:
        return Continuation(config, step, None, "it holds no optimiser state")
    if name not in MOMENTS:
        return Continuation(config, step, None, "its optimiser is not one of bertadam and lamb")
    groups, states = _parts_of(saved)
    config, cannot_resume = _scheduled(config, groups)
    if cannot_resume:
        return Continuation(config, step, None, cannot_resume)
    keys = [key for group in groups for key in group["params"]]
    pairs = counted(config.model)
    if len(keys) != len(pairs):
        raise ValueError(f"its optimiser counts {len(keys)} tensors, the model of its config has {len(pairs)}")
    by_parameter: dict[str, list[dict]] = {}
    for (ours, _), key in zip(pairs, keys):
        by_parameter.setdefault(ours, []).append(states.get(key) or {})
    optimizer = make_optimizer(original_groups(model, config.optimizer.decay), config.optimizer)
    done: list[Any] = []
    for ours, parameter in model.named_parameters():
        saved_states = by_parameter[ours]
        if any(saved_states):
            optimizer.state[parameter] = {
                moment: _joined(ours, moment, saved_states, parameter.shape) for moment in MOMENTS[name]
            }
            done += [state.get("step") for state in saved_states]
    if any(type(number) is not int or number < 0 or number != done[0] for number in done):
        raise ValueError("the tensors of its optimiser do not agree on the updates done")
    return Continuation(config, done[0] if done else max(step - 1, 0), optimizer.state_dict())


def _parts_of(saved: Any) -> tuple[list[dict], dict]:
    if not isinstance(saved, Mapping):
        raise ValueError(f"'Optimizer' holds a {type(saved).__name__}, expected groups and states")
    groups, states = saved.get("param_groups"), saved.get("state")
    if not isinstance(groups, list) or not isinstance(states, dict):
        raise ValueError("'Optimizer' does not hold groups and states")
    known = all(isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups)
    if not known or not all(isinstance(state, dict) for state in states.values()):
        raise ValueError("'Optimizer' does not hold groups and states")
    if any(type(key) is not int for group in groups for key in group["params"]):
        raise ValueError("'Optimizer' does not number its tensors")
    return groups, states


def _scheduled(config: PretrainConfig, groups: list[dict]) -> tuple[PretrainConfig, str]:
    """The config with the schedule that the optimiser itself holds, and what of the optimiser is unlike ours."""
    key, epsilon = EPSILON[config.optimizer.name]
    first = groups[0] if groups else {}
    if first.get(key, epsilon) != epsilon or first.get("max_grad_norm", 1.0) != 1.0:
        return config, f"its optimiser was not left at {key} {epsilon} and max_grad_norm 1"
    schedule = first.get("schedule")
    if isinstance(schedule, dict) and schedule:
        total, warmup = schedule.get("t_total"), schedule.get("warmup")
        if not isinstance(total, int | float) or not isinstance(warmup, int | float):
            raise ValueError("the schedule of its optimiser has no t_total and warmup")
        if not 1 <= total < 1e12 or not 0 <= warmup < 1:
            return config, f"its learning rate followed no schedule (warmup {short(warmup)}, t_total {short(total)})"
        config = replace(
            config,
            trainer=replace(config.trainer, steps=int(total)),
            optimizer=replace(config.optimizer, warmup=float(warmup)),
        )
    return config, ""


def _joined(name: str, moment: str, states: list[dict], shape: torch.Size) -> Tensor:
    parts = [value for state in states if isinstance(value := state.get(moment), Tensor)]
    if len(parts) != len(states) or any(value.dtype != torch.float32 for value in parts):
        raise ValueError(f"its optimiser has no {moment!r} for {name!r}")
    rows = [shape[0] // len(parts), *shape[1:]]
    wrong = next((value for value in parts if list(value.shape) != rows), None)
    if wrong is not None:
        raise ValueError(
            f"its optimiser's {moment!r} for {name!r} has shape {short(list(wrong.shape))}, expected {rows}"
        )
    return torch.cat(parts)
