"""--cluster and --extract --codes: killed runs end with the same bits, memory is flat, codes follow frames alone."""

import contextlib
import json
import shutil
import tracemalloc
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import runner_mockingjay
from mockingjay.encoding import Encoding
from mockingjay.inputs import Inputs
from mockingjay.points import StatePoints
from mockingjay.upstreams.selection import LayerSelection
from tests.contract.test_locks import holder
from tests.helpers.bounded import RATE, Bounded
from tests.helpers.files import contents
from tests.helpers.speech import MEL, wav, write_store
from utility import clustering
from utility.clustering import Group, drawn, find_centroids
from utility.clusters import KMeans, nearest
from utility.config import as_dict
from utility.store.reading import Store
from utility.store.recordings import Recordings

LENGTHS = {f"s{k % 3}-{k}": 1 + 41 * k % 190 for k in range(40)}
MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
CLUSTER = ["--cluster", "--cpu", "--no-msg", "--clusters", "9", "--input", "data/mel/train"]


class Killed(BaseException):
    """What nothing of ours catches."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("codes").resolve()
    write_store(root / "data/mel/train", LENGTHS)
    write_store(root / "data/mel/dev", {f"d-{k}": 30 + k for k in range(5)}, seed=1)
    (root / "small.yaml").write_text(yaml.safe_dump({"model": MODEL}))
    (root / "other.yaml").write_text(yaml.safe_dump({"model": MODEL | {"ffn_size": 16}}))
    (root / "online.yaml").write_text(yaml.safe_dump({"online": {"input": as_dict(MEL)}}))
    for number, samples in enumerate((9000, 4000, 16000)):
        wav(root / f"audio/{number}.wav", samples, number)
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoding.batches, "__defaults__", (1500, 40.0))
        assert run(*CLUSTER, "--output", "whole") == 0
    return root


@pytest.fixture(autouse=True)
def here(world, monkeypatch, tmp_path) -> Path:
    monkeypatch.chdir(world)
    monkeypatch.setattr(Encoding.batches, "__defaults__", (1500, 40.0))  # several batches
    return tmp_path


def run(*words: str) -> int | None:
    return runner_mockingjay.main(list(words))


def refused(*words: str) -> str:
    with pytest.raises((ValueError, OSError)) as answer:
        run(*words)
    assert "\n" not in str(answer.value)
    return str(answer.value)


def codes(path: Path | str) -> dict[str, list[int]]:
    store = Store([path], codes=True)
    return {name: store[index][:, 0].tolist() for index, name in enumerate(store.ids)}


EVENTS = (
    "mockingjay.points.StatePoints._check",  # a batch was read
    "utility.clustering.replace_file",  # the settings, the sample's files, centroids after restarts and passes
    "utility.clustering.Distances.put",
    "mockingjay.codes.StoreWriter.write",
    "mockingjay.codes.write_json",
    "mockingjay.codes.write_centroids",
)


def killed_at(monkeypatch, event: str, number: int, *words: str) -> bool:
    """Run a command that is killed just before the event's occurrence of that number; whether it came so far."""
    place, _, name = event.rpartition(".")
    module = __import__(place.split(".")[0])
    for part in place.split(".")[1:]:
        module = getattr(module, part)
    original, count = getattr(module, name), 0

    def counting(*given, **more):
        nonlocal count
        count += 1
        if count > number:
            raise Killed
        return original(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, counting)
        try:
            run(*words)
        except Killed:
            return True
    return False


@pytest.mark.slow
def test_a_killed_run_goes_on_and_leaves_the_bytes_of_an_undisturbed_one(here, monkeypatch):
    few = {name: length for name, length in LENGTHS.items() if length > 140}
    store = write_store(here / "few/train", few)
    monkeypatch.setattr(Encoding.batches, "__defaults__", (400, 40.0))
    monkeypatch.setattr("commands.cluster.KMeans", partial(KMeans, sample_bytes=4 * 80 * 600))  # a part of the frames
    words = [*CLUSTER[:5], "--input", str(store), "--passes", "2", "--restarts", "1", "--output"]
    assert run(*words, str(here / "whole")) == 0
    whole = contents(here / "whole")
    kills = 0
    for event in EVENTS:
        for first, second in ((0, 1), (6, 3)):
            folder = here / "killed"
            kills += sum(killed_at(monkeypatch, event, number, *words, str(folder)) for number in (first, second))
            assert run(*words, str(folder)) == 0
            assert contents(folder) == whole, (event, first)
            shutil.rmtree(folder)
    assert kills > 12


