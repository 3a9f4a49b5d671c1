"""What `check_corpus.py` does: look at a corpus, print, and write what was asked for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.parts.corpora import Corpus, librispeech
from preprocess.parts.corpus_look import Look, describe, labelled, look_at, matched, note_lines, table_lines
from preprocess.parts.kaldi import Unpacked, kaldi, split_folders
from preprocess.parts.names import TIMIT_EXTENSIONS
from preprocess.parts.options import RecordingFlags, held_out
from preprocess.parts.stores import find_recordings, say_notes
from preprocess.parts.timit import timit
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


def find_corpus(flags: RecordingFlags | None, values: Mapping[str, Any], unpacked: Path) -> Corpus:
    """The corpus that the flags of `check_corpus.py` name; recordings that lie packed in Kaldi's go to `unpacked`."""
    if flags is None:
        folders = split_folders([path.expanduser() for path in values["data_dir"]])
        return kaldi(folders, Unpacked(folder=unpacked, threads=values["n_jobs"]), values["root"])
    if values["layout"] == "any":
        return find_recordings(flags)
    assert flags.data_path is not None, "a corpus was named"
    if values["layout"] == "libri":
        return librispeech(flags.data_path, flags.splits, flags.extensions)
    extensions = values["audio_extension"] or TIMIT_EXTENSIONS
    options = values["drop_sa"], values["complete_test"], held_out(values)
    return timit(flags.data_path, flags.splits, extensions, *options)


def check(corpus: Corpus, flags: CheckFlags) -> int:
    """Print what the corpus is; 1 when some of its recordings are broken, else 0."""
    for file in (flags.output, flags.figure):
        if file:
            check_folder(file.expanduser().parent)
    texts = Texts(flags.text.expanduser()) if flags.text else None
    alignment = Alignment(flags.alignment.expanduser()) if flags.alignment else None
    say_notes(corpus, flags.splits)
    counted = labels = None
    if flags.labels and flags.label_column:
        counted, labels = labelled(corpus, flags.labels, flags.label_column)
    look = look_at(corpus, flags.read, flags.n_jobs)
    about = describe(look)
    if counted:
        about["labels"] = counted
    if texts:
        about["text"] = {"folder": str(flags.text), **matched(look, texts.ids)}
    if alignment:
        about["alignment"] = {"folder": str(flags.alignment), **matched(look, alignment.ids)}
    print("\n".join([str(corpus.root), *table_lines(about), *note_lines(about)]))
    for item in about["broken"][:SHOWN]:
        print(f"broken: {cut(item['path'], 200)}: {item['reason']}")
    if len(about["broken"]) > SHOWN:
        print(f"and {len(about['broken']) - SHOWN} more are broken" + ("" if flags.output else "; --output names all"))
    if flags.output:
        replace_file(flags.output.expanduser(), (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    if flags.figure:
        _draw(look, labels, flags)
    return 1 if about["broken"] else 0


def _draw(look: Look, labels: Sequence[str] | None, flags: CheckFlags) -> None:
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
