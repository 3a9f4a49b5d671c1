"""The model: a batch gives what single utterances give, down to one frame, at both rates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mockingjay.config import PretrainConfig
from mockingjay.masking import alter
from mockingjay.model import MaskedModel, masked_loss
from mockingjay.transformer import TransformerConfig, sinusoid_positions, stack_frames, unstack_states
from mockingjay.upstream import TransformerUpstream
from utility.config import resolve

PAPER = ("config/mockingjay_libri.yaml", "config/mockingjay_libri_linearLarge.yaml")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def small(name):
    """A paper's config with its depth, rate and masks, at a width that a test can afford."""
    config = resolve(PretrainConfig, name, ["model.hidden_size=24", "model.heads=3", "model.ffn_size=48"])
    torch.manual_seed(0)
    target = 17 if config.data.target else 10
    model = MaskedModel(config.model, 10, target).eval()
    for parameter in model.parameters():  # larger than at the start, so that every term matters
        torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    return config, model, target


MODELS = {name: small(name) for name in PAPER}


def padded(lengths, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(length, size, generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(lengths)


@pytest.mark.parametrize("name", PAPER)
@settings(deadline=None, max_examples=25)
@given(lengths=LENGTHS)
def test_hidden_states_prediction_and_loss_of_a_batch_are_those_of_its_utterances(name, lengths):
    config, model, target_size = MODELS[name]
    features, lengths = padded(lengths, 10)
    truth, _ = padded(lengths.tolist(), target_size, seed=1)
    upstream = TransformerUpstream(model, None, 0.0125).eval()
    with torch.no_grad():
        together, total, count = upstream(features, lengths), 0.0, 0.0
        batch = masked(model, config, features, truth, lengths, range(len(lengths)))
        for row, length in enumerate(lengths.tolist()):
            own = lengths[row : row + 1]
            alone = upstream(features[row : row + 1, :length], own)
            assert len(alone) == config.model.layers + 1
            for one, many in zip(alone, together):
                assert one.shape == (1, length, 24)
                torch.testing.assert_close(one[0], many[row, :length], atol=1e-5, rtol=1e-5)
                assert not many[row, length:].any()
            single = masked(model, config, features[row : row + 1, :length], truth[row : row + 1, :length], own, [row])
            total, count = total + single.total, count + single.count
    assert batch.count == count
    torch.testing.assert_close(batch.total, torch.as_tensor(total), atol=1e-5, rtol=1e-5)


def masked(model, config, features, truth, lengths, seeds):
    stacked, stacked_lengths = model.stack(features, lengths)
    altered = alter(stacked, stacked_lengths, config.masking, [torch.Generator().manual_seed(s) for s in seeds])
    prediction = model.predict(altered.inputs, stacked_lengths).prediction
    return masked_loss(prediction, model.stack(truth, lengths)[0], altered)


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


def test_maps_are_the_attention_that_the_model_uses():
    _, model, _ = MODELS[PAPER[0]]
    features, lengths = padded([7], 10)
    with torch.no_grad():
        states = model(features, lengths).hidden_states
        weights = model.encoder.attention_maps(features, lengths)[0]
        attention = model.encoder.blocks[0].attention
        value = attention._heads(states[0])[2]
        mixed = attention.output((weights @ value).transpose(1, 2).flatten(2))
        real = torch.ones(1, 7, dtype=torch.bool)
        torch.testing.assert_close(mixed, attention(states[0], real), atol=1e-5, rtol=1e-5)


def test_positions_follow_the_formula_for_any_length():
    table = sinusoid_positions(4001, 6)
    place, column = 4000, torch.arange(6)
    angle = place / 10000 ** (2 * (column // 2).double() / 6)
    expected = torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
    torch.testing.assert_close(table[place], expected, atol=1e-6, rtol=0)


def test_papers_sizes():
    sizes = {name: resolve(PretrainConfig, name).model for name in PAPER}
    count = {name: sum(p.numel() for p in MaskedModel(m, 160, 160).encoder.parameters()) for name, m in sizes.items()}
    assert round(count[PAPER[0]] / 1e6, 1) == 21.4
    assert round(count[PAPER[1]] / 1e6, 1) == 85.4
    assert resolve(PretrainConfig, PAPER[1]).masking.consecutive_max == 3  # R7: the originals' file said 1


def test_a_model_of_impossible_width_is_refused():
    with pytest.raises(ValueError, match="not a multiple of heads"):
        TransformerConfig(hidden_size=10, heads=3)
