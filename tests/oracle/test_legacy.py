"""Checkpoints of the originals give the numbers that the originals gave.

Every file states which stacked frames its program took for real (`attn_mask`); the tests feed just those. They are not
always what the product takes: with stacking the originals counted a partly padded frame as real."""

import argparse
import sys
import types
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from downstream.config import ProbeConfig
from downstream.metrics import class_score
from downstream.tasks.table import find_task
from mockingjay.checkpoint import load_pretrained
from mockingjay.foreign.checkpoints import read_original
from mockingjay.foreign.pickles import read_plain
from mockingjay.foreign.settings import pruned_heads
from mockingjay.model.frame_model import ApcModel, MaskedModel, NoHead
from mockingjay.objectives.loss import masked_loss
from mockingjay.upstream import load_upstream
from tests.helpers.legacy_fixture import NEW, OLD, Fixture, close, parameters_under_their_names
from utility.labels.alignment import IGNORE
from utility.loader import real_frames
from utility.training.checkpoint import load_weights

APC = ["apc_prenet", "apc_prenet_conv", "apc_residual"]


@pytest.fixture(params=[*NEW, *OLD])
def fixture(request, fixtures_dir):
    return Fixture(fixtures_dir, request.param)


@torch.no_grad()
def test_every_layer_the_head_and_attention(fixture):
    stacked, real = fixture.stack(fixture["spec"]), fixture.real
    output = fixture.model.predict(stacked, fixture.lengths)
    close(output.hidden_states[0][real], fixture["input_repr"][real])
    assert len(output.hidden_states) == 1 + len(fixture["hidden_all"])
    for found, expected in zip(output.hidden_states[1:], fixture["hidden_all"]):
        close(found[real], expected[real])
    close(output.prediction[real], fixture["head_pred"][real])
    close(fixture.model.head.state(output.hidden_states[-1])[real], fixture["head_state"][real])
    if "attention_probs" in fixture.arrays:
        maps = fixture.model.encoder.attention_maps(stacked, fixture.lengths)
        pairs = (real[:, :, None] & real[:, None, :])[None, :, None].expand_as(maps)
        close(maps[pairs], fixture["attention_probs"][pairs])


@torch.no_grad()
def test_masked_loss(fixture):
    rows = fixture.arrays.get("mask_rows", torch.arange(len(fixture["spec"])))
    prediction = fixture.model.predict(fixture["spec_masked"], fixture.lengths[rows]).prediction
    truth = fixture.stack(fixture.arrays.get("target", fixture["spec"]))[rows]
    label = fixture["mask_label"]
    label = label if label.ndim == 3 else label[..., None].expand_as(prediction)
    close(masked_loss(prediction, truth, label).mean(), fixture["loss"])


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_extraction_through_the_upstream(name, fixtures_dir):
    """At real frames; the last partly padded stacked frame of AALBERT's short rows is real, as the original took it."""
    fixture = Fixture(fixtures_dir, name)
    lengths = fixture.lengths * fixture.model.downsample_rate
    whole = lengths == lengths.max()  # rows as long as the batch: there the original makes up the tail as we do
    lengths = torch.where(whole, fixture["lengths"], lengths)
    states = fixture.upstream()(fixture["spec"], lengths)[1:]
    real = real_frames(lengths, fixture["spec"].shape[1])
    if "extract_last" in fixture.arrays:
        close(states[-1][real], fixture["extract_last"][real])
        close(states[0][real], fixture["extract_layer0"][real])
    else:
        close(states[-1][real], fixture["hidden_all"][-1][real])
    weights = fixture["weighted_sum_weight"].softmax(0)
    close(sum(w * state for w, state in zip(weights, states))[real], fixture["extract_weighted"][real])
    if "spec_transformer_out" in fixture.arrays:
        close(fixture.model.head(states[-1])[real], fixture["spec_transformer_out"][real])


