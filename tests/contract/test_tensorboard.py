"""What TensorBoard shows of all runs below log/: grouped figures, pictures, sound, configs and commands."""

import io
import json
import shlex
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import run_downstream
import runner_mockingjay
from downstream.report import event_folders
from mockingjay.pretraining import example
from tests.contract.test_endings import at_step, terminate
from tests.helpers.downstream_corpus import Small
from tests.helpers.heard_corpus import FEATURES, Heard
from tests.helpers.speech import write_store
from utility.audio.features import FeatureExtractor
from utility.training.events import PREFIX, Board, tag
from utility.training.log import read_metrics

EXAMPLE = {"example/true", "example/predicted", "example/filled"}


def shown(folder: Path) -> EventAccumulator:
    """What TensorBoard reads of a run."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "audio": 0, "tensors": 0})
    events.Reload()
    return events


def numbers(events: EventAccumulator, name: str) -> dict[int, float]:
    """The points of a curve; no step may be there twice."""
    points = events.Scalars(name)
    assert len({point.step for point in points}) == len(points), f"{name}: {[point.step for point in points]}"
    return {point.step: point.value for point in points}


def block(events: EventAccumulator, name: str) -> tuple[list[int], str]:
    """The steps of a text, and the newest one without its fence."""
    texts = events.Tensors(f"run/{name}")
    assert not texts[-1].tensor_proto.tensor_shape.dim  # one text: several would be drawn as a table
    first, *lines, last = texts[-1].tensor_proto.string_val[0].decode().split("\n")
    assert (first, last) == ("```", "```")
    return [text.step for text in texts], "\n".join(lines) + "\n"


def train(root: Path, store: str, name: str, *words: str) -> int | None:
    quick = ["trainer.steps=4", "trainer.eval_every=2", "trainer.log_every=1", "trainer.save_every=2"]
    model = ["model.layers=1", "model.hidden_size=8", "model.heads=2", "model.ffn_size=8", "loader.batch_frames=200"]
    data = [f"data.train=[{store}]", f"data.dev=[{store}]", "eval_batches=1", "trainer.precision=fp32"]
    places = ["--name", name, "--ckpdir", str(root / "result"), "--logdir", str(root / "log"), "--cpu", "--no-msg"]
    return runner_mockingjay.main(["--train", *places, *data, *quick, *model, *words])


def killed() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trained(heard: Heard, tmp_path_factory) -> Path:
    """Where a run was killed a step after its checkpoint, and went on, and another was not disturbed."""
    root = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example, "SECONDS", 0.5)
        with at_step(3, killed), pytest.raises(KeyboardInterrupt):
            train(root, heard.store, "parts")
        assert train(root, heard.store, "parts", "--resume") == 0
        assert train(root, heard.store, "whole") == 0
    return root


def test_names_stand_in_groups():
    """They were a flat list of some thirty names."""
    grouped = {
        "loss": ["loss", "dev_loss"],
        "rate": ["lr"],
        "speed": ["frames_per_s", "data_wait_share", "seconds"],
        "codes": ["dev_codes_used", "dev_codes_entropy_2", "dev_predicted_perplexity"],
        "dev": ["dev_accuracy", "dev_selection_error", "dev_cer"],
        "solver": ["l2", "gap", "gradient", "passes"],
        "train": ["grad_norm", "masked_share", "accuracy"],
    }
    assert {tag(name) for names in grouped.values() for name in names} == {
        f"{group}/{name}" for group, names in grouped.items() for name in names
    }
    assert tag("dev_accuracy", "result") == "result/dev_accuracy"


@pytest.mark.slow
def test_curves_of_a_pretraining_run_are_its_metrics_in_groups(trained):
    events, records = shown(trained / "log/whole"), read_metrics(trained / "log/whole")
    assert {name.partition("/")[0] for name in events.Tags()["scalars"]} == {"loss", "rate", "speed", "train"}
    logged = {name.rpartition("/")[2] for name in events.Tags()["scalars"]}
    assert logged == {key for record in records for key in record} - {"step"}
    for name in events.Tags()["scalars"]:
        key = name.rpartition("/")[2]
        expected = {row["step"]: row[key] for row in records if key in row}
        assert numbers(events, name) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_run_that_went_on_shows_what_one_without_a_break_shows(trained):
    whole, parts = (shown(trained / "log" / name) for name in ("whole", "parts"))
    assert whole.Tags() == parts.Tags()
    assert len(list((trained / "log/parts").glob(f"{PREFIX}.*"))) == 2
    for name in ("loss/loss", "loss/dev_loss", "rate/lr", "train/grad_norm"):
        assert numbers(parts, name) == numbers(whole, name)
    for name in EXAMPLE:
        assert [sound.step for sound in parts.Audio(name)] == [2, 4]
        assert [one.encoded_audio_string for one in parts.Audio(name)] == [
            one.encoded_audio_string for one in whole.Audio(name)
        ]
    assert block(parts, "config")[0] == [1, 3]  # from which step on it is trained so


@pytest.mark.slow
def test_the_config_and_the_command_of_a_run_are_texts(trained, capsys):
    events, folder = shown(trained / "log/whole"), trained / "result/whole"
    steps, config = block(events, "config")
    assert steps == [1]
    assert config == (folder / "config.yaml").read_text()
    assert yaml.safe_load(config)["model"]["hidden_size"] == 8
    program, script, *words = shlex.split(block(events, "command")[1])
    assert (program, script) == ("python", "runner_mockingjay.py")
    places = ["--ckpdir", str(trained / "result"), "--logdir", str(trained / "log"), "--no-msg"]
    capsys.readouterr()
    assert runner_mockingjay.main([*words, *places, "--dry_run"]) == 0  # it is another run, and the same
    plan = capsys.readouterr().out
    assert textwrap.indent(config, "  ") in plan
    assert f"{trained}/result/whole_again" in plan
    assert "from step 0 to 4" in plan


@pytest.mark.slow
def test_an_example_is_seen_and_heard_at_every_evaluation(trained, heard):
    events = shown(trained / "log/whole")
    assert [(one.step, one.height > 100) for one in events.Images("example/reconstruction")] == [(2, True), (4, True)]
    assert set(events.Tags()["audio"]) == EXAMPLE
    (first, *_) = sorted(Path(heard.recordings).rglob("*.wav"))
    recording, rate = soundfile.read(first, dtype="float32", frames=8000)  # so many seconds are heard
    sounds = {name: [_decoded(one, rate) for one in events.Audio(name)] for name in EXAMPLE}
    for name, (before, after) in sounds.items():
        assert len(before) == len(after) == len(recording)
        assert np.array_equal(before, after) == (name == "example/true"), name
    true, filled, predicted = (sounds[f"example/{kind}"][1] for kind in ("true", "filled", "predicted"))
    assert _likeness(recording, true) > _likeness(recording, filled) > _likeness(recording, predicted)
    assert _likeness(recording, true) > 0.95


def _decoded(sound, rate: int) -> np.ndarray:
    samples, its_rate = soundfile.read(io.BytesIO(sound.encoded_audio_string), dtype="float32")
    assert its_rate == rate
    return samples


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two waveforms' log mel spectrograms."""
    waves = torch.from_numpy(np.stack([one, other]))
    features, _ = FeatureExtractor(replace(FEATURES, cmvn="none"))(waves, torch.tensor([len(one)] * 2))
    return float(np.corrcoef(features.flatten(1).numpy())[0, 1])


