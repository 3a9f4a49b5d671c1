"""Data directories and matrices of Kaldi as stores: the same rows as from files, and what is refused."""

import contextlib
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

import runner_mockingjay
from preprocess.parts.kaldi import Unpacked, kaldi
from preprocess.preprocess_any import main as any_main
from preprocess.preprocess_kaldi import main
from tests.conftest import PROJECT
from utility.kaldi.archives import write_ark
from utility.labels.texts import Texts
from utility.store.files import ERROR_COLUMNS, read_table
from utility.store.reading import Store

RATE = 16000
LENGTHS = {"a1": 8000, "a2": 5000, "b1": 12000}


def noise(length: int, seed: int, channels: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).integers(-9000, 9000, (length, channels)).astype(np.int16)
    return values[:, 0] if channels == 1 else values


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with a data directory `train_set` of three recordings: a file, one packed, one archived."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    folder = tmp_path / "train_set"
    (folder / "audio").mkdir(parents=True)
    for seed, (key, length) in enumerate(LENGTHS.items()):
        soundfile.write(folder / f"audio/{key}.wav", noise(length, seed), RATE)
    (folder / "wav.scp").write_text("".join(f"{key} audio/{key}.wav\n" for key in LENGTHS))
    (folder / "utt2spk").write_text("a1 a\na2 a\nb1 b\n")
    return folder


def made(*words: str, name: str = "out", code: int = 0) -> Path:
    arguments = ["--output_path", "data", "--name", name, *words]
    assert main(arguments) == code
    return Path("data") / name


def made_of_recordings(*words: str, name: str = "out", code: int = 0) -> Path:
    return made("--n_jobs", "1", *words, name=name, code=code)


def errors(root: Path) -> dict[str, str]:
    table = read_table(root / "errors.csv", ERROR_COLUMNS)
    return dict(zip(table["path"], table["reason"]))


# Recordings


