"""The parts of a model of the wav2vec 2.0 family, and its hidden states as it computes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Parts:
    """The modules whose outputs are hidden states, in the order in which they run."""

    convolutions: nn.ModuleList
    projection: nn.Module
    position: nn.Module | None  # of convolutions, which look at their neighbours
    blocks: nn.ModuleList
    norm: nn.Module | None  # behind the last block, if it stands apart

    @classmethod
    def of(cls, model: nn.Module) -> "Parts":
        """Those of a model of Transformers; ValueError where it is built otherwise."""
        names = ("feature_extractor.conv_layers", "feature_projection", "encoder.layers")
        found = [_module(model, name) for name in names]
        if missing := [name for name, part in zip(names, found) if part is None]:
            raise ValueError(f"{type(model).__name__} has no {missing[0]}, as models of the wav2vec 2.0 family have")
        convolutions, projection, blocks = found
        assert isinstance(convolutions, nn.ModuleList)
        assert isinstance(blocks, nn.ModuleList)
        assert projection is not None
        position = _module(model, "encoder.pos_conv_embed")
        return cls(convolutions, projection, position, blocks, _module(model, "encoder.layer_norm"))

    def labels(self) -> tuple[str, ...]:
        """Of all states, in the order in which they come."""
        convolutions = (f"C{number}" for number in range(1, len(self.convolutions) + 1))
        blocks = (f"T{number}" for number in range(len(self.blocks) + 1))
        return (*convolutions, "P", *blocks, *(("final",) if self.norm is not None else ()))


class _Enough(Exception):
    """All states that were asked for are there: the rest of the model need not run."""


def hidden_states(parts: Parts, run: Callable[[], Any], labels: Sequence[str]) -> dict[str, Tensor]:
    """The states [B, T, width] of the labels while `run` runs the model, which ends with the last of them.

    They are what blocks give and take, not what a release of Transformers calls `hidden_states`: releases before 5 put
    the last one behind the norm there."""
    states: dict[str, Tensor] = {}
    last = max(labels, key=parts.labels().index)

    def keep(label: str, state: Tensor) -> None:
        states[label] = state
        if label == last:
            raise _Enough

    with _taps(parts, keep, frozenset(labels)), suppress(_Enough):
        run()
    return states


def norm_is_last(parts: Parts, run: Callable[[], Any]) -> bool:
    """Whether the norm of the encoder runs behind the last block, while `run` runs the model; before the first is no
    state of its own."""
    order: list[nn.Module] = []
    handles = [
        part.register_forward_hook(lambda module, inputs, output: order.append(module))
        for part in (parts.blocks[-1], parts.norm)
        if part is not None
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return bool(order) and order[-1] is parts.norm


@contextmanager
def _taps(parts: Parts, keep: Callable[[str, Tensor], None], wanted: frozenset[str]) -> Iterator[None]:
    """Give each output to `keep` when it is there."""

    def behind(label: str) -> Callable[..., None]:
        return lambda module, inputs, output: keep(label, _first(output))

    def channels_last(label: str) -> Callable[..., None]:
        return lambda module, inputs, output: keep(label, output.transpose(1, 2))

    def enters(module: nn.Module, inputs: tuple, named: Mapping[str, Any]) -> None:
        keep("T0", inputs[0] if inputs else named["hidden_states"])

    taps: list[tuple[str, Callable[[], Any]]] = [
        *((f"C{k}", _hook(part, channels_last(f"C{k}"))) for k, part in enumerate(parts.convolutions, 1)),
        ("P", _hook(parts.projection, behind("P"))),
        ("T0", lambda: parts.blocks[0].register_forward_pre_hook(enters, with_kwargs=True)),
        *((f"T{k}", _hook(part, behind(f"T{k}"))) for k, part in enumerate(parts.blocks, 1)),
    ]
    if parts.norm is not None:
        taps.append(("final", _hook(parts.norm, behind("final"))))
    handles = [register() for label, register in taps if label in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(part: nn.Module, hook: Callable[..., None]) -> Callable[[], Any]:
    return lambda: part.register_forward_hook(hook)


def _first(output: Tensor | Sequence[Any]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _module(model: nn.Module, name: str) -> nn.Module | None:
    for part in name.split("."):
        model = getattr(model, part, None)  # type: ignore[assignment]
        if not isinstance(model, nn.Module):
            return None
    return model
