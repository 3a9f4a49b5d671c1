"""Checkpoints of the originals give the numbers that the originals gave.

Every file states which stacked frames its program took for real (`attn_mask`); the tests feed just those. They are not
always what the product takes: with stacking the originals counted a partly padded frame as real."""

import argparse
import sys
import types
from dataclasses import replace

import pytest
import torch

from downstream.config import ProbeConfig
from downstream.metrics.classes import class_score
from downstream.tasks.classification import ByFrame
from mockingjay.checkpoint import load_pretrained
from mockingjay.foreign.apc import BY_NAME
from mockingjay.foreign.settings import Section, pretrain_config, pruned_heads
from mockingjay.model.frame_model import GruModel, NoHead, TransformerModel
from mockingjay.objectives.loss import masked_loss
from mockingjay.upstream import load_upstream
from tests.helpers.legacy_fixture import (
    APC,
    CLASSIFIERS,
    NEW,
    OLD,
    SHORT,
    Fixture,
    close,
    holding,
    parameters_under_their_names,
    plain,
    plain_content,
    read_arrays,
    read_original,
)
from utility.batches import real_frames
from utility.labels.alignment import IGNORE
from utility.training.checkpoint import load_weights


def test_the_folder_holds_every_family():
    assert NEW
    assert OLD or SHORT
    assert len(APC) > 1
    assert len(CLASSIFIERS) > 1


@pytest.mark.parametrize("name", [*NEW, *OLD, *SHORT])
@torch.no_grad()
def test_every_layer_the_head_and_attention(name):
    fixture = Fixture(name)
    stacked, real = fixture.stack(fixture["spec"]), fixture.real
    states = fixture.model.encoder(stacked, fixture.lengths)
    close(states[0][real], fixture["input_repr"][real])
    for found, expected in zip(states[1:], fixture["hidden_all"], strict=True):
        close(found[real], expected[real])
    if name not in SHORT:
        output = fixture.model.predict(stacked, fixture.lengths)
        close(output.prediction[real], fixture["head_pred"][real])
        close(fixture.model.head.state(output.hidden_states[-1])[real], fixture["head_state"][real])
    if "attention_probs" in fixture.arrays:
        maps = fixture.model.encoder.attention_maps(stacked, fixture.lengths)
        pairs = (real[:, :, None] & real[:, None, :])[None, :, None].expand_as(maps)
        close(maps[pairs], fixture["attention_probs"][pairs])


@pytest.mark.parametrize("name", [*NEW, *OLD])
@torch.no_grad()
def test_masked_loss(name):
    fixture = Fixture(name)
    rows = fixture.arrays.get("mask_rows", torch.arange(len(fixture["spec"])))
    prediction = fixture.model.predict(fixture["spec_masked"], fixture.lengths[rows]).prediction
    truth = fixture.stack(fixture.arrays.get("target", fixture["spec"]))[rows]
    label = fixture["mask_label"]
    label = label if label.ndim == 3 else label[..., None].expand_as(prediction)
    close(masked_loss(prediction, truth, label).mean(), fixture["loss"])


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_extraction_through_the_upstream(name):
    """At real frames; the last partly padded stacked frame of AALBERT's short rows is real, as the original took it."""
    fixture = Fixture(name)
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


@pytest.mark.parametrize("name", [*OLD, *SHORT])
@torch.no_grad()
def test_tester_of_the_first_original(name):
    """It stops at r * T' frames; a length without a tail gives the same here."""
    fixture = Fixture(name)
    rate = fixture.model.downsample_rate
    states = fixture.upstream()(fixture["spec"], fixture.lengths * rate)[1:]
    tiled = fixture["tester_forward_tiled_row0"]
    close(torch.stack(states)[:, 0, : tiled.shape[1]], tiled)
    real = fixture.real
    untiled = fixture.model.encoder(fixture.stack(fixture["spec"]), fixture.lengths)
    close(untiled[-1][real], fixture["tester_forward_last_untiled"][real])
    if name not in SHORT:
        with_head = fixture["tester_forward_with_head_tiled_row0"]
        close(fixture.model.head.state(states[-1])[0, : len(with_head)], with_head)


@pytest.mark.parametrize("name", holding("chunk_max_input_length"))
@torch.no_grad()
def test_chunks(name):
    """The original cuts the padded batch, so a shorter row falls in pieces of the longest one's; we cut each utterance
    by its own length. The rows as long as the batch agree as they are, the other piece by piece."""
    fixture = Fixture(name)
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


