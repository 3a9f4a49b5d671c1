"""Training goes on from the originals' checkpoints as it did in the originals, and through the runner."""

import json
import math

import numpy as np
import pytest
import torch

import runner_mockingjay
from mockingjay.checkpoint import load_pretrained
from mockingjay.model.groups import original_groups
from mockingjay.objectives.loss import masked_loss
from mockingjay.objectives.masking import Altered
from mockingjay.pretraining import step as solver
from tests.helpers.legacy_fixture import (
    APC,
    LIMIT,
    NEW,
    OLD,
    SHORT,
    TRAINED,
    Fixture,
    parameters_under_their_names,
    plain,
    read_original,
)
from tests.helpers.speech import write_originals
from utility.batches import Batch
from utility.loader import Loader, Position
from utility.store.reading import Store
from utility.training.optimization import Lamb, OptimizerConfig, make_optimizer, make_schedule

ASSUMED = ["--assume", "residual=true"]  # of an APC state dict, which does not say it


@pytest.mark.parametrize("name", TRAINED)
def test_training_goes_on_as_in_the_original(name):
    fixture = Fixture(name, "train")
    saved, config, model = read_original(fixture.path), fixture.found.config, fixture.model
    assert saved.step == int(fixture["global_step_start"]) - 1
    accumulation = int(fixture.arrays.get("accumulation", 1))
    assert config.trainer.accumulation == accumulation
    assert config.optimizer.clip == float(fixture.arrays.get("gradient_clipping", 1.0))
    optimizer = make_optimizer(original_groups(model, config.optimizer.weight_decay), config.optimizer)
    optimizer.load_state_dict(saved.optimizer)
    share, step, total, updates = make_schedule(config.optimizer, config.trainer.steps), saved.step, 0.0, 0
    batches = sum(key.endswith("/spec_stacked") for key in fixture.arrays)
    for index in range(batches):
        loss = trajectory_loss(fixture, index) / accumulation
        loss.backward()
        total += float(loss.detach())
        if index not in fixture.arrays.get("update_after_batch", torch.arange(batches)):
            continue
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip)
        for group in optimizer.param_groups:
            group["lr"] = config.optimizer.lr * share(step)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        assert total == pytest.approx(float(fixture["loss"][updates]), abs=LIMIT)
        assert float(norm) == pytest.approx(float(fixture["grad_norm"][updates]), abs=LIMIT)
        # the original logs the rate of the next update
        assert config.optimizer.lr * share(step) == pytest.approx(float(fixture["lr_logged"][updates]), rel=1e-6)
        total, updates = 0.0, updates + 1
    assert updates == len(fixture["loss"]) > 1
    found = parameters_under_their_names(model.state_dict(), config.model)
    expected = {k.partition("/")[2]: v for k, v in fixture.arrays.items() if k.startswith("param_after/")}
    assert expected
    for key, value in expected.items():
        worst = float((found[key.partition(".")[2] if key[0] != "S" else key] - value).abs().max())
        assert worst < (1e-3 if ".key.bias" in key else LIMIT), (key, worst)  # a key bias has only rounding noise


def trajectory_loss(fixture, index):
    batch = {k.partition("/")[2]: v for k, v in fixture.arrays.items() if k.startswith(f"batch{index}/")}
    truth, zeroed, label = batch["spec_stacked"], batch["zeroed"], batch["mask_label"]
    zeroed, label = (value if value.ndim == 3 else value[..., None].expand_as(truth) for value in (zeroed, label))
    prediction = fixture.model.predict(truth.masked_fill(zeroed, 0.0), batch["attn_mask"].sum(1).long()).prediction
    return masked_loss(prediction, truth, label).mean()


class Ended(Exception):
    """The file holds no more batches."""


def store(folder, *rows):
    """Features in the originals' form."""
    return str(write_originals(folder / "train", {f"u{number}": row for number, row in enumerate(rows)}))


