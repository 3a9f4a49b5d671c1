"""The likeliest unit of each step, and what remains of them: the fastest reading of CTC's outputs."""

import torch
from torch import Tensor

from utility.batches import real_frames


def greedy(scores: Tensor, lengths: Tensor) -> list[list[int]]:
    """Codes of each utterance, without blanks (0), of scores [B, S, V] at so many steps (`lengths` [B]).

    Equal neighbours become one before blanks leave: `A blank A` stays `A A`. The legacy solver dropped blanks first,
    and lost every double letter. Of equal scores the lowest code wins."""
    best = scores.argmax(-1)  # [B, S]
    new = torch.ones_like(best, dtype=torch.bool)
    new[:, 1:] = best[:, 1:] != best[:, :-1]
    kept = new & (best != 0) & real_frames(lengths, best.shape[1])
    return [row[mask].tolist() for row, mask in zip(best.cpu(), kept.cpu())]
