"""Experts of S3PRL's interface give as upstreams what they give when they are called as S3PRL calls them."""

import sys

import pytest
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.export.write import write_export
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.selection import LayerSelection
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from utility.audio.feature_config import FeatureConfig
from utility.audio.waveform import read_audio
from utility.store.reading import Store
from utility.store.recordings import Recordings

MODEL = """
import torch
from torch import nn
SIZE = 8
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, SIZE, 400, 320)
        self.first, self.second, self.norm = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE), nn.LayerNorm(SIZE)
    def forward(self, padded):
        states = [self.conv(padded[:, None]).transpose(1, 2)]
        states.append(states[-1] + self.first(states[-1]).relu())
        states.append(states[-1] + self.second(states[-1]).relu())
        return states
"""
EXPERT = """
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from .model import Net

class UpstreamExpert(nn.Module):
    def __init__(self, ckpt: str = None, model_config: str = None, **kwargs):
        super().__init__()
        self.model = Net()
        if ckpt is not None:
            self.model.load_state_dict(torch.load(ckpt, weights_only=True))
    def get_downsample_rates(self, key: str) -> int:
        return 320
    def forward(self, wavs):
        assert isinstance(wavs, list) and all(wav.ndim == 1 for wav in wavs)
        states = self.model(pad_sequence(wavs, batch_first=True))
        return {"hidden_states": states, "last_hidden_state": states[-1], "PR": states[:1]}
"""
HUBCONF = """
import os
from pathlib import Path
from .expert import UpstreamExpert as _UpstreamExpert

def customized_upstream(*args, **kwargs):
    return _UpstreamExpert(*args, **kwargs)
"""
INTERFACE = """
import torch
from torch import nn

class initHook(type):
    def __call__(cls, *args, **kwargs):
        instance = super().__call__(*args, **kwargs)
        for path, transform in instance.wanted:
            instance.add_hook(path, transform)
        return instance

class UpstreamBase(nn.Module, metaclass=initHook):
    wanted = ()
    def __init__(self, **kwargs):
        super().__init__()
        self.found = []
    def add_hook(self, path, transform):
        module = self
        for name in path.split("."):
            module = getattr(module, name)
        module.register_forward_hook(lambda _, given, output: self.found.append((path, transform(given, output))))
    def __call__(self, wavs, *args, **kwargs):
        self.found.clear()
        result = super().__call__(wavs, *args, **kwargs) or {}
        found, self.found = self.found[:], []
        if found:
            result["_hidden_states_info"], result["hidden_states"] = zip(*found)
            result["last_hidden_state"] = result["hidden_states"][-1]
            for layer, state in enumerate(result["hidden_states"]):
                result[f"hidden_state_{layer}"] = state
        return result
"""
HOOKED = """
import torch
from torch.nn.utils.rnn import pad_sequence
from ..interfaces import UpstreamBase
from .model import Net

class UpstreamExpert(UpstreamBase):
    wanted = (("model.first", lambda given, output: given[0]), ("model.second", lambda given, output: given[0]),
              ("model", lambda given, output: output[-1]))
    def __init__(self, ckpt, **kwargs):
        super().__init__(**kwargs)
        self.model = Net()
        self.model.load_state_dict(torch.load(ckpt, weights_only=True))
    def get_downsample_rates(self, key):
        return 320
    def forward(self, wavs):
        self.model(pad_sequence(wavs, batch_first=True))
"""


