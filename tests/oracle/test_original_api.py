"""The Python calls of the originals: shapes and options of their READMEs, and their numbers."""

import runpy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from downstream.model import example_classifier
from downstream.solver import get_mockingjay_optimizer, get_optimizer
from mockingjay.upstream import load_upstream
from originals import mockingjay_api as original_api
from originals import s3prl_api as nn_transformer
from originals.mockingjay_api import get_apc_model
from originals.s3prl_api import SPEC_TRANSFORMER, TRANSFORMER, spec_augment
from runner_mockingjay import get_mockingjay_model
from tests.conftest import PROJECT
from tests.helpers.checkpoints import GRU, write_checkpoint
from tests.helpers.checkpoints import TRANSFORMER as SMALL
from tests.helpers.legacy_fixture import APC, NEW, OLD, SHORT, arrays_of, holding

LIMIT = 1e-5
README = {
    "load_pretrain": "True",
    "no_grad": "True",
    "dropout": "default",
    "spec_aug": "False",
    "spec_aug_prev": "True",
    "weighted_sum": "False",
    "select_layer": "-1",
    "permute_input": "False",
}


@pytest.fixture(autouse=True)
def on_the_cpu(request, monkeypatch):
    """Numbers are compared on the CPU; the examples take CUDA where there is one."""
    if request.node.originalname != "test_example_runs":
        for module in (nn_transformer, original_api):
            monkeypatch.setattr(module, "pick_device", lambda cpu: torch.device("cpu"))


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("api") / "mockingjay.ckpt", model=SMALL))


@pytest.fixture(scope="module")
def apc_ckpt(tmp_path_factory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("api") / "apc.ckpt", **GRU))


@pytest.fixture
def spec() -> torch.Tensor:
    """Three utterances of 50, 41 and 23 frames, zero afterwards."""
    spec = torch.randn(3, 50, 80, generator=torch.Generator().manual_seed(0))
    for row, length in enumerate((50, 41, 23)):
        spec[row, length:] = 0
    return spec


