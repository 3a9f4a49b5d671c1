"""What codes of frames tell of phones, from stores of codes alone: no upstream runs.

Every frame whose centre lies in a phone is counted: how often a code and a phone come together, in a table for each
group of utterances. All scores are of such tables (analysis/information.py), so memory does not grow with the corpus.
Of several codebooks each is scored for itself; their mean stands behind them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from analysis.config import AnalysisConfig
from analysis.experiment_names import EXPERIMENTS
from analysis.frame_phones import FramePhones
from analysis.information import Information, perplexity, purities, share_of_labels, table_information
from analysis.material import Utterances, contents, digest, held_by
from analysis.sampling import is_unknown, sample_generator
from analysis.scores import LayerScore, Resampled, difference, kept, layer_row
from mockingjay.upstreams.spec import NAMED
from utility.intervals import jackknife_interval
from utility.labels.alignment import TOLERANCE, Alignment
from utility.labels.phone_sets import SILENCES
from utility.runs import Origin
from utility.store.lists import without_list
from utility.store.reading import Store
from utility.text import cut, short

NAME = "units_phone"
GROUPS = 30  # of utterances or speakers, left out one after another for the interval
ONE, MEAN = "codes", "mean"  # labels of rows: of a single codebook, and of all together
Row = dict[str, Any]


@dataclass(frozen=True)
class CodedSpeech:
    """The codes of one curve, and their times."""

    name: str
    store: Store

    @property
    def codebooks(self) -> int:
        return int(np.prod(self.store.info.row_shape))

    @property
    def size(self) -> int:
        """Codes of a codebook."""
        assert self.store.info.codes is not None, "it is a store of codes"
        return self.store.info.codes

    @property
    def labels(self) -> list[str]:
        """Labels of the rows of the curve."""
        if self.codebooks == 1:
            return [ONE]
        return [*(f"codebook {number + 1}" for number in range(self.codebooks)), MEAN]

    def seconds(self, place: int) -> float:
        """How long an utterance lasts, as its samples say, or else its frames."""
        info, samples = self.store.info, int(self.store.num_samples[place])
        if samples and info.sample_rate:
            return samples / info.sample_rate
        return (info.frame_offset or 0.0) + int(self.store.lengths[place]) * info.frame_shift

    def check(self) -> None:
        """Raise ValueError where frames have no times, or codes do not last as long as their recordings."""
        store, shift = self.store, self.store.info.frame_shift
        if np.isnan(shift):
            raise ValueError(f"{store.names[0]}: its store does not say when a frame is: make the codes again")
        for place in range(len(store)):
            covered, seconds = int(store.lengths[place]) * shift, self.seconds(place)
            if abs(covered - seconds) > TOLERANCE + 2 * shift:
                raise ValueError(
                    f"{store.names[0]}: {cut(store.ids[place])} has {store.lengths[place]} codes, one for {shift:g} s, "
                    f"but lasts {seconds:.3f} s: frame_shift is not that of these codes, make them again"
                )

    def codes(self, utterance: str, codebook: int) -> np.ndarray:
        """The codes of an utterance, int [T]; ValueError for one that is none of the codebook's."""
        place = self.store.index[utterance]
        codes = self.store[place].reshape(int(self.store.lengths[place]), -1)[:, codebook]
        if len(codes) and not 0 <= codes.min() <= codes.max() < self.size:
            wrong = codes[(codes < 0) | (codes >= self.size)][0]
            raise ValueError(
                f"{self.store.names[0]}: {cut(utterance)} has code {wrong}, expected 0 to {self.size - 1}: make the "
                "codes again"
            )
        return codes


@dataclass(frozen=True)
class Counts:
    """How often codes of one codebook and phones come together, [groups, codes, phones] int64; and how often each code
    comes in all frames, [codes] int64."""

    tables: np.ndarray
    every: np.ndarray


