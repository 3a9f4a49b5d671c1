"""Flags of every command line: they name their modes, with `section.key=value` in any place."""

import argparse
import dataclasses
import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn, TypeVar

from utility.original_flags import ANSWERS
from utility.text import cut, one_line, short

T = TypeVar("T")
AUTO = "auto"  # of --resume: go on where there is a run, else begin
DEFAULT_SEED = 1337  # of the originals, on every command line
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")
FLAG = re.compile(r"--?[A-Za-z]")  # -1 is a number
LONG_QUOTE = re.compile(r"'[^']{99,}'|\"[^\"]{99,}\"")  # a value, as argparse repeats it
OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


@dataclass(frozen=True)
class Mode:
    """What a program does; `name` is the flags that choose it, as in `--plot --with_head`.

    `overrides` are the sections and keys of the config that it reads; None stands for all of them. One that is not
    `shown` is another way to type what help shows already. One that no flag chooses has a `label` in messages."""

    name: str
    overrides: tuple[str, ...] | None = None
    shown: bool = True
    label: str = ""

    def __str__(self) -> str:
        return self.name or self.label

    @property
    def flags(self) -> frozenset[str]:
        """The flags that choose it, without dashes."""
        return frozenset(word.removeprefix("--") for word in self.name.split())

    def check(self, overrides: Sequence[str]) -> None:
        """Raise ValueError for an override that would change nothing."""
        for word in overrides:
            key = word.partition("=")[0]
            if self.overrides is not None and not any(f"{key}.".startswith(f"{name}.") for name in self.overrides):
                taken = ", ".join(self.overrides)
                known = f"of the config it takes {taken}" if taken else "it takes no config"
                raise ValueError(f"{str(self) or 'this script'} would not use {cut(word)}: {known}")


@dataclass(frozen=True)
class Command:
    """A command line that was read: its mode, the values of all flags, which of them were typed, and the overrides."""

    mode: str
    values: Mapping[str, Any]
    typed: Mapping[str, str]  # destination -> the flag as it was typed
    overrides: tuple[str, ...]

    def fill(self, settings: type[T], **more: Any) -> T:
        """The dataclass `settings`, its fields the values of the flags of those names, or what is given as `more`."""
        values = {**self.values, "overrides": self.overrides, **more}
        return settings(**{field.name: values[field.name] for field in dataclasses.fields(settings)})  # type: ignore[arg-type]


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses, in one line, what it does not know and what the chosen mode would not use.

    `modes` are those of the program, one of which must be chosen (none: it does one thing, without overrides).
    `answers` say of flags that it does not have what to type instead, `translate` may answer a whole command line.
    `bare` is the flag that a word without one is the value of, as the folder in `run_report.py result/`."""

    def __init__(
        self,
        modes: Sequence[Mode] = (),
        answers: Mapping[str, str] | None = None,
        translate: Callable[[Sequence[str]], str | None] | None = None,
        no_mode: str = "",
        bare: str = "",
        **options: Any,
    ):
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **options)
        self.modes, self.translate, self.no_mode, self.bare = modes, translate, no_mode, bare
        self.answers = {**ANSWERS, **(answers or {})}
        self.modes_of: dict[str, tuple[str, ...]] = {}  # by destination; what is missing serves every mode

    def error(self, message: str) -> NoReturn:
        message = LONG_QUOTE.sub(lambda match: cut(match[0]), one_line(message))
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """The library's own drops an error: help of 8 kB into a pipe without a reader ended as if it had been read."""
        (file or sys.stderr).write(message)

    def add(
        self,
        *names: str,
        group: argparse._ArgumentGroup | None = None,
        modes: Sequence[str] = (),
        help: str = "",  # noqa: A002
        **options: Any,
    ) -> None:
        """Add a flag that serves `modes` (their names; empty: every mode); its help says so."""
        named = self._named(modes)
        shown = f"{help} [{named}]" if named and help is not argparse.SUPPRESS else help
        action = (group or self).add_argument(*names, help=shown, **options)
        if modes:
            self.modes_of[action.dest] = tuple(modes)

    def add_boolean(self, name: str, default: bool | None = False, other: str | None = None, **options: Any) -> None:
        """Accept `--flag`, `--flag=True`, `--flag False` and `--no-flag` for one destination, and the word `other`."""
        destination = name.lstrip("-").replace("-", "_")
        read = boolean if other is None else _boolean_or(other)
        metavar = "BOOL" if other is None else other
        kind: dict[str, Any] = {"nargs": "?", "const": True, "default": default, "type": read, "metavar": metavar}
        self.add(name, dest=destination, **kind, **options)
        group = options.get("group") or self
        group.add_argument(
            f"--no-{name.lstrip('-')}", dest=destination, action="store_false", default=default, help=argparse.SUPPRESS
        )

    def read(self, argv: Sequence[str]) -> Command:
        """What the words say; ValueError for flags that are unknown, and for what the chosen mode would not use."""
        if {"-h", "--help"} & set(argv):
            self.print_help()
            self.exit()
        answer = self.translate and self.translate(argv)
        if answer:
            raise ValueError(answer)
        words = _Words(self, argv)
        choosing = {flag for mode in self.modes for flag in mode.flags}
        mode = self._mode({flag for flag in words.typed if flag in choosing} - words.switched_off)
        for destination, name in words.typed.items():
            served = self.modes_of.get(destination, () if destination in choosing else (mode.name,))
            if mode.name not in served and destination not in mode.flags:
                others = [other.name for other in self.modes if destination in other.flags or other.name in served]
                raise ValueError(f"{mode} would not use {name}: it goes with {self._named(others)}")
        mode.check(words.overrides)
        values = vars(self.parse_args(words.flags))
        return Command(mode.name, values, words.typed, tuple(words.overrides))

    def _mode(self, chosen: set[str]) -> Mode:
        """The mode that uses all the `chosen` flags, else the only one that they choose; its flags are checked next."""
        if not self.modes:
            return Mode("", overrides=())
        possible = [mode for mode in self.modes if mode.flags <= chosen]
        for mode in sorted(possible, key=lambda mode: -len(mode.flags)):
            if all(mode.name in self.modes_of.get(flag, ()) for flag in chosen - mode.flags):
                return mode
        largest = [mode for mode in possible if not any(mode.flags < other.flags for other in possible)]
        if len(largest) == 1:
            return largest[0]
        if not largest:
            raise ValueError(self.no_mode)
        names, flags = " and ".join(mode.name for mode in largest), frozenset().union(*(m.flags for m in largest))
        together = next((mode for mode in self.modes if flags < mode.flags), None)
        both = f"; {together.name} does both" if together else ""
        raise ValueError(f"{names} are different things to do: choose one{both}")

    def _named(self, modes: Sequence[str]) -> str:
        """Modes for a reader: `--plot` for all kinds of it."""
        kinds: dict[str, list[Mode]] = {}
        for mode in self.modes:
            if mode.shown:
                kinds.setdefault(mode.name.split()[0] if mode.name else mode.label, []).append(mode)
        names: list[str] = []
        for kind, members in kinds.items():
            served = [mode.name for mode in members if mode.name in modes]
            names += [kind] if len(served) == len(members) else served
        return ", ".join(names)

    def option(self, name: str) -> argparse.Action | None:
        """The flag of that name, dashes or underscores within it."""
        names = self._option_string_actions
        return names.get(name) or {_plain(known): action for known, action in names.items()}.get(_plain(name))


