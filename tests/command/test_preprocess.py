"""Preprocessing: corpora found, features stored, kills and shards and jobs that change no byte, flags, bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess import generate_len_for_bucket, preprocess_any, preprocess_libri, preprocess_timit
from preprocess.parts.corpora import folder, librispeech, split_folders
from preprocess.parts.manifest import manifest
from preprocess.parts.timit import TIMIT_CORE, TIMIT_DEV, timit
from tests.conftest import PROJECT
from tests.contract.test_waveform import sphere, with_length
from tests.helpers.files import contents
from tests.helpers.speech import wav
from utility.audio.feature_config import FeatureConfig
from utility.command import run
from utility.config import build
from utility.store.reading import Store, splits_in
from utility.store.recordings import Recordings


def command(main, capsys, *flags: object) -> tuple[int, str]:
    """Exit code and stderr of a script as a user sees them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{main.__module__.rpartition('.')[2]}.py", *map(str, flags)])
        with pytest.raises(SystemExit) as stop:
            run(main)
    return stop.value.code, capsys.readouterr().err


@pytest.fixture
def libri(tmp_path) -> Path:
    for number, (split, speaker) in enumerate([("dev-clean", 84), ("dev-clean", 84), ("train-clean-100", 103)]):
        wav(tmp_path / f"corpus/LibriSpeech/{split}/{speaker}/1/{speaker}-1-000{number}.flac", 4000 + number, number)
    return tmp_path / "corpus"


@pytest.mark.parametrize(
    ("flags", "name", "features"),
    [
        ([], "libri_mel160", {}),
        (["--no-delta"], "libri_mel80", {"deltas": 0}),
        (["--delta=True", "--delta_delta=True", "--feature_type=mfcc"], "libri_mfcc39", {"kind": "mfcc", "deltas": 2}),
        (["--delta", "False", "--apply_cmvn=False", "--name=raw"], "raw", {"deltas": 0, "cmvn": "none"}),
        (["--feature_type=linear"], "libri_linear1025", {"kind": "linear", "deltas": 0, "cmvn": "none"}),
        (["--feature_type=linear", "--apply_cmvn"], "libri_linear1025", {"kind": "linear", "deltas": 0}),
        (["--feature_type=kaldi_fbank"], "libri_kaldi_fbank160", {"kind": "kaldi_fbank", "deltas": 1}),
        (
            ["--feature_type=s3prl_mel", "--no-delta", "--s3prl", "n_mels=40", "hop_ms=12.5", "log=false"],
            "libri_s3prl_mel40",
            {"kind": "s3prl_mel", "deltas": 0, "s3prl": {"n_mels": 40, "hop_ms": 12.5, "log": False}},
        ),
    ],
)
def test_libri_flags_and_names(libri, tmp_path, capsys, flags, name, features):
    out, features = tmp_path / "data", build(FeatureConfig, features)
    paths = [f"--data_path={libri}", f"--output_path={out}", "--n_jobs=1"]
    assert command(preprocess_libri.main, capsys, *paths, *flags) == (0, "")
    assert splits_in(out / name) == ["dev-clean", "train-clean-100"]
    store = Store([out / name / split for split in splits_in(out / name)], features)
    assert store.ids == ["84-1-0000", "84-1-0001", "103-1-0002"]
    assert store.speakers == ["84", "84", "103"]
    assert store.lengths.tolist() == features.num_frames(store.num_samples).tolist()
    assert all(path.is_file() for path in store.audio_paths)
    assert store[2].shape == (store.lengths[2], features.dim)


def test_linear_features_stay_between_0_and_1_unless_asked(libri, tmp_path, capsys):
    """They were normalised by default, though what tells them from others is that they can be inverted to sound."""
    flags = ["--data_path", libri, "--n_jobs=1", "--feature_type=linear", "--splits", "dev-clean", "--output_path"]
    for place, more, low, high in (("bare", [], 0, 1), ("normal", ["--apply_cmvn=True"], -9, 9)):
        assert preprocess_libri.main([str(flag) for flag in (*flags, tmp_path / place, *more)]) == 0
        said = "linear features in [0, 1], without CMVN" in capsys.readouterr().out
        values = Store([tmp_path / place / "libri_linear1025/dev-clean"])[0]
        assert said == (place == "bare")
        assert low <= values.min() < values.max() <= high
        assert (values.min() < 0) == (place == "normal")


