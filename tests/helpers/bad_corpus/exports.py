"""The bad inputs of exports to Kaldi, CMVN and definitions of features."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_input_cases import Case

CASES: list[Case] = []


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
