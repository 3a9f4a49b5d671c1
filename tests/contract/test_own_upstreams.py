"""Modules of a user's own that take waveforms: frames as measured, batches that equal single utterances, one line each
for what does not fit."""

import random
import sys

import numpy as np
import pytest
import torch

from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import RowError
from mockingjay.upstreams.selection import LayerSelection
from mockingjay.upstreams.spec import UpstreamSpec
from tests.helpers.process_settings import ProcessSettings
from tests.helpers.speech import MEL, wav
from utility.audio.waveform import read_audio
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.store.recordings import Recordings

MODULES = """
import random
import numpy as np
import torch
from torch import nn

class Waves(nn.Module):  # receptive field 25 ms, shift 20 ms
    takes, sample_rate, downsample_rate, hidden_size = "waveform", 16000, 320, 6
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 6, 400, 320)
        self.blocks = nn.ModuleList([nn.Linear(6, 6) for _ in range(2)])
    def forward(self, waveforms, lengths):
        states = [self.conv(waveforms[:, None]).transpose(1, 2)]
        for block in self.blocks:
            states.append(states[-1] + block(states[-1]).relu())
        return states

class Single(Waves):  # without lengths: the mean over all that it is given would see padding
    def forward(self, waveforms):
        assert waveforms.shape[0] == 1
        return super().forward(waveforms - waveforms.mean(), None)[-1]

class SeesPadding(Waves):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms - waveforms.mean(1, keepdim=True), lengths)

class Centred(nn.Module):  # as librosa: frames centred on multiples of the hop; reflection needs more than 256 samples
    takes, sample_rate, downsample_rate, out_dim, hop = "waveform", 16000, 160, 257, 160
    def forward(self, waveforms):
        window = torch.hann_window(512)
        return torch.stft(waveforms, 512, self.hop, window=window, return_complex=True).abs().transpose(1, 2)

class Cut(Waves):  # no receptive field beyond the hop: floor(n / 640) frames, 40 ms
    downsample_rate, hidden_size = 640, 640
    def forward(self, waveforms, lengths):
        return waveforms[:, : waveforms.shape[1] // 640 * 640].unflatten(1, (-1, 640))

class Ceil(Cut):
    def forward(self, waveforms, lengths):
        return super().forward(nn.functional.pad(waveforms, (0, 639)), lengths)

class Stated(Waves):
    frame_offset = 0.02

class Draws(Waves):  # sets what belongs to the process
    def __init__(self):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        super().__init__()
    def forward(self, waveforms, lengths):
        torch.rand(1), np.random.rand(), random.random()
        return super().forward(waveforms, lengths)

class Features(nn.Module):
    out_dim = 4
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(80, 4)
    def forward(self, features, lengths):
        return self.linear(features)

class Sound(Waves):
    takes = "sound"
class NoRate(nn.Module):
    takes, out_dim = "waveform", 6
    def forward(self, waveforms):
        return waveforms
class BadRate(Waves):
    sample_rate = "16k"
class NoStride(Waves):
    downsample_rate = 0
class NoWidth(NoRate):
    sample_rate, downsample_rate, out_dim = 16000, 320, None
class OtherWidth(Waves):
    hidden_size = 7
class OtherStride(Waves):
    downsample_rate = 160
class TooMany(Waves):
    def forward(self, waveforms, lengths):
        states = super().forward(nn.functional.pad(waveforms, (0, 800)), lengths)
        return states
class BadOffset(Waves):
    frame_offset = "12.5 ms"
class NoModule:
    takes = "waveform"
class Arguments(Waves):
    def __init__(self, size):
        super().__init__()
class Raises(Waves):
    def __init__(self):
        raise RuntimeError("no\\nluck")
class Fails(Waves):
    def forward(self, waveforms, lengths):
        raise KeyError("layer")
class NotFinite(Waves):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms, lengths)[:2] + [torch.full((len(waveforms), 1, 1), float("nan"))
            * super().forward(waveforms, lengths)[0]]
class Random(Waves):
    def forward(self, waveforms, lengths):
        return [nn.functional.dropout(state, training=True) for state in super().forward(waveforms, lengths)]
class Flat(Waves):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms, lengths)[-1][0]
class Words(Waves):
    def forward(self, waveforms, lengths):
        return "states"
class Uneven(Waves):
    def forward(self, waveforms, lengths):
        states = super().forward(waveforms, lengths)
        return [states[0][..., :3], states[1]]
class Nothing(Waves):
    def forward(self, waveforms, lengths):
        return []
class Integers(Waves):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms, lengths)[0].long()
class Later(Waves):  # one frame too many beyond two seconds, which loading does not try
    def forward(self, waveforms, lengths):
        states = super().forward(waveforms, lengths)
        return [nn.functional.pad(s, (0, 0, 0, int(waveforms.shape[1] > 32000))) for s in states]
class Drops(Waves):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms, lengths)[: 2 if self.training else 3]
class Detached(Waves):
    def forward(self, waveforms, lengths):
        return [state.detach() for state in super().forward(waveforms, lengths)]
"""


