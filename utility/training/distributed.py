"""Several processes as one run, started by torchrun: who this one is, and what they tell each other."""

import atexit
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn  # if it were imported later, its default arguments would hold the group past `leave`
from torch import Tensor

COLLECTIVE_TIMEOUT = timedelta(minutes=10)  # in training: who keeps the others waiting longer than that hangs
LEADER_TIMEOUT = timedelta(hours=6)  # while the first process evaluates, draws and writes
NCCL_MARGIN = timedelta(minutes=1)  # NCCL kills its process after a timeout, so what gloo hears is said before
TIMED_OUT = re.compile("timed? ?out", re.IGNORECASE)  # as gloo, NCCL and the store say it
GONE = re.compile("connection|socket|broken pipe|remote process", re.IGNORECASE)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Group:
    """The processes of a run; number `rank` of `world`. The first one leads: it evaluates, logs and writes.

    Where another process has ended a call raises ConnectionError; where one does not answer within the timeout,
    TimeoutError. Gloo's `links`: "host" connects the hosts of CUDA's processes, "patient" has the long timeout."""

    rank: int = 0
    world: int = 1
    links: dict[str, dist.ProcessGroup] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def join(cls, device: torch.device) -> "Group":
        """The group that torchrun's environment names (gloo on CPUs, NCCL on CUDA), or one process alone."""
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return ALONE
        links = {}
        with cls(rank, world)._hearing("the others to start", COLLECTIVE_TIMEOUT):
            if device.type == "cuda":
                torch.cuda.set_device(device)
                dist.init_process_group("nccl", timeout=COLLECTIVE_TIMEOUT + NCCL_MARGIN, device_id=device)
                links["host"] = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
            else:
                dist.init_process_group("gloo", timeout=COLLECTIVE_TIMEOUT)
            links["patient"] = dist.new_group(backend="gloo", timeout=LEADER_TIMEOUT)
        return cls(rank, world, links)

    @property
    def leads(self) -> bool:
        """Whether this process does what only one may do."""
        return self.rank == 0

    def begin_mean(self, values: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
        """Begin to average `values` [N] over all processes, sent as `dtype`; what it returns waits for the mean [N]."""
        message, what = values.to(dtype), "the gradients of the others"
        averages = dist.get_backend() == "nccl"
        with self._hearing(what, COLLECTIVE_TIMEOUT):
            work = dist.all_reduce(message, dist.ReduceOp.AVG if averages else dist.ReduceOp.SUM, async_op=True)

        def mean() -> Tensor:
            with self._hearing(what, COLLECTIVE_TIMEOUT):
                work.wait()
            total = message.to(values.dtype)
            return total if averages else total.div_(self.world)

        return mean

    def gather(self, values: Tensor) -> Tensor:
        """The values [N] of all processes, [world, N]."""
        if self.world == 1:
            return values[None]
        gathered = [torch.empty_like(values) for _ in range(self.world)]
        with self._hearing("the figures of the others", COLLECTIVE_TIMEOUT):
            dist.all_gather(gathered, values.contiguous())
        return torch.stack(gathered)

    def from_leader(self, value: Value) -> Value:
        """What the first process holds, in every process."""
        if self.world == 1:
            return value
        box = [value]
        with self._hearing("the others" if self.leads else "rank 0", LEADER_TIMEOUT):
            dist.broadcast_object_list(box, group=self.links["patient"])
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
        with self._hearing("the others to end their step", COLLECTIVE_TIMEOUT):
            dist.all_reduce(count, group=self.links.get("host"))
        return bool(count)

    def leave(self) -> None:
        """Wait for the others and close the connections."""
        if self.world > 1:
            with self._hearing("the others to end", LEADER_TIMEOUT):
                dist.barrier(group=self.links["patient"])
            self.links.clear()  # gloo's threads end with the last who holds a group; at Python's end they would abort
            dist.destroy_process_group()

    @contextmanager
    def _hearing(self, what: str, timeout: timedelta) -> Iterator[None]:
        """Turn what the backend raises where another process hangs or has ended into one line."""
        try:
            yield
        except RuntimeError as error:
            me, said = f"rank {self.rank} of {self.world}", str(error)
            failure: OSError
            if TIMED_OUT.search(said):
                failure = TimeoutError(
                    f"{me} has waited {timeout.total_seconds():g} s for {what}: the rank that does not say so hangs; "
                    "start the run again with --resume"
                )
            elif GONE.search(said):
                failure = ConnectionError(f"{me} waits for {what}, but another rank has ended: see what it said")
            else:
                raise
            atexit.register(os._exit, 2)  # the backend's own end would wait for the other rank, or abort
            raise failure from None


ALONE = Group()
