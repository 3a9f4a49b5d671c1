"""The optimiser of the originals' READMEs: BertAdam with its warm-up inside."""

from collections.abc import Iterable

from torch import nn

from utility.training.optimization import BertAdam, decay_groups, warmup_linear


class WarmupBertAdam(BertAdam):
    """BertAdam whose `step` sets the rate: linear warm-up from 0, then linear decay to 0 at `training_steps`."""

    def __init__(self, groups: Iterable[dict], lr: float, warmup_proportion: float, training_steps: int):
        schedule = {"base": lr, "warmup": warmup_proportion, "total": training_steps, "updates": 0}
        super().__init__([{**group, **schedule} for group in groups], lr)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; the first update of all has rate 0, as in the original."""
        for group in self.param_groups:
            group["lr"] = group["base"] * warmup_linear(group["warmup"], group["total"])(group["updates"])
            group["updates"] += 1
        super().step()


def get_optimizer(
    params: Iterable[tuple[str, nn.Parameter]] | nn.Module, lr: float, warmup_proportion: float, training_steps: int
) -> WarmupBertAdam:
    """BertAdam over *named* parameters, or a module; matrices decay by 0.01, biases and LayerNorm do not.

    Raises ValueError for a rate, a proportion or a number of steps that makes no schedule."""
    if not lr > 0 or not 0 <= warmup_proportion < 1 or training_steps < 1:
        raise ValueError(
            f"lr {lr}, warmup_proportion {warmup_proportion}, training_steps {training_steps}: expected a rate above "
            "0, a share from 0 to below 1, and at least one step"
        )
    named = list(params.named_parameters() if isinstance(params, nn.Module) else params)
    if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in named):
        raise ValueError("params holds bare parameters: pass module.named_parameters(), or the module")
    groups = [group for group in decay_groups(named, 0.01) if group["params"]]
    return WarmupBertAdam(groups, lr, warmup_proportion, training_steps)


get_mockingjay_optimizer = get_optimizer