@pytest.fixture(scope="module", autouse=True)
def _modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_waves.py").write_text(MODULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop("own_waves", None)


def waves(*counts: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(count, generator=generator) for count in counts]


@pytest.mark.parametrize(
    ("name", "rule", "shift", "offset"),
    [
        ("Waves", lambda n: (n - 400) // 320 + 1, 0.02, 0.0125),
        ("Single", lambda n: (n - 400) // 320 + 1, 0.02, 0.0125),
        ("Centred", lambda n: n // 160 + 1 if n > 256 else 0, 0.01, 0.0),
        ("Cut", lambda n: n // 640, 0.04, 0.02),
        ("Ceil", lambda n: -(-n // 640), 0.04, 0.5 / 16000),
        ("Stated", lambda n: (n - 400) // 320 + 1, 0.02, 0.02),
    ],
)
@torch.no_grad()
def test_lengths_and_centres_are_those_of_the_module(name, rule, shift, offset):
    """Around every boundary of 1 to 2,000 samples the frames are as many as the module itself gives."""
    upstream = load_upstream(f"own_waves:{name}")
    assert (upstream.takes, upstream.sample_rate, upstream.frame_shift) == ("waveform", 16000, shift)
    assert upstream.times() == (shift, offset)
    assert upstream.frame_offset == offset
    stride = round(shift * 16000)
    edges = {
        n
        for edge in range(0, 2000, stride)
        for size in (0, 80, 256, 400)
        for n in range(edge + size - 1, edge + size + 2)
    }
    for count in sorted({1, 2, 3, *edges} & set(range(1, 2001))):
        expected = max(rule(count), 0)
        assert int(upstream.num_frames(torch.tensor(count))) == expected, count
        states, lengths = upstream.from_waveforms(waves(count))
        assert lengths.tolist() == [expected]
        assert all(state.shape == (1, expected, upstream.hidden_size) for state in states)
        if expected:
            (wave,) = waves(count)
            module = upstream.module
            given = (
                module(wave[None], torch.tensor([count])) if name not in ("Single", "Centred") else module(wave[None])
            )
            for state, wanted in zip(states, given if isinstance(given, list) else [given], strict=True):
                assert torch.equal(state, wanted)


def test_labels_and_rules_say_what_it_is():
    several, single = load_upstream("own_waves:Waves"), load_upstream("own_waves:Single")
    assert (several.layers, single.layers) == (("T0", "T1", "T2"), ("O",))
    assert (several.batched, single.batched) == (True, False)
    assert several.field() == several.field("T1")
    assert (several.field().size, several.field().stride) == (400, 320)
    assert (several.longest, several.overlap, several.frozen_by_default) == (60 * 16000, 5 * 16000, ())
    assert several.batch_rule == "a batch gives what single utterances give"
    assert single.batch_rule == "one utterance at a time: its forward takes no lengths"
    assert "16000 Hz" in several.input_rule
    assert not several.training
    other = load_upstream("own_waves:SeesPadding")
    assert not other.batched
    assert other.batch_rule == "one utterance at a time: a batch gives other states"


@pytest.mark.parametrize("name", ["Waves", "Single", "SeesPadding", "Centred"])
@torch.no_grad()
def test_a_batch_gives_what_single_utterances_give(name):
    upstream, sound = load_upstream(f"own_waves:{name}"), waves(9000, 4001, 30, 399, 8999)
    states, lengths = upstream.from_waveforms(sound)
    assert lengths.tolist() == [int(upstream.num_frames(torch.tensor(len(wave)))) for wave in sound]
    for row, wave in enumerate(sound):
        alone, _ = upstream.from_waveforms([wave])
        for one, many in zip(alone, states, strict=True):
            torch.testing.assert_close(many[row, : lengths[row]], one[0], atol=1e-6, rtol=1e-6)
            assert not many[row, lengths[row] :].any()


def test_extraction_gives_what_the_module_gives(tmp_path):
    for seed, (name, count) in enumerate({"a/long": 9050, "a/short": 900, "b/other": 4000, "b/none": 399}.items()):
        wav(tmp_path / "audio" / f"{name}.wav", count, seed)
    upstream, corpus = load_upstream("own_waves:Waves"), Recordings([tmp_path / "audio"], MEL)
    how = ExtractionOptions(LayerSelection("all"), quiet=True)
    assert represent(upstream, corpus, tmp_path / "out", "all", how)
    stored = Store([tmp_path / "out/all"])
    assert dict(zip(stored.ids, stored.lengths.tolist())) == {"long": 28, "short": 2, "other": 12}
    assert (stored.info.frame_shift, stored.info.frame_offset) == (0.02, 0.0125)
    assert "the upstream needs 400 at 16000 Hz" in (tmp_path / "out/errors.csv").read_text()
    for row, path in enumerate(stored.audio_paths):
        wave = torch.as_tensor(read_audio(path))
        with torch.no_grad():
            expected = torch.stack(upstream.module(wave[None], None), dim=2)[0]
        np.testing.assert_allclose(stored[row], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["Waves", "Centred", "Ceil"])
def test_a_long_recording_in_pieces_is_as_the_whole(name, tmp_path):
    wav(tmp_path / "audio" / "long.wav", 50001)
    upstream, corpus = load_upstream(f"own_waves:{name}"), Recordings([tmp_path / "audio"], MEL)
    how = ExtractionOptions(quiet=True)
    assert represent(upstream, corpus, tmp_path / "whole", "all", how)
    upstream.longest, upstream.overlap = 12000, 1600
    assert represent(upstream, corpus, tmp_path / "pieces", "all", how)
    whole, pieces = Store([tmp_path / "whole/all"]), Store([tmp_path / "pieces/all"])
    np.testing.assert_allclose(whole[0], pieces[0], atol=1e-5)


def test_a_wrong_number_of_frames_is_refused_with_the_name_of_the_utterance(tmp_path):
    for count in (8000, 33000, 40000):
        wav(tmp_path / "audio" / f"u{count}.wav", count)
    how = ExtractionOptions(quiet=True)
    said = "utterance 'u40000': upstream 'own_waves:Later' gave 125 frames for 40000 samples, expected 124"
    with pytest.raises(ValueError, match=said):
        represent(load_upstream("own_waves:Later"), Recordings([tmp_path / "audio"], MEL), tmp_path / "out", "all", how)
    assert not (tmp_path / "out").exists()
    alone = load_upstream("own_waves:Later")
    alone.batched = False
    inputs, lengths = torch.randn(3, 40000), torch.tensor([8000, 33000, 9000])
    with pytest.raises(RowError, match="gave 103 frames for 33000 samples, expected 102") as refused:
        alone(inputs, lengths)
    assert refused.value.row == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Sound", "states takes = 'sound', expected 'features' or 'waveform'"),
        ("NoRate", 'states takes = "waveform" but no sample_rate and no downsample_rate'),
        ("BadRate", "states sample_rate = '16k', expected a whole number from 1 on"),
        ("NoStride", "states downsample_rate = 0, expected a whole number"),
        ("NoWidth", "no attribute out_dim or hidden_size that says its number of outputs"),
        ("OtherWidth", "gave states of 6 numbers, and states 7"),
        ("OtherStride", "expected one more for each 160 samples"),
        ("TooMany", "gave 27 frames for 8000 samples, expected 26 at most"),
        ("BadOffset", "states frame_offset = '12.5 ms', expected seconds"),
        ("NoModule", "is a NoModule, expected an nn.Module"),
        ("Arguments", "could not be made: Arguments.__init__"),
        ("Raises", "could not be made: no luck (RuntimeError)"),
        ("Fails", "failed on 64000 samples: 'layer' (KeyError)"),
        ("NotFinite", "gave numbers that are not finite as T2"),
        ("Random", "gave other numbers as T0 for the same waveform again"),
        ("Flat", "gave shape [199, 6] as O for 1 waveforms"),
        ("Words", "forward gave a value of type str, expected a tensor"),
        ("Uneven", "gave T1 of shape [1, 199, 6], T0 of [1, 199, 3]: all must be alike"),
        ("Nothing", "gave no hidden states"),
        ("Integers", "gave torch.int64 as O"),
        ("Absent", "could not be made"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, said):
    with pytest.raises(ValueError) as refused:
        load_upstream(f"own_waves:{name}")
    assert said in str(refused.value)
    assert f"own_waves:{name}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_weights_of_a_file_are_loaded_strictly(tmp_path):
    upstream = load_upstream("own_waves:Waves", seed=1)
    plain = upstream.module.state_dict()
    torch.save(plain, tmp_path / "plain.pt")
    again = load_upstream(f"own_waves:Waves:{tmp_path}/plain.pt", seed=2)
    assert again.fingerprint == upstream.fingerprint != load_upstream("own_waves:Waves", seed=2).fingerprint
    for content, said in (
        ({name: value for name, value in plain.items() if name != "conv.bias"}, "tensor 'conv.bias' is missing"),
        (plain | {"head.weight": torch.ones(1)}, "tensor 'head.weight' is not part of the model"),
        (plain | {"conv.bias": torch.ones(7)}, "tensor 'conv.bias' has shape"),
        ([1, 2], "holds a list, expected a state dict"),
        ({"step": 3}, "expected tensors by name"),
    ):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(ValueError, match=said) as refused:
            load_upstream(f"own_waves:Waves:{tmp_path}/other.pt")
        assert "other.pt" in str(refused.value)
    torch.save(Recordings, tmp_path / "code.pt")
    with pytest.raises(ValueError, match="holds the global"):
        load_upstream(f"own_waves:Waves:{tmp_path}/code.pt")
    (tmp_path / "damaged.pt").write_bytes((tmp_path / "plain.pt").read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged"):
        load_upstream(f"own_waves:Waves:{tmp_path}/damaged.pt")
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_upstream(f"own_waves:Waves:{tmp_path}/absent.pt")


@pytest.mark.parametrize("name", ["Waves", "Features"])
def test_a_tuned_module_is_written_and_opens_with_the_same_states(name, tmp_path):
    info = StoreInfo(features=MEL, row_shape=[80], frame_shift=MEL.frame_shift)
    upstream = load_upstream(f"own_waves:{name}", info=info).train()
    inputs = torch.randn(2, 8000) if name == "Waves" else torch.randn(2, 50, 80)
    lengths = torch.tensor([inputs.shape[1], inputs.shape[1] - 7])
    optimizer = torch.optim.SGD(upstream.parameters(), 0.1)
    before = [parameter.clone() for parameter in upstream.parameters()]
    upstream(inputs, lengths)[-1].square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, upstream.parameters(), strict=True))
    file = upstream.eval().write_tuned(tmp_path / "run" / "upstream")
    assert file == tmp_path / "run" / "upstream" / "upstream.pt"
    again = load_upstream(f"own_waves:{name}:{file}", info=info, seed=9)
    with torch.no_grad():
        for one, other in zip(upstream(inputs, lengths), again(inputs, lengths), strict=True):
            assert torch.equal(one, other)


def test_states_that_fine_tuning_cannot_use_are_refused():
    lost, cut = load_upstream("own_waves:Drops").train(), load_upstream("own_waves:Detached").train()
    inputs, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with pytest.raises(ValueError, match="'own_waves:Drops' gave 2 hidden states, expected 3"):
        lost(inputs, lengths)
    with pytest.raises(ValueError, match="'own_waves:Detached' gives states without gradients"):
        cut(inputs, lengths)
    cut.requires_grad_(False)
    assert len(cut(inputs, lengths)) == 3


def test_loading_disturbs_neither_random_numbers_nor_settings():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    settings, gradients = ProcessSettings.now(), torch.is_grad_enabled()
    load_upstream("own_waves:Draws")
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()
    assert ProcessSettings.now() == settings
    assert torch.is_grad_enabled() == gradients


def test_the_fingerprint_follows_the_code(tmp_path, monkeypatch):
    """Caches of a class that was edited were taken for the new one's."""
    monkeypatch.syspath_prepend(tmp_path)
    found = set()
    for name, gain in (("own_one", 1), ("own_two", 2)):
        text = MODULES.replace("states.append(states[-1] +", f"states.append({gain} * states[-1] +")
        (tmp_path / "own_edited.py").write_text(f"# {name}\n{text}")
        monkeypatch.delitem(sys.modules, "own_edited", raising=False)
        found.add(load_upstream("own_edited:Waves").fingerprint)
    assert len(found) == 2
    monkeypatch.delitem(sys.modules, "own_edited")


@torch.no_grad()
def test_the_example_is_an_upstream():
    upstream = load_upstream("examples.own_waveform_upstream:Envelopes", seed=1)
    assert (upstream.layers, upstream.hidden_size, upstream.batched) == (("T0", "T1"), 64, True)
    assert upstream.times() == (0.02, 0.0125)
    states, lengths = upstream.from_waveforms(waves(8000, 5000))
    assert lengths.tolist() == [24, 15]
    assert states[1].shape == (2, 24, 64)


def test_the_grammar_of_experts_and_classes():
    for text, parts in {
        "s3prl:a/b": ("a/b", "", ""),
        "s3prl:a/b:hubert_local": ("a/b", "hubert_local", ""),
        "s3prl:a/b:hubert_local:w/x.pt": ("a/b", "hubert_local", "w/x.pt"),
        "s3prl:a/b:x.ckpt": ("a/b", "", "x.ckpt"),
        "one=s3prl:../b:entry": ("../b", "entry", ""),
    }.items():
        spec = UpstreamSpec.parse(text)
        assert (spec.source, spec.entry, spec.file) == parts
        assert str(spec) == text
    assert UpstreamSpec.parse("s3prl:a/b:hubert_local").label == "s3prl_b_hubert_local"