def test_a_killed_command_that_applies_goes_on_too(here, monkeypatch):
    shutil.copytree("whole", here / "codes")
    for event in ("utility.clustering.Distances.put", "mockingjay.codes.StoreWriter.write"):
        words = ["--cluster", "--cpu", "--no-msg", "--apply", "whole", "--input", "data/mel/train"]
        folder = here / event
        assert killed_at(monkeypatch, event, 1, *words, "--output", str(folder))
        assert run(*words, "--output", str(folder)) == 0
        assert codes(folder / "train") == codes("whole/train")
        assert json.loads((folder / "train.json").read_text()) == json.loads(Path("whole/train.json").read_text())
        assert not [path for path in folder.iterdir() if path.is_dir()]


def test_an_unfinished_search_takes_no_other_settings_and_a_finished_one_tells_itself(here, monkeypatch, capsys):
    words = ["--output", str(here / "out")]
    assert killed_at(monkeypatch, "mockingjay.codes.StoreWriter.write", 1, *CLUSTER, *words)
    line = refused(*CLUSTER[:4], "7", *CLUSTER[5:], *words)
    assert "was begun with clusters 9, this is 7" in line
    assert run(*CLUSTER, *words) == 0
    before = contents(here / "out")
    assert run(*[word for word in CLUSTER if word != "--no-msg"], *words) == 0
    assert "9 centroids of frames of mel" in capsys.readouterr().out
    for flag, other in (("--clusters", "7"), ("--seed", "3"), ("--passes", "1"), ("--restarts", "1")):
        assert f"{flag[2:]} is " in refused(*CLUSTER, *words, flag, other)
    assert "its input was another" in refused(*CLUSTER, *words, "--input", "data/mel/dev")
    assert contents(here / "out") == before


def test_another_command_in_the_same_folder_is_refused(here):
    process, _ = holder(here / "out")
    try:
        line = refused(*CLUSTER, "--output", str(here / "out"))
        assert f"process {process.pid}" in line
        assert "choose another --output" in line
    finally:
        process.kill()
        process.wait()


def test_a_dry_run_writes_nothing_and_names_the_usual_folder(here, capsys):
    before = sorted(Path().rglob("*"))
    for words, folder in (([], "data/mel_codes"), (["--upstream", "mine=random:small.yaml"], "data/mine_codes")):
        assert run(*CLUSTER, *words, "--dry_run") == 0
        out = capsys.readouterr().out
        assert f"the output would go to {folder}" in out
        assert "9 clusters of 3" in out
    assert run("--extract", "--codes", "whole", "--input", "whole/train", "--dry_run") == 0
    assert run("--cluster", "--apply", "whole", "--input", "data/mel/dev", "--dry_run") == 0
    assert "160 points of 80 numbers: frames of " in capsys.readouterr().out
    assert sorted(Path().rglob("*")) == before


def test_a_refused_run_leaves_nothing(here):
    store = write_store(here / "data/bad/train", {"a": 50, "b": 60})
    array = np.lib.format.open_memmap(f"{store}.npy", "r+")
    array[70] = np.nan
    array.flush()
    words = ["--cluster", "--cpu", "--no-msg", "--clusters", "5", "--input", str(store), "--output", str(here / "out")]
    assert "utterance 'b': its frames are not finite" in refused(*words)
    assert not (here / "out").exists()


