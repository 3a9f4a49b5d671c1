"""Figures: what is drawn lies at the right time, every axis and colour says what it is, and nothing is kept alive."""

import re
from dataclasses import replace

import librosa
import matplotlib._pylab_helpers
import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize

from downstream.figures import confusion_figure, curves_figure
from mockingjay.figures.attention import attention_figure
from mockingjay.figures.spectrograms import Reconstruction, alterations_figure, reconstruction_figure
from mockingjay.figures.states import hidden_states_figures
from mockingjay.objectives.masking import MaskingConfig, alter, each_alteration
from mockingjay.sound import to_waveform
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.s3prl_online import S3prlOptions
from utility.audio.waveform import read_audio
from utility.plot import (
    Clock,
    ValueAxis,
    feature_axis,
    feature_unit,
    new_figure,
    picture_stem,
    save_figure,
    spectrogram_axes,
)
from utility.runs import Metric
from utility.store.info import StoreInfo

MEL = FeatureConfig()
LINEAR = FeatureConfig(kind="linear", deltas=0)


def info_of(config: FeatureConfig | None, dim: int = 160) -> StoreInfo:
    if config is None:
        return StoreInfo(row_shape=[dim], frame_shift=float("nan"))
    return StoreInfo(row_shape=[config.dim], frame_shift=config.frame_shift, features=config)


def reconstruction(frames: int, rate: int, source: int, target: int, spans: list[tuple[int, int]]):
    """Stacked arrays as the solver gives them, `spans` of stacked frames masked."""
    generator = torch.Generator().manual_seed(0)
    true, predicted = torch.randn(2, frames, target * rate, generator=generator)
    masked = torch.randn(frames, source * rate, generator=generator)
    mask = torch.zeros(frames, source * rate, dtype=torch.bool)
    for begin, end in spans:
        mask[begin:end] = True
    return {"true": true, "masked": masked * ~mask, "predicted": predicted, "mask": mask}


def panels(figure):
    return [ax for ax in figure.axes if ax.images]


def draw(found, rate, source, target, name):
    return reconstruction_figure(Reconstruction.of(found, rate, source, target), source, target, name)


def colour_bars(figure):
    return [ax for ax in figure.axes if not ax.images]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1, 3])
def test_reconstruction_shows_four_labelled_panels_at_the_feature_rate(rate, tmp_path):
    info = info_of(MEL)
    found = reconstruction(40, rate, 160, 160, [(5, 12), (30, 33)])
    figure = draw(found, rate, info, info, "84-0001")
    save_figure(figure, tmp_path / "a.png")
    shown = panels(figure)
    assert [ax.get_title("left").split(":")[0] for ax in shown] == ["input", "predicted", "true", "filled"]
    shift = MEL.frame_shift
    for ax in shown:
        assert ax.images[0].get_array().shape == (80, 40 * rate)  # the static half
        assert ax.images[0].get_extent() == pytest.approx((-shift / 2, (40 * rate - 0.5) * shift, -0.5, 79.5))
        assert ax.get_ylabel() == "frequency (Hz, mel scale)"
        assert ax.images[0].norm is shown[0].images[0].norm
    assert shown[-1].get_xlabel() == "time (s)"
    assert [ax.get_ylabel() for ax in colour_bars(figure)] == ["log energy\n(standard deviations)"]
    assert "84-0001" in figure.get_suptitle()
    assert "25.0% of the values" in figure.get_suptitle()


def test_masked_spans_are_marked_at_their_times_and_filled_from_the_prediction():
    info = info_of(replace(MEL, deltas=0))
    found = reconstruction(40, 3, 80, 80, [(0, 2), (10, 17)])
    figure = draw(found, 3, info, info, "a")
    shift = MEL.frame_shift
    for ax in panels(figure):
        bars = sorted((box.get_x(), box.get_x() + box.get_width()) for box in ax.patches if box.get_fill())
        assert np.allclose(bars, [(-0.5 * shift, 5.5 * shift), (29.5 * shift, 50.5 * shift)])
    drawn = panels(figure)[3].images[0].get_array().T.data
    hidden = np.zeros(120, bool)
    hidden[0:6] = hidden[30:51] = True
    true, predicted = (found[key].numpy().reshape(120, 80) for key in ("true", "predicted"))
    assert np.array_equal(drawn[hidden], predicted[hidden])
    assert np.array_equal(drawn[~hidden], true[~hidden])
    assert np.array_equal(drawn, np.where(hidden[:, None], predicted, true))