@pytest.mark.slow
def test_a_recording_that_cannot_be_read_is_a_warning(heard, tmp_path, capsys):
    shutil.copytree(heard.root / "mel", tmp_path / "mel")
    table = tmp_path / "mel/all.csv"
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    text = table.read_text()
    first = next(word for word in text.split("\n")[1].split(",") if word.endswith(".wav"))
    table.write_text(text.replace(first, str(tmp_path / "noise.wav")))
    assert train(tmp_path, str(tmp_path / "mel/all"), "damaged") == 0
    assert capsys.readouterr().err.count("warning: no sound for TensorBoard: ") == 1
    events = shown(tmp_path / "log/damaged")
    assert events.Tags()["audio"] == []
    assert [one.step for one in events.Images("example/reconstruction")] == [2, 4]


@pytest.mark.slow
def test_a_run_that_begins_anew_hides_what_an_older_one_has_left(tmp_path):
    """A run that was killed before its first checkpoint showed its steps twice."""
    write_store(tmp_path / "data/all", {f"s{i}-1": 40 for i in range(3)})
    rare = ["trainer.log_every=2", "trainer.eval_every=4", "trainer.save_every=4"]
    with at_step(3, killed), pytest.raises(KeyboardInterrupt):
        train(tmp_path, str(tmp_path / "data/all"), "anew", *rare)
    assert set(numbers(shown(tmp_path / "log/anew"), "loss/loss")) == {2}
    assert train(tmp_path, str(tmp_path / "data/all"), "anew", "--resume=auto") == 0
    events = shown(tmp_path / "log/anew")
    assert len(list((tmp_path / "log/anew").glob(f"{PREFIX}.*"))) == 2
    assert set(numbers(events, "loss/loss")) == {1, 2, 3, 4}
    assert set(block(events, "config")[0]) == {1}
    assert (events.Tags()["audio"], events.Tags()["images"]) == ([], ["example/reconstruction"])  # no recordings