@pytest.mark.parametrize("name", holding("head_mask"))
@torch.no_grad()
def test_pruned_heads(name):
    fixture = Fixture(name)
    heads = (fixture["head_mask"].flatten() == 0).nonzero().flatten().tolist()
    config = replace(fixture.found.config.model, prune_heads=heads)
    model = TransformerModel(config, fixture.model.input_dim, fixture.model.target_dim).eval()
    load_weights(model, fixture.model.state_dict(), fixture.path)
    states = model.encoder(fixture["spec"], fixture.lengths)
    assert 0 < len(heads) < fixture["head_mask"].numel()
    for found, expected in zip(states[1:], fixture["hidden_all_head_mask"], strict=True):
        close(found[fixture.real], expected[fixture.real])
    with pytest.raises(ValueError, match="beyond the 8 heads"):
        replace(config, prune_heads=[8])


def test_pruned_heads_as_text():
    assert pruned_heads("0,1,12-15") == [0, 1, 12, 13, 14]
    assert pruned_heads("None") == pruned_heads(None) == []
    assert pruned_heads([3]) == [3]
    with pytest.raises(ValueError, match="prune_headids"):
        pruned_heads("0;1")


@pytest.mark.parametrize(("block", "steps"), [("mockingjay", 25), ("transformer", 100)])
def test_the_first_original_counted_batches_and_the_later_one_updates(block, steps):
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    run = {"total_steps": 100, "gradient_accumulation_steps": 4}
    config = Section("", {block: size, "optimizer": run, "solver": run, "runner": run})
    found = pretrain_config(config, Section("task", {}), config, 80, duo=False)
    assert (found.trainer.steps, found.trainer.accumulation) == (steps, 4)


@pytest.mark.parametrize("name", SHORT)
@torch.no_grad()
def test_short_form_with_gamma_and_beta(name, fixtures_dir):
    short = load_pretrained(fixtures_dir / f"{name}.ckpt")
    assert isinstance(short.model.head, NoHead)
    features, lengths = torch.randn(1, 20, short.model.input_dim), torch.tensor([20])
    with pytest.raises(ValueError, match="no head"):
        short.model(features, lengths)
    states = load_upstream(fixtures_dir / f"{name}.ckpt")(features, lengths)
    assert len(states) == short.model.num_layers + 1
    assert (short.features.kind, short.features.deltas, short.frame_shift) == ("mel", 1, 0.0125)


@pytest.mark.parametrize(
    ("name", "other"), [(name, other) for name in SHORT for other in OLD if name.startswith(other)]
)
def test_short_form_is_the_encoder_of_the_whole(name, other, fixtures_dir):
    short, whole = (load_pretrained(fixtures_dir / f"{stem}.ckpt") for stem in (name, other))
    for key, value in short.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[key], rtol=0, atol=0)
    assert short.features == whole.features