def test_old_files_of_linear_features_are_what_they_were():
    assert build(FeatureConfig, {"kind": "linear", "deltas": 0}).cmvn == "utterance"


def test_splits_are_chosen_without_a_prompt(libri, tmp_path, capsys):
    flags = ["--data_root", libri / "LibriSpeech", "--output_path", tmp_path, "--n_jobs=1", "--audio_extention", "flac"]
    assert command(preprocess_libri.main, capsys, *flags, "--splits", "dev-clean", "--dtype=float16") == (0, "")
    assert splits_in(tmp_path / "libri_mel160") == ["dev-clean"]
    assert np.load(tmp_path / "libri_mel160/dev-clean.npy").dtype == np.float16
    code, errors = command(preprocess_libri.main, capsys, *flags, "--name=x", "--splits", "dev-clean", "dev-other")
    assert code == 2
    assert errors.endswith("no split dev-other; it has dev-clean, train-clean-100\n")
    assert not (tmp_path / "x").exists()


def test_second_run_does_nothing_and_another_is_refused(libri, tmp_path, capsys):
    flags = [f"--data_path={libri}", f"--output_path={tmp_path}", "--n_jobs=1", "--name=one"]
    assert preprocess_libri.main(flags) == 0
    before = contents(tmp_path / "one")
    capsys.readouterr()
    assert preprocess_libri.main(flags) == 0
    assert "was finished already" in capsys.readouterr().out
    code, errors = command(preprocess_libri.main, capsys, *flags, "--no-delta")
    assert code == 2
    assert "features.deltas is 1 there, 0 here" in errors
    wav(libri / "LibriSpeech/dev-clean/84/1/84-1-0009.flac")
    code, errors = command(preprocess_libri.main, capsys, *flags)
    assert code == 2
    assert "2 utterances there, 3 here" in errors
    assert contents(tmp_path / "one") == before


def official_timit(root: Path, case=str.upper) -> Path:
    for split, speakers in [("train", ["FCJF0", "MGRP0"]), ("test", [*TIMIT_CORE, *TIMIT_DEV, "MABC0"])]:
        for speaker in speakers:
            for sentence in ("sa1", "sx1"):
                wav(root / case(f"{split}/dr1/{speaker.lower()}/{sentence}.wav"))
    return root


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_timit_ids_do_not_collide(tmp_path, capsys, case):
    """The originals saved SA1 of all 630 speakers as one file (fault R6)."""
    root = official_timit(tmp_path / "TIMIT", case)
    corpus = timit(tmp_path)
    assert corpus.root == root.resolve()
    assert corpus.splits == ["dev", "test", "train"]
    assert [len(corpus.of(split)) for split in corpus.splits] == [100, 48, 4]
    assert [utterance.id for utterance in corpus.of("train")] == ["FCJF0_SA1", "FCJF0_SX1", "MGRP0_SA1", "MGRP0_SX1"]
    assert {utterance.speaker for utterance in corpus.of("test")} == set(TIMIT_CORE)
    assert len(timit(root, complete_test=True).of("test")) == 150
    assert [utterance.id for utterance in timit(root, ["train"], drop_sa=True).utterances] == ["FCJF0_SX1", "MGRP0_SX1"]
    flags = [f"--data_path={root}", f"--output_path={tmp_path}", "--splits", "train", "--n_jobs=1", "--drop_sa=False"]
    assert command(preprocess_timit.main, capsys, *flags) == (0, "")
    assert len(Store([tmp_path / "timit_mel160/train"])) == 4


def test_timit_speakers_can_be_held_out(tmp_path):
    root = official_timit(tmp_path / "TIMIT", str.upper)
    held_out = timit(root, held_out={"MGRP0": "dev"})
    assert {utterance.speaker for utterance in held_out.of("train")} == {"FCJF0"}
    assert "MGRP0" in {utterance.speaker for utterance in held_out.of("dev")}
    with pytest.raises(ValueError, match="no recordings of speaker 'NOONE'"):
        timit(root, held_out={"NOONE": "dev"})


