"""The fuzz campaign: mutations are the same again and do what they say; what goes wrong is caught and kept."""

import contextlib
import io
import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from tests.campaign.attempts import Place, attempt, generator, lay_out
from tests.campaign.families import audio, labels
from tests.campaign.families.base import Input, newly_huge
from tests.campaign.fuzz import AUDIO, FAMILIES, Tally, _plan, run_fuzz
from tests.campaign.fuzz_world import TEXTS
from tests.campaign.judge import ACCEPTED, CLEAN, COLUMNS, is_failure
from tests.campaign.mutations import arrays, pickles, raw, texts, values
from tests.campaign.mutations import audio as sound
from tests.campaign.zygote import Zygote
from utility.audio.waveform import audio_header, read_audio

DATA = bytes(range(256)) * 4


@pytest.mark.parametrize("change", raw.CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_bytes_is_the_same_again_and_takes_any_bytes(change):
    made = [change(DATA, np.random.default_rng(seed)) for seed in range(30)]
    assert made == [change(DATA, np.random.default_rng(seed)) for seed in range(30)]
    assert sum(new != DATA for new in made) > 20
    for data in (b"", b"x"):
        change(data, np.random.default_rng(0))


def test_changed_bytes_are_never_the_same():
    for data in (DATA, b"", b"\0" * 50):
        for seed in range(100):
            new, name = raw.changed(data, np.random.default_rng(seed))
            assert new != data
            assert name


def test_a_cut_file_is_shorter():
    for seed in range(50):
        new = raw.cut(DATA, np.random.default_rng(seed))
        assert len(new) < len(DATA)
        assert DATA.startswith(new)


TREE = {"a": {"b": [1, 2.5, "x"], "c": None}, "d": [{"e": True}]}


def test_changed_tree_leaves_what_it_was_given():
    before, changed = json.dumps(TREE), set()
    for seed in range(300):
        new, how = values.changed_tree(TREE, np.random.default_rng(seed))
        changed.add(repr(new))
        assert how
    assert json.dumps(TREE) == before
    assert len(changed) > 100


def test_huge_is_what_is_large_and_legal():
    assert values.is_huge({"a": [1, {"b": 10**6}]})
    for tree_ in (TREE, {"a": 2**70}, {"a": True}, {"a": 9999}):
        assert not values.is_huge(tree_)
    assert newly_huge(b"steps: 1", b"steps: 1000000")
    assert not newly_huge(b"rate: 16000", b"rate: 16000")
    assert not newly_huge(b"steps: 1", b"steps: 100000000000000000000")


def test_texts_are_the_same_again():
    table, lines = b"id,length\na,3\nb,4\n", b"u 1 0.0 0.1 aa\nu 1 0.1 0.1 b\n"

    def made(seed: int) -> list[tuple[bytes, str]]:
        rng = np.random.default_rng(seed)
        return [
            texts.changed_yaml(TREE, rng),
            texts.changed_json(TREE, rng),
            texts.changed_table(table, rng),
            texts.changed_lines(lines, rng),
        ]

    for seed in range(200):
        assert made(seed) == made(seed)
    assert len({made(seed)[2][0] for seed in range(100)}) > 40


def test_the_alias_bomb_is_a_bomb():
    """Small on disk, legal YAML, and nine times as large with every level."""
    assert len(texts.bomb(9)) < 1000
    assert len(str(yaml.safe_load(texts.bomb(3)))) > 9**3


def test_headers_of_arrays_change(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((20, 80), np.float32))
    data = path.read_bytes()
    hows = {}
    for seed in range(400):
        new, how, lacking = arrays.changed_array(data, np.random.default_rng(seed))
        hows[how] = new
        assert not lacking or len(new) < len(data)
    assert len(hows) > 60
    assert sum(new != data for new in hows.values()) > 0.9 * len(hows)


def test_gadgets_would_run(tmp_path, monkeypatch):
    """A gadget that runs nothing would prove nothing: each makes the canary where pickles are opened carelessly."""
    idle = {"__import__", "getattr", "NEWOBJ"}  # they leave no file
    changing = "defaults"  # and this one would change torch itself for all tests that follow
    names = set()
    for name, make in pickles.VALUES.items():
        for protocol in pickles.PROTOCOLS:
            stream = pickle.dumps(make(), protocol)
            names |= {name} if _runs(stream, tmp_path / f"{name}{protocol}".replace("/", "-"), monkeypatch) else set()
    for name, stream in pickles.STREAMS.items() - {changing: pickles.STREAMS[changing]}.items():
        names |= {name} if _runs(stream, tmp_path / name, monkeypatch) else set()
    assert names == {*pickles.VALUES, *pickles.STREAMS} - idle - {changing}
    assert len({*pickles.VALUES, *pickles.STREAMS}) == 21


def _runs(stream: bytes, folder: Path, monkeypatch) -> bool:
    folder.mkdir()
    monkeypatch.chdir(folder)
    with contextlib.suppress(Exception):
        pickle.loads(stream)
    for _ in range(100):  # Popen does not wait
        if (folder / values.CANARY).exists():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("number", range(len(audio.recordings())))
def test_recordings_are_sound_until_they_are_damaged(number, tmp_path):
    """What is called lacking lacks samples; the sound one opens with its true length."""
    seed = audio.recordings()[number]
    path = tmp_path / f"a.{seed.extension}"
    path.write_bytes(seed.data)
    frames, rate = audio_header(path)
    assert abs(frames / rate - seed.seconds) < 0.1
    assert np.isfinite(read_audio(path)).all()
    for k in range(40):
        bad = sound.damaged(seed, k, np.random.default_rng(k))
        assert bad == sound.damaged(seed, k, np.random.default_rng(k))
        assert not bad.lacking or len(bad.data) < len(seed.data)


def test_claims_reach_the_header(tmp_path):
    """A mutation that misses its field would prove nothing."""
    by_kind = {seed.kind: seed.data for seed in audio.recordings()}
    flac, aiff, opus = (by_kind[kind] for kind in ("FLAC PCM_16", "AIFF PCM_16", "OGG OPUS"))
    assert soundfile.info(io.BytesIO(sound._flac(flac, None, 1))).samplerate == 1
    assert soundfile.info(io.BytesIO(sound._flac(flac, 2**33, None))).frames == 2**33
    assert soundfile.info(io.BytesIO(sound._aiff_rate(aiff, aiff.find(b"COMM") + 16, 999))).samplerate == 999
    assert soundfile.info(io.BytesIO(sound._ogg(opus, 10**9))).frames > 10**8
    last = opus.rfind(b"OggS")
    blank = opus[last : last + 22] + bytes(4) + opus[last + 26 :]
    assert sound._ogg_checksum(blank).to_bytes(4, "little") == opus[last + 22 : last + 26]


def test_plan_has_every_family_in_any_budget():
    whole = list(_plan(10_000, []))
    assert {name for name, _ in whole[:200]} == {*FAMILIES, AUDIO}
    files = sum(audio.IN_FOLDER if name == AUDIO else 1 for name, _ in whole)
    assert 10_000 <= files < 10_030
    assert len(set(whole)) == len(whole)


def test_an_input_is_the_same_again(tmp_path):
    """Of families that need no checkpoint."""
    (tmp_path / "texts").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "texts" / name).write_text(text)
    for number in range(50):
        one, other = (labels.alignment_files(tmp_path, generator(3, "alignment", number)) for _ in range(2))
        assert one == other
    assert generator(3, "a", 1).integers(1 << 60) != generator(3, "b", 1).integers(1 << 60)
    assert audio.folder_of(3, 1) == audio.folder_of(3, 1) != audio.folder_of(4, 1)