def test_a_disk_that_is_full_is_said_once(tmp_path, capsys):
    (tmp_path / "file").touch()
    board = Board(tmp_path / "file/run", goes_on="result.json has the figures")
    board.scalars(1, {"loss": 1.0})
    board.sound(1, "true", np.zeros(10, np.float32), 16000, "example")
    said = f"warning: {tmp_path}/file/run: Not a directory: nothing more for TensorBoard; result.json has the figures"
    assert capsys.readouterr().err.splitlines() == [said]


# Probes


QUICK = ["trainer.steps=4", "trainer.eval_every=2", "trainer.log_every=1"]
RUNS = "result_baseline_phone_linear"


def files(root: Path) -> set[str]:
    """The folders of TensorBoard's files."""
    return {str(path.parent.relative_to(root)) for path in root.rglob(f"{PREFIX}.*")}


@pytest.mark.slow
def test_a_probe_s_curves_are_below_logdir_and_its_results_where_they_were(small: Small):
    small.run("phone_linear", "baseline", "--name", "board", *QUICK)
    folder, board = (small.root / place / RUNS / "board" for place in ("result", "log"))
    assert not files(folder)
    assert [path.name for path in board.iterdir() if not path.name.startswith(PREFIX)] == []
    events, result = shown(board), json.loads((folder / "result.json").read_text())
    groups = {name.partition("/")[0] for name in events.Tags()["scalars"]}
    assert groups == {"loss", "rate", "speed", "train", "dev", "result"}
    records = read_metrics(folder)
    assert numbers(events, "dev/dev_accuracy") == pytest.approx(
        {row["step"]: row["dev_accuracy"] for row in records if "dev_accuracy" in row}
    )
    for part, figures in result["figures"].items():
        for key, value in figures.items():
            assert numbers(events, f"result/{part}_{key}") == pytest.approx({result["best_step"]: value})
    for name in ("confusion", "curves"):
        (picture,) = events.Images(f"result/{name}")
        assert picture.encoded_image_string == (folder / f"{name}.png").read_bytes()
        assert (picture.width, picture.height) > (300, 300)
    steps, config = block(events, "config")
    assert steps == [1]
    assert config == (folder / "config.yaml").read_text()
    assert block(events, "command")[1].strip() == result["command"]
    run_downstream.read(shlex.split(result["command"])[2:])


@pytest.mark.slow
def test_a_probe_that_went_on_shows_each_step_once(small: Small):
    words = ["--run", "phone_linear", "--upstream", "baseline", *small.words("--name", "broken", *QUICK)]
    with at_step(3, terminate):
        assert run_downstream.main(words) == 143
    assert run_downstream.main([*words, "--resume"]) == 0
    events = shown(small.root / "log" / RUNS / "broken")
    assert set(numbers(events, "loss/loss")) == {1, 2, 3, 4}
    assert set(numbers(events, "loss/dev_loss")) == {2, 4}
    assert len(numbers(events, "result/test_accuracy")) == 1
    assert block(events, "config")[0] == [1, 4]


