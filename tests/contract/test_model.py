"""The model: a batch gives what single utterances give, down to one frame, at both rates."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import TransformerModel
from mockingjay.model.layout import Scope
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import TransformerConfig, sinusoid_positions, stack_frames, unstack_states
from mockingjay.pretraining.step import FramePretraining
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.batches import Batch
from utility.config import resolve

PAPER = ("config/mockingjay_libri.yaml", "config/mockingjay_libri_linearLarge.yaml")
FAMILY = {
    "TERA": (PAPER[0], "masking.frequency=4", "masking.noise=0.5", "masking.allow_overlap=false"),
    "AALBERT": (PAPER[0], "model.share_layers=true", "model.downsample_rate=3"),
    "pre-LN": (PAPER[0], "model.pre_layer_norm=true", "model.activation=relu"),
    "pieces": (PAPER[0], "model.max_input_length=7"),
    "stacked pieces": (PAPER[1], "model.max_input_length=10"),
    "APC": (PAPER[0], "objective=apc", "encoder=gru"),
    "APC with prenet": (PAPER[0], "objective=apc", "encoder=gru", "gru.prenet_layers=1", "apc.time_shift=2"),
    "Transformer-APC": (PAPER[0], "objective=apc"),
}
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def small(name, *changes):
    """A config with its depth, rate and masks, at a width that a test can afford."""
    narrow = ["model.hidden_size=24", "model.heads=3", "model.ffn_size=48", "gru.hidden_size=24"]
    narrow += ["masking.proportion=0.5", "masking.consecutive_min=1", "masking.consecutive_max=2"]  # fits short ones
    config = resolve(PretrainConfig, name, [*narrow, *changes])
    target = 17 if config.data.target else 10
    model = new_model(config, 10, target, seed=0).eval()
    for parameter in model.parameters():  # larger than at the start, so that every term matters
        torch.nn.init.normal_(parameter, std=0.2) if parameter.ndim > 1 else None
    return config, model, target


MODELS = {name: small(name) for name in PAPER} | {name: small(*words) for name, words in FAMILY.items()}


def padded(lengths, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(length, size, generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(lengths)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=20)
@given(lengths=LENGTHS)
def test_hidden_states_and_loss_of_a_batch_are_those_of_its_utterances(name, lengths):  # R18 and R22 too
    config, model, target_size = MODELS[name]
    features, lengths = padded(lengths, 10)
    truth = padded(lengths.tolist(), target_size, seed=1)[0] if config.data.target else None
    batch = Batch(features, lengths, [f"u{row}" for row in range(len(lengths))], truth)
    upstream = PretrainedUpstream(model, config, None, 0.0125).eval()
    objective = FramePretraining(model, config, torch.device("cpu"))
    total, count = 0.0, 0.0
    with torch.no_grad():
        together, whole = upstream(features, lengths), objective._prediction(*objective.fixed(batch)).loss()
        for row, length in enumerate(lengths.tolist()):
            alone = Batch(features[row : row + 1, :length], lengths[row : row + 1], batch.ids[row : row + 1],
                          truth if truth is None else truth[row : row + 1, :length])  # fmt: skip
            states = upstream(alone.features, alone.lengths)
            assert len(states) == model.num_layers + 1
            for one, many in zip(states, together):
                assert one.shape == (1, length, 24)
                torch.testing.assert_close(one[0], many[row, :length], atol=1e-5, rtol=1e-5)
                assert not many[row, length:].any()
            own = objective._prediction(*objective.fixed(alone)).loss()
            total, count = total + own.total, count + own.count
    assert whole.count == count
    assert count > 0 or max(lengths) < 20
    torch.testing.assert_close(whole.total, torch.as_tensor(total), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["APC", "APC with prenet", "Transformer-APC"])
def test_apc_predicts_from_what_went_before(name):
    config, model, _ = MODELS[name]
    features, lengths = padded([12], 10)
    changed = features.clone()
    changed[0, 8:] += 1.0
    with torch.no_grad():
        first, second = model(features, lengths), model(changed, lengths)
        found = FramePretraining(model, config, torch.device("cpu"))._prediction(Batch(features, lengths, ["u"]), [])
    torch.testing.assert_close(first.prediction[:, :8], second.prediction[:, :8], atol=1e-6, rtol=0)
    assert not torch.allclose(first.prediction[:, 8:], second.prediction[:, 8:])
    shift = config.apc.time_shift
    by_hand = (first.prediction[0, :-shift] - features[0, shift:]).abs().mean()
    torch.testing.assert_close(found.loss().mean(), by_hand)
    assert found.mask[0, :, 0].tolist() == [False] * shift + [True] * (12 - shift)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 9))
def test_pieces_are_of_like_length_and_joined_again_give_all(lengths, size):
    features, lengths = padded(lengths, 2)
    pieces = Segments.of(lengths, size)
    assert int(pieces.lengths.max()) <= size
    assert int(pieces.lengths.min()) >= 1
    for row, length in enumerate(lengths.tolist()):
        own = pieces.lengths[pieces.row == row].tolist()
        assert (sum(own), len(own)) == (length, -(-length // size))
        assert set(own[:-1]) <= {-(-length // len(own))}
    assert torch.equal(pieces.join(pieces.split(features), *features.shape[:2]), features)


def test_a_piece_is_encoded_as_if_it_stood_alone():
    config, model, _ = MODELS["pieces"]
    features, lengths = padded([17], 10)
    upstream = PretrainedUpstream(model, config, None, 0.0125).eval()
    with torch.no_grad():
        whole = upstream(features, lengths)[-1][0]
        alone = [upstream(part[None], torch.tensor([len(part)]))[-1][0] for part in features[0].split(6)]
    # As of a batch and its utterances: products of other shapes are shared out to threads in another way.
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_long_utterances_train_and_are_not_cut():  # R36: an assert at 3,000 frames, a silent cut at 5,000
    config, model, _ = small(PAPER[0], "model.layers=1", "masking.consecutive_max=9")
    features, lengths = padded([5200], 10)
    batch = Batch(features, lengths, ["long"])
    loss = FramePretraining(model, config, torch.device("cpu")).step(batch, torch.Generator().manual_seed(0))["loss"]
    assert bool(loss.isfinite())
    changed = features.clone()
    changed[0, -1] += 1
    upstream = PretrainedUpstream(model, config, None, 0.0125).eval()
    with torch.no_grad():
        states, others = upstream(features, lengths)[-1], upstream(changed, lengths)[-1]
    assert states.shape == (1, 5200, 24)
    assert not torch.equal(states[0, -1], others[0, -1])


def test_shared_layers_are_one_block_used_often():
    _, model, _ = MODELS["AALBERT"]
    assert len(model.encoder.blocks) == 1
    features, lengths = padded([9], 10)
    with torch.no_grad():
        states = model(features, lengths).hidden_states
        scope = Scope(torch.tensor([3]), 3)
        for before, after in pairwise(states):
            torch.testing.assert_close(model.encoder.blocks[0](before, scope), after)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 4))
def test_stacking_drops_the_tail_and_unstacking_gives_every_frame_back(lengths, rate):  # R25: T' was not T
    features, lengths = padded(lengths, 2)
    stacked, stacked_lengths = stack_frames(features, lengths, rate)
    assert stacked_lengths.tolist() == [max(n // rate, 1) for n in lengths.tolist()]
    for row, length in enumerate(lengths.tolist()):
        if length >= rate:
            kept = length // rate * rate
            real = stacked[row, : length // rate]
            assert torch.equal(real.reshape(kept, 2), features[row, :kept])
        assert not stacked[row, stacked_lengths[row] :].any()
    back = unstack_states(stacked, lengths, features.shape[1], rate)
    assert back.shape[:2] == features.shape[:2]
    for row, length in enumerate(lengths.tolist()):
        front, count = length % rate // 2 if rate > 1 else 0, max(length // rate, 1)
        expected = [min(max((t - front) // rate, 0), count - 1) for t in range(length)]
        assert torch.equal(back[row, :length], stacked[row, expected])


def test_attention_needs_no_three_dimensional_mask():  # R37: the default mask had the shape of the input
    _, model, _ = MODELS[PAPER[0]]
    features, lengths = padded([9, 4], 10)
    changed = features.clone()
    changed[1, 4:] = 50.0  # padding holds anything
    with torch.no_grad():
        first, second = model(features, lengths), model(changed, lengths)
        maps = model.encoder.attention_maps(features, lengths)
    torch.testing.assert_close(first.hidden_states[-1][1, :4], second.hidden_states[-1][1, :4])
    assert maps.shape == (3, 2, 3, 9, 9)
    assert not maps[:, 1, :, :, 4:].any()
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 3, 9))


@pytest.mark.parametrize("name", [PAPER[0], "pre-LN", "AALBERT", "Transformer-APC"])
def test_maps_are_the_attention_that_the_model_uses(name):
    _, model, _ = MODELS[name]
    features, lengths = padded([24], 10)
    with torch.no_grad():
        stacked, lengths = model.stack(features, lengths)
        x, scope = model.encoder(stacked, lengths)[0], Scope(lengths, stacked.shape[1], model.encoder.causal)
        maps = model.encoder.attention_maps(stacked, lengths)
        assert len(maps) == model.num_layers
        for layer, weights in enumerate(maps):
            block = model.encoder.blocks[layer % len(model.encoder.blocks)]
            seen = block.attention_norm(x) if block.norm_first else x
            value = block.attention._heads(seen)[2]
            mixed = block.attention.output((weights @ value).transpose(1, 2).flatten(2))
            torch.testing.assert_close(mixed, block.attention(seen, scope), atol=1e-5, rtol=1e-5)
            x = block(x, scope)


def test_maps_of_an_utterance_in_pieces_are_those_of_its_first_piece():
    config, model, _ = MODELS["pieces"]
    features, lengths = padded([17, 5], 10)
    upstream = PretrainedUpstream(model, config, None, 0.0125).eval()
    with torch.no_grad():
        maps = upstream.attention_maps(features, lengths)
        alone = [upstream.attention_maps(features[row : row + 1, :n], torch.tensor([n])) for row, n in ((0, 6), (1, 5))]
    assert maps.shape[1] == 2
    torch.testing.assert_close(maps[:, 0, :, :6, :6], alone[0][:, 0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(maps[:, 1, :, :5, :5], alone[1][:, 0], atol=1e-6, rtol=1e-6)


def test_positions_follow_the_formula_for_any_length():
    table = sinusoid_positions(4001, 6)
    place, column = 4000, torch.arange(6)
    angle = place / 10000 ** (2 * (column // 2).double() / 6)
    expected = torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
    torch.testing.assert_close(table[place], expected, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_papers_sizes():
    sizes = {name: resolve(PretrainConfig, name).model for name in PAPER}
    count = {
        name: sum(p.numel() for p in TransformerModel(m, 160, 160).encoder.parameters()) for name, m in sizes.items()
    }
    assert round(count[PAPER[0]] / 1e6, 1) == 21.4
    assert round(count[PAPER[1]] / 1e6, 1) == 85.4
    assert resolve(PretrainConfig, PAPER[1]).masking.consecutive_max == 3  # R7: the originals' file said 1


def test_a_model_of_impossible_width_is_refused():
    with pytest.raises(ValueError, match="not a multiple of heads"):
        TransformerConfig(hidden_size=10, heads=3)
