"""CMVN over speakers and corpora: the store keeps its frames, and whoever reads rows gets them normalised."""

import pickle
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soundfile
import torch

import runner_mockingjay
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.data import open_data
from mockingjay.sound import to_waveform
from mockingjay.upstream import load_upstream
from preprocess import preprocess_any
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.speech import MEL, write_store
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.waveform import read_audio
from utility.config import as_dict, build, write_yaml
from utility.loader import Loader, LoaderConfig
from utility.store.files import Row, read_info
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.store.statistics import Level, Statistics
from utility.store.writing import StoreWriter

SPEAKERS = {"a-0": "a", "a-1": "a", "b-0": "b", "x-0": "", "x-1": ""}  # nobody knows who says the last two
RATE = 16000


def modes(kind: str) -> FeatureConfig:
    return replace(MEL, cmvn=kind)


def made(root: Path, cmvn: str, dtype: str = "float32", **more) -> Store:
    """A store of 5 utterances in which dimension 3 is constant and speakers have offsets of their own."""
    config = replace(MEL, cmvn=cmvn)
    rows = [Row(name, 20 + 7 * n, 0, who, f"{name}.wav") for n, (name, who) in enumerate(SPEAKERS.items())]
    rows.insert(2, Row("broken", 5, 0, "a", "broken.wav"))
    info = StoreInfo(row_shape=[config.dim], frame_shift=config.frame_shift, features=config, dtype=dtype)
    writer = StoreWriter.open(root, "train", rows, info)
    for index, row in enumerate(rows):
        if row.id == "broken":
            writer.fail(index, "no sound")
        else:
            writer.write(index, raw_frames(row).astype(dtype))
    assert writer.finish()
    return Store([root / "train"], **more)


def raw_frames(row: Row) -> np.ndarray:
    rng = np.random.default_rng(row.length)
    frames = rng.normal(5 + len(row.speaker), 1 + row.length / 20, (row.length, MEL.dim)).astype(np.float32)
    frames[:, 3] = 7.7
    frames[::2, 3] = np.nextafter(np.float32(7.7), np.float32(8))  # constant but for rounding
    return frames


def expected(store: Store, cmvn: str) -> list[np.ndarray]:
    """Straight from the definition, in float64."""
    rows = [Row(name, int(n), 0, SPEAKERS[name], "") for name, n in zip(store.ids, store.lengths)]
    frames = [raw_frames(row).astype(np.float64) for row in rows]
    group = ["" if cmvn == "global" else row.speaker or row.id for row in rows]
    normal = []
    for own, name in zip(frames, group):
        together = np.concatenate([other for other, theirs in zip(frames, group) if theirs == name])
        scale = 1 if cmvn == "speaker_mean" else together.std(0) + 1e-16
        values = (own - together.mean(0)) / scale
        values[:, 3] = 0  # constant
        normal.append(values)
    return normal


@pytest.mark.parametrize("cmvn", ["speaker", "speaker_mean", "global"])
def test_rows_are_normalised_by_the_statistics_of_their_split(tmp_path, cmvn):
    store = made(tmp_path, cmvn)
    for index, values in enumerate(expected(store, cmvn)):
        np.testing.assert_allclose(store[index], values, atol=2e-5)
        assert store[index].dtype == np.float32
        np.testing.assert_array_equal(store.read(index, 4, 11), store[index][4:11])
        lying = np.load(tmp_path / "train.npy")[store._readers[0].rows.offsets[index] :][: len(values)]
        np.testing.assert_allclose(store.level(index).undo(store[index]), lying, atol=1e-5)
        np.testing.assert_array_equal(lying, raw_frames(Row("", len(values), 0, SPEAKERS[store.ids[index]], "")))
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again[4], store[4])
    held = Statistics.read(tmp_path / "train.cmvn.npz")
    assert held.names == ([""] if cmvn == "global" else ["a", "b"])
    assert held.counts.tolist() == ([170] if cmvn == "global" else [47, 34])  # without the row that failed


def test_every_reader_gets_normalised_rows(tmp_path):
    """A loader, a joined corpus and representations read through the one place."""
    store = made(tmp_path / "a", "speaker")
    loaded = Loader(store, LoaderConfig(pad_multiple=1)).one(1)
    np.testing.assert_array_equal(loaded.features[0].numpy(), store[1])
    whole, (first,) = Store.with_splits([tmp_path / "a" / "train"])
    np.testing.assert_array_equal(whole[2], first[2])
    ckpt = write_checkpoint(tmp_path / "m.ckpt", model=TRANSFORMER, features=replace(MEL, cmvn="speaker"))
    words = f"--extract --upstream baseline --input {tmp_path}/a/train --output {tmp_path}/dump --cpu --no-msg"
    assert runner_mockingjay.main(words.split()) == 0
    np.testing.assert_array_equal(Store([tmp_path / "dump" / "train"])[3], store[3])
    with pytest.raises(ValueError, match="cmvn speaker takes the statistics of a store"):
        load_upstream("pretrained", ckpt).from_waveforms([np.zeros(16000, np.float32)])


