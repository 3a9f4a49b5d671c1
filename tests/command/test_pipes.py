"""Output that goes into a pipe whose reader ends, as in `--info CKPT | head -1`."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from utility.command import PIPE_CLOSED

SCRIPT = """
import sys
from utility.command import run

def main(words):
    {body}

run(main)
"""


def ended(*words: object, unbuffered: str = "") -> tuple[int, str]:
    """Exit code and stderr of a command whose reader has gone before it writes."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    return process.returncode, process.stderr


@pytest.mark.parametrize("body", ["print('x')", "print('x' * 1_000_000)", "print('x'); sys.exit(0)"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_ends_is_no_error(body, unbuffered):
    assert ended("-c", SCRIPT.format(body=body), unbuffered=unbuffered) == (PIPE_CLOSED, "")


def test_another_pipe_that_broke_is_an_error():
    body = "print('x', file=sys.stderr); raise BrokenPipeError(32, 'Broken pipe')"
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)], cwd=PROJECT, capture_output=True, text=True
    )
    assert process.returncode == 2
    assert "Broken pipe" in process.stderr


@pytest.mark.slow
def test_help_and_info_end_quietly(tmp_path):
    ckpt = write_checkpoint(tmp_path / "a.ckpt", model=TRANSFORMER)
    for words in (["--help"], ["--info", ckpt]):
        assert ended("runner_mockingjay.py", *words) == (PIPE_CLOSED, "")