def test_timit_with_converted_copies_beside(tmp_path):
    root = tmp_path / "data"
    wav(root / "TRAIN/DR1/FCJF0/SA1.WAV")
    wav(root / "TRAIN/DR1/FCJF0/SA1.WAV.wav")
    wav(root / "TRAIN/DR1/FCJF0/SA2.WAV.wav")
    wav(root / "TEST/DR1/FAKS0/SA1.WAV")
    corpus = timit(tmp_path)
    assert [(u.id, u.split, u.path) for u in corpus.utterances] == [
        ("FAKS0_SA1", "test", "TEST/DR1/FAKS0/SA1.WAV"),
        ("FCJF0_SA1", "train", "TRAIN/DR1/FCJF0/SA1.WAV"),
        ("FCJF0_SA2", "train", "TRAIN/DR1/FCJF0/SA2.WAV.wav"),
    ]


def test_any_folder(tmp_path, capsys):
    """The originals' script read an option that it never declared (fault R5)."""
    for path in ("train/ann/1.wav", "train/bob/1.WAV", "dev/ann/1.flac", "extra/1.ogg", "train/.hidden.wav"):
        wav(tmp_path / "in" / path)
    (tmp_path / "in/train/ann/notes.txt").write_text("no audio")
    assert preprocess_any.main([f"--data_path={tmp_path / 'in'}", f"--output_path={tmp_path}", "--n_jobs=1"]) == 0
    assert "1 audio files there are not part" in capsys.readouterr().out
    store = Store([tmp_path / "NewData_fbank80/dev", tmp_path / "NewData_fbank80/train"])
    assert store.info.features == FeatureConfig(kind="fbank", deltas=0)
    assert store.ids == ["dev_ann_1", "train_ann_1", "train_bob_1"]
    assert store.speakers == ["ann", "ann", "bob"]
    assert folder(tmp_path / "in", ["extra"]).utterances[0].speaker == ""
    assert len(folder(tmp_path / "in", ["all"]).utterances) == 4
    by_name = folder(tmp_path / "in", ["train"], speaker_from=r"(\w)\w+/[^/]+$")
    assert [utterance.speaker for utterance in by_name.utterances] == ["a", "b"]
    assert {utterance.speaker for utterance in folder(tmp_path / "in", speaker_from="none").utterances} == {""}
    with pytest.raises(ValueError, match=r"dev/ann/1.flac and train/ann/1.wav have one id, '1'"):
        folder(tmp_path / "in", id_from="stem")


def films(root: Path) -> Path:
    """A folder of sound that cannot be read."""
    (root / "b").mkdir(parents=True)
    for name in ("a.m4a", "b/c.M4A", "b/d.mp4", "b/notes.txt"):
        (root / name).touch()
    return root


