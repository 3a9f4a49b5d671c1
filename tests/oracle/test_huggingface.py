"""Upstreams of Transformers' models against Transformers itself: every layer, lengths, batches, extraction."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.selection import LayerSelection
from tests.helpers import huggingface_models as models
from utility.store.reading import Store
from utility.store.recordings import Recordings

transformers = pytest.importorskip("transformers", reason="`make test` installs release 5, `make test-hf` 4.57")
from mockingjay.upstreams.huggingface import open_huggingface  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")]
EQUAL = 1e-6  # largest difference over largest value of a state
COUNTS = 16000, 9050, 400, 719, 12001


@pytest.fixture(scope="module", autouse=True)
def _offline():
    with models.offline():
        yield


@pytest.fixture(scope="module", params=[(name, norm) for name in models.MODELS for norm in (False, True)], ids=str)
def folder(request, tmp_path_factory) -> Path:
    name, normalise = request.param
    return models.write_model(tmp_path_factory.mktemp("model") / name, name, normalise)


def difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


def padded(waves: list[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


@torch.no_grad()
def test_every_layer_is_that_of_transformers_alone_and_in_a_batch(folder):
    """Norms over time and position convolutions see padding in Transformers' own batches; here they do not."""
    upstream, waves = open_huggingface(folder), models.waveforms(*COUNTS)
    assert upstream.batched, upstream.batch_rule
    labels = (*upstream.inner, *upstream.layers)
    together = upstream(*padded(waves), labels)
    for row, wave in enumerate(waves):
        wanted = models.direct_states(folder, wave)
        assert set(labels) == set(wanted)
        alone = upstream(wave[None], torch.tensor([len(wave)]), labels)
        for label, one, batch in zip(labels, alone, together):
            count = len(wanted[label])
            assert one.shape == (1, count, upstream.width(label))
            assert difference(one[0], wanted[label]) < EQUAL, label
            assert difference(batch[row, :count], wanted[label]) < EQUAL, label
            assert not batch[row, count:].any()
    with torch.enable_grad():  # by a call of the padded batch, as in training and on a GPU
        called = upstream(*padded(waves), labels)
    for label, one, other in zip(labels, called, together):
        assert difference(one, other) < 5 * EQUAL, label
    backwards = upstream(*padded(waves), labels[::-1])
    assert all(torch.equal(one, other) for one, other in zip(backwards[::-1], together))


@torch.no_grad()
def test_a_layer_alone_is_the_same_and_nothing_above_it_runs(folder):
    upstream, inputs = open_huggingface(folder), padded(models.waveforms(*COUNTS))
    labels = (*upstream.inner, *upstream.layers)
    every, top = dict(zip(labels, upstream(*inputs, labels))), []
    upstream.model.encoder.layers[-1].feed_forward.register_forward_hook(lambda *_: top.append(1))
    for label in labels:
        (state,) = upstream(*inputs, [label])
        assert torch.equal(state, every[label]), label
        assert bool(top) == (label in (upstream.layers[-1], "final")), label
        top.clear()
        with torch.enable_grad():
            upstream(*inputs, [label])
        assert bool(top) == (label in (upstream.layers[-1], "final")), label
        top.clear()


@torch.no_grad()
def test_waveforms_that_end_before_the_last_convolution(two_norms):
    """In a batch they have the frames of the first ones, and none above."""
    waves = models.waveforms(5000, 300, 9)
    for upstream in two_norms:
        first, sixth, last = upstream(*padded(waves), ["C1", "C6", "T3"])
        alone = upstream(waves[1][None], torch.tensor([300]), ["C1"])[0]
        assert torch.equal(first[1, : alone.shape[1]], alone[0])
        assert alone.shape[1] == 59
        assert not first[2].any()
        assert sixth[1, 0].any()
        assert not last[1:].any()
        assert upstream(*padded(waves[1:]), ["T3"])[0].shape == (2, 0, 32)


