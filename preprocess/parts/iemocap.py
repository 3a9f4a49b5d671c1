"""IEMOCAP on disk -> utterances with the four emotions of emotion recognition."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from preprocess.parts.corpora import WHOLE, Corpus, Utterance, corpus_root
from preprocess.parts.label_table import Labelled, Labels, labelled, numbered_lines
from utility.text import short

EMOTIONS = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}  # excited counts as happy
COLUMNS = ("speaker", "session", "dialog", "emotion", "annotated", "valence", "activation", "dominance")
EXPECTED = "Session?/dialog/EmoEvaluation/*.txt"
LINE = re.compile(
    r"\[\s*[\d.]+\s*-\s*[\d.]+\s*\]\s+(?P<name>\w+)\s+(?P<emotion>\w+)\s+"
    r"\[\s*(?P<valence>[\d.-]+),\s*(?P<activation>[\d.-]+),\s*(?P<dominance>[\d.-]+)\s*\]"
)
NAME = re.compile(r"(?P<session>Ses\d\d)[FM]_\w+_(?P<sex>[FM])\w*")  # of what the woman or the man says


def iemocap(root: Path, splits: Sequence[str] = ()) -> tuple[Corpus, Labels]:
    """The turns that `Session?/dialog/EmoEvaluation/*.txt` give one of four emotions, in `Session?/sentences/wav`.

    All are one split; `session` of the labels is what folds keep together. `annotated` is the emotion as annotated:
    hap and exc are both `hap`. Turns with other emotions are left out and counted."""
    root = corpus_root(root, ("IEMOCAP_full_release", "IEMOCAP"))
    files = sorted(root.glob("Session*/dialog/EmoEvaluation/*.txt"))
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise ValueError(f"{root}: not IEMOCAP, expected {EXPECTED}")
    others: Counter[str] = Counter()
    pairs = list(_turns(root, files, others))
    counted = ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
    notes = [f"{root}: {others.total()} turns with other emotions left out: {counted}"] if others else []
    return labelled(root, COLUMNS, pairs, splits, f"turns with {', '.join(EMOTIONS)} in {EXPECTED}", notes)


def _turns(root: Path, files: Sequence[Path], others: Counter[str]) -> Iterator[Labelled]:
    for file in files:
        session = file.relative_to(root).parts[0]
        for number, line in numbered_lines(file):
            if not line.startswith("["):  # the heading, and what each annotator said
                continue
            match = LINE.match(line)
            name = match and NAME.fullmatch(match["name"])
            if match is None or name is None:
                told = "expected [start - end] Ses01F_impro01_F000 neu [v, a, d]"
                raise ValueError(f"{file}: line {number} is {short(line.strip())}, {told}")
            emotion = EMOTIONS.get(match["emotion"])
            if emotion is None:
                others[match["emotion"]] += 1
                continue
            dialog = match["name"].rpartition("_")[0]
            speaker = name["session"] + name["sex"]
            path = f"{session}/sentences/wav/{dialog}/{match['name']}.wav"
            values = (speaker, session, dialog, emotion, match["emotion"])
            numbers = (match["valence"], match["activation"], match["dominance"])
            yield Utterance(match["name"], WHOLE, speaker, path), (*values, *numbers)