@pytest.mark.parametrize("name", [name for name in TRAINED if name in NEW])
def test_the_runner_goes_on_with_the_numbers_of_the_original(name, tmp_path, monkeypatch):
    """`--train --load` on the batches and masks that the file gives: those are drawn at random otherwise."""
    fixture = Fixture(name, "train")
    if int(fixture["accumulation"]) > 1 or fixture.model.downsample_rate > 1:
        pytest.skip("its first update has one batch less than ours, and its batches are of stacked frames")
    size, first = fixture.model.input_dim, int(fixture["global_step_start"])
    batches = [{name: fixture[f"batch{i}/{name}"] for name in ("spec_stacked", "zeroed", "mask_label", "attn_mask")}
               for i in range(3)]  # fmt: skip
    given = iter(batches)

    def stream(self, *start):
        for index, batch in enumerate(batches):
            lengths = batch["attn_mask"].sum(1).long()
            yield Position(0, index + 1), Batch(batch["spec_stacked"], lengths, ["a", "b"])
        raise Ended

    def alter(features, lengths, config, generator, apply):
        batch = next(given)
        return Altered(features.masked_fill(batch["zeroed"], 0.0), batch["mask_label"])

    monkeypatch.setattr(Loader, "stream", stream)
    monkeypatch.setattr(solver, "alter", alter)
    train = store(tmp_path / "data", np.zeros((9, size)), np.ones((8, size)))
    words = (
        f"--train --load --cpu --no-msg --ckpt {fixture.path} --name more --ckpdir {tmp_path} --logdir {tmp_path}/log"
    )
    changes = ["model.dropout=0", "model.attention_dropout=0", "trainer.log_every=1", "trainer.save_every=1"]
    with pytest.raises(Ended):
        runner_mockingjay.main([*words.split(), f"data.train=[{train}]", *changes])
    rows = [json.loads(line) for line in (tmp_path / "log/more/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [first, first + 1, first + 2]
    for figure in ("loss", "grad_norm"):
        assert [row[figure] for row in rows] == pytest.approx(fixture[figure].tolist(), abs=LIMIT)
    assert [row["lr"] for row in rows[1:]] == pytest.approx(fixture["lr_logged"].tolist()[:-1], rel=1e-6)
    done = load_pretrained(tmp_path / f"more/mockingjay-{first + 2}.ckpt")
    assert done.step == first + 2
    found = parameters_under_their_names(done.model.state_dict(), done.config.model)
    for key, value in fixture.arrays.items():
        if key.startswith("param_after/"):
            name = key.partition("/")[2].removeprefix("Transformer.")
            worst = float((found[name] - value).abs().max())
            assert worst < (1e-3 if ".key.bias" in name else LIMIT), (name, worst)


@pytest.mark.slow
@pytest.mark.parametrize("name", [plain(), *OLD[:1]])
def test_train_test_and_info_of_an_original(name, fixtures_dir, tmp_path, capsys):
    ckpt = fixtures_dir / f"{name}.ckpt"
    before = load_pretrained(ckpt)
    assert before.step > 0
    generator, size = np.random.default_rng(0), before.model.input_dim
    train = store(tmp_path / "data", *(generator.standard_normal((length, size)) for length in (70, 50, 61)))
    common = ["--cpu", "--no-msg", "--ckpt", str(ckpt), "--ckpdir", str(tmp_path)]
    steps = [f"data.train=[{train}]", f"trainer.steps={before.step + 3}"]
    run = ["--train", "--load", "--name", "more", "--logdir", str(tmp_path / "log")]
    runner_mockingjay.main([*run, *common, *steps])
    done = load_pretrained(tmp_path / f"more/mockingjay-{before.step + 3}.ckpt")
    assert (done.step, done.config.optimizer.name, done.seed) == (before.step + 3, "bertadam", before.seed)
    row = json.loads((tmp_path / "log/more/metrics.jsonl").read_text().splitlines()[-1])
    assert math.isfinite(row["loss"])
    output = ["--input", train, "--output", str(tmp_path / "out")]
    assert runner_mockingjay.main(["--test", *common, *output]) == 0
    assert "masked L1" in capsys.readouterr().out
    runner_mockingjay.main(["--info", str(ckpt)])
    told, model = capsys.readouterr().out, before.config.model
    spans = f"consecutive_max: {before.config.masking.consecutive_max}"
    parts = (f"{model.layers} layers of {model.hidden_size}", f"steps done:    {before.step}", "--train --load", spans)
    assert [part for part in parts if part not in told] == []
    seed = before.seed if before.seed is not None else "not stated"
    assert f"seed:          {seed}\n" in told
    assert "cmvn and sample rate not stated" in told
    assert "Hz" not in told
    runner_mockingjay.main(["--info", str(tmp_path / f"more/mockingjay-{before.step + 3}.ckpt")])
    assert "mockingjay-1, pretrain" in capsys.readouterr().out


@pytest.mark.parametrize("name", [f"{SHORT[0]}.ckpt", f"{APC[0]}.pt"])
def test_without_optimiser_state_training_does_not_go_on(name, fixtures_dir, tmp_path):
    told = ASSUMED if name.endswith(".pt") else []
    saved = load_pretrained(fixtures_dir / name, {"residual": True} if told else None)
    train = store(tmp_path / "data", np.ones((30, saved.model.input_dim)))
    words = (
        f"--train --load --cpu --no-msg --ckpt {fixtures_dir / name} --ckpdir {tmp_path} --logdir {tmp_path / 'log'}"
    )
    with pytest.raises(ValueError, match="it holds no optimiser state"):
        runner_mockingjay.main([*words.split(), *told, f"data.train=[{train}]"])


@pytest.mark.slow
@pytest.mark.parametrize("name", APC)
def test_what_a_file_does_not_state_is_not_invented(name, fixtures_dir, capsys):
    """A seed of 1337 and a frame shift were told of state dicts, which hold tensors alone."""
    runner_mockingjay.main(["--info", str(fixtures_dir / f"{name}.pt"), *ASSUMED])
    told = capsys.readouterr().out
    for line in ("seed:          not stated", "frame shift:   not stated", "steps done:    not stated"):
        assert f"{line}\n" in told
    saved = load_pretrained(fixtures_dir / f"{name}.pt", {"residual": True})
    assert (saved.seed, saved.frame_shift, saved.features) == (None, None, None)


def test_lamb_treats_query_key_and_value_as_tensors_of_their_own():
    """Against the definition: w <- w - lr |w| / |u| u with u = m / (sqrt(v) + 1e-8) + decay w."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 2))
    parts = [part.detach().clone() for part in weight.chunk(3)]
    optimizer = Lamb([{"params": [weight], "weight_decay": 0.01, "parts": 3}], lr=0.1)
    mean, square = ([torch.zeros(2, 2) for _ in range(3)] for _ in range(2))
    for _ in range(3):
        weight.grad = torch.randn(6, 2)
        for i, gradient in enumerate(weight.grad.chunk(3)):
            mean[i] = 0.9 * mean[i] + 0.1 * gradient
            square[i] = 0.999 * square[i] + 0.001 * gradient**2
            update = mean[i] / (square[i].sqrt() + 1e-8) + 0.01 * parts[i]
            parts[i] = parts[i] - 0.1 * parts[i].norm() / update.norm() * update
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.cat(parts))
    share = make_schedule(OptimizerConfig(name="lamb", warmup=0.1), 100)
    assert share(0) == pytest.approx(0.1)  # it counts its updates from 1


def test_representations_where_nothing_tells_the_frame_shift(fixtures_dir, tmp_path):
    ckpt = fixtures_dir / f"{APC[0]}.pt"
    model = load_pretrained(ckpt, {"residual": True}).model
    train = store(tmp_path / "data", np.ones((30, model.input_dim)), np.ones((20, model.input_dim)))
    words = ["--extract", "--cpu", "--no-msg", "--ckpt", str(ckpt), "--input", train, *ASSUMED]
    for _ in range(2):  # the second time it finds all done
        assert runner_mockingjay.main([*words, "--output", str(tmp_path / "out")]) == 0
    written = Store([tmp_path / "out/train"])
    assert (written.info.row_shape, written.lengths.tolist()) == ([model.hidden_size], [30, 20])
    with pytest.raises(ValueError, match="which features"):
        written.frame_times(0)
