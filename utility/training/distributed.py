"""Several processes as one run, started by torchrun: who this one is, and what they tell each other."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(hours=6)  # the others wait this long while the first evaluates and writes
Value = TypeVar("Value")
_HOST: dict[str, dist.ProcessGroup] = {}  # what CUDA's processes send each other from host to host


@dataclass(frozen=True)
class Group:
    """The processes of a run; number `rank` of `world`. The first one leads: it evaluates, logs and writes."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Group":
        """The group that torchrun's environment names (gloo on CPUs, NCCL on CUDA), or one process alone."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return ALONE
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            dist.init_process_group(
                "nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=device if on_gpu else None
            )
            if on_gpu:
                _HOST["group"] = dist.new_group(backend="gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process does what only one may do."""
        return self.rank == 0

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the mean of all gradients, in one message."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(mean.view_as(gradient))

    def gather(self, values: Tensor) -> Tensor:
        """The values [N] of all processes, [world, N]."""
        if self.world == 1:
            return values[None]
        gathered = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(gathered, values.contiguous())
        return torch.stack(gathered)

    def from_leader(self, value: Value) -> Value:
        """What the first process holds, in every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def by_leader(self, call: Callable[[], Value]) -> Value:
        """What `call` gives in the first process, in every process; where it raises an error there, all end."""
        if self.world == 1:
            return call()
        value: Value | None = None
        failure: ValueError | OSError | None = None
        if self.leads:
            try:
                value = call()
            except (ValueError, OSError) as error:
                failure = error
        failed, value = self.from_leader((failure is not None, value))
        if failed:
            self.leave()  # all have heard of it before the first, whom they hear it from, is gone
        if failure is not None:
            raise failure
        if failed:
            raise SystemExit(2)  # the first says why
        return value  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process: in all of them the same answer, without a wait for a GPU."""
        if self.world == 1:
            return flag
        count = torch.tensor([int(flag)])
        dist.all_reduce(count, group=_HOST.get("group"))
        return bool(count)

    def leave(self) -> None:
        """Wait for the others and close the connections."""
        if self.world > 1:
            dist.barrier()
            dist.destroy_process_group()


ALONE = Group()
