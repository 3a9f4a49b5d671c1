"""Codes beside phones: exact scores, their floor and intervals, and a run that needs no upstream."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

import run_analysis
from analysis.config import AnalysisConfig
from analysis.experiments_units import GROUPS, Units
from analysis.information import table_information
from tests.helpers.downstream_corpus import SHIFT, write_codes
from utility.config import build
from utility.intervals import jackknife_interval
from utility.labels.alignment import write_alignment
from utility.runs import read_json

IDS = [f"s{speaker}-{number}" for speaker in range(4) for number in range(10)]
PHONES = ("sil", "a", "b", "c")
FRAMES = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Forty utterances of phones that change every four frames; codes that are the phones, noisy ones, three codebooks,
    and codes in random order."""
    folder, rng = tmp_path_factory.mktemp("units"), np.random.default_rng(0)
    said = {key: np.repeat(rng.integers(0, len(PHONES), FRAMES // 4), 4) for key in IDS}
    times = [(4 * n * SHIFT, 4 * (n + 1) * SHIFT) for n in range(FRAMES // 4)]
    aligned = [(key, [(*span, PHONES[own[4 * n]]) for n, span in enumerate(times)]) for key, own in said.items()]
    write_alignment(folder / "phones", aligned)

    def noisy(own: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(FRAMES) < share, own, rng.integers(0, 7, FRAMES))

    write_codes(folder / "same", "all", said, 4)
    write_codes(folder / "noisy", "all", {key: noisy(own, 0.5) for key, own in said.items()}, 7)
    books = {key: np.stack([noisy(own, share) for share in (0.2, 0.9, 0.6)], 1) for key, own in said.items()}
    write_codes(folder / "books", "all", books, 7)
    write_codes(
        folder / "shuffled",
        "all",
        dict(zip(IDS, rng.permutation(np.concatenate(list(said.values()))).reshape(-1, FRAMES))),
        4,
    )
    return folder


def units(root: Path, *stores: str, **more: str) -> Units:
    data = {"alignment": f"{root}/phones", "unaligned": more.get("unaligned", "error")}
    listed = [store if "=" in store or "/" in store else f"{root}/{store}/all" for store in stores]
    settings = {"data": data, "units": {"store": listed}, "cca": {"group": more.get("group", "utterance")}}
    return Units(build(AnalysisConfig, settings), 1)


def frames(made: Units, codebook: int = 0) -> tuple[list[int], list[str], list[str]]:
    """Code, phone and speaker of every frame in a phone, one by one."""
    coded, phones = made.curves[0], made.phones
    written = np.load(f"{coded.store.paths[0]}.npy")
    found: tuple[list[int], list[str], list[str]] = ([], [], [])
    for key in IDS:
        segments = phones.alignment.segments(key)
        rows = written[FRAMES * coded.store.index[key] :][:FRAMES]
        for frame, code in enumerate(rows[:, codebook].tolist()):
            label = next(PHONES_OF[s["label"]] for s in segments if s["start"] <= frame * SHIFT + 1e-9 < s["end"])
            if label != "sil":
                for values, value in zip(found, (code, label, key.split("-")[0])):
                    values.append(value)
    return found


PHONES_OF = sorted(PHONES)


@pytest.mark.parametrize(("store", "codebook"), [("noisy", 0), ("books", 1)])
def test_scores_are_those_of_a_count_frame_by_frame(root, store, codebook):
    made = units(root, store)
    codes, phones, _ = frames(made, codebook)
    score = made.score(made.count(made.curves[0], codebook), 0, codebook)
    entropy = metrics.mutual_info_score(phones, phones)
    assert score.score == pytest.approx(metrics.mutual_info_score(phones, codes) / entropy)
    assert score.detail["adjusted"] == pytest.approx(metrics.adjusted_mutual_info_score(phones, codes))
    pairs = list(zip(codes, phones))
    most = {code: max(pairs.count((code, phone)) for phone in PHONES) for code in set(codes)}
    assert score.detail["phone_purity"] == pytest.approx(sum(most.values()) / len(pairs))
    most = {phone: max(pairs.count((code, phone)) for code in set(codes)) for phone in set(phones)}
    assert score.detail["cluster_purity"] == pytest.approx(sum(most.values()) / len(pairs))
    assert score.samples == len(pairs) < score.detail["frames"] == len(IDS) * FRAMES  # silence is no phone
    assert (score.detail["codes"], score.detail["labels"], score.low) == (7, 3, None)


def test_codes_in_use_and_their_perplexity_are_of_all_frames(root):
    made = units(root, "same")
    every = np.concatenate([made.curves[0].codes(key, 0) for key in IDS])
    share = np.bincount(every) / len(every)
    detail = made.score(made.count(made.curves[0], 0), 0, 0).detail
    assert detail["code_perplexity"] == pytest.approx(np.exp(-share @ np.log(share)))
    assert detail["code_entropy_bits"] == pytest.approx(-share @ np.log2(share))
    assert detail["codes_in_use"] == 4


@pytest.mark.parametrize(("group", "count"), [("speaker", 4), ("utterance", GROUPS)])
def test_intervals_leave_out_whole_speakers_or_utterances(root, group, count):
    made = units(root, "noisy", group=group)
    score = made.score(made.count(made.curves[0], 0), 200, 0)
    assert score.resampled is not None
    assert (score.resampled.method, score.resampled.groups) == ("jackknife", count)
    if group == "speaker":
        codes, phones, speakers = map(np.array, frames(made))
        values = []
        for left in np.unique(speakers):
            some = speakers != left
            entropy = metrics.mutual_info_score(phones[some], phones[some])
            values.append(metrics.mutual_info_score(phones[some], codes[some]) / entropy)
        assert sorted(score.resampled.values) == pytest.approx(sorted(values))
        by_hand = jackknife_interval(score.score, np.array(values))
        assert (score.low, score.high) == pytest.approx((by_hand.low, by_hand.high))


def test_shuffled_labels_of_a_table_are_those_of_its_items(root):
    """Also below chance, where the adjusted score is negative."""
    rng = np.random.default_rng(1)
    table = np.array([[9, 10, 11], [10, 10, 10], [10, 11, 9], [0, 0, 0]])
    found = table_information(table, rng, shuffles=400, num_clusters=4)
    codes, labels = np.repeat(np.indices(table.shape).reshape(2, -1), table.ravel(), axis=1)
    assert found.adjusted == pytest.approx(metrics.adjusted_mutual_info_score(labels, codes))
    assert found.adjusted < 0
    drawn = [metrics.mutual_info_score(rng.permutation(labels), codes) for _ in range(400)]
    assert found.floor == pytest.approx(np.mean(drawn) / np.log(3), rel=0.15)


def run(root: Path, name: str, *words: str) -> dict:
    always = [f"data.alignment={root}/phones", "--cpu", "--no-msg", "--expdir", f"{root}/result", "--name", name]
    assert run_analysis.main([*words, *always]) == 0
    return json.loads((root / "result/result_analysis" / name / "result.json").read_text())


STORES = ("same", "noisy", "books", "shuffled")


@pytest.fixture(scope="module")
def result(root) -> dict:
    stores = ",".join(f"{root}/{name}/all" for name in STORES)
    return run(root, "alone", "--run", "units_phone", f"units.store=[{stores}]")


@pytest.mark.slow
def test_a_run_of_codes_alone_needs_no_upstream(root, result, capsys):
    experiment = result["experiments"]["units_phone"]
    last = {name: rows[-1] for name, rows in experiment["upstreams"].items()}
    assert (last["same"]["score"], last["same"]["detail"]["phone_purity"]) == (1.0, 1.0)
    assert last["shuffled"]["detail"]["above_floor"] == pytest.approx(0, abs=0.01)
    assert experiment["chance"]["noisy"] == last["noisy"]["detail"]["floor"] < last["noisy"]["low"]
    assert [row["label"] for row in experiment["upstreams"]["books"]] == [*(f"codebook {n}" for n in (1, 2, 3)), "mean"]
    *books, mean = experiment["upstreams"]["books"]
    assert mean["score"] == pytest.approx(np.mean([row["score"] for row in books]))
    assert mean["low"] < mean["score"] < mean["high"]
    assert result["upstream"] == "same,noisy,books,shuffled"
    assert result["fingerprints"].keys() == set(STORES)
    assert "--upstream" not in result["command"]
    folder = root / "result/result_analysis/alone"
    assert all((folder / f"units_phone{end}.png").is_file() for end in ("", "_differences_of_pairs"))
    words = [*result["command"].split()[2:-2], str(folder / "config.yaml"), "--dry_run", "--expdir", f"{root}/result"]
    assert run_analysis.main([word for word in words if word != "--cpu"]) == 0
    assert "units_phone: books: 3 codebooks of 7 codes" in capsys.readouterr().out


@pytest.mark.slow
def test_differences_are_of_the_same_groups(result):
    experiment = result["experiments"]["units_phone"]
    pairs = {(one["one"][0], one["other"][0]): one for one in experiment["differences"]}
    assert len(pairs) == 6
    scores = {name: rows[-1]["score"] for name, rows in experiment["upstreams"].items()}
    found = pairs["noisy", "shuffled"]
    assert found["value"] == pytest.approx(scores["noisy"] - scores["shuffled"])
    assert found["low"] < found["value"] < found["high"]


@pytest.mark.slow
def test_a_run_that_goes_on_counts_nothing_again(root, result, monkeypatch):
    folder = root / "result/result_analysis/alone"
    (folder / "result.json").unlink()
    (folder / "units_phone.png").unlink()
    monkeypatch.setattr(Units, "count", None)
    assert run_analysis.main(["--run", "units_phone", "--cpu", "--no-msg", "--resume", str(folder)]) == 0
    assert read_json(folder / "result.json")["experiments"] == result["experiments"]
    assert (folder / "units_phone.png").is_file()


def test_utterances_that_a_store_or_the_alignment_lacks_may_be_left_out(root, tmp_path):
    rng = np.random.default_rng(0)
    write_codes(tmp_path / "few", "all", {key: rng.integers(0, 5, FRAMES) for key in [*IDS[3:], "other-1"]}, 5)
    given = "noisy", f"{tmp_path}/few/all"
    with pytest.raises(ValueError, match=r"few lacks 'other-1'|noisy lacks 'other-1'"):
        units(root, *given)
    assert units(root, *given, unaligned="leave_out").utterances.ids == tuple(IDS[3:])
    alone = units(root, f"own={tmp_path}/few/all", unaligned="leave_out")
    assert (alone.names, alone.utterances.left_out, len(alone.utterances.ids)) == (["own"], 1, len(IDS) - 3)


def test_several_splits_of_one_name_are_one_curve(root, tmp_path):
    half = {key: np.arange(FRAMES) % 5 for key in IDS}
    write_codes(tmp_path / "parts", "one", {key: half[key] for key in IDS[:20]}, 5)
    write_codes(tmp_path / "parts", "two", {key: half[key] for key in IDS[20:]}, 5)
    made = units(root, "noisy", f"{tmp_path}/parts/one", f"{tmp_path}/parts/two")
    assert made.names == ["noisy", "parts"]
    assert made.utterances.ids == tuple(IDS)