@pytest.fixture(scope="module")
def two_norms(tmp_path_factory) -> list[Upstream]:
    root = tmp_path_factory.mktemp("models")
    return [open_huggingface(models.write_model(root / name, name, True)) for name in ("hubert", "wav2vec2_stable")]


def by_definition(samples: int, kernels, strides) -> int:
    """Frames of convolutions, one behind the other."""
    for kernel, stride in zip(kernels, strides):
        samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
    return samples


def test_lengths_of_1_to_2000_samples(two_norms):
    """As the kernels and strides say, layer by layer, and as the states are around every boundary."""
    upstream = two_norms[0]
    config = upstream.model.config
    counts = torch.arange(1, 2001)
    for layer in range(1, 8):
        wanted = [by_definition(n, config.conv_kernel[:layer], config.conv_stride[:layer]) for n in counts.tolist()]
        assert upstream.num_frames(counts, f"C{layer}").tolist() == wanted
    assert upstream.num_frames(counts).tolist() == wanted
    assert [by_definition(n, config.conv_kernel, config.conv_stride) for n in (399, 400, 719, 720, 16000)] == [
        0, 1, 1, 2, 49,
    ]  # fmt: skip
    edges = [n + d for n in range(400, 2000, 320) for d in (-1, 0, 1)] + [1, 9, 10, 2000]
    with torch.no_grad():
        for upstream in two_norms:
            for count in edges:
                wave = models.waveforms(count)[0][None]
                for label in ("C1", "C4", "C7", "P", "T0", "T3"):
                    (state,) = upstream(wave, torch.tensor([count]), [label])
                    assert state.shape == (
                        1,
                        int(upstream.num_frames(torch.tensor(count), label)),
                        upstream.width(label),
                    )
                    assert torch.isfinite(state).all()


def test_times_of_frames(two_norms):
    assert two_norms[0].times() == (0.02, 0.0125)
    assert two_norms[0].times("C1") == (5 / 16000, 5 / 16000)
    assert two_norms[0].times("T2") == two_norms[0].times("P") == (0.02, 0.0125)
    assert [two_norms[0].width(label) for label in ("C1", "P", "T3")] == [16, 32, 32]


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_matter(two_norms):
    waves, lengths = padded(models.waveforms(*COUNTS))
    noisy = torch.where(torch.arange(waves.shape[1]) < lengths[:, None], waves, torch.tensor(3.0))
    for upstream in two_norms:
        for one, other in zip(upstream(waves, lengths), upstream(noisy, lengths)):
            assert torch.equal(one, other)


@torch.no_grad()
def test_groups_of_utterances_in_threads(folder, monkeypatch):
    upstream, inputs = open_huggingface(folder), padded(models.waveforms(*COUNTS))
    labels = (*upstream.inner, *upstream.layers)
    alone = upstream(*inputs, labels)
    monkeypatch.setattr("mockingjay.upstreams.huggingface_packed.WORTH_A_THREAD", 1)
    torch.set_num_threads(2)
    for label, one, other in zip(labels, upstream(*inputs, labels), alone):
        assert difference(one, other) < EQUAL, label
    with torch.autocast("cpu", torch.bfloat16):  # threads of Python know nothing of it
        rounded = upstream(*inputs, labels)
    for label, one, other in zip(labels[1:], rounded[1:], alone[1:]):
        assert 1e-4 < difference(one.float(), other) < 0.2, label


