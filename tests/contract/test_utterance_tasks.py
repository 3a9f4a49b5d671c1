"""Classes and numbers of utterances: heads that pool, balanced drawing, crops, several columns, numbers, presets."""

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as oracle

import run_downstream
import runner_mockingjay
from downstream.config import ProbeConfig
from downstream.examples import Frames, Means, Use, Wholes
from downstream.experiment import Experiment
from downstream.heads.pooling import AttentivePool, statistics_pool
from downstream.heads.recurrent_pooling import LastState
from downstream.label_modes import number_class
from downstream.metrics.base import selection_error
from downstream.metrics.classes import CLASS_METRICS, ClassScore, Confused
from downstream.metrics.numbers import NUMBER_METRICS, NumberOutcomes, NumberScore
from downstream.probe import Probe
from downstream.setting import Setting
from downstream.sweep import Choice, rate_warning, run_many, run_single
from downstream.tasks.classification import ByUtterance
from downstream.tasks.table import TASKS, find_task
from originals.flags import ALIASES, in_our_words
from tests.helpers.downstream_corpus import WIDTH, Small, write_store
from utility.loader import Loader, LoaderConfig, Position, balanced_shares
from utility.predictions import read_predictions
from utility.store.reading import Store

HEADS = {
    "mean": {},
    "projected mean": {"projector": 7},
    "hidden": {"projector": 7, "hidden_layers": 2, "hidden_size": 5},
    "statistics": {"pool": "statistics", "projector": 0},
    "projected statistics": {"pool": "statistics", "projector": 7},
    "attention": {"pool": "attention", "projector": 7},
    "gru": {"head": "gru", "hidden_size": 6, "skip": 3},
    "gru without hidden layer": {"head": "gru", "hidden_layers": 0, "projector": 7},
}
LENGTHS = [11, 5, 1, 8, 3]
OWN = "tests.helpers.downstream_corpus:Doubling"


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    """Pictures are drawn, not written: that is another test's."""
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)


@dataclass(frozen=True)
class Labelled:
    """The small corpus with a table: two moods of which one is rare, the level of the first feature, what is done."""

    small: Small
    table: Path

    def setting(self, name: str, column: str | list[str], spec: str = "baseline", **sections: dict) -> Setting:
        data = {"labels": str(self.table), "label_column": column, **sections.pop("data", {})}
        setting = self.small.setting("utterance", spec, data=data, **sections)
        return replace(setting, task=find_task(name, setting.config))

    def folder(self, name: str) -> Path:
        return self.small.root / "utterances" / name


@pytest.fixture(scope="module")
def labelled(small) -> Labelled:
    store = Store(f"{small.root}/store/all")
    table = small.root / "utterances.csv"
    lines = ["id,mood,level,act,on,same,part"]
    for index, key in enumerate(store.ids):
        speaker, level = int(key[1]), float(store[index][:, 0].mean())
        rare = "gay" if speaker == 0 or index % 9 == 0 else "sad"
        part = ("train", "dev", "test")[max(0, int(key[3]) - 3)]
        same = 1 if part == "test" else index
        lines.append(f"{key},{rare},{level:.3f},a{speaker % 2},b {speaker % 3},{same},{part}")
    table.write_text("\n".join(lines))
    return Labelled(small, table)


def head_of(outputs: int = 4, **probe) -> torch.nn.Module:
    return ByUtterance().head(WIDTH, outputs, ProbeConfig(**probe), torch.Generator().manual_seed(0)).eval()


def padded(fill: float) -> tuple[torch.Tensor, torch.Tensor]:
    states = torch.randn(len(LENGTHS), max(LENGTHS) + 2, WIDTH, generator=torch.Generator().manual_seed(1))
    for row, length in zip(states, LENGTHS):
        row[length:] = fill
    return states, torch.tensor(LENGTHS)