def test_a_band_is_filled_without_marking_frames():
    info = info_of(replace(MEL, deltas=0))
    found = reconstruction(40, 1, 80, 80, [])
    found["mask"][:, 20:28] = True
    figure = draw(found, 1, info, info, "a")
    assert not panels(figure)[0].patches
    drawn = panels(figure)[3].images[0].get_array().T.data
    assert np.array_equal(drawn[:, 20:28], found["predicted"][:, 20:28].numpy())
    assert np.array_equal(drawn[:, 28:], found["true"][:, 28:].numpy())


def test_every_alteration_is_shown_beside_the_original():
    info = info_of(replace(MEL, deltas=0))
    features, lengths = torch.randn(1, 60, 80, generator=torch.Generator().manual_seed(0)), torch.tensor([60])
    shown = {"original": features[0]}
    for name, only in each_alteration(MaskingConfig()).items():
        shown[name] = alter(features, lengths, only, [torch.Generator().manual_seed(1)]).inputs[0]
    figure = alterations_figure(shown, info, "a")
    assert [ax.get_title("left") for ax in panels(figure)] == list(shown)
    assert list(shown) == ["original", "time", "replaced", "frequency", "noise", "all"]
    changed = {name: (values != shown["original"]).float().mean().item() for name, values in shown.items()}
    assert changed["original"] == 0
    assert all(share > 0.02 for name, share in changed.items() if name != "original")
    assert panels(figure)[-1].get_xlabel() == "time (s)"


@pytest.mark.slow
def test_another_target_has_its_own_axis_and_colours(tmp_path):
    found = reconstruction(20, 2, 160, 1025, [(3, 6)])
    figure = draw(found, 2, info_of(MEL), info_of(LINEAR), "a")
    save_figure(figure, tmp_path / "a.png")
    masked, *rest = panels(figure)
    assert masked.get_ylabel() == "frequency (Hz, mel scale)"
    assert {ax.get_ylabel() for ax in rest} == {"frequency (Hz)"}
    assert rest[0].images[0].get_extent()[2:] == pytest.approx((-3.90625, 8003.90625))
    assert len({id(ax.images[0].norm) for ax in rest}) == 1
    assert masked.images[0].norm is not rest[0].images[0].norm
    assert len(colour_bars(figure)) == 4


@pytest.mark.slow
def test_features_of_unknown_kind_are_drawn_in_frames(tmp_path):
    info = info_of(None)
    figure = draw(reconstruction(9, 1, 160, 160, [(0, 9)]), 1, info, info, "a")
    save_figure(figure, tmp_path / "a.png")
    assert panels(figure)[-1].get_xlabel() == "time (frames)"
    assert panels(figure)[0].images[0].get_array().shape == (160, 9)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [1, 4, 12])
def test_attention_has_a_panel_per_head_and_their_mean(heads, tmp_path):
    maps = torch.randn(heads, 21, 21, generator=torch.Generator().manual_seed(2)).softmax(-1)
    figure = attention_figure(maps, Clock(0.05, 0.02), "layer 1")
    save_figure(figure, tmp_path / "a.png")
    shown = panels(figure)
    assert [ax.get_title() for ax in shown] == [f"head {i}" for i in range(heads)] + ["mean of heads"]
    assert np.allclose(shown[-1].images[0].get_array(), maps.mean(0))
    for ax in shown:
        assert ax.images[0].get_extent() == pytest.approx((-0.005, 1.045, 1.045, -0.005))
    assert shown[0].get_ylabel() == "query: time (s)"
    assert shown[-1].get_xlabel() == "key: time (s)"
    columns = len({ax.get_subplotspec().colspan.start for ax in shown})
    assert sum(bool(ax.get_xlabel()) for ax in shown) == columns  # every column says what it is
    assert len(colour_bars(figure)) == 1


