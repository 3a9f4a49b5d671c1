"""Runs that are decoded: steps are compared greedily, and a trained probe is decoded in other ways without training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import run_downstream
from downstream.config import DownstreamConfig
from downstream.sweep import Choice, run_many, run_single
from downstream.tasks.table import find_task
from tests.helpers.downstream_corpus import Small, small_corpus
from utility.arpa import write_arpa
from utility.config import as_dict, resolve
from utility.labels.alignment import Alignment
from utility.labels.texts import TextInfo, Texts, write_texts
from utility.predictions import read_predictions
from utility.training.trainer import Trainer

LEXICON = ["decode.method=lexicon"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Small:
    """Six speakers whose frames show the words that they say; one word is of the test speaker alone."""
    corpus = small_corpus(tmp_path_factory.mktemp("decoded"))
    phones = Alignment(corpus.root / "phones")
    letters = {"aa": "A", "b": "B", "sil": " "}
    said = {key: "".join(letters[phones.labels[c]] for c in phones.segments(key)["label"]) for key in phones.ids}
    said = {key: " ".join(text.split()) or "A" for key, text in said.items()}
    said["s0-0"] += " ABBABABA"
    write_texts(corpus.root / "text", said.items(), TextInfo(format="csv"))
    with (corpus.root / "lm.arpa").open("w") as file:
        write_arpa(file, [text for key, text in said.items() if not key.startswith("s0")], 2)
    return corpus


def setting(corpus: Small, *words: str):
    data = {"text": f"{corpus.root}/text", "test_speakers": ["s0"], "dev_speakers": ["s1"], "alignment": None}
    made = corpus.setting(
        "phone_linear",
        data=data,
        probe={"head": "linear", "projector": 8},
        optimizer={"lr": 0.05},
        trainer={"steps": 60, "eval_every": 30, "save_every": 60},
    )
    config = resolve(DownstreamConfig, as_dict(made.config), list(words))
    return replace(made, config=config, task=find_task("ctc_char", config))


def choices(corpus: Small, *words: str) -> list[Choice]:
    made = [setting(corpus, *word.split()).config for word in words]
    return [Choice(word.rpartition(" ")[2], config, find_task("ctc_char", config)) for word, config in zip(words, made)]


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The steps that each training made."""
    steps, fit = [], Trainer.fit

    def counting(self):
        before = self.progress.step
        progress = fit(self)
        steps.append(progress.step - before)
        return progress

    monkeypatch.setattr(Trainer, "fit", counting)
    return steps


def said(corpus: Small, *speakers: str) -> list[str]:
    return [text for key, text in Texts(corpus.root / "text").items() if key.startswith(speakers)]


def outside(corpus: Small, speaker: str) -> float:
    """The share of a speaker's words that training does not have, in percent."""
    known = {word for text in said(corpus, "s2", "s3", "s4", "s5") for word in text.split()}
    words = [word for text in said(corpus, speaker) for word in text.split()]
    assert set(words) - known
    return 100 * sum(word not in known for word in words) / len(words)


def rows(folder: Path, part: str = "test") -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read_predictions(folder / f"predictions_{part}.tsv")}


@pytest.mark.slow
def test_sweep_over_decoding_trains_once_and_dev_chooses(corpus, trained):
    pytest.importorskip("flashlight.lib.text")
    lm = f"decode.method=lexicon decode.lm={corpus.root}/lm.arpa"
    tried = choices(
        corpus, "decode.method=greedy", "decode.method=beam", *(f"{lm} decode.lm_weight={w}" for w in (0.0, 2.0))
    )
    folder = corpus.root / "swept"
    summary = run_many(setting(corpus), tried, [1], folder)
    assert trained == [60, 0, 0, 0]
    (row,) = summary["seeds"]
    results = {
        choice.name: json.loads((folder / "seed_1" / choice.name / "result.json").read_text()) for choice in tried
    }
    for choice in tried:
        found = results[choice.name]
        assert found["config"]["decode"] == as_dict(choice.config.decode)
        assert found["best_step"] == results["decode.method=greedy"]["best_step"]
        assert found["dev_value"] == row["tried"][choice.name]
        assert (found["value"] is not None) == (choice.name == row["chosen"])  # test is read once, after the choice
    assert row["dev_value"] == min(row["tried"].values())
    assert len(set(row["tried"].values())) > 1
    words = results["decode.lm_weight=2.0"]["figures"]["dev"]
    assert words["outside"] == pytest.approx(outside(corpus, "s1"))
    assert "outside" not in results["decode.method=beam"]["figures"]["dev"]
    assert run_many(setting(corpus), tried, [1], folder) == summary
    assert trained == [60, 0, 0, 0]  # results that are there are read


