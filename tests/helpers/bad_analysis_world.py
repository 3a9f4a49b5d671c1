"""Corpora, word files and runs of the layer analysis that something is wrong with."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import yaml

import run_analysis
from tests.helpers.analysis_corpus import analysed_corpus
from tests.helpers.downstream_corpus import WIDTH, write_store
from utility.labels.alignment import write_alignment

SETTINGS = {
    "data": {"store": ["said/store/all"], "alignment": "said/phones", "words": "said/words"},
    "sampling": {"phones_min": 5},
    "cca": {"groups": 12},
    "mi": {"seeds": 1},
    "words": {
        "vectors": "said/vectors.txt",
        "semantic": "said/shares.txt",
        "syntactic": "said/shares.txt",
        "similarity": ["said/SET.txt"],
        "pairs": "said/pairs.csv",
        "agwe": "pronunciation",
        "centre_share": 0.2,
    },
    "awd": {"min_seconds": 0.1},
}
GRU = "encoder: gru\nobjective: apc\ngru: {layers: 2, hidden_size: 16}\n"


def build_analysis(root: Path) -> None:
    """Fill `root` with a corpus, a finished run of it, and what does not go with them."""
    said = analysed_corpus(root / "said").root
    (root / "analysis.yaml").write_text(yaml.safe_dump(SETTINGS))
    (said / "gru.yaml").write_text(GRU)
    _alignments(said)
    _words(said)
    _stores(said)
    samples = said / "samples"
    samples.mkdir()
    (samples / "phones_sample0.json").write_text(json.dumps({"x": ["", [0.0, 0.1, "a"]]}))
    (said / "broken_samples").mkdir()
    (said / "broken_samples/phones_sample0.json").write_text('{"s0-0": [')
    words = ["--run", "cca_phone", "--upstream", "baseline", "--config", "analysis.yaml", "--name", "first"]
    with contextlib.chdir(root), contextlib.redirect_stdout(None):
        run_analysis.main([*words, "--cpu", "--no-msg", "--bootstrap", "0", "--expdir", "exp"])
    room = root / "exp/result_analysis"
    shutil.copytree(room / "first", room / "other")
    result = json.loads((room / "other/result.json").read_text())
    result["experiments"]["cca_phone"]["measure"] = "mean CCA"
    (room / "other/result.json").write_text(json.dumps(result))
    (room / "listed").mkdir()
    (room / "listed/result.json").write_text(json.dumps({"kind": "analysis", "experiments": [1]}))


def _alignments(said: Path) -> None:
    long = [(0.0, 0.05, "a"), (0.05, 0.1, "b")]
    ids = [f"s{speaker}-{number}" for speaker in range(6) for number in range(8)]
    write_alignment(said / "foreign", [("x", long)])
    write_alignment(said / "partly", [("s0-0", long)])
    write_alignment(said / "single", [(key, [(0.0, 0.05, "a")]) for key in ids])
    write_alignment(said / "late", [(key, [(0.0, 0.05, "a"), (90.0, 90.1, "b")]) for key in ids])


def _words(said: Path) -> None:
    texts = {
        "half.txt": "rabbit 1 2 3\nwindow 1 2\n",
        "lettered.txt": "rabbit 1 x 3\n",
        "other.csv": "pair,utterance_a,utterance_b,score\n1,x,s0-0,2\n",
        "scoreless.csv": "pair,utterance_a,utterance_b,score\n1,s0-0,s1-0,much\n",
        "scoreless.txt": "rabbit\twindow\tmuch\n",
        "nothing.txt": "",
    }
    for name, text in texts.items():
        (said / name).write_text(text)


def _stores(said: Path) -> None:
    rng = np.random.default_rng(1)
    frames = {f"s{n % 6}-{n // 6}": rng.normal(size=(400, WIDTH)).astype(np.float32) for n in range(48)}
    write_store(said / "spoilt", "all", frames)
    np.load(said / "spoilt/all.npy", mmap_mode="r+")[3, 2] = np.nan
    (said / "spoilt/all.digest").touch()  # else it would be made again
    write_store(said / "mute", "all", {f"{n}": frames["s1-0"] for n in range(3)})