class Units:
    """The experiment: stores of codes are opened and checked when it is made; ValueError for what does not fit."""

    def __init__(self, config: AnalysisConfig, seed: int):
        data = config.data
        assert data.alignment is not None, "the need was checked"
        self.seed, self.by = seed, config.cca.group
        if self.by == "sample":
            raise ValueError("cca.group=sample: neighbouring frames are alike: choose utterance or speaker")
        alignment = Alignment(data.alignment)
        self.phones = FramePhones.of(alignment, _phone)
        if len(self.phones.names) < 2:
            raise ValueError(f"data.alignment={data.alignment}: {len(self.phones.names)} phones: at least 2 are needed")
        self.curves = [
            CodedSpeech(name, Store(paths, codes=True)) for name, paths in _named(config.units.store).items()
        ]
        for coded in self.curves:
            coded.check()
        ids = _shared(self.curves, data.unaligned)
        held = held_by(alignment, ids, f"data.alignment={data.alignment}", data.unaligned)
        self.utterances = self._utterances([name for name, there in zip(ids, held) if there], len(ids))
        most = max(coded.size for coded in self.curves)
        mib = 8 * len(np.unique(self.groups)) * most * len(self.phones.names) / 2**20
        if mib > config.cca.memory_mib:
            raise ValueError(
                f"counts of {most} codes and {len(self.phones.names)} phones take {mib:.2f} MiB, and "
                f"cca.memory_mib={config.cca.memory_mib:g} allows less: raise it"
            )

    def _utterances(self, ids: Sequence[str], of: int) -> Utterances:
        store, first = self.curves[0].store, self.curves[0]
        places = np.array([store.index[name] for name in ids], np.int64)
        seconds = np.array([first.seconds(place) for place in places.tolist()])
        speakers = tuple(store.speakers[place] for place in places.tolist())
        shift = max(coded.store.info.frame_shift for coded in self.curves)
        return Utterances(places, tuple(ids), speakers, seconds, shift, of - len(ids))

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of each utterance, int64 [U]: its own or its speaker's, or together with others above GROUPS."""
        places = np.arange(len(self.utterances.ids))
        names, numbers = np.unique(self.utterances.groups(self.by, places), return_inverse=True)
        order = sample_generator(self.seed, f"groups {NAME}").permutation(len(names))
        return np.unique((order % GROUPS)[numbers], return_inverse=True)[1]

    @property
    def names(self) -> list[str]:
        return [coded.name for coded in self.curves]

    def about(self) -> dict[str, Any]:
        """What is counted."""
        here = self.utterances
        return {
            "utterances": len(here.ids),
            "phones": len(self.phones.names),
            "speakers": len(set(here.speakers)),
            "seconds": round(float(here.durations.sum()), 2),
            "left_out": {"utterances without an alignment": here.left_out},
        }

    def origins(self, beside: Path) -> dict[str, Origin]:
        """What the scores were made of, for a result."""
        about = {coded.name: coded.store for coded in self.curves}
        return {
            name: Origin(store.fingerprint(beside), {"paths": store.names, "made_by": store.info.made_by})
            for name, store in about.items()
        }

    def content(self, resamples: int, cache: Path, say: Callable[[str], None]) -> dict[str, Any]:
        """The experiment in result.json. Every score is kept in `cache` as soon as it is there."""
        scores = {coded.name: self._scores(coded, resamples, cache, say) for coded in self.curves}
        entry = EXPERIMENTS[NAME]
        pairs = []
        for one, other in combinations(self.curves, 2):
            ends = one.labels[-1], other.labels[-1]
            made = difference([scores[one.name][-1]], [scores[other.name][-1]])
            if made is not None:
                pairs.append({"one": [one.name, ends[0]], "other": [other.name, ends[1]], **made})
        return {
            "measure": entry.measure,
            "unit": entry.unit,
            "higher_is": "better",
            "shown": "rows",
            "upstreams": {coded.name: self._rows(coded, scores[coded.name]) for coded in self.curves},
            "chance": {name: rows[-1].detail["floor"] for name, rows in scores.items()},
            "ceiling": 1.0,
            "differences": pairs,
            "maps": {},
            "data": [self.about()],
        }

    def _rows(self, coded: CodedSpeech, scores: Sequence[LayerScore]) -> list[Row]:
        rows = enumerate(zip(coded.labels, scores))
        return [layer_row(place, label, [score]) | {"layer": place} for place, (label, score) in rows]

    def _scores(self, coded: CodedSpeech, resamples: int, cache: Path, say: Callable[[str], None]) -> list[LayerScore]:
        """Of each codebook, and of several their mean behind them."""
        files = contents(str(self.phones.alignment.root))
        made_of = coded.store.fingerprint(cache), files, self.utterances.ids, self.groups, self.seed, bool(resamples)
        folder = cache / "scores" / f"{NAME}_{digest(*made_of)}"
        scores = []
        for codebook in range(coded.codebooks):

            def make(codebook: int = codebook) -> LayerScore:
                say(f"{NAME} {coded.name}: codebook {codebook + 1} of {coded.codebooks}")
                return self.score(self.count(coded, codebook), resamples, codebook)

            scores.append(kept(folder / f"{codebook}.json", make))
        return scores if len(scores) == 1 else [*scores, _mean(scores)]

    def count(self, coded: CodedSpeech, codebook: int) -> Counts:
        """One pass over the codes of a codebook."""
        groups = int(self.groups.max()) + 1
        tables = np.zeros((groups, coded.size, len(self.phones.names)), np.int64)
        every = np.zeros(coded.size, np.int64)
        for name, group in zip(self.utterances.ids, self.groups.tolist()):
            codes, place = coded.codes(name, codebook), coded.store.index[name]
            phones = self.phones.labels(name, coded.store.info.frame_times(len(codes)), coded.seconds(place))
            spoken = phones >= 0
            np.add.at(tables[group], (codes[spoken], phones[spoken]), 1)
            every += np.bincount(codes, minlength=coded.size)
        return Counts(tables, every)

    def score(self, counts: Counts, resamples: int, codebook: int) -> LayerScore:
        """The score of one codebook, its interval by leaving out one group at a time."""
        whole = counts.tables.sum(0)
        found = table_information(whole, sample_generator(self.seed, f"{NAME} {codebook}"), num_clusters=len(whole))
        detail = _details(found) | {
            "codes": len(whole),
            "codes_in_use": int((counts.every > 0).sum()),  # in all frames, silence too
            "code_perplexity": perplexity(counts.every),
            "code_entropy_bits": float(np.log2(perplexity(counts.every))),
            "frames": int(counts.every.sum()),
        }
        without = [whole - table for table in counts.tables]
        values = tuple(map(share_of_labels, without))
        if not resamples or len(without) < 2 or not np.isfinite(values).all():
            return LayerScore.of(found.mi_normalised, found.tokens, None, detail=detail, notes=found.notes)
        for key, score, others in zip(
            ("phone_purity", "cluster_purity"), purities(whole), np.array(list(map(purities, without))).T
        ):
            interval = jackknife_interval(score, others)
            detail[f"{key}_interval"] = [interval.low, interval.high]
        key = digest(NAME, self.utterances.ids, self.groups)
        resampled = Resampled("jackknife", key, len(without), values)
        return LayerScore.of(found.mi_normalised, found.tokens, resampled, detail=detail, notes=found.notes)


