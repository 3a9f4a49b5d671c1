"""S3PRL's wrapper with `online_config`: waveforms go in, as its loader brings them; `load_data`, and `LIN`."""

import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from mockingjay.nn_transformer import LIN, SPEC_TRANSFORMER, TRANSFORMER, load_data
from mockingjay.upstream import load_upstream
from originals import mockingjay_api, s3prl_api
from tests.helpers.checkpoints import TRANSFORMER as SMALL
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.legacy_fixture import FIXTURES, plain_content
from tests.oracle.test_original_configs import ONLINE, S3PRL
from tests.oracle.test_s3prl_online import reading
from utility.audio.feature_config import FeatureConfig
from utility.audio.online_config import OnlineConfig
from utility.config import as_dict

THEIRS = {**ONLINE, "n_mels": 80, "noise_proportion": 0.0}
THEIRS |= {
    name: {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True} for name in ("input", "target")
}
COUNTS = (16000, 9000, 4321)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    for module in (s3prl_api, mockingjay_api):
        monkeypatch.setattr(module, "pick_device", lambda cpu: torch.device("cpu"))


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    """Three waveforms [3, N], zero beyond their ends, of other levels than S3PRL's."""
    rng = np.random.default_rng(3)
    batch = np.zeros((3, COUNTS[0]), np.float32)
    for row, count in enumerate(COUNTS):
        time = np.arange(count) / 16000
        batch[row, :count] = 0.2 * np.sin(2 * np.pi * (200 + 300 * row + 400 * time) * time) + rng.normal(
            0, 0.02, count
        )
    return torch.from_numpy(batch)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A checkpoint of S3PRL v0.1.0 that carries its block `online`."""
    content = copy.deepcopy(plain_content(FIXTURES / "tera_dr1.ckpt"))
    config = {**content["Settings"]["Config"], "online": THEIRS}
    path = tmp_path_factory.mktemp("theirs") / "states-6.ckpt"
    torch.save(
        {"Transformer": content["Transformer"], "SpecHead": content["SpecHead"], "Settings": {"Config": config}}, path
    )
    return path


def test_waveforms_give_the_states_of_their_features(waves):
    """The features by a definition written apart, the states by the wrapper that takes features."""
    options = {"ckpt_file": FIXTURES / "tera_dr1.ckpt"}
    heard = TRANSFORMER(options=options, inp_dim=-1, config=None, online_config=THEIRS)
    found = heard(waves, COUNTS)
    assert (heard.out_dim, tuple(found.shape)) == (48, (3, 101, 48))
    plain = TRANSFORMER(options, 80)
    for row, count in enumerate(COUNTS):
        features = reading(waves[row, :count].numpy(), "s3prl_mel", 0, True).astype(np.float32)
        expected = plain(features[None], [len(features)])[0]
        frames = 1 + count // 160
        assert tuple(expected.shape) == (frames, 48)
        torch.testing.assert_close(found[row, :frames], expected, atol=2e-5, rtol=0)
        assert not found[row, frames:].any()
        torch.testing.assert_close(heard(waves[row, :count])[0], found[row, :frames], atol=5e-6, rtol=0)


def test_every_shape_that_waveforms_come_in_gives_the_same(waves):
    heard = TRANSFORMER({"ckpt_file": FIXTURES / "tera_dr1.ckpt"}, 0, None, THEIRS)
    expected = heard(waves, COUNTS)
    noisy = torch.rand_like(waves)
    shapes = {
        "lengths from zeros": (waves, None),
        "one channel": (waves[:, None], torch.tensor(COUNTS)),
        "two channels": (torch.stack([waves, noisy], 1), COUNTS),
        "S3PRL's loader": (waves[:, :, None], COUNTS),
        "two channels of the loader": (torch.stack([waves, noisy], 2), COUNTS),
        "a list": ([wave[:count] for wave, count in zip(waves, COUNTS)], None),
        "arrays of float64": ([wave[:count].numpy().astype(np.float64) for wave, count in zip(waves, COUNTS)], None),
    }
    for name, (x, lengths) in shapes.items():
        assert torch.equal(heard(x, lengths), expected), name
    torch.testing.assert_close(heard(0.1 * waves, COUNTS), expected, atol=1e-4, rtol=0)  # one level


def test_lengths_given_are_not_guessed(waves):
    heard = TRANSFORMER({"ckpt_file": FIXTURES / "tera_dr1.ckpt"}, 0, online_config=THEIRS)
    silent = waves[1:2].clone()
    silent[:, COUNTS[1] - 800 :] = 0
    assert heard(silent).any(-1).sum() < heard(silent, [COUNTS[1]]).any(-1).sum() == 1 + COUNTS[1] // 160


def test_a_checkpoint_that_carries_its_online_block_takes_waveforms(original, waves):
    carried = TRANSFORMER({"ckpt_file": str(original)}, 0)
    told = TRANSFORMER({"ckpt_file": FIXTURES / "tera_dr1.ckpt"}, 0, online_config=THEIRS)
    assert torch.equal(carried(waves, COUNTS), told(waves, COUNTS))
    states, lengths = load_upstream(original).from_waveforms([wave[:n] for wave, n in zip(waves, COUNTS)], 16000)
    torch.testing.assert_close(carried(waves, COUNTS), states[-1], atol=1e-5, rtol=0)
    assert lengths.tolist() == [1 + count // 160 for count in COUNTS]
    with pytest.raises(
        ValueError, match=r"features of online_config and the checkpoint differ: s3prl.n_freq 401 against 201"
    ):
        TRANSFORMER({"ckpt_file": original}, 0, online_config={**THEIRS, "n_freq": 401})


@pytest.mark.parametrize("form", ["theirs", "theirs within", "ours", "ours alone"])
@pytest.mark.parametrize("as_file", [False, True])
def test_the_config_is_a_dict_or_a_file_of_either_form(form, as_file, waves, tmp_path):
    ours = as_dict(OnlineConfig(target_level=None, input=FeatureConfig(kind="s3prl_mel", deltas=0)))
    values = {"theirs": THEIRS, "theirs within": {"online": THEIRS}, "ours": {"online": ours}, "ours alone": ours}[form]
    if as_file:
        (tmp_path / "online.yaml").write_text(yaml.safe_dump(values))
    given = str(tmp_path / "online.yaml") if as_file else values
    options = {"ckpt_file": FIXTURES / "tera_dr1.ckpt"}
    expected = TRANSFORMER(options, 0, online_config=THEIRS)(waves, COUNTS)
    assert torch.equal(TRANSFORMER(options, 0, online_config=given)(waves, COUNTS), expected)


def test_our_features_and_their_level(tmp_path, waves):
    """A store's features are computed as they were; online training brings the waveforms to its level first."""
    ckpt = write_checkpoint(tmp_path / "ours.ckpt", FeatureConfig(kind="fbank", deltas=0), model=SMALL)
    parts = [wave[:n] for wave, n in zip(waves, COUNTS)]
    states, _ = load_upstream(ckpt).from_waveforms(parts, 16000)
    online = {"target_level": None, "input": {"kind": "fbank", "deltas": 0}}
    heard = TRANSFORMER({"ckpt_file": ckpt}, 0, online_config=online)
    torch.testing.assert_close(heard(parts), states[-1], atol=1e-5, rtol=0)
    assert not torch.equal(
        TRANSFORMER({"ckpt_file": ckpt}, online_config={**online, "target_level": -40})(parts), heard(parts)
    )
    with pytest.raises(ValueError, match="differ: kind 'mel' against 'fbank'"):
        TRANSFORMER({"ckpt_file": ckpt}, 0, online_config={"input": {"kind": "mel"}})
    assert TRANSFORMER({"ckpt_file": ckpt})(torch.randn(1, 9, 80)).shape == (1, 9, 24)  # features, as ever


