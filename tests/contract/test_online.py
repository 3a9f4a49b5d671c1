"""Training straight from audio: the features of the store, level and noise as asked for, and exact resume."""

import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import runner_mockingjay
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.data import open_data
from mockingjay.pretraining.run import RunContext, make_trainer
from preprocess import generate_len_for_bucket, preprocess_any
from preprocess.parts.corpora import Utterance
from preprocess.parts.extraction import plan
from tests.helpers.speech import wav
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.noise import add_noise, levelled, read_noise
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.audio.waveform import read_audio
from utility.batches import Batch, Waveforms
from utility.config import as_dict, build
from utility.loader import Loader, LoaderConfig, Target
from utility.store.reading import Store
from utility.store.recordings import Recordings
from utility.training.checkpoint import load_checkpoint, saved_steps
from utility.training.log import read_metrics

MEL = FeatureConfig(kind="mel", deltas=1)
CPU = torch.device("cpu")
TINY = {
    "model": {"layers": 1, "hidden_size": 16, "heads": 2, "ffn_size": 16},
    "loader": {"batch_frames": 200, "max_frames": 40, "pad_multiple": 8},
    "trainer": {"steps": 8, "log_every": 1, "eval_every": 4, "save_every": 2, "max_keep": 9, "precision": "fp32"},
}