@pytest.mark.parametrize("kind", HEADS)
def test_a_batch_is_its_utterances_alone_whatever_stands_on_padding(kind):
    head, (states, lengths) = head_of(**HEADS[kind]), padded(math.nan)
    together = head(states, lengths)
    together.square().sum().backward()
    tuned = [parameter.grad.clone() for parameter in head.parameters()]
    head.zero_grad()
    alone = [head(states[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(LENGTHS)]
    torch.cat(alone).square().sum().backward()
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    for found, parameter in zip(tuned, head.parameters(), strict=True):  # nor does training see it
        assert torch.allclose(found, parameter.grad, atol=1e-4)


def test_heads_are_drawn_from_the_seed_alone():
    for probe in HEADS.values():
        torch.manual_seed(5)
        one = head_of(**probe).state_dict()
        torch.manual_seed(6)
        assert all(torch.equal(value, one[name]) for name, value in head_of(**probe).state_dict().items())


def test_attention_gives_padding_no_weight_instead_of_adding_the_mask():  # R39
    """S3PRL's AttentivePooling added a mask of 0 and 1 to the scores."""
    pool, (states, lengths) = AttentivePool(WIDTH, torch.Generator().manual_seed(0)), padded(50.0)
    w, b, v = (p.detach().numpy() for p in (pool.hidden.weight, pool.hidden.bias, pool.score.weight[0]))
    found = pool(states, lengths).detach().numpy()
    for row, length, pooled in zip(states.numpy(), LENGTHS, found):
        scores = np.maximum(row[:length] @ w.T + b, 0) @ v
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(pooled, weights @ row[:length], atol=1e-5)


def test_statistics_do_not_pool_the_first_padded_frame():  # R40
    """S3PRL's sv_voxceleb1 counted it."""
    states, lengths = padded(50.0)
    for row, length, found in zip(states.numpy(), LENGTHS, statistics_pool(states, lengths).numpy()):
        real = row[:length]
        np.testing.assert_allclose(found, [*real.mean(0), *np.sqrt(real.var(0) + 1e-6)], atol=1e-5)


def test_projected_mean_of_sentiment_is_over_real_frames_only():
    """S3PRL's mosei model averaged padding, too; a projector before the mean is one behind it."""
    head, (states, lengths) = head_of(projector=7), padded(50.0)
    for row, length, found in zip(states, LENGTHS, head(states, lengths)):
        mean = row[:length].mean(0)
        assert torch.allclose(head.linears[0](head.gather.projector(mean)), found, atol=1e-5)


def test_gru_reads_every_kth_frame_and_gives_its_last_real_state():
    pool, (states, lengths) = LastState(WIDTH, 6, 3, True, torch.Generator().manual_seed(0)), padded(50.0)
    for row, length, found in zip(states, LENGTHS, pool(states, lengths)):
        seen = row[None, torch.arange(0, length, 3)]
        assert seen.shape[1] == math.ceil(length / 3)
        last = pool.gru(seen)[1][0, 0]
        assert torch.allclose(torch.relu(pool.linear(last)), found, atol=1e-6)


def test_means_are_kept_only_where_the_mean_is_all_that_is_read(labelled):
    store = Store(f"{labelled.small.root}/store/all")
    chosen, level = np.arange(len(store)), ByUtterance()
    kinds = {}
    for kind, probe in HEADS.items():
        setting = labelled.setting("utterance", "mood", probe=probe, data={"max_frames": 5})
        labels = Experiment(setting, labelled.folder("none")).corpus.labels
        use = Use(setting.config.data, probe=setting.config.probe)
        kinds[kind] = [
            type(level.source(Frames([store]), labels, chosen, replace(use, training=t))) for t in (True, False)
        ]
        tuned = replace(use, fine_tune=True)
        assert type(level.source(Frames([store]), labels, chosen, tuned)) is Wholes
    assert all(training is Wholes for training, _ in kinds.values())  # they are cropped
    means = {kind for kind, (_, evaluated) in kinds.items() if evaluated is Means}
    assert means == {"mean", "projected mean", "hidden"}


def test_balanced_training_draws_classes_equally_often_and_dev_is_whole(labelled):  # R42
    """S3PRL drew keyword spotting's dev part at random, too."""
    setting = labelled.setting("keyword_spotting", "mood", data={"balance": True, "batch_utterances": 5})
    experiment = Experiment(setting, labelled.folder("none"))
    assert [loader.shares is None for loader in (experiment._loader("train"), experiment._loader("dev"))] == [
        True,
        True,
    ]
    loader = experiment._loader("train", training=True)
    codes = [int(loader.target.read(i)) for i in range(len(loader.source.ids))]
    counts = Counter(codes)
    assert max(counts.values()) >= 2 * min(counts.values())
    drawn = [np.concatenate(loader.epoch(epoch)) for epoch in range(60)]
    assert {len(epoch) for epoch in drawn} == {len(codes)}
    share = np.mean([codes[i] for epoch in drawn for i in epoch])
    assert share == pytest.approx(0.5, abs=0.04)
    again = experiment._loader("train", training=True)
    assert all(np.array_equal(np.concatenate(again.epoch(e)), drawn[e]) for e in (0, 7))  # of (seed, epoch) alone
    assert not np.array_equal(drawn[0], drawn[1])
    expected = ids_of(loader, Position(0, 0), 6)
    assert ids_of(again, Position(0, 3), 3) == expected[sum(map(len, loader.epoch(0)[:3])) :]
    dev = [key for batch in experiment._loader("dev").once() for key in batch.ids]
    assert sorted(dev) == sorted(experiment.corpus.utterances.ids[i] for i in experiment.corpus.parts.dev)


def ids_of(loader: Loader, start: Position, count: int) -> list[str]:
    """Those of so many training batches."""
    stream = loader.stream(start)
    return [key for _ in range(count) for key in next(stream)[1].ids]


def test_shares_are_one_over_classes_times_utterances():
    assert balanced_shares([4, 4, 4, 9]).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    source = Wholes(type("Twelve", (), {"ids": list("abcd"), "lengths": np.array([1, 1, 1, 6])})(), np.int64, range(4))
    loader = Loader(source, LoaderConfig(batch_frames=6), shares=np.array([0, 0, 0, 1.0]))
    assert [batch.tolist() for batch in loader.epoch(0)] == [[3]] * 4  # and budgets are of what was drawn


def test_training_crops_long_utterances_and_scores_whole_ones(labelled):
    setting = labelled.setting("emotion", "mood", data={"max_frames": 9, "batch_frames": 90})
    experiment = Experiment(setting, labelled.folder("none"))
    stream = experiment._loader("train", training=True).stream()
    batches = [next(stream)[1] for _ in range(8)]
    assert max(int(batch.lengths.max()) for batch in batches) == 9
    store = Store(f"{labelled.small.root}/store/all")
    rows = dict(zip(store.ids, range(len(store))))
    starts = set()
    for batch in batches:
        for key, frames, length in zip(batch.ids, batch.features.numpy(), batch.lengths.tolist()):
            whole = store[rows[key]]
            places = [
                s for s in range(len(whole) - length + 1) if np.array_equal(whole[s : s + length], frames[:length])
            ]
            assert places
            starts.add(places[0])
    assert len(starts) > 5
    assert type(experiment._loader("dev").source) is Means


@pytest.fixture(scope="module")
def guesses() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted classes of 60 utterances, one class only guessed, one never; and how often each counts."""
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    predicted = np.where(rng.random(60) < 0.5, true, predicted)
    predicted[predicted == 1] = 4
    return true, predicted, rng.integers(0, 4, (5, 60))


def classes_of(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    kinds = sorted(set(true) | set(predicted))
    return {
        "accuracy": 100 * oracle.accuracy_score(true, predicted),
        "macro_f1": 100 * oracle.f1_score(true, predicted, labels=kinds, average="macro", zero_division=0),
        "weighted_f1": 100 * oracle.f1_score(true, predicted, average="weighted", zero_division=0),
        "uar": 100 * oracle.recall_score(true, predicted, labels=sorted(set(true)), average="macro", zero_division=0),
    }


def test_metrics_of_classes_are_sklearns_over_the_whole_part(guesses):
    true, predicted, times = guesses
    confusions = torch.zeros(6, 6, dtype=torch.int64)
    for pair in zip(true, predicted):
        confusions[pair] += 1
    figures = ClassScore(torch.tensor(0.0), confusions).figures()
    expected = classes_of(true, predicted)
    assert expected.keys() == CLASS_METRICS.keys()
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    halves = [
        ClassScore(torch.tensor(0.0), part).figures()["macro_f1"]
        for part in (confusions // 2, confusions - confusions // 2)
    ]
    assert figures["macro_f1"] != pytest.approx(np.mean(halves))  # what a mean over batches would give
    names = [[(str(a), str(b))] for a, b in zip(true, predicted)]
    for key in CLASS_METRICS:
        found = Confused.of(zip(map(str, range(60)), names, strict=True), key).values(times)
        repeated = [classes_of(np.repeat(true, t), np.repeat(predicted, t))[key] for t in times]
        assert found.tolist() == pytest.approx(repeated)


def numbers_of(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return {
        "mae": oracle.mean_absolute_error(true, predicted),
        "mse": oracle.mean_squared_error(true, predicted),
        "pearson": stats.pearsonr(true, predicted).statistic,
        "spearman": stats.spearmanr(true, predicted).statistic,
    }


def test_metrics_of_numbers_are_scipys_over_the_whole_part():
    rng = np.random.default_rng(0)
    true = rng.integers(-6, 7, 50) / 2  # with ties
    predicted = np.round(true * 0.4 + rng.normal(size=50), 1)
    score = NumberScore(3.0, (true[:20],), (predicted[:20],), True) + NumberScore(
        2.0, (true[20:],), (predicted[20:],), True
    )
    figures = score.figures()
    expected = numbers_of(true, predicted)
    assert expected.keys() == NUMBER_METRICS.keys()
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["loss"] == pytest.approx(5 / 50)
    times = rng.integers(0, 4, (6, 50))
    for key in NUMBER_METRICS:
        found = NumberOutcomes([""] * 50, true, predicted, key).values(times)
        repeated = [numbers_of(np.repeat(true, t), np.repeat(predicted, t))[key] for t in times]
        assert found.tolist() == pytest.approx(repeated)
    sevens = [number_class("seven", a) == number_class("seven", b) for a, b in zip(true, predicted)]
    assert figures["acc7"] == pytest.approx(100 * np.mean(sevens))
    assert figures["acc2"] == pytest.approx(100 * np.mean([(a >= 0) == (b >= 0) for a, b in zip(true, predicted)]))
    apart = [(a > 0) == (b > 0) for a, b in zip(true, predicted) if a]
    assert 0 < len(apart) < 50
    assert figures["acc2_nonzero"] == pytest.approx(100 * np.mean(apart))


def test_undefined_correlations_are_chosen_between_by_their_loss():
    metric, constant = NUMBER_METRICS["pearson"], np.full(7, 0.1)
    flat, steep = (NumberScore(loss, (np.arange(7.0),), (constant,)).figures() for loss in (1.0, 2.0))
    assert math.isnan(flat["pearson"])
    assert math.isnan(flat["spearman"])
    assert selection_error(metric, flat) < selection_error(metric, steep)
    worst = NumberScore(9.0, (np.arange(7.0),), (-np.arange(7.0),)).figures()
    assert selection_error(metric, worst) < selection_error(metric, flat)  # a value is better than none
    twice = np.array([[2, 0, 0], [1, 1, 0]])
    found = NumberOutcomes(["a"] * 3, np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.1, 0.2]), "pearson").values(twice)
    assert np.isnan(found).tolist() == [True, False]


def outcome(setting: Setting, folder: Path, part: str) -> float:
    found = setting.task.outcomes(read_predictions(folder / f"predictions_{part}.tsv"))
    assert list(found.ids) == sorted(found.ids)
    return float(found.values(np.ones((1, len(found.ids))))[0])


FAST = {"optimizer": {"lr": 0.05}, "trainer": {"steps": 60, "eval_every": 20}}
SLOWER = {"optimizer": {"lr": 0.005}, "trainer": {"steps": 60, "eval_every": 20}}


def test_a_number_is_learnt_and_its_predictions_say_all(labelled):
    setting = labelled.setting("sentiment", "level", data={"label_mode": "regression"}, **FAST)
    folder = labelled.folder("number")
    found = run_single(setting, folder)
    assert found["metric"] == {"name": "mean absolute error", "unit": "", "better": "lower"}
    rows = list(read_predictions(folder / "predictions_test.tsv"))
    true, predicted = (np.array([float(row[name]) for row in rows]) for name in ("true", "predicted"))
    assert found["figures"]["test"] == pytest.approx(
        {**found["figures"]["test"], **numbers_of(true, predicted)}, rel=1e-9
    )
    assert set(found["figures"]["test"]) == {"loss", *NUMBER_METRICS, "acc2", "acc2_nonzero", "acc7"}
    train = [float(line.split(",")[2]) for line in labelled.table.read_text().splitlines()[1:]]
    assert found["value"] < 0.5 * np.mean(np.abs(true - np.mean(train)))
    assert found["label_deviation"] == pytest.approx(np.std(train), rel=0.5)
    for part, value in (("dev", found["dev_value"]), ("test", found["value"])):
        assert outcome(setting, folder, part) == value
    scores = setting.task.figures(NumberScore(0.0, (true,), (predicted,)), None, "level")
    assert f"r = {numbers_of(true, predicted)['pearson']:.2f}" in scores["scatter"].axes[0].get_title()


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["spearman", "pearson", "mse"])
def test_quality_is_bounded_and_dev_chooses_by_the_metric(labelled, metric):
    probe = {"bounds": [-3, 3], "pool": "attention", "metric": metric, "loss": "mae"}
    setting = labelled.setting(
        "mos", "level", OWN, probe=probe, data={"max_frames": 20}, upstream={"fine_tune": True}, **SLOWER
    )
    folder = labelled.folder(metric)
    found = run_single(setting, folder)
    assert found["value"] == found["figures"]["test"][metric] == outcome(setting, folder, "test")
    assert found["metric"]["name"] == NUMBER_METRICS[metric].name
    rows = [float(row["predicted"]) for row in read_predictions(folder / "predictions_test.tsv")]
    assert -3 < min(rows) < max(rows) < 3
    assert found["figures"]["test"]["pearson"] > 0.6


def test_labels_are_standardised_by_train_and_the_loss_is_in_their_deviations(labelled):
    setting = labelled.setting("mos", "level", probe={"bounds": [-3, 5]})
    experiment = Experiment(setting, labelled.folder("none"))
    labels = experiment.corpus.labels
    train = labels.numbers[experiment.corpus.parts.train]
    assert (labels.mean, labels.deviation) == (train.mean(), train.std())
    output, target = torch.tensor([[0.3], [-0.2]]), torch.tensor([1.0, 2.5], dtype=torch.float64)
    batch = type("Batch", (), {"target": target})()
    plain = replace(setting.task, bounds=())
    expected = (output[:, 0].double() - (target - labels.mean) / labels.deviation).square().mean()
    assert plain.loss(output, batch, labels)["loss"] == pytest.approx(float(expected), rel=1e-6)
    assert labelled.setting("mos", "level", probe={"loss": "mae"}).task.lowers == "mae"
    absolute = (output[:, 0].double() - (target - labels.mean) / labels.deviation).abs().mean()
    assert replace(plain, lowers="mae").loss(output, batch, labels)["loss"] == pytest.approx(float(absolute), rel=1e-6)
    squeezed = (1 + 4 * output[:, 0].double().tanh() - target) / labels.deviation
    assert setting.task.loss(output, batch, labels)["loss"] == pytest.approx(float(squeezed.square().mean()), rel=1e-6)


@pytest.mark.slow
def test_a_constant_test_part_has_no_correlation_and_stops_no_run(labelled, capsys):
    setting = labelled.setting("mos", "same", data={"split_column": "part"}, trainer={"steps": 4, "eval_every": 2})
    folder = labelled.folder("constant")
    found = run_single(setting, folder)
    assert found["value"] is None
    assert found["figures"]["test"]["mae"] > 0
    assert "NaN" not in (folder / "result.json").read_text() + (folder / "metrics.jsonl").read_text()
    assert run_single(setting, folder)["value"] is None
    summary = run_many(setting, [Choice("", setting.config)], [1, 2], labelled.folder("constants"))
    assert summary["test_mean"] is None
    words = ["--run", "mos", "--upstream", "baseline", f"data.labels={labelled.table}", "data.label_column=same"]
    words += ["data.split_column=part", "trainer.steps=4", "--name", "undefined"]
    assert run_downstream.main([*labelled.small.words(*words)]) == 0
    assert "test undefined" in capsys.readouterr().out


def test_several_columns_are_right_together_and_each_is_reported(labelled):
    setting = labelled.setting("intent", ["act", "on", "mood"], data={"balance": True}, **FAST)
    folder = labelled.folder("columns")
    found = run_single(setting, folder)
    assert found["classes"] == {"act": 2, "on": 3, "mood": 2}
    assert found["metric"]["name"] == "utterance accuracy"
    rows = list(read_predictions(folder / "predictions_test.tsv"))
    right = {name: [row[f"true_{name}"] == row[f"predicted_{name}"] for row in rows] for name in ("act", "on", "mood")}
    for name, hits in right.items():
        assert found["figures"]["test"][f"accuracy_{name}"] == pytest.approx(100 * np.mean(hits))
    assert found["value"] == pytest.approx(100 * np.mean([all(hits) for hits in zip(*right.values())]))
    assert found["value"] == outcome(setting, folder, "test") < found["figures"]["test"]["accuracy_mood"]
    assert {row["true_on"] for row in rows} <= {"b 0", "b 1", "b 2"}
    table = {line.split(",")[0]: line.split(",") for line in labelled.table.read_text().splitlines()}
    assert all((row["true_mood"], row["true_act"]) == (table[row["id"]][1], table[row["id"]][3]) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["uar", "macro_f1"])
def test_dev_chooses_by_another_metric_of_classes(labelled, metric):
    setting = labelled.setting("emotion", "mood", probe={"metric": metric, "pool": "statistics"}, **FAST)
    folder = labelled.folder(metric)
    found = run_single(setting, folder)
    assert found["value"] == found["figures"]["test"][metric] == outcome(setting, folder, "test")
    assert found["selection_error"] == pytest.approx(100 - found["figures"]["dev"][metric], abs=1e-4)
    assert found["value"] != found["figures"]["test"]["accuracy"]
    table = dict(line.split(",")[:2] for line in labelled.table.read_text().splitlines())
    other = {row["id"] for part in ("dev", "test") for row in read_predictions(folder / f"predictions_{part}.tsv")}
    train = [mood for key, mood in table.items() if key not in other | {"id"}]
    assert found["train_majority"] == pytest.approx(100 * train.count("sad") / len(train))


@pytest.mark.parametrize("tuned", [False, True])
def test_killed_and_resumed_the_same_bits_with_draws_and_crops(labelled, tuned, monkeypatch):
    more = {"upstream": {"fine_tune": True}} if tuned else {}
    probe = {"head": "gru", "dropout": 0.5} if tuned else {"pool": "attention", "dropout": 0.2}
    data = {"balance": True, "max_frames": 12, "batch_frames": 200, "fine_tune_frames": 200}
    short = {"steps": 12, "eval_every": 4, "save_every": 4}
    setting = labelled.setting("keyword_spotting", "mood", OWN, probe=probe, data=data, trainer=short, **more)
    straight, broken = (labelled.folder(f"{name}_{tuned}") for name in ("straight", "broken"))
    Experiment(setting, straight).train()
    step, calls = Probe.step, []

    def dying(self, batch, generator):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return step(self, batch, generator)

    monkeypatch.setattr(Probe, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        Experiment(setting, broken).train()
    Experiment(setting, broken).train()
    models = [torch.load(folder / "probe-12.ckpt", weights_only=True)["model"] for folder in (straight, broken)]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())


def test_speakers_may_have_any_name(tmp_path):  # R48
    """S3PRL's SID read a number from names as id10001."""
    names = ["id10001", "Ünal", "007", "no"]
    frames = {f"{name}-{i}": np.full((4, 2), k, np.float32) for k, name in enumerate(names) for i in range(3)}
    write_store(tmp_path / "store", "all", frames)
    setting = Small(tmp_path).setting("speaker_utterance", probe={"projector": 5, "pool": "statistics"})
    found = run_single(setting, tmp_path / "run")
    assert sorted(row["true"] for row in read_predictions(tmp_path / "run/predictions_test.tsv")) == sorted(names)
    assert found["classes"] == 4


def test_a_rate_at_an_end_of_the_sweep_is_warned_of(labelled, capsys):
    setting = labelled.setting("emotion", "mood", trainer={"steps": 4, "eval_every": 4})
    rates = (1e-6, 1e-5, 0.3)
    choices = [
        Choice(f"lr={rate:g}", replace(setting.config, optimizer=replace(setting.config.optimizer, lr=rate)))
        for rate in rates
    ]
    assert rate_warning(choices, ["lr=1e-05"] * 2) is None
    assert rate_warning(choices[:1], ["lr=1e-06"]) is None
    both = rate_warning(choices, ["lr=1e-06", "lr=0.3", "lr=0.3"])
    assert "lowest rate of the sweep, optimizer.lr=1e-06, for 1 of 3 seeds: lower ones" in both
    assert "highest rate of the sweep, optimizer.lr=0.3, for 2 of 3 seeds: higher ones" in both
    summary = run_many(setting, choices, [1], labelled.folder("sweep"))
    chosen = summary["seeds"][0]["chosen"]
    warned = [line for line in capsys.readouterr().err.splitlines() if "rate of the sweep" in line]
    assert len(warned) == (chosen != "lr=1e-05") == (summary["warning"] is not None)


@pytest.mark.parametrize("alias", ALIASES)
def test_each_name_of_superb_and_s3prl_is_a_task(alias):
    if ALIASES[alias] not in TASKS:
        pytest.skip(f"{ALIASES[alias]} is not there yet")
    assert find_task(ALIASES[alias]).name == ALIASES[alias]
    assert f"--run {ALIASES[alias]} " in f"{in_our_words(['-m', 'train', '-u', 'fbank', '-d', alias])} "


def test_a_name_of_superb_is_said_in_one_line_and_results_carry_ours(labelled, capsys):
    words = [f"data.labels={labelled.table}", "data.label_column=mood", "trainer.steps=4", "--run", "ks", "--name", "x"]
    words = [
        "--upstream",
        "baseline",
        *(word for word in labelled.small.words(*words) if word != "--no-msg"),
        "--dry_run",
    ]
    assert run_downstream.main(words) == 0
    out = capsys.readouterr().out
    assert out.count("task: ks is keyword_spotting here\n") == 1
    assert "result_baseline_keyword_spotting/x" in out


def test_sentiment_of_the_originals_runner_is_trained_and_scored_again(labelled, capsys):
    root = labelled.small.root
    data = [f"data.train=[{root}/store/all]", f"data.cache={root}/cache", f"data.labels={labelled.table}", "--cpu"]
    data += ["data.label_column=level", "data.label_mode=three", "--no-msg"]
    train = [
        "--expdir",
        str(root / "classic"),
        "--logdir",
        str(root / "log"),
        "--name",
        "s",
        "trainer.steps=10",
        "probe.head=gru",
        "probe.dropout=0.5",
    ]
    assert not runner_mockingjay.main(["--train_sentiment", *data, *train])
    found = json.loads((root / "classic/result_baseline_sentiment/s/result.json").read_text())
    assert set(CLASS_METRICS) < set(found["figures"]["test"])
    probe = str(root / "classic/result_baseline_sentiment/s/best.ckpt")
    capsys.readouterr()
    assert not runner_mockingjay.main(["--test_sentiment", "--dckpt", probe, *data])
    assert f"test {found['value']:.2f} % of {found['scored']['test']}" in capsys.readouterr().out


def test_presets_project_to_256_and_utterance_is_linear():
    labels = SimpleNamespace(classes=range(4))
    found = {}
    for name in ("utterance", "speaker_utterance", "keyword_spotting", "intent", "emotion", "sentiment", "mos"):
        head = find_task(name).head(WIDTH, labels, ProbeConfig(), torch.Generator().manual_seed(0))
        found[name] = [tuple(value.shape) for key, value in head.state_dict().items() if key.endswith("weight")]
    linear, projected = [(4, WIDTH)], [(256, WIDTH), (4, 256)]
    assert found.pop("mos") == [(256, WIDTH), (1, 256)]
    assert found.pop("utterance") == found.pop("speaker_utterance") == linear
    assert set(map(tuple, found.values())) == {tuple(projected)}
    assert [find_task(name).metric.key for name in ("mos", "emotion")] == ["spearman", "accuracy"]


def test_recurrent_head_is_that_of_the_legacy_classifier():
    head = head_of(head="gru", dropout=0.5)
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items() if "weight" in name}
    assert shapes == {
        "gather.gru.weight_ih_l0": (96, WIDTH),
        "gather.gru.weight_hh_l0": (96, 32),
        "gather.linear.weight": (32, 32),
        "linears.0.weight": (4, 32),
    }
    assert (head.gather.skip, head_of(**HEADS["gru"]).gather.skip) == (5, 3)
    assert head_of(head="gru", hidden_layers=2).linears[0].weight.shape == (32, 32)
    states, lengths = padded(0.0)
    head.train()
    assert torch.equal(head.gather(states, lengths), head.gather(states, lengths))  # dropout is behind the ReLU alone


def test_seven_rounds_and_only_seven_trunc_cuts_toward_zero():  # R46
    """The legacy mode original said rounded, and cut."""
    values = [-2.7, -0.6, 0.5, 1.2, 2.9]
    assert [number_class("seven", value) for value in values] == ["-3", "-1", "1", "1", "3"]
    assert [number_class("seven_trunc", value) for value in values] == ["-2", "0", "0", "1", "2"]


def test_several_columns_are_renamed_and_counted(labelled):
    lines = labelled.table.read_text().splitlines()
    holes = [line.replace(",a1", ",a1" if index % 5 else ",") for index, line in enumerate(lines)]
    table = labelled.table.with_name("holes.csv")
    table.write_text("\n".join(holes))
    data = {"labels": str(table), "unaligned": "leave_out", "label_map": {"a0": "x", "b 1": "b 2"}}
    data |= {"split": "utterance"}
    made = Experiment(labelled.setting("intent", ["act", "on"], data=data), labelled.folder("none")).corpus
    assert {name: own.classes for name, own in made.labels.columns.items()} == {
        "act": ["a1", "x"],
        "on": ["b 0", "b 2"],
    }
    lacking = sum(not line.split(",")[3] for line in holes[1:])
    assert made.parts.left_out == {"without a label": lacking}
    assert lacking > 1
