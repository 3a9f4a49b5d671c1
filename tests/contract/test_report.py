"""The page of results: what stands on it is what the runs say, nothing is fetched, and its numbers can be checked."""

import copy
import csv
import getpass
import io
import json
import re
import shutil
import socket
import struct
import time
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import run_report
import runner_mockingjay
from commands.report import Beside
from report.content import _joined
from report.errors import errors_of
from report.leaderboard import Difference, leaderboard
from report.runs import Probe, Score, read_runs
from report.sound import Room
from report.stated import read_stated
from report.words import relative_to
from tests.conftest import PROJECT
from tests.helpers.downstream_corpus import small_corpus
from utility.error_rate import INSERTION, aligned, count_errors
from utility.plot import picture_stem
from utility.predictions import PredictionFile, read_predictions
from utility.runs import Metric
from utility.training.checkpoint import load_checkpoint, save_checkpoint
from utility.worst import WORST, write_worst

ACCURACY = Metric("accuracy", "accuracy", "%", "higher", 100.0)
ERRORS = Metric("wer", "word error rate", "%", "lower")
VOID = {"meta", "link", "input", "img", "br", "hr"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results with runs of every kind, and the corpus that they were made from."""
    small = small_corpus(tmp_path_factory.mktemp("reported"))
    model = small.root / "result/result_mockingjay"
    config = {
        "data": {"train": [f"{small.root}/store/all"], "dev": [f"{small.root}/store/all"]},
        "model": {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8},
        "trainer": {"steps": 4, "log_every": 2, "eval_every": 2},
    }
    (small.root / "pretrain.yaml").write_text(yaml.safe_dump(config))
    words = ["--config", f"{small.root}/pretrain.yaml", "--name", "tiny", "--ckpdir", str(model), "--cpu", "--no-msg"]
    assert runner_mockingjay.main(["--train", *words, "--logdir", f"{small.root}/log"]) == 0
    tiny = f"tiny=pretrained:{model}/tiny/best.ckpt"
    small.run("phone_linear", "baseline", "--name", "one")
    small.run("phone_linear", tiny, "--name", "layers", "--seeds", "2", "--sweep", "layer=0,1")
    small.run("phone_linear", tiny, "--name", "sum", "--weighted_sum")
    small.run("speaker_frame", "baseline", "--name", "other")
    small.run("ctc_phone", "baseline", "--name", "said", "probe.projector=8")
    small.run("phone_linear", "baseline", "--name", "curve", "--each", "data.label_fraction=1,0.5")
    return small


def page_of(small, *more: str, code: int = 0) -> str:
    """The text of the page of its results."""
    output = small.root / "page.html"
    assert run_report.main([f"{small.root}/result", "--output", str(output), *_logs(small), *more]) == code
    return output.read_text(encoding="utf-8")


def _logs(small) -> list[str]:
    return ["--logdir", f"{small.root}/log"]


@pytest.fixture(scope="module")
def page(made) -> str:
    return page_of(made)


class Elements(HTMLParser):
    """What a page is made of; every element that is opened must be closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if self.open and self.open[-1] not in ("script", "style") else ""


@pytest.mark.slow
def test_a_page_is_whole_fetches_nothing_and_has_one_of_each_identifier(page):
    elements = Elements(page)
    names = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(names) == len(set(names)) > 10
    for tag, attributes in elements.found:
        for key in ("src", "href", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith("data:") or value[1:] in names, (tag, value)
    assert not re.search(r"https?:|@import|url\((?!#)", page)


@pytest.mark.slow
def test_the_page_that_is_shipped_is_whole_small_and_says_nothing_of_its_machine():
    file = PROJECT / "docs/report_example.html"
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < 5e6
    numbers, _ = read_stated(file)
    assert len(numbers) > 100
    elements = Elements(text)
    assert sum(tag == "audio" for tag, _ in elements.found) > 10
    assert not re.search(r"https?:|@import|/(tmp|root|home|mnt|work)/", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))


@pytest.mark.slow
def test_no_page_says_where_it_was_made(page, made):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    for word in (str(made.root), str(PROJECT), str(Path.home()), socket.gethostname(), f"/{getpass.getuser()}/"):
        assert len(word) < 4 or word not in text
    assert (
        relative_to(Path("/a/b"))("x=/a/b/c/d hf:/home/me/w2v [/x/y,z] ~/k/l 1/2 a/b")
        == "x=c/d hf:…/w2v […/y,z] …/l 1/2 a/b"
    )


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(page, made):
    assert page_of(made) == page
    assert page_of(made, "--date", "2026-11-27") != page


@pytest.mark.slow
def test_curves_of_one_task_over_one_key_are_drawn_together(made):
    (one,) = read_runs(made.root / "result", made.root / "log").curves
    two = replace(one, folder=Path("second"), content={**one.content, "key": "data.split_seed"})
    assert _joined([one, two]) == []
    (both,) = _joined([one, replace(one, folder=Path("second"))])
    assert [curve["upstream"] for curve in both.content["curves"]] == ["baseline (curve)", "baseline (second)"]
    assert both.content["curves"][1]["points"] == one.content["curves"][0]["points"]


@pytest.mark.slow
def test_without_figures_every_run_and_curve_is_there(made):
    text = page_of(made, "--figures", "0")
    assert "<svg" not in text.partition('id="curves"')[2]
    assert "<code>--figures 5</code>" in text
    assert "<code>--figures 1</code>" in text
    assert "Test scores, and their deviation" in text
    assert text.count('class="card"') == 5


@pytest.mark.slow
def test_scores_on_the_page_are_those_of_the_runs(page, made):
    text = re.sub(r"\s+", " ", Elements(page).text)
    runs = read_runs(made.root / "result", made.root / "log")
    assert [one.place.rpartition("/")[2] for one in runs.probes] == ["said", "one", "other", "layers", "sum"]
    for probe in runs.probes:
        low, high = (f"{end:.1f}".replace("-", "−") for end in (probe.test.low, probe.test.high))
        assert f"{probe.test.value:.1f} % [{low}, {high}]" in text
    (curve,) = runs.curves
    assert f"{curve.content['curves'][0]['points'][1]['test_mean']:.1f}" in text
    (trained,) = runs.pretrainings
    assert f"{trained.result['dev_value']:.4f}" in text
    assert trained.result["fingerprints"]["weights"]["fingerprint"] in text
    layers = next(one for one in runs.probes if one.place.endswith("layers"))
    assert len(layers.by_layer) == 2
    assert all(len(scores) == 2 for scores in layers.by_layer.values())
    assert "by dev" in layers.layer


@pytest.mark.slow
def test_a_finished_pre_training_says_what_probes_say(made):
    content = json.loads((made.root / "result/result_mockingjay/tiny/result.json").read_text())
    probe = json.loads(next((made.root / "result").glob("**/layers/seed_*/*/result.json")).read_text())
    assert [*content][:14] == [*probe][:14]
    assert content["fingerprints"]["weights"]["fingerprint"] == probe["fingerprints"]["upstream"]["fingerprint"]
    assert content["steps"] == 4
    assert content["division"]["train"]["utterances"] == 36
    metrics = [json.loads(line) for line in (made.root / "log/tiny/metrics.jsonl").read_text().splitlines()]
    assert content["dev_value"] == min(one["dev_loss"] for one in metrics if "dev_loss" in one)


@pytest.mark.slow
def test_foreign_text_stays_text(made, tmp_path):
    shutil.copytree(made.root / "result", tmp_path / "result")
    folder = next((tmp_path / "result").glob("*/said"))
    evil = "<script>alert(1)</script>"
    rows = list(read_predictions(folder / "predictions_test.tsv"))
    columns = [name for name in rows[0] if name not in ("id", "speaker")]
    with PredictionFile(folder / "predictions_test.tsv", columns) as file:
        file.write([f"{evil}{row['id']}" for row in rows], [[evil, f"{evil} x", "1", "0", "1"] for _ in rows])
    result = json.loads((folder / "result.json").read_text())
    result |= {"upstream": f'{evil}"', "warning": "</script><b>", "command": "</pre>"}
    result["fingerprints"]["upstream"]["spec"] = "</script><i>"
    (folder / "result.json").write_text(json.dumps(result))
    text = page_of(replace(made, root=tmp_path))
    elements = Elements(text)
    assert sum(tag == "script" for tag, _ in elements.found) == 2
    assert elements.text.count(evil) > 4
    numbers, _ = read_stated(tmp_path / "page.html")
    assert len(numbers) > 10


@pytest.mark.slow
def test_what_is_damaged_is_named_and_the_rest_is_there(made, tmp_path, capsys):
    shutil.copytree(made.root / "result", tmp_path / "result")
    folder = next((tmp_path / "result").glob("*/other"))
    (folder / "result.json").write_text("{")
    broken = next((tmp_path / "result").glob("*/layers/summary.json"))
    broken.write_text('{"seeds": 3}')
    curve = next((tmp_path / "result").glob("*/curve/curve.json"))
    content = json.loads(curve.read_text())
    del content["curves"][0]["points"][1]["hours"]
    curve.write_text(json.dumps(content))
    analysis = tmp_path / "result/result_analysis/a/result.json"
    analysis.parent.mkdir(parents=True)
    analysis.write_text(json.dumps({"kind": "analysis", "experiments": {"cca_phone": {"upstreams": {}}}}))
    text = page_of(replace(made, root=tmp_path), code=1)
    error = capsys.readouterr().err
    assert "it has no hours" in text
    assert "it has no measure" in text
    for file in (folder / "result.json", broken, curve, analysis):
        place = file.relative_to(tmp_path / "result").as_posix()
        assert f"{place}</code>: " in text
        assert place in error
    assert "What cannot be read" in text
    assert 'id="run-2"' in text
    assert 'id="run-3"' not in text


@pytest.mark.slow
def test_three_hundred_runs_take_ten_seconds_and_few_bytes(made, tmp_path):
    source = next((made.root / "result").glob("*/one"))
    for number in range(300):
        folder = tmp_path / "result" / f"result_u{number}_phone_linear" / "run"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.ckpt", "*.png", "events*"))
        content = json.loads((folder / "result.json").read_text())
        content["upstream"] = f"u{number}"
        content["fingerprints"]["upstream"]["spec"] = f"u{number}=pretrained:x"
        (folder / "result.json").write_text(json.dumps(content))
    before = time.process_time()
    text = page_of(replace(made, root=tmp_path), "--sound", "0")
    assert time.process_time() - before < 10
    assert len(text.encode()) < 25e6
    assert 'id="run-299"' in text
    assert "--figures 300" in text


def probe(
    upstream: str, value: float, dev: float, task: str = "phones", metric: Metric = ACCURACY, place: str = ""
) -> Probe:
    result = {"fingerprints": {"upstream": {"spec": upstream, "fingerprint": upstream}}, "config": {}}
    place = place or f"{task}/{upstream}/{value}"
    return Probe(place, Path(place), task, upstream, metric, Score(value), dev, ((Path(place),),), result)


def by_value(one: Probe, other: Probe) -> Difference:
    """As sure as ± 2."""
    apart = one.test.value - other.test.value
    return Difference(apart, apart - 2, apart + 2)


def test_dev_chooses_within_a_cell_and_test_never():
    board = leaderboard([probe("a", 90, 50), probe("a", 10, 60)], lambda _: "", by_value, None)
    (cell,) = board.cells.values()
    assert (cell.probe.test.value, cell.runs, cell.best) == (10, 2, True)


def test_the_best_the_equal_the_ranks_and_the_reductions_of_errors():
    probes = [probe("a", 80, 0), probe("b", 79, 0), probe("baseline", 60, 0)]
    probes += [probe(name, value, 0, "words", ERRORS) for name, value in (("a", 30), ("b", 20), ("baseline", 40))]
    board = leaderboard([*probes, probe("a", 5, 0, "rare")], lambda _: "", by_value, None)
    cells = {(row.name, column.task): cell for (row, column), cell in board.cells.items()}
    assert [name for (name, task), cell in cells.items() if cell.best and task != "rare"] == ["a", "b"]
    assert {key for key, cell in cells.items() if cell.as_good} == {("b", "phones")}
    assert cells["b", "words"].minus_baseline == Difference(-20, -22, -18)
    assert cells["baseline", "words"].minus_baseline is None
    assert board.shared == 2
    assert {row.name: rank for row, rank in board.ranks.items()} == {"a": 1.5, "b": 1.5, "baseline": 3.0}
    reductions = {row.name: value for row, value in board.reductions.items()}
    # errors of phones 20, 21 and 40; of words 30, 20 and 40
    assert reductions == pytest.approx({"a": (50 + 25) / 2, "b": (47.5 + 50) / 2, "baseline": 0})
    equal = leaderboard([probe("a", 8, 0), probe("b", 8, 0), probe("c", 9, 0)], lambda _: "", by_value, None)
    assert [equal.ranks[row] for row in equal.rows] == [1.0, 2.5, 2.5]
    other = leaderboard(probes, lambda _: "", by_value, "b")
    assert {row.name: value for row, value in other.reductions.items()}["b"] == 0
    with pytest.raises(ValueError, match="--baseline c: no run has an upstream of that name: there are a, b, baseline"):
        leaderboard(probes, lambda _: "", by_value, "c")


def test_of_several_baselines_each_column_has_its_own():
    one, other = (
        replace(probe("baseline", 50, dev), result={"features": {"kind": kind}})
        for dev, kind in ((3, "mel"), (9, "mfcc"))
    )
    other = replace(other, test=Score(60.0))
    third = replace(one, task="words", test=Score(10.0))
    board = leaderboard(
        [one, other, third, probe("a", 70, 0), probe("a", 30, 0, "words")], lambda _: "", by_value, None
    )
    gains = {column.task: cell.minus_baseline for (row, column), cell in board.cells.items() if row.name == "a"}
    assert {task: gain.value for task, gain in gains.items()} == {"phones": 10, "words": 20}  # dev prefers mfcc
    assert [board.beside(column).about for column in board.columns] == ["mfcc, no CMVN", "mel, no CMVN"]


def test_scores_of_other_utterances_have_a_column_of_their_own():
    probes = [probe("a", 80, 0), probe("b", 70, 0)]
    board = leaderboard(probes, lambda one: one.upstream, by_value, None)
    assert [column.data for column in board.columns] == ["unknown data", "unknown data (2)"]
    assert all(cell.best for cell in board.cells.values())


@pytest.mark.slow
def test_stores_of_the_same_recordings_share_a_column(made, tmp_path):
    """A probe on features without CMVN stood beside nobody."""
    for name in ("store", "raw", "noisy"):
        folder = shutil.copytree(made.root / "store", tmp_path / name)
        info = yaml.safe_load((folder / "features.yaml").read_text())
        info["audio_root"] = "/noise" if name == "noisy" else "/speech"
        (folder / "features.yaml").write_text(yaml.safe_dump(info))
    (one,) = (run for run in read_runs(made.root / "result", tmp_path).probes if run.place.endswith("/one"))
    beside, probes = Beside(), {}
    for name in ("store", "raw", "noisy", "gone"):
        paths = [f"{tmp_path}/{name}/{Path(path).name}" for path in one.setting("data", "train")]
        result = copy.deepcopy(dict(one.result))
        result["config"]["data"] |= {"train": paths, "test": []}
        probes[name] = replace(one, place=name, upstream=name, result=result)
    parts = {name: beside.examined(run) for name, run in probes.items()}
    assert parts["store"] == parts["raw"]
    assert len({parts["store"], parts["noisy"], parts["gone"]}) == 3
    board = leaderboard([probes["store"], probes["raw"], probes["noisy"]], beside.examined, beside.paired, None)
    assert [column.data for column in board.columns] == ["noisy/all", "store/all = raw/all"]
    shared = [cell for (_, column), cell in board.cells.items() if column.data == "store/all = raw/all"]
    assert sorted(cell.minus_best is None for cell in shared) == [False, True]


@pytest.mark.slow
def test_the_worst_of_a_pre_training_stand_first_with_their_loss(made, tmp_path):
    folder = tmp_path / "result/result_mockingjay/tiny"
    shutil.copytree(made.root / "result/result_mockingjay/tiny", folder)
    for dump, names in (("best-dump", ("a", "b", "c/1")), ("mockingjay-4-dump", ("d",))):
        (folder / dump).mkdir()
        for name in names:
            end = "_codes.png" if name == "d" else "_reconstruction.png"
            Image.new("RGB", (8, 8)).save(folder / dump / (picture_stem(name) + end))
    write_worst(folder / "best-dump", {"c/1": 0.75})
    write_worst(folder / "mockingjay-4-dump", {"d": 2.5, "e": 0.5})
    page = run_page(tmp_path, made)
    headings = re.findall(r"<h3>(tiny: what it makes of [^<]*)</h3>", page)
    assert headings == [
        "tiny: what it makes of d, one of its worst (loss 2.500)",
        "tiny: what it makes of c/1, one of its worst (loss 0.750)",
    ]
    (folder / "mockingjay-4-dump" / WORST).unlink()
    headings = re.findall(r"<h3>(tiny: what it makes of [^<]*)</h3>", run_page(tmp_path, made))
    assert headings[0].endswith("c/1, one of its worst (loss 0.750)")
    assert headings[1:] == ["tiny: what it makes of a"]
    (folder / "best-dump" / WORST).write_text("utterance,loss\nc/1,much\n")
    assert "worst.csv: damaged" in run_page(tmp_path, made, code=1)


def run_page(folder, made, code: int = 0) -> str:
    output = folder / "page.html"
    assert run_report.main([f"{folder}/result", "--output", str(output), *_logs(made)]) == code
    return output.read_text(encoding="utf-8")


@pytest.mark.slow
def test_tables_for_papers(made, capsys):
    folder = f"{made.root}/result"
    assert run_report.main([folder, *_logs(made), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["task"] for row in rows} == {"ctc_phone", "phone_linear", "speaker_frame"}
    runs = {one.place: one for one in read_runs(made.root / "result", made.root / "log").probes}
    for row in rows:
        run = runs[row["folder"]]
        assert float(row["value"]) == run.test.value
        assert float(row["low"]) == run.test.low
    assert run_report.main([folder, *_logs(made), "--format", "md", "--baseline", "tiny"]) == 0
    head, line, *body = capsys.readouterr().out.splitlines()
    assert head.startswith("| upstream | ctc_phone on store/all: phone error rate (%) ↓ |")
    assert set(line) <= set("| -")
    assert len(body) == 2
    assert sum("**" in one for one in body) == 2 or "**" in body[0]
    assert any("minus " in one for one in body)


def test_the_worst_utterances_come_first_and_confusions_are_counted(tmp_path):
    with PredictionFile(tmp_path / "predictions_test.tsv", ("true", "predicted"), {"a": "anna"}) as file:
        file.write(["a", "b", "c"], [["x x - y", "x y y y"], ["y y y y", "x x x y"], ["x x", "x x"]])
    errors = errors_of([tmp_path], "frame accuracy", classes=True)
    assert [(one.name, one.wrong) for one in errors.worst] == [
        ("b", "75.0 % of 4 frames: y → x 3 times"),
        ("a", "33.3 % of 3 frames: x → y 1 times"),
    ]
    assert errors.worst[1].speaker == "anna"
    assert [(one.true, one.predicted, one.count, one.share) for one in errors.confusions] == [
        ("y", "x", 3, 60.0),
        ("x", "y", 1, 25.0),
    ]
    assert errors.utterances == 3
    with PredictionFile(tmp_path / "predictions_test.tsv", ("true", "predicted")) as file:
        file.write(["a", "b"], [["1.0", "1.5"], ["2.0", "4.0"]])
    numbers = errors_of([tmp_path], "mean absolute error", classes=False)
    assert [one.wrong for one in numbers.worst] == ["off by 2", "off by 0.5"]
    assert numbers.numbers == [(1.0, 1.5), (2.0, 4.0)]
    assert numbers.counts is None


def test_what_was_said_stands_beside_what_was_heard(tmp_path):
    columns = ("reference", "hypothesis", "S", "D", "I")
    with PredictionFile(tmp_path / "predictions_test.tsv", columns) as file:
        file.write(["a", "b"], [["one two three", "one too three four", "1", "0", "1"], ["x", "x", "0", "0", "0"]])
    (worst,) = errors_of([tmp_path], "word error rate", classes=True).worst
    assert worst.wrong == "2 errors of 3 words"
    assert [(piece.mark, piece.reference, piece.hypothesis) for piece in worst.pieces] == [
        ("", "one", "one"),
        ("S", "two", "too"),
        ("", "three", "three"),
        ("I", "", "four"),
    ]
    (letters,) = errors_of([tmp_path], "character error rate", classes=True).worst
    assert [(piece.mark, piece.reference) for piece in letters.pieces][:3] == [
        ("", "one t"),
        ("S", "w"),
        ("", "o three"),
    ]


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_an_alignment_has_the_errors_that_are_counted(reference, hypothesis):
    pieces = aligned(reference, hypothesis)
    assert "".join(one for kind, one, _ in pieces if kind != INSERTION) == reference
    assert "".join(other for _, _, other in pieces if other is not None) == hypothesis
    assert tuple(sum(kind == wanted for kind, *_ in pieces) for wanted in range(4)) == count_errors(
        reference, hypothesis
    )
    assert all((one != other) == (kind != 0) for kind, one, other in pieces)


def test_sound_fills_the_room_that_there_is(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(scale=0.1, size=12 * 16000), 16000)
    room = Room(1e6)
    clip = room.recording("recording", tmp_path / "a.wav", (None, None))
    assert clip.cut
    assert clip.source.startswith("data:audio/flac;base64,")
    assert 0 < room.size == 1e6 - len(clip.source.partition(",")[2])
    assert room.recording("recording", tmp_path / "none.wav", (None, None)) is None
    assert room.missing == ["none.wav"]
    assert not room.recording("part", tmp_path / "a.wav", (1.0, 2.0)).cut
    small = Room(10)
    assert small.recording("recording", tmp_path / "a.wav", (None, None)) is None
    assert small.left_out == 1


@pytest.mark.slow
def test_the_losses_of_others_stand_beside_ours(made, tmp_path):
    (tmp_path / "them").mkdir()
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in (1, 2, 3)]
    (tmp_path / "them/metrics.jsonl").write_text("\n".join(lines))
    assert "them (theirs)" in page_of(made, "--against", str(tmp_path))
    with pytest.raises(ValueError, match=r"--against .*: no metrics\.jsonl below it"):
        page_of(made, "--against", str(made.root / "store"))


def verified(small, *more: str) -> int:
    words = ["--verify", f"{small.root}/page.html", "--results", f"{small.root}/result", *_logs(small), *more]
    return run_report.main(words)


@pytest.fixture
def copied(made, tmp_path, page):
    """Results that a test may change, and their page."""
    shutil.copytree(made.root / "result", tmp_path / "result")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    return replace(made, root=tmp_path)


@pytest.mark.slow
def test_every_number_of_a_page_can_be_computed_again(made, page, capsys):
    (made.root / "page.html").write_text(page, encoding="utf-8")
    assert verified(made, "--share", "1") == 0
    said = capsys.readouterr().out
    numbers, _ = read_stated(made.root / "page.html")
    kinds = {one.kind for one in numbers}
    assert kinds == {"file", "test", "dev", "checkpoint", "difference", "weights", "data", "parameters", "loss"}
    assert f"{len(numbers)} of {len(numbers)} numbers" in said
    assert f"{len(numbers)} agree, 0 differ, 0 not checked" in said


@pytest.mark.slow
def test_a_changed_byte_of_predictions_is_seen(copied, capsys):
    file = next((copied.root / "result").glob("*/one/predictions_test.tsv"))
    text = file.read_bytes()
    at = text.rindex(b"aa")
    file.write_bytes(text[:at] + b"b" + text[at + 1 :])
    assert verified(copied) == 1
    assert f"differs: {file.relative_to(copied.root / 'result')}: is " in capsys.readouterr().out


@pytest.mark.slow
def test_a_changed_byte_of_weights_is_seen(copied, capsys):
    file = copied.root / "result/result_mockingjay/tiny/best.ckpt"
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    content = bytearray(file.read_bytes())
    lengths = struct.unpack(
        "<HH", content[largest.header_offset + 26 : largest.header_offset + 30]
    )  # of name and extra
    content[largest.header_offset + 30 + sum(lengths) + largest.file_size // 2] ^= 1
    file.write_bytes(content)
    assert verified(copied) == 1
    assert "differs: weights of result_mockingjay/tiny: cannot be computed" in capsys.readouterr().out


@pytest.mark.slow
def test_other_weights_in_a_sound_file_are_seen(copied, capsys):
    file = copied.root / "result/result_mockingjay/tiny/best.ckpt"
    content = load_checkpoint(file, "pretrain")
    next(iter(content["model"].values())).view(-1)[0] += 1e-6
    save_checkpoint(file, "pretrain", {key: value for key, value in content.items() if key not in ("kind", "format")})
    assert verified(copied) == 1
    assert "differs: weights of result_mockingjay/tiny: is '" in capsys.readouterr().out


def test_what_is_not_there_is_not_checked(copied, capsys):
    shutil.rmtree(copied.root / "result")
    (copied.root / "result").mkdir()
    assert verified(copied) == 1
    said = capsys.readouterr().out
    assert "0 agree, 0 differ" in said
    assert "not checked: result_mockingjay/tiny" not in said.splitlines()[-1]
    assert all(line.startswith("not checked: ") for line in said.splitlines()[:-1])


def test_a_number_that_was_changed_on_the_page_is_seen(copied, page, capsys):
    runs = read_runs(copied.root / "result", copied.root / "log")
    value = next(one for one in runs.probes if one.place.endswith("one")).test.value
    (copied.root / "page.html").write_text(page.replace(repr(value), repr(value + 0.01)), encoding="utf-8")
    assert verified(copied, "--share", "1") == 1
    assert "on test: is " in capsys.readouterr().out


def test_no_page_of_ours_is_refused(tmp_path):
    (tmp_path / "page.html").write_text("<html></html>")
    with pytest.raises(ValueError, match=r"no page of run_report\.py, or damaged"):
        run_report.main(["--verify", f"{tmp_path}/page.html"])