def test_with_head_gradients_and_layers(waves):
    options = {"ckpt_file": FIXTURES / "tera_dr1.ckpt", "no_grad": "False", "dropout": "0.0", "weighted_sum": "True"}
    heard = SPEC_TRANSFORMER(options, 80, None, THEIRS, 3)
    found = heard(waves, COUNTS)
    assert found.shape == (3, 101, heard.out_dim) == (3, 101, 80)
    found.sum().backward()
    assert heard.weight.grad.any()


@pytest.mark.parametrize("theirs", [True, False])
def test_a_config_without_weights(theirs, waves, tmp_path):
    file = tmp_path / "model.yaml"
    ours = {"model": {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}}
    file.write_text(yaml.safe_dump({**S3PRL, "online": THEIRS} if theirs else ours))
    options = {"load_pretrain": "False"}
    heard = TRANSFORMER(options, config=file, online_config=None if theirs else THEIRS)
    assert heard(waves, COUNTS).shape == (3, 101, 24 if theirs else 8)
    if theirs:
        file.write_text(yaml.safe_dump(S3PRL))
        plain = TRANSFORMER(options, -1, file)  # the original's file says 80
        assert plain(torch.randn(1, 7, 80)).shape == (1, 7, 24)
        assert plain.upstream.encoder.blocks[0].attention.dropout == 0.3
        with pytest.raises(ValueError, match="online_config gives features of 80 values, inp_dim says 40"):
            TRANSFORMER(options, 40, file, THEIRS)


