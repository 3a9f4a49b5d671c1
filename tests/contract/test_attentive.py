"""Attention of our encoders, read in blocks and cut, against plain code; what has no attention says so in one line."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.model import attention
from mockingjay.model.frame_model import GruModel, Head, TransformerModel
from mockingjay.model.gru import GruConfig
from mockingjay.model.transformer import TransformerConfig, stack_frames
from mockingjay.upstreams.attentive import attentive, heads_masked, spans_masked
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.pretrained import HeadUpstream, PretrainedUpstream
from utility.batches import real_frames
from utility.config import resolve
from utility.store.info import StoreInfo

KINDS = {
    "plain": ({}, False),
    "stacked": ({"downsample_rate": 3}, False),
    "pre-LN": ({"pre_layer_norm": True}, False),
    "shared": ({"share_layers": True}, False),
    "causal": ({}, True),
    "pruned": ({"prune_heads": [1, 4]}, False),
}
LAYERS, HEADS, DIM = 3, 4, 6
LENGTHS = torch.tensor([31, 14, 22])
KEPT = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]])


def upstream_of(kind: str, **more) -> PretrainedUpstream:
    settings, causal = KINDS[kind]
    config = TransformerConfig(
        layers=LAYERS, hidden_size=16, heads=HEADS, ffn_size=24, initializer_range=0.3, **settings, **more
    )
    torch.manual_seed(0)
    model = TransformerModel(config, DIM, DIM, causal).eval()
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data += 0.1 * torch.randn_like(weight)
    whole = dataclasses.replace(resolve(PretrainConfig), model=config)
    return PretrainedUpstream(model, whole, None, 0.0125).eval()


def inputs() -> Tensor:
    features = torch.randn(3, 31, DIM, generator=torch.Generator().manual_seed(1))
    return features * real_frames(LENGTHS, 31)[..., None]


def plain_states(upstream: PretrainedUpstream, features: Tensor, kept: Tensor, radius: int | None):
    """Hidden states at the encoder's rate and attention of one utterance [T, D], head by head, from its weights."""
    encoder = upstream.transformer
    stacked = stack_frames(features[None], torch.tensor([len(features)]), upstream.rate)[0]
    x = encoder(stacked, torch.tensor([stacked.shape[1]]))[0][0]  # entry 0, before any attention
    states, maps, frames = [x], [], len(x)
    far = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
    for layer in range(encoder.num_layers):
        block = encoder.blocks[layer % len(encoder.blocks)]
        seen = block.attention_norm(x) if block.norm_first else x
        query, key, value = block.attention.query_key_value(seen).view(frames, 3, HEADS, -1).unbind(1)
        mixed, weights = [], []
        for head in range(HEADS):
            scores = query[:, head] @ key[:, head].T / math.sqrt(query.shape[-1])
            if encoder.causal:
                scores = scores + torch.full((frames, frames), -math.inf).triu(1)
            one = scores.exp() / scores.exp().sum(1, keepdim=True)
            weights.append(one)
            cut = one if radius is None else torch.where(far <= radius, one, 0)
            mixed.append(cut @ value[:, head] * kept[layer, head])
        given = block.attention.output(torch.cat(mixed, 1))
        if block.norm_first:
            x = x + given
            x = x + block._feedforward(block.norm(x))
            states.append(encoder.output_norms[layer](x))
        else:
            x = block.attention_norm(x + given)
            x = block.norm(x + block._feedforward(x))
            states.append(x)
        maps.append(torch.stack(weights))
    return states, torch.stack(maps)


def config_kept(upstream: PretrainedUpstream) -> Tensor:
    return torch.ones(LAYERS, HEADS) if upstream.encoder.kept is None else upstream.encoder.kept.clone()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("masked", "radius"), [(False, None), (True, None), (False, 2), (True, 0), (True, 5)])
