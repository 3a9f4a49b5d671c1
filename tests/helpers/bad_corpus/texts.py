"""The bad inputs of texts, and corpora that are looked at before use."""

from pathlib import Path

from tests.helpers.bad_input_cases import Case

CASES: list[Case] = []


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