@pytest.mark.slow
def test_attention_that_is_uniform_or_one_hot_can_be_drawn(tmp_path):
    for maps in (torch.full((2, 5, 5), 0.2), torch.eye(5).expand(2, 5, 5), torch.ones(1, 1, 1)):
        save_figure(attention_figure(maps, Clock(0.01), "layer 1"), tmp_path / "a.png")


AXES = {
    **dict.fromkeys(["mel", "fbank", "kaldi_fbank", "s3prl_mel"], ("frequency (Hz, mel scale)", "log energy")),
    **dict.fromkeys(["mfcc", "kaldi_mfcc", "s3prl_mfcc"], ("cepstral coefficient (index)", "coefficient")),
    "linear": ("frequency (Hz)", "level"),
    "s3prl_linear": ("frequency (Hz)", "log energy"),
}


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("cmvn", ["none", "utterance"])
def test_every_kind_of_feature_has_labels_with_units(kind, cmvn):
    """S3PRL's linear spectrogram was called cepstral coefficients, its coefficients log energies."""
    config = FeatureConfig(kind=kind, deltas=0, cmvn=cmvn)
    axis, unit = AXES[kind]
    assert feature_axis(config).label == axis
    assert feature_unit(config).startswith(f"{unit}\n(")
    assert feature_unit(config).endswith("(standard deviations)") == (cmvn == "utterance")


def test_energy_without_a_logarithm_is_not_called_one():
    config = FeatureConfig(kind="s3prl_mel", deltas=0, cmvn="none", s3prl=S3prlOptions(log=False))
    assert feature_unit(config) == "energy\n(squared amplitude)"