@pytest.mark.slow
def test_folders_as_in_a_tutorial_of_s3prl_are_splits(tmp_path, capsys, without_ffmpeg):
    """Custom_train, Custom_dev and Custom_test were silently one split `all`, and "Custom_dev" a speaker."""
    for path in ("Custom_train/ann/1.wav", "Custom_train/2.wav", "Custom_dev/1.wav", "Custom_test/bob/1.wav"):
        wav(tmp_path / "in" / path)
    films(tmp_path / "in/Custom_train")
    assert preprocess_any.main([f"--data_path={tmp_path / 'in'}", f"--output_path={tmp_path}", "--n_jobs=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"{tmp_path}/in/Custom_dev: split dev",
        f"{tmp_path}/in/Custom_test: split test",
        f"{tmp_path}/in/Custom_train: split train",
        f"{tmp_path}/in: 2 .m4a, 1 .mp4 not read: install ffmpeg, or convert them, e.g. ffmpeg -i a.m4a a.flac",
    ]
    store = Store([tmp_path / f"NewData_fbank80/{split}" for split in ("train", "dev", "test")])
    assert store.ids == ["Custom_train_2", "Custom_train_ann_1", "Custom_dev_1", "Custom_test_bob_1"]
    assert store.speakers == ["", "ann", "", "bob"]
    for asked in ("dev", "Custom_dev"):  # by either name
        assert {u.split for u in folder(tmp_path / "in", [asked]).utterances} == {asked}
    with pytest.raises(ValueError, match=r"no split eval; it has Custom_dev, .*, dev, test, train, all"):
        folder(tmp_path / "in", ["eval"])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "valid", "TEST"], ["train", "valid", "TEST"]),
        (["train-clean-100", "dev-clean", "dev-other"], ["train-clean-100", "dev-clean", "dev-other"]),
        (["my_training", "MyEval", "2024-val"], ["training", "eval", "val"]),
        (["A_dev", "B_dev", "A_train"], ["A_dev", "B_dev", "train"]),
        (["dev", "other_dev"], ["dev", "other_dev"]),
        (["latest", "contest", "trainer", "devon", "train_or_not"], [None, None, None, None, "train_or_not"]),
        (["A_train_test"], [None]),
    ],
)
def test_which_folders_are_splits(names, splits):
    expected = {name: split for name, split in zip(names, splits) if split}
    assert split_folders(names) == expected


def test_folders_with_blanks_and_the_like_become_splits(tmp_path, capsys):  # L6
    for path in ("train set/1.wav", "my, dev/1.wav", "e\u0301tudes/1.wav"):
        wav(tmp_path / "in" / path)
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1"]
    assert preprocess_any.main([*flags, "--name=store"]) == 0
    assert splits_in(tmp_path / "store") == ["dev", "train_set"]
    assert f"{tmp_path}/in/train set: split train_set" in capsys.readouterr().out
    assert preprocess_any.main([*flags, "--name=chosen", "--splits", "e\u0301tudes", "my, dev"]) == 0
    assert splits_in(tmp_path / "chosen") == ["my_dev", "\u00e9tudes"]
    wav(tmp_path / "in/train, set/2.wav")
    with pytest.raises(ValueError, match="'train set' and 'train, set' would both be split train_set: rename one"):
        preprocess_any.main([*flags, "--name=both"])


def test_a_folder_for_each_split(tmp_path, capsys, without_ffmpeg):
    for path in ("x/one/ann/1.wav", "y/two/1.wav", "y/two/2.flac", "y/three/ann/1.wav"):
        wav(tmp_path / path)
    films(tmp_path / "y/two/films")
    named = [f"--train={tmp_path}/x/one", f"--dev={tmp_path}/y/two", f"--test={tmp_path}/y/three"]
    assert preprocess_any.main([*named, f"--output_path={tmp_path}", "--n_jobs=1", "--name=parts"]) == 0
    assert f"{tmp_path}/y/two: 2 .m4a, 1 .mp4 not read" in capsys.readouterr().out
    store = Store([tmp_path / f"parts/{split}" for split in ("train", "dev", "test")])
    assert store.ids == ["train_ann_1", "dev_1", "dev_2", "test_ann_1"]
    assert store.speakers == ["ann", "", "", "ann"]
    assert [path.relative_to(tmp_path).as_posix() for path in store.audio_paths] == [
        "x/one/ann/1.wav",
        "y/two/1.wav",
        "y/two/2.flac",
        "y/three/ann/1.wav",
    ]


def test_paths_that_join_alike_keep_distinct_ids(tmp_path):
    for path in ("a_b/c.wav", "a/b_c.wav", "a/b_c.flac"):
        wav(tmp_path / path)
    assert [u.id for u in folder(tmp_path).utterances] == ["a/b_c.flac", "a/b_c.wav", "a_b/c.wav"]