@torch.no_grad()
def test_a_model_whose_batches_differ_goes_one_by_one(two_norms, monkeypatch, tmp_path):
    """A norm over all frames of a batch: neither way of computing it can know of that."""
    model = type(two_norms[1].model)
    call = torch.nn.LayerNorm.forward

    def over_all(self, x):
        return call(self, x) - x.mean((0, 1))

    original = model.__init__

    def changed(self, config):
        original(self, config)
        norm = self.feature_projection.layer_norm
        norm.forward = over_all.__get__(norm)

    monkeypatch.setattr(model, "__init__", changed)
    folder = models.write_model(tmp_path / "m", "wav2vec2_stable")
    upstream, waves = open_huggingface(folder), models.waveforms(*COUNTS)
    assert not upstream.batched
    assert upstream.batch_rule.startswith("one utterance at a time: a batch gives other states, from P on")
    together = upstream(*padded(waves))
    for row, wave in enumerate(waves):
        for one, other in zip(upstream(wave[None], torch.tensor([len(wave)])), together):
            assert torch.equal(one[0], other[row, : one.shape[1]])
            assert not other[row, one.shape[1] :].any()
    with pytest.raises(ValueError, match=r"its blocks are not those of wav2vec 2\.0: its attention is not known here"):
        upstream.attention_maps(*padded(waves))


def test_what_this_release_calls_the_last_hidden_state(tmp_path):
    """Releases before 5 give it behind the last norm, ours is the output of the block in all of them."""
    folder = models.write_model(tmp_path / "m", "wav2vec2_stable")
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model(models.waveforms(4000)[0][None], output_hidden_states=True)
        normalised = torch.equal(theirs.hidden_states[-1], theirs.last_hidden_state)
        assert normalised == (int(transformers.__version__.split(".")[0]) < 5)
        block, final = open_huggingface(folder)(models.waveforms(4000)[0][None], torch.tensor([4000]), ["T3", "final"])
        assert difference(final, theirs.last_hidden_state) < EQUAL
        assert difference(model.encoder.layer_norm(block), final) < EQUAL
        assert difference(block, final) > 0.1


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Seven recordings of several lengths, one at another rate and one too short."""
    root = tmp_path_factory.mktemp("audio")
    for number, wave in enumerate(models.waveforms(16000, 9050, 399, 4001, 12001, 5000, 700)):
        soundfile.write(root / f"u{number}.wav", wave.numpy(), 8000 if number == 5 else 16000)
    return root


@pytest.mark.parametrize("name", ["hubert", "wav2vec2_stable", "data2vec"])
@pytest.mark.parametrize("layers", ["all", "C3", "final", "P"])
def test_extraction_is_a_call_of_transformers_and_survives_being_killed(
    name, layers, recordings, tmp_path, monkeypatch
):
    folder = models.write_model(tmp_path / name, name, normalise=True)
    upstream = open_huggingface(folder)
    if layers == "final" and "final" not in upstream.inner:
        with pytest.raises(ValueError, match="layer final does not exist: the upstream has hidden states 0 to 3"):
            LayerSelection.parse(layers).labels(upstream)
        return
    how = ExtractionOptions(layers=LayerSelection.parse(layers), quiet=True, batch_seconds=1.5)
    corpus = Recordings([recordings], None, sample_rate=16000)
    assert represent(upstream, corpus, tmp_path / "whole", "all", how)
    store = Store([tmp_path / "whole" / "all"])
    assert sorted(store.ids) == [f"u{number}" for number in range(7) if number != 2 or layers == "C3"]
    labels = how.layers.labels(upstream)
    for index, utterance in enumerate(store.ids):
        wave = torch.from_numpy(corpus.read(corpus.index[utterance], 0, 1 << 30))
        wanted = models.direct_states(folder, wave)
        states = torch.from_numpy(np.array(store[index])).reshape(len(store[index]), len(labels), -1)
        for place, label in enumerate(labels):
            assert difference(states[:, place], wanted[label]) < EQUAL
    calls, encode = [], upstream.encode

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(upstream, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        represent(upstream, corpus, tmp_path / "killed", "all", how)
    assert represent(upstream, corpus, tmp_path / "killed", "all", how)
    for file in ("all.npy", "all.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()


def test_attention_maps(folder):
    """They sum to one over real frames; WavLM's are the mean of its heads in Transformers, too."""
    upstream, (inputs, lengths) = open_huggingface(folder), padded(models.waveforms(*COUNTS))
    before = upstream(inputs, lengths)
    with torch.no_grad():
        maps = upstream.attention_maps(inputs, lengths)
        alone = upstream.attention_maps(inputs[1:2, : lengths[1]], lengths[1:2])
    frames = upstream.num_frames(lengths).tolist()
    assert maps.shape == (3, len(inputs), 4, max(frames), max(frames))
    assert difference(maps[:, 1:2, :, : frames[1], : frames[1]], alone) < 3 * EQUAL
    for row, count in enumerate(frames):
        torch.testing.assert_close(maps[:, row, :, :count, :count].sum(-1), torch.ones(3, 4, count))
        assert not maps[:, row, :, count:].any()
    for one, other in zip(before, upstream(inputs, lengths)):
        assert torch.equal(one, other)  # by the kernels that it takes otherwise


