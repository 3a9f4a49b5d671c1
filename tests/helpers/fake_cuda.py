"""CUDA without a GPU: tensors that say they are on `cuda:0` and hold no values, and what a real one would have cost.

What is on the host computes as ever. Kernels of the device run in shape and type alone (PyTorch's fake tensors): every
branch for CUDA is taken. What comes back to the host is ones. No time is told, and no number.

PyTorch's CPU build lacks what CUDA would choose: here attention is the fused operation that CUDA takes (with a mask the
memory-efficient one, without it flash), and a GRU is cuDNN's. Pinned memory is a mark on its storage."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.helpers.shared import PROJECT

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten
# What the host learns from a device only when that has done all its work.
VALUES = {"_local_scalar_dense", "equal", "is_nonzero"}
SHAPES = {"nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive", "bincount", "repeat_interleave"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "_cudnn_rnn"}  # and all of attention
NO_KERNELS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}


@dataclass(frozen=True)
class Copy:
    """One from host to device, or back."""

    where: str
    to_device: bool
    non_blocking: bool
    pinned: bool  # the memory of the host
    bytes: int

    @property
    def hidden(self) -> bool:
        """Whether host and device both go on meanwhile."""
        return self.non_blocking and self.pinned


@dataclass
class Trace:
    """What happened on a device."""

    waits: list[str] = field(default_factory=list)  # file:line and operation, one for each time the host waited
    copies: list[Copy] = field(default_factory=list)
    kernels: dict[str, int] = field(default_factory=dict)
    products: dict[str, list[str]] = field(default_factory=dict)  # operations and the types they computed in

    @property
    def open_copies(self) -> list[str]:
        """Copies for which somebody waits."""
        return [f"{copy.where}: {copy.bytes} bytes" for copy in self.copies if not copy.hidden]

    def clear(self) -> None:
        """Forget what was."""
        self.waits.clear()
        self.copies.clear()
        self.kernels.clear()
        self.products.clear()

    def ran(self, name: str, inputs: Sequence[Tensor]) -> None:
        """Note a kernel; a product of different types raises, as fake tensors allow it."""
        self.kernels[name] = self.kernels.get(name, 0) + 1
        if name in PRODUCTS or "attention" in name:
            types = {str(one.dtype).removeprefix("torch.") for one in inputs[:3]}
            if len(types) > 1:
                raise AssertionError(f"{caller()}: {name} takes {' and '.join(sorted(types))}")
            self.products[name] = sorted(types.union(self.products.get(name, ())))


class OfOneThread(FakeTensorMode):
    """While a kernel of fake tensors runs, each of them says it is on `meta`, in all threads: so another may run none.

    Autograd's threads may: the main one waits for them."""

    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        """Run an operation; AssertionError where a line of the project does in a thread beside the main one."""
        if threading.current_thread() is not threading.main_thread() and (where := caller()) != "?":
            raise AssertionError(f"{where}: {args[0]} in a thread beside the main one")
        return super().dispatch(*args, **kwargs)


