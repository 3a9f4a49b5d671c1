"""Optimisers and learning-rate schedules by name."""

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor, nn

from utility.config import section

Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]


@section
class OptimizerConfig:
    """`adamw` is the default; `bertadam` is the originals' own, for parity."""

    name: Literal["adamw", "bertadam"] = "adamw"
    lr: float = pydantic.Field(4e-4, gt=0)
    warmup: float = pydantic.Field(0.07, ge=0, lt=1)  # share of the steps over which the rate rises
    weight_decay: float = pydantic.Field(0.01, ge=0)  # not on biases and LayerNorm
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    clip: float = pydantic.Field(1.0, gt=0)  # largest global norm of the gradient


def warmup_linear(warmup: float, total: int) -> Callable[[int], float]:
    """The originals' schedule: the share of the base rate at an update (counted from 0), rising over `warmup * total`
    updates from 0 and then falling to 0 at `total`."""

    def share(step: int) -> float:
        progress = step / total
        if progress < warmup:
            return progress / warmup
        return max((progress - 1) / (warmup - 1), 0.0)

    return share


def decay_groups(parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
    """Two parameter groups: matrices, which decay, and vectors (biases, LayerNorm), which do not."""
    parameters = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(groups: list[dict], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of `config` over parameter groups; a group may bring its own `lr`."""
    if config.name == "bertadam":
        return BertAdam(groups, lr=config.lr, betas=config.betas)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


class BertAdam(torch.optim.Optimizer):
    """Adam as in BERT's first release: no bias correction, each tensor's gradient clipped to norm 1, decoupled decay.

    m <- 0.9 m + 0.1 g; v <- 0.999 v + 0.001 g^2; w <- w - lr (m / (sqrt(v) + 1e-6) + decay w)."""

    def __init__(self, groups: Iterable, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.01, "tensor_clip": 1.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[nn.Parameter], group: dict) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {k: torch.zeros_like(parameter) for k in ("next_m", "next_v")}
        mean: list[Tensor] = [self.state[p]["next_m"] for p in parameters]
        square: list[Tensor] = [self.state[p]["next_v"] for p in parameters]
        beta1, beta2 = group["betas"]
        gradients = self._clipped([p.grad for p in parameters], group["tensor_clip"])
        torch._foreach_lerp_(mean, gradients, 1 - beta1)
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - beta2)
        update = torch._foreach_sqrt(square)
        torch._foreach_add_(update, group["eps"])
        update = torch._foreach_div(mean, update)
        if group["weight_decay"]:
            torch._foreach_add_(update, parameters, alpha=group["weight_decay"])
        torch._foreach_add_(parameters, update, alpha=-group["lr"])

    @staticmethod
    def _clipped(gradients: list[Tensor], limit: float) -> list[Tensor]:
        norms = torch._foreach_norm(gradients)
        return torch._foreach_mul(gradients, [(limit / (norm + 1e-6)).clamp(max=1.0) for norm in norms])
