"""Masking: exact counts, whole spans, never padding, the same for any batch when each utterance has its generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mockingjay.objectives import masking
from mockingjay.objectives.loss import masked_loss
from mockingjay.objectives.masking import MaskingConfig, alter, each_alteration

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=5)
CONFIGS = [
    MaskingConfig(),
    MaskingConfig(consecutive_min=1, consecutive_max=1),
    MaskingConfig(consecutive_min=2),
    MaskingConfig(allow_overlap=False),
    MaskingConfig(frequency=2),
    MaskingConfig(proportion=0, frequency=9),
]


def frames(lengths, size=3):
    generator = torch.Generator().manual_seed(len(lengths))
    features = torch.rand(len(lengths), max(lengths), size, generator=generator) + 1
    lengths = torch.tensor(lengths)
    return features * (torch.arange(features.shape[1]) < lengths[:, None])[..., None], lengths


def generators(count):
    return [torch.Generator().manual_seed(7 * index) for index in range(count)]


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.sampled_from(CONFIGS), st.integers(0, 99))
def test_padding_is_never_chosen_and_frames_left_alone_are_untouched(lengths, config, seed):
    features, lengths = frames(lengths)
    altered = alter(features, lengths, config, torch.Generator().manual_seed(seed))
    padding = torch.arange(features.shape[1]) >= lengths[:, None]
    assert altered.mask.shape == features.shape
    assert not altered.mask[padding].any()
    assert torch.equal(altered.inputs[~altered.mask], features[~altered.mask])


@pytest.mark.parametrize("span", [1, 7])
def test_all_frames_of_each_span_are_chosen(span):  # R7: the original counted the first frame of each only
    features, lengths = frames([400])
    config = MaskingConfig(consecutive_min=span, consecutive_max=span)
    count = round(400 * config.proportion / span)
    for seed in range(20):
        mask = alter(features, lengths, config, torch.Generator().manual_seed(seed)).mask[0, :, 0]
        edges = torch.diff(mask.int(), prepend=torch.tensor([0]), append=torch.tensor([0]))
        runs = (edges == -1).nonzero().ravel() - (edges == 1).nonzero().ravel()
        assert runs.min() >= span
        assert len(runs) <= count
        assert span <= mask.sum() <= count * span
        if span == 1:
            assert mask.sum() == count


def test_one_die_per_utterance_zeroes_replaces_or_leaves():
    features, lengths = frames([300] * 400)
    altered = alter(features, lengths, MaskingConfig(), torch.Generator().manual_seed(0))
    mask = altered.mask[..., 0]
    kinds = {"zero": 0, "same": 0, "replaced": 0}
    for row in range(len(mask)):
        seen, true = altered.inputs[row][mask[row]], features[row][mask[row]]
        if not seen.any():
            kinds["zero"] += 1
        elif torch.equal(seen, true):
            kinds["same"] += 1
        else:
            kinds["replaced"] += 1
            rows = {tuple(frame) for frame in features[row].tolist()}
            assert {tuple(frame) for frame in seen.tolist()} <= rows  # other frames of the same utterance
    assert 290 < kinds["zero"] < 350
    assert 20 < kinds["same"] < 65
    assert 20 < kinds["replaced"] < 65


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.sampled_from(CONFIGS))
def test_with_a_generator_each_an_utterance_is_masked_alike_in_any_batch(lengths, config):
    features, lengths = frames(lengths)
    together = alter(features, lengths, config, generators(len(lengths)))
    for row, length in enumerate(lengths.tolist()):
        own = generators(len(lengths))[row : row + 1]
        alone = alter(features[row : row + 1, :length], lengths[row : row + 1], config, own)
        assert torch.equal(alone.mask[0], together.mask[row, :length])
        assert torch.equal(alone.inputs[0], together.inputs[row, :length])


def test_a_silent_frame_is_masked_like_any_other():  # R8: lengths were inferred from frames whose sum is not zero
    features, lengths = frames([200])
    silent = features.clone()
    silent[:, 20:60] = 0
    seed = torch.Generator().manual_seed
    assert torch.equal(
        alter(features, lengths, MaskingConfig(), seed(1)).mask, alter(silent, lengths, MaskingConfig(), seed(1)).mask
    )


@pytest.mark.parametrize(("bad", "said"), [({"consecutive_min": 9}, "exceeds"), ({"replace": 0.3}, "more than 1")])
def test_impossible_settings_are_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        MaskingConfig(**bad)


def test_spans_without_overlap_keep_their_distance():
    features, lengths = frames([400] * 20)
    config = MaskingConfig(allow_overlap=False, replace=0.2)
    mask = alter(features, lengths, config, torch.Generator().manual_seed(0)).mask[..., 0]
    for row in mask:
        edges = torch.diff(row.int(), prepend=torch.tensor([0]), append=torch.tensor([0]))
        starts, stops = (edges == 1).nonzero().ravel(), (edges == -1).nonzero().ravel()
        assert set((stops - starts).tolist()) == {7}
        assert set((starts.diff() % 8).tolist()) == {0}  # a grid of round(7 * 1.2) frames
        assert len(starts) == round(400 * 0.15 / 7)


def test_frequency_hides_one_band_over_all_real_frames():
    features, lengths = frames([30, 12] * 150, size=20)
    config = MaskingConfig(proportion=0, frequency=8)
    altered = alter(features, lengths, config, torch.Generator().manual_seed(0))
    widths, first = [], []
    for row, length in enumerate(lengths.tolist()):
        band = altered.mask[row, 0]
        assert torch.equal(altered.mask[row, :length], band.expand(length, -1))
        assert not altered.mask[row, length:].any()
        assert not altered.inputs[row][altered.mask[row]].any()
        widths.append(int(band.sum()))
        if widths[-1]:
            first.append(int(band.nonzero()[0]))
            assert band.nonzero()[-1] - band.nonzero()[0] + 1 == widths[-1]  # neighbours
    assert set(widths) == set(range(9))
    assert min(first) == 0
    assert max(first) > 10


def test_noise_is_heard_by_its_share_of_the_utterances_and_not_predicted():  # R36: the original's noise never came
    features, lengths = frames([80, 50] * 100, size=20)
    config = MaskingConfig(noise=0.3, noise_deviation=0.2)
    plain = alter(features, lengths, MaskingConfig(), torch.Generator().manual_seed(0))
    noisy = alter(features, lengths, config, torch.Generator().manual_seed(0))
    assert torch.equal(plain.mask, noisy.mask)
    change = noisy.inputs - plain.inputs
    padding = torch.arange(80) >= lengths[:, None]
    assert not change[padding].any()
    heard = change.flatten(1).any(1)
    assert 40 < heard.sum() < 80
    real = change[heard][~padding[heard]]
    assert abs(float(real.std()) - 0.2) < 0.005
    assert abs(float(real.mean())) < 0.005


def test_magnitude_alone_is_predicted_everywhere():
    features, lengths = frames([9, 4])
    altered = alter(features, lengths, MaskingConfig(proportion=0, noise=1.0), torch.Generator().manual_seed(0))
    assert altered.mask.sum() == (9 + 4) * 3
    assert not altered.mask[1, 4:].any()


@pytest.mark.parametrize("chosen", [0, 1, 2, 6])
def test_the_loss_is_the_mean_over_the_chosen_elements(chosen):
    prediction, truth = torch.arange(6.0).view(1, 2, 3), torch.full((1, 2, 3), 10.0)
    mask = torch.arange(6).view(1, 2, 3) < chosen
    found = masked_loss(prediction, truth, mask)
    errors = [10.0 - value for value in range(chosen)]
    assert (float(found.total), int(found.count)) == (sum(errors), chosen)
    assert float(found.mean()) == (sum(errors) / chosen if chosen else 0.0)


def test_a_target_of_another_size_counts_wholly_where_anything_is_hidden():
    mask = torch.zeros(1, 3, 2, dtype=torch.bool)
    mask[0, 1, 0] = True
    found = masked_loss(torch.zeros(1, 3, 5), torch.full((1, 3, 5), 2.0), mask)
    assert (float(found.total), int(found.count), float(found.mean())) == (10.0, 5, 2.0)


def test_each_alteration_is_shown_alone():
    features, lengths = frames([90, 70], size=20)
    real = (torch.arange(90) < lengths[:, None])[..., None].expand_as(features)
    found = {
        name: alter(features, lengths, config, torch.Generator().manual_seed(0))
        for name, config in each_alteration(MaskingConfig(noise=0.5)).items()
    }
    changed = {name: altered.inputs != features for name, altered in found.items()}
    for name in ("time", "replaced"):
        chosen = found[name].mask.any(-1)
        assert 0 < chosen.sum() < real[..., 0].sum()
        assert torch.equal(changed[name].any(-1), chosen)
    assert not found["time"].inputs[found["time"].mask].any()
    assert found["replaced"].inputs[found["replaced"].mask].all()
    band = changed["frequency"].any(1)
    assert torch.equal(changed["frequency"], band[:, None] & real)
    assert torch.equal(changed["noise"], real)
    assert torch.equal(found["noise"].mask, real)  # no span, no band: all of it is predicted


@pytest.mark.parametrize("fill", ["zeros", "noise"])
@pytest.mark.parametrize(("size", "lengths"), [(16, [9, 30, 4, 30, 11, 7]), (3, [9, 30, 4, 30, 11, 7]), (1, [3, 2])])
@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("own", [False, True])
def test_noise_of_those_that_get_none_is_not_drawn_and_all_else_is_as_if_it_were(fill, size, lengths, chance, own):
    """All of it was made and sent. Masks of a seed must not change: what is drawn elsewhere stays what it was."""
    config = MaskingConfig(proportion=0.4, noise=chance, fill=fill)
    features, lengths = frames(lengths, size)
    seen = []
    for seed in range(12):
        made = [torch.Generator().manual_seed(100 * seed + index) for index in range(len(lengths) if own else 1)]
        draws = masking._Draws.make(lengths, features.shape[1:], config, made if own else made[0]).to(
            torch.device("cpu")
        )
        again = [torch.Generator().manual_seed(100 * seed + index) for index in range(len(made))]
        rows = lengths.tolist() if own else [features.shape[1]]
        for first, (generator, count) in enumerate(zip(again, rows)):
            utterances = slice(first, first + 1) if own else slice(None)
            number = 1 if own else len(lengths)
            torch.rand(2, number, count, generator=generator)
            torch.randint(config.consecutive_min, config.consecutive_max + 1, (number,), generator=generator)
            noise_die = torch.rand(4, number, generator=generator)[3]
            torch.randint(1, (number,), generator=generator)
            noise = torch.randn(number, count, size if chance else 1, generator=generator)
            filling = torch.randn(number, count, size, generator=generator) if fill == "noise" else None
            noisy = noise_die < chance
            seen += noisy.tolist()
            assert torch.equal(draws.noise_die[utterances], noise_die)
            assert torch.equal(draws.noise[utterances, :count][noisy], noise[noisy])
            assert not draws.noise[utterances][~noisy].any()
            assert filling is None or torch.equal(draws.fill[utterances, :count], filling)
    assert set(seen) == {0.0: {False}, 0.3: {False, True}, 1.0: {True}}[chance]
