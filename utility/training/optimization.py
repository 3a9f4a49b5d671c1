"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from utility.config import section

Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]


ORIGINAL = ("bertadam", "lamb")  # as S3PRL v0.1.0 has them
WITH_BETAS = ("adamw", "adam", *ORIGINAL)
WITH_MOMENTUM = ("sgd", "rmsprop")
BETAS = (0.9, 0.999)
DECOUPLED = ("adamw", *ORIGINAL)  # their weight decay is not part of the gradient


@section
class OptimizerConfig:
    """`adamw` is the default; `bertadam` and `lamb` are the originals' own, for parity.

    `adam`, `sgd`, `adagrad`, `adadelta` and `rmsprop`, which the original APC offers, are PyTorch's: weight decay is an
    L2 term of the gradient. Where an optimiser has no betas or momentum, others than the default are refused."""

    name: Literal["adamw", "adam", "sgd", "adagrad", "adadelta", "rmsprop", "bertadam", "lamb"] = "adamw"
    lr: float = pydantic.Field(4e-4, gt=0)
    warmup: float = pydantic.Field(0.07, ge=0, lt=1)  # share of the steps over which the rate rises
    schedule: Literal["linear", "constant"] = "linear"  # then it falls to 0 at the last step, or stays
    weight_decay: float | None = pydantic.Field(None, ge=0)  # not on biases and LayerNorm; None: as `decay` says
    betas: tuple[Decay, Decay] | None = None  # None: 0.9 and 0.999 where the optimiser has them
    momentum: Decay | None = None  # of sgd and rmsprop; None: 0 there
    clip: float = pydantic.Field(1.0, gt=0)  # largest global norm of the gradient

    def __post_init__(self) -> None:
        """Fill in what is not given, so that the files of a run say what it did; null is what the optimiser lacks."""
        for key, names, usual in (("betas", WITH_BETAS, BETAS), ("momentum", WITH_MOMENTUM, 0.0)):
            if getattr(self, key) not in (None, usual) and self.name not in names:
                raise ValueError(f"{self.name} has no {key}, which {', '.join(names)} have: leave {key} out")
            if self.name not in names or getattr(self, key) is None:
                object.__setattr__(self, key, usual if self.name in names else None)
        object.__setattr__(self, "weight_decay", self.decay)

    @property
    def decay(self) -> float:
        """The weight decay: where none is given 0.01 if it is decoupled, else PyTorch's default, 0."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.01 if self.name in DECOUPLED else 0.0


def warmup_linear(warmup: float, total: int) -> Callable[[int], float]:
    """The originals' schedule: the share of the base rate at an update (counted from 0), rising over `warmup * total`
    updates from 0 and then falling to 0 at `total`."""

    def share(step: int) -> float:
        progress = step / total
        if progress < warmup:
            return progress / warmup
        return max((progress - 1) / (warmup - 1), 0.0)

    return share


def make_schedule(config: OptimizerConfig, total: int) -> Callable[[int], float]:
    """The share of the base rate at an update (counted from 0); the originals' LAMB counts its updates from 1."""
    falling = warmup_linear(config.warmup, total)

    def share(step: int) -> float:
        return 1.0 if config.schedule == "constant" and step >= config.warmup * total else falling(step)

    return (lambda step: share(step + 1)) if config.name == "lamb" else share