class _Words:
    """A command line taken apart: `flags` with their values, as argparse takes them, and the `overrides` among them."""

    def __init__(self, parser: Parser, argv: Sequence[str]):
        self.flags: list[str] = []
        self.overrides: list[str] = []
        self.typed: dict[str, str] = {}
        self.switched_off: set[str] = set()
        unknown: list[str] = []
        strange: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if not FLAG.match(word):
                bare = None if OVERRIDE.match(word) else parser.option(parser.bare)
                if bare is not None and bare.dest not in self.typed:
                    self._take(bare, parser.bare, [word])
                else:
                    (self.overrides if OVERRIDE.match(word) else strange).append(word)
                continue
            name, equals, value = word.partition("=")
            action = parser.option(name)
            if action is None:
                unknown.append(name)
            else:
                self._take(action, name, [value] if equals else _values(action, rest))
        for name in unknown:
            raise ValueError(_unknown(parser, name))
        if strange:
            raise ValueError(f"{short(strange[0])} is no flag: expected section.key=value, or a flag before it")

    def _take(self, action: argparse.Action, name: str, values: Sequence[str]) -> None:
        self.typed[action.dest] = name
        is_boolean = action.type is boolean
        off = bool(is_boolean and values and values[0].lower() in FALSE) or isinstance(
            action, argparse._StoreFalseAction
        )
        (self.switched_off.add if off else self.switched_off.discard)(action.dest)
        option = action.option_strings[0]
        if action.nargs == "+":
            self.flags += [option, *values]
        else:
            self.flags += [f"{option}={values[0]}"] if values else [option]


def _values(action: argparse.Action, rest: list[str]) -> list[str]:
    """Take the values of a flag from the words that follow it."""
    counts: dict[Any, int] = {None: 1, "?": 1, "+": len(rest)}
    count = counts.get(action.nargs, 0)
    values: list[str] = []
    while rest and len(values) < count and not FLAG.match(rest[0]):
        optional = action.nargs == "?" and (OVERRIDE.match(rest[0]) or action.type is boolean)
        if optional and rest[0].lower() not in (*TRUE, *FALSE):
            break
        values.append(rest.pop(0))
    return values


def _unknown(parser: Parser, name: str) -> str:
    answer = parser.answers.get(_plain(name))
    if answer:
        return f"there is no {name} here: {answer}"
    shown = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    names = [option for action in shown for option in action.option_strings]
    near = difflib.get_close_matches(name, names, n=1)
    return f"unknown flag {cut(name)}" + (f"; did you mean {near[0]}?" if near else f" (see {parser.prog} --help)")


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_") if name.startswith("--") else name


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32, width=110)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        plain = action.default is None or action.default is argparse.SUPPRESS or action.const is not None
        if plain and not isinstance(action.default, bool):
            return text
        if isinstance(action, argparse._StoreTrueAction) or action.default in ("", [], False):
            return text
        return f"{text} (default: %(default)s)"


def boolean(text: str) -> bool:
    """`True`, `yes`, `1`, `on` and their opposites, in any case."""
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {short(text)}")


def _boolean_or(other: str) -> Callable[[str], bool | str]:
    """A boolean, or one other word."""

    def read(text: str) -> bool | str:
        if text.lower() == other:
            return other
        if text.lower() not in (*TRUE, *FALSE):
            raise argparse.ArgumentTypeError(f"expected True, False or {other}, got {short(text)}")
        return boolean(text)

    return read


def shard(text: str) -> tuple[int, int]:
    """`I/N` with I from 1, as `1/4`, to (I - 1, N)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, as 1/4, got {short(text)}")
    return int(match[1]) - 1, int(match[2])


def seed(text: str) -> int:
    """A seed that every generator takes."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^63 - 1, got {short(text)}")
    return int(text)


def folder_name(text: str) -> str:
    """A folder below the one that another flag names; a path that leaves it would share a folder with other tools."""
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise argparse.ArgumentTypeError(f"expected a name, or a relative path without .., got {short(text)}")
    return text