def write(folder, **files):
    """A folder of Python files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def weights(path, seed):
    scope = {}
    exec(MODEL, scope)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.save(scope["Net"]().state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "made_up", expert=EXPERT, hubconf=HUBCONF, model=MODEL)


def waves(*counts):
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(count, generator=generator) for count in counts]


@torch.no_grad()
def check_against_itself(upstream, atol=1e-6):
    """Every layer of single waveforms and of a batch of them against the expert that is called as S3PRL does."""
    sound = waves(9000, 4001, 400, 8999)
    states, lengths = upstream.from_waveforms(sound)
    for row, wave in enumerate(sound):
        wanted = upstream.module([wave])["hidden_states"]
        alone, _ = upstream.from_waveforms([wave])
        for state, one, expected in zip(states, alone, wanted, strict=True):
            assert torch.equal(one, expected)
            assert expected.shape[1] == lengths[row]
            torch.testing.assert_close(state[row, : lengths[row]], expected[0], atol=atol, rtol=atol)
            assert not state[row, lengths[row] :].any()


def test_a_made_up_expert(folder):
    upstream = load_upstream(f"s3prl:{folder}")
    assert (upstream.takes, upstream.sample_rate, upstream.layers) == ("waveform", 16000, ("T0", "T1", "T2"))
    assert (upstream.hidden_size, upstream.times(), upstream.inner) == (8, (0.02, 0.0125), ())
    assert upstream.batched
    assert not upstream.training
    check_against_itself(upstream)
    expected = {1: 0, 399: 0, 400: 1, 719: 1, 720: 2, 1039: 2, 1040: 3, 1679: 4, 1680: 5, 2000: 6}
    counts = torch.tensor(list(expected))
    assert upstream.num_frames(counts).tolist() == list(expected.values())
    with torch.no_grad():
        for count, frames in expected.items():
            assert upstream.from_waveforms(waves(count))[0][0].shape[1] == frames


def test_s3prl_s_own_kind_of_class_in_its_own_package(tmp_path):
    """States come from hooks, the base class from the package around, whose `__init__` need not run."""
    package = write(tmp_path / "s3prl_like", __init__="raise ImportError('torchaudio is too new')")
    upper = write(package / "upstream", __init__="", interfaces=INTERFACE)
    hubconf = "from .expert import UpstreamExpert as _UpstreamExpert\n"
    hubconf += "def net_local(ckpt, *args, **kwargs):\n    return _UpstreamExpert(ckpt, *args, **kwargs)\n"
    folder = write(upper / "net", __init__="", hubconf=hubconf, expert=HOOKED, model=MODEL)
    file = weights(tmp_path / "net.pt", 1)
    upstream = load_upstream(f"s3prl:{folder}:{file}")
    assert upstream.layers == ("T0", "T1", "T2")
    check_against_itself(upstream)
    plain = load_upstream(f"s3prl:{write(tmp_path / 'plain', expert=EXPERT, model=MODEL)}:{file}")
    with torch.no_grad():
        for one, other in zip(upstream.from_waveforms(waves(3000))[0], plain.from_waveforms(waves(3000))[0]):
            assert torch.equal(one, other)
    assert plain.fingerprint != upstream.fingerprint
    with pytest.raises(ValueError, match="net_local needs a checkpoint: name its file behind the folder"):
        load_upstream(f"s3prl:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mel", "kaldi_fbank"])
def test_our_exported_folder_gives_what_the_checkpoint_gives(kind, tmp_path):
    features = FeatureConfig(kind=kind, deltas=0) if kind == "kaldi_fbank" else FeatureConfig()
    path = write_checkpoint(tmp_path / "mockingjay-1.ckpt", features=features, model=TRANSFORMER)
    saved = load_pretrained(path)
    write_export(saved, "s3prl", tmp_path / "exported")
    ours, expert = load_upstream(path), load_upstream(f"s3prl:{tmp_path}/exported")
    assert expert.layers == ours.layers
    assert expert.times() == pytest.approx((ours.frame_shift, ours.frame_offset))
    assert expert.batched
    sound = waves(9000, 4001, 1999)
    with torch.no_grad():
        (wanted, frames), (given, lengths) = ours.from_waveforms(sound), expert.from_waveforms(sound)
    assert lengths.tolist() == frames.tolist()
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    for count in range(1, 2000, 37):
        assert int(expert.num_frames(torch.tensor(count))) in (0, features.num_frames(count)), count


def test_two_experts_do_not_collide(folder, tmp_path):
    """Both have a `model`, imported by its plain name as in torch.hub's folders."""
    found, before = [], set(sys.modules)
    for gain in (1, 3):
        hub = "def made(*args):\n    from model import Net\n    from expert import UpstreamExpert\n"
        hub += "    return UpstreamExpert(Net)\n"
        expert = EXPERT.replace("from .model import Net\n", "").replace(
            "ckpt: str = None, model_config: str = None, **kwargs", "net"
        )
        expert = expert.replace("Net()", "net()").replace("if ckpt is not None", "if False")
        model = MODEL.replace("self.first(", f"{gain} * self.first(")
        found.append(load_upstream(f"s3prl:{write(tmp_path / f'hub{gain}', hubconf=hub, expert=expert, model=model)}"))
    assert not {"model", "expert", "hubconf"} & (set(sys.modules) - before)
    assert not [path for path in sys.path if str(tmp_path) in path]
    sound = waves(3000)
    with torch.no_grad():
        (one, _), (three, _), (plain, _) = (
            upstream.from_waveforms(sound) for upstream in (*found, load_upstream(f"s3prl:{folder}"))
        )
    torch.testing.assert_close(3 * (one[1] - one[0]), three[1] - three[0])
    torch.testing.assert_close(one[1], plain[1])


