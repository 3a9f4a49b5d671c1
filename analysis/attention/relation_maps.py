"""Phoneme relation maps: which phones a head looks at from which (Yang et al. 2020, arXiv 2006.03265)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.attention.maps import RunningMean, checked_blocks

UNLABELLED = -1  # of a frame without a phone, such as one in padding or in an interval without a label


@dataclass(frozen=True)
class PhoneRelations:
    """How much attention goes from each phone to each phone, against what uniform attention would give.

    `joint` [L, H, P, P]: P'[m, n] = E_u[(1/T) Σ_q Σ_k 1(y_q = m) 1(y_k = n) A[q, k]], query's phone first.
    `baseline` [P, P]: P_U, the same with A = 1/T. `relation` = (joint - baseline)/baseline, NaN for a pair of phones
    that never meet in an utterance. `concentration` [L, H, P]: its mean over the query's phones without the NaN,
    NaN for a phone that never occurs: above 0 the head focuses on the phone, below 0 it neglects it."""

    joint: np.ndarray
    baseline: np.ndarray
    relation: np.ndarray
    concentration: np.ndarray


class RelationMaps:
    """Relation maps over a corpus, utterance by utterance; it holds sums only.

    The published equation divides by T², its authors corrected it to T: then `joint` sums to 1."""

    def __init__(self, num_phones: int) -> None:
        self.num_phones = num_phones
        self._joint, self._baseline = RunningMean(), RunningMean()

    def add(self, blocks: Iterable[np.ndarray], phones: np.ndarray) -> None:
        """Count one utterance: blocks of rows [L, H, n, T] of its map, and the phones [T·r] of its raw frames, r frames
        to a stacked one; -1 is a frame without a phone.

        The map counts as up-sampled by r. Frames without a phone are left out of T, of queries and of keys, and what is
        left of a row is divided by its sum. An utterance without any phone is not counted. ValueError for labels that
        do not divide into the map's frames, or lie outside the phones."""
        counts, joint = np.zeros(()), np.zeros(())
        for first, rows in checked_blocks(blocks):
            if not counts.ndim:
                counts = self._counts(phones, rows.shape[-1])  # [T, P]
            keys = rows @ counts  # [L, H, n, P]
            labelled = keys.sum(axis=-1, keepdims=True)
            shares = np.divide(keys, labelled, out=np.zeros_like(keys), where=labelled > 0)
            joint = joint + counts[first : first + rows.shape[2]].T @ shares  # [L, H, P, P]
        total = counts.sum()
        if total:
            phone_shares = counts.sum(axis=0) / total
            self._joint.add(joint / total)
            self._baseline.add(np.outer(phone_shares, phone_shares))

    @property
    def num_utterances(self) -> int:
        """How many were counted."""
        return self._joint.count

    def result(self) -> PhoneRelations:
        """The maps of all utterances so far; ValueError before the first one with a phone."""
        joint, baseline = self._joint.mean(), self._baseline.mean()
        known = baseline > 0
        relation = np.divide(joint - baseline, baseline, out=np.full(joint.shape, np.nan), where=known)
        pairs = known.sum(axis=0)  # [P]
        sums = np.where(known, relation, 0).sum(axis=-2)
        concentration = np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)
        return PhoneRelations(joint, baseline, relation, concentration)

    def _counts(self, phones: np.ndarray, frames: int) -> np.ndarray:
        """How many raw frames of each stacked frame have each phone, [T, P]: all that up-sampling needs."""
        if phones.ndim != 1 or not len(phones) or len(phones) % frames:
            raise ValueError(f"labels of shape {phones.shape} for {frames} frames of attention: expected r·{frames}")
        if phones.min() < UNLABELLED or phones.max() >= self.num_phones:
            raise ValueError(
                f"a label is {phones.min()} or {phones.max()}: expected 0 to {self.num_phones - 1}, or {UNLABELLED}"
            )
        stacked = np.repeat(np.arange(frames), len(phones) // frames)
        known = phones != UNLABELLED
        counts = np.zeros((frames, self.num_phones))
        np.add.at(counts, (stacked[known], phones[known]), 1)
        return counts
