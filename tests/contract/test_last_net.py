"""What a command raises: one line of bounded length for what the input did, a traceback for a fault of ours."""

import errno
import sys

import pytest

from utility.command import run
from utility.flags import Mode, Parser

NETTED = {
    "bad value": (ValueError("a\nb"), "here.py: a b\n"),
    "long value": (ValueError("x" * 5000), f"here.py: {'x' * 997}...\n"),
    "long name": (
        OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300),
        f"here.py: {'x' * 97}...: File name too",
    ),
    "system": (OSError(errno.ENOSPC, "No space left on device", "f"), "here.py: f: No space left on device\n"),
    "memory": (MemoryError(), "here.py: out of memory: take a smaller model, or smaller batches (batch_frames)\n"),
    "torch's memory": (RuntimeError("[enforce fail] can't allocate memory: 9 bytes"), "here.py: out of memory: take a"),
    "depth": (RecursionError("maximum recursion depth exceeded"), "here.py: an input is nested too deeply\n"),
    "number": (OverflowError("int too big to convert"), "here.py: an input holds a number that is too large: int too"),
}


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("error", "line"), NETTED.values(), ids=NETTED)
def test_what_the_input_did_is_one_line(error, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["there/here.py"])
    with pytest.raises(SystemExit) as left:
        run(lambda _: raised(error))
    written = capsys.readouterr().err
    assert left.value.code == 2
    assert written.startswith(line)
    assert written.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), TypeError("x"), AssertionError()])
def test_a_fault_of_ours_shows_its_traceback(error, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["here.py"])
    with pytest.raises(type(error)):
        run(lambda _: raised(error))


def test_argparse_says_no_more_than_a_line(capsys):
    parser = Parser(prog="here.py")
    parser.add("--size", choices=["small", "large"])
    parser.add("--count", type=int)
    for words in (["--size", "x " * 300], ["--count", "1 " * 300], ["--size", "'\"" * 300]):
        with pytest.raises(SystemExit):
            parser.read(words)
        assert len(capsys.readouterr().err) < (1100 if "'" in words[1] else 300)


def test_long_words_are_cut_in_an_answer():
    """An override of 5,000 characters was repeated whole; so was a flag."""
    parser = Parser([Mode("--info", overrides=())], prog="here.py")
    parser.add_boolean("--info")
    for words, start in (
        (["--info", "a.b=" + "x" * 5000], "--info would not use a.b=xxx"),
        (["--" + "x" * 5000], "unknown flag --xxx"),
    ):
        with pytest.raises(ValueError, match=start) as refused:
            parser.read(words)
        assert len(str(refused.value)) < 200
