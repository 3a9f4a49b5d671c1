"""Intervals of scores from files of predictions: over whom, how wide, how often they hold the truth; comparisons."""

import json
import shutil
import statistics
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import run_downstream
from downstream.comparison import compare_runs
from downstream.fold_runs import run_folds
from downstream.intervals import Predicted, difference, lacking, mean_of, sureness
from downstream.metrics.classes import ClassScore
from downstream.metrics.controls import blind_guesses
from downstream.outcomes import Summed, percentage
from downstream.report import _warning, describe_result
from downstream.setting import Setting
from downstream.sweep import Choice, run_many, run_single
from tests.contract.test_tasks import NumberOfUtterance
from tests.helpers.downstream_corpus import SPEAKERS, Small
from tests.helpers.interval_coverage import DIFFERENCE, WORLDS, World, coverage, table
from tests.helpers.interval_coverage import SPEAKERS as SIMULATED
from utility.intervals import resampled_counts, widened_percentiles
from utility.predictions import SPEAKER, PredictionFile, predictions_of, read_predictions
from utility.results import read_result
from utility.runs import Metric
from utility.seeds import numpy_generator


def predicted(hits, speakers) -> Predicted:
    """Right or wrong utterances, and who speaks them."""
    ids = [f"u{number}" for number in range(len(hits))]
    sums = np.stack([np.asarray(hits, float), np.ones(len(hits))], 1)
    return Predicted(Summed(ids, sums, percentage), list(speakers), dict.fromkeys(ids, 0))


# Which rule


@pytest.mark.slow
@pytest.mark.parametrize("speakers", SIMULATED)
def test_intervals_of_speakers_of_unequal_sizes_hold_the_truth(speakers):
    assert 90 <= coverage(WORLDS["unequal sizes"], speakers, 200) <= 98


def test_table_of_coverage_has_a_row_for_every_world():
    lines = table(1)
    assert len(lines) == 2 + len(WORLDS) + 1
    page = (Path(__file__).parents[2] / "docs/tasks.md").read_text(encoding="utf-8")
    shown = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert [name for name in (*WORLDS, DIFFERENCE) if name not in shown] == []


def test_few_speakers_of_one_size_have_the_t_interval_of_their_mean():
    generator = np.random.default_rng(0)
    hits = generator.random(5 * 30) < np.repeat([0.5, 0.6, 0.7, 0.8, 0.9], 30)
    sure = sureness(predicted(hits, np.repeat(list("abcde"), 30)))
    scores = 100 * hits.reshape(5, 30).mean(1)
    expected = stats.t.interval(0.95, 4, scores.mean(), stats.sem(scores))
    assert (sure.interval.low, sure.interval.high) == pytest.approx(expected)
    assert sure.in_words == "95 % interval: jackknife over 5 speakers, t with 4.0 degrees of freedom"


def test_interval_is_around_the_score_itself_and_unequal_speakers_count_as_fewer():
    hits = np.arange(60) % 3 > 0  # 40 utterances of a, 20 of the others: (60 ** 2) / (40 ** 2 + 4 * 5 ** 2) = 2.1
    hits[:40] = np.arange(40) % 2
    whole = predicted(hits, ["a"] * 40 + list("bcde") * 5)
    interval = sureness(whole).interval
    assert (interval.low + interval.high) / 2 == pytest.approx(whole.value) == pytest.approx(100 * hits.mean())
    assert "t with 1.1 degrees" in interval.method
    by_speaker = [100 * hits[:40].mean(), *(100 * hits[40 + k :: 4].mean() for k in range(4))]
    assert abs(np.mean(by_speaker) - whole.value) > 5  # the mean over speakers is another figure


def test_many_speakers_are_resampled_as_wide_as_t():
    generator = np.random.default_rng(0)
    hits = generator.random(24 * 20) < np.repeat(generator.uniform(0.5, 0.9, 24), 20)
    interval = sureness(predicted(hits, np.repeat(np.arange(24), 20).astype(str))).interval
    assert interval.method.startswith("bootstrap over 24 speakers, 1000 resamples, percentiles widened by t with 23.0")
    sorted_by_name = sorted(range(24), key=str)
    scores = 100 * hits.reshape(24, 20).mean(1)[sorted_by_name]
    scores = resampled_counts(24, 1000, numpy_generator(0)) @ scores / 24
    tail = stats.norm.cdf(-np.sqrt(24 / 23) * stats.t.ppf(0.975, 23))  # 0.017, not 0.025
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(scores, [tail, 1 - tail])))
    assert (interval.groups, interval.level) == (24, 0.95)


def test_percentiles_are_widened_to_t():
    generator = np.random.default_rng(0)
    values = generator.normal(0, np.sqrt(4 / 5), 200_000)  # what resampling 5 makes of a deviation of 1
    interval = widened_percentiles(values, 5, 4.0)
    assert interval.high == pytest.approx(stats.t.ppf(0.975, 4), rel=0.03)