@pytest.mark.parametrize("name", OLD)
@torch.no_grad()
def test_tester_of_the_first_original(name, fixtures_dir):
    """It stops at r * T' frames; a length without a tail gives the same here."""
    fixture = Fixture(fixtures_dir, name)
    rate = fixture.model.downsample_rate
    states = fixture.upstream()(fixture["spec"], fixture.lengths * rate)[1:]
    tiled = fixture["tester_forward_tiled_row0"]
    close(torch.stack(states)[:, 0, : tiled.shape[1]], tiled)
    real = fixture.real
    output = fixture.model.predict(fixture.stack(fixture["spec"]), fixture.lengths)
    close(output.hidden_states[-1][real], fixture["tester_forward_last_untiled"][real])
    with_head = fixture["tester_forward_with_head_tiled_row0"]
    close(fixture.model.head.state(states[-1])[0, : len(with_head)], with_head)


@torch.no_grad()
def test_chunks(fixtures_dir):
    """The original cuts the padded batch, so a shorter row falls in pieces of the longest one's; we cut each utterance
    by its own length. The rows as long as the batch agree as they are, the other piece by piece."""
    fixture = Fixture(fixtures_dir, "mockingjay_dr1")
    size = int(fixture["chunk_max_input_length"])
    lengths, expected, spec = fixture["lengths"], fixture["extract_chunked"], fixture["spec"]
    found = fixture.upstream(max_input_length=size)(spec, lengths)[-1]
    whole = lengths == spec.shape[1]
    close(found[whole], expected[whole])
    piece = -(-spec.shape[1] // -(-spec.shape[1] // size))
    row, length = int(lengths.argmin()), int(lengths.min())
    for start in range(0, length, piece):
        stop = min(start + piece, length)
        alone = fixture.upstream()(spec[row : row + 1, start:stop], torch.tensor([stop - start]))[-1]
        close(alone[0], expected[row, start:stop])


@torch.no_grad()
def test_pruned_heads(fixtures_dir):
    fixture = Fixture(fixtures_dir, "mockingjay_dr1")
    heads = (fixture["head_mask"].flatten() == 0).nonzero().flatten().tolist()
    config = replace(fixture.found.config.model, prune_heads=heads)
    model = MaskedModel(config, fixture.model.input_dim, fixture.model.target_dim).eval()
    load_weights(model, fixture.model.state_dict(), fixture.path)
    states = model.encoder(fixture["spec"], fixture.lengths)
    for found, expected in zip(states[1:], fixture["hidden_all_head_mask"]):
        close(found[fixture.real], expected[fixture.real])
    with pytest.raises(ValueError, match="beyond the 8 heads"):
        replace(config, prune_heads=[8])


def test_pruned_heads_as_text():
    assert pruned_heads("0,1,12-15") == [0, 1, 12, 13, 14]
    assert pruned_heads("None") == pruned_heads(None) == []
    assert pruned_heads([3]) == [3]
    with pytest.raises(ValueError, match="prune_headids"):
        pruned_heads("0;1")


@torch.no_grad()
def test_short_form_with_gamma_and_beta(fixtures_dir, tmp_path):
    short = load_pretrained(fixtures_dir / "legacy_mockingjay_dr3_gammabeta.ckpt")
    whole = load_pretrained(fixtures_dir / "legacy_mockingjay_dr3.ckpt")
    assert isinstance(short.model.head, NoHead)
    for name, value in short.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=0, atol=0)
    features, lengths = torch.randn(1, 20, 160), torch.tensor([20])
    with pytest.raises(ValueError, match="no head"):
        short.model(features, lengths)
    states = load_upstream(fixtures_dir / "legacy_mockingjay_dr3_gammabeta.ckpt")(features, lengths)
    assert len(states) == 3
    assert short.features == whole.features
    assert (short.features.kind, short.features.deltas, short.frame_shift) == ("mel", 1, 0.0125)


