"""Probes on any upstream: labels at the frames of the states, from stores and from recordings, by labels of layers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import run_downstream
from downstream import opened
from downstream.corpus import TOO_SHORT
from downstream.experiment import Experiment
from downstream.sweep import Choice, parse_sweep, run_many, run_single
from mockingjay import states
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.downstream_corpus import TABLELESS
from tests.helpers.files import contents
from tests.helpers.heard_corpus import EACH, FEATURES, ONLINE, RATE, SPEAKERS, Heard
from tests.helpers.waveform_upstreams import Strided
from utility.config import as_dict, resolve
from utility.labels.alignment import IGNORE, write_alignment


@pytest.fixture(scope="module")
def ckpt(heard) -> Path:
    return write_checkpoint(heard.root / "ckpt/mel.ckpt", FEATURES, model=TRANSFORMER)


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch) -> None:
    """They take most of the time of a short run, and other tests look at them."""
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)


# The first ten frames by hand. Phones change at 0.05, 0.11 and 0.30 s and the alignment ends at 0.45 s.
SEGMENTS = [(0.0, 0.05, "a"), (0.05, 0.11, "b"), (0.11, 0.30, "c"), (0.30, 0.45, "d")]
BY_HAND = {
    "strided10": (0.0125, 0.010, "aaaabbbbbb"),  # 12.5, 22.5, 32.5, 42.5 | 52.5 ... 102.5
    "strided20": (0.0175, 0.020, "aabbbccccc"),  # 17.5, 37.5 | 57.5, 77.5, 97.5 | 117.5 ... 197.5
    "strided40": (0.0275, 0.040, "abbccccddd"),  # 27.5 | 67.5, 107.5 | 147.5 ... 267.5 | 307.5, 347.5, 387.5
    "C1": (0.0125, 0.010, "aaaabbbbbb"),
    "baseline": (0.0, 0.0125, "aaaabbbbbc"),  # 0, 12.5, 25, 37.5 | 50, 62.5, 75, 87.5, 100 | 112.5
}


@pytest.mark.parametrize("case", BY_HAND)
def test_labels_stand_at_the_centres_of_the_frames_of_the_states(case, heard, strided, tmp_path):
    offset, shift, expected = BY_HAND[case]
    write_alignment(tmp_path / "phones", [(f"s{s}-{n}", SEGMENTS) for s in range(SPEAKERS) for n in range(EACH)])
    upstream = "strided40" if case == "C1" else case
    more = {"upstream": {"layer": "C1"}} if case == "C1" else {}
    made = heard.experiment("phone_linear", upstream, heard.store, data={"alignment": str(tmp_path / "phones")}, **more)
    framed, labels = made.corpus.utterances, made.corpus.labels
    assert framed.frame_times(3)[:10] == pytest.approx(offset + shift * np.arange(10), abs=1e-9)
    assert "".join(labels.classes[code] for code in labels.frames(3, 0, 10)) == expected
    beyond = framed.frame_times(3) > 0.45 + shift
    assert beyond.any()
    codes = labels.frames(3, 0, int(framed.lengths[3]))
    assert (codes[beyond] == IGNORE).all()
    assert (codes[framed.frame_times(3) < 0.45] != IGNORE).all()


PAIRS = [
    *((task, "strided20") for task in TABLELESS),
    ("phone_linear", "strided40"),
    ("speaker_utterance", "strided40"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "upstream"), PAIRS)
def test_every_task_probes_states_of_sound_alike_from_a_store_and_from_recordings(task, upstream, heard, strided):
    results = {}
    for name, train in {"store": heard.store, "table": heard.table}.items():
        folder = heard.root / "tasks" / f"{task}_{upstream}_{name}"
        results[name] = run_single(heard.setting(task, upstream, train, optimizer={"lr": 0.05}), folder)
        assert results[name]["value"] > 100 / results[name]["classes"] + 15
    for key in ("figures", "division", "best_step", "layer", "layer_label"):
        assert results["store"][key] == results["table"][key]
    assert (results["store"]["layer"], results["store"]["layer_label"]) == (2, "T2")
    made = heard.experiment(task, upstream, heard.store)
    shift = int(upstream[-2:]) * RATE // 1000
    counts = made.corpus.utterances.lengths
    assert counts.tolist() == ((made.corpus.store.num_samples - 400 - (shift - 160)) // shift + 1).tolist()
    assert (made.frames.lengths == counts).all()


@pytest.mark.slow
@pytest.mark.parametrize("upstream", ["baseline", "pretrained"])
@pytest.mark.parametrize("source", ["recordings", "table"])
def test_recordings_give_what_a_store_of_them_gives(source, upstream, heard, ckpt):
    spec, online = ("baseline", True) if upstream == "baseline" else (f"pretrained:{ckpt}", False)
    train = getattr(heard, source)
    results, made = [], []
    for place, told in ((heard.store, False), (train, online)):
        settings = heard.setting("phone_linear", spec, place, told)
        if source == "recordings":  # no speakers
            settings = heard.setting("phone_linear", spec, place, told, data={"split": "utterance"})
        folder = heard.root / "alike" / upstream / source / Path(place).parent.name
        if source == "table":  # whose utterances are divided alike: it says the speakers
            results.append(run_single(settings, folder))
        made.append(Experiment(settings, folder))
    one, other = made
    assert (one.corpus.utterances.lengths == other.corpus.utterances.lengths).all()
    for i, length in enumerate(one.corpus.utterances.lengths.tolist()):
        assert np.array_equal(one.frames.read(i, 0, length), other.frames.read(i, 0, length))
        if i in one.corpus.labels.start:
            assert np.array_equal(one.corpus.labels.frames(i, 0, length), other.corpus.labels.frames(i, 0, length))
    assert len({json.dumps([result[key] for key in ("figures", "value", "features")]) for result in results}) <= 1


WAYS = {
    "T2": ["2", "T2", "last"],
    "T0": ["0", "T0"],
    "C1": ["C1"],
    "average": ["average"],
}


@pytest.mark.parametrize("label", WAYS)
def test_a_layer_is_one_cache_however_it_is_said(label, heard, strided, monkeypatch, tmp_path):
    made = []
    original = states.represent
    monkeypatch.setattr(states, "represent", lambda *args: made.append(args[2]) or original(*args))
    found = []
    for way in WAYS[label]:
        told = {"upstream": {"layer": int(way) if way.isdigit() else way}, "data": {"cache": str(tmp_path)}}
        experiment = heard.experiment("speaker_frame", "strided20", heard.store, **told)
        found.append(experiment.frames.read(0, 0, 7))
        assert experiment.layers.label == label
        assert experiment.layers.number == {"T2": 2, "T0": 0}.get(label)
    assert len(made) == 1
    wave, _ = soundfile.read(experiment.corpus.store.audio_paths[0], dtype="float32")
    upstream = Strided(20).eval()
    labels = upstream.layers if label == "average" else (label,)
    with torch.no_grad():
        given = upstream(torch.from_numpy(wave)[None], torch.tensor([len(wave)]), labels)
    expected = sum(given)[0, :7] / len(given)
    for states_of_way in found:
        assert states_of_way == pytest.approx(expected.numpy(), abs=2e-3)  # kept as float16
    stored = experiment.frames.stores[0].info
    assert (stored.frame_shift, stored.frame_offset) == upstream.times(labels[0])


@pytest.mark.slow
def test_a_sum_of_listed_layers_learns_their_weights(heard, strided):
    told = {"upstream": {"layer": ["C2", 2], "weighted_sum": True}}
    result = run_single(heard.setting("phone_linear", "strided20", heard.store, **told), heard.root / "listed")
    assert result["layers"] == ["C2", "T2"]
    assert (result["layer"], result["layer_label"]) == (None, None)
    assert len(result["layer_weights"]) == 2
    assert sum(result["layer_weights"]) == pytest.approx(1)
    assert max(result["layer_weights"]) > 0.51
    whole = {"upstream": {"weighted_sum": True}}
    assert heard.experiment("phone_linear", "strided20", heard.store, **whole).layers.labels == ("T0", "T1", "T2")


REFUSED_LAYERS = {
    "several without a sum": ({"layer": "C2,T2"}, "layer C2,T2 is several hidden states: choose one, or add"),
    "all without a sum": ({"layer": "all"}, "layer all is several hidden states"),
    "a sum of one": ({"layer": "T1", "weighted_sum": True}, "weighted_sum takes all layers, or a list"),
    "a sum of a mean": ({"layer": "average", "weighted_sum": True}, "weighted_sum takes all layers, or a list"),
    "other rates": ({"layer": "C1,T2", "weighted_sum": True}, "layers C1, T2 differ in width or frame rate"),
    "twice": ({"layer": "T2,last", "weighted_sum": True}, "layer T2 is listed twice"),
    "unknown": ({"layer": "C7"}, r"layer C7 does not exist: .*hidden states 0 to 2 \(C1, C2, T0 ... T2\)"),
    "freeze what is frozen": ({"freeze": ["blocks"]}, "freeze would change nothing: without fine_tune"),
    "recompute what is frozen": ({"gradient_checkpointing": True}, "gradient_checkpointing would change nothing"),
    "freeze nothing": ({"fine_tune": True, "freeze": ["block"]}, "freeze 'block': no weight's .*did you mean 'blocks'"),
    "part of a name": ({"fine_tune": True, "freeze": ["conv"]}, "'conv': no weight's name begins so"),
    "freeze all": ({"fine_tune": True, "freeze": ["blocks", "convolutions"]}, "leaves no weight of the upstream"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_LAYERS)
def test_layers_and_parts_that_do_not_go_together_are_refused(case, heard, strided):
    told, message = REFUSED_LAYERS[case]
    with pytest.raises(ValueError, match=message):
        heard.experiment("phone_linear", "strided20", heard.store, upstream=told)


@pytest.mark.slow
def test_sweep_over_layers_of_other_frame_rates_labels_each_once(heard, strided, tmp_path, monkeypatch):
    loaded = []
    load = opened.load_upstream
    monkeypatch.setattr(opened, "load_upstream", lambda *args, **more: loaded.append(1) or load(*args, **more))
    base = heard.setting("phone_linear", "strided40", heard.store, data={"cache": str(tmp_path / "cache")})
    choices = [
        Choice(words[0], resolve(type(base.config), as_dict(base.config), words))
        for words in parse_sweep(["layer=C1,T2"])
    ]
    summary = run_many(base, choices, [1, 2], tmp_path / "sweep")
    for row in summary["seeds"]:
        assert row["tried"].keys() == {"upstream.layer=C1", "upstream.layer=T2"}
    results = {
        label: json.loads((tmp_path / f"sweep/seed_1/upstream.layer={label}/result.json").read_text())
        for label in ("C1", "T2")
    }
    frames = [results[label]["division"]["train"]["frames"] for label in ("C1", "T2")]
    assert frames[0] == pytest.approx(4 * frames[1], rel=0.1)
    assert results["C1"]["layer"] is None
    assert len(loaded) == 1


def test_what_is_too_short_is_left_out_and_counted(heard, strided, tmp_path):
    files = {f"s{i % 4}-{i}": 16000 + 37 * i for i in range(12)} | {"s1-short": 879, "s2-just": 880}
    rng = np.random.default_rng(0)
    for name, samples in files.items():
        path = tmp_path / "audio" / name.partition("-")[0] / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.normal(size=samples), RATE)
    write_alignment(tmp_path / "phones", [(name, [(0, 0.03, "a"), (0.03, 0.055, "b")]) for name in files])
    more = {"data": {"alignment": str(tmp_path / "phones"), "cache": str(tmp_path / "cache"), "split": "utterance"}}
    made = heard.experiment("phone_linear", "strided40", str(tmp_path / "audio"), **more)
    assert made.corpus.parts.left_out == {TOO_SHORT: 1}
    assert made.corpus.utterances.lengths.min() == 0
    lengths = dict(zip(made.frames.ids, made.frames.lengths.tolist()))
    assert (lengths["s1-short"], lengths["s2-just"]) == (0, 1)
    for i, length in enumerate(made.frames.lengths.tolist()):
        assert len(made.frames.read(i, 0, length)) == length if length else True
    wave, _ = soundfile.read(tmp_path / "audio/s2/s2-just.wav", dtype="float32")
    with torch.no_grad():
        state = Strided(40).eval()(torch.from_numpy(wave)[None], torch.tensor([880]))[2][0]
    index = made.frames.ids.index("s2-just")
    assert made.frames.read(index, 0, 1) == pytest.approx(state.numpy(), abs=2e-3)


@pytest.mark.parametrize("called", ["strided20", "baseline"])
def test_a_table_that_calls_its_recordings_otherwise_has_states_of_its_own(called, heard, strided, tmp_path):
    more = {"data": {"cache": str(tmp_path / "cache")}, "online": called == "baseline"}
    renamed = tmp_path / "all.csv"
    moved(heard, tmp_path)
    one = heard.experiment("speaker_frame", called, str(renamed), **more).frames
    assert heard.experiment("speaker_frame", called, str(renamed), **more).frames.stores[0].paths == one.stores[0].paths
    moved(heard, tmp_path, id="zero")
    other = heard.experiment("speaker_frame", called, str(renamed), **more).frames
    assert one.ids[0] == "s0-0"
    assert other.ids[0] == "zero"
    assert np.array_equal(one.read(0, 0, 5), other.read(0, 0, 5))


def moved(heard: Heard, folder: Path, **first: str) -> str:
    """The table of recordings in another folder, its first row changed."""
    table = pd.read_csv(heard.table)
    table["path"] = [str((Path(heard.table).parent / path).resolve()) for path in table["path"]]
    for column, value in first.items():
        table.loc[0, column] = value
    table.to_csv(folder / "all.csv", index=False)
    return str(folder / "all.csv")


def harmed(change: Callable[[Path], None], heard: Heard, folder: Path) -> str:
    """A table of recordings of which the first is changed after that."""
    target = folder / "s0-0.wav"
    target.write_bytes(Path(f"{heard.recordings}/s0/s0-0.wav").read_bytes())
    change(target)
    return moved(heard, folder, path=str(target))


BROKEN = {
    "gone": (Path.unlink, r"1 of 20 recordings cannot be used, .*s0-0\.wav is not there"),
    "cut": (
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        "1 recordings cannot be used, 's0-0' for one, see",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_recordings_that_are_broken_are_refused(case, heard, strided, tmp_path):
    change, message = BROKEN[case]
    data = {"cache": str(tmp_path / "cache")}
    with pytest.raises(ValueError, match=message):
        _ = heard.experiment("speaker_frame", "strided20", harmed(change, heard, tmp_path), data=data).frames


REFUSED = {
    "both kinds": ("baseline", "{store}", ["data.test=[{table}]"], "data lists both: .*mel/all is read as a store"),
    "features unsaid": ("baseline", "{table}", [], "upstream 'baseline' does not say which features .*--online_config"),
    "random unsaid": ("random:{yaml}", "{table}", [], "does not say which features of recordings it takes"),
    "own unsaid": ("tests.helpers.downstream_corpus:Doubling", "{table}", [], "does not say which features"),
    "online of a store": ("baseline", "{store}", ["--online_config", "{online}"], "is a store, whose features"),
    "other features": ("pretrained:{ckpt}", "{table}", ["--online_config", "{fbank}"], "kind 'fbank' against 'mel'"),
    "noise": ("baseline", "{table}", ["--online_config", "{noise}"], "noise_proportion: recordings are heard as"),
    "no section": ("baseline", "{table}", ["--online_config", "{yaml}"], "has no section online"),
    "a strange section": ("baseline", "{table}", ["--online_config", "{strange}"], "unknown config key 'loader'"),
    "no speakers": ("pretrained:{ckpt}", "{recordings}", ["--run", "speaker_frame"], "a folder of audio says none"),
    "named twice": ("pretrained:{ckpt}", "{table}", ["--ckpt", "{ckpt}"], "names its checkpoint, got --ckpt"),
    "file of hf": ("hf:x", "{table}", ["--ckpt", "{ckpt}"], "--upstream hf:x takes no checkpoint, got --ckpt"),
    "no such run": ("pretrained:nothere", "{table}", [], "upstream pretrained: nothere does not exist"),
    "nothing there": ("baseline", "{root}/nothing", [], "no feature store here"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_in_a_line(case, heard, ckpt, tmp_path):
    upstream, train, words, message = REFUSED[case]
    files = {
        "yaml": "model: {layers: 1, hidden_size: 8, heads: 2, ffn_size: 8}\n",
        "fbank": "online: {input: {kind: fbank, deltas: 0}}\n",
        "noise": "online: {noise_proportion: 0.5}\n",
        "strange": ONLINE + "loader: {batch_frames: 3}\n",
    }
    places = {name: getattr(heard, name) for name in ("root", "store", "table", "recordings", "online")}
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        places[name] = str(tmp_path / f"{name}.yaml")
    places["ckpt"] = str(ckpt)
    words = [word.format(**places) for word in words]
    run = [] if "--run" in words else ["--run", "phone_linear"]
    own = heard.words(train.format(**places), "--upstream", upstream.format(**places), "--expdir", str(tmp_path / "no"))
    with pytest.raises(ValueError, match=message) as refused:
        run_downstream.main([*run, *own, *words])
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "no").exists()


def test_online_config_lays_its_data_over_and_is_kept_beside_the_run(heard, tmp_path, capsys):
    online = tmp_path / "online.yaml"
    online.write_text(ONLINE + f"data: {{train: [{heard.table}]}}\n")
    words = heard.words("elsewhere/all", "--run", "phone_linear", "--upstream", "mels=baseline", "--name", "one")
    words = [word for word in words if not word.startswith("data.train")]
    assert run_downstream.main([*words, "--online_config", str(online)]) == 0
    folder = heard.root / "result/result_mels_phone_linear/one"
    assert "phone_linear mels: dev" in capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    assert result["upstream"] == "mels"
    assert result["fingerprints"]["upstream"]["spec"] == "mels=baseline"
    assert result["features"]["kind"] == "mel"
    program, script, *again = result["command"].split()
    assert (program, script) == ("python", "run_downstream.py")
    online.unlink()
    assert run_downstream.main([*again, "--expdir", str(tmp_path), "--logdir", str(tmp_path / "log")]) == 0
    repeated = json.loads((tmp_path / "result_mels_phone_linear/exp_000/result.json").read_text())
    assert repeated["figures"] == result["figures"]
    assert repeated["cost"]["states_seconds"] is None  # they were kept
    resumed = [*words, "--resume", f"data.train=[{heard.table}]"]
    assert run_downstream.main(resumed) == 0


@pytest.mark.slow
def test_what_states_cost_is_said_once_and_kept(heard, strided, tmp_path, capfd):
    loud = replace(heard.setting("phone_linear", "strided20", heard.store, data={"cache": str(tmp_path)}), quiet=False)
    first = run_single(loud, tmp_path / "first")
    errors = capfd.readouterr().err
    assert errors.count("hidden states 2 (T2): ") == 1
    frames = first["cost"]["frames"]
    assert f"hidden states 2 (T2): {frames} frames (" in errors
    assert " s of sound, " in errors
    assert first["cost"]["states_seconds"] > 0
    assert first["cost"]["training_seconds"] > 0
    assert first["cost"]["states_bytes"] == frames * 12 * 2
    second = run_single(loud, tmp_path / "second")
    assert "hidden states 2" not in capfd.readouterr().err
    assert second["cost"]["states_seconds"] is None
    assert second["figures"] == first["figures"]


def test_states_whose_making_was_killed_are_the_same_bytes(heard, strided, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    monkeypatch.setattr(Strided, "batched", False)
    whole = heard.experiment("speaker_frame", "strided20", heard.table, data={"cache": str(tmp_path / "whole")})
    _ = whole.frames
    encode, calls = Strided.encode, []

    def dying(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return encode(self, *args)

    monkeypatch.setattr(Strided, "encode", dying)
    cache = {"cache": str(tmp_path / "broken")}
    with pytest.raises(Killed):
        _ = heard.experiment("speaker_frame", "strided20", heard.table, data=cache).frames
    again = heard.experiment("speaker_frame", "strided20", heard.table, data=cache)
    _ = again.frames
    one, other = (contents(experiment.frames.stores[0].paths[0].parent) for experiment in (whole, again))
    assert one == other


def test_dry_run_shows_the_layer_and_writes_nothing(heard, ckpt, tmp_path, capsys):
    words = heard.words(heard.table, "--run", "phone_linear", "--upstream", f"pretrained:{ckpt}", "--dry_run")
    assert run_downstream.main([*words, "--layer", "T1", "--expdir", str(tmp_path / "no")]) == 0
    shown = capsys.readouterr().out
    assert "hidden state: 1 (T1) (of T0, T1, T2)" in shown
    assert not (tmp_path / "no").exists()
