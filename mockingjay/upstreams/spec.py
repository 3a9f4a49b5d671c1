"""What `--upstream` and `load_upstream` say: which kind of upstream, and of which file or folder; nothing heavy."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mockingjay.runs import CKPDIR, find_checkpoint
from utility.text import short

Kind = Literal["pretrained", "pretrained_head", "random", "baseline", "hf", "s3prl", "own"]

WORDS: dict[str, Kind] = {  # what a spec begins with, or is
    "pretrained": "pretrained",
    "transformer": "pretrained",  # the old words
    "pretrained_head": "pretrained_head",
    "transformer_head": "pretrained_head",
    "random": "random",
    "baseline": "baseline",
    "hf": "hf",
    "s3prl": "s3prl",
}
CHECKPOINTS = (".ckpt", ".pt", ".model")
YAMLS = (".yaml", ".yml")
NAMED = re.compile(r"([\w.+-]+)=(.+)", re.DOTALL)
GRAMMAR = (
    "pretrained:FILE or RUN[@STEP], random:FILE, YAML or hf:FOLDER, baseline, hf:FOLDER, s3prl:FOLDER[:ENTRY][:FILE], "
    "or package.module:Class[:FILE] of your own"
)


@dataclass(frozen=True)
class UpstreamSpec:
    """An upstream in words, as `parse` reads it.

    `source` is a checkpoint's file or run, a YAML file, a folder, or module:Class; empty where there is none (yet).
    `file` holds weights for a class of one's own or of S3PRL; `entry` says which expert of a folder it is. `word` is
    what stood before the first colon."""

    kind: Kind
    source: str = ""
    file: str = ""
    name: str = ""  # given by `NAME=`
    word: str = ""
    entry: str = ""

    @classmethod
    def parse(cls, text: str) -> "UpstreamSpec":
        """The spec that `[NAME=]SPEC` says; ValueError names what may stand there."""
        named = NAMED.fullmatch(text)
        name, rest = (named[1], named[2]) if named else ("", text)
        word, colon, source = rest.partition(":")
        if colon and not source:
            raise ValueError(f"upstream {short(text)}: nothing stands behind the colon; expected {GRAMMAR}")
        if word in WORDS:
            kind = WORDS[word]
            if kind == "baseline" and source:
                raise ValueError(f"upstream {short(text)}: the features themselves take no file: say baseline")
            if kind in ("hf", "s3prl") and not source:
                raise ValueError(f"upstream {short(text)} needs a folder: {word}:FOLDER")
            source, entry, file = _of_folder(source) if kind == "s3prl" else (source, "", "")
            return cls(kind, source, file, name, word, entry)
        if not colon:
            raise ValueError(f"unknown upstream {short(text)}: expected {GRAMMAR}")
        attribute, _, file = source.partition(":")
        if not (attribute.isidentifier() and all(part.isidentifier() for part in word.split("."))):
            raise ValueError(f"unknown upstream {short(text)}: expected {GRAMMAR}")
        return cls("own", f"{word}:{attribute}", file, name, word)

    @property
    def label(self) -> str:
        """What results call it: its name, else the word, or the folder or class that it is of."""
        if self.name:
            return self.name
        if self.kind in ("hf", "s3prl"):
            folder = f"{self.kind}_{Path(self.source).resolve().name}"
            return f"{folder}_{self.entry}" if self.entry else folder
        return self.source if self.kind == "own" else self.word

    @property
    def fresh(self) -> bool:
        """Whether its weights are drawn from the seed."""
        return self.kind == "random"

    @property
    def of_checkpoint(self) -> bool:
        """Whether its source is one of our runs or checkpoint files."""
        pretrained = self.kind in ("pretrained", "pretrained_head")
        return pretrained or (self.fresh and not self.source.startswith("hf:") and not self.source.endswith(YAMLS))

    def located(self, ckpdir: Path = CKPDIR) -> "UpstreamSpec":
        """The spec with its run, itself or below `ckpdir`, replaced by the file of its checkpoint.

        `RUN` is its best checkpoint, `RUN@STEP` that of a step. Raises ValueError where there is none."""
        if not self.source or not self.of_checkpoint:
            return self
        return replace(self, source=str(find_checkpoint(Path(self.source), ckpdir, f"upstream {self.word}:")))

    def tuned(self, path: Path) -> "UpstreamSpec":
        """What opens the weights that `write_tuned` of such an upstream wrote to `path`."""
        if self.kind in ("s3prl", "own"):
            return replace(self, file=str(path))
        if path.suffix != ".ckpt":
            return replace(self, kind="hf", word="hf", source=str(path))
        kind: Kind = "pretrained_head" if self.kind == "pretrained_head" else "pretrained"
        return replace(self, kind=kind, word=kind, source=str(path))

    def __str__(self) -> str:
        """The spec as it is typed."""
        parts = [self.source] if self.kind == "own" else [self.word, self.source]
        text = ":".join(part for part in [*parts, self.entry, self.file] if part)
        return f"{self.name}={text}" if self.name else text


def _of_folder(source: str) -> tuple[str, str, str]:
    """Folder and, each behind a colon, the name of an entry and the file of weights."""
    folder, colon, file = source.rpartition(":")
    if not colon or not file.endswith(CHECKPOINTS):
        folder, file = source, ""
    outer, colon, entry = folder.rpartition(":")
    return (outer, entry, file) if colon and outer and entry.isidentifier() else (folder, "", file)