def test_cut_heads_and_spans_are_zero_behind_the_softmax(kind, masked, radius, monkeypatch):
    """And nothing is renormalised; alone, in a batch, and in blocks of few queries."""
    upstream, features = upstream_of(kind), inputs()
    kept = config_kept(upstream) * (KEPT if masked else 1)
    before = [state.clone() for state in upstream(features, LENGTHS)]
    with heads_masked(upstream, KEPT if masked else torch.ones(LAYERS, HEADS)), spans_masked(upstream, radius):
        encoded = upstream.encoder(*stack_frames(features, LENGTHS, upstream.rate))
        monkeypatch.setattr(attention, "WEIGHTS", 200)
        in_blocks = upstream.encoder(*stack_frames(features, LENGTHS, upstream.rate))
    for row, length in enumerate(LENGTHS.tolist()):
        states, _ = plain_states(upstream, features[row, :length], kept, radius)
        for layer, wanted in enumerate(states):
            torch.testing.assert_close(encoded[layer][row, : len(wanted)], wanted, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(in_blocks[layer][row, : len(wanted)], wanted, atol=2e-5, rtol=1e-4)
    for one, other in zip(before, upstream(features, LENGTHS)):
        assert torch.equal(one, other)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_queries_make_up_the_maps(kind, monkeypatch):
    upstream, features = upstream_of(kind), inputs()
    maps = upstream.attention_maps(features, LENGTHS)
    frames = upstream.attention_frames(LENGTHS).tolist()
    assert upstream.attention_size == (LAYERS, HEADS)
    assert maps.shape == (LAYERS, 3, HEADS, max(frames), max(frames))
    for row, count in enumerate(frames):
        features_alone = features[row : row + 1, : LENGTHS[row]]
        monkeypatch.setattr(attention, "WEIGHTS", LAYERS * HEADS * count * 4)
        blocks = list(upstream.attention_rows(features_alone))
        assert [block.shape[2] for block in blocks[:-1]] == [4] * (len(blocks) - 1)
        _, wanted = plain_states(upstream, features_alone[0], config_kept(upstream), None)
        torch.testing.assert_close(torch.cat(blocks, 2), wanted, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(maps[:, row, :, :count, :count], wanted, atol=1e-5, rtol=1e-4)
        assert not maps[:, row, :, count:].any()  # zero beyond true lengths, queries and keys
        assert not maps[:, row, :, :, count:].any()


@torch.no_grad()
def test_nothing_stays_cut_also_after_an_error():
    upstream, features = upstream_of("pruned"), inputs()
    head = HeadUpstream(upstream, Head(16, DIM))
    before, kept, whole = upstream(features, LENGTHS), upstream.encoder.kept.clone(), upstream.fingerprint
    seen = set()
    for wrong in (KEPT[:2], KEPT[0]):
        with pytest.raises(ValueError, match="a mask of heads has shape"), heads_masked(upstream, wrong):
            pass
    with pytest.raises(ValueError, match="radius of a span is -1"), spans_masked(upstream, -1):
        pass

    def fail(cut):
        with cut, spans_masked(upstream, 1):
            seen.add(upstream.fingerprint)
            assert not torch.equal(upstream(features, LENGTHS)[-1], before[-1])
            raise KeyError

    cuts = heads_masked(upstream, KEPT), spans_masked(upstream, 0), heads_masked(upstream, KEPT.bool())
    for cut in cuts:
        with pytest.raises(KeyError):
            fail(cut)
        assert torch.equal(upstream.encoder.kept, kept)
        assert upstream.encoder.radius is None
        assert upstream.fingerprint == whole
        assert torch.equal(upstream(features, LENGTHS)[-1], before[-1])
    assert whole not in seen
    assert len(seen) == 2  # True and 1 are the same mask
    own = head.fingerprint
    with heads_masked(head, KEPT):
        assert not torch.equal(head(features, LENGTHS)[-1], upstream(features, LENGTHS)[-1])
        assert head.fingerprint != own
        assert upstream.encoder.kept.sum() < kept.sum()
    assert head.fingerprint == own
    with heads_masked(upstream, torch.ones(LAYERS, HEADS)), spans_masked(upstream, None):
        assert upstream.fingerprint == whole  # nothing is cut: the same states


@torch.no_grad()
def test_the_narrower_of_two_spans_counts():
    upstream, features = upstream_of("plain"), inputs()
    with spans_masked(upstream, 2):
        wanted = upstream(features, LENGTHS)[-1]
    for outer, inner in ((2, 9), (9, 2)):
        with spans_masked(upstream, outer), spans_masked(upstream, inner):
            assert torch.equal(upstream(features, LENGTHS)[-1], wanted)


def test_cut_spans_have_gradients():
    upstream, features = upstream_of("plain"), inputs().requires_grad_()
    with spans_masked(upstream, 2):
        upstream(features, LENGTHS)[-1].sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert features.grad[0].any()
    assert not features.grad[1, 14:].any()


def test_a_piece_is_no_map_and_what_has_no_attention_says_so():
    upstream = upstream_of("plain", max_input_length=20)
    assert upstream.pieces(20) == [(0, 20)]
    assert upstream.pieces(45) == [(0, 15), (15, 30), (30, 45)]
    with pytest.raises(ValueError, match="an input of 31 is encoded in pieces"):
        next(upstream.attention_rows(inputs()[:1]))
    config = GruConfig(layers=1, hidden_size=8)
    whole = resolve(PretrainConfig)
    gru = PretrainedUpstream(
        GruModel(config, DIM, DIM), dataclasses.replace(whole, encoder="gru", objective="apc", gru=config), None, 0.01
    )
    features = Baseline(StoreInfo(row_shape=[DIM], frame_shift=0.01))
    for other, reason in (
        (gru, "holds a GRU, which has no attention"),
        (features, r"not of this upstream \(Baseline\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            attentive(other)
        with pytest.raises(ValueError, match=reason), heads_masked(other, KEPT):
            pass
        with pytest.raises(ValueError, match=reason), spans_masked(other, 3):
            pass
    with pytest.raises(ValueError, match="has no attention"):
        gru.attention_maps(inputs(), LENGTHS)