def test_an4_with_segments_gives_the_rows_of_the_cut_files(corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = sorted((corpora / "an4/dev").rglob("*.flac"))[:6]
    cut, folder = tmp_path / "cut", tmp_path / "dev"
    folder.mkdir()
    segments, scp = [], []
    for number, pair in enumerate(zip(files[::2], files[1::2])):
        waves = [soundfile.read(file, dtype="int16")[0] for file in pair]
        soundfile.write(folder / f"rec{number}.wav", np.concatenate(waves), RATE)
        scp.append(f"rec{number} rec{number}.wav\n")
        bounds = np.cumsum([0, *map(len, waves)]) / RATE
        ends = [repr(float(bounds[1])), "-1"]
        for file, wave, start, end in zip(pair, waves, bounds.tolist(), ends):
            (cut / file.parent.name).mkdir(parents=True, exist_ok=True)
            soundfile.write(cut / file.parent.name / f"{file.stem}.wav", wave, RATE)
            segments.append(f"{file.stem} rec{number} {start!r} {end}\n")
    (folder / "wav.scp").write_text("".join(scp))
    (folder / "segments").write_text("".join(sorted(segments)))
    (folder / "utt2spk").write_text("".join(sorted(f"{file.stem} {file.parent.name}\n" for file in files)))
    whole = ["--n_jobs", "1", "--output_path", "data", "--name", "cut"]
    assert any_main(["--data_path", "cut", *whole]) == 0
    root = made_of_recordings("--data_dir", "dev")
    ours, theirs = Store([root / "dev"]), Store([Path("data/cut/all")])
    assert ours.ids == theirs.ids == sorted(file.stem for file in files)
    assert ours.speakers == theirs.speakers
    assert ours.spans[0] != (None, None)
    for index in range(len(files)):
        assert np.array_equal(ours[index], theirs[index])
    assert (root / "dev.npy").read_bytes() == Path("data/cut/all.npy").read_bytes()


def test_recordings_packed_archived_by_channel_and_by_harmless_commands(here, monkeypatch):
    reference = made_of_recordings("--data_dir", "train_set", name="plain")
    audio = here / "audio"
    (here / "a1.wav.gz").write_bytes(gzip.compress((audio / "a1.wav").read_bytes()))
    (here / "wav.ark").write_bytes(b"x " + b"a2 " + (audio / "a2.wav").read_bytes() + b"b1 " + b"RIFF")
    two = np.stack([noise(LENGTHS["b1"], 9), noise(LENGTHS["b1"], 2)], axis=1)
    soundfile.write(here / "two.wav", two, RATE)
    (here / "wav.scp").write_text(
        "a1 gunzip -c a1.wav.gz |\na2 train_set/wav.ark:5\nb1 sph2pipe -f wav -c 2 two.wav |\n"
    )
    monkeypatch.setattr("subprocess.Popen", None)
    root = made_of_recordings("--data_dir", "train_set")
    assert (root / "train-set.npy").read_bytes() == (reference / "train-set.npy").read_bytes()
    store = Store([root / "train-set"])
    assert store.speakers == ["a", "a", "b"]
    assert all(path.is_file() for path in store.audio_paths)
    assert sorted(path.suffix for path in (root / "unpacked").iterdir()) == [".wav"] * 3
    for form in ("cat FILE |", "sox FILE -t wav - |", "flac -c -d -s FILE |", "sph2pipe FILE|"):
        lines = [f"{key} {form.replace('FILE', f'audio/{key}.wav')}\n" for key in LENGTHS]
        (here / "wav.scp").write_text("".join(lines))
        corpus = kaldi({"train-set": here}, Unpacked(folder=Path("none")))
        assert [utterance.path for utterance in corpus.utterances] == [f"audio/{key}.wav" for key in LENGTHS]
    assert not Path("none").exists()


def test_kaldis_own_archive_of_recordings(kaldi_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stores = []
    for name in ("wav", "wav_ark"):
        Path(name).mkdir()
        Path(name, "wav.scp").write_bytes((kaldi_dir / f"{name}.scp").read_bytes())
        words = ["--data_dir", name, "--split", "all", "--root", str(kaldi_dir)]
        stores.append(Store([made_of_recordings(*words, name=f"{name}_store") / "all"]))
    files, archived = stores
    assert files.ids == archived.ids
    assert len(files) == 4
    for index in range(4):
        assert np.array_equal(files[index], archived[index])


def test_a_command_runs_only_where_it_is_allowed(here, capsys):
    (here / "wav.scp").write_text(
        "a1 touch made; cat train_set/audio/a1.wav |\na2 echo no wave >&2; exit 4 |\nb1 audio/b1.wav\n"
    )
    with pytest.raises(ValueError, match=r"^train_set/wav\.scp:1: a shell command, .+: --allow_commands$"):
        main(["--data_dir", "train_set", "--output_path", "data"])
    made_of_recordings("--data_dir", "train_set", "--allow_commands", "--dry_run")
    assert "1 utterances, 0.00 hours, 2 not usable" in capsys.readouterr().out
    assert not Path("made").exists()
    assert not Path("data").exists()
    root = made_of_recordings("--data_dir", "train_set", "--allow_commands", code=1)
    assert Path("made").exists()
    assert Store([root / "train-set"]).ids == ["a1", "b1"]
    (reason,) = errors(root).values()
    assert reason == "the command 'echo no wave >&2; exit 4 |' ended with exit code 4: no wave"
    Path("made").unlink()
    assert made_of_recordings("--data_dir", "train_set", "--allow_commands", code=1) == root
    assert not Path("made").exists()  # its output is there already


def test_what_cannot_be_unpacked_or_is_not_there_goes_to_errors(here):
    (here / "bad.gz").write_bytes(b"no gzip")
    (here / "wav.ark").write_bytes(b"a2 " + b"RIFFxxxxWAVE" + bytes(9))
    (here / "wav.scp").write_text("a1 zcat bad.gz |\na2 wav.ark:3\na3 wav.ark:99\na4 zcat gone.gz |\na5 gone.wav\n")
    (here / "wav.scp").open("a").write("b1 audio/b1.wav\nb2 sph2pipe -c 2 audio/b1.wav |\n")
    root = made_of_recordings("--data_dir", "train_set", code=1)
    assert Store([root / "train-set"]).ids == ["b1"]
    reasons = " | ".join(sorted(errors(root).values()))
    for said in ("Not a gzipped file", "bytes are missing", "no WAV file begins", "gone.gz: no such file"):
        assert said in reasons
    assert "no such audio file" in reasons
    assert "there is no channel 2, it has 1" in reasons


def test_notes_of_order_speakers_and_durations(here, capsys):
    (here / "segments").write_text("b1 b1 0.1 0.5\na1 a1 0 -1\na9 a2 0 0.2\n")
    (here / "spk2utt").write_text("a a1\nb b1 a2\n")
    (here / "utt2dur").write_text("a1 0.5\nb1 0.9\n")
    (here / "reco2dur").write_text("a1 0.5\n")
    made_of_recordings("--data_dir", "train_set", "--split", "train")
    said = capsys.readouterr().out
    assert "train_set: split train\n" in said
    assert "train_set/segments: not sorted as LC_ALL=C sort does it" in said
    assert "warning: train_set/utt2spk: no speaker of 1 utterances, a9 for one" in said
    assert "warning: train_set/spk2utt: not used, it differs from utt2spk: a2 has speaker b in it, speaker a" in said
    assert "warning: train_set/utt2dur: 1 durations are off by more than 5%: b1 has 0.9 s there, 0.4 s of audio" in said
    assert "reco2dur" not in said
    assert "wav.scp: not sorted" not in said
    assert Store([Path("data/out/train")]).ids == ["a1", "a9", "b1"]


def test_several_directories_are_splits_and_texts_go_along(here, capsys):
    other = here.parent / "dev_set"
    other.mkdir()
    (other / "wav.scp").write_text("c1 ../train_set/audio/b1.wav\n")
    (other / "text").write_text("c1 dobry  dzień\n")
    (here / "text").write_text("a1 hello there\na2 it's 1\nb1 ...\n")
    root = made_of_recordings("--data_dir", "train_set", "dev_set", "--text", "words")
    assert Store([root / "train-set", root / "dev-set"]).ids == ["a1", "a2", "b1", "c1"]
    texts = Texts("data/words")
    assert {key: texts[key] for key in ("a1", "a2", "c1")} == {"a1": "HELLO THERE", "a2": "IT'S 1", "c1": "DOBRY DZIEŃ"}
    assert (
        "data/words: 3 texts, 1 left out, the first: train_set/text:3: no text is left of '...'"
        in capsys.readouterr().out
    )


def test_a_hundred_thousand_segments_are_planned_in_a_stream(here, monkeypatch):
    count = 3_000
    (here / "segments").write_text("".join(f"u{i:06} a1 {i / 1e5:.5f} {i / 1e5 + 0.1:.5f}\n" for i in range(count)))
    (here / "utt2spk").write_text("".join(f"u{i:06} s{i % 90:02}\n" for i in range(count)))
    tracemalloc.start()
    corpus = kaldi({"train": here}, Unpacked(folder=Path("none")))
    assert len(corpus.utterances) == count
    assert tracemalloc.get_traced_memory()[1] < count * 1500
    tracemalloc.stop()


# Matrices


def matrices(count: int, dim: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        f"s{i % 3}-u{i:02}": (3 + 2 * rng.standard_normal((20 + 7 * (i % 5), dim))).astype("f") for i in range(count)
    }


def sums(values: np.ndarray) -> np.ndarray:
    """Cumulated statistics [2, D + 1]."""
    wide = values.astype(np.float64)
    return np.stack([np.append(wide.sum(0), len(wide)), np.append((wide**2).sum(0), 0)])


@pytest.fixture
def feats(tmp_path, monkeypatch) -> Path:
    """A data directory `train` of six matrices of three speakers, written by Kaldi's code."""
    nio = pytest.importorskip("kaldi_native_io")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    folder, items = tmp_path / "train", matrices(6)
    folder.mkdir()
    with nio.FloatMatrixWriter("ark,scp:raw.ark,train/feats.scp") as out:
        for key, values in items.items():
            out.write(key, values)
    (folder / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in items))
    spoken = {
        speaker: np.concatenate([v for k, v in items.items() if k[:2] == speaker]) for speaker in ("s0", "s1", "s2")
    }
    with nio.DoubleMatrixWriter("ark,scp:cmvn.ark,train/cmvn.scp") as out:
        for speaker, values in spoken.items():
            out.write(speaker, sums(values))
    return folder


def test_matrices_become_a_store_as_they_are(feats):
    root = made("--feats", "--data_dir", "train", "--kind", "fmllr")
    store, items = Store([root / "train"]), matrices(6)
    assert store.ids == sorted(items)
    assert store.speakers == [key[:2] for key in sorted(items)]
    for index, key in enumerate(store.ids):
        assert np.array_equal(store[index], items[key])
    info = yaml.safe_load((root / "features.yaml").read_text())
    assert (info["features"], info["frame_shift"], info["frame_offset"]) == (None, 0.01, 0.0125)
    assert info["stated"] == "fmllr made by Kaldi, 40 values a frame"
    assert info["made_by"]["imported"] == "kaldi"
    assert info["made_by"]["kind"] == "fmllr"
    assert info["made_by"]["imported_from"] == str(feats / "feats.scp")
    packed = gzip.compress(Path("raw.ark").read_bytes())
    Path("raw.1.gz").write_bytes(packed)
    speakers = ["--utt2spk", "train/utt2spk"]
    again = made("--ark", "raw.1.gz", "--split", "train", "--kind", "fmllr", *speakers, name="again")
    for name in ("train.csv", "train.npy", "train.digest"):
        assert (again / name).read_bytes() == (root / name).read_bytes()
    assert Store([again / "train"]).fingerprint() == store.fingerprint()  # the file's place is no part of what it is


@pytest.mark.parametrize("norm_vars", [False, True])
@pytest.mark.parametrize("how", ["speaker", "utterance"])
def test_cmvn_is_that_of_kaldi(feats, how, norm_vars):
    words = ["--norm_vars"] if norm_vars else []
    store = Store([made("--feats", "--data_dir", "train", "--apply_cmvn", how, *words) / "train"])
    items = matrices(6)
    for index, key in enumerate(store.ids):
        of = [v for k, v in items.items() if (k == key if how == "utterance" else k[:2] == key[:2])]
        seen = np.concatenate(of).astype(np.float64)
        expected = items[key] - seen.mean(0)
        expected = expected / seen.std(0) if norm_vars else expected
        assert np.abs(store[index] - expected).max() < 1e-5
    made_by = yaml.safe_load(Path("data/out/features.yaml").read_text())["made_by"]
    assert (made_by["cmvn"], made_by["norm_vars"]) == (how, norm_vars)


def test_statistics_of_utterances_are_taken_as_they_are(feats):
    (feats / "utt2spk").unlink()
    write_ark("stats.ark", [(key, sums(values) * 2 + 1) for key, values in matrices(6).items()], form="double")
    Path("stats.scp").rename(feats / "cmvn.scp")
    store = Store([made("--feats", "--data_dir", "train", "--apply_cmvn", "utterance") / "train"])
    for index, key in enumerate(store.ids):
        values = matrices(6)[key]
        wrong = (values.astype(float).sum(0) * 2 + 1) / (len(values) * 2 + 1)
        assert np.abs(store[index] - (values - wrong)).max() < 1e-5


def test_matrices_that_cannot_be_used_go_to_errors(feats):
    write_ark(
        "more.ark", [("x1", np.ones((3, 13), "f")), ("x2", np.ones(5, "f")), ("x3", np.full((4, 40), np.nan, "f"))]
    )
    more = Path("more.scp").read_text()
    more += "x4 more.ark:1\nx5 gone.ark:9\nx6 raw.ark:7[0:999]\nx7 cat empty |\n"
    write_ark("none.ark", [("x7", np.zeros((0, 0), "f"))])
    Path("empty").write_bytes(Path("none.ark").read_bytes()[3:])
    (feats / "feats.scp").open("a").write(more)
    root = made("--feats", "--data_dir", "train", code=1)
    assert len(Store([root / "train"])) == 6
    reasons = errors(root)
    assert sorted(reasons) == [f"x{i}" for i in range(1, 8)]
    for key, said in {
        "x1": "13 values a frame, where the others have 40",
        "x2": "5 numbers in a row, not a matrix",
        "x3": "not a finite float32",
        "x4": "byte 1: cut off: whole numbers end",
        "x5": "gone.ark: No such file or directory",
        "x6": "rows 0 to 999 of",
        "x7": "an empty matrix",
    }.items():
        assert said in reasons[key]


def test_features_that_are_ours_are_computed_again(corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = sorted((corpora / "an4/dev").rglob("*.flac"))[:3]
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "wav.scp").write_text("".join(sorted(f"{file.stem} flac -c -d -s {file} |\n" for file in files)))
    ours = made_of_recordings("--data_dir", "dev", "--feature_type", "kaldi_mfcc", "--no-apply_cmvn", name="ours")
    store, rng = Store([ours / "dev"]), np.random.default_rng(0)
    dithered = {key: store[i] + rng.normal(0, 0.05, store[i].shape) for i, key in enumerate(store.ids)}
    write_ark("dev/feats.ark", dithered.items())
    capsys.readouterr()
    words = ["--feats", "--data_dir", "dev", "--features", "kaldi_mfcc"]
    root = made(*words)
    assert "3 utterances computed again, values differ by 0.04 on average" in capsys.readouterr().out
    assert Store([root / "dev"]).info.features == store.info.features
    with pytest.raises(ValueError, match=r"dev/feats\.scp: 13 values a frame; --features kaldi_fbank has 80$"):
        made("--feats", "--data_dir", "dev", "--features", "kaldi_fbank", name="wrong")
    write_ark("dev/feats.ark", [(key, values + 0.2) for key, values in dithered.items()])
    with pytest.raises(ValueError, match=r"feats\.scp: not what --features says .+ of 3 utterances differ by 0\.2"):
        made(*words, name="wrong")
    write_ark("dev/feats.ark", [(key, values[1:]) for key, values in dithered.items()])
    with pytest.raises(ValueError, match=r"not what --features says: .+ frames of 13, computed here"):
        made(*words, name="wrong")
    assert not Path("data/wrong").exists()
    (folder / "wav.scp").unlink()
    made(*words, name="unseen")
    assert "not compared with kaldi_mfcc, there is no wav.scp" in capsys.readouterr().out


def test_plan_of_matrices_writes_nothing(feats, capsys):
    made("--feats", "--data_dir", "train", "--dry_run")
    frames = sum(map(len, matrices(6).values()))
    assert f"  train: 6 utterances, 0.00 hours, {frames} frames of 40, 0 not usable\n" in capsys.readouterr().out
    assert not Path("data").exists()


RECIPES = {
    "libri": ("egs/librispeech/s5/fmllr_cmvn/{}/fmllr_cmvn.ark", ("dev_clean", "train_clean_100"), "libri_fmllr_cmvn"),
    "timit": ("egs/timit/s5/data-fmllr-tri3/{0}/data/feats_fmllr_{0}.{1}.ark", ("train", "dev"), "timit_fmllr_cmvn"),
    "voxceleb": ("egs/voxceleb/v1/data/{}/feats.ark", ("train", "voxceleb1_test"), "voxceleb_mfcc_kaldi"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_kaldis_recipes_leave(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    pattern, sets, name = RECIPES[recipe]
    key = {"libri": "84-12-{}", "timit": "FAEM0_SI{}", "voxceleb": "id1-x-{}"}[recipe]
    expected = {}
    for part in sets:
        for number in range(1, 11 if recipe == "timit" else 2):
            items = {key.format(f"{number}{part}" if recipe != "libri" else number): np.full((4, 40), number, "f")}
            expected.setdefault(part.replace("_", "-"), {}).update(items)
            file = Path("kaldi") / pattern.format(part, number)
            file.parent.mkdir(parents=True, exist_ok=True)
            base = Path(*file.parts[:4])
            with contextlib.chdir(base):  # where Kaldi's scripts run
                write_ark(file.relative_to(base), items.items(), scp=recipe == "voxceleb")
    assert main(["--recipe", recipe, "--kaldi_root", "kaldi", "--output_path", "data"]) == 0
    for split, items in expected.items():
        store = Store([Path("data") / name / split])
        assert store.ids == sorted(items)
        assert all(np.array_equal(store[i], items[key]) for i, key in enumerate(store.ids))
        assert set(store.speakers) == {{"libri": "84", "timit": "FAEM0", "voxceleb": ""}[recipe]}
    if recipe == "timit":
        Path("kaldi", pattern.format("train", 7)).unlink()
        with pytest.raises(ValueError, match="archives are missing, their numbers are"):
            main(["--recipe", recipe, "--kaldi_root", "kaldi", "--output_path", "data"])


# What is made of them


def trained(*words: str, store: str = "data/out", name: str = "run", config: str = "tera_fmllr_base") -> None:
    small = ["model.hidden_size=8", "model.heads=2", "model.ffn_size=8", "trainer.steps=20", "trainer.eval_every=20"]
    data = [f"data.train=[{store}/train]", f"data.dev=[{store}/train]", "data.test=[]", "loader.batch_frames=200"]
    config = str(PROJECT / f"config/{config}.yaml")
    words = ("--train", "--cpu", "--no-msg", "--config", config, "--ckpdir", "runs", "--name", name, *words)
    assert not runner_mockingjay.main([*words, *small, *data])


@pytest.mark.slow
def test_tera_trains_on_fmllr_and_its_checkpoint_takes_nothing_else(feats):
    made("--feats", "--data_dir", "train", "--kind", "fmllr")
    made("--feats", "--data_dir", "train", "--kind", "mfcc", name="mfcc")
    write_ark("narrow.ark", matrices(3, dim=39).items())
    made("--ark", "narrow.ark", "--split", "train", "--kind", "fmllr", name="narrow")
    for size in ("base", "medium", "large"):
        trained(name=size, config=f"tera_fmllr_{size}")
    ckpt = next(Path("runs").rglob("base/*20*.ckpt"))
    go_on = ["--load", "--ckpt", str(ckpt)]
    trained(*go_on, "trainer.steps=22", name="more")
    for other, has in (("mfcc", "mfcc made by Kaldi, 40"), ("narrow", "fmllr made by Kaldi, 39")):
        needs = "the checkpoint takes features that are not computed here: fmllr made by Kaldi, 40"
        said = f"holds {has} values a frame; {needs}"
        with pytest.raises(ValueError, match=said):
            trained(*go_on, store=f"data/{other}", name=f"on_{other}")
        with pytest.raises(ValueError, match=said):
            runner_mockingjay.main(
                ["--extract", "--cpu", "--ckpt", str(ckpt), "--input", f"data/{other}/train", "--output", "states"]
            )
    command = ["--extract", "--cpu", "--ckpt", str(ckpt), "--input", "data/out/train", "--output", "states"]
    assert not runner_mockingjay.main(command)


def test_kaldi_data_is_answered_by_the_command(monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"preprocess_kaldi\.py --feats --data_dir DIR --kind KIND --name NAME"):
        runner_mockingjay.main(["--train", "--kaldi_data", "data/train"])


def test_help_of_both_ways(capsys):
    for words, shown in ((["--help"], "--feature_type"), (["--feats", "--help"], "--apply_cmvn")):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert not left.value.code
        assert shown in capsys.readouterr().out