BAD = {
    "nothing": ({}, "online_config is empty.*from_waveforms"),
    "another kind": ({"input": {"feat_type": "phase"}}, "such features are not computed here"),
    "a key": ({**THEIRS, "n_mell": 3}, "unknown config key 'online.n_mell'; did you mean 'n_mel"),
    "a key of ours": ({"input": {"kind": "mel"}, "levl": 3}, "unknown config key 'levl'"),
    "another size": ({**THEIRS, "n_mels": 40}, "features of 40 values, .*tera_dr1.ckpt says 80"),
    "no section": ({"online": 5}, "'online' is 5, expected keys and values"),
    "a file": ("nowhere.yaml", "nowhere.yaml"),
}


@pytest.mark.parametrize("name", BAD)
def test_configs_that_are_refused(name):
    online, said = BAD[name]
    with pytest.raises((ValueError, OSError), match=said) as refused:
        TRANSFORMER({"ckpt_file": FIXTURES / "tera_dr1.ckpt"}, 0, online_config=online)
    assert "\n" not in str(refused.value)


def test_waveforms_that_are_refused(waves):
    options = {"ckpt_file": FIXTURES / "tera_dr1.ckpt"}
    heard = TRANSFORMER(options, 0, online_config=THEIRS)
    with pytest.raises(ValueError, match=r"waveform 1 is too short: 300 samples where one window .* has 400"):
        heard([waves[0], waves[1, :300]])
    for wrong in (torch.zeros(2, 3, 4, 5), torch.zeros(3, 9, 9), torch.zeros(9, dtype=torch.int16), torch.zeros(0)):
        with pytest.raises(ValueError, match=r"waveforms are .*expected \[N\], \[B, N\], \[B, channels, N\]"):
            heard(wrong)
    with pytest.raises(ValueError, match="brings its own lengths"):
        heard([waves[0]], [5])
    with pytest.raises(ValueError, match=r"lengths are .*expected 3 whole numbers from 1 to 16000"):
        heard(waves, [1, 2])
    with pytest.raises(ValueError, match="permute_input exchanges axes of features, but waveforms go in"):
        TRANSFORMER({**options, "permute_input": "True"}, 0, online_config=THEIRS)
    with pytest.raises(ValueError, match="features are a list, expected one tensor"):
        TRANSFORMER(options, 0)([waves[0]])


@pytest.fixture
def recording(tmp_path) -> Path:
    """Two seconds in two channels at 8 kHz."""
    time = np.arange(16000) / 8000
    left = 0.5 * np.sin(2 * np.pi * 300 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, 0 * left], 1), 8000)
    return tmp_path / "a.wav"


def test_load_data_gives_a_waveform_of_the_level(recording):
    for load in (load_data, TRANSFORMER.load_data, SPEC_TRANSFORMER.load_data):
        wave = load(recording, **{**ONLINE, "roots": ["x"]})
        assert (tuple(wave.shape), wave.dtype) == ((32000,), torch.float32)
        assert 20 * float(wave.square().mean().sqrt().log10()) == pytest.approx(-25, abs=1e-3)
    quiet = load_data(wav_path=recording, sample_rate=8000, max_time=None, target_level=None)
    assert float(quiet.square().mean().sqrt()) == pytest.approx(0.25 / 2**0.5, abs=1e-3)  # the mean of both channels


def test_load_data_cuts_what_is_longer(recording):
    whole = load_data(recording, target_level=None)
    pieces = [load_data(recording, max_time=500, target_level=None, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(pieces[0], pieces[1])
    assert not torch.equal(pieces[0], pieces[2])
    for piece in pieces:
        assert len(piece) == 8000
        assert any(torch.equal(piece, whole[start : start + 8000]) for start in range(24001))


def test_load_data_refuses_in_one_line(recording, tmp_path):
    with pytest.raises(ValueError, match="load_data: unknown key 'max_tme'; did you mean 'max_time'"):
        load_data(recording, max_tme=5)
    with pytest.raises(ValueError, match="expected numbers above 0"):
        load_data(recording, max_time=0)
    with pytest.raises(ValueError, match=r"nowhere\.wav: no such audio file"):
        load_data(tmp_path / "nowhere.wav")


def test_lin_begins_as_the_identity_and_learns():
    lin = LIN(options=None, inp_dim=7)
    x = torch.randn(2, 5, 7)
    assert (lin.out_dim, lin.training) == (7, True)
    torch.testing.assert_close(lin(x), x, atol=1e-6, rtol=0)
    lin(x).square().sum().backward()
    assert all(parameter.grad.any() for parameter in lin.parameters())
    with pytest.raises(ValueError, match="inp_dim is 0"):
        LIN({}, 0)
