"""The gradients of several processes: averaged in one message after backward, or in several while it runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from utility.training.config import TrainerConfig
from utility.training.distributed import Group

BUCKET_BYTES = 8 * 2**20  # of gradients in one message: the network is busy with it for longer than with its start
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class GradientAverage:
    """Gives every process the mean of all gradients: `expect()`, the last backward pass of a step, `finish()`.

    All processes must have gradients of the same parameters. With `reduce_overlap` parameters share a message with
    their neighbours, the last ones in the first message, because backward completes these first (Li et al. 2020,
    "PyTorch Distributed"). Messages go in this order in every process."""

    def __init__(self, parameters: Iterable[nn.Parameter], group: Group, config: TrainerConfig):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self.group, self.dtype = group, DTYPES[config.reduce_dtype]
        self.buckets = list(_buckets(trained[::-1])) if config.reduce_overlap else [trained]
        self.missing: list[int] = []  # parameters of each bucket that the pass has not reached; none outside of it
        self.next = 0  # the bucket that is sent next
        self.sent: list[tuple[Sequence[nn.Parameter], Callable[[], Tensor]]] = []
        if config.reduce_overlap and group.world > 1:
            for index, bucket in enumerate(self.buckets):
                for parameter in bucket:
                    parameter.register_post_accumulate_grad_hook(partial(self._complete, index))

    def expect(self) -> None:
        """The next backward pass is the last of this step: what it completes is sent."""
        self.missing = [len(bucket) for bucket in self.buckets]

    @torch.no_grad()
    def finish(self) -> None:
        """Wait until all gradients are means."""
        if self.group.world == 1:
            return
        while self.next < len(self.buckets):
            self._send_next()
        for parameters, mean in self.sent:
            means = mean().split([parameter.numel() for parameter in parameters])
            for parameter, values in zip(parameters, means):
                parameter.grad = values.view_as(parameter)
        self.missing, self.next, self.sent = [], 0, []

    def _complete(self, index: int, parameter: nn.Parameter) -> None:
        if not self.missing:
            return
        self.missing[index] -= 1
        while self.next < len(self.buckets) and self.missing[self.next] == 0:
            self._send_next()

    def _send_next(self) -> None:
        bucket = self.buckets[self.next]
        self.next += 1
        reached = [parameter for parameter in bucket if parameter.grad is not None]
        if reached:
            flat = torch.cat([parameter.grad.flatten() for parameter in reached if parameter.grad is not None])
            self.sent.append((reached, self.group.begin_mean(flat, self.dtype)))


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Neighbours of BUCKET_BYTES together, or less; larger parameters alone."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and size + parameter.nbytes > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.nbytes
    if bucket:
        yield bucket