def test_several_entries_are_chosen_by_name(folder):
    (folder / "hubconf.py").write_text(
        HUBCONF + "def other(ckpt=None):\n    return _UpstreamExpert(ckpt)\nsame = other\n"
    )
    with pytest.raises(ValueError, match=r"has the entries customized_upstream, other, same: say which, s3prl:.*:cust"):
        load_upstream(f"s3prl:{folder}")
    with pytest.raises(ValueError, match="has no entry hubert, but customized_upstream, other, same"):
        load_upstream(f"s3prl:{folder}:hubert")
    assert load_upstream(f"s3prl:{folder}:other").layers == ("T0", "T1", "T2")
    (folder / "hubconf.py").write_text(
        "from copy import deepcopy\nfrom .expert import UpstreamExpert as _E\ndef one():\n    return _E()\nsame = one\n"
    )
    assert load_upstream(f"s3prl:{folder}").layers == ("T0", "T1", "T2")


def test_a_last_state_that_stands_apart_is_final(folder):
    text = EXPERT.replace('"last_hidden_state": states[-1]', '"last_hidden_state": self.model.norm(states[-1])')
    (folder / "expert.py").write_text(text)
    upstream = load_upstream(f"s3prl:{folder}")
    assert (upstream.layers, upstream.inner) == (("T0", "T1", "T2"), ("final",))
    inputs, lengths = torch.stack(waves(3000)), torch.tensor([3000])
    with torch.no_grad():
        final, last = upstream(inputs, lengths, ("final", "T2"))
        assert torch.equal(final, upstream.module.model.norm(last))
    assert LayerSelection("final").labels(upstream) == ("final",)


@pytest.mark.parametrize(
    ("returned", "layers"),
    [
        ('{"hidden_states": tuple(states)}', 3),
        ('{"last_hidden_state": states[-1]}', 1),
        ('{"hidden_states": states[-1]}', 1),
        ('{"hidden_states": None, "QbE": states}', 3),
    ],
)
def test_states_under_the_keys_that_experts_use(folder, returned, layers):
    before, _, _ = EXPERT.rpartition("        return {")
    (folder / "expert.py").write_text(f"{before}        return {returned}\n")
    upstream = load_upstream(f"s3prl:{folder}")
    assert len(upstream.layers) == layers
    with torch.no_grad():
        given = upstream.module(waves(2000))
        wanted = next(value for value in given.values() if value is not None)
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
        for one, other in zip(upstream.from_waveforms(waves(2000))[0], wanted, strict=True):
            assert torch.equal(one, other)


