"""N-gram models of texts in ARPA's form, which KenLM and the decoders built on it read.

Smoothing is Witten and Bell's, interpolated (Chen and Goodman, "An empirical study of smoothing techniques", 1998,
section 2.5): with c(h) tokens and T(h) different words seen after the context h,

    P(w|h) = (c(hw) + T(h) P(w|h')) / (c(h) + T(h)),        h' = h without its first word,

down to single words, which are interpolated with the uniform distribution over all words, `</s>` and `<unk>`. So every
context's probabilities sum to 1, and the back-off weight of h is T(h) / (c(h) + T(h)). It needs no counts of counts,
which small corpora lack."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from utility.text import short

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
HIGHEST_ORDER = 9
WRITTEN_AT_ONCE = 10000
NEVER = -99.0  # the logarithm of a probability of 0, as ARPA files have it


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one order: where each stands in the tokens for the first time (single words: its number), and what
    the file says of it.

    `first`, `probability` and `backoff` are [G], the latter two plain numbers; `backoff` is 1 where nothing follows."""

    order: int
    first: np.ndarray
    probability: np.ndarray
    backoff: np.ndarray


def write_arpa(file: TextIO, texts: Iterable[str], order: int) -> list[int]:
    """Count the n-grams of texts, words between single blanks, and write the model; how many n-grams of each order.

    ValueError for texts that use the words of the form itself, for none, and an order out of range."""
    if not 1 <= order <= HIGHEST_ORDER:
        raise ValueError(f"order {order} of n-grams: expected 1 to {HIGHEST_ORDER}")
    words, tokens = _tokens(texts)
    model = _estimate(tokens, len(words), order)
    file.write("\\data\\\n")
    for grams in model:
        file.write(f"ngram {grams.order}={len(grams.first)}\n")
    for grams in model:
        file.write(f"\n\\{grams.order}-grams:\n")
        _write_grams(file, grams, words, tokens, last=grams.order == order)
    file.write("\n\\end\\\n")
    return [len(grams.first) for grams in model]


def _write_grams(file: TextIO, grams: NGrams, words: Sequence[str], tokens: np.ndarray, last: bool) -> None:
    for begin in range(0, len(grams.first), WRITTEN_AT_ONCE):
        some = slice(begin, begin + WRITTEN_AT_ONCE)
        with np.errstate(divide="ignore"):
            chances = np.maximum(np.log10(grams.probability[some]), NEVER).tolist()
            weights = np.log10(grams.backoff[some]).tolist()
        places = grams.first[some, None] + np.arange(grams.order)  # [some, order]
        codes = tokens[places] if grams.order > 1 else places
        for chance, weight, gram in zip(chances, weights, codes.tolist()):
            text = " ".join([words[code] for code in gram])
            plain = last or gram[-1] == 1  # nothing follows
            file.write(f"{chance:.7f}\t{text}\n" if plain else f"{chance:.7f}\t{text}\t{weight:.7f}\n")


def _tokens(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """The words, `<s>`, `</s>` and `<unk>` first and the others sorted, and all texts as their numbers, int32 [N]."""
    codes = {BEGIN: 0, END: 1, UNKNOWN: 2}
    stream = array("i")
    for text in texts:
        stream.append(0)
        for word in text.split(" "):
            code = codes.setdefault(word, len(codes))
            if code < 3:
                raise ValueError(f"a text holds {short(word)}, which is a word of ARPA's form: remove it")
            stream.append(code)
        stream.append(1)
    if not stream:
        raise ValueError("no texts to count n-grams of")
    seen = list(codes)
    words = [*seen[:3], *sorted(seen[3:])]
    rank = np.empty(len(words), np.int32)
    rank[[codes[word] for word in words]] = np.arange(len(words), dtype=np.int32)
    return words, rank[np.frombuffer(stream, np.int32)]


def _estimate(tokens: np.ndarray, num_words: int, order: int) -> list[NGrams]:
    counts = np.bincount(tokens, minlength=num_words).astype(np.float64)
    counts[0] = 0  # a text's beginning is given, never predicted
    seen = np.count_nonzero(counts)
    probability = (counts + seen / (num_words - 1)) / (counts.sum() + seen)  # uniform over all but <s>
    probability[0] = 0
    model = [NGrams(1, np.arange(num_words), probability, np.ones(num_words))]
    starts = np.arange(len(tokens))  # of the n-grams of the order at hand, all their places
    which = tokens.astype(np.int64)  # and which of them stands there
    for length in range(2, order + 1):
        at = np.full(len(tokens), -1, np.int64)
        at[starts] = which
        going_on = tokens[starts + length - 2] != 1  # nothing follows the end of a text
        starts, which = starts[going_on], which[going_on]
        keys, first, which, times = np.unique(
            which * num_words + tokens[starts + length - 1], return_index=True, return_inverse=True, return_counts=True
        )
        context, first = keys // num_words, starts[first]
        shorter = model[-1]
        total = np.bincount(context, times, len(shorter.first))  # c(h) [contexts]
        kinds = np.bincount(context, minlength=len(shorter.first))  # T(h) [contexts]
        rest = shorter.probability[at[first + 1]]  # P(w|h') [n-grams]
        probability = (times + kinds[context] * rest) / (total + kinds)[context]
        followed = kinds > 0
        shorter.backoff[followed] = kinds[followed] / (total + kinds)[followed]
        model.append(NGrams(length, first, probability, np.ones(len(first))))
    return model
