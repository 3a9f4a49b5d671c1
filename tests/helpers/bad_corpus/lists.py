"""The bad inputs of lists of utterances and alignments."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_input_cases import Case

CASES: list[Case] = []


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