def test_the_level_of_what_is_predicted_is_that_of_its_store(tmp_path):
    """With another target (linear beside mel) its own store has the statistics."""
    made(tmp_path / "a", "speaker")
    made(tmp_path / "b", "global")
    path, other = f"{tmp_path}/a/train", f"{tmp_path}/b/train"
    data = open_data([path], PretrainConfig())
    np.testing.assert_array_equal(data.target_level("b-0").mean, Store([path]).level(2).mean)
    data = open_data([path], build(PretrainConfig, {"data": {"target": [other]}}))
    np.testing.assert_array_equal(data.target_level("b-0").mean, Store([other]).level(0).mean)


def test_half_precision_is_normalised_by_what_lies_there(tmp_path):
    store = made(tmp_path, "speaker", "float16")
    together = np.concatenate([store[0], store[1]])
    np.testing.assert_allclose(together.mean(0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(together.std(0, dtype=np.float64), 3), 1, atol=1e-6)


def test_stores_of_before_have_no_statistics_and_keep_their_fingerprint(tmp_path):
    path = write_store(tmp_path / "old" / "train", {"a-0": 30, "b-0": 40})
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "features.yaml", "train.csv", "train.digest", "train.npy",
    ]  # fmt: skip
    assert Store([path]).fingerprint() == "731fca2587b20522"  # as it was
    assert Store([path]).level(0) is None
    other = made(tmp_path / "new", "speaker")
    before = other.fingerprint()
    held = Statistics.read(tmp_path / "new" / "train.cmvn.npz")
    replace(held, sums=held.sums + 1).write(tmp_path / "new" / "train.cmvn.npz")
    assert Store([tmp_path / "new" / "train"]).fingerprint() != before


def test_statistics_that_do_not_fit_are_refused(tmp_path):
    made(tmp_path, "speaker")
    path, file, table = tmp_path / "train", tmp_path / "train.cmvn.npz", tmp_path / "train.csv"
    whole, rows = file.read_bytes(), table.read_text()
    for damaged in (b"", whole[:300], b"no zip", whole.replace(b"sums", b"sunk")):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"train.cmvn.npz: no statistics of a store, or damaged"):
            Store([path])
    file.unlink()
    with pytest.raises(ValueError, match=r"train.cmvn.npz: no such file, and .* says cmvn speaker"):
        Store([path])
    file.write_bytes(whole)
    table.write_text(rows.replace(",b,", ",c,"))
    with pytest.raises(ValueError, match="no statistics of 1 of the speakers, 'c' for one"):
        Store([path])
    table.write_text(rows.replace(",b,", ",a,"))
    with pytest.raises(ValueError, match="statistics of other frames: of 'a' 47 there, 81 in the table"):
        Store([path])
    table.write_text(rows)
    write_yaml(replace(read_info(tmp_path / "features.yaml"), features=modes("global")), tmp_path / "features.yaml")
    with pytest.raises(ValueError, match="statistics of each speaker, but cmvn is global"):
        Store([path])


