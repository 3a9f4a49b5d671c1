"""The originals' commands that bring in Kaldi's files have rows in docs/originals.md, which run as they stand."""

import contextlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from preprocess.preprocess_kaldi import main
from tests.conftest import PROJECT
from utility.kaldi.archives import write_ark
from utility.store.reading import Store

COMMAND = re.compile(r"`python preprocess/preprocess_kaldi\.py ([^`]+)`")
ITEMS = {f"84-1-{i}": np.full((4, 40), i, "f") for i in range(3)}
LEFT = {  # by a word of the original's command: where Kaldi works, the archive that it left there, the split that it is
    "ark2libri.py": ("kaldi/egs/librispeech/s5", "fmllr_cmvn/train_clean_100/fmllr_cmvn.ark", "train-clean-100"),
    "ark2timit.py": ("kaldi/egs/timit/s5", "data-fmllr-tri3/train/data/feats_fmllr_train.1.ark", "train"),
    "ark2voxceleb.py": ("kaldi/egs/voxceleb/v1", "data/train/feats.ark", "train"),
    "--kaldi_data": (".", "kaldi_data/train/feats.ark", "train"),
}
STORES = {
    "ark2libri.py": "libri_fmllr_cmvn",
    "ark2timit.py": "timit_fmllr_cmvn",
    "ark2voxceleb.py": "voxceleb_mfcc_kaldi",
    "--kaldi_data": "mine_fmllr",
}


def rows() -> dict[str, str]:
    """What to type instead of an original's command, by the word that names it."""
    page = (PROJECT / "docs/originals.md").read_text(encoding="utf-8")
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| ")]
    found = {row[0].strip("`").split()[0].strip("`,"): COMMAND.search(row[1]) for row in cells if len(row) > 1}
    return {name: match[1] for name, match in found.items() if match}


def test_every_command_has_a_row_and_every_row_a_command():
    assert rows().keys() == LEFT.keys()


@pytest.mark.parametrize("original", LEFT)
def test_the_command_of_a_row_runs(original, tmp_path, monkeypatch):
    base, archive, split = LEFT[original]
    file = tmp_path / base / archive
    file.parent.mkdir(parents=True)
    with contextlib.chdir(tmp_path / base):
        write_ark(archive, ITEMS.items())
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(rows()[original])) == 0
    store = Store([Path("data") / STORES[original] / split])
    assert store.ids == sorted(ITEMS)
    assert all(np.array_equal(store[i], ITEMS[key]) for i, key in enumerate(store.ids))