@pytest.mark.parametrize("name", [*NEW, *OLD])
def test_names_go_both_ways(name, fixtures_dir):
    saved = plain_content(fixtures_dir / f"{name}.ckpt")
    found = read_original(fixtures_dir / f"{name}.ckpt")
    theirs = parameters_under_their_names(found.weights, found.config.model)
    expected = saved.get("Transformer", saved.get("Mockingjay"))
    expected |= {f"SpecHead.{key}": value for key, value in saved["SpecHead"].items()}
    assert theirs.keys() == expected.keys()
    assert all(torch.equal(theirs[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", APC)
@torch.no_grad()
def test_apc(name, fixtures_dir):
    """A state dict does not say whether layers are residual: the test does."""
    arrays = read_arrays(name)
    saved = read_original(fixtures_dir / f"{name}.pt", residual=bool(arrays["residual"]))
    assert saved.config.gru.prenet_layers == int(arrays["prenet_layers"])
    gru = saved.config.gru
    model = GruModel(gru, saved.input_dim, saved.target_dim).eval()
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
    name = next(name for name in APC if read_arrays(name)["residual"])
    source = (fixtures_dir / f"{name}.pt").read_bytes()
    gru = load_pretrained(fixtures_dir / f"{name}.pt", {"residual": True}).config.gru
    sizes = f"bs32-rhl{gru.layers}-rhs{gru.hidden_size}"
    named = tmp_path / f"{sizes}-rd0-adam-res-ts5.pt"
    named.write_bytes(source)
    found = load_pretrained(named)
    assert (found.config.gru.residual, found.config.gru.dropout, found.config.apc.time_shift) == (True, 0.0, 5)
    assert found.sources == {"residual": BY_NAME, "shift": BY_NAME}
    assert load_pretrained(named, {"residual": True, "shift": 5}).config == found.config
    with pytest.raises(ValueError, match="its name says shift=5, not shift=3: leave --assume shift out"):
        load_pretrained(named, {"shift": 3})
    unlike = tmp_path / f"{sizes}-rd0.1-adam-ts2.pt"
    unlike.write_bytes(source)
    assert load_pretrained(unlike).config.gru.residual is False
    with pytest.raises(ValueError, match="its name says residual=false, not residual=true"):
        load_pretrained(unlike, {"residual": True})
    states = load_upstream("transformer", named)(torch.randn(2, 9, found.model.input_dim), torch.tensor([4, 9]))
    assert [tuple(state.shape) for state in states] == [(2, 9, gru.hidden_size)] * (gru.layers + 1)
    wrong = tmp_path / f"bs32-rhl{gru.layers}-rhs512-rd0-adam-res-ts3.pt"
    wrong.write_bytes(source)
    with pytest.raises(ValueError, match=f"its name says hidden_size 512, its tensors {gru.hidden_size}"):
        load_pretrained(wrong)


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_frame_classifiers(name, fixtures_dir):
    """Features and labels are cut to the shorter; the original's context runs on into padding, so lengths are those of
    the batch here."""
    arrays = read_arrays(name)
    level = ByFrame(int(arrays["config_concat"]), hidden_layers=int(not arrays["config_linear"]))
    labels = arrays["labels"]
    frames = min(labels.shape[1], arrays["features"].shape[1])
    features, mask = arrays["features"][:, :frames], arrays["label_mask"][:, :frames].bool()
    config = ProbeConfig(hidden_size=int(arrays["config_hidden_size"]) or 768)
    model = level.head(features.shape[2], arrays["log_prob"].shape[2], config, torch.Generator()).eval()
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
    source = fixtures_dir / f"{[*OLD, *SHORT][0]}.ckpt"
    with torch.serialization.safe_globals(schedules("mockingjay")):
        content = torch.load(source, weights_only=True)
    timer, module = type("Timer", (), {"__module__": place})(), types.ModuleType(place)
    timer.timings, timer.start_time, module.Timer = {"solver.py:10": [0.1, 0.2]}, 1.5e9, type(timer)
    for name in dict.fromkeys([place.partition(".")[0], place]):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name, module))
    content["Settings"]["Config"]["timer"] = timer
    content.pop("Optimizer", None)  # its schedules are no objects of this process
    torch.save(content, tmp_path / "timed.ckpt", _use_new_zipfile_serialization=False)
    found, plain = read_original(tmp_path / "timed.ckpt"), read_original(source)
    assert all(torch.equal(found.weights[name], value) for name, value in plain.weights.items())
    assert found.cannot_resume == "it holds no optimiser state"


@torch.no_grad()
def test_later_pretraining_checkpoints_of_s3prl(fixtures_dir, tmp_path):
    """They keep the config apart from the run's, masks and lengths in `task`, and the features' own definition."""
    name = plain()
    with torch.serialization.safe_globals(schedules("transformer")):
        content = torch.load(fixtures_dir / f"{name}.ckpt", weights_only=True)
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
        torch.save({("Config" if part == "Upstream_Config" and key == "Config" else part): value
                    for part, value in later.items()}, tmp_path / "states-200000.ckpt")  # fmt: skip
        found = load_pretrained(tmp_path / "states-200000.ckpt")
        assert (found.seed, found.step, found.frame_shift, found.features) == (7, 200000, 0.01, None)
        assert (found.config.model.max_input_length, found.config.masking.frequency) == (
            1500,
            found.model.input_dim // 5,
        )
        assert (found.config.trainer.accumulation, found.config.optimizer.clip) == (4, 5.0)
        fixture = Fixture(name)
        states = found.model.encoder(fixture["spec"], fixture.lengths)
        close(states[-1][fixture.real], fixture["hidden_all"][-1][fixture.real])