@pytest.mark.parametrize("name", [*NEW, *OLD])
def test_names_go_both_ways(name, fixtures_dir):
    saved = read_plain(fixtures_dir / f"{name}.ckpt")
    found = read_original(fixtures_dir / f"{name}.ckpt")
    theirs = parameters_under_their_names(found.weights, found.config.model)
    expected = saved.get("Transformer", saved.get("Mockingjay"))
    expected |= {f"SpecHead.{key}": value for key, value in saved["SpecHead"].items()}
    assert theirs.keys() == expected.keys()
    assert all(torch.equal(theirs[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", APC)
@torch.no_grad()
def test_apc(name, fixtures_dir):
    """A state dict does not say whether layers are residual: where the file did not use it the test says so."""
    with np.load(fixtures_dir / f"{name}.io.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file}
    saved = read_original(fixtures_dir / f"{name}.pt")
    assert saved.config.gru.prenet_layers == int(arrays["prenet_layers"])
    gru = replace(saved.config.gru, residual=bool(arrays["residual"]))
    model = ApcModel(gru, saved.input_dim, saved.target_dim).eval()
    load_weights(model, saved.weights, name)
    inputs, lengths = arrays["inputs"], arrays["lengths"]
    real = real_frames(lengths, inputs.shape[1])
    for order in (torch.arange(len(lengths)), torch.arange(len(lengths)).flip(0)):
        output = model(inputs[order], lengths[order])
        close(output.prediction[real[order]], arrays["predicted"][order][real[order]])
        states = output.hidden_states[0 if gru.prenet_layers else 1 :]
        for found, expected in zip(states, arrays["internal_reps"], strict=True):
            close(found[real[order]], expected[order][real[order]])
    shift = int(arrays["time_shift"])
    seen = real_frames(lengths - shift, inputs.shape[1] - shift)[..., None]
    prediction = model(inputs[:, :-shift], lengths - shift).prediction
    prediction = torch.where(seen, prediction, model.head.bias)  # the original's states are zero on padding
    close(prediction, arrays["shifted_pred"])
    close((prediction - inputs[:, shift:]).abs().mean(), arrays["loss"])  # and its loss counts padding


@torch.no_grad()
def test_apc_opens_as_an_upstream_and_agrees_with_its_name(fixtures_dir, tmp_path):  # R20: a TypeError, and CUDA only
    source = (fixtures_dir / "apc_residual.pt").read_bytes()
    named = tmp_path / "bs32-rhl3-rhs48-rd0-adam-res-ts5.pt"
    named.write_bytes(source)
    found = load_pretrained(named)
    assert (found.config.gru.residual, found.config.gru.dropout, found.config.apc.time_shift) == (True, 0.0, 5)
    plain = tmp_path / "bs32-rhl3-rhs48-rd0.1-adam-ts2.pt"
    plain.write_bytes(source)
    assert load_pretrained(plain).config.gru.residual is False
    states = load_upstream("transformer", named)(torch.randn(2, 9, 80), torch.tensor([4, 9]))
    assert [tuple(state.shape) for state in states] == [(2, 9, 48)] * 4
    wrong = tmp_path / "bs32-rhl3-rhs512-rd0-adam-res-ts3.pt"
    wrong.write_bytes(source)
    with pytest.raises(ValueError, match="its name says hidden_size 512, its tensors 48"):
        load_pretrained(wrong)


@pytest.mark.parametrize(("name", "task"), [("ffn_linear", "phone_linear"), ("ffn_1hidden", "phone_1hidden"),
                                            ("ffn_concat9", "phone_concat")])  # fmt: skip
@torch.no_grad()
def test_frame_classifiers(name, task, fixtures_dir):
    """Features and labels are cut to the shorter; the original's context runs on into padding, so lengths are those of
    the batch here."""
    with np.load(fixtures_dir / f"{name}.io.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file}
    labels = arrays["labels"]
    frames = min(labels.shape[1], arrays["features"].shape[1])
    features, mask = arrays["features"][:, :frames], arrays["label_mask"][:, :frames].bool()
    config = ProbeConfig(hidden_size=int(arrays["config_hidden_size"]) or 768)
    labels_of_11 = SimpleNamespace(classes=range(11))
    model = find_task(task).head(features.shape[2], labels_of_11, config, torch.Generator()).eval()
    load_weights(model, torch.load(fixtures_dir / f"{name}.pt", weights_only=True), name)
    logits = model(features, torch.full((len(features),), frames))
    close(logits.log_softmax(-1), arrays["log_prob"])
    found = class_score(logits, labels[:, :frames].masked_fill(~mask, IGNORE))
    assert (found.correct, found.count) == (int(arrays["correct"]), int(arrays["valid"]))
    close(found.loss / found.count, arrays["loss"])


def schedules(prefix):
    return [(Schedule, f"{prefix}.optimization.WarmupLinearSchedule"), argparse.Namespace]


class Schedule:
    """What the fixtures' optimisers hold, here as a plain object."""


@pytest.mark.parametrize("place", ["utility.timer", "utils.timer"])
def test_a_live_timer_in_the_settings(place, fixtures_dir, tmp_path, monkeypatch):
    source = fixtures_dir / "legacy_mockingjay_dr3.ckpt"
    with torch.serialization.safe_globals(schedules("mockingjay")):
        content = torch.load(source, weights_only=True)
    timer, module = type("Timer", (), {"__module__": place})(), types.ModuleType(place)
    timer.timings, timer.start_time, module.Timer = {"solver.py:10": [0.1, 0.2]}, 1.5e9, type(timer)
    for name in dict.fromkeys([place.partition(".")[0], place]):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name, module))
    content["Settings"]["Config"]["timer"] = timer
    del content["Optimizer"]  # its schedules are no objects of this process
    torch.save(content, tmp_path / "timed.ckpt", _use_new_zipfile_serialization=False)
    found, plain = read_original(tmp_path / "timed.ckpt"), read_original(source)
    assert all(torch.equal(found.weights[name], value) for name, value in plain.weights.items())
    assert found.hindrance == "it holds no optimiser state"


@torch.no_grad()
def test_later_pretraining_checkpoints_of_s3prl(fixtures_dir, tmp_path):
    """They keep the config apart from the run's, masks and lengths in `task`, and the features' own definition."""
    with torch.serialization.safe_globals(schedules("transformer")):
        content = torch.load(fixtures_dir / "tera_dr1.ckpt", weights_only=True)
    block = content["Settings"]["Config"]["transformer"]
    kept = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "layer_norm_eps",
    )
    later = {
        "Transformer": content["Transformer"],
        "SpecHead": content["SpecHead"],
        "Step": 200000,
        "Args": argparse.Namespace(seed=7, upstream="tera"),
        "Runner": {
            "runner": {"total_steps": 200000, "gradient_accumulate_steps": 4, "gradient_clipping": 5.0},
            "optimizer": {"name": "AdamW_with_schedule", "lr": "2.e-4", "warmup_proportion": 0.07},
        },
        "Upstream_Config": {
            "transformer": {key: block[key] for key in kept} | {"input_dim": -1},
            "task": {"loss": "L1", "sequence_length": 1500, "mask_frequency": 0.2, "noise_proportion": 0.15},
            "audio": {"hop_ms": 10, "target_level": -25, "input": {"feat_type": "mel"}},
        },
    }
    for key in ("Upstream_Config", "Config"):  # the first of these files called it Config
        torch.save({("Config" if name == "Upstream_Config" and key == "Config" else name): value
                    for name, value in later.items()}, tmp_path / "states-200000.ckpt")  # fmt: skip
        found = load_pretrained(tmp_path / "states-200000.ckpt")
        assert (found.seed, found.step, found.frame_shift, found.features) == (7, 200000, 0.01, None)
        assert (found.config.model.max_input_length, found.config.masking.frequency) == (1500, 16)
        assert (found.config.trainer.accumulation, found.config.optimizer.clip) == (4, 5.0)
        fixture = Fixture(fixtures_dir, "tera_dr1")
        states = found.model.encoder(fixture["spec"], fixture.lengths)
        close(states[-1][fixture.real], fixture["hidden_all"][-1][fixture.real])
