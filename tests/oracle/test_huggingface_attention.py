"""Attention of Transformers' models, read and cut, against plain code in the place of their own attention."""

import contextlib
import importlib
from pathlib import Path

import pytest
import torch

from mockingjay.model import attention
from mockingjay.upstreams.attentive import heads_masked, spans_masked
from tests.helpers import huggingface_models as models

transformers = pytest.importorskip("transformers", reason="`make test` installs release 5, `make test-hf` 4.57")
from mockingjay.upstreams.huggingface import open_huggingface  # noqa: E402

pytestmark = pytest.mark.slow
KEPT = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1]])
COUNTS = 9050, 16000, 400


@pytest.fixture(scope="module", params=["wav2vec2", "hubert_stable", "wavlm", "wavlm_stable", "data2vec"])
def folder(request, tmp_path_factory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("model") / request.param, request.param, normalise=True)


def padded(*counts):
    waves = models.waveforms(*counts)
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(counts)


class Plain:
    """Plain attention in Transformers' own modules: it keeps each layer's weights, and cuts what it is told to."""

    def __init__(self, kept=None, radius=None):
        self.kept, self.radius, self.maps = kept, radius, []

    def mix(self, query, key, value, added):
        """[B, heads, T, d] to [B, T, heads, d]."""
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5 + added
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        self.maps.append(weights)
        time = torch.arange(weights.shape[-1])
        if self.radius is not None:
            weights = weights * ((time[:, None] - time).abs() <= self.radius)
        if self.kept is not None:
            weights = weights * self.kept[len(self.maps) - 1][:, None, None]
        return (weights @ value).transpose(1, 2)

    @contextlib.contextmanager
    def inside(self, model, monkeypatch):
        code = importlib.import_module(type(model).__module__)
        with monkeypatch.context() as patch:
            if hasattr(code, "WavLMAttention"):
                patch.setattr(code.WavLMAttention, "torch_multi_head_self_attention", self._wavlm())
            else:
                patch.setattr(
                    code,
                    "eager_attention_forward",
                    lambda module, query, key, value, mask, **_: (self.mix(query, key, value, 0), None),
                )
                model.set_attn_implementation("eager")
            yield

    def _wavlm(self):
        def forward(module, x, mask, bias, *_):
            split = [
                part(x).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)
                for part in (module.q_proj, module.k_proj, module.v_proj)
            ]
            return module.out_proj(self.mix(*split, bias[None]).flatten(2)), None

        return forward


@torch.no_grad()
@pytest.mark.parametrize(("kept", "radius"), [(None, None), (KEPT, None), (None, 3), (KEPT, 0)])
def test_cut_heads_and_spans_are_zero_behind_the_softmax(folder, kept, radius, monkeypatch):
    upstream, (inputs, lengths) = open_huggingface(folder), padded(*COUNTS)
    whole = upstream(inputs, lengths)
    heads = torch.ones(3, 4) if kept is None else kept
    with heads_masked(upstream, heads), spans_masked(upstream, radius):
        together = upstream(inputs, lengths)
        with torch.enable_grad():  # as a GPU has it: by the same way
            again = upstream(inputs, lengths)
    for one, other in zip(together, again):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for one, other in zip(whole, upstream(inputs, lengths)):
        assert torch.equal(one, other)
    for row, wave in enumerate(models.waveforms(*COUNTS)):
        plain = Plain(kept, radius)
        reference = open_huggingface(folder)
        with plain.inside(reference.model, monkeypatch), torch.enable_grad():
            wanted = reference(wave[None], torch.tensor([len(wave)]))
        assert len(plain.maps) == 3
        for layer, state in enumerate(wanted):
            torch.testing.assert_close(together[layer][row, : state.shape[1]], state[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_maps_are_the_attention_of_each_head(folder, monkeypatch):
    """Transformers gives the mean of WavLM's heads for each of them."""
    upstream, (inputs, lengths) = open_huggingface(folder), padded(*COUNTS)
    maps = upstream.attention_maps(inputs, lengths)
    assert upstream.attention_size == (3, 4)
    for row, wave in enumerate(models.waveforms(*COUNTS)):
        plain, reference = Plain(), open_huggingface(folder)
        with plain.inside(reference.model, monkeypatch), torch.enable_grad():
            reference(wave[None], torch.tensor([len(wave)]))
        wanted = torch.cat(plain.maps)
        frames = wanted.shape[-1]
        torch.testing.assert_close(maps[:, row, :, :frames, :frames], wanted, atol=1e-5, rtol=1e-4)
        assert not maps[:, row, :, frames:].any()
        monkeypatch.setattr(attention, "WEIGHTS", 3 * 4 * frames * 10)
        blocks = list(upstream.attention_rows(wave[None]))
        assert [block.shape[2] for block in blocks] == [10] * (frames // 10) + [frames % 10] * (frames % 10 > 0)
        torch.testing.assert_close(torch.cat(blocks, 2), wanted, atol=1e-5, rtol=1e-4)
    assert not list(upstream.attention_rows(torch.zeros(1, 399)))
    with pytest.raises(ValueError, match="encoded in pieces"):
        next(upstream.attention_rows(torch.zeros(1, upstream.longest + 1)))


def test_a_cut_is_gone_after_an_error_and_goes_not_backward(tmp_path):
    upstream = open_huggingface(models.write_model(tmp_path / "m", "hubert"))
    inputs, lengths = padded(4000)
    whole = upstream.fingerprint
    with pytest.raises(ValueError, match="there are no gradients"), heads_masked(upstream, KEPT):
        upstream(inputs.clone().requires_grad_(), lengths)
    assert upstream.fingerprint == whole
    assert not upstream._cut


@pytest.mark.parametrize("normalise", [False, True])
def test_the_waveform_has_a_gradient(normalise, tmp_path):
    """Also where it is brought to zero mean and unit variance; states are the same but for rounding."""
    upstream = open_huggingface(models.write_model(tmp_path / "m", "wav2vec2_stable", normalise))
    inputs, lengths = padded(4000, 2500)
    with torch.no_grad():
        wanted = upstream(inputs, lengths)[-1]
    point = inputs.clone().requires_grad_()
    state = upstream(point, lengths)[-1]
    torch.testing.assert_close(state, wanted, atol=1e-5, rtol=1e-4)
    state[:, :, 0].square().sum().backward()
    assert point.grad[0].any()
    assert point.grad[1, :2500].any()
    assert not point.grad[1, 2500:].any()
    if normalise:  # louder, or with a constant added, it is the same
        for row, count in enumerate((4000, 2500)):
            grad, wave = point.grad[row, :count], inputs[row, :count]
            assert abs(float(grad.sum())) < 1e-3 * float(grad.abs().sum())
            assert abs(float(grad @ (wave - wave.mean()))) < 1e-3 * float(grad.norm() * wave.norm())
    step = 1e-2 * point.grad / point.grad.norm()
    with torch.no_grad():
        up, down = (upstream(inputs + sign * step, lengths)[-1][:, :, 0].square().sum() for sign in (1, -1))
    torch.testing.assert_close((up - down) / 2, (step * point.grad).sum(), rtol=0.05, atol=1e-4)