def worst(found: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, shown by `pytest -rA`."""
    assert tuple(found.shape) == expected.shape
    assert np.abs(expected).max() > 1e-3, "nothing to compare with"
    error = float(np.abs(found.detach().numpy() - expected).max())
    print(f"worst difference {error:.1e}")
    return error


def stated(io) -> torch.Tensor:
    """Lengths that hold every stacked frame that the original's mask counts as real, also a partly padded one."""
    rate = io["spec"].shape[1] // io["attn_mask"].shape[1]
    return torch.from_numpy(np.minimum(io["attn_mask"].sum(1) * rate, io["spec"].shape[1])).long()


# The originals' numbers


@pytest.mark.parametrize("name", NEW)
def test_wrapper_gives_the_numbers_of_the_original(name, fixtures_dir):
    io = np.load(fixtures_dir / f"{name}.io.npz")
    options = {**README, "ckpt_file": str(fixtures_dir / f"{name}.ckpt")}
    weighted = TRANSFORMER({**options, "weighted_sum": "True"}, 0)
    assert weighted.weight.tolist() == pytest.approx([1 / weighted.num_layers] * weighted.num_layers)
    weighted.weight.data = torch.from_numpy(io["weighted_sum_weight"])
    wrappers = {"extract_weighted": weighted, "extract_last": TRANSFORMER(options, 0)}
    wrappers["extract_layer0"] = TRANSFORMER({**options, "select_layer": 0}, io["spec"].shape[2])
    expected = {name: io[name] for name in wrappers if name in io}
    expected.setdefault("extract_last", io["hidden_all"][-1])
    for which, values in expected.items():
        found = wrappers[which](io["spec"], stated(io))
        for row, length in enumerate(stated(io).tolist()):
            assert worst(found[row, :length], values[row, :length]) < LIMIT


@pytest.mark.parametrize("name", holding("spec_transformer_out"))
def test_wrapper_infers_the_lengths(name, fixtures_dir):
    io = np.load(fixtures_dir / f"{name}.io.npz")
    assert len(set(io["lengths"].tolist())) > 1
    transformer = TRANSFORMER({"ckpt_file": fixtures_dir / f"{name}.ckpt"})
    assert torch.equal(transformer(io["spec"]), transformer(io["spec"], io["lengths"]))


@pytest.mark.parametrize("name", holding("chunk_max_input_length"))
def test_wrapper_in_pieces(name, fixtures_dir):
    io = np.load(fixtures_dir / f"{name}.io.npz")
    size, frames = int(io["chunk_max_input_length"]), io["spec"].shape[1]
    options = {"ckpt_file": fixtures_dir / f"{name}.ckpt", "max_input_length": size}
    found = TRANSFORMER(options)(io["spec"], io["lengths"])
    whole = TRANSFORMER({**options, "max_input_length": 0})
    pieces = -(-frames // size)
    assert pieces > 1
    cut = -(-frames // pieces)  # the original cut every utterance where the padded batch is cut
    for row, length in enumerate(io["lengths"].tolist()):
        parts = [whole(io["spec"][row, start : min(start + cut, length)]) for start in range(0, length, cut)]
        assert worst(torch.cat(parts, 1)[0], io["extract_chunked"][row, :length]) < LIMIT
        if -(-length // -(-length // size)) == cut:  # where its own length is cut alike
            assert worst(found[row, :length], io["extract_chunked"][row, :length]) < LIMIT


@pytest.mark.parametrize("name", holding("spec_transformer_out"))
def test_wrapper_with_head(name, fixtures_dir):
    io = np.load(fixtures_dir / f"{name}.io.npz")
    model = SPEC_TRANSFORMER({"ckpt_file": fixtures_dir / f"{name}.ckpt"})
    assert model.out_dim == io["spec"].shape[2]
    found = model(io["spec"], io["lengths"])
    for row, length in enumerate(io["lengths"]):
        assert worst(found[row, :length], io["spec_transformer_out"][row, :length]) < LIMIT
        assert not found[row, length:].any()


@pytest.mark.parametrize("name", [*OLD, *SHORT])
def test_tester_gives_the_numbers_of_the_original(name, fixtures_dir):
    io = np.load(arrays_of(name))
    model = get_mockingjay_model(fixtures_dir / f"{name}.ckpt")
    first = io["spec"][0]
    assert worst(model.forward(first)[0], io["tester_forward_tiled_row0"]) < LIMIT
    if name in OLD:
        assert worst(model.forward_with_head(first)[0], io["tester_forward_with_head_tiled_row0"]) < LIMIT
    assert worst(model.forward_fine_tune(first)[0], io["tester_forward_tiled_row0"][-1]) < LIMIT
    found = model.forward(io["spec"], all_layers=False, tile=False, lengths=stated(io))
    for row, count in enumerate(io["attn_mask"].sum(1).astype(int)):
        assert worst(found[row, :count], io["tester_forward_last_untiled"][row, :count]) < LIMIT


@pytest.mark.parametrize("name", APC)
def test_apc_gives_the_numbers_of_the_original_in_any_order(name, fixtures_dir):
    io = np.load(fixtures_dir / f"{name}.io.npz")
    model = get_apc_model(fixtures_dir / f"{name}.pt", residual=bool(io["residual"]))
    for order in ([*range(len(io["lengths"]))], [*range(len(io["lengths"]))][::-1]):
        prediction, feats = model.forward(io["inputs"][order], io["lengths"][order].tolist())
        assert feats.shape == io["internal_reps"].shape
        for place, row in enumerate(order):
            length = io["lengths"][row]
            assert worst(prediction[place, :length], io["predicted"][row, :length]) < LIMIT
            assert worst(feats[:, place, :length], io["internal_reps"][:, row, :length]) < LIMIT
            assert not feats[:, place, length:].any()


# Shapes, options and errors


def test_shapes_of_the_readme(ckpt, capsys):
    model = get_mockingjay_model(from_path=ckpt, display_settings=True)
    assert "downsample_rate: 3" in capsys.readouterr().out
    assert not any(module.training for module in model.mockingjay.modules())
    spec = torch.zeros(3, 101, 80)
    assert model.forward(spec=spec, all_layers=True, tile=True).shape == (3, 2, 99, 24)
    assert model.forward(spec=spec, all_layers=True, tile=False).shape == (3, 2, 33, 24)
    assert model.forward(spec=spec, all_layers=False, tile=True).shape == (3, 99, 24)
    assert model.forward(spec=spec, all_layers=False, tile=False).shape == (3, 33, 24)
    assert model.forward(spec[0].numpy()).shape == (1, 2, 99, 24)
    assert model.forward(spec[None], process_from_loader=True).shape == (3, 2, 99, 24)
    assert not model.forward_with_head(spec).requires_grad
    tuned = model.forward_fine_tune(spec=spec)
    tuned.sum().backward()
    assert next(model.mockingjay.parameters()).grad is not None


def test_a_batch_gives_what_single_utterances_give(ckpt, spec):
    model, transformer = get_mockingjay_model(ckpt), TRANSFORMER({"ckpt_file": ckpt}, 0)
    upstream = load_upstream(ckpt)
    together, wrapped = model.forward(spec), transformer(spec)
    for row, length in enumerate((50, 41, 23)):
        alone = model.forward(spec[row, :length])[0]
        assert torch.allclose(together[row, :, : alone.shape[1]], alone, atol=1e-6)
        assert not together[row, :, alone.shape[1] :].any()
        states = upstream(spec[row : row + 1, :length], torch.tensor([length]))
        assert torch.allclose(wrapped[row, :length], states[-1][0], atol=1e-6)
    assert torch.equal(model.forward(spec, lengths=[50, 41, 23]), together)


def test_lengths_given_are_not_guessed(ckpt, spec):
    transformer = TRANSFORMER({"ckpt_file": ckpt}, 0)
    spec[0, 45:] = 0  # silence that is part of the utterance
    assert transformer(spec, lengths=[50, 41, 23])[0, 45:].any()
    assert not transformer(spec)[0, 45:].any()
    silent = transformer(torch.zeros(1, 30, 80))  # as in the README: one of zeros only counts as whole
    assert silent.all(-1).any()
    for wrong in ([50, 41], [50, 41, 0], [51, 41, 23], [50.0, 41.0, 23.0]):
        with pytest.raises(ValueError, match=r"lengths are .*expected 3 whole numbers from 1 to 50"):
            transformer(spec, lengths=wrong)
    with pytest.raises(ValueError, match=r"expected \[B, T, D\]"):
        transformer(spec[0, 0])
    with pytest.raises(ValueError, match="features have 79 dimensions"):
        get_mockingjay_model(ckpt).forward(spec[..., 1:])


def test_options_as_strings_as_values_and_by_default(ckpt, spec):
    plain = TRANSFORMER({"ckpt_file": ckpt}, 0)
    text = TRANSFORMER({**README, "ckpt_file": ckpt}, inp_dim=80)
    assert (plain.out_dim, plain.training) == (24, False)
    assert torch.equal(plain(spec), text(spec))
    assert not plain(spec).requires_grad
    first = TRANSFORMER({"ckpt_file": ckpt, "select_layer": "0"}, 0)
    torch.testing.assert_close(first(spec), plain.upstream(spec, torch.tensor([50, 41, 23]))[1], rtol=1e-5, atol=1e-6)
    turned = TRANSFORMER({"ckpt_file": ckpt, "permute_input": True}, 0)
    assert torch.equal(turned(spec.transpose(0, 1)).transpose(0, 1), plain(spec))
    tuned = TRANSFORMER({"ckpt_file": ckpt, "no_grad": False, "weighted_sum": "true", "dropout": "0.0"}, 0)
    assert tuned.training
    tuned(spec).sum().backward()
    assert tuned.weight.grad.any()
    fresh = TRANSFORMER({"ckpt_file": ckpt, "load_pretrain": "False"}, 0, seed=1)
    again = TRANSFORMER({"ckpt_file": ckpt, "load_pretrain": False}, 0, seed=1)
    assert torch.equal(fresh(spec), again(spec))
    assert not torch.allclose(fresh(spec), plain(spec))


def test_dropout_is_that_of_the_options(ckpt, spec):
    still = TRANSFORMER({"ckpt_file": ckpt, "no_grad": "False", "dropout": 0.0}, 0)
    assert torch.allclose(still(spec), TRANSFORMER({"ckpt_file": ckpt}, 0)(spec), atol=1e-6)
    shaken = TRANSFORMER({"ckpt_file": ckpt, "no_grad": "False"}, 0)
    assert not torch.allclose(shaken(spec), shaken(spec))


@pytest.mark.parametrize("before", [True, False])
def test_spec_aug_while_training_only(ckpt, before):
    options = {"ckpt_file": ckpt, "no_grad": False, "dropout": 0, "spec_aug": True, "spec_aug_prev": before}
    spec = torch.randn(2, 200, 80)
    model, kept = TRANSFORMER(options, 0), spec.clone()
    first, second = model(spec), model(spec)
    assert not torch.equal(first, second)
    assert torch.equal(spec, kept)
    assert torch.equal(first, TRANSFORMER(options, 0)(spec))  # drawn from the seed
    model.eval()
    assert torch.equal(model(spec), model(spec))


def test_spec_augment_hides_bands():
    x = torch.ones(40, 300, 80)
    lengths = torch.full((40,), 300)
    lengths[:10] = 70
    hidden = spec_augment(x, lengths, 4, torch.Generator().manual_seed(1)) == 0
    assert x.all()
    in_time, in_features = hidden.all(2), hidden.all(1)
    assert not in_time[:10].any()
    assert 0 < in_time[10:].sum(1).float().mean() < 140
    assert in_time.sum(1).max() > 70
    assert in_features.sum(1).max() <= 8
    assert torch.equal(hidden, in_time[:, :, None] | in_features[:, None, :])


def test_wrapper_from_a_config(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text("model: {layers: 1, hidden_size: 8, heads: 2, ffn_size: 8}\n")
    assert TRANSFORMER({"load_pretrain": "False"}, 40, config=file)(torch.randn(1, 9, 40)).shape == (1, 9, 8)
    with pytest.raises(ValueError, match="no weights: set load_pretrain"):
        TRANSFORMER({}, 40, config=file)
    with pytest.raises(ValueError, match="give inp_dim"):
        TRANSFORMER({"load_pretrain": False}, config=file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weigthed_sum": "True"}, "'weigthed_sum'; did you mean 'weighted_sum'"),
        ({"no_grad": "perhaps"}, "'no_grad' has value 'perhaps'"),
        ({"select_layer": 2}, "select_layer 2 does not exist: the model has layers 0 to 1"),
        ({"select_layer": -2}, "'select_layer' has value -2"),
        ({"dropout": "1.5"}, "'dropout'"),
        ({"ckpt_file": None}, "ckpt_file is missing"),
        ({"ckpt_file": "nowhere.ckpt"}, "nowhere.ckpt does not exist"),
    ],
)
def test_options_that_are_refused(ckpt, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        TRANSFORMER({"ckpt_file": ckpt, **options}, 0)


def test_other_models_are_named(ckpt, apc_ckpt):
    with pytest.raises(ValueError, match=r"inp_dim is 40, .* takes 80"):
        TRANSFORMER({"ckpt_file": ckpt}, 40)
    with pytest.raises(ValueError, match="from_waveforms"):
        TRANSFORMER({"ckpt_file": ckpt}, 0, online_config={})
    for opened in (lambda: TRANSFORMER({"ckpt_file": apc_ckpt}, 0), lambda: get_mockingjay_model(apc_ckpt)):
        with pytest.raises(ValueError, match="holds an APC model: open it with get_apc_model"):
            opened()
    with pytest.raises(ValueError, match="holds no APC model of GRUs: open it with get_mockingjay_model"):
        get_apc_model(ckpt)


def test_long_input_is_not_cut(ckpt):
    assert TRANSFORMER({"ckpt_file": ckpt}, 0)(torch.randn(1, 6001, 80)).shape == (1, 6001, 24)


# Classifier, optimiser, examples


def test_classifier_reads_to_the_true_end(spec):
    torch.manual_seed(0)
    classifier = example_classifier(input_dim=80, hidden_dim=16, class_num=2)
    labels = torch.LongTensor([0, 1, 0])
    alone = [classifier(spec[row : row + 1, :n], labels[row : row + 1]) for row, n in enumerate((50, 41, 23))]
    assert classifier(spec, labels, lengths=[50, 41, 23]).item() == pytest.approx(torch.stack(alone).mean().item())
    _, last = classifier.rnn(spec)
    scores = classifier.out(last[0]).log_softmax(-1)
    assert classifier(spec, labels).item() == pytest.approx(nn.functional.nll_loss(scores, labels).item())


def test_optimiser_warms_up_by_itself():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    optimizer = get_mockingjay_optimizer(
        params=list(model.named_parameters()), lr=0.1, warmup_proportion=0.5, training_steps=4
    )
    rates, before = [], [p.clone() for p in model.parameters()]
    for step in range(5):
        model(torch.randn(3, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.append(optimizer.param_groups[0]["lr"])
        if step == 0:  # rate 0
            assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0])
    decays = {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups}
    assert decays == {0.01: 1, 0.0: 3}
    other = get_optimizer(model, 0.1, 0.5, 4)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["updates"] == 5
    with pytest.raises(ValueError, match=r"bare parameters: pass module\.named_parameters"):
        get_optimizer(list(model.parameters()), 0.1, 0.5, 4)
    with pytest.raises(ValueError, match="training_steps 0"):
        get_optimizer(model, 0.1, 0.5, 0)


EXAMPLES = {
    "extract.py": "mockingjay",
    "finetune.py": "mockingjay",
    "extract_finetune.py": "mockingjay",
    "waveforms.py": "mockingjay",
    "apc.py": "apc",
}


@pytest.mark.parametrize("script", EXAMPLES)
def test_example_runs(script, ckpt, apc_ckpt, tmp_path, monkeypatch, capsys):
    path = PROJECT / "examples" / script
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), {"mockingjay": ckpt, "apc": apc_ckpt}[EXAMPLES[script]]])
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(path), run_name="__main__")
    assert "(3, " in capsys.readouterr().out
    assert (tmp_path / "example.ckpt").is_file() == script.endswith("finetune.py")


def test_every_example_is_run():
    assert {path.name for path in (PROJECT / "examples").glob("*.py")} == {
        *EXAMPLES,
        "compare.py",  # in test_results
        "layers.py",  # in test_layers_table
        "table.py",
        "table_of_bakeoff.py",  # in test_bakeoff
        "table_of_tasks.py",  # both in test_results
        "own_waveform_upstream.py",  # in test_own_upstreams
    }