def test_speakers_that_are_few_or_unknown_leave_the_utterances():
    hits = [1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0]
    for speakers in (list("aabbccaabbcc"), [*"abcdefabcde", ""]):
        assert "jackknife over 12 utterances" in sureness(predicted(hits, speakers)).in_words
    assert "jackknife over 4 speakers" in sureness(predicted(hits, "abcdabcdabcd")).in_words
    assert "bootstrap over 48 utterances" in sureness(predicted(hits * 4, "a" * 48)).in_words


def test_what_says_nothing_has_no_interval_but_the_reason():
    assert sureness(predicted([1], "a")).in_words == "no interval: 1 utterance in the part"
    for hits, speakers in (([1] * 12, "abcdabcdabcd"), ([1] * 30, "a" * 30)):
        sure = sureness(predicted(hits, speakers))
        assert sure.interval is None
        assert "so that resampling says nothing" in sure.about()["no_interval"]
    valueless = Predicted(Summed(["u", "v"], np.eye(2), lambda sums: sums[:, 0] / 0 * np.nan), ["", ""], {})
    with np.errstate(invalid="ignore", divide="ignore"):
        assert sureness(valueless).reason == "the metric has no value on parts of these 2 utterances"


@dataclass(frozen=True)
class Pairs:
    """Outcomes of speakers, as of trials: the rows have no speaker of their own."""

    ids: list[str]

    @property
    def speakers(self):
        return self.ids

    def values(self, times):
        return 100 * (times * np.arange(len(self.ids))).sum(1) / times.sum(1)


@pytest.mark.slow
def test_outcomes_of_speakers_are_never_taken_for_utterances(finished):
    class Trials(NumberOfUtterance):
        def outcomes(self, rows):
            return Pairs(sorted({row["id"].split("-")[0] for row in rows}))

    files = [predictions_of(finished["folds"] / f"fold_s{speaker}", "test") for speaker in range(SPEAKERS)]
    for count, words in ((6, "jackknife over 6 speakers"), (3, "no interval: 3 speakers, of whom 4 or more")):
        run = Predicted.read(Trials(), files[:count])
        assert words in sureness(run).in_words
        assert sureness(mean_of([run, run])).interval == sureness(run).interval


def test_resamples_without_a_value_are_left_out():
    """A correlation, or a recall of a rare class, is not there in every resample."""

    def statistic(sums):
        return np.where(sums[:, 0] > 20, np.nan, sums[:, 0])

    sure = sureness(Predicted(Summed([*"abcdefghijklmnopqrst"], np.ones((20, 1)), statistic), [""] * 20, {}))
    assert sure.interval is None
    mixed = Summed(
        [*"abcdefghijklmnopqrst"], np.arange(20.0)[:, None], lambda s: np.where(s[:, 0] > 200, np.nan, s[:, 0])
    )
    interval = sureness(Predicted(mixed, [""] * 20, {})).interval
    assert interval.high <= 200
    assert 500 < int(interval.method.split(", ")[1].split()[0]) < 1000


def test_intervals_stay_where_the_metric_has_values():
    hits = [1] * 19 + [0]
    sure = sureness(predicted(hits, list("abcd") * 5), Metric("accuracy", "accuracy", "%", "higher", 100.0).limits)
    assert sure.interval.high == 100
    assert sureness(predicted(hits, list("abcd") * 5)).interval.high > 100
    assert Metric("wer", "word error rate", "%", "lower").limits == (0, np.inf)
    assert Metric("pearson", "correlation", "", "higher", 1.0).limits == (-np.inf, 1)


def test_interval_of_5000_utterances_takes_little_memory():
    generator = np.random.default_rng(0)
    large = predicted(generator.random(5000) < 0.7, [""] * 5000)
    tracemalloc.start()
    interval = sureness(large).interval
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.21 / 5000), rel=0.1)


# Several runs


def test_seeds_are_averaged_by_utterance_whatever_their_order():
    generator = np.random.default_rng(0)
    ids = [f"u{number}" for number in range(40)]
    runs = []
    for _ in range(3):
        order = generator.permutation(40)
        sums = np.stack([generator.integers(0, 5, 40), np.full(40, 5)], 1).astype(float)
        runs.append(
            Predicted(
                Summed([ids[i] for i in order], sums, percentage), [f"s{i % 8}" for i in order], dict.fromkeys(ids, 0)
            )
        )
    mean = mean_of(runs)
    assert mean.value == pytest.approx(np.mean([run.value for run in runs]))
    assert list(mean.speakers) == list(runs[0].speakers)
    without = [key for key in ids if int(key[1:]) % 8]  # without the first speaker
    times = np.array([[float(key in without) for key in mean.outcomes.ids]])
    scores = [run.outcomes.values(np.array([[float(key in without) for key in run.outcomes.ids]]))[0] for run in runs]
    assert mean.outcomes.values(times)[0] == pytest.approx(np.mean(scores))
    assert difference(runs[0], runs[1]).value == pytest.approx(runs[0].value - runs[1].value)
    assert lacking(runs[0], runs[1]) is None
    assert lacking(runs[0], replace(runs[1], answers={"v": 1, **runs[1].answers})) == "v"


