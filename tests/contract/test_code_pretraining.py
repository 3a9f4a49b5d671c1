"""Pre-training on codes: exact resume, several processes, batches, stacks, stores that do not fit, what people see."""

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model.codes import RandomProjection
from mockingjay.objectives.masking import MaskingConfig, alter
from mockingjay.pretraining.codes import CodePretraining, collapse_in
from mockingjay.pretraining.data import open_data
from tests.contract.test_trainer import assert_same, start, wait_for_step, words_of
from tests.helpers.several import ranks_of
from tests.helpers.speech import MEL, write_codes, write_store
from utility.config import build
from utility.training.checkpoint import load_checkpoint, saved_steps
from utility.training.log import read_metrics

CPU = torch.device("cpu")
LENGTHS = {f"s{i % 3}-{i}": 30 + 7 * i % 50 for i in range(24)}
DEV = {"s9-1": 60, "s9-2": 41}
MASKING = {
    "proportion": 0,
    "start_probability": 0.1,
    "consecutive_min": 4,
    "consecutive_max": 4,
    "zero": 1,
    "replace": 0,
}
EXACT = ("loss", "accuracy", "masked_share", "grad_norm", "dev_loss", "dev_accuracy", "dev_codes_perplexity", "step")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Two configs of 40 steps: of a random projection with a learnt vector, and of stored codes of stacked frames."""
    root = tmp_path_factory.mktemp("codes")
    stores = [write_store(root / "data" / "train", LENGTHS), write_store(root / "data" / "dev", DEV, seed=1)]
    shift = 2 * MEL.frame_shift
    halves = [{name: n // 2 for name, n in lengths.items()} for lengths in (LENGTHS, DEV)]
    codes = [
        write_codes(root / "codes" / name, lengths, 20, shift, seed=seed)
        for seed, (name, lengths) in enumerate(zip(("train", "dev"), halves))
    ]
    common = {
        "loader": {"batch_frames": 300, "max_frames": 40},
        "objective": "codes",
        "trainer": {
            "steps": 40,
            "accumulation": 2,
            "log_every": 4,
            "eval_every": 10,
            "save_every": 3,
            "precision": "fp32",
        },
    }
    size = {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48}
    data = {"train": [str(stores[0])], "dev": [str(stores[1])]}
    configs = {
        "random_projection": {
            "data": data, "model": size, "codes": {"size": 64, "codebooks": 2}, "masking": {**MASKING, "fill": "learnt"}
        },
        "store": {
            "data": {**data, "target": [str(one) for one in codes]}, "model": {**size, "downsample_rate": 2},
            "codes": {"source": "store", "size": 20}, "masking": {**MASKING, "fill": "noise"},
        },
    }  # fmt: skip
    for name, values in configs.items():
        (root / f"{name}.yaml").write_text(yaml.safe_dump({**common, **values}))
    return root


def ending(world: Path, name: str) -> tuple[dict, list[dict]]:
    content = load_checkpoint(world / "result" / name / "mockingjay-40.ckpt", "pretrain")
    return content, [{k: v for k, v in record.items() if k in EXACT} for record in read_metrics(world / "log" / name)]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["random_projection", "store"])
def test_killed_thrice_it_ends_bit_for_bit_like_an_undisturbed_run(world, warm, source):
    config, rng = world / f"{source}.yaml", random.Random(source)
    assert start(warm, config, f"{source}_straight").wait().code == 0
    name = f"{source}_killed"
    folder = world / "result" / name
    for _ in range(3):
        before = (saved_steps(folder, "mockingjay") or [0])[-1]
        process = start(warm, config, name, *(["--resume"] if before else []))
        wait_for_step(process, folder, before + 3)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
    assert start(warm, config, name, "--resume").wait().code == 0
    (content, records), (expected, expected_records) = ending(world, name), ending(world, f"{source}_straight")
    for key in ("model", "optimizer", "state"):
        assert_same(content[key], expected[key], key)
    assert records == expected_records
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0]
    shutil.rmtree(folder)


@pytest.mark.slow
def test_two_processes_train_as_one(world, warm):
    config, words = world / "random_projection.yaml", ["trainer.steps=6", "trainer.log_every=1", "trainer.eval_every=3"]
    assert start(warm, config, "alone", *words).wait().code == 0
    told = words_of(config, "two", *words, "trainer.accumulation=1")
    for end in ranks_of(warm, 2, "runner_mockingjay.py", *told):
        assert end.code == 0, end.stderr
    one, two = (read_metrics(world / "log" / name) for name in ("alone", "two"))
    assert len(one) == len(two) >= 6
    for mine, theirs in zip(two, one):
        for key in EXACT:
            assert mine.get(key) == pytest.approx(theirs.get(key), abs=1e-5), key
    for name in ("mean", "deviation", "projection", "vectors"):
        weights = [
            load_checkpoint(world / "result" / run / "mockingjay-6.ckpt", "pretrain")["model"][f"quantizer.{name}"]
            for run in ("alone", "two")
        ]
        assert torch.equal(*weights)
        assert float(weights[0].std()) > 0


def test_the_frames_are_normalised_by_the_training_data(world):
    config = build(PretrainConfig, yaml.safe_load((world / "random_projection.yaml").read_text()))
    data = open_data(config.data.train, config)
    frames = np.concatenate([data.corpus[i] for i in range(len(LENGTHS))]).astype(np.float64)
    mean, deviation = data.predicted_level()
    np.testing.assert_allclose(mean, frames.mean(0), atol=1e-9)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-9)


def objective_of(world: Path, source: str, **changes) -> CodePretraining:
    values = yaml.safe_load((world / f"{source}.yaml").read_text()) | changes
    config = build(PretrainConfig, values)
    data = open_data(config.data.train, config)
    return CodePretraining(new_model(config, MEL.dim, data.target.row_shape[0], 0), config, CPU)


@pytest.mark.parametrize("source", ["random_projection", "store"])
def test_a_batch_scores_as_its_utterances_do(world, source):
    objective = objective_of(world, source)
    data = open_data(objective.config.data.dev, objective.config)
    together = objective.evaluate(data.once(CPU))
    singles = [objective.evaluate([data.one(index, CPU)]) for index in range(2)]
    masked = [int(objective.show(data.one(index, CPU)).masked.sum()) for index in range(2)]
    for name in ("loss", "accuracy"):
        mean = sum(one[name] * count for one, count in zip(singles, masked)) / sum(masked)
        assert together[name] == pytest.approx(mean, abs=1e-5)
    assert min(masked) > 3
    assert len({one["loss"] for one in singles}) == 2


def test_packed_batches_have_the_losses_and_gradients_of_padded_ones(world):
    objective = objective_of(world, "random_projection", model={"layers": 2, "hidden_size": 24, "heads": 2,
                             "ffn_size": 48, "dropout": 0.0, "attention_dropout": 0.0})  # fmt: skip
    batch = next(iter(open_data(objective.config.data.train, objective.config).once(CPU)))
    found = []
    for packed in (False, True):
        objective.model.zero_grad()
        loss = objective._prediction(batch, torch.Generator().manual_seed(1), packed).loss().mean()
        loss.backward()
        found.append((loss.item(), [p.grad.clone() for p in objective.model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    for one, other in zip(found[0][1], found[1][1]):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_a_frame_has_the_same_codes_in_any_batch():
    quantizer = RandomProjection(frame_dim=20, rate=1, codebooks=2, size=512, dim=16)
    quantizer.draw(0)
    frames = torch.randn(3000, 20, generator=torch.Generator().manual_seed(0))
    together = quantizer(frames)
    assert torch.equal(torch.cat([quantizer(some) for some in frames.split(7)]), together)
    padded = torch.cat([frames, torch.zeros(5000, 20)])
    assert torch.equal(quantizer(padded)[:3000], together)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer(frames), together)


@pytest.mark.parametrize("max_frames", [40, 41, None])
def test_stacked_frames_get_the_codes_of_their_place(world, max_frames):
    loader = {"batch_frames": 300, "max_frames": max_frames, "pad_multiple": 5}
    objective = objective_of(world, "store", loader=loader)
    data = open_data(objective.config.data.train, objective.config, seed=4)
    codes = {name: data.loader.target.read(i)[::2, 0] for i, name in enumerate(LENGTHS)}
    stream, cropped = data.loader.stream(), 0
    for _ in range(12):
        batch = next(stream)[1]
        stacked, lengths = objective.model.stack(batch.features, batch.lengths)
        every = torch.arange(stacked.shape[1] * len(lengths))
        found = objective._codes(batch, stacked, every).view(len(lengths), -1)
        for row, name in enumerate(batch.ids):
            whole = data.corpus[data.corpus.index[name]]
            first = batch.features[row, 0].numpy()
            begin = int(np.flatnonzero((whole == first).all(1))[0])
            assert begin % 2 == 0
            cropped += begin > 0
            length = int(lengths[row])
            assert found[row, :length].tolist() == codes[name][begin // 2 : begin // 2 + length].tolist()
    assert (cropped > 5) == (max_frames is not None)


def masks(config: MaskingConfig, lengths: list[int], seed: int = 0):
    features = torch.ones(len(lengths), max(lengths), 3)
    lengths = torch.tensor(lengths)
    generator = torch.Generator().manual_seed(seed)
    return alter(features, lengths, config, generator, lengths), features, lengths


def test_every_frame_may_begin_a_span():  # BEST-RQ: each frame begins a span with some probability
    config = MaskingConfig(**MASKING | {"start_probability": 0.02})
    altered, features, lengths = masks(config, [1000, 700] * 20)
    mask = altered.mask[..., 0]
    assert not mask[torch.arange(1000) >= lengths[:, None]].any()
    share = float(mask.sum() / lengths.sum())
    assert share == pytest.approx(1 - (1 - 0.02) ** 4, rel=0.15)
    for row, length in zip(mask, lengths):
        edges = torch.diff(row.int(), prepend=torch.tensor([0]), append=torch.tensor([0]))
        begins, ends = (edges == 1).nonzero().ravel(), (edges == -1).nonzero().ravel()
        assert all(end - begin >= 4 or end == length for begin, end in zip(begins, ends))
    first = torch.stack([row[:4].any() for row in mask])
    assert 0 < first.sum() < 20
    assert mask.gather(1, lengths[:, None] - 1).any()  # spans that the end cuts
    assert torch.equal(altered.where, mask.flatten().nonzero()[:, 0])
    assert not altered.inputs[mask].any()
    assert torch.equal(altered.inputs[~mask], features[~mask])


def test_spans_hide_behind_noise_or_a_learnt_vector():
    config = MaskingConfig(**MASKING | {"fill": "noise", "fill_deviation": 0.3})
    altered, *_ = masks(config, [1500, 900])
    hidden = altered.inputs[altered.mask[..., 0]]
    assert float(hidden.std()) == pytest.approx(0.3, rel=0.05)
    assert float(hidden.mean()) == pytest.approx(0, abs=0.02)
    assert altered.learnt is None
    learnt, *_ = masks(MaskingConfig(**MASKING | {"fill": "learnt", "zero": 0.6, "replace": 0.2}), [300] * 40)
    rows = learnt.mask[..., 0].any(1)
    share = float(learnt.learnt.any(1).sum() / rows.sum())
    assert 0.4 < share < 0.8
    assert not (learnt.learnt & ~learnt.mask[..., 0]).any()


@pytest.mark.parametrize("config", [MaskingConfig(), MaskingConfig(**MASKING)])
def test_spans_drawn_in_host_memory_are_those_of_the_device(config):
    features = torch.rand(3, 80, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([80, 33, 60])
    one = alter(features, lengths, config, torch.Generator().manual_seed(1))
    other = alter(features, lengths, config, torch.Generator().manual_seed(1), lengths)
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.mask, other.mask)
    assert one.where is None
    assert torch.equal(other.where, one.mask[..., 0].flatten().nonzero()[:, 0])


def test_collapse_is_told(world, capsys):
    flat = write_store(world / "flat" / "train", {"a-1": 400, "a-2": 300})
    array = np.load(flat.with_suffix(".npy"), mmap_mode="r+")
    array[:] = array[:1]
    array.flush()
    code = run(world, "random_projection", "flat", f"data.train=[{flat}]", "data.dev=[]", "trainer.steps=1")
    told = capsys.readouterr()
    assert code in (None, 0)
    assert "codebook 2: 1.6 % of 64 codes in use by 700 frames, perplexity 1.0" in told.out
    assert "warning: codebook 1: they have collapsed: perplexity 1.0 of 64 codes: normalise the features" in told.err
    lines = collapse_in({"codes_perplexity_1": 200.0, "predicted_perplexity_1": 1.2, "codes_perplexity_2": 90.0,
                         "predicted_perplexity_2": 30.0})  # fmt: skip
    assert len(lines) == 1
    assert lines[0].startswith("predictions of codebook 1 have collapsed: perplexity 1.2")


def run(world: Path, source: str, name: str, *words: str) -> int | None:
    return runner_mockingjay.main([
        "--train", "--config", str(world / f"{source}.yaml"), "--name", name, "--cpu",
        "--ckpdir", str(world / "result"), "--logdir", str(world / "log"), *words,
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("source", ["random_projection", "store"])
def test_a_model_of_codes_is_told_tested_drawn_and_extracted(world, source, capsys):
    run(world, source, f"{source}_short", "trainer.steps=4", "trainer.eval_every=4")
    ckpt, out = str(world / "result" / f"{source}_short" / "best.ckpt"), world / f"{source}_out"
    dev = str(world / "data" / "dev")
    capsys.readouterr()
    runner_mockingjay.main(["--info", ckpt])
    told = capsys.readouterr().out
    assert ("BEST-RQ, 2 layers of 24" if source == "random_projection" else "MelHuBERT, 2 layers of 24") in told
    assert ("2 codes of 64 per frame, random projection of" if source == "random_projection" else
            "a code of 20 per frame, of a test") in told  # fmt: skip
    common = ["--ckpt", ckpt, "--input", dev, "--output", str(out), "--cpu"]
    assert runner_mockingjay.main(["--test", *common]) in (None, 0)
    assert "nats," in capsys.readouterr().out
    scores = json.loads((out / "test.json").read_text())
    books = ["_1", "_2"] if source == "random_projection" else [""]
    assert {f"{kind}_{what}{book}" for kind in ("codes", "predicted") for what in ("used", "entropy", "perplexity")
            for book in books} < set(scores)  # fmt: skip
    assert 0 < scores["loss"] < 20
    runner_mockingjay.main(["--plot", "--with_head", *common, "--num", "1"])
    assert (out / "s9-1_codes.png").stat().st_size > 10_000
    runner_mockingjay.main(["--plot", "--output_attention", *common[:2], "--input", str(world / "data" / "train"),
                            "--output", str(out), "--num", "1"])  # fmt: skip
    assert (out / "s0-0_attention_layer1.png").exists()
    records = read_metrics(world / "log" / f"{source}_short")
    assert "accuracy" in records[0] or "accuracy" in records[-1]


REFUSED = [
    ({"codes": 21}, "holds 1 codebooks of 21 codes: set codes.codebooks=1 codes.size=21"),
    ({"books": 2}, "holds 2 codebooks of 20 codes: set codes.codebooks=2 codes.size=20"),
    ({"shift": MEL.frame_shift}, "has a code every 12.5 ms, the model a frame every 25 ms"),
    ({"missing": True}, "data.target has no codes for 1 utterances"),
    ({"longer": 2}, "codes, "),
]


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[said[:24] for _, said in REFUSED])
def test_codes_that_do_not_fit_are_refused(world, tmp_path, change, said):
    lengths = {name: n // 2 + change.get("longer", 0) for name, n in LENGTHS.items()}
    if "missing" in change:
        lengths.pop("s0-3")
    shift = change.get("shift", 2 * MEL.frame_shift)
    codes = write_codes(tmp_path / "codes" / "train", lengths, change.get("codes", 20), shift, change.get("books", 1))
    values = yaml.safe_load((world / "store.yaml").read_text())
    values["data"]["target"] = [str(codes)]
    config = build(PretrainConfig, values)
    with pytest.raises(ValueError, match=said):
        open_data(config.data.train, config)


def test_a_code_more_or_less_at_the_rim_is_taken(world, tmp_path):
    lengths = {name: n // 2 + (-1) ** i for i, (name, n) in enumerate(LENGTHS.items())}
    codes = write_codes(tmp_path / "codes" / "train", lengths, 20, 2 * MEL.frame_shift)
    values = yaml.safe_load((world / "store.yaml").read_text())
    values["data"]["target"] = [str(codes)]
    config = build(PretrainConfig, values)
    target = open_data(config.data.train, config).loader.target
    for index, (name, n) in enumerate(LENGTHS.items()):
        known = int((target.read(index) >= 0).sum())
        assert known == min(n, 2 * lengths[name])
    values["codes"]["size"] = 20
    array = np.load(codes.with_suffix(".npy"), mmap_mode="r+")
    array[0] = 25
    array.flush()
    broken = open_data(config.data.train, config).loader.target
    with pytest.raises(ValueError, match=r"s0-0 has a code outside 0 \.\.\. 19"):
        broken.read(0)


@pytest.mark.slow
def test_other_codes_are_not_gone_on_with(world, tmp_path):
    run(world, "store", "first", "trainer.steps=3")
    halves = {name: n // 2 for name, n in {**LENGTHS, **DEV}.items()}
    other = write_codes(tmp_path / "codes" / "all", halves, 20, 2 * MEL.frame_shift)
    info = other.parent / "features.yaml"
    info.write_text(info.read_text().replace("of a test", "of others"))
    with pytest.raises(ValueError, match=r"was trained on of a test, data\.target holds of others"):
        run(world, "store", "first", "--resume", f"data.target=[{other}]", "trainer.steps=6")
