"""Corpora with a layout of their own: which flags each takes, and their recordings and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.parts.names import LAYOUTS
from utility.flags import Command, Parser

OF_LAYOUT = {"list": ("voxceleb",), "hash_test": ("speech_commands",), "test": ("speech_commands",)}
NOT_OF_LAYOUT = ("train", "dev", "audio_extension", "speaker_from", "id_from", "clip")


@dataclass(frozen=True, kw_only=True)
class LayoutFlags:
    """A corpus at `data_path` in one of the `LAYOUTS`, and what some of them need besides."""

    layout: str
    data_path: Path
    splits: Sequence[str]
    test: Path | None
    list_file: Path | None
    hash_test: bool


def add_layouts(parser: Parser) -> None:
    """Add the flags of `layout_flags`."""
    about = "the corpus is one of these, as its authors publish it: makes labels.csv, too"
    parser.add_argument("--layout", choices=LAYOUTS, help=about)
    about = "of voxceleb: lines `part path`, 1 train, 2 dev, 3 test (default: iden_split.txt of the corpus)"
    parser.add_argument("--list", type=Path, metavar="FILE", help=about)
    about = "of speech_commands without --test: test is the tenth that the hash of the names gives"
    parser.add_boolean("--hash_test", default=False, help=about)


def layout_flags(command: Command) -> LayoutFlags | None:
    """What the flags say of a corpus in a layout, None without; ValueError for those that do not go together."""
    values, typed = command.values, command.typed
    layout = values["layout"]
    for name, layouts in OF_LAYOUT.items():
        if name in typed and layout not in layouts and not (layout is None and name == "test"):
            raise ValueError(f"{typed[name]} is for --layout {', '.join(layouts)}: leave it out")
    if layout is None:
        return None
    other = next((typed[name] for name in NOT_OF_LAYOUT if name in typed), None)
    if other:
        raise ValueError(
            f"--layout {layout} says which recordings there are, and what they are called: leave out {other}"
        )
    if values["data_path"] is None:
        raise ValueError(f"which corpus? --layout {layout} --data_path FOLDER")
    if values["test"] is not None and values["hash_test"]:
        raise ValueError("--hash_test makes the test part of the corpus, --test names a folder of it: leave one out")
    test, file = (path and path.expanduser() for path in (values["test"], values["list"]))
    return command.fill(LayoutFlags, data_path=values["data_path"].expanduser(), test=test, list_file=file)