def test_a_difference_is_surer_than_two_scores():
    world = World()
    one, other = world.predicted(30, np.random.default_rng(0))
    sums = other.outcomes.sums.copy()
    wrong = np.flatnonzero(one.outcomes.sums[:, 0] == 0)
    sums[:, 0] = one.outcomes.sums[:, 0]
    sums[wrong[::7], 0] = 1  # right on some more
    better = replace(other, outcomes=replace(other.outcomes, sums=sums))
    apart = [sureness(run).interval for run in (one, better)]
    assert apart[1].low < apart[0].high
    assert not sureness(difference(better, one)).interval.covers(0)
    turned = sureness(difference(one, better)).interval
    assert turned.high == pytest.approx(-sureness(difference(better, one)).interval.low)
    assert sureness(difference(one, one)).interval is None


# Files and runs


@pytest.fixture(scope="module")
def finished(small: Small) -> dict[str, Path]:
    """Runs of one task: two rates, two seeds, folds."""
    folders = {name: small.root / "compared" / name for name in ("slow", "fast", "seeds", "folds")}
    plain = quick(small, lr=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("downstream.report.save_figure", lambda *_: None)
        run_single(quick(small, lr=1e-5), folders["slow"])
        run_single(plain, folders["fast"])
        run_many(plain, [Choice("", plain.config)], [1, 2], folders["seeds"])
        run_folds(
            replace(quick(small, lr=0.05), task=NumberOfUtterance()), [Choice("", plain.config)], [1], folders["folds"]
        )
    return folders


def quick(small: Small, lr: float) -> Setting:
    trainer = {"steps": 10, "eval_every": 10, "save_every": 10}
    return small.setting("speaker_utterance", trainer=trainer, optimizer={"lr": lr})


@pytest.mark.slow
def test_result_says_its_intervals_its_controls_and_how_they_were_made(finished):
    folder = finished["fast"]
    result = read_result(folder / "result.json")
    for part, name in (("dev", "dev_interval"), ("test", "interval")):
        rows = list(read_predictions(predictions_of(folder, part)))
        assert [row[SPEAKER] for row in rows] == [row["id"].split("-")[0] for row in rows]
        hits = np.array([row["true"] == row["predicted"] for row in rows], float)
        expected = sureness(predicted(hits, [row[SPEAKER] for row in rows]), (0, 100)).about()
        assert (result[name], result[f"no_{name}"]) == (expected["interval"], None)
        assert result[name]["groups"] == SPEAKERS
    counts = [sum(row["true"] == name for row in rows) for name in sorted({row["true"] for row in rows})]
    assert result["controls"]["chance"]["value"] == pytest.approx(100 / SPEAKERS)
    assert result["controls"]["majority"]["value"] == pytest.approx(100 * max(counts) / len(rows))
    assert result["no_controls"] is None
    low, high = (f"{result['interval'][end]:.2f}" for end in ("low", "high"))
    shown = describe_result(result, folder).splitlines()
    assert f"test {result['value']:.2f} % [{low}, {high}]" in shown[0]
    assert shown[1] == f"95 % interval: {result['interval']['method']}"


def test_score_that_one_answer_reaches_is_said_to_be_none():
    metric, controls = (
        Metric("accuracy", "accuracy", "%", "higher", 100.0),
        {"majority": {"value": 50.0, "answer": "sil"}},
    )
    for value in (49.0, 50.0):
        line = _warning(metric, value, controls)
        assert line == "warning: the test score is no better than 50.00 % of one answer for everything (always sil)"
    assert _warning(metric, 50.5, controls) is None
    assert _warning(Metric("mae", "error", "", "lower"), 0.4, {"majority": {"value": 0.5, "answer": None}}) is None
    assert _warning(metric, 0.0, None) is None


def test_blind_guesses_by_hand():
    score = ClassScore(torch.tensor(1.0), torch.tensor([[1, 2, 0], [0, 1, 0], [1, 1, 0]]))
    controls = blind_guesses(score, ["a", "b", "c"], "accuracy")
    assert {name: (control.value, control.answer) for name, control in controls.items()} == {
        "chance": (pytest.approx(100 / 3), None),
        "majority": (50.0, "a"),
    }


@pytest.mark.slow
def test_seeds_have_the_interval_of_their_mean(finished):
    summary = json.loads((finished["seeds"] / "summary.json").read_text())
    assert summary["interval_of"] == "test_mean"
    rows = [list(read_predictions(predictions_of(finished["seeds"] / f"seed_{seed}", "test"))) for seed in (1, 2)]
    hits = np.mean([[row["true"] == row["predicted"] for row in of_seed] for of_seed in rows], axis=0)
    expected = sureness(predicted(hits, [row[SPEAKER] for row in rows[0]]), (0, 100)).about()
    assert summary["interval"] == pytest.approx(expected["interval"])
    assert summary["seeds"][0]["test_interval"] == read_result(finished["seeds"] / "seed_1/result.json")["interval"]


@pytest.mark.slow
def test_folds_are_pooled_for_every_metric(finished):
    summary = json.loads((finished["folds"] / "summary.json").read_text())
    files = [predictions_of(finished["folds"] / f"fold_s{speaker}", "test") for speaker in range(SPEAKERS)]
    rows = [row for file in files for row in read_predictions(file)]
    errors = [float(row["error"]) for row in rows]
    assert summary["pooled"] == pytest.approx(statistics.fmean(errors))
    assert summary["interval_of"] == "pooled"
    assert summary["interval"]["method"].startswith("jackknife over 6 speakers, t with 5.0 degrees")
    assert summary["folds"][0]["test_interval"]["method"].startswith("jackknife over 5 utterances")


def compared(capsys, *paths) -> list[str]:
    assert run_downstream.main(["--compare", *map(str, paths)]) == 0
    return capsys.readouterr().out.splitlines()


def test_comparison_of_two_runs(finished, capsys):
    lines = compared(capsys, finished["slow"], finished["fast"])
    scores = [read_result(finished[name] / "result.json")["value"] for name in ("slow", "fast")]
    hits = []
    for name in ("slow", "fast"):
        rows = list(read_predictions(predictions_of(finished[name], "test")))
        hits.append(np.array([row["true"] == row["predicted"] for row in rows], float))
    minus = difference(*(predicted(own, [row[SPEAKER] for row in rows]) for own in hits[::-1]))
    interval = sureness(minus).interval
    assert lines[0] == "speaker_utterance: utterance accuracy (%) of 6 test predictions of 6 speakers; higher is better"
    verdict = "not clear" if interval.covers(0) else "better"
    said = f"{scores[1] - scores[0]:+.2f} [{interval.low:.2f}, {interval.high:.2f}] {verdict}"
    assert said in lines[3]
    assert lines[2].startswith(f"{scores[0]:.2f} [")
    assert lines[5] == f"differences: 95 % interval: {interval.method}"
    assert "  config.optimizer.lr 1e-05 -> 0.05" in lines
    assert not [line for line in lines if "seed" in line or "steps" in line]


def test_comparison_takes_seeds_files_and_folders_that_were_moved(finished, tmp_path, capsys):
    moved = tmp_path / "elsewhere"
    shutil.copytree(finished["seeds"], moved)
    shutil.move(finished["seeds"], finished["seeds"].with_name("gone"))
    try:
        lines = compared(capsys, finished["fast"] / "result.json", moved, finished["slow"] / "predictions_test.tsv")
    finally:
        shutil.move(finished["seeds"].with_name("gone"), finished["seeds"])
    mean = json.loads((moved / "summary.json").read_text())["test_mean"]
    assert lines[3].startswith(f"{mean:.2f}")
    assert "  seeds 1 -> 2" in lines
    assert [line.split()[-1] for line in lines[2:5]] == [
        str(finished["fast"] / "result.json"),
        str(moved),
        str(finished["slow"] / "predictions_test.tsv"),
    ]


def test_comparison_warns_where_the_answers_are_others(finished, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(finished["fast"], other)
    file = predictions_of(other, "test")
    rows = list(read_predictions(file))
    with PredictionFile(file, ["true", "predicted"], {row["id"]: row[SPEAKER] for row in rows}) as written:
        written.write(
            [row["id"] for row in rows],
            [("x" if n == 2 else row["true"], row["predicted"]) for n, row in enumerate(rows)],
        )
    lines = compared(capsys, finished["fast"], other)
    assert lines[-1].startswith(f"warning: the true answers of 1 of {len(rows)} differ, of {rows[2]['id']} for one")


def test_predictions_of_earlier_versions_are_compared_over_utterances(finished, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished["fast"], other)
    file = predictions_of(other, "test")
    file.write_text("".join(line.rpartition("\t")[0] + "\n" for line in file.read_text().splitlines()))
    _, first, (one, beside) = compare_runs([other, finished["slow"]])
    assert "utterances" in one.sure.in_words
    assert set(first.speakers) == {""}
    assert "speakers" in beside.difference.in_words  # the other run knows them