@pytest.mark.slow
def test_each_run_of_a_sweep_has_a_folder_of_its_own(small: Small):
    small.run("phone_linear", "baseline", "--name", "swept", "--seeds", "2", "--sweep", "lr=1e-3,1e-2", *QUICK)
    board = small.root / "log" / RUNS / "swept"
    assert files(board) == {f"seed_{seed}/lr={rate}" for seed in (1337, 1338) for rate in ("1e-3", "1e-2")}
    scored = [name for name in files(board) if "result/test_accuracy" in shown(board / name).Tags()["scalars"]]
    assert sorted(name.partition("/")[0] for name in scored) == ["seed_1337", "seed_1338"]  # test is read for one each
    for name in files(board):
        assert f"lr: {float(name.rpartition('=')[2])}" in block(shown(board / name), "config")[1]


@pytest.mark.slow
def test_a_head_that_is_solved_for_shows_its_passes_and_its_result(small: Small):
    words = [word for word in small.words() if not word.startswith(("trainer.", "optimizer."))]
    words += ["--run", "phone_linear", "--upstream", "baseline", "--name", "exact", "probe.solver=exact"]
    assert run_downstream.main([*words, "probe.l2=[1e-1,1e-3]"]) == 0
    result = json.loads((small.root / "result" / RUNS / "exact/result.json").read_text())
    events = shown(small.root / "log" / RUNS / "exact")
    assert len(numbers(events, "solver/l2")) == len(numbers(events, "dev/dev_accuracy")) == 2
    assert numbers(events, "result/test_accuracy") == pytest.approx({result["best_step"]: result["test_accuracy"]})
    assert numbers(events, "result/dev_accuracy") == pytest.approx({result["best_step"]: result["dev_accuracy"]})
    assert "solver: exact" in block(events, "config")[1]
    assert set(events.Tags()["images"]) == {"result/confusion", "result/curves"}


@pytest.mark.slow
def test_a_result_whose_training_was_taken_from_elsewhere_has_its_texts(small: Small):
    small.run("phone_linear", "baseline", "--name", "gone", *QUICK)
    board = small.root / "log" / RUNS / "gone"
    shutil.rmtree(board)
    (small.root / "result" / RUNS / "gone/result.json").unlink()
    small.run("phone_linear", "baseline", "--name", "gone", "--resume", *QUICK)
    events = shown(board)
    assert {name.partition("/")[0] for name in events.Tags()["scalars"]} == {"result"}
    assert block(events, "config")[0] == [1]


@pytest.mark.parametrize(
    ("folder", "below"),
    [
        ("result/result_a_t/exp_000", "result_a_t/exp_000"),
        ("elsewhere/result/demo/result_a_t/x/y", "result_a_t/x/y"),  # a name may have parts
        ("/tmp/result_a_t/result_a_t/x", "result_a_t/x"),
        ("../moved/copy", "result_a_t/copy"),  # what --resume names may lie anywhere
        (".", "result_a_t/here"),
    ],
)
def test_the_path_below_logdir_is_that_below_expdir(folder, below, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = event_folders(tmp_path / "log", Path(folder), "a", "t")
    assert found.events == tmp_path / "log" / below
    assert not (tmp_path / "log").exists()


def test_each_kind_of_run_has_its_folder_below_log():
    _, _, pretrained = runner_mockingjay.read(["--train"])
    _, _, classic = runner_mockingjay.read(["--train_phone"])
    probed = run_downstream.read(["--run", "phone_linear", "--upstream", "baseline"])
    assert pretrained.logdir == Path("log/log_mockingjay")
    assert classic.logdir == probed.logdir == Path("log/log_downstream")
    _, _, classic = runner_mockingjay.read(["--train_phone", "--logdir", "x"])
    assert classic.logdir == Path("x")
