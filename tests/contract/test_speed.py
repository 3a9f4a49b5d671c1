"""Ways to compute faster that change nothing: packed batches, recomputed blocks, compiled steps; and CUDA's own."""

import importlib
import itertools
from dataclasses import replace

import pytest
import torch
import torch._dynamo.testing

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model import layout
from mockingjay.model.attention import attend
from mockingjay.model.layout import Packing, Scope
from mockingjay.pretraining.codes import CodePretraining
from mockingjay.pretraining.step import FramePretraining
from utility.batches import Batch, real_frames
from utility.config import build, resolve
from utility.training.trainer import autocast

SMALL = {"layers": 2, "hidden_size": 32, "heads": 4, "ffn_size": 64, "downsample_rate": 2}
LENGTHS = torch.tensor([23, 7, 1, 16])
MASKS = {"proportion": 0.5, "consecutive_min": 1, "consecutive_max": 2}  # spans of 7 would not fit into these lengths


def pretraining(device="cpu", objective="masked", speed=None, **model):
    sizes = SMALL | {"dropout": 0.0, "attention_dropout": 0.0} | model
    values = {"model": sizes, "objective": objective, "masking": MASKS, "codes": {"size": 9}}
    config = build(PretrainConfig, values | {"speed": speed or {}})
    kind = CodePretraining if objective == "codes" else FramePretraining
    return kind(new_model(config, 10, 10, seed=0), config, torch.device(device))


def batch(device="cpu", lengths=LENGTHS):
    features = torch.randn(len(lengths), int(lengths.max()) + 1, 10, generator=torch.Generator().manual_seed(1))
    for row, length in zip(features, lengths):
        row[length:] = 0
    return Batch(features, lengths, list("abcdefgh")[: len(lengths)]).to(torch.device(device))


def gradients(objective, packed=False, device="cpu", precision="fp32", on=None):
    objective.model.zero_grad()
    objective.packed = packed
    with autocast(torch.device(device), precision):
        scores = objective.step(batch(device) if on is None else on, torch.Generator().manual_seed(2))
    scores["loss"].backward()
    found = [p.grad.clone() for p in objective.model.parameters() if p.grad is not None]
    assert scores["loss"] > 0.1, "nothing is masked: every comparison would hold"
    assert scores["masked_share"] > 0.1
    assert len(found) > 15
    assert all(gradient.any() for gradient in found)
    return scores["loss"].detach(), found


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


MODELS = [{}, {"share_layers": True}, {"pre_layer_norm": True}, {"prune_heads": [1, 6]}]


@pytest.mark.parametrize("model", MODELS)
def test_packed_batches_have_the_losses_and_gradients_of_padded_ones(model):
    both = pretraining(**model)
    assert_same(gradients(both), gradients(both, packed=True))


@pytest.fixture
def flash(monkeypatch):
    """The way of CUDA in bfloat16, on a CPU in float32."""
    importlib.import_module("tests.helpers.flash_on_cpu")
    monkeypatch.setattr(layout, "HALF", (torch.float32,))
    monkeypatch.setattr(layout, "has_flash", lambda device: True)
    monkeypatch.setattr(Packing, "_attend_nested", lambda *_: pytest.fail("nested tensors instead of flash attention"))


@pytest.mark.parametrize("objective", ["masked", "apc", "codes"])
@pytest.mark.parametrize("model", MODELS)
def test_flash_attention_has_the_losses_and_gradients_of_padded_batches(flash, objective, model):
    both = pretraining(objective=objective, **model)
    assert_same(gradients(both), gradients(both, packed=True))


@pytest.mark.parametrize(("lengths", "causal"), [([7, 3, 5], True), ([7, 7, 7], False), ([7, 7, 7], True)])
def test_no_mask_is_made_where_real_frames_need_none(lengths, causal):
    """Kernels without a mask are the fast ones of CUDA. "meta" stands for a GPU; in float64 a CPU takes its way."""
    counts = torch.tensor(lengths)
    maskless = Scope(counts.to("meta"), 7, causal, host_lengths=counts)
    assert maskless.mask is None
    parts = torch.randn(3, 3, 2, 7, 4, dtype=torch.float64)
    found, expected = attend(*parts, maskless), attend(*parts, Scope(counts, 7, causal))
    real = real_frames(counts, 7)[:, None, :, None]
    torch.testing.assert_close(found * real, expected * real)
    assert expected.any()


def test_a_mask_is_made_where_padding_would_be_seen():
    counts = torch.tensor([7, 6])
    assert Scope(counts.to("meta"), 7, host_lengths=counts).mask is not None
    assert Scope(counts.to("meta"), 7).mask is not None
    assert Scope(counts.to("meta"), 7, causal=True, radius=2).mask is not None


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
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("objective", ["masked", "apc", "codes"])
def test_compiled_steps_are_whole_and_few_graphs_do_for_all_lengths(flash, monkeypatch, objective, packed):
    """Alterations, embedding, blocks, head and scores; in float64, where a CPU takes the same way as CUDA."""
    monkeypatch.setattr(layout, "HALF", (torch.float64,))
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    plain, compiled = pretraining(objective=objective), pretraining(objective=objective)
    compiled.compile(backend=counter, fullgraph=True)
    for one in (plain, compiled):
        one.model.double()
    for lengths in ([23, 7, 1, 16], [40, 33], [64, 64, 50], [31, 30, 29, 28, 27], [80, 16]):
        seen = batch(lengths=torch.tensor(lengths))
        seen = replace(seen, features=seen.features.double())
        assert_same(gradients(plain, packed, on=seen), gradients(compiled, packed, on=seen))
    parts = 4 if objective == "apc" else 5
    assert parts <= counter.frame_count <= 2 * parts


def test_what_cuda_graphs_give_is_copied_and_their_steps_are_told_apart(monkeypatch):
    """The next step writes over it."""
    objective, told = pretraining(), []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: told.append(True))
    objective.graphs = True
    kept = {"loss": torch.ones(()), "masked_share": torch.ones(())}
    monkeypatch.setattr(objective, "_step", lambda *_: kept)
    found = objective.step(batch(), torch.Generator())
    assert told == [True]
    assert found == kept
    assert not any(found[name].data_ptr() == kept[name].data_ptr() for name in kept)


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
            device.packed = packed
            device.step(moved, torch.Generator().manual_seed(2))["loss"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_cuda_compiled_blocks_give_the_same():
    plain, compiled = (pretraining("cuda", speed={"compile": flag}) for flag in (False, True))
    assert_same(gradients(plain, device="cuda"), gradients(compiled, device="cuda"), 1e-5)
