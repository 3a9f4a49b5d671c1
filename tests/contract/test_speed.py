"""Ways to compute faster that change nothing: packed batches, recomputed blocks, compiled blocks; and CUDA's own."""

import itertools

import pytest
import torch
import torch._dynamo.testing

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model.layout import Packing, Scope
from mockingjay.model.transformer import Block, TransformerConfig
from mockingjay.pretraining.step import FramePretraining
from utility.batches import Batch
from utility.config import build, resolve
from utility.training.trainer import autocast

SMALL = {"layers": 2, "hidden_size": 32, "heads": 4, "ffn_size": 64, "downsample_rate": 2}
LENGTHS = torch.tensor([23, 7, 1, 16])
MASKS = {"proportion": 0.5, "consecutive_min": 1, "consecutive_max": 2}  # spans of 7 would not fit into these lengths


def pretraining(device="cpu", objective="masked", speed=None, **model):
    sizes = SMALL | {"dropout": 0.0, "attention_dropout": 0.0} | model
    values = {"model": sizes, "objective": objective, "masking": MASKS}
    config = build(PretrainConfig, values | {"speed": speed or {}})
    return FramePretraining(new_model(config, 10, 10, seed=0), config, torch.device(device))


def batch(device="cpu"):
    features = torch.randn(4, 24, 10, generator=torch.Generator().manual_seed(1))
    for row, length in zip(features, LENGTHS):
        row[length:] = 0
    return Batch(features, LENGTHS, list("abcd")).to(torch.device(device))


def gradients(objective, packed=False, device="cpu", precision="fp32"):
    objective.model.zero_grad()
    with autocast(torch.device(device), precision):
        found = objective._prediction(batch(device), torch.Generator().manual_seed(2), packed)
    loss = found.loss().mean()
    loss.backward()
    found = [p.grad.clone() for p in objective.model.parameters() if p.grad is not None]
    assert loss > 0.1, "nothing is masked: every comparison would hold"
    assert len(found) > 20
    assert all(gradient.any() for gradient in found)
    return loss.detach(), found


def assert_same(one, other, tolerance=1e-6):
    for mine, theirs in zip(itertools.chain([one[0]], one[1]), itertools.chain([other[0]], other[1])):
        torch.testing.assert_close(mine, theirs, rtol=10 * tolerance, atol=tolerance)


def test_a_packing_holds_the_real_frames_in_order():
    packing = Packing.of(torch.tensor([2, 0, 3]), 4, torch.device("cpu"))
    x = torch.arange(12.0).view(3, 4, 1)
    packed = packing.pack(x)
    assert packed.flatten().tolist() == [0, 1, 8, 9, 10]
    assert packing.position.tolist() == [0, 1, 0, 1, 2]
    assert packing.offsets.tolist() == [0, 2, 2, 5]
    assert packing.unpack(packed).flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 8, 9, 10, 0]


@pytest.mark.parametrize("model", [{}, {"share_layers": True}, {"pre_layer_norm": True}, {"prune_heads": [1, 6]}])
def test_packed_batches_have_the_losses_and_gradients_of_padded_ones(model):  # causal ones on CUDA only, below
    both = pretraining(**model)
    assert_same(gradients(both), gradients(both, packed=True))


def test_recomputed_blocks_give_the_same_with_dropout_too():
    plain, again = (
        pretraining(dropout=0.3, attention_dropout=0.3, speed={"recompute": again}) for again in (False, True)
    )
    assert again.model.encoder.recompute
    found = []
    for objective in (plain, again):
        torch.manual_seed(3)
        found.append(gradients(objective))
    assert_same(*found)


@pytest.mark.slow
def test_blocks_compile_whole_and_once_for_all_lengths():
    """In float64, where a CPU takes the same way as CUDA."""
    torch._dynamo.reset()
    block = Block(TransformerConfig(hidden_size=16, heads=2, ffn_size=32)).double()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(block, backend=counter, fullgraph=True)
    for frames in (64, 128, 192, 320):
        x = torch.randn(2, frames, 16, dtype=torch.float64)
        scope = Scope(torch.tensor([frames, frames - 9]), frames)
        block.eval()
        torch.testing.assert_close(compiled(x, scope), block(x, scope))
        block.train()
        compiled(x, scope).sum().backward()
    assert counter.frame_count <= 4


def test_unknown_speed_and_wrong_model_are_one_line():
    with pytest.raises(ValueError, match="packd"):
        resolve(PretrainConfig, None, ["speed.packd=True"])
    with pytest.raises(ValueError, match="for Transformers"):
        resolve(PretrainConfig, None, ["objective=apc", "encoder=gru", "speed.packed=True"])


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("objective", ["masked", "apc"])
def test_cuda_packed_is_padded_is_the_cpu(objective, precision):
    tolerance = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2}[precision]
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    device = pretraining("cuda", objective)
    padded, packed = (gradients(device, flag, "cuda", precision) for flag in (False, True))
    assert_same(padded, packed, tolerance)
    host = gradients(pretraining("cpu", objective))
    assert abs(float(padded[0]) - float(host[0])) < tolerance


@pytest.mark.cuda
def test_cuda_packed_batches_take_dropout():
    device = pretraining("cuda", attention_dropout=0.5, dropout=0.1)
    loss, found = gradients(device, True, "cuda", "bf16")
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part).all() for part in found)


@pytest.mark.cuda
def test_cuda_steps_do_not_wait_for_the_device():
    device = pretraining("cuda", dropout=0.1, attention_dropout=0.1)
    gradients(device, True, "cuda", "bf16")
    moved = batch("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for packed in (False, True):
            device._prediction(moved, torch.Generator().manual_seed(2), packed).loss().mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_cuda_compiled_blocks_give_the_same():
    plain, compiled = (pretraining("cuda", speed={"compile": flag}) for flag in (False, True))
    assert_same(gradients(plain, device="cuda"), gradients(compiled, device="cuda"), 1e-5)