def test_fresh_weights_come_from_the_seed(tmp_path):
    folder = models.write_model(tmp_path / "m", "hubert")
    (folder / "model.safetensors").unlink()
    state = torch.get_rng_state()
    one, again, other = (open_huggingface(folder, seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_fingerprint_covers_weights_config_and_input(tmp_path):
    folders = [
        models.write_model(tmp_path / "a", "hubert"),
        models.write_model(tmp_path / "b", "hubert"),
        models.write_model(tmp_path / "c", "hubert", seed=1),
        models.write_model(tmp_path / "d", "hubert", normalise=True),
        models.write_model(tmp_path / "e", "hubert", num_conv_pos_embedding_groups=4, hidden_act="relu"),
    ]
    one, same, *others = (open_huggingface(folder).fingerprint for folder in folders)
    assert one == same
    assert len({one, *others}) == 4


def test_weights_of_other_forms(tmp_path):
    """A head is left out; torch's own file and the old names of the position convolution are read."""
    folder = models.write_model(tmp_path / "base", "wav2vec2")
    wave, count = models.waveforms(4000)[0][None], torch.tensor([4000])
    base = transformers.AutoModel.from_pretrained(folder)
    ctc = transformers.Wav2Vec2ForCTC(base.config)
    ctc.wav2vec2.load_state_dict(base.state_dict())
    ctc.save_pretrained(tmp_path / "ctc")
    old = tmp_path / "old"
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = dict(base.state_dict())
    weights.pop("masked_spec_embed")
    for new, name in names.items():
        weights = {key.replace(new, name): value for key, value in weights.items()}
    old.mkdir()
    torch.save(weights, old / "pytorch_model.bin")
    base.config.save_pretrained(old)
    with torch.no_grad():
        wanted = open_huggingface(folder)(wave, count)
        for other in (tmp_path / "ctc", old):
            models.write_preprocessor(other, do_normalize=False)
            for one, state in zip(open_huggingface(other)(wave, count), wanted):
                assert torch.equal(one, state)


def test_a_processor_may_say_how_the_input_is_made(tmp_path):
    folder = models.write_model(tmp_path / "m", "hubert", normalise=True)
    about = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": about | {"sampling_rate": 8000}}))
    upstream = open_huggingface(folder)
    assert upstream.sample_rate == 8000
    assert upstream.times() == (0.04, 0.025)
    assert "zero mean" in upstream.input_rule


def test_nothing_is_written_to_the_terminal(tmp_path, capfd):
    folder = models.write_model(tmp_path / "m", "wavlm", head="ForCTC", vocab_size=12)
    capfd.readouterr()
    transformers.utils.logging.enable_progress_bar()
    level = transformers.utils.logging.get_verbosity()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("transformers").addHandler(handler)
    open_huggingface(folder)
    open_huggingface(folder, 1)
    logging.getLogger("transformers").removeHandler(handler)
    assert not records
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == level
    assert transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
