"""Seeds: the numbers of every earlier version, as runs go on from checkpoints and masks of dev stay what they were."""

import numpy as np
import torch

from utility.seeds import numpy_generator, step_seed, text_order, text_seed, utterance_generators


def test_numbers_are_what_they_always_were():
    assert text_seed("123456789") == 0xCBF43926  # the check value of CRC-32
    assert text_seed("é") == 0xE048D3E
    assert step_seed(1337, 5, 2) == 6347850421643909034
    assert numpy_generator(3, 1).integers(1000, size=3).tolist() == [978, 253, 579]
    assert numpy_generator(3, 1, 7).permutation(5).tolist() == [0, 3, 1, 2, 4]
    assert text_order("a").hex()[:16] == "ca978112ca1bbdca"
    assert text_order("a", 2).hex()[:16] == "f2b2fb62577495f1"


def test_an_utterance_draws_the_same_in_any_company():
    alone = torch.rand(3, generator=utterance_generators(["b"])[0])
    company = [torch.rand(3, generator=own) for own in utterance_generators(["a", "b"])]
    assert torch.equal(company[1], alone)
    assert not torch.equal(company[0], alone)
    assert torch.equal(alone, torch.rand(3, generator=torch.Generator().manual_seed(text_seed("b"))))


def test_every_name_counts():
    drawn = [numpy_generator(*names).random() for names in ((1, 2), (2, 1), (1, 2, 0), (1, 2, 3))]
    assert len(set(drawn)) == 3  # NumPy pads names by 0
    assert len({step_seed(*names) for names in np.ndindex(3, 3, 3)}) == 27