def _phone(label: str) -> str | None:
    """The phone of a label of an alignment; None for silence, and for what nobody could transcribe."""
    return None if label.lower() in SILENCES or is_unknown(label) else label


def _named(listed: Sequence[str]) -> dict[str, list[str]]:
    """The splits of each curve; ValueError where two folders would share a name."""
    curves: dict[str, list[str]] = {}
    folders: dict[str, Path] = {}
    for text in listed:
        named = NAMED.fullmatch(text)
        path = named[2] if named else text
        folder = without_list(path)[0].parent
        name = named[1] if named else folder.name or path
        if folders.setdefault(name, folder) != folder:
            raise ValueError(
                f"units.store: {folders[name]} and {folder} would both be called {name}: write NAME={cut(path)}"
            )
        curves.setdefault(name, []).append(path)
    return curves


def _shared(curves: Sequence[CodedSpeech], unaligned: str) -> list[str]:
    """The utterances that all stores have; ValueError where one lacks some that another has, unless these may be left
    out."""
    first = curves[0].store
    there = set(first.ids)
    for coded in curves[1:]:
        other = coded.store.index.keys()
        if there != other and unaligned == "error":
            one = min(there ^ other)
            lacks = coded.name if one in there else curves[0].name
            raise ValueError(
                f"{curves[0].name} and {coded.name} are not of the same utterances: {lacks} lacks {short(one)} for "
                "one: make codes of all, or say data.unaligned=leave_out"
            )
        there &= other
    if not there:
        raise ValueError(f"{' and '.join(coded.name for coded in curves)} have no utterance in common")
    return [name for name in first.ids if name in there]


def _details(found: Information) -> dict[str, Any]:
    return {key: value for key, value in asdict(found).items() if key != "notes"}


def _mean(scores: Sequence[LayerScore]) -> LayerScore:
    """The mean of codebooks, resampled by the same groups."""
    detail = {
        key: float(np.mean([one.detail[key] for one in scores]))
        for key, value in scores[0].detail.items()
        if not isinstance(value, list)
    }
    known = [one.resampled for one in scores if one.resampled is not None]
    resampled = None
    if len(known) == len(scores):
        values = np.mean([one.values for one in known], axis=0)
        resampled = Resampled("jackknife", known[0].key, known[0].groups, tuple(values.tolist()))
    score = float(np.mean([one.score for one in scores]))
    notes = tuple(dict.fromkeys(note for one in scores for note in one.notes if "interval" not in note))
    trials = tuple(one.score for one in scores)
    return LayerScore.of(score, scores[0].samples, resampled, detail=detail, notes=notes, per_trial=trials)