def test_manifest(tmp_path, capsys):
    wav(tmp_path / "x/1.wav")
    wav(tmp_path / "x/2.wav", 3000, rate=8000)
    table = tmp_path / "list.tsv"
    table.write_text('path\tspeaker\tsplit\ttext\nx/1.wav\tann\ttrain\t"AH\nx/2.wav\tNA\tdev\tb\n')
    flags = [f"--data_path={table}", f"--output_path={tmp_path}", "--n_jobs=1", "--name=m"]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    store = Store([tmp_path / "m/train", tmp_path / "m/dev"])
    assert store.ids == ["1", "2"]
    assert store.speakers == ["ann", "NA"]
    assert store.num_samples.tolist() == [1600, 6000]
    (tmp_path / "list.csv").write_text("id,path\n7,x/1.wav\n007,x/2.wav\n")
    assert [(u.id, u.split) for u in manifest(tmp_path / "list.csv").utterances] == [("007", "all"), ("7", "all")]
    (tmp_path / "list.csv").write_text("id,path\n7\n")
    with pytest.raises(ValueError, match="line 2 has no path"):
        manifest(tmp_path / "list.csv")


def test_bad_files_are_listed_and_the_rest_goes_on(tmp_path, capsys):
    root = tmp_path / "in"
    wav(root / "good.wav", 8000)
    wav(root / "one_window.wav", 400)
    wav(root / "short.wav", 399)
    wav(root / "empty.wav", 0)
    (root / "zero.wav").write_bytes(b"")
    (root / "text.wav").write_text("hello")
    flac = wav(root / "broken.flac", 16000)
    flac.write_bytes(flac.read_bytes()[:9000])
    soundfile.write(root / "nan.wav", np.full(4000, np.nan), 16000, subtype="FLOAT")
    flags = [f"--data_path={root}", f"--output_path={tmp_path}", "--n_jobs=1"]
    code, errors = command(preprocess_any.main, capsys, *flags)
    assert code == 1
    assert errors.startswith("6 not used, see ")
    store = Store([tmp_path / "NewData_fbank80/all"])
    assert store.ids == ["good", "one_window"]
    assert np.isfinite(store[1]).all()
    reasons = (tmp_path / "NewData_fbank80/errors.csv").read_text()
    assert str(tmp_path) not in reasons
    expected = {
        "short.wav": "too short: 399 samples",
        "empty.wav": "holds no samples",
        "zero.wav": "not an audio file",
        "text.wav": "not an audio file",
        "broken.flac": "",
        "nan.wav": "holds samples that are not finite",
    }
    for line in (f"all,{path},{reason}" for path, reason in expected.items()):
        assert line in reasons
    before = contents(tmp_path / "NewData_fbank80")
    assert command(preprocess_any.main, capsys, *flags)[0] == 1
    assert contents(tmp_path / "NewData_fbank80") == before


@pytest.fixture
def speech(tmp_path) -> Path:
    """60 recordings, 3 minutes, one that cannot be used."""
    for i in range(60):
        wav(tmp_path / f"in/s{i % 7}/{i}.wav", 16000 + 1117 * i, i)
    (tmp_path / "in/s0/bad.wav").write_text("no")
    return tmp_path / "in"


@pytest.mark.slow
def test_jobs_and_shards_change_no_byte(speech, tmp_path):
    flags = [f"--data_path={speech}", f"--output_path={tmp_path}", "--delta"]
    assert preprocess_any.main([*flags, "--name=one", "--n_jobs=1"]) == 1
    assert preprocess_any.main([*flags, "--name=two", "--n_jobs=2"]) == 1
    codes = [preprocess_any.main([*flags, "--name=parts", "--n_jobs=1", f"--shard={i}/3"]) for i in (3, 1, 2)]
    assert codes[-1] == 1
    expected = contents(tmp_path / "one")
    assert sorted(expected) == ["all.csv", "all.digest", "all.npy", "errors.csv", "features.yaml"]
    assert contents(tmp_path / "two") == expected
    assert contents(tmp_path / "parts") == expected


