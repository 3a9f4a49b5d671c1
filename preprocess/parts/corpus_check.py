"""What `check_corpus.py` does: look at a corpus, print, and write what was asked for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.parts.corpora import Corpus
from preprocess.parts.corpus_look import Look, describe, look_at, matched, note_lines, table_lines
from preprocess.parts.stores import say_notes
from utility.files import check_folder, replace_file
from utility.labels.alignment import Alignment
from utility.labels.texts import Texts
from utility.text import cut

SHOWN = 5  # broken recordings that are printed


@dataclass(frozen=True, kw_only=True)
class CheckFlags:
    """What is looked at besides the recordings, and where the findings go."""

    splits: list[str]
    read: bool
    n_jobs: int
    labels: Path | None
    label_column: str | None
    text: Path | None
    alignment: Path | None
    output: Path | None
    figure: Path | None


def check(corpus: Corpus, flags: CheckFlags) -> int:
    """Print what the corpus is; 1 when some of its recordings are broken, else 0."""
    for file in (flags.output, flags.figure):
        if file:
            check_folder(file.expanduser().parent)
    texts = Texts(flags.text.expanduser()) if flags.text else None
    alignment = Alignment(flags.alignment.expanduser()) if flags.alignment else None
    say_notes(corpus, flags.splits)
    look = look_at(corpus, flags.read, flags.n_jobs)
    about = describe(look)
    labels = None
    if texts:
        about["text"] = {"folder": str(flags.text), **matched(look, texts.ids)}
    if alignment:
        about["alignment"] = {"folder": str(flags.alignment), **matched(look, alignment.ids)}
    print(f"{corpus.root}: {about['utterances']} utterances, {about['hours']:.2f} hours, {about['speakers']} speakers")
    print("\n".join([*table_lines(about), *note_lines(about)]))
    for item in about["broken"][:SHOWN]:
        print(f"broken: {cut(item['path'], 200)}: {item['reason']}")
    if len(about["broken"]) > SHOWN:
        print(f"and {len(about['broken']) - SHOWN} more are broken" + ("" if flags.output else "; --output names all"))
    if flags.output:
        replace_file(flags.output.expanduser(), (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    if flags.figure:
        _draw(look, labels, flags)
    return 1 if about["broken"] else 0


def _draw(look: Look, labels: list[str] | None, flags: CheckFlags) -> None:
    good = np.flatnonzero(look.good).tolist()
    if not good:
        print("no figure: every recording is broken")
        return
    from preprocess.parts.corpus_figure import Drawn, corpus_figure  # heavy, and seldom wanted
    from utility.plot import save_figure

    assert flags.figure is not None, "a figure was asked for"
    utterances: Any = [look.utterances[i] for i in good]
    drawn = Drawn(
        look.corpus.root.name,
        [u.split for u in utterances],
        [u.speaker for u in utterances],
        look.seconds[good],
        None if labels is None else [labels[i] for i in good],
        flags.label_column or "label",
    )
    save_figure(corpus_figure(drawn), flags.figure.expanduser())
