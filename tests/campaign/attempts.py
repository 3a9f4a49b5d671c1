"""One input: laid out in a folder of its own, run, judged, and kept where the outcome is wrong."""

import json
import os
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.campaign.families.base import Input
from tests.campaign.fuzz_world import build_world
from tests.campaign.judge import ACCEPTED, Expected, Tree, is_failure, judged, tree
from tests.campaign.zygote import Outcome, Zygote


@dataclass(frozen=True)
class Place:
    """Where a campaign works: the sound files, scratch folders, and where failures are kept."""

    world: Path
    scratch: Path
    kept: Path


def generator(seed: int, family: str, number: int) -> np.random.Generator:
    """The draws of one input."""
    return np.random.default_rng([seed, zlib.crc32(family.encode()), number])


def attempt(zygote: Zygote, place: Place, made: Input, name: str) -> list[str]:
    """Run one input and judge it; a failure is kept under its `name`."""
    folder = place.scratch / name
    here = lay_out(folder, place.world, made)
    try:
        before = tree(folder)
        outcome = zygote.run(made.words, here)
        columns = judged(outcome, before, tree(folder), made.expected)
        if columns == [ACCEPTED] and made.same and not _same(here / made.same[0], place.world / made.same[1]):
            columns = ["other weights"]
        if is_failure(columns):
            keep(place.kept / f"fuzz-{name}", made, outcome, columns, changes(before, tree(folder)))
        return columns
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lay_out(folder: Path, world: Path, made: Input) -> Path:
    """The working folder of an input, some folders below `folder`, so that `..` stays in it."""
    here = folder / "a" / "b" / "here"
    for name in ("data", "result", "log"):  # which a clone of the repository has
        (here / name).mkdir(parents=True)
    if made.own_world:
        shutil.copytree(world, here / "world")
    else:
        (here / "world").symlink_to(world)
    for name, data in made.files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    for name in made.pipes:
        os.mkfifo(here / name)
    return here


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def changes(before: Tree, after: Tree) -> str:
    """Which files and folders are new, gone or changed, a line each."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name, 0) != after.get(name, 0))
    words = ("gone" if name not in after else "changed" if name in before else "new" for name in names)
    return "".join(f"{word} {name.removeprefix('a/b/here/')}\n" for word, name in zip(words, names))


def keep(folder: Path, made: Input, outcome: Outcome, columns: Sequence[str], changed: str) -> None:
    """Keep a failure: its files, the command, what was wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in made.files.items():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(data)
    pipes = "".join(f"mkfifo {shlex.quote(name)}\n" for name in made.pipes)
    command = shlex.join(["python", f"$PROJECT/{made.words[0]}", *made.words[1:]]).replace("'$PROJECT", "$PROJECT'", 1)
    (folder / "command.txt").write_text(
        f"# in a copy of files/, beside a link `world` to what tests.campaign.fuzz --world DIR makes\n"
        f"{pipes}{command}\n"
        f"# or: python -m tests.campaign.fuzz --repeat {folder}\n",
        errors="surrogateescape",
    )
    words = [word.encode("utf-8", "surrogateescape").decode("latin-1") for word in made.words]
    about = {
        "columns": list(columns), "what": made.what, "words": words, "pipes": made.pipes, "own_world": made.own_world,
        "lacking": made.expected.lacking, "huge": made.expected.huge, "same": made.same, "code": outcome.code,
        "seconds": round(outcome.seconds, 2), "peak_rss": outcome.peak_rss,
    }  # fmt: skip
    (folder / "outcome.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "stderr.txt").write_text(outcome.stderr, errors="surrogateescape")
    (folder / "stdout.txt").write_text(outcome.stdout[-5000:], errors="surrogateescape")
    (folder / "changes.txt").write_text(changed, errors="surrogateescape")


def repeat(folder: Path) -> list[str]:
    """Run a kept failure again and judge it."""
    about = json.loads((folder / "outcome.json").read_text())
    words = tuple(word.encode("latin-1").decode("utf-8", "surrogateescape") for word in about["words"])
    files = {str(p.relative_to(folder / "files")): p.read_bytes() for p in (folder / "files").rglob("*") if p.is_file()}
    same = tuple(about["same"]) if about["same"] else None
    expected = Expected(about["lacking"], about["huge"])
    made = Input(words, about["what"], files, expected, same, tuple(about["pipes"]), about["own_world"])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, Zygote() as zygote:
        place = Place(build_world(Path(scratch) / "world"), Path(scratch), Path(scratch) / "kept")
        columns = attempt(zygote, place, made, folder.name)
        kept = place.kept / f"fuzz-{folder.name}" / "stderr.txt"
        print(kept.read_text() if kept.exists() else "", end="")
    return columns