@pytest.mark.slow
def test_applied_codes_are_those_of_the_search_and_of_the_nearest_centroids(here):
    assert (
        run("--cluster", "--cpu", "--no-msg", "--apply", "whole", "--input", "data/mel/train", "--output", str(here))
        == 0
    )
    assert codes(here / "train") == codes("whole/train")
    from safetensors.torch import load_file

    centroids, store = load_file("whole/centroids.safetensors")["centroids"], Store(["data/mel/train"])
    for index, name in enumerate(store.ids):  # each utterance alone
        assert codes("whole/train")[name] == nearest(torch.from_numpy(store[index]), centroids).tolist()
    info = Store(["whole/train"], codes=True).info
    assert (info.codes, info.row_shape, info.frame_shift) == (9, [1], MEL.frame_shift)
    assert (info.made_by["checkpoint"], info.made_by["layers"], info.made_by["stack"]) == ("baseline", 0, 1)
    assert Store(["whole/train"], codes=True).lengths.tolist() == store.lengths.tolist()
    record = json.loads(Path("whole/train.json").read_text())
    frames = torch.from_numpy(np.concatenate([store[index] for index in range(len(store))])).double()
    distance = torch.cdist(frames, centroids.double()).min(1).values.square().mean()
    assert record["inertia"] == pytest.approx(float(distance), rel=1e-9)