@dataclass(frozen=True)
class World:
    root: Path
    table: Path  # of train
    store: Path

    def config(self, online: dict | None, **more) -> PretrainConfig:
        names = {"train": [str(self.table)], "dev": [str(self.table.with_name("dev.csv"))]}
        if online is None:
            names = {"train": [str(self.store / "train")], "dev": [str(self.store / "dev")]}
        return build(PretrainConfig, {**TINY, "data": names, "online": online, **more})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Twenty recordings of 0.2 to 1.1 s, their store and their tables."""
    root, rng = tmp_path_factory.mktemp("online"), np.random.default_rng(0)
    for number in range(20):
        path = root / "corpus" / ("dev" if number > 16 else "train") / f"s{number % 3}" / f"{number:02}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 10 ** rng.uniform(-2, -0.5) * np.cumsum(rng.standard_normal(int(rng.integers(3200, 17600))))
        soundfile.write(path, np.diff(wave - wave.mean()) * np.hanning(len(wave) - 1), 16000)
    words = ["--data_root", str(root / "corpus"), "--output_path", str(root / "data")]
    assert generate_len_for_bucket.main(words) == 0
    assert preprocess_any.main([*words, "--feature_type", "mel", "--delta", "--name", "mel", "--n_jobs", "1"]) == 0
    return World(root, root / "data/len_for_bucket/train.csv", root / "data/mel")


def batch_of(waves: list[np.ndarray]) -> Waveforms:
    counts = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    ids = [f"u{row}" for row in range(len(waves))]
    return Waveforms(padded, counts, MEL.num_frames(counts), ids)


def decibels(x: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)))


@pytest.mark.parametrize("kind", ["mel", "linear", "mfcc", "kaldi_fbank"])
def test_features_are_those_of_each_utterance_alone_in_any_batch(world, kind):
    features = FeatureConfig(kind=kind, deltas=0)
    config = world.config({"target_level": None, "input": as_dict(features)}, loader={"batch_frames": 300})
    data = open_data(config.data.train, config)
    extract, seen = FeatureExtractor(features), 0
    for batch in data.once(CPU):
        for name, length, found in zip(batch.ids, batch.lengths.tolist(), batch.features):
            wave = torch.from_numpy(read_audio(next((world.root / "corpus/train").rglob(f"{name}.flac"))))
            alone = extract(wave[None], torch.tensor([len(wave)]))[0][0]
            assert torch.equal(found[:length], alone)
            assert not found[length:].any()
            seen += 1
    assert seen == 17


def test_whole_utterances_train_as_from_the_store_to_the_last_bit(world):
    whole = {"loader": {"batch_frames": 300, "max_frames": None}}
    losses = []
    for online in (None, {"target_level": None}):
        trainer = make_trainer(
            world.config(online, **whole), 3, RunContext(world.root / "x", world.root / "x", CPU, True)
        )
        stream = trainer.training.loader.stream()
        for _ in range(5):
            trainer.update(stream)
        losses.append([*trainer.window["loss"], *trainer.training.evaluate().values()])
    assert [float(loss) for loss in losses[0]] == [float(loss) for loss in losses[1]]
    assert min(losses[0]) > 0
    store = Store([world.store / "train"])
    recordings = Recordings([world.table], MEL)
    assert recordings.lengths.tolist() == store.lengths.tolist()
    assert recordings.ids == store.ids
    assert np.array_equal(recordings[5], store[5])


def test_what_a_crop_reads_gives_its_frames_and_is_where_it_says(world):
    for kind in ("mel", "fbank", "kaldi_mfcc"):
        features = FeatureConfig(kind=kind, deltas=0)
        recordings = Recordings([world.table], features)
        for index in range(5):
            length, whole = int(recordings.lengths[index]), read_audio(recordings.audio_paths[index])
            for start, stop in ((0, 1), (3, 9), (length - 4, length), (length - 1, length), (0, length)):
                part = recordings.read(index, start, stop)
                first = 0 if (start, stop) == (0, length) else min(start * features.hop, len(whole) - len(part))
                assert features.num_frames(len(part)) == stop - start
                assert np.array_equal(part, whole[first : first + len(part)])


@pytest.mark.parametrize("workers", [0, 1])
def test_crops_are_the_same_after_a_resume_and_differ_between_epochs(world, workers):
    recordings = Recordings([world.table], MEL)
    config = LoaderConfig(batch_frames=120, max_frames=20, workers=workers)
    straight = list(islice(Loader(recordings, config, seed=3, waveforms=True).stream(), 20))
    again = list(islice(Loader(recordings, config, seed=3, waveforms=True).stream(straight[6][0]), 13))
    for (_, one), (_, other) in zip(straight[7:], again, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.samples, other.samples)
    crops = [
        batch.samples[batch.ids.index(recordings.ids[0])] for _, batch in straight if recordings.ids[0] in batch.ids
    ]
    assert len(crops) > 1
    assert not torch.equal(crops[0], crops[1])


def test_level_is_that_of_the_true_length_and_silence_stays():
    rng = np.random.default_rng(1)
    waves = [scale * rng.standard_normal(n).astype(np.float32) for scale, n in ((0.5, 9000), (1e-4, 4000), (0, 2000))]
    batch = batch_of(waves)
    louder = levelled(batch.samples, batch.num_samples, -25.0).numpy()
    assert decibels(louder[0, :9000]) == pytest.approx(-25, abs=1e-4)
    assert decibels(louder[1, :4000]) == pytest.approx(-25, abs=1e-4)
    assert not louder[1, 4000:].any()
    assert not louder[2].any()


def test_noise_has_the_asked_ratio_to_the_speech_and_stays_off_padding():
    rng = np.random.default_rng(2)
    waves = [scale * rng.standard_normal(n).astype(np.float32) for scale, n in ((0.5, 9000), (1e-3, 4000), (0.1, 7000))]
    batch, snrs = batch_of(waves), torch.tensor([3.0, -6.0, 20.0])
    noise = torch.randn(batch.samples.shape, generator=torch.Generator().manual_seed(0))
    heard = add_noise(batch.samples, batch.num_samples, noise, snrs).numpy()
    for row, (wave, snr) in enumerate(zip(waves, snrs.tolist())):
        added = heard[row, : len(wave)] - wave
        assert decibels(wave) - decibels(added) == pytest.approx(snr, abs=1e-2)
        assert not heard[row, len(wave) :].any()


def noisy(proportion: float, **more) -> Online:
    return Online(OnlineConfig(noise_proportion=proportion, **more), noisy=True)


def test_only_the_input_gets_noise():  # R36: nothing got any
    rng = np.random.default_rng(3)
    batch = batch_of([rng.standard_normal(n).astype(np.float32) / 9 for n in (9000, 4000, 7000, 5000)])
    clean = noisy(0.0)(batch, torch.Generator(), 8)
    assert clean.target is None
    found = noisy(1.0)(batch, torch.Generator().manual_seed(1), 8)
    assert torch.equal(found.target, clean.features)
    assert found.features.shape == (4, 48, 160)
    assert all((a - b).abs().mean() > 0.05 for a, b in zip(found.features, clean.features))
    some = noisy(0.5)(batch, torch.Generator().manual_seed(2), 8)
    same = [torch.equal(a, b) for a, b in zip(some.features, clean.features)]
    assert 0 < sum(same) < 4
    assert torch.equal(some.target, clean.features)
    linear = FeatureConfig(kind="linear", deltas=0)
    other = noisy(1.0, target=linear)(batch, torch.Generator().manual_seed(1), 8)
    assert torch.equal(other.features, found.features)
    expected, _ = FeatureExtractor(linear)(levelled(batch.samples, batch.num_samples, -25.0), batch.num_samples)
    assert torch.equal(other.target[:, : expected.shape[1]], expected)


def test_noise_comes_from_a_generator_or_from_the_ids():
    rng, online = np.random.default_rng(4), noisy(0.5)
    batch = batch_of([rng.standard_normal(n).astype(np.float32) / 9 for n in (9000, 4000, 7000, 5000)])
    draws = [online(batch, torch.Generator().manual_seed(seed)).features for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    fixed = online(batch)
    alone = Waveforms(batch.samples[2:3, :7000], batch.num_samples[2:3], batch.lengths[2:3], batch.ids[2:3])
    assert torch.equal(online(alone).features[0], fixed.features[2, : int(batch.lengths[2])])


def test_noise_recordings_are_held_within_bounds(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    for name, seconds, rate in (("a.wav", 2.0, 16000), ("b/c.flac", 1.0, 8000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(int(seconds * rate)), rate)
    assert len(read_noise(str(tmp_path), 16000)) == 48000
    monkeypatch.setattr("utility.audio.noise.NOISE_SECONDS", 1.5)
    some = read_noise(str(tmp_path), 16000).numpy()
    assert np.array_equal(some[:16000], read_audio(tmp_path / "a.wav")[:16000])
    assert np.array_equal(some[16000:], read_audio(tmp_path / "b/c.flac")[:8000])


def train(world: World, name: str, *words: str) -> tuple[dict, list[dict]]:
    """The last checkpoint and the figures of a run."""
    places = ["--ckpdir", str(world.root / "result"), "--logdir", str(world.root / "log"), "--cpu", "--no-msg"]
    runner_mockingjay.main(["--train", "--name", name, *places, *words])
    folder = world.root / "result" / name
    content = load_checkpoint(folder / f"mockingjay-{saved_steps(folder, 'mockingjay')[-1]}.ckpt", "pretrain")
    kept = ("step", "loss", "dev_loss", "grad_norm", "masked_share")
    records = read_metrics(world.root / "log" / name)
    return content, [{key: value for key, value in record.items() if key in kept} for record in records]


@pytest.fixture(scope="module")
def straight(world) -> list[str]:
    """The flags of a run with noise on a half of the utterances, which it then made."""
    (world.root / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    online = as_dict(world.config({"noise_proportion": 0.5, "dev_noise": True}))
    (world.root / "online.yaml").write_text(yaml.safe_dump({key: online[key] for key in ("data", "online")}))
    flags = ["--config", str(world.root / "tiny.yaml"), "--online_config", str(world.root / "online.yaml")]
    train(world, "straight", *flags)
    return flags


@pytest.mark.slow
def test_noise_is_heard_in_training_and_elsewhere_only_where_asked(world, straight):  # R36: training got none
    found = []
    for share, everywhere in ((0.0, False), (1.0, False), (1.0, True)):
        words = [f"online.noise_proportion={share}", f"online.dev_noise={everywhere}", "optimizer.lr=1e-12"]
        words += ["model.initializer_range=0.5"]  # at the usual one the input hardly moves the first prediction
        _, records = train(world, f"noise_{share}_{everywhere}", *straight, *words, "trainer.steps=1")
        found.append({key: value for record in records for key, value in record.items()})
    quiet, noisy, both = found
    assert abs(quiet["loss"] - noisy["loss"]) > 1e-3
    assert quiet["dev_loss"] == pytest.approx(noisy["dev_loss"], rel=1e-5)
    assert abs(noisy["dev_loss"] - both["dev_loss"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--config"], ["loader.workers=1"]], ids=["bare", "with config", "workers"])
def test_a_run_that_was_killed_goes_on_bit_for_bit_without_its_flag(world, straight, words):
    name = "_".join(["killed", *words])
    for place in ("result", "log"):
        shutil.copytree(world.root / place / "straight", world.root / place / name)
    for step in (6, 8):
        (world.root / "result" / name / f"mockingjay-{step}.ckpt").unlink()
    content, records = train(world, name, "--resume", *(straight[:2] if words == ["--config"] else words))
    expected, expected_records = train(world, "straight", "--resume")
    assert records == expected_records
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 9))
    for key, value in expected["model"].items():
        assert torch.equal(content["model"][key], value), key
    assert content["config"]["online"] == expected["config"]["online"]
    assert content["features"] == as_dict(MEL)


@pytest.mark.slow
def test_the_checkpoint_is_tested_drawn_and_extracted_from_its_recordings(world, straight, capsys):
    ckpt = ["--ckpt", str(world.root / "result/straight/best.ckpt")]
    words = [*ckpt, "--output", str(world.root / "dump"), f"data.test=[{world.table.with_name('dev.csv')}]"]
    assert runner_mockingjay.main(["--test", "--cpu", *words]) == 0
    runner_mockingjay.main(["--plot", "--with_head", "--num", "1", "--cpu", *words])
    runner_mockingjay.main(["--plot", "--alterations", "--num", "1", *words])
    assert {path.suffix for path in (world.root / "dump").iterdir()} >= {".npy", ".json", ".png", ".wav"}
    runner_mockingjay.main(
        ["--test", *ckpt, "--cpu", "--input", str(world.store / "dev"), "--output", str(world.root / "dump2")]
    )
    one, other = Store([world.root / "dump/dev"]), Store([world.root / "dump2/dev"])
    assert one.ids == other.ids
    assert np.array_equal(one[0], other[0])


def test_recordings_of_another_rate_are_resampled(tmp_path):
    rng = np.random.default_rng(6)
    for rate in (8000, 16000, 44100):
        soundfile.write(tmp_path / f"{rate}.wav", 0.1 * rng.standard_normal(rate), rate)
    recordings = Recordings([tmp_path], MEL)
    assert recordings.num_samples.tolist() == [16000] * 3
    for index, name in enumerate(recordings.ids):
        whole = read_audio(tmp_path / f"{name}.wav")
        assert np.array_equal(recordings.read(index, 10, 20), whole[2000:3801])


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_a_part_of_a_file_is_what_the_whole_has_there(tmp_path, extension):
    wave = 0.1 * np.random.default_rng(7).standard_normal((50000, 2))
    soundfile.write(tmp_path / f"x.{extension}", wave, 16000)
    whole = read_audio(tmp_path / f"x.{extension}")
    for part in (slice(20000, 30000), slice(49000, 50000), slice(0, 1)):
        found = read_audio(tmp_path / f"x.{extension}", part=part)
        np.testing.assert_allclose(found, whole[part], rtol=0, atol=1e-7)


@pytest.mark.parametrize("harm", ["shorter", "garbage", "gone"])
def test_audio_that_broke_after_its_table_was_made_is_one_clear_line(world, tmp_path, harm):
    shutil.copytree(world.root / "corpus/dev", tmp_path / "corpus")
    assert generate_len_for_bucket.main(["--data_path", str(tmp_path / "corpus"), "--output_path", str(tmp_path)]) == 0
    victim = tmp_path / "corpus/s2/17.flac"
    if harm == "shorter":
        soundfile.write(victim, read_audio(victim)[:1000], 16000)
    elif harm == "garbage":
        victim.write_bytes(b"no sound")
    else:
        victim.unlink()
    recordings = Recordings([tmp_path / "len_for_bucket/all.csv"], MEL)
    with pytest.raises(ValueError, match=rf"^{victim}: (has changed|not an audio file|no such audio)[^\n]*$"):
        list(Loader(recordings, LoaderConfig(), waveforms=True).once())


def test_recordings_that_a_table_lists_and_are_gone_are_seen_at_the_start(tmp_path):  # L8
    """They were seen at their first reading, perhaps days on."""
    for i in range(3):
        wav(tmp_path / f"in/{i}.wav", 8000, i)
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1", "--name=table"]
    assert generate_len_for_bucket.main(flags) == 0
    recordings = Recordings([tmp_path / "table/all.csv"], FeatureConfig(kind="mel", deltas=0))
    recordings.check()
    (tmp_path / "in/1.wav").unlink()
    with pytest.raises(ValueError, match=r"all.csv: 1 of 3 recordings are not there, .*/in/1.wav for one: preproc"):
        recordings.check()
    table = tmp_path / "table/all.csv"
    table.write_text(table.read_text().replace("1.wav", "x" * 100_000))
    with pytest.raises(ValueError, match="1 of 3 recordings are not there") as caught:
        Recordings([table], FeatureConfig(kind="mel", deltas=0)).check()
    assert len(str(caught.value)) < 300 + len(str(table))


def test_tables_hold_what_the_headers_say_and_leave_out_what_is_broken(tmp_path, capsys):
    (tmp_path / "corpus/train").mkdir(parents=True)
    soundfile.write(tmp_path / "corpus/train/a.wav", np.zeros(22050), 22050)
    (tmp_path / "corpus/train/b.flac").write_bytes(b"no sound")
    (tmp_path / "corpus/train/c.txt").write_text("no audio")
    words = ["--data_root", str(tmp_path / "corpus"), "--output_path", str(tmp_path), "--name", "lengths"]
    assert generate_len_for_bucket.main([*words, "--n_jobs", "1"]) == 1
    assert (tmp_path / "lengths/train.csv").read_text().splitlines() == [
        "id,path,speaker,duration,rate,num_samples",
        f"a,{tmp_path.resolve()}/corpus/train/a.wav,,1.000000,22050,22050",
    ]
    assert "train/b.flac" in (tmp_path / "lengths/errors.csv").read_text()
    assert "1 not used" in capsys.readouterr().err
    (tmp_path / "corpus/train/b.flac").unlink()
    assert generate_len_for_bucket.main([*words, "--audio_extention", "wav"]) == 0
    assert not (tmp_path / "lengths/errors.csv").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_levl": -25}, "did you mean 'target_level'"),
        ({"snrs": []}, "online.snrs"),
        ({"input": {"cmvn": "none"}}, "target_level needs input.cmvn 'utterance'"),
        ({"target": {"kind": "fbank"}}, "does not have the frames of input mel"),
    ],
)
def test_settings_that_make_no_sense(world, values, message):
    with pytest.raises(ValueError, match=message):
        world.config(values)
    world.config({"target_level": None, "input": {"cmvn": "none"}})
    for more in ({"data": {"target": ["data/linear/train"]}}, {"objective": "apc"}):
        with pytest.raises(ValueError, match=r"data\.target must be empty|online\.noise_proportion 0"):
            build(PretrainConfig, {"online": {"noise_proportion": 0.5}, **more})


@pytest.mark.cuda
def test_a_cuda_device_gives_the_same_features():
    rng = np.random.default_rng(8)
    batch = batch_of([rng.standard_normal(n).astype(np.float32) / 9 for n in (9000, 4000, 7000, 5000)])
    here, there = (
        noisy(0.5)(batch.to(torch.device(place)), torch.Generator().manual_seed(2)) for place in ("cpu", "cuda")
    )
    for one, other in ((here.features, there.features), (here.target, there.target)):
        torch.testing.assert_close(other.cpu(), one, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["mel", "fbank", "kaldi_mfcc"])
def test_preprocessing_and_training_refuse_the_same_recordings_in_the_same_words(tmp_path, kind):
    """300 samples were refused by preprocessing and trained on from audio."""
    features = FeatureConfig(kind=kind, deltas=0)
    names = {"short": features.min_samples - 1, "long": features.min_samples}
    for name, size in names.items():
        soundfile.write(tmp_path / f"{name}.wav", np.full(size, 0.1), 16000)
    utterances = [Utterance(name, "all", "", f"{name}.wav") for name in names]
    rows, failed = plan(tmp_path, utterances, features, "all")
    recordings = Recordings([tmp_path / f"{name}.wav" for name in names], features)
    assert recordings.lengths.tolist() == [row.length for row in rows]
    assert recordings.lengths[0] == 0 < recordings.lengths[1]
    assert list(failed) == [0]
    for refused in (recordings.check, lambda: recordings[0]):
        with pytest.raises(ValueError) as caught:
            refused()
        assert str(caught.value) == f"{tmp_path}/short.wav: {failed[0]}"
    assert features.num_frames(len(recordings.read(1, 0, 1))) == 1


def test_waveforms_become_a_batch_and_keep_what_goes_with_them(world):
    recordings = Recordings([world.table], MEL)
    target = Target(lambda index: np.arange(index + 1), fill=-1, own_length=True)
    loader = Loader(recordings, LoaderConfig(batch_frames=200, max_frames=20), target=target, waveforms=True)
    _, waves = next(loader.stream())
    assert isinstance(waves, Waveforms)
    assert waves.samples.shape == (len(waves.ids), int(waves.num_samples.max()))
    batch = Online(OnlineConfig(), noisy=False)(waves.to(CPU), multiple=8)
    assert isinstance(batch, Batch)
    assert batch.ids == waves.ids
    assert torch.equal(batch.lengths, waves.lengths)
    assert torch.equal(batch.host_lengths, waves.lengths)
    assert torch.equal(batch.lengths, MEL.num_frames(waves.num_samples))
    assert batch.target_lengths.tolist() == [recordings.index[name] + 1 for name in batch.ids]
    assert torch.equal(batch.target, waves.target)
    assert batch.features.shape[1] % 8 == 0
