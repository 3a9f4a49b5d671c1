"""Open an exported folder as torch.hub does, by its own code or the project's, and encode a second of noise."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch

from utility.command import run


def main(argv: Sequence[str]) -> None:
    """Print the shapes of the hidden states: of `FOLDER`, which has one entry, or of `project ENTRY CHECKPOINT`."""
    folder = str(Path(__file__).resolve().parents[3]) if argv[0] == "project" else argv[0]
    entry = argv[1] if len(argv) > 1 else (Path(folder) / "hubconf.py").read_text().split()[-3]  # ENTRY = _entry
    expert = torch.hub.load(folder, entry, *argv[2:], source="local", trust_repo=True)
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        print([tuple(state.shape) for state in expert([wave])["hidden_states"]])


if __name__ == "__main__":
    run(main)
