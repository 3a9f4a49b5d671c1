"""Error rates of files that hold what was said beside what was recognised, and Kaldi's lowest ones."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from downstream.outcomes import percentage
from utility.error_rate import AT_ONCE, ErrorCounts, as_characters, as_words, count_all
from utility.files import files_below
from utility.intervals import bootstrap
from utility.labels.trn import read_trn
from utility.text import cut, numbered_lines, short

TRN = ".trn"
LOWEST = 3
NONE = np.empty((0, 4), np.int64)
KALDI = re.compile(r"%WER\s+(\d+(?:\.\d+)?)\s+\[")
Pairs = Iterator[tuple[str, str]]  # reference and hypothesis


def score(files: Sequence[Path]) -> int:
    """Print word and character errors of a table `reference TAB hypothesis`, or of two .trn files."""
    pairs, words, characters = _pairs(files), [NONE], [NONE]
    while some := list(islice(pairs, AT_ONCE)):
        words.append(count_all((as_words(reference), as_words(hypothesis)) for reference, hypothesis in some))
        characters.append(
            count_all((as_characters(reference), as_characters(hypothesis)) for reference, hypothesis in some)
        )
    counted = {"wer": np.concatenate(words), "cer": np.concatenate(characters)}
    where = " and ".join(map(str, files))
    if not len(counted["wer"]):
        raise ValueError(f"{where}: no utterance to score")
    if not counted["cer"][:, :3].any():
        raise ValueError(f"{where}: every reference is empty, and an error rate needs some words")
    print(f"{where}: {len(counted['wer'])} utterances")
    for name, counts in counted.items():
        print(_described(name.upper(), counts))
    print(_means(counted["wer"], counted["cer"]))
    return 0


def _pairs(files: Sequence[Path]) -> Pairs:
    """What the files hold, one utterance after another."""
    kinds = [file.suffix.lower() == TRN for file in files]
    if all(kinds) and len(files) == 2:
        return _paired(*files)
    if len(files) == 1 and not any(kinds):
        return _tabled(files[0])
    raise ValueError(
        f"--score {' '.join(map(str, files))}: expected one table with a reference, a tab and a hypothesis a line, or "
        f"two {TRN} files, that of the references first"
    )


def _tabled(file: Path) -> Pairs:
    """The lines of a table of two columns; or, where its first line names them, the columns of those names."""
    columns, names = (0, 1), 2
    for number, line, reason in numbered_lines(file):
        fields = line.split("\t")
        if number == 1 and {"reference", "hypothesis"} <= set(fields):
            columns, names = (fields.index("reference"), fields.index("hypothesis")), len(fields)
            continue
        if reason or len(fields) != names:
            form = "a reference, a tab and a hypothesis" if names == 2 else f"{names} fields with tabs between them"
            raise ValueError(f"{file}: line {number}: {reason or f'expected {form}, got {short(line)}'}")
        yield fields[columns[0]], fields[columns[1]]


def _paired(references: Path, hypotheses: Path) -> Pairs:
    """The texts of two .trn files that have one id."""
    said = dict(read_trn(references))
    count = len(said)
    for key, text in read_trn(hypotheses):
        if key not in said:
            raise ValueError(f"{hypotheses}: utterance {short(key)} is not in {references}")
        yield said.pop(key), text
    if said:
        raise ValueError(
            f"{hypotheses}: {len(said)} of {count} utterances of {references} are not there, {short(next(iter(said)))} "
            "for one; a line with nothing but (ID) says that nothing was recognised"
        )


def _described(name: str, counts: np.ndarray) -> str:
    total = ErrorCounts.of(counts)
    return (
        f"{name} {total.rate:.2f} %{_interval(counts)}: S {total.substitutions}, D {total.deletions}, "
        f"I {total.insertions} of N {total.reference} (correct {total.correct}); "
        f"{total.wrong} utterances with an error ({total.sentence_rate:.2f} %)"
    )


def _interval(counts: np.ndarray) -> str:
    """95 % of resamples of the utterances, seed 0; nothing where there are too few."""
    sums = np.stack([counts[:, 1:].sum(axis=1), counts[:, :3].sum(axis=1)], 1).astype(np.float64)
    if len(sums) < 2:
        return ""
    try:
        interval = bootstrap(percentage, sums, np.random.default_rng(0))
    except ValueError:  # a resample has empty references alone
        return ""
    return f" [{interval.low:.2f}, {interval.high:.2f}]"


def _means(words: np.ndarray, characters: np.ndarray) -> str:
    """What the originals print: the means of the utterances' own rates."""
    means, empty = [], 0
    for counts in (words, characters):
        reference = counts[:, :3].sum(axis=1)
        empty = int((reference == 0).sum())
        means.append(100 * float((counts[:, 1:].sum(axis=1)[reference > 0] / reference[reference > 0]).mean()))
    without = f" without {empty} empty references" if empty else ""
    return (
        f"mean_wer {means[0]:.2f} %, mean_cer {means[1]:.2f} %: means of the utterances' own rates{without}, as the "
        "originals print them; the rates above are of all utterances together"
    )


def lowest_wer(folder: Path) -> int:
    """Print the lowest word error rates of Kaldi's files `wer_*` below a folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    names = [name for name in files_below(folder) if _is_kaldi(name)]
    rates = sorted((_kaldi_rate(folder / name), name) for name in names)
    if not rates:
        raise ValueError(f"{folder}: no file wer_* of Kaldi's scoring below it")
    lowest = rates[:LOWEST]
    for rate, name in lowest:
        print(f"{rate:.2f} % {folder / name}")
    mean = sum(rate for rate, _ in lowest) / len(lowest)
    print(f"mean of the {len(lowest)} lowest of {len(rates)}: {mean:.2f} %")
    print("where these are of a test set, it chose its own best: such a figure is too low; let a dev set choose")
    return 0


def _is_kaldi(name: str) -> bool:
    *folders, file = name.split("/")
    return file.startswith("wer_") and "wer_details" not in folders  # which has statistics of another form


def _kaldi_rate(file: Path) -> float:
    """The rate in the second line, `%WER 8.23 [ 4330 / 52576, ... ]`."""
    second = list(islice(numbered_lines(file), 1, 2))
    _, line, reason = second[0] if second else (2, "", "")
    match = KALDI.match(line.strip())
    if match is None:
        raise ValueError(
            f"{file}: line 2: expected %WER RATE [ ... ], as Kaldi writes it, got {cut(reason or short(line))}"
        )
    return float(match[1])