def test_a_killed_extraction_never_leaves_a_table_without_statistics(tmp_path, monkeypatch):
    monkeypatch.setattr("utility.store.writing.write_digest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(tmp_path, "speaker")
    assert not (tmp_path / "train.csv").exists()
    assert (tmp_path / "train.cmvn.npz").exists()
    monkeypatch.undo()
    assert len(made(tmp_path, "speaker")) == 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Recordings of two speakers, each with a colour of their own."""
    root = tmp_path_factory.mktemp("recordings")
    for name, low in (("one/a", 1), ("one/b", 2), ("two/c", 5)):
        path = root / "wav" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(low).normal(0, 0.05 * low, RATE // 2)
        soundfile.write(path, np.convolve(noise, np.ones(low) / low, "same"), RATE)
    words = f"--data_path {root}/wav --output_path {root} --n_jobs 1"
    assert preprocess_any.main(f"{words} --feature_type apc_fbank --name apc".split()) == 0
    return root


def test_the_preset_of_apc_is_kaldis_hamming_fbank_less_the_mean_of_the_speaker(corpus):
    """How APC's authors made `*-hires-norm.blogmel`, without their dither."""
    split = next(path for path in (corpus / "apc").glob("*.npy")).stem
    store = Store([corpus / "apc" / split])
    assert as_dict(store.info.features) == {
        "kind": "kaldi_fbank", "deltas": 0, "cmvn": "speaker_mean", "sample_rate": RATE, "window_type": "hamming",
    }  # fmt: skip
    options = knf.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type, options.mel_opts.num_bins = 0, "hamming", 80
    options.use_energy, options.htk_compat = False, True
    theirs = []
    for path in store.audio_paths:
        computer = knf.OnlineFbank(options)
        computer.accept_waveform(RATE, (read_audio(path) * 32768).tolist())
        computer.input_finished()
        theirs.append(np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)]).astype(np.float64))
    for index, name in enumerate(store.speakers):
        same = np.concatenate([frames for frames, other in zip(theirs, store.speakers) if other == name])
        assert np.abs(store[index] - (theirs[index] - same.mean(0))).max() < 1e-3
        assert len(store[index]) == 1 + (RATE // 2 - 400) // 160


def test_flags_say_the_definition(corpus, capsys):
    words = f"--data_path {corpus}/wav --dry_run --name x --feature_type kaldi_mfcc "
    words += "--window_type hann --energy --cmvn global"
    assert preprocess_any.main(words.split()) == 0
    shown = capsys.readouterr().out
    for line in ("kind: kaldi_mfcc", "cmvn: global", "window_type: hann", "energy: true"):
        assert f"  {line}\n" in shown


def test_straight_from_audio_takes_the_statistics_of_a_store(corpus, tmp_path, capsys):
    split = next(path for path in (corpus / "apc").glob("*.npy")).stem
    store = Store([corpus / "apc" / split])
    ckpt = write_checkpoint(tmp_path / "m.ckpt", model=TRANSFORMER, features=store.info.features)
    table = tmp_path / "wav.csv"
    lines = [f"{n},{p},{s},{RATE},{RATE // 2}" for n, p, s in zip(store.ids, store.audio_paths, store.speakers)]
    table.write_text("\n".join(["id,path,speaker,rate,num_samples", *lines]) + "\n")
    words = f"--extract --ckpt {ckpt} --cpu --no-msg --layer 0 --output {tmp_path}"
    assert runner_mockingjay.main(f"{words}/stored --input {corpus}/apc/{split}".split()) == 0
    with pytest.raises(ValueError, match=r"cmvn speaker_mean takes the statistics of a store.*--statistics"):
        runner_mockingjay.main(f"{words}/refused --input {table}".split())
    statistics = f"--statistics {corpus}/apc/{split}.cmvn.npz"
    assert runner_mockingjay.main(f"{words}/heard --input {table} {statistics}".split()) == 0
    stored, heard = Store([tmp_path / "stored" / split]), Store([tmp_path / "heard" / "wav"])
    for name, index in stored.index.items():
        np.testing.assert_allclose(heard[heard.index[name]], stored[index], atol=1e-5)
    assert runner_mockingjay.main(f"{words}/dry --dry_run --input {table} {statistics}".split()) == 0
    assert "wav.csv: 3 utterances" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is a store, which has its statistics: leave --statistics out"):
        runner_mockingjay.main(f"{words}/no --input {corpus}/apc/{split} {statistics}".split())


def test_sound_of_features_normalised_by_speaker_has_its_level_back(corpus):
    path = next((corpus / "wav").rglob("c.wav"))
    config, wave = FeatureConfig(kind="mel", deltas=0, cmvn="none"), read_audio(path)
    raw = FeatureExtractor(config)(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0][0].numpy()
    held = Statistics.of([("c", [raw])], ["c"], config.dim)
    level = Level.of(held.counts[0], held.sums[0], held.squares[0], replace(config, cmvn="speaker"))
    straight = to_waveform(raw, config, wave)
    again = to_waveform(level.apply(raw), replace(config, cmvn="speaker"), wave, level)
    np.testing.assert_allclose(again, straight, atol=1e-3)


def test_linear_features_can_be_turned_back_without_a_flag(corpus, tmp_path):
    """The originals normalised them, which destroyed the [0, 1] that their own way back needs."""
    words = f"--data_path {corpus}/wav/two --output_path {tmp_path} --n_jobs 1 --feature_type linear --name linear"
    assert preprocess_any.main(words.split()) == 0
    store = Store(sorted((tmp_path / "linear").glob("*.npy"))[0].with_suffix(""))
    assert store.info.features.cmvn == "none"
    assert 0 <= store[0].min() <= store[0].max() <= 1