def test_stacked_frames_have_the_rule_and_the_times_of_the_model(here):
    assert run(*CLUSTER, "--stack", "3", "--output", str(here / "out")) == 0
    store, stacked = Store(["data/mel/train"]), Store([here / "out/train"], codes=True)
    assert stacked.lengths.tolist() == np.maximum(store.lengths // 3, 1).tolist()
    assert stacked.info.frame_shift == pytest.approx(3 * MEL.frame_shift)
    np.testing.assert_allclose(stacked.frame_times(3)[:2], store.frame_times(3)[[1, 4]])


@pytest.mark.slow
def test_an_upstream_s_states_are_clustered_as_if_they_had_been_stored_first(here):
    upstream = ["--upstream", "random:small.yaml", "--layer", "1", "--seed", "4"]
    assert run("--extract", "--cpu", "--no-msg", *upstream, *CLUSTER[5:], "--output", str(here / "states")) == 0
    assert run(*CLUSTER, *upstream, "--passes", "1", "--output", str(here / "direct")) == 0
    stored = ["--input", str(here / "states/train"), "--seed", "4", "--passes", "1"]
    assert run(*CLUSTER, *stored, "--output", str(here / "stored")) == 0
    assert codes(here / "direct/train") == codes(here / "stored/train")
    one, other = (json.loads((here / name / "train.json").read_text()) for name in ("direct", "stored"))
    assert one["inertia"] == other["inertia"]
    assert one["centroids"] != other["centroids"]  # they are of another upstream
    apply = ["--cluster", "--cpu", "--no-msg", "--apply", str(here / "direct"), "--input", "data/mel/dev"]
    assert run(*apply) == 0
    assert len(codes(here / "direct/dev")) == 5
    line = refused(*apply, "--upstream", "random:other.yaml", "--output", str(here / "no"))
    assert "the weights, or what made the states, are others" in line


def test_recordings_are_clustered_and_coded_without_a_store(here):
    words = ["--cluster", "--cpu", "--no-msg", "--clusters", "6", "--input", "audio", "--output", str(here / "out")]
    assert "which features?" in refused(*words)
    assert run(*words, "--online_config", "online.yaml") == 0
    before = codes(here / "out/audio")
    again = ["--cluster", "--cpu", "--no-msg", "--apply", str(here / "out"), "--input", "audio"]
    assert run(*again, "--output", str(here / "again")) == 0  # the features are those of the centroids
    assert codes(here / "again/audio") == before
    assert list(before) == ["0", "1", "2"]


def test_long_recordings_in_pieces_give_the_points_of_whole_ones(here):
    for number, samples in enumerate((5 * RATE + 11, 2 * RATE, 300)):
        wav(here / f"long/{number}.wav", samples, number, RATE)
    corpus = Recordings([here / "long"], None, RATE)

    def points(longest: int) -> np.ndarray:
        upstream = Bounded().eval()
        upstream.longest = longest
        layers = LayerSelection("last")
        made = StatePoints(Encoding(upstream, Inputs(upstream, corpus), layers), 3)
        rows = [np.zeros((length, made.width)) for length in made.lengths]
        for group in made.read(range(len(made.parts)), lambda *failed: None):
            at = 0
            for utterance, begin, count in group.spans:
                rows[utterance][begin : begin + count] = group.rows[at : at + count]
                at += count
        return np.concatenate(rows)

    with torch.inference_mode():
        np.testing.assert_allclose(points(2 * RATE), points(99 * RATE), rtol=0, atol=1e-6)


def test_a_recording_that_fails_is_told_and_the_others_have_codes(here, capsys):
    shutil.copytree("audio", here / "audio")
    broken = here / "audio/2.wav"
    broken.write_bytes(broken.read_bytes()[:5000])
    words = [*CLUSTER[:4], "6", "--input", str(here / "audio"), "--online_config", "online.yaml"]
    assert run(*words, "--output", str(here / "out")) == 1
    assert "1 recordings not used" in capsys.readouterr().err
    assert list(codes(here / "out/audio")) == ["0", "1"]


# Units


def test_units_are_lines_of_codes_with_and_without_repeats(here):
    expected = codes("whole/train")
    for number, (source, where) in enumerate((("whole/train", here), ("data/mel/train", here / "from frames"))):
        words = ["--extract", "--codes", "whole", "--input", source, "--output", str(where), "--no-msg", "--cpu"]
        assert run(*words) == 0, number
        plain = [line.split() for line in (where / "train.txt").read_text().splitlines()]
        assert {name: list(map(int, units)) for name, *units in plain} == expected
        merged = [line.split() for line in (where / "train.merged.txt").read_text().splitlines()]
        for name, *units in merged:
            assert units == [str(c) for c, before in zip(expected[name], [None, *expected[name]]) if c != before]
    assert not (here / "train.npy").exists()
    assert codes(here / "from frames/train") == expected


# What a search needs


class Made:
    """Points of a generator, never all of them at once; what was read is gone before more is."""

    def __init__(self, utterances: int):
        self.lengths, self.width, self.device = np.full(utterances, 50), 4, torch.device("cpu")
        self.parts = [np.arange(start, start + 20) for start in range(0, utterances, 20)]
        self.alive: weakref.WeakSet = weakref.WeakSet()
        self.most = 0

    def read(self, parts, fail) -> Iterator[Group]:
        for part in parts:
            rows = torch.from_numpy(np.random.default_rng(part).normal(size=(1000, 4)).astype(np.float32))
            self.alive.add(rows)
            self.most = max(self.most, len(self.alive))
            yield Group(part, [(int(who), 0, 50) for who in self.parts[part]], rows)


def test_memory_does_not_grow_with_the_frames(tmp_path):
    peaks = []
    for utterances in (200, 2000):
        points, how = Made(utterances), KMeans(4, restarts=1, passes=1, sample_bytes=4 * 4 * 2000)
        (tmp_path / str(utterances)).mkdir()
        tracemalloc.start()
        find_centroids(points, tmp_path / str(utterances), how, lambda text: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert points.most <= 2
        assert (tmp_path / str(utterances) / clustering.SAMPLE).stat().st_size == 4 * 4 * 2000
    assert peaks[1] < peaks[0] + 300_000  # of 90,000 frames more: their table of utterances


def test_every_frame_is_as_likely_in_the_sample_and_none_twice():
    counts = np.zeros(50)
    for seed in range(400):
        chosen = drawn(50, 5, np.random.default_rng(seed))
        assert len(set(chosen.tolist())) == 5
        counts[chosen] += 1
    assert counts.min() > 15
    assert counts.max() < 70
    assert drawn(10, 10, np.random.default_rng(0)).tolist() == [*range(10)]
    assert len(drawn(10**11, 1000, np.random.default_rng(0))) == 1000