@pytest.mark.slow
def test_finished_run_is_decoded_again_without_training(corpus, trained):
    pytest.importorskip("flashlight.lib.text")
    folder = corpus.root / "finished"
    greedy = run_single(setting(corpus), folder)
    weights = (folder / "best.ckpt").read_bytes()
    words = run_single(setting(corpus, *LEXICON), folder)
    assert trained == [60, 0]
    assert (folder / "best.ckpt").read_bytes() == weights
    assert words["config"]["decode"]["method"] == "lexicon"
    assert words["best_step"] == greedy["best_step"]
    assert words["figures"]["test"]["outside"] == pytest.approx(outside(corpus, "s0"))
    found = {
        word for part in ("dev", "test") for row in rows(folder, part).values() for word in row["hypothesis"].split()
    }
    assert found <= {word for text in said(corpus, "s2", "s3", "s4", "s5") for word in text.split()}
    swept = run_many(
        setting(corpus), choices(corpus, "decode.method=beam", "decode.method=beam decode.beam=2"), [1], folder
    )
    assert trained == [60, 0, 0, 0]  # a sweep within the folder of a run begins with that run
    alone = run_many(
        setting(corpus), choices(corpus, "decode.method=beam", "optimizer.lr=0.01"), [1], corpus.root / "alone"
    )
    assert trained[4:] == [60, 60]  # another rate is another training
    assert swept["seeds"][0]["tried"]["decode.method=beam"] == alone["seeds"][0]["tried"]["decode.method=beam"]


@pytest.mark.slow
def test_taken_over_training_that_was_cut_off_is_taken_again(corpus, trained):
    tried = choices(corpus, "decode.method=greedy", "decode.method=beam")
    folder = corpus.root / "cut"
    run_many(setting(corpus), tried[:1], [1], folder)
    second = folder / "seed_1" / tried[1].name
    second.mkdir(parents=True)
    (second / "metrics.jsonl").write_text("{}\n")  # a copy that ended before its checkpoint was there
    run_many(setting(corpus), tried, [1], folder)
    assert trained == [60, 0]
    assert (second / "best.ckpt").read_bytes() == (folder / "seed_1" / tried[0].name / "best.ckpt").read_bytes()
    assert len((second / "metrics.jsonl").read_text().splitlines()) > 1


@pytest.mark.slow
def test_other_hypotheses_are_written_and_the_metric_follows_from_the_file(corpus):
    made = setting(corpus, "decode.method=beam", "decode.nbest=3", "decode.beam=8")
    folder = corpus.root / "nbest"
    found = run_single(made, folder)
    assert list(rows(folder)["s0-0"]) == [
        *("id", "reference", "hypothesis", "S", "D", "I"),
        *("score", "hypothesis_2", "score_2", "hypothesis_3", "score_3", "speaker"),
    ]
    for row in rows(folder).values():
        assert len({row["hypothesis"], row["hypothesis_2"], row["hypothesis_3"]}) == 3
        assert float(row["score"]) >= float(row["score_2"]) >= float(row["score_3"])
    outcomes = made.task.outcomes(read_predictions(folder / "predictions_test.tsv"))
    ones = [[1.0] * len(outcomes.ids)]
    assert outcomes.values(ones)[0] == pytest.approx(found["value"], abs=1e-12)
    again = made.task.outcomes(read_predictions(folder / "predictions_dev.tsv"))
    assert again.values([[1.0] * len(again.ids)])[0] == pytest.approx(found["dev_value"], abs=1e-12)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["decode.beam=3"], "decode.beam=3 would change nothing: decode.method is greedy"),
        (["decode.method=lexicon", "decode.lm=nowhere.arpa"], "decode.lm=nowhere.arpa: no such file"),
        (["decode.method=lexicon", "decode.lexicon=nowhere.txt"], "nowhere.txt"),
    ],
)
def test_decoding_that_cannot_work_is_refused_before_anything_is_trained(corpus, trained, words, line):
    if "decode.method=lexicon" in words:
        pytest.importorskip("flashlight.lib.text")
    data = [f"data.train=[{corpus.root}/store/all]", f"data.text={corpus.root}/text", f"data.cache={corpus.root}/cache"]
    command = ["--run", "ctc_char", "--upstream", "baseline", "--cpu", "--no-msg", "--expdir", f"{corpus.root}/refused"]
    with pytest.raises((ValueError, OSError), match=line):
        run_downstream.main([*command, *data, *words])
    assert trained == []
    assert not [path for path in (corpus.root / "refused").rglob("*") if path.is_file()]
