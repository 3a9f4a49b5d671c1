"""Gradients of several processes: their mean, whichever way they are sent, and no message before the last pass."""

import os
import socket
from dataclasses import dataclass
from itertools import product

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from utility.training import gradients
from utility.training.config import TrainerConfig
from utility.training.distributed import Group
from utility.training.gradients import GradientAverage

BATCHES = 2  # of every process in a step


class Net(nn.Module):
    """Two layers, one of them used twice, between parameters without gradients."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unused = nn.Parameter(torch.ones(5))
        self.first, self.twice, self.last = nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.last(self.twice(self.twice(self.first(x)).tanh()).tanh())).square().mean()


def batch(rank: int, index: int) -> Tensor:
    return torch.randn(4, 7, generator=torch.Generator().manual_seed(10 * rank + index))


def own_gradients(rank: int) -> dict[str, Tensor]:
    """What one process computes by itself."""
    net = Net()
    for index in range(BATCHES):
        net(batch(rank, index)).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@dataclass
class Step:
    """What came out of a step, and how many messages were sent after each backward pass and in the end."""

    means: dict[str, Tensor | None]
    counts: list[int]
    dtypes: set[torch.dtype]


def step(group: Group, config: TrainerConfig) -> Step:
    sent: list[torch.dtype] = []
    all_reduce = dist.all_reduce

    def counted(tensor, *words, **more):
        sent.append(tensor.dtype)
        return all_reduce(tensor, *words, **more)

    net = Net()
    average, counts = GradientAverage(net.parameters(), group, config), []
    dist.all_reduce = counted
    try:
        for _ in range(2):  # the second step finds what the first one left
            net.zero_grad(set_to_none=True)
            sent.clear()
            counts = []
            for index in range(BATCHES):
                if index == BATCHES - 1:
                    average.expect()
                net(batch(group.rank, index)).backward()
                counts.append(len(sent))
            average.finish()
    finally:
        dist.all_reduce = all_reduce
    return Step({name: p.grad for name, p in net.named_parameters()}, [*counts, len(sent)], set(sent))


def check(rank: int, world: int, port: int) -> None:
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": f"{world}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    torch.set_num_threads(1)
    gradients.BUCKET_BYTES = 7 * 7 * 4  # a matrix
    group = Group.join(torch.device("cpu"))
    each = [own_gradients(other) for other in range(world)]
    steps = {
        (overlap, dtype): step(group, TrainerConfig(reduce_overlap=overlap, reduce_dtype=dtype))
        for overlap, dtype in product((False, True), ("fp32", "bf16"))
    }
    for (overlap, dtype), done in steps.items():
        for name, mean in done.means.items():
            if name.startswith(("unused", "frozen")):
                assert mean is None, name
                continue
            expected = torch.stack([one[name] for one in each]).double().mean(0)
            assert expected.abs().max() > 1e-4, name
            largest = torch.stack([one[name] for one in each]).abs().double().sum(0) / world
            # a rounding of each gradient, of each sum, and of the quotient
            unit = 2.0**-24 if dtype == "fp32" else 2.0**-8
            error = (mean.double() - expected).abs()
            assert (error <= 1.1 * (world + 1) * unit * largest + 1e-9).all(), (overlap, dtype, name)
            assert mean.dtype == torch.float32
        assert done.dtypes == {torch.float32 if dtype == "fp32" else torch.bfloat16}
        if overlap:
            messages = done.counts[-1]
            assert messages > 3
            assert done.counts == [0, messages, messages]
        else:
            assert done.counts == [0, 0, 1]
    plain, overlapped = steps[False, "fp32"].means, steps[True, "fp32"].means
    if world == 2:  # a sum of two has no order
        assert all(torch.equal(plain[name], overlapped[name]) for name in each[0])
    rough = steps[True, "bf16"].means
    assert any(not torch.equal(rough[name], plain[name]) for name in each[0])
    group.leave()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_all_ways_give_the_mean_and_only_the_last_pass_sends(world):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(check, (world, port), nprocs=world)


def test_one_process_sends_nothing_and_keeps_its_gradients():
    net = Net()
    average = GradientAverage(net.parameters(), Group(), TrainerConfig(reduce_overlap=True, reduce_dtype="bf16"))
    for index in range(BATCHES):
        average.expect()
        net(batch(0, index)).backward()
    average.finish()
    expected = own_gradients(0)
    assert {name for name, p in net.named_parameters() if p.grad is not None} == set(expected)
    assert all(torch.equal(p.grad, expected[name]) for name, p in net.named_parameters() if name in expected)