def test_table_adds_up():
    tally = Tally()
    tally.add("yaml", [CLEAN])
    tally.add("yaml", ["traceback", "left files"])
    tally.add("words", [ACCEPTED])
    rows = tally.table().splitlines()
    assert rows[0].startswith("| campaign | inputs | clean | accepted |")
    assert rows[2].startswith("| yaml | 2 | 1 | 0 |")
    assert rows[-1].startswith("| **all** | 3 | 1 | 1 |")


@pytest.mark.slow
def test_some_inputs_of_every_family(tmp_path):
    """A slice of the campaign; every outcome counts somewhere, and what failed can be run again."""
    tally = run_fuzz(tmp_path / "kept", seed=0, inputs=60, jobs=1)
    assert {*FAMILIES, AUDIO} == set(tally.counts)
    for counts in tally.counts.values():
        assert counts["inputs"] <= sum(counts[column] for column in COLUMNS)
        assert not counts["campaign failed"]
        assert not counts["code run"]


SCRIPT = """
import os, sys
def main(argv):
    what = argv[0]
    if what == "leaves": open("left", "w")
    if what == "runs": open("canary", "w")
    if what == "traceback": raise KeyError("x")
    if what == "twice": print("one more line", file=sys.stderr)
    if what == "kills": os.kill(os.getpid(), 9)
    if what == "memory": bytearray(3 << 30)[::4096]
    if what == "weights": open("out", "w").write("other"); return 0
    raise ValueError("wrong")
sys.path.insert(0, ROOT)
from utility.command import run
run(main)
"""


@pytest.mark.slow
def test_commands_that_go_wrong_are_caught_and_kept(tmp_path):
    """A process that does each wrong thing is judged so."""
    project = Path(__file__).resolve().parents[2]
    script = tmp_path / "wrong.py"
    script.write_text(SCRIPT.replace("ROOT", repr(str(project))))
    (tmp_path / "world").mkdir()
    (tmp_path / "world/saved").write_text("saved")
    place = Place(tmp_path / "world", tmp_path / "scratch", tmp_path / "kept")
    wanted = {
        "nothing": [CLEAN], "leaves": ["left files"], "runs": ["code run", "left files"], "traceback": ["traceback"],
        "twice": ["extra lines"], "kills": ["other exit"], "weights": ["other weights"],
    }  # fmt: skip
    with Zygote() as zygote:
        for what, columns in wanted.items():
            made = Input((str(script), what), what, {"in/x": b"1"}, same=("out", "saved"))
            assert attempt(zygote, place, made, what) == columns, what
            kept = tmp_path / "kept" / f"fuzz-{what}"
            assert kept.exists() == is_failure(columns)
            if kept.exists():
                assert json.loads((kept / "outcome.json").read_text())["columns"] == columns
                assert (kept / "files/in/x").read_bytes() == b"1"
                assert "wrong.py" in (kept / "command.txt").read_text()
    assert (tmp_path / "kept/fuzz-leaves/changes.txt").read_text() == "new left\n"
    assert not any((tmp_path / "scratch").iterdir())


def test_working_folder(tmp_path):
    (tmp_path / "world").mkdir()
    made = Input(("x.py",), "x", {"in/a": b"1"}, pipes=("pipe",))
    here = lay_out(tmp_path / "run", tmp_path / "world", made)
    assert (here / "world").is_symlink()
    assert (here / "pipe").is_fifo()
    assert (here / "in/a").read_bytes() == b"1"
    own = lay_out(tmp_path / "own", tmp_path / "world", Input(("x.py",), "x", own_world=True))
    assert not (own / "world").is_symlink()