def test_one_that_sees_padding_goes_one_utterance_at_a_time(folder, tmp_path):
    text = MODEL.replace("padded[:, None]", "(padded - padded.mean(1, keepdim=True))[:, None]")
    (folder / "model.py").write_text(text)
    upstream = load_upstream(f"s3prl:{folder}")
    assert not upstream.batched
    assert upstream.batch_rule.startswith("one utterance at a time")
    check_against_itself(upstream)


def test_what_a_file_is_follows_from_the_signature(folder, tmp_path):
    file = weights(tmp_path / "net.pt", 4)
    expert = load_upstream(f"s3prl:{folder}:{file}")  # ckpt of the constructor, through **kwargs of the entry
    assert expert.made_from == str(file)
    (folder / "hubconf.py").write_text("from .expert import UpstreamExpert as _E\ndef bare():\n    return _E()\n")
    tensors = {f"model.{name}": value for name, value in torch.load(file).items()}
    torch.save(tensors, tmp_path / "state.pt")
    bare = load_upstream(f"s3prl:{folder}:{tmp_path}/state.pt")
    assert bare.made_from == ""
    for one, other in zip(bare.parameters(), expert.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"tensor 'conv\.bias' is not part of the model"):
        load_upstream(f"s3prl:{folder}:{file}")


@pytest.mark.parametrize("hub", [HUBCONF, "from .expert import UpstreamExpert as _E\ndef bare():\n    return _E()\n"])
def test_a_tuned_expert_is_written_and_opens_with_the_same_states(folder, tmp_path, hub):
    (folder / "hubconf.py").write_text(hub)
    source = f":{weights(tmp_path / 'net.pt', 4)}" if hub == HUBCONF else ""
    upstream = load_upstream(f"s3prl:{folder}{source}").train()
    inputs, lengths = torch.stack(waves(8000)).repeat(2, 1), torch.tensor([8000, 5000])
    upstream(inputs, lengths)[-1].square().mean().backward()
    torch.optim.SGD(upstream.parameters(), 0.5).step()
    file = upstream.eval().write_tuned(tmp_path / "run/upstream")
    again = load_upstream(f"s3prl:{folder}:{file}")
    assert again.made_from == upstream.made_from
    with torch.no_grad():
        for one, other in zip(upstream(inputs, lengths), again(inputs, lengths), strict=True):
            assert torch.equal(one, other)
    if source:
        (tmp_path / "net.pt").unlink()
        with pytest.raises(FileNotFoundError, match=r"was tuned from .*net\.pt, which is gone: put it there again"):
            load_upstream(f"s3prl:{folder}:{file}")


