"""What makes texts of the outputs of recognition: a decoder for each method of the config."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from downstream.config import DecodeConfig
from downstream.decoding.beam import search
from downstream.decoding.greedy import greedy
from downstream.labels.units import Units

# Outputs of one utterance, natural logarithms [T, V], to texts and their scores, the best one first.
Decoder = Callable[[np.ndarray], list[tuple[str, float]]]


def make_decoder(config: DecodeConfig, units: Units, words: Sequence[str] | None = None) -> Decoder:
    """The decoder of a config; `words` are those of the training texts, for a lexicon that the config does not name.

    ValueError where method and units do not go together, or a lexicon or a language model cannot be used."""
    config.check()
    if config.method == "greedy":
        return partial(_greedy, units)
    if config.method == "beam":
        return partial(_beam, config, units)
    from downstream.decoding.lexicon import LexiconDecoder, read_words  # its package need not be there

    known = words if config.lexicon is None else read_words(config.lexicon)
    assert known is not None, "recognition knows the words of its training texts"
    return LexiconDecoder(config, units, known)


def decode_batch(decoder: Decoder, emissions: Tensor, lengths: Tensor) -> Iterator[list[tuple[str, float]]]:
    """What a decoder makes of each utterance of a batch [B, T, V]; steps beyond the lengths [B] are not looked at."""
    rows = emissions.detach().to("cpu", torch.float32).numpy()
    for row, length in zip(rows, lengths.tolist()):
        yield decoder(row[:length])


def _greedy(units: Units, emissions: np.ndarray) -> list[tuple[str, float]]:
    """The likeliest path."""
    codes = greedy(torch.from_numpy(emissions)[None], torch.tensor([len(emissions)]))[0]
    return [(units.text(codes), float(emissions.max(axis=1, initial=-np.inf).sum(dtype=np.float64)))]


def _beam(config: DecodeConfig, units: Units, emissions: np.ndarray) -> list[tuple[str, float]]:
    found = search(emissions, config.beam, config.threshold, config.beam)
    return list(islice(_once((units.text(codes), score) for codes, score in found), config.nbest))


def _once(texts: Iterator[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Each text with its best score: several sequences of units spell one where blanks stand at an end."""
    seen: set[str] = set()
    for text, score in texts:
        if text not in seen:
            seen.add(text)
            yield text, score
