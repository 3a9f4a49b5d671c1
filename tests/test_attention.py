"""Attention against PyTorch's own, its gradients against finite differences, and what dropout drops."""

import pytest
import torch
import torch.nn.functional as F

from mockingjay import attention
from mockingjay.attention import Dropout, _BlockedAttention, _keep, attend


def draw(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator, requires_grad=True) for _ in range(3)]


@pytest.fixture(params=[1, 60, 1 << 21], ids=["one head a block", "some heads a block", "one block"])
def block(request, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", request.param)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [[5, 5], [5, 1], [3, 2]])
def test_outputs_and_gradients_are_those_of_torch(block, lengths, causal):
    real = torch.arange(5) < torch.tensor(lengths)[:, None, None]
    if causal:
        real = real & torch.ones(5, 5, dtype=torch.bool).tril()
    ours, theirs = draw((2, 3, 5, 4)), draw((2, 3, 5, 4))
    found = attend(*ours, real)
    expected = F.scaled_dot_product_attention(*theirs, real[:, None])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(block, dropout):
    real = torch.arange(4) < torch.tensor([4, 2])[:, None, None]
    parts = draw((2, 2, 4, 3), torch.float64)
    torch.autograd.gradcheck(lambda q, k, v: _BlockedAttention.apply(q, k, v, real, dropout, 7), parts)


def test_dropout_on_the_weights_is_the_mask_times_the_scale():
    query, key, value = draw((2, 2, 6, 4))
    real = torch.ones(2, 1, 6, dtype=torch.bool)
    found = _BlockedAttention.apply(query, key, value, real, 0.25, 11)
    kept = _keep((4, 6, 6), 0.25, torch.Generator().manual_seed(11)).view(2, 2, 6, 6)
    weights = (query @ key.transpose(2, 3) / 2).softmax(-1) * kept / 0.75
    torch.testing.assert_close(found, weights @ value, rtol=1e-5, atol=1e-6)


def test_dropout_repeats_with_the_seed_and_differs_without():
    parts, real = draw((1, 2, 9, 4)), torch.ones(1, 1, 9, dtype=torch.bool)
    torch.manual_seed(3)
    first, second = attend(*parts, real, 0.5), attend(*parts, real, 0.5)
    torch.manual_seed(3)
    assert torch.equal(attend(*parts, real, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    layer = Dropout(share)
    out = layer(x)
    dropped = (out == 0).float().mean()
    assert abs(float(dropped) - share) < 3e-3
    assert abs(float(out.detach().mean()) - 1) < 3e-3
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    columns = (out == 0).float().mean(0)  # no lane of the random words is special
    assert abs(float(columns[0::4].mean() - columns[3::4].mean())) < 3e-3
    assert torch.equal(layer.eval()(x), x)


def test_bfloat16_is_near_float32():
    parts = draw((2, 4, 40, 16))
    real = torch.arange(40) < torch.tensor([40, 23])[:, None, None]
    exact = attend(*parts, real)
    rounded = attend(*(part.bfloat16() for part in parts), real)
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).abs().max()) < 0.05