class FakeCuda(TorchDispatchMode):
    """Sends what concerns `cuda:0` there. A mixture of devices or types raises."""

    def __init__(self) -> None:
        super().__init__()
        self.trace, self.fake, self.pinned = Trace(), OfOneThread(), {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = kwargs.get("device")
        to_device = there is not None and torch.device(there).type == "cuda"
        if not to_device and not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return self._on_host(function, args, kwargs)
        name = function.overloadpacket.__name__
        if function is aten._to_copy.default and (there is not None and to_device != args[0].is_cuda):
            return self._copied(args[0], kwargs)
        if name == "copy_" and args[0].is_cuda != args[1].is_cuda:
            return self._copied_into(*args)
        if name in VALUES | SHAPES or _indexes_by_bools(name, args):
            return self._known_to_the_host(function, args, kwargs)
        if name not in NO_KERNELS and not function.is_view and function.namespace == "aten":
            self.trace.ran(name, tensors)
        with self.fake:
            return function(*self._scalars(name, args), **self._scalars(name, kwargs))

    def _on_host(self, function: Any, args: Any, kwargs: Any) -> Any:
        pin = kwargs.pop("pin_memory", False)
        made = function(*args, **kwargs)
        return self.mark_pinned(made) if pin else made

    def mark_pinned(self, tensor: Tensor) -> Tensor:
        """The tensor, whose memory is pinned from now on."""
        storage = tensor.untyped_storage()
        self.pinned[storage.data_ptr()] = storage  # held, so that no other comes to lie there
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether the memory of a tensor is pinned."""
        return tensor.untyped_storage().data_ptr() in self.pinned

    def _copied(self, source: Tensor, kwargs: dict) -> Tensor:
        non_blocking = bool(kwargs.get("non_blocking"))
        if source.is_cuda:  # into memory that PyTorch pins where the host does not wait
            self._note(source, False, non_blocking, non_blocking)
            return torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        self._note(source, True, non_blocking, self.is_pinned(source))
        return self._on_device(source, **kwargs)

    def _copied_into(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        host = source if target.is_cuda else target
        self._note(source, target.is_cuda, non_blocking, self.is_pinned(host))
        return target if target.is_cuda else target.fill_(1)

    def _note(self, source: Tensor, to_device: bool, non_blocking: bool, pinned: bool) -> None:
        copy = Copy(caller(), to_device, non_blocking, pinned, source.numel() * source.element_size())
        self.trace.copies.append(copy)
        if not copy.hidden:
            self.trace.waits.append(f"{copy.where}: copy {'to' if to_device else 'from'} the device")

    def _on_device(self, tensor: Tensor, **kwargs: Any) -> Tensor:
        with self.fake:
            return aten._to_copy.default(self.fake.from_tensor(tensor), **{"device": CUDA, **kwargs})

    def _known_to_the_host(self, function: Any, args: Any, kwargs: Any) -> Any:
        """What the host waits for: made of ones."""
        self.trace.waits.append(f"{caller()}: {function.overloadpacket.__name__}")
        args, kwargs = tree_map_only(FakeTensor, lambda t: torch.ones(t.shape, dtype=t.dtype), (args, kwargs))
        return tree_map_only(Tensor, self._on_device, function(*args, **kwargs))

    def _scalars(self, name: str, args: Any) -> Any:
        """Single numbers of the host travel with a kernel; other tensors of the host have no place in it."""

        def scalar(tensor: Tensor) -> Tensor:
            if isinstance(tensor, FakeTensor):
                return tensor
            if tensor.ndim:
                raise AssertionError(f"{caller()}: {name} takes {list(tensor.shape)} of the host and of the device")
            return self.fake.from_tensor(tensor)

        return tree_map_only(Tensor, scalar, args)


def caller() -> str:
    """The line of the project that is running, as file:line."""
    frame = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PROJECT) and path != Path(__file__) and ".venv" not in path.parts:
            return f"{path.relative_to(PROJECT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


def _indexes_by_bools(name: str, args: Sequence[Any]) -> bool:
    """Whether how many elements are meant is known on the device alone."""
    indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


class Queue:
    """A stream or an event: all order between them is kept, as nothing happens. The main thread may wait for one."""

    def __init__(self, trace: Trace):
        self.trace = trace

    def synchronize(self) -> None:
        """Wait for what was queued; a thread beside the one that trains may."""
        if threading.current_thread() is threading.main_thread():
            self.trace.waits.append(f"{caller()}: synchronize")

    def wait_stream(self, stream: "Queue") -> None:
        """Begin behind another stream."""

    def wait_event(self, event: "Queue") -> None:
        """Begin behind an event."""

    def record(self, stream: "Queue | None" = None) -> None:
        """Become the event of what was queued so far."""

    def record_event(self, event: "Queue | None" = None) -> "Queue":
        """The event of what was queued so far."""
        return event or Queue(self.trace)


@contextlib.contextmanager
def fake_cuda() -> Iterator[Trace]:
    """Within it `cuda:0` is there; gives what happens on it."""
    device = FakeCuda()
    trace = device.trace
    stand_ins = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_capability": lambda *_: (9, 0),
        "_lazy_init": lambda: None,
        "synchronize": lambda *_: Queue(trace).synchronize(),
        "Stream": lambda *_, **__: Queue(trace),
        "Event": lambda *_, **__: Queue(trace),
        "current_stream": lambda *_: Queue(trace),
        "stream": contextlib.nullcontext,
    }
    of_tensors = {
        "pin_memory": lambda self, *_: device.mark_pinned(self.clone()),  # in threads, too, where no mode is
        "is_pinned": lambda self, *_: device.is_pinned(self),
        "record_stream": lambda self, stream: None,
    }
    with (
        patch.multiple(torch.cuda, **stand_ins),
        patch.multiple(Tensor, **of_tensors),
        patch.multiple(torch, tensor=_then_sent(torch.tensor), as_tensor=_then_sent(torch.as_tensor)),
        patch.object(torch, "inference_mode", _without_gradients),
        patch.object(torch.utils, "swap_tensors", _left_as_they_are),
        patch.object(F, "scaled_dot_product_attention", fused_attention),
        patch.object(nn.GRU, "forward", cudnn_gru),
        device,
    ):
        yield trace


def _without_gradients(mode: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Stands for `torch.inference_mode`, within which operations come before they are taken apart into kernels."""
    return torch.no_grad() if mode else contextlib.nullcontext()


def _left_as_they_are(one: Tensor, other: Tensor) -> None:
    """A module that goes where it is already would exchange its weights for the same, which fake ones refuse."""
    assert (one.device, one.dtype) == (other.device, other.dtype), "fake weights cannot change"


def _then_sent(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What makes a tensor of Python's numbers: on the host, from where it is copied."""

    def made(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        found = make(data, **more)
        return found if device is None else found.to(device)

    return made


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:  # fmt: skip
    """The operation that CUDA takes for `F.scaled_dot_product_attention`."""
    if attn_mask is None and query.dtype != torch.float32:
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal)[0]
    if attn_mask is not None:
        bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
        attn_mask = bias.expand(*query.shape[:3], key.shape[2])
    backward = torch.is_grad_enabled() and query.requires_grad
    return aten._scaled_dot_product_efficient_attention(query, key, value, attn_mask, backward, dropout_p, is_causal)[0]


def cudnn_gru(self: nn.GRU, x: Tensor) -> tuple[Tensor, None]:
    """What cuDNN makes of `nn.GRU` of one layer, batch first; autocast makes float16 of it, whatever type it is for."""
    assert self.batch_first, "as the encoder has it"
    assert self.num_layers == 1, "as the encoder has it"
    weights = self._flat_weights
    if torch.is_autocast_enabled("cuda"):
        x, weights = x.half(), [weight.half() for weight in weights]
    if x.dtype != weights[0].dtype:
        raise AssertionError(f"{caller()}: a GRU of {weights[0].dtype} gets {x.dtype}")
    return _CudnnGru.apply(x, *weights), None


class _CudnnGru(torch.autograd.Function):
    """PyTorch knows the shapes of cuDNN's way forward alone; back there is a kernel for each gradient."""

    @staticmethod
    def forward(x: Tensor, *weights: Tensor) -> Tensor:
        size = weights[1].shape[1]
        first = x.new_empty(1, len(x), size)
        return aten._cudnn_rnn(
            x, weights, 4, None, first, None, 3, size, 0, 1, True, 0.0, True, False, [], None
        )[0]  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(part) for part in ctx.saved_tensors)
