"""run_analysis.py: what it writes, that it can be stopped and repeated, and what it refuses."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_analysis
from analysis import gather
from analysis.experiment_names import EXPERIMENTS
from analysis.experiments_cca import NO_GROUPS, FrameCca
from analysis.figures import draw
from commands import common
from commands.common import now_and_then
from tests.conftest import PROJECT
from tests.helpers.analysis_corpus import Analysed, analysed_corpus

TIMES = ("seconds", "peak_memory_mib")
PHONES = "cca_phone,mi_phone"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Analysed:
    return analysed_corpus(tmp_path_factory.mktemp("analysed"))


@pytest.fixture(scope="module")
def result(corpus) -> dict:
    return corpus.run(PHONES, "first", "--upstream", corpus.tiny, "--samples", "2", "--original_files")


def without_times(path: Path) -> dict:
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES}


@pytest.mark.slow
def test_a_result_has_a_score_with_interval_and_chance_for_every_layer(result):
    for name in PHONES.split(","):
        found = result["experiments"][name]
        assert found["upstreams"].keys() == {"baseline", "tiny"}
        assert [row["label"] for row in found["upstreams"]["tiny"]] == ["T0", "T1", "T2"]
        for row in (*found["upstreams"]["tiny"], *found["upstreams"]["baseline"]):
            assert row["low"] <= row["score"] <= row["high"], (name, row["label"])
            assert len(row["per_sample"]) == 2
            assert row["deviation"] > 0
        assert abs(found["chance"]) < 0.3
        assert found["ceiling"] == 1
    assert result["kind"] == "analysis"
    assert result["curves"]["baseline"]["control"]
    assert not result["curves"]["tiny"]["step"]
    assert result["curves"]["tiny"]["layers"] == ["T0", "T1", "T2"]


@pytest.mark.slow
def test_phones_are_found_in_features_that_show_them(result):
    for name, least in (("cca_phone", 0.8), ("mi_phone", 0.5)):
        score = result["experiments"][name]["upstreams"]["baseline"][0]["score"]
        assert score > least, name
        differences = result["experiments"][name]["differences"]
        assert any({row["one"][0], row["other"][0]} == {"baseline", "tiny"} for row in differences), name


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result_and_a_finished_run_is_not_computed_again(corpus, result, monkeypatch):
    words = ("--upstream", corpus.tiny, "--samples", "2", "--original_files")
    corpus.run(PHONES, "second", *words)
    first, second = (without_times(corpus.folder(name) / "result.json") for name in ("first", "second"))
    assert first == second
    monkeypatch.setattr(gather, "collect", lambda *_: pytest.fail("a pass is made once"))
    corpus.run(PHONES, "second", *words, "--resume")
    assert without_times(corpus.folder("second") / "result.json") == first


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 2, 4, 7])
def test_a_run_that_was_killed_goes_on_to_the_same_result(corpus, result, calls, monkeypatch):
    """Killed in a pass, or between two scores."""
    words = ("--upstream", corpus.tiny, "--samples", "2", "--original_files")
    name, counted = f"killed{calls}", iter(range(100))
    real = {"collect": gather.collect, "tokens": gather.Gathered.tokens}

    def dying(which):
        def call(*given):
            if next(counted) == calls:
                raise KeyboardInterrupt
            return real[which](*given)

        return call

    monkeypatch.setattr(gather, "collect", dying("collect"))
    monkeypatch.setattr(gather.Gathered, "tokens", dying("tokens"))
    with pytest.raises(KeyboardInterrupt):
        corpus.run(PHONES, name, *words)
    assert not (corpus.folder(name) / "result.json").exists()
    monkeypatch.undo()
    corpus.run(PHONES, name, *words, "--resume")
    assert without_times(corpus.folder(name) / "result.json") == without_times(corpus.folder("first") / "result.json")
    assert not list(corpus.folder(name).rglob(".*.tmp"))


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_costs_no_result_and_is_drawn_when_the_run_goes_on(
    corpus, result, monkeypatch, capsys
):
    def fails(experiment, styles):
        if experiment.name == "cca_phone":
            raise KeyError("no such colour")
        return real(experiment, styles)

    real = draw.layers_figure
    monkeypatch.setattr(draw, "layers_figure", fails)
    words = ["--run", PHONES, "--upstream", "baseline", "--name", "undrawn", *corpus.words()]
    assert run_analysis.main(words) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("figure cca_phone cannot be drawn: KeyError: 'no such colour'; all else is there")
    folder = corpus.folder("undrawn")
    kept = without_times(folder / "result.json")
    assert (folder / "mi_phone.png").is_file()
    assert not (folder / "cca_phone.png").exists()
    monkeypatch.undo()
    monkeypatch.setattr(gather, "collect", lambda *_: pytest.fail("a pass is made once"))
    assert run_analysis.main([*words, "--resume"]) == 0
    assert (folder / "cca_phone.png").is_file()
    assert without_times(folder / "result.json") == kept


@pytest.mark.slow
def test_samples_differ_and_given_back_they_repeat(corpus, result):
    rows = result["experiments"]["cca_phone"]["upstreams"]["tiny"]
    assert all(row["per_sample"][0] != row["per_sample"][1] for row in rows)
    given = f"sampling.given={corpus.folder('first')}/samples"
    again = corpus.run("cca_phone", "given", "--samples", "2", "--upstream", corpus.tiny, given)
    for old, new in zip(rows, again["experiments"]["cca_phone"]["upstreams"]["tiny"]):
        assert new["per_sample"] == old["per_sample"]
    text = json.loads((corpus.folder("first") / "samples" / "phones_sample0.json").read_text())
    assert all(isinstance(entry[0], str) and len(entry[1]) == 3 for entry in text.values())


@pytest.mark.slow
def test_the_original_files_have_its_names_and_forms(corpus, result):
    folder = corpus.folder("first") / "original" / "tiny"
    scores = json.loads((folder / "cca_phone_all_sample1.json").read_text())
    assert scores.keys() == {"T0", "T1", "T2"}
    assert scores["T1"] == result["experiments"]["cca_phone"]["upstreams"]["tiny"][1]["per_sample"][0]
    lines = (folder / "mi_phone_all_train.lst").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines] == [[str(n), str(k), "0"] for n in range(3) for k in range(2)]
    assert all(len(line.split(".")[1]) == 3 for line in lines)


@pytest.mark.slow
def test_tables_say_what_the_result_says(corpus, result):
    lines = (corpus.folder("first") / "cca_phone.csv").read_text().splitlines()
    assert lines[0] == "experiment,upstream,layer,label,score,low,high,n"
    row = result["experiments"]["cca_phone"]["upstreams"]["baseline"][0]
    assert lines[1].split(",")[:5] == ["cca_phone", "baseline", "0", "F", repr(row["score"])]
    assert int(lines[1].split(",")[7]) == row["samples"] == result["experiments"]["cca_phone"]["data"][0]["used_tokens"]
    assert len(lines) == 5


@pytest.mark.slow
def test_padding_and_batches_change_no_score(corpus, result):
    alone = corpus.run("cca_phone", "alone", "--upstream", corpus.tiny, "data.batch_seconds=0.1")
    together = result["experiments"]["cca_phone"]["upstreams"]["tiny"]
    for one, other in zip(alone["experiments"]["cca_phone"]["upstreams"]["tiny"], together):
        assert one["score"] == pytest.approx(other["per_sample"][0], abs=1e-4)


@pytest.mark.slow
def test_one_layer_is_looked_at_where_one_is_asked_for(corpus):
    for number, layer in enumerate(("1", "T1")):
        found = corpus.run("cca_phone", f"layer{number}", "--upstream", corpus.tiny, "--layer", layer)
        assert [row["label"] for row in found["experiments"]["cca_phone"]["upstreams"]["tiny"]] == ["T1"]


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_run_is_at_is_said_now_and_then_where_nobody_watches(terminal, monkeypatch):
    """It printed nothing for hours."""
    now, out = [1000.0], io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal, raising=False)
    say = now_and_then(True, clock=lambda: now[0], stream=out)
    for second in range(1, 91):
        now[0] += 1
        say(f"layer {second}")
    assert out.getvalue().splitlines() == [f"layer {k}" for k in (range(1, 91) if terminal else (30, 60, 90))]
    now_and_then(False, clock=lambda: now[0] + 1e6, stream=out)("nothing")
    assert "nothing" not in out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [False, True])
def test_the_experiment_and_the_layer_that_are_computed_are_said_unless_no_msg(corpus, quiet, monkeypatch, capsys):
    monkeypatch.setattr(common, "SECONDS", 0.0)
    corpus.run("shape", f"said_{quiet}", "--upstream", corpus.tiny, "--no-msg" if quiet else "--msg")
    said = capsys.readouterr().err.splitlines()
    expected = ["tiny: states of its layers", *(f"shape tiny T{k}" for k in range(3))]
    assert [line for line in said if line in expected] == ([] if quiet else expected)


@pytest.mark.slow
def test_a_score_without_an_interval_says_that_the_memory_is_the_reason(corpus):
    with pytest.raises(ValueError, match="raise it") as refused:
        corpus.run("cca_mel", "least", "cca.memory_mib=0.001")
    least = float(re.search(r"take ([\d.]+) MiB", str(refused.value))[1])
    for memory, missing in ((least + 0.02, True), (40, False)):
        found = corpus.run("cca_mel", f"memory_{memory:g}", f"cca.memory_mib={memory:g}")
        (row,) = found["experiments"]["cca_mel"]["upstreams"]["baseline"]
        assert (row["low"] is None, row["notes"] == [NO_GROUPS]) == (missing, missing)


@pytest.mark.slow
def test_all_says_what_was_skipped_and_why(corpus, capsys):
    found = corpus.run("all", "all_of_phones", "data.alignment=null")
    assert found["skipped"]["cca_phone"].startswith("needs a phone alignment: data.alignment=FOLDER")
    assert "cca_phone: skipped, it needs a phone alignment" in capsys.readouterr().out


@pytest.mark.slow
def test_all_goes_on_where_one_experiment_turns_out_to_be_impossible(corpus, monkeypatch, capsys):
    """Here too few samples for the rank of a layer, which is known only when it was seen."""

    def refuse(*_):
        raise ValueError("too few samples")

    monkeypatch.setattr(FrameCca, "score", refuse)
    found = corpus.run("all", "partly", "awd.dtw=false")
    assert found["skipped"]["cca_mel"] == "too few samples"
    assert "cca_mel" not in found["experiments"]
    assert capsys.readouterr().out.count("cca_mel: skipped: too few samples") == 1
    assert "cca_phone" in found["experiments"]
    with pytest.raises(ValueError, match="cca_mel: too few samples"):
        corpus.run("cca_mel", "alone_impossible")


def test_controls_are_added_once_each(corpus, capsys):
    words = ["--run", "cca_phone", "--upstream", "baseline", "--controls", "--dry_run"]
    assert run_analysis.main([*words, *corpus.words()]) == 0
    assert capsys.readouterr().out.count("baseline:") == 2  # its size, and its layers


def test_a_dry_run_writes_nothing(corpus, capsys):
    words = ["--run", PHONES, "--upstream", corpus.tiny, "--name", "dry", "--dry_run"]
    assert run_analysis.main([*words, *corpus.words()]) == 0
    assert not corpus.folder("dry").exists()
    text = capsys.readouterr().out
    assert "cca_phone: tokens" in text
    assert "tiny: T0, T1, T2" in text
    assert "48 utterances" in text


def test_the_list_names_every_experiment_its_needs_and_its_score(capsys):
    assert run_analysis.main(["--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}:" in text for name in EXPERIMENTS)
    assert "compares means of tokens [tokens, width] and one-hot phones [tokens, phones], 39 in the usual set" in text


def test_a_result_says_what_stands_beside_the_layers(result):
    assert result["experiments"]["cca_phone"]["data"][0]["note"] == "one-hot of 5 phones"


@pytest.mark.slow
def test_runs_are_joined_in_one_result_with_its_figures(corpus, result):
    corpus.run("cca_phone", "other", upstream=corpus.tiny.replace("tiny=", "other="))
    places = [str(corpus.folder(name)) for name in ("first", "other")]
    words = ["--plot", *places, "--expdir", f"{corpus.root}/result", "--name", "joined"]
    assert run_analysis.main(words) == 0
    joined = json.loads((corpus.folder("joined") / "result.json").read_text())
    assert joined["experiments"]["cca_phone"]["upstreams"].keys() == {"baseline", "tiny", "other"}
    assert (corpus.folder("joined") / "cca_phone.svg").is_file()


@pytest.mark.parametrize("words", [["--help"], ["--list"], ["--rum", "cca_phone"], ["--run", "cca_fone"]])
def test_start_up_takes_half_a_second_at_most_and_loads_nothing_heavy(words):
    program = (
        "import resource, sys, run_analysis\n"
        "try:\n    run_analysis.main(sys.argv[1:])\nexcept (SystemExit, ValueError):\n    pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert not {'torch', 'numpy', 'scipy', 'sklearn', 'pandas'} & set(sys.modules), 'heavy'\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) < 0.5


@pytest.mark.slow
def test_shuffled_labels_are_at_chance(corpus):
    """Every token's label in a random order: the score of features that show phones falls to chance."""
    from utility.labels.alignment import Alignment, write_alignment

    rng = np.random.default_rng(1)
    alignment = Alignment(corpus.root / "phones")
    shuffled = []
    for key in alignment.ids:
        rows = alignment.segments(key)
        labels = rng.permutation(rows["label"])
        names = [alignment.labels[code] for code in labels]
        shuffled.append((key, list(zip(rows["start"].tolist(), rows["end"].tolist(), names))))
    write_alignment(corpus.root / "shuffled", shuffled)
    found = corpus.run(PHONES, "shuffled", f"data.alignment={corpus.root}/shuffled")
    for name in PHONES.split(","):
        row = found["experiments"][name]["upstreams"]["baseline"][0]
        assert abs(row["score"]) < 0.12, name
