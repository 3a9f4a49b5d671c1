"""Attention and its gradients against PyTorch's own, and what dropout drops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mockingjay.model import cpu_attention
from mockingjay.model.attention import Dropout, attend
from mockingjay.model.cpu_attention import DropoutMask
from mockingjay.model.layout import Scope

LENGTHS = [[5, 5], [5, 1], [3, 2]]


def draw(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator, requires_grad=True) for _ in range(3)]


def weights_of(query, key, scope, dropout, seed):
    """What `attend` multiplies the values by, read off with the unit matrix for values."""
    unit = torch.eye(scope.frames).expand(*query.shape[:2], -1, -1)
    torch.manual_seed(seed)
    wide = F.pad(unit, (0, query.shape[-1] - scope.frames))
    return attend(query, key, wide, scope, dropout)[..., : scope.frames]


@pytest.fixture(params=[1, 60, 1 << 21], ids=["one head a block", "some heads a block", "one block"])
def block(request, monkeypatch):
    monkeypatch.setattr(cpu_attention, "BLOCK", request.param)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_outputs_and_gradients_are_those_of_torch(block, threads, lengths, causal):
    scope = Scope(torch.tensor(lengths), 5, causal)
    ours, theirs = draw((2, 3, 5, 4)), draw((2, 3, 5, 4))
    found = attend(*ours, scope)
    expected = F.scaled_dot_product_attention(*theirs, scope.mask[:, None])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_the_scope_is_what_each_frame_may_look_at():
    bidirectional = Scope(torch.tensor([3, 1]), 3).mask
    assert bidirectional.tolist() == [[[True] * 3], [[True, False, False]]]
    causal = Scope(torch.tensor([3, 2]), 3, causal=True).mask
    assert causal[0].tolist() == [[True, False, False], [True, True, False], [True] * 3]
    assert causal[1].tolist() == [[True, False, False], [True, True, False], [True, True, False]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_gradients_with_dropout_are_those_of_its_mask(block, threads, lengths, causal):
    scope = Scope(torch.tensor(lengths), 5, causal)
    query, key, value = ours = draw((2, 3, 5, 8))
    theirs = draw((2, 3, 5, 8), torch.float64)
    with torch.no_grad():
        for mine, other in zip(ours, theirs):
            other.copy_(mine)
    dropped = weights_of(query, key, scope, 0.3, seed=5)
    torch.manual_seed(5)
    found = attend(query, key, value, scope, 0.3)
    scores = (theirs[0] @ theirs[1].transpose(2, 3) / 8**0.5).masked_fill(~scope.mask[:, None], -torch.inf)
    expected = scores.softmax(-1) * (dropped > 0) / 0.7 @ theirs[2]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-4, atol=1e-5)


def test_scores_far_apart_neither_overflow_nor_vanish():
    query, key, value = (part.detach() for part in draw((1, 1, 6, 4)))
    scope = Scope(torch.tensor([6]), 6)
    found = attend(query * 200, key * 200, value, scope)
    expected = F.scaled_dot_product_attention(query * 200, key * 200, value)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_attention_drops_its_share_everywhere_alike(share):
    query, key, _ = draw((3, 4, 200, 200))
    scope = Scope(torch.full((3,), 200), 200)
    gone = (weights_of(query, key, scope, share, seed=1) == 0).double()
    deviation = (share * (1 - share)) ** 0.5
    assert abs(float(gone.mean()) - share) < 5 * deviation / gone.numel() ** 0.5
    for axes in [(0, 1, 2), (0, 1, 3), (2, 3)]:  # per key, per query, per head
        means = gone.mean(axes).flatten() - share
        assert float(means.abs().max()) < 5 * deviation / (gone.numel() / means.numel()) ** 0.5
    pairs = gone.reshape(12, -1) - share
    between = pairs @ pairs.T / (pairs.shape[1] * deviation**2)
    assert float((between - torch.eye(12)).abs().max()) < 0.04  # heads draw apart
    neighbours = (gone[..., 1:] - share) * (gone[..., :-1] - share)
    assert abs(float(neighbours.mean())) / deviation**2 < 0.01


def test_dropout_repeats_with_the_seed_and_differs_without():
    parts, scope = draw((1, 2, 9, 4)), Scope(torch.tensor([9]), 9)
    torch.manual_seed(3)
    first, second = attend(*parts, scope, 0.5), attend(*parts, scope, 0.5)
    torch.manual_seed(3)
    assert torch.equal(attend(*parts, scope, 0.5), first)
    assert not torch.equal(first, second)


def test_no_random_sequence_of_dropout_repeats_early():
    """An odd step runs through all 2^32 values before it comes back; an even one through a half of them or less."""
    streams = DropoutMask.draw(0.3, 5000).streams
    assert (streams[:, 1] % 2 == 1).all()
    assert len(np.unique(streams[:, 0])) == len(np.unique(streams[:, 1])) == 5000


def test_dropout_does_not_depend_on_the_number_of_threads():
    found = []
    before = torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        torch.manual_seed(3)
        found.append(Dropout(0.3)(torch.ones(3, cpu_attention.CHUNK)))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share, dtype):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True, dtype=dtype)
    layer = Dropout(share)
    out = layer(x)
    dropped = (out == 0).float().mean()
    assert abs(float(dropped) - share) < 3e-3
    assert abs(float(out.detach().double().mean()) - 1) < 5e-3
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    columns = (out == 0).float().mean(0)
    assert abs(float(columns[0::4].mean() - columns[3::4].mean())) < 3e-3
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize(("dtype", "base_dtype"), [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)])
def test_dropout_adds_its_base_and_hands_on_the_gradient(dtype, base_dtype):
    x = torch.randn(300, 70, dtype=dtype).requires_grad_()
    base = torch.randn(300, 70, dtype=base_dtype).requires_grad_()
    layer = Dropout(0.25)
    torch.manual_seed(1)
    out = layer(x, base)
    torch.manual_seed(1)
    expected = base + layer(x.float())
    assert out.dtype == base_dtype
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    out.sum().backward()
    assert x.grad.dtype == dtype
    assert torch.equal(x.grad != 0, (expected - base).detach().abs() > 1e-7)
    assert torch.equal(base.grad, torch.ones_like(base))
    assert torch.equal(layer.eval()(x, base), base + x)


def test_bfloat16_is_near_float32(threads):
    ours = draw((2, 4, 40, 16))
    theirs = [part.detach().bfloat16().requires_grad_() for part in ours]
    scope = Scope(torch.tensor([40, 23]), 40)
    exact, rounded = attend(*ours, scope), attend(*theirs, scope)
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).detach().abs().max()) < 0.05
    exact.square().sum().backward()
    rounded.float().square().sum().backward()
    for mine, other in zip(ours, theirs):
        assert float((mine.grad - other.grad.float()).abs().max()) < 0.05 * float(mine.grad.abs().max())


def test_dropout_in_inference_mode_spoils_nothing_for_training():
    parts, scope = draw((1, 2, 9, 4)), Scope(torch.tensor([9]), 9)
    cpu_attention._memory.__dict__.clear()
    with torch.inference_mode():
        attend(*parts, scope, 0.5)
    attend(*parts, scope, 0.5).sum().backward()


def test_inference_mode_and_transposed_inputs():
    query, key, value = (part.detach().transpose(1, 2) for part in draw((2, 5, 3, 4)))
    scope = Scope(torch.tensor([5, 2]), 5)
    with torch.inference_mode():
        found = attend(query, key, value, scope)
    expected = F.scaled_dot_product_attention(query, key, value, scope.mask[:, None])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_the_kernels_exponential_is_exact_to_float32():
    x = torch.linspace(-80, 0, 4001)
    query, key = torch.ones(1, 1, 1, 1).expand(1, 1, 4001, 1), x.view(1, 1, -1, 1)
    unit = torch.zeros(1, 1, 4001, 1)
    unit[0, 0, :, 0] = 1.0
    logsum = np.empty((1, 4001), np.float32)
    scores = (query[0, :, :2] @ key[0].transpose(1, 2)).contiguous().numpy()
    cpu_attention.kernels.softmax_dropout(
        scores,
        logsum,
        np.array([4001]),
        False,
        np.float32(1),
        np.uint32(0),
        np.float32(1),
        np.array([[0, 1]], np.uint32),
    )
    expected = x.double().softmax(0).numpy()
    assert np.max(np.abs(scores[0, 0] / expected - 1)) < 1e-6