def decay_groups(parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
    """Two parameter groups: matrices, which decay, and vectors (biases, LayerNorm), which do not."""
    parameters = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(groups: list[dict], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of `config` over parameter groups; a group may bring its own `lr`."""
    options: dict[str, Any] = {"betas": config.betas, "momentum": config.momentum}
    given = {key: value for key, value in options.items() if value is not None}
    return KINDS[config.name](groups, lr=config.lr, **given)


def restore(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Take the state_dict of such an optimiser; ValueError where `saved` is none, which torch says only at a step.

    What the optimiser was made with stays: only what it has gathered is taken from `saved`."""
    fresh = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(saved)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        raise ValueError("it is no state of such an optimiser") from None
    for group, options in zip(optimizer.param_groups, fresh):
        for key, value in options.items():
            if not _is_option(key, group.setdefault(key, value), value):
                raise ValueError(f"its {key} is none")
        names = _gathered(optimizer, group)
        for parameter in group["params"]:
            state = optimizer.state.get(parameter) or {}
            shapes = {name: torch.Size() if name == "step" else parameter.shape for name in names}
            here = {key: value.shape for key, value in state.items() if _is_moment(value)}
            if state and (here != shapes or len(state) != len(shapes)):
                raise ValueError("its moments are not those of the parameters")
        group.update(options)


def _gathered(optimizer: torch.optim.Optimizer, group: dict) -> tuple[str, ...]:
    """What an optimiser keeps of each parameter: moments, and most a count of its updates as `step`."""
    if isinstance(optimizer, _Original):
        return optimizer.moments
    momentum = ("momentum_buffer",) if group.get("momentum") else ()
    return *GATHERED[type(optimizer)], *momentum


def _is_option(key: str, value: Any, fresh: Any) -> bool:
    if isinstance(fresh, bool | None):  # how torch computes may differ, not what
        return value is None or type(value) is bool if key in ("fused", "foreach") else value is fresh
    if isinstance(fresh, tuple):
        return isinstance(value, tuple | list) and len(value) == len(fresh) and all(map(_is_share, value))
    return type(value) in (int, float) and abs(value) < math.inf


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


def _is_moment(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32


class _Original(torch.optim.Optimizer):
    """Adam's moments without bias correction, decoupled decay, and what is done tensor by tensor.

    A group's `parts` says of how many equal blocks of rows its tensors are made: each counts as a tensor of its own."""

    moments: tuple[str, str]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing here is evaluated again
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {k: torch.zeros_like(parameter) for k in self.moments}
        mean, square = ([self.state[p][k] for p in parameters] for k in self.moments)
        beta1, beta2 = group["betas"]
        gradients = self._gradients(parameters, group)
        torch._foreach_lerp_(mean, gradients, 1 - beta1)
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - beta2)
        update = list(torch._foreach_sqrt(square))
        torch._foreach_add_(update, group["eps"])
        update = list(torch._foreach_div(mean, update))
        if group["weight_decay"]:
            torch._foreach_add_(update, parameters, alpha=group["weight_decay"])
        torch._foreach_add_(parameters, self._sized(update, parameters, group), alpha=-group["lr"])

    def _gradients(self, parameters: list[Tensor], group: dict) -> list[Tensor]:
        return [p.grad for p in parameters if p.grad is not None]

    def _sized(self, update: list[Tensor], parameters: list[Tensor], group: dict) -> list[Tensor]:
        return update


class BertAdam(_Original):
    """Adam as in BERT's first release: no bias correction, each tensor's gradient cut to norm 1, decoupled decay.

    m <- 0.9 m + 0.1 g; v <- 0.999 v + 0.001 g^2; w <- w - lr (m / (sqrt(v) + 1e-6) + decay w)."""

    moments = ("next_m", "next_v")

    def __init__(self, groups: Iterable, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.01, "tensor_clip": 1.0, "parts": 1}
        super().__init__(groups, defaults)

    def _gradients(self, parameters: list[Tensor], group: dict) -> list[Tensor]:
        gradients, limit = super()._gradients(parameters, group), group["tensor_clip"]
        norms = torch._foreach_norm(_parts(gradients, group))
        return _scaled(gradients, [(limit / (norm + 1e-6)).clamp(max=1.0) for norm in norms], group)


class Lamb(_Original):
    """LAMB (You et al. 2020) as S3PRL v0.1.0 has it: each tensor's step is multiplied by |w| / |step|, unbounded."""

    moments = ("exp_avg", "exp_avg_sq")

    def __init__(self, groups: Iterable, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.01, "parts": 1})

    def _sized(self, update: list[Tensor], parameters: list[Tensor], group: dict) -> list[Tensor]:
        of_weight = torch._foreach_norm(_parts(parameters, group))
        of_step = torch._foreach_norm(_parts(update, group))
        pairs = zip(of_weight, of_step)
        return _scaled(update, [torch.where((w == 0) | (s == 0), 1.0, w / s) for w, s in pairs], group)


def _parts(tensors: Iterable[Tensor], group: dict) -> list[Tensor]:
    return [part for tensor in tensors for part in tensor.chunk(group["parts"])]


def _scaled(tensors: list[Tensor], factors: list[Tensor], group: dict) -> list[Tensor]:
    """Each part of each tensor times its factor."""
    scaled = list(torch._foreach_mul(_parts(tensors, group), factors))
    count = group["parts"]
    return [torch.cat(scaled[i : i + count]) for i in range(0, len(scaled), count)] if count > 1 else scaled


KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "bertadam": BertAdam,
    "lamb": Lamb,
}
GATHERED: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.SGD: (),
    torch.optim.Adagrad: ("step", "sum"),
    torch.optim.Adadelta: ("step", "square_avg", "acc_delta"),
    torch.optim.RMSprop: ("step", "square_avg"),
}