def kill_midway(script: str, flags: list[str], progress: Path) -> None:
    """Start a script in its own process group and kill that as soon as some, not all, rows are written."""
    process = subprocess.Popen([sys.executable, PROJECT / f"preprocess/{script}.py", *flags], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (progress.is_file() and any(progress.read_bytes()[:30])):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert progress.is_file()


@pytest.mark.slow
def test_killed_extraction_continues_to_the_same_bytes(corpora, tmp_path):
    flags = [f"--data_path={corpora}/libri_mini", f"--output_path={tmp_path}", "--n_jobs=1", "--splits", "test-other"]
    kill_midway("preprocess_libri", [*flags, "--name=killed"], tmp_path / "killed/test-other.progress")
    with pytest.raises(ValueError, match="not finished"):
        Store([tmp_path / "killed/test-other"])
    assert preprocess_libri.main([*flags, "--name=killed"]) == 0
    assert preprocess_libri.main([*flags, "--name=whole"]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(Store([tmp_path / "whole/test-other"])) == 36


def test_lengths_in_headers_that_are_missing_or_absurd_stop_no_other_recording(tmp_path, capsys):  # H3, M1, M2
    """One such file ended the whole job: "No space left on device: needs 17592186044416.2 MiB"."""
    wav(tmp_path / "in/good.wav", 8000)
    for name, claim in (("piped", 0), ("huge", 1 << 33), ("large", 1 << 28)):
        with_length(tmp_path / f"in/{name}.flac", claim)
    sphere(tmp_path / "in/odd.sph", np.ones(900))
    content = (tmp_path / "in/odd.sph").read_bytes()
    (tmp_path / "in/odd.sph").write_bytes(content.replace(b"-i 900\n", b"-i 9x0\n"))
    slow = bytearray(wav(tmp_path / "in/slow.wav", 8000).read_bytes())
    slow[24:28] = b"\1\0\0\0"
    (tmp_path / "in/slow.wav").write_bytes(slow)
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1"]
    for main, name in ((preprocess_any.main, "--name=store"), (generate_len_for_bucket.main, "--name=table")):
        code, errors = command(main, capsys, *flags, name)
        assert code == 1
        assert errors.startswith("4 not used, see ")
    store = Store([tmp_path / "store/all"])
    assert store.ids == ["good", "piped"]
    assert store.num_samples.tolist() == [8000, 16000]
    assert Recordings([tmp_path / "table/all.csv"], store.info.features).ids == ["good", "piped"]
    reasons = (tmp_path / "store/errors.csv").read_text()
    assert (tmp_path / "table/errors.csv").read_text() == reasons
    assert "odd.sph,\"damaged header: sample_count is '9x0'" in reasons
    assert 'slow.wav,"sample rate is 1 Hz' in reasons
    assert reasons.count("claims ") == 2


def replaced(path: Path, seed: int) -> None:
    """Other sound of the same length under the same name."""
    wav(path, soundfile.info(path).frames, seed)
    os.utime(path, (1, 1))


def test_recordings_replaced_before_an_extraction_goes_on_are_taken_anew(tmp_path, monkeypatch, capsys):  # M6
    """Old and new sound of the same length came into one store."""
    for i in range(6):
        wav(tmp_path / f"in/{i}.wav", 4000, i)
    soundfile.write(tmp_path / "in/6.wav", np.full(4000, np.nan), 16000, subtype="FLOAT")
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1"]
    begun = [*flags, "--name=begun"]
    assert preprocess_any.main([*begun, "--shard=1/2"]) == 0
    assert preprocess_any.main([*begun, "--shard=1/2"]) == 0  # nothing is done twice
    first = (tmp_path / "begun/all.npy").read_bytes()
    replaced(tmp_path / "in/0.wav", 10)
    replaced(tmp_path / "in/6.wav", 11)
    assert preprocess_any.main(begun) == 0
    assert preprocess_any.main([*flags, "--name=whole"]) == 0
    assert contents(tmp_path / "begun") == contents(tmp_path / "whole")
    assert (tmp_path / "begun/all.npy").read_bytes()[:2000] != first[:2000]
    capsys.readouterr()
    assert preprocess_any.main(begun) == 0
    assert capsys.readouterr().err == ""
    wav(tmp_path / "in/1.wav", 4000, 12)
    os.utime(tmp_path / "in/1.wav", (1 << 33, 1 << 33))
    assert preprocess_any.main(begun) == 0
    warning = f"warning: 1 recordings are newer than {tmp_path}/begun/all, 1.wav for one: if they are other recordings"
    assert capsys.readouterr().err.startswith(warning)


def test_real_corpora_are_found(corpora):
    libri = librispeech(corpora / "libri_mini")
    assert {split: len(libri.of(split)) for split in libri.splits} == {"test-other": 36, "train-clean-100": 205}
    sample = timit(corpora / "timit_sample")
    assert sample.splits == ["train"]
    assert len(sample.utterances) == 120
    assert len({utterance.speaker for utterance in sample.utterances}) == 12
    assert sum(utterance.id.endswith("_SA1") for utterance in sample.utterances) == 12
    an4 = folder(corpora / "an4", id_from="stem")
    assert {split: len(an4.of(split)) for split in an4.splits} == {"dev": 88, "test": 88, "train": 392}
    listed = manifest(corpora / "an4/utterances.tsv")
    assert listed.utterances == an4.utterances


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "which corpus? --data_path, or --train, --dev and --test"),
        (["--data_path=in", "--dev=in"], "--dev names a folder of its own: leave out --data_path"),
        (["--dev=in", "--splits", "dev"], "--dev names a folder of its own: leave out --splits"),
        (["--train=.", "--test=in"], "in: test lies in the folder of train, ."),
        (["--train=in", "--test=nowhere"], "nowhere: no such folder"),
        (["--data_path=films"], "films: no audio found, expected *.wav"),
        (
            ["--data_path=films"],
            "films: 2 .m4a, 1 .mp4 not read: install ffmpeg, or convert them, e.g. ffmpeg -i a.m4a a.flac",
        ),
        (["--data_path=nowhere"], "nowhere: no such folder"),
        (["--data_path=empty"], "empty: no audio found"),
        (["--data_path=in", "--shard=3/2"], "expected I/N with I from 1 to N, as 1/4, got '3/2'"),
        (["--data_path=in", "--n_jobs=0"], "expected a number of processes, or -1 for every core, got '0'"),
        (["--data_path=in", "--delta=maybe"], "expected True or False, got 'maybe'"),
        (["--data_path=in", "--delta_delta"], "--delta_delta needs --delta"),
        (["--data_path=in", "--feature_type=plp"], "invalid choice: 'plp'"),
        (["--data_path=in", "--s3prl", "n_mels=40"], "options s3prl would change nothing with kind fbank"),
        (["--data_path=in", "--feature_type=s3prl_mel", "--s3prl", "n_mel=40"], "unknown config key 's3prl.n_mel'"),
        (["--data_path=in", "--feature_type=s3prl_mel", "--s3prl", "n_mels"], "expected KEY=VALUE, got 'n_mels'"),
        (["--data_path=in", "--sample_rate=5"], "config key 'sample_rate' has value 5"),
        (["--data_path=in", "--splits", "dev"], "in: no split dev; it has all"),
        (["--data_path=in", "--speaker_from=("], "not a regular expression"),
        (["--data_path=in", "--speaker_from=x"], "use parent, none, or a regular expression with one (group)"),
        (["--data_path=in/a.wav"], "in/a.wav: not a table"),
        (["--data_path=in", "--output_path=in/a.wav"], "in/a.wav"),
        (["--data_path=odd.csv"], "split name 'a/b'"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, monkeypatch, capsys, without_ffmpeg, flags, line):
    monkeypatch.chdir(tmp_path)
    wav(tmp_path / "in/a.wav")
    (tmp_path / "empty").mkdir()
    films(tmp_path / "films")
    (tmp_path / "odd.csv").write_text("path,split\nin/a.wav,a/b\n")
    before = contents(tmp_path)
    code, errors = command(
        preprocess_any.main, capsys, *flags, "--n_jobs=1" if "--n_jobs=0" not in flags else "--delta"
    )
    assert code == 2
    assert errors.startswith("preprocess_any.py: ")
    assert line in errors
    assert errors.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("main", [preprocess_any.main, preprocess_libri.main, preprocess_timit.main])
def test_help_has_an_example(main, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "example:" in shown
    assert "--audio_extention" in shown