CHANGED = {
    "no folder": ("", None, "absent is no folder: s3prl: takes a folder of S3PRL's form"),
    "empty": ("empty", {}, "has neither hubconf.py nor expert.py"),
    "no class": ("x", {"expert": "class Expert: pass"}, "has no class UpstreamExpert"),
    "no entry": ("x", {"hubconf": "_a = print"}, "has no function that makes an expert"),
    "syntax": ("x", {"hubconf": "def a(:\n"}, "hubconf.py could not be imported: "),
    "missing package": ("x", {"expert": "import fairseq_of_old"}, "No module named 'fairseq_of_old'"),
    "fails": (
        "x",
        {"expert": "class UpstreamExpert:\n def __init__(self):\n  1/0"},
        "UpstreamExpert failed: division by zero (ZeroDivisionError)",
    ),
    "no module": (
        "x",
        {"expert": "class UpstreamExpert:\n pass"},
        "its expert is a UpstreamExpert, expected an nn.Module",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CHANGED)
def test_folders_that_are_no_experts_are_refused_in_one_line(case, tmp_path):
    name, files, said = CHANGED[case]
    folder = tmp_path / "absent" if files is None else write(tmp_path / name, **files)
    with pytest.raises(ValueError) as refused:
        load_upstream(f"s3prl:{folder}")
    assert said in str(refused.value)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


REPLACED = {
    "no rate": ("def get_downsample_rates", "def other", "its UpstreamExpert has no get_downsample_rates(key): add it"),
    "rate of words": ("return 320", "return '20 ms'", "states get_downsample_rates = '20 ms', expected a whole number"),
    "rate fails": ("return 320", "raise KeyError(key)", "get_downsample_rates failed: 'hidden_states' (KeyError)"),
    "other rate": ("return 320", "return 160", "expected one more for each 160 samples"),
    "no dict": ("return {", "return list({", "gave a value of type list, expected a dict with 'hidden_states'"),
    "other keys": ('"hidden_states": states, "last_hidden_state": states[-1]', '"z": states', "gave a dict with z, PR"),
    "no list": ('"hidden_states": states,', '"hidden_states": 3,', "gave a value of type int as 'hidden_states'"),
    "widths": ('"hidden_states": states', '"hidden_states": [states[0][..., :3], *states]', "all must be alike"),
    "time first": ("states = self", "states = [s[0] for s in self", "as T0 for 1 waveforms, expected [B, T, H]"),
    "fails": ("assert isinstance", "raise OSError('no') or isinstance", "failed on 64000 samples: no (OSError)"),
    "not finite": ('"hidden_states": states', '"hidden_states": [s / 0 for s in states]', "not finite as T0"),
    "random": ('"hidden_states": states', '"hidden_states": [s * torch.rand(()) for s in states]', "other numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLACED)
def test_experts_that_do_not_do_what_they_must_are_refused_in_one_line(case, folder):
    old, new, said = REPLACED[case]
    text = EXPERT.replace(old, new)
    if case == "no dict":
        text = text.replace("states[:1]}", "states[:1]})")
    if case == "time first":
        text = text.replace("batch_first=True))", "batch_first=True))]")
    assert text != EXPERT
    (folder / "expert.py").write_text(text)
    with pytest.raises(ValueError) as refused:
        load_upstream(f"s3prl:{folder}")
    assert said in str(refused.value)
    assert f"s3prl:{folder}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_not_there_or_not_weights_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the file .*none\.pt does not exist"):
        load_upstream(f"s3prl:{folder}:{tmp_path}/none.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ValueError, match="customized_upstream failed: "):
        load_upstream(f"s3prl:{folder}:{tmp_path}/text.pt")


def test_the_fingerprint_follows_code_and_weights(folder, tmp_path):
    first = load_upstream(f"s3prl:{folder}").fingerprint
    assert load_upstream(f"s3prl:{folder}", seed=0).fingerprint == first
    assert load_upstream(f"s3prl:{folder}", seed=1).fingerprint != first
    (folder / "notes.txt").write_text("this changes nothing")
    assert load_upstream(f"s3prl:{folder}").fingerprint == first
    (folder / "model.py").write_text(MODEL.replace("self.first(", "2 * self.first("))
    assert load_upstream(f"s3prl:{folder}").fingerprint != first


def test_extraction_of_real_speech(folder, corpora, tmp_path):
    upstream, how = load_upstream(f"s3prl:{folder}"), ExtractionOptions(LayerSelection("all"), quiet=True)
    audio = sorted((corpora / "libri_mini" / "LibriSpeech" / "test-other").rglob("*.flac"))[:6]
    assert represent(upstream, Recordings(audio, None, 16000), tmp_path / "out", "some", how)
    stored = Store([tmp_path / "out/some"])
    assert len(stored) == 6
    for row, path in enumerate(stored.audio_paths):
        wave = torch.as_tensor(read_audio(path))
        assert stored.lengths[row] == (len(wave) - 400) // 320 + 1
        with torch.no_grad():
            wanted = torch.stack(upstream.module([wave])["hidden_states"], dim=2)[0]
        torch.testing.assert_close(torch.from_numpy(stored[row]), wanted, atol=1e-6, rtol=1e-6)
