"""Texts of a corpus, normalised and written as one folder; n-grams and vocabularies of them."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from preprocess.parts.text_formats import Line, find_texts, read_texts
from preprocess.parts.text_targets import TargetFlags, encoder, sentencepiece_or_refuse, write_encoded
from utility.arpa import write_arpa
from utility.files import check_folder, replacing
from utility.labels.alignment import ERRORS
from utility.labels.normalisation import Case, Digits, Normalisation
from utility.labels.texts import ENCODED, TextInfo, check_text, text_folder, write_text_files
from utility.tables import table_bytes
from utility.text import cut, short

ERROR_COLUMNS = ("path", "line", "id", "reason")
SHOWN = 60  # characters printed with their counts


@dataclass(frozen=True, kw_only=True)
class TextFlags:
    """Which texts become which folder; `name` None is made of `data_path`."""

    data_path: Path
    output_path: Path
    name: str | None
    format: str
    text_column: str
    case: Case
    keep_characters: str | None
    digits: Digits
    fit_splits: Sequence[str]
    arpa: Path | None
    order: int
    target: TargetFlags | None
    dry_run: bool


@dataclass
class Collected:
    """What was read: (id, text) sorted by id, those of them that vocabularies and n-grams are made of, and errors."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    fitted: list[str] = field(default_factory=list)
    errors: list[tuple[str, int, str, str]] = field(default_factory=list)
    splits: set[str] = field(default_factory=set)


def make_texts(flags: TextFlags) -> int:
    """Write the texts; 1 when some could not be used, which errors.csv lists with the reason; else 0."""
    path = flags.data_path.expanduser()
    normalise = Normalisation(case=flags.case, keep_characters=flags.keep_characters, digits=flags.digits)
    form, files = find_texts(path, flags.format)
    root = flags.output_path.expanduser() / (flags.name or f"{path.resolve().stem}_text")
    arpa = flags.arpa and flags.arpa.expanduser()
    _check_places(root, arpa)
    if flags.target and flags.target.target == "subword":
        sentencepiece_or_refuse()
    found = collect(read_texts(form, files, flags.text_column), normalise, flags.fit_splits)
    _check_found(path, found, flags.fit_splits)
    fitted = found.fitted if flags.fit_splits else [text for _, text in found.texts]
    made = flags.target and encoder(flags.target, found.texts, fitted)
    if flags.dry_run:
        print(f"data:\n  {len(files)} files of form {form}: {len(found.texts)} texts, {len(found.errors)} not usable")
        print(f"dry run: nothing is written; the output would go to {root}")
        return 0
    notes = []
    with ExitStack() as stack:
        folder = stack.enter_context(text_folder(root))
        if made:
            encoded, errors = write_encoded(folder, made, found.texts)
            found.errors += errors
            notes.append(f"{root / ENCODED}: {encoded} sequences of {len(made.vocabulary)} units")
        target = flags.target.target if flags.target else None
        fit_splits = sorted(set(flags.fit_splits))
        info = TextInfo(
            format=form, normalisation=normalise, left_out=len(found.errors), target=target, fitted=fit_splits
        )
        info = write_text_files(folder, found.texts, info)
        if found.errors:
            (folder / ERRORS).write_bytes(table_bytes(ERROR_COLUMNS, found.errors))
        if arpa:
            with stack.enter_context(replacing(arpa)).open("w", encoding="utf-8") as file:
                counts = write_arpa(file, fitted, flags.order)
            notes.append(f"{arpa}: {', '.join(f'{count} {order}-grams' for order, count in enumerate(counts, 1))}")
    print(f"{root}: {info.utterances} texts, {info.words} words, {info.characters} characters")
    print("\n".join([_characters(found.texts), *notes]))
    if found.errors:
        file_, line, key, reason = found.errors[0]
        first = f"{file_}: line {line}: {reason}" if line else f"{cut(key)}: {reason}"
        print(f"{len(found.errors)} not used, see {root / ERRORS}; the first: {first}", file=sys.stderr)
    return 1 if found.errors else 0


def _check_found(path: Path, found: Collected, fit_splits: Sequence[str]) -> None:
    if not found.texts:
        file, line, _, reason = found.errors[0] if found.errors else (path, 1, "", "holds no text")
        count = f"{len(found.errors)} error{'s' if len(found.errors) != 1 else ''}"
        raise ValueError(f"no text that can be used, {count}; the first: {file}: line {line}: {reason}")
    missing = sorted(set(fit_splits) - found.splits)
    if missing:
        there = ", ".join(sorted(found.splits - {""})) or "none"
        raise ValueError(f"{path}: no split {', '.join(missing)} for --fit_splits; it has {cut(there)}")
    if fit_splits and not found.fitted:
        raise ValueError(f"{path}: --fit_splits {' '.join(fit_splits)} has no text that can be used")


def collect(lines: Iterator[Line], normalise: Normalisation, fitted: Sequence[str] = ()) -> Collected:
    """Normalise all lines; what cannot be used is an error with its file, line and reason.

    ValueError for two texts of one utterance: nobody knows which is right."""
    found = Collected()
    origin: dict[str, tuple[Path, int]] = {}
    for line in lines:
        reason, text = line.reason, ""
        if not reason:
            try:
                text = normalise(line.text)
                reason = "" if text else f"no text is left of {short(line.text)}" if line.text.strip() else "no text"
                if text:
                    check_text(line.id, text)
            except ValueError as error:
                reason = str(error)
        if line.id and line.id in origin:
            file, number = origin[line.id]
            other = f"{file}: line {number}" if file != line.file else f"line {number}"
            raise ValueError(f"{line.file}: line {line.number}: utterance {short(line.id)} is in {other} already")
        origin[line.id] = line.file, line.number
        found.splits.add(line.split)
        if reason:
            found.errors.append((str(line.file), line.number, line.id, reason))
            continue
        found.texts.append((line.id, text))
        if line.split in fitted:
            found.fitted.append(text)
    found.texts.sort()
    return found


def _check_places(root: Path, arpa: Path | None) -> None:
    check_folder(root)
    if arpa is None:
        return
    if arpa.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"--arpa {arpa} lies in {root}, which is replaced as a whole: choose another place")
    if arpa.is_dir():
        raise ValueError(f"--arpa {arpa} is a folder: name a file in it")
    check_folder(arpa.parent)


def _characters(texts: Sequence[tuple[str, str]]) -> str:
    """Every character with its count, the most frequent first."""
    counts: Counter[str] = Counter()
    for _, text in texts:
        counts.update(text)
    blanks = counts.pop(" ", 0)
    order = sorted(counts, key=lambda character: (-counts[character], character))
    shown = "  ".join(f"{character} {counts[character]}" for character in order[:SHOWN])
    more = f"  and {len(order) - SHOWN} more" if len(order) > SHOWN else ""
    return f"{len(order)} different characters and {blanks} blanks: {shown}{more}"