@pytest.mark.parametrize(("kind", "rate"), [("linear", 16000), ("linear", 8000), ("s3prl_linear", 16000)])
def test_linear_axes_reach_from_0_to_half_the_rate_in_hertz(kind, rate):
    config = FeatureConfig(kind=kind, deltas=0, sample_rate=rate)
    axis = feature_axis(config)
    assert (axis.start, axis.start + (config.dim - 1) * axis.step) == pytest.approx((0, rate / 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mel", "fbank", "kaldi_fbank", "s3prl_mel"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_ticks_of_mel_axes_stand_where_a_tone_of_that_frequency_is_loudest(kind, rate, tmp_path):
    config = FeatureConfig(kind=kind, deltas=0, cmvn="none", sample_rate=rate)
    (figure, clock), axis = (new_figure(7, 3), Clock.of(info_of(config))), feature_axis(config)
    ax = figure.subplots()
    spectrogram_axes(ax, np.zeros((4, config.dim)), clock, axis, Normalize(0, 1))
    save_figure(figure, tmp_path / "a.png")
    texts = [label.get_text() for label in ax.get_yticklabels()]
    assert texts == ["250", "500", "1000", "2000", "4000"][: 5 if rate == 16000 else 4]
    seconds = np.arange(rate) / rate
    for place, text in zip(ax.get_yticks(), texts):
        tone = 0.5 * np.sin(2 * np.pi * float(text) * seconds).astype(np.float32)
        loudest = features_of(tone, config)[20:60].mean(0).argmax()
        assert abs(loudest - place) < 1


@pytest.mark.slow
def test_names_with_dollars_are_no_formulas(tmp_path):
    """An utterance `a$b_$c` ended training at its first evaluation, before the checkpoint of that step was saved."""
    name, info = "a$b_$c", info_of(replace(MEL, deltas=0))
    clock = Clock.of(info)
    figures = [
        draw(reconstruction(9, 1, 80, 80, [(0, 3)]), 1, info, info, name),
        alterations_figure({name: torch.randn(9, 80)}, info, name),
        *hidden_states_figures({name: np.eye(9, 4, dtype=np.float32)}, np.eye(9, 80, dtype=np.float32), info),
        attention_figure(torch.eye(5)[None], clock, name),
        confusion_figure(np.eye(2), [name, "b"], name),
        curves_figure(
            [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}],
            2,
            Metric("accuracy", "accuracy", "%", "higher"),
            "loss",
            name,
        ),
    ]
    for figure in figures:
        save_figure(figure, tmp_path / "a.png")


def test_kaldi_frames_start_later():
    config = FeatureConfig(kind="kaldi_fbank", deltas=0)
    assert Clock.of(info_of(config)).edges(1) == pytest.approx([0.0075, 0.0175])


def test_a_figure_is_not_kept_and_its_file_is_whole(tmp_path):
    figure = new_figure(4, 3)
    clock, axis = Clock(0.01), ValueAxis("x (index)")
    spectrogram_axes(figure.subplots(), np.zeros((4, 3)), clock, axis, Normalize(0, 1))
    save_figure(figure, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    assert not matplotlib._pylab_helpers.Gcf.figs


def features_of(waveform: np.ndarray, config: FeatureConfig) -> np.ndarray:
    return FeatureExtractor(config)(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))[0][0].numpy()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Two seconds of noise that swells."""
    time = np.arange(32000) / 16000
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * noise * np.sin(np.pi * time / 2)).astype(np.float32)


@pytest.fixture(scope="module")
def speech(corpora) -> np.ndarray:
    return read_audio(corpora / "timit_sample" / "dr1-fvmh0" / "sa1.wav")


@pytest.mark.slow
@pytest.mark.parametrize(("config", "bound"), [(MEL, 0.3), (LINEAR, 0.1)], ids=["mel", "linear"])
def test_normalised_features_of_speech_become_that_speech_again(config, bound, speech):
    waveform = to_waveform(features_of(speech, config), config, speech)
    assert waveform.dtype == np.float32
    assert waveform.shape == speech.shape
    true, made = (np.abs(librosa.stft(x, n_fft=2048, hop_length=200, win_length=800)) for x in (speech, waveform))
    assert np.linalg.norm(true - made) < bound * np.linalg.norm(
        true
    )  # spectral convergence; mel loses most by its bands
    plain = replace(config, cmvn="none")
    again = to_waveform(features_of(speech, plain), plain, speech)
    assert np.abs(again - waveform).max() < 0.01 * np.abs(waveform).max()


def test_frames_that_stacking_dropped_leave_the_end_silent(sound):
    values = features_of(sound, LINEAR)
    waveform = to_waveform(values[:100], LINEAR, sound)
    assert waveform.shape == sound.shape
    assert np.abs(waveform[: 90 * 200]).max() > 0.01
    assert not waveform[102 * 200 :].any()


@pytest.mark.parametrize("kind", ["fbank", "mfcc", "kaldi_fbank", "kaldi_mfcc"])
def test_other_features_cannot_be_heard(kind, sound):
    config = FeatureConfig(kind=kind)
    with pytest.raises(ValueError, match=f"only mel and linear.*{kind}"):
        to_waveform(features_of(sound, config), config, sound)


def test_features_of_other_audio_are_refused(sound):
    with pytest.raises(ValueError, match="12 frames do not belong to audio of 1600 samples, which has 9"):
        to_waveform(np.zeros((12, 160)), MEL, sound[:1600])


def test_pictures_of_different_utterances_have_different_short_names(tmp_path):  # L7, and a/b beside a_b
    """`a/b` and `a_b` overwrote each other's pictures; a long id was an OSError of a temporary name."""
    names = [
        "a/b",
        "a_b",
        "a\\b",
        "a/b/c",
        "a_b/c",
        "x" * 300,
        "x" * 299,
        "\u00e9" * 140,
        "p/" * 150 + "q",
        "tab\t",
        "u1",
    ]
    stems = [picture_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    assert stems[1] == "a_b"
    assert stems[-1] == "u1"  # what needs no change keeps its name
    assert re.fullmatch("a_b-[0-9a-f]{8}", stems[0])
    for stem in stems:
        save_figure(new_figure(1, 1), tmp_path / f"{stem}_attention_layer12.png")
    assert len(list(tmp_path.iterdir())) == len(names)
