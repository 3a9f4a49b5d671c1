"""Verification: trials, embeddings, the equal error rate of a run, and what dev and test have to do with each other."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from downstream.config import DataConfig, DownstreamConfig, ProbeConfig
from downstream.examples import Use
from downstream.experiment import Experiment
from downstream.heads.centred import Centred
from downstream.heads.pooling import mean_pool, statistics_pool
from downstream.heads.xvector import XVector, am_softmax
from downstream.metrics.verification import ErrorCurve, TrialOutcomes, equal_error_rate
from downstream.probe import Probe
from downstream.setting import Setting
from downstream.sweep import run_single
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from preprocess import make_trials as script
from tests.helpers.downstream_corpus import WIDTH, write_store
from tests.helpers.speech import MEL
from utility.config import build
from utility.labels.trials import Caps, made_trials, read_trials
from utility.predictions import read_predictions

SPEAKERS, EACH = 8, 5
TEST, DEV = ("s6", "s7"), ("s4", "s5")
ARCHITECTURE = "model: {layers: 1, hidden_size: 8, heads: 2, ffn_size: 16}\n"
GARBAGE = (float("nan"), float("inf"), -7.5)


@dataclass(frozen=True)
class World:
    """A store of eight speakers, lists of trials of the last four, and settings that name them."""

    root: Path

    def setting(self, task: str, name: str = "baseline", **sections: dict) -> Setting:
        data = {"train": [f"{self.root}/store/all"], "cache": f"{self.root}/cache", "batch_frames": 1200}
        data |= {"trials": f"{self.root}/test.txt", "dev_trials": f"{self.root}/dev.txt", **sections.pop("data", {})}
        steps = {"steps": 6, "eval_every": 2, "save_every": 2}
        trainer = {**(steps if task == "asv_xvector" else {}), **sections.pop("trainer", {})}
        probe = sections.pop("probe", {"projector": 12} if task == "asv_xvector" else {})
        config = build(DownstreamConfig, {"data": data, "trainer": trainer, "probe": probe, **sections})
        return Setting(find_task(task, config), UpstreamSpec.parse(name), config, 1, torch.device("cpu"), quiet=True)

    def trials(self, name: str) -> list[list[str]]:
        return [line.split() for line in (self.root / f"{name}.txt").read_text().splitlines()]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    root, rng = tmp_path_factory.mktemp("verification"), np.random.default_rng(0)
    voices, utterances = rng.normal(size=(SPEAKERS, WIDTH)), {}
    for speaker, number in product(range(SPEAKERS), range(EACH)):
        frames = int(rng.integers(200, 240)) if number else (3, 150)[speaker < 4]  # one of each is short
        noise = rng.normal(scale=1.5, size=(frames, WIDTH)) + rng.normal(scale=0.6, size=WIDTH)
        utterances[f"s{speaker}-{number}"] = (voices[speaker] + noise + 5).astype(np.float32)
    write_store(root / "store", "all", utterances)
    for name, speakers in (("test", TEST), ("dev", DEV)):
        own = {speaker: [key for key in utterances if key.startswith(speaker)] for speaker in speakers}
        lines = [f"{int(target)} {one} {other}\n" for target, one, other in made_trials(own, Caps(8, 6, 6))]
        (root / f"{name}.txt").write_text("".join(lines))
    return World(root)


@pytest.fixture(scope="module")
def cosine(world) -> Path:
    run_single(world.setting("asv_cosine", probe={"pool": "statistics"}), world.root / "cosine")
    return world.root / "cosine"


@pytest.fixture(scope="module")
def trained(world) -> Path:
    run_single(world.setting("asv_xvector"), world.root / "trained")
    return world.root / "trained"


def rows_of(folder: Path, part: str) -> list[dict[str, str]]:
    return list(read_predictions(folder / f"predictions_{part}.tsv"))


def rate_of(rows: list[dict[str, str]]) -> float:
    scores = np.array([float(row["score"]) for row in rows], np.float32)
    return 100 * equal_error_rate(*ErrorCurve(scores, np.array([row["label"] == "1" for row in rows])).rates())[0]


@cache
def features(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([1, 3, 15, 16, 17, 40])
    return torch.randn(len(lengths), 40, WIDTH, generator=torch.Generator().manual_seed(seed)), lengths


def heads() -> dict[str, torch.nn.Module]:
    drawn = torch.Generator().manual_seed(3)
    found = {"mean": Centred(mean_pool, WIDTH), "statistics": Centred(statistics_pool, 2 * WIDTH)}
    for head in found.values():
        head.mean.normal_(generator=drawn)
        head.deviation.uniform_(0.5, 2, generator=drawn)
    vector = XVector(WIDTH, 5, drawn, 12)
    return {**found, "xvector": vector.eval(), "xvector in training": XVector(WIDTH, 5, drawn, 12).train()}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("name", ["mean", "statistics", "xvector", "xvector in training"])
def test_a_batch_gives_the_embeddings_of_its_utterances_and_pools_no_padded_frame(name, garbage):
    # R40 and R41: S3PRL pooled one padded frame, or all of them
    head, (frames, lengths) = heads()[name], features()
    padded = F.pad(frames, (0, 0, 0, 3))
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = garbage
    together = head(padded, lengths)
    alone = torch.cat([head(frames[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(lengths.tolist())])
    assert torch.allclose(together, alone, atol=1e-5)
    for parameter in head.parameters():
        parameter.grad = None
    if list(head.parameters()):
        together.square().sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_x_vector_joins_frames_without_padding_and_repeats_what_is_short():
    head, (frames, _) = heads()["xvector"], features()
    hidden = head.projector(frames[:1, :30])[0]  # [T, width]
    for layer, (size, distance) in zip(head.layers, ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1)), strict=True):
        steps = len(hidden) - (size - 1) * distance
        joined = torch.stack([hidden[k * distance : k * distance + steps] for k in range(size)], 2)
        hidden = F.relu(joined.flatten(1) @ layer.weight.flatten(1).T + layer.bias)
    assert len(hidden) == 30 - 14
    pooled = torch.cat([hidden.mean(0), (hidden.var(0, correction=0) + 1e-6).sqrt()])
    assert torch.allclose(head(frames[:1, :30], torch.tensor([30]))[0], F.relu(head.embedding(pooled)), atol=1e-5)
    for count in (1, 3, 9, 15):
        tiled = frames[:1, :count].repeat(1, 16, 1)[:, :16]
        short, whole = head(frames[:1, :count], torch.tensor([count])), head(tiled, torch.tensor([16]))
        assert torch.allclose(short, whole, atol=1e-6)
    full = XVector(WIDTH, 5, torch.Generator(), 512)
    assert [layer.out_channels for layer in full.layers] == [512, 512, 512, 512, 1500]
    assert [full.embedding.in_features, full.embedding.out_features, *full.directions.shape] == [3000, 512, 5, 512]


def test_margin_is_taken_from_the_cosine_of_the_true_speaker():
    cosines, speaker = torch.tensor([[0.9, 0.1, -0.3], [0.2, 0.5, 0.4]]), torch.tensor([0, 2])
    scaled = 30 * torch.tensor([[0.5, 0.1, -0.3], [0.2, 0.5, 0.0]])
    expected = torch.stack([torch.logsumexp(row, 0) - row[k] for row, k in zip(scaled, (0, 2))]).mean()
    assert am_softmax(cosines, speaker).item() == pytest.approx(expected.item(), rel=1e-6)


def test_embeddings_are_centred_by_the_training_utterances_alone(world, cosine):
    setting = world.setting("asv_cosine", probe={"pool": "statistics"})
    experiment = Experiment(setting, cosine)
    store, parts = experiment.corpus.store, experiment.corpus.parts
    assert sorted({store.speakers[i] for i in parts.train}) == ["s0", "s1", "s2", "s3"]
    vectors = {key: np.concatenate([store[i].mean(0), store[i].std(0)]) for i, key in enumerate(store.ids)}
    train = np.stack([vectors[store.ids[i]] for i in parts.train])
    z = {key: (vector - train.mean(0)) / train.std(0) for key, vector in vectors.items()}
    rows = rows_of(cosine, "test")
    assert sorted(row["id"] for row in rows) == sorted(" ".join(trial[1:]) for trial in world.trials("test"))
    for row in rows:
        one, other = (z[key] for key in row["id"].split())
        assert float(row["score"]) == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=2e-4)
    found = json.loads((cosine / "result.json").read_text())
    assert found["value"] == rate_of(rows)
    assert found["solver"] == {"passes": 1, "utterances": 20}
    assert found["trials"]["test"] == {"list": f"{world.root}/test.txt", "targets": 16, "nontargets": 24}
    assert found["scored"] == {"item": "trial", "dev": 40, "test": 40}
    assert {*found["figures"]["test"]} == {"loss", "eer", "threshold", "min_dcf", "targets", "nontargets"}
    assert (cosine / "detection.png").is_file()


@pytest.mark.slow
def test_embeddings_stay_as_they_are_where_they_are_not_to_be_centred(world):
    found = run_single(world.setting("asv_cosine", probe={"center": False}), world.root / "raw")
    store = Experiment(world.setting("asv_cosine"), world.root / "unused").corpus.store
    mean = {key: store[i].mean(0) for i, key in enumerate(store.ids)}
    for row in rows_of(world.root / "raw", "dev"):
        one, other = (mean[key] for key in row["id"].split())
        assert float(row["score"]) == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-5)
    assert found["solver"]["passes"] == 0
    assert "too_short_to_train" not in found


@pytest.mark.slow
@pytest.mark.parametrize("part", ["dev", "test"])
def test_dev_is_scored_with_its_own_trials(world, trained, part):  # R49: S3PRL's dev had the pairs of test
    rows = rows_of(trained, part)
    assert sorted([row["label"], *row["id"].split()] for row in rows) == sorted(world.trials(part))
    found = json.loads((trained / "result.json").read_text())
    assert found["figures"][part]["eer"] == rate_of(rows)


@pytest.mark.slow
def test_dev_chooses_the_checkpoint_whatever_test_would_like(world, trained):  # R45: S3PRL chose the best on test
    logged = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    devs = {line["step"]: line["dev_eer"] + 1e-6 * line["dev_loss"] for line in logged if "dev_eer" in line}
    found = json.loads((trained / "result.json").read_text())
    assert len(devs) == 3
    assert found["best_step"] == min(devs, key=devs.get)
    assert not [name for line in logged for name in line if "test" in name]
    other = world.root / "other.txt"
    pairs = [line for line in (world.root / "test.txt").read_text().splitlines() if "-3" not in line]
    other.write_text("\n".join(pairs[::2]))
    again = run_single(world.setting("asv_xvector", data={"trials": str(other)}), world.root / "other")
    assert again["scored"]["test"] < found["scored"]["test"]
    assert [again[name] for name in ("best_step", "dev_value")] == [found[name] for name in ("best_step", "dev_value")]
    assert rows_of(world.root / "other", "dev") == rows_of(trained, "dev")


@pytest.mark.slow
def test_training_of_an_x_vector_that_was_killed_goes_on_exactly(world, trained, monkeypatch):
    class Killed(Exception):
        pass

    calls = []

    def dying(self, batch, generator):
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return step(self, batch, generator)

    step, setting, broken = Probe.step, world.setting("asv_xvector"), world.root / "broken"
    monkeypatch.setattr(Probe, "step", dying)
    with pytest.raises(Killed):
        Experiment(setting, broken).train()
    run_single(setting, broken)
    for part in ("dev", "test"):
        name = f"predictions_{part}.tsv"
        assert (broken / name).read_bytes() == (trained / name).read_bytes()
    one, other = (torch.load(folder / "best.ckpt", weights_only=True)["model"] for folder in (broken, trained))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.slow
def test_x_vector_trains_on_long_utterances_and_pieces_of_long_ones(world, trained):
    found = json.loads((trained / "result.json").read_text())
    assert found["too_short_to_train"] == 4
    assert found["training_speakers"] == 4
    setting = world.setting("asv_xvector")
    experiment = Experiment(setting, world.root / "unused")
    labels, parts = experiment.corpus.labels, experiment.corpus.parts
    for data, crop in ((DataConfig(), 800), (DataConfig(max_frames=50), 50)):
        use = Use(data, training=True)
        examples = setting.task.source(experiment.frames, labels, parts.train, use)
        assert (examples.crop, min(examples.lengths) >= 200, len(examples.ids)) == (crop, True, 16)
    whole = setting.task.source(experiment.frames, labels, parts.test, Use(DataConfig(max_frames=50)))
    assert (whole.crop, min(whole.lengths), len(whole.ids)) == (None, 3, 10)
    cropped = world.setting("asv_xvector", data={"max_frames": 50})
    _, batch = next(Experiment(cropped, world.root / "unused")._loader("train", training=True).stream())
    assert batch.features.shape[1] == 50


@pytest.mark.slow
def test_x_vector_tunes_its_upstream_and_weighs_layers(world):
    architecture = world.root / "tiny.yaml"
    architecture.write_text(ARCHITECTURE)
    upstreams = {"fine_tune": "tests.helpers.downstream_corpus:Doubling", "weighted_sum": f"random:{architecture}"}
    for key, upstream in upstreams.items():
        setting = world.setting("asv_xvector", upstream, upstream={key: True}, trainer={"steps": 2})
        found = run_single(setting, world.root / key)
        assert found["value"] == rate_of(rows_of(world.root / key, "test"))
        assert (found["fine_tune"], found["layer_weights"] is None) == (key == "fine_tune", key == "fine_tune")


@pytest.mark.slow
def test_outcomes_give_the_rate_of_the_file_to_the_last_bit_and_count_speakers(world, trained):
    rows, task = rows_of(trained, "test"), find_task("asv_xvector")
    outcomes = task.outcomes(rows)
    assert outcomes.ids == outcomes.speakers == ["s6", "s7"]
    found = json.loads((trained / "result.json").read_text())
    assert outcomes.values(np.ones((1, 2))).tolist() == [found["value"]]
    assert np.isnan(outcomes.values(np.eye(2))).all()  # one speaker has no nontarget trials


def test_trial_of_two_speakers_counts_as_often_as_both_together():
    rng, names = np.random.default_rng(0), ["a", "b", "c", "d"]
    rows = [
        {
            "label": str(int(one == other)),
            "score": f"{rng.normal(one == other):.9g}",
            "speaker_1": one,
            "speaker_2": other,
        }
        for one, other in product(names, names)
        for _ in range(3)
    ]
    outcomes, times = TrialOutcomes.of(rows), rng.multinomial(4, [0.25] * 4, size=5)
    for row, value in zip(times, outcomes.values(times)):
        drawn = [f"{name}{copy}" for name, count in zip(outcomes.ids, row) for copy in range(count)]
        copies = [
            trial
            for one, other in product(drawn, drawn)
            for trial in rows
            if (trial["speaker_1"], trial["speaker_2"]) == (one[0], other[0]) and (one[0] != other[0] or one == other)
        ]
        assert value == pytest.approx(rate_of(copies), abs=1e-9)


def test_trials_of_a_part_that_is_not_listed_take_their_speakers_out_of_train(world):
    lines = [line for line in (world.root / "test.txt").read_text().splitlines() if "s6-1" not in line]
    (world.root / "fewer.txt").write_text("\n".join(lines) + "\n\n")
    setting = world.setting(
        "asv_cosine", data={"trials": str(world.root / "fewer.txt"), "dev_trials": None, "dev_speakers": ["s1", "s3"]}
    )
    corpus = Experiment(setting, world.root / "unused").corpus
    speakers = {
        part: {corpus.store.speakers[i] for i in getattr(corpus.parts, part)} for part in ("train", "dev", "test")
    }
    assert speakers == {"train": {"s0", "s2", "s4", "s5"}, "dev": {"s1", "s3"}, "test": {"s6", "s7"}}
    assert corpus.parts.left_out == {"of speakers of test trials, in none": 1}
    assert "s6-1" not in [corpus.store.ids[i] for i in corpus.parts.all()]
    own = {name: [f"{name}-{number}" for number in range(EACH)] for name in ("s1", "s3")}
    dev = corpus.labels.trials["dev"]
    made = [(bool(t), dev.ids[a], dev.ids[b]) for t, a, b in zip(dev.target, dev.first, dev.second)]
    assert made == list(made_trials(own, Caps()))


def test_utterances_listed_for_test_are_left_out_where_they_are_in_no_trial(world):
    store = f"{world.root}/store/all"
    for name, kept in (("train", "01245"), ("held", "367")):
        keys = [f"s{speaker}-{number}" for speaker in kept for number in range(EACH)]
        (world.root / f"{name}.ids").write_text("\n".join(keys))
    data = {"train": [f"{store}@{world.root}/train.ids"], "test": [f"{store}@{world.root}/held.ids"]}
    data |= {"trials": str(world.root / "fewer.txt")}
    (world.root / "fewer.txt").write_text("1 s6-0 s6-1\n0 s7-0 s6-0\n")
    corpus = Experiment(world.setting("asv_cosine", data=data), world.root / "unused").corpus
    assert corpus.parts.left_out == {"of data.test, in no trial": 12}
    assert [corpus.store.ids[i] for i in corpus.parts.test] == ["s6-0", "s6-1", "s7-0"]
    assert len(corpus.parts.train) == 15


def test_lists_name_utterances_by_id_or_by_path_as_tables_do(tmp_path):
    ids, paths = ["a-1", "b-2", "c-3"], ["wav/id1/x/1.wav", "wav/id2/y/1.wav", "wav/id3/z/1.wav"]
    file = tmp_path / "trials.txt"
    file.write_text("1 id1/x/1.wav b-2\nnontarget id2/y/1.wav c-3\n\nTarget c-3 a-1\n1 a-1 c-3\n")
    found = read_trials(str(file), ids, paths)
    assert [found.first.tolist(), found.second.tolist()] == [[0, 1, 2, 0], [1, 2, 0, 2]]
    assert found.target.tolist() == [True, False, True, True]
    file.write_text("1 a-1 b-2\n0 a-1 nobody\n0 b-2 c-3\n")
    left = read_trials(str(file), ids, paths, leave_out=True)
    assert (len(left), left.left_out, left.lines.tolist()) == (2, 1, [1, 3])
    assert left.digest != found.digest


def test_trials_are_the_first_pairs_in_the_order_of_their_hashes(tmp_path, capsys):
    ids = {name: [f"{name}{number}" for number in range(count)] for name, count in (("x", 6), ("y", 5), ("z", 4))}

    def first(pairs, count):
        return sorted(pairs, key=lambda pair: hashlib.sha256(" ".join(pair).encode()).hexdigest())[:count]

    expected = []
    for name in ids:
        others = [key for other in ids if other != name for key in ids[other]]
        expected += [(True, *pair) for pair in first(combinations(ids[name], 2), 4)]
        expected += [(False, *pair) for pair in first(product(ids[name], others), 7)]
    assert list(made_trials(ids, Caps(4, 5, 2))) == expected
    table, output = tmp_path / "table.csv", tmp_path / "lists/trials.txt"
    table.write_text("id,speaker\n" + "".join(f"{key},{name}\n" for name in ids for key in reversed(ids[name])))
    words = ["--data_path", str(table), "--output", str(output), "--same=4", "--same_sex=5", "--other_sex=2"]
    assert script.main(words) == 0
    assert "33 trials, 12 target and 21 nontarget, of 3 speakers" in capsys.readouterr().out
    assert output.read_text().splitlines() == [f"{int(target)} {one} {other}" for target, one, other in expected]


def test_list_of_an4_is_made_anew(corpora, tmp_path):
    table, lists = corpora / "an4" / "utterances.tsv", corpora / "lists"
    for number, which in enumerate((["--first", "7"], ["--speakers", str(lists / "an4_trial_speakers.txt")])):
        output = tmp_path / f"{number}.txt"
        assert script.main(["--data_path", str(table), "--output", str(output), *which]) == 0
        assert output.read_bytes() == (lists / "an4_trials.txt").read_bytes()


def test_run_that_goes_on_with_other_trials_is_refused(world, cosine):
    moved = world.root / "moved.txt"
    moved.write_text((world.root / "test.txt").read_text())
    setting = world.setting("asv_cosine", probe={"pool": "statistics"}, data={"trials": str(moved)})
    run_single(setting, world.root / "moved")
    moved.write_text("".join((world.root / "test.txt").read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"trials\.test was '[0-9a-f]{16}', now"):
        run_single(setting, world.root / "moved")


def test_x_vector_learns_speakers_and_warns_of_features_far_from_0():
    drawn = torch.Generator().manual_seed(0)
    head, voices = XVector(WIDTH, 6, drawn, 32).train(), torch.randn(6, WIDTH, generator=drawn)
    optimizer, losses = torch.optim.AdamW(head.parameters(), 2e-3), []
    for _ in range(60):
        speaker = torch.randint(6, (12,), generator=drawn)
        frames = voices[speaker][:, None] + torch.randn(12, 40, WIDTH, generator=drawn)
        losses.append(am_softmax(head(frames, torch.full((12,), 40)), speaker))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[0] > 10
    assert losses[-1] < 4
    task = find_task("asv_xvector")
    assert "--cmvn global" in task.caution(replace(MEL, cmvn="none"))
    assert "tells speakers apart" in task.caution(replace(MEL, cmvn="speaker"))
    assert task.caution(replace(MEL, cmvn="utterance")) is None
    assert "close to chance" in find_task("asv_cosine").caution(replace(MEL, cmvn="utterance"))


def test_nothing_in_a_head_is_drawn_but_from_its_generator():
    heads = [XVector(WIDTH, 5, torch.Generator().manual_seed(seed), 12).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())
    assert not any(torch.equal(value, heads[2][name]) for name, value in heads[0].items())
    assert replace(ProbeConfig(), projector=12) != ProbeConfig()
