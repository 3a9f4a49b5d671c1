"""Every documented command of the original program for layer-wise analysis has its twin in docs/originals.md, which
runs on the built-in corpus and leaves what the page promises."""

import csv
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.helpers.files import LINKED, contents
from utility.labels.alignment import Alignment

# Of its README: scripts, and what they are called with.
DOCUMENTED = (
    "recipe.sh",
    "prepare_alignment_files.sh librispeech",
    *(f"create_librispeech_data_samples.sh {kind}" for kind in ("frame", "phone", "word")),
    "prep_linguistic_attributes_and_word_samples.sh",
    *(f"save_embeddings.sh {kind}" for kind in ("agwe", "glove", "one-hot")),
    "prep_spoken_sts.sh",
    "extract_rep.sh local frame",
    *(f"extract_rep.sh contextualized {span}" for span in ("frame", "phone", "word", "all_words")),
    "extract_rep.py combine",
    *(f"get_cca_scores.sh {name} frame" for name in ("cca_mel", "cca_intra")),
    "get_cca_scores.sh cca_phone phone",
    *(f"get_cca_scores.sh cca_{name} word" for name in ("word", "agwe", "glove", "semantic", "syntactic")),
    "get_cca_scores.sh layer_num",
    *(f"get_mi_scores.sh {span}" for span in ("phone", "word")),
    "create_wsim_word_samples.sh",
    *(f"extract_static_word_embed.sh {step}" for step in ("extract", "combine")),
    "get_wordsim_scores.sh",
    "word_segmentation_librispeech.py",
    "extract_rep.sh contextualized frame buckeye",
    "word_segmentation_buckeye.py",
    "extract_rep_spoken_sts.sh",
    "eval_spoken_sts.sh",
)
PRINTED = "the counts, printed"
PREPARED = """
preprocess/demo_corpus.py --minutes 6 --speakers 6
preprocess/preprocess_libri.py --data_path data/demo_corpus --name demo_mel160 --n_jobs 1
runner_mockingjay.py --train --config config/mockingjay_demo.yaml --name demo --cpu --no-msg model.hidden_size=16 model.heads=2 model.ffn_size=16 trainer.steps=4 trainer.eval_every=2
"""  # noqa: E501  # a command a line
SMALLER = {
    "run_analysis.py": ["--cpu", "--no-msg", "--bootstrap", "10", "sampling.phones_min=5", "sampling.words_min=2"],
    "preprocess/preprocess_libri.py": ["--n_jobs", "2"],
    "runner_mockingjay.py": ["--cpu"],
}


def rows() -> list[list[str]]:
    """The cells of the table: the original's command, ours, and what ours leaves."""
    page = (PROJECT / "docs" / "originals.md").read_text(encoding="utf-8")
    section = page.partition("## Layer analysis\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_documented_command_has_a_row_and_every_row_a_command():
    table, original, shown = rows(), "", []
    for cells in table:
        assert len(cells) == 3, cells
        assert re.fullmatch(r"`python [\w/]+\.py [^`]+`", cells[1]), f"{cells[0]}: no command"
        assert cells[2] == PRINTED or re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cells[2]), cells[0]
        assert (cells[2] == PRINTED) == ("--dry_run" in cells[1]), cells[0]
        words = shlex.split(cells[0].replace("`", "").replace(":", " ").replace("(", " ").replace(")", " "))
        if cells[0].startswith("the same"):
            words = [original.split()[0], *words]
        elif cells[0].startswith("`"):
            original = cells[0].strip("`").split("`")[0].removeprefix(". examples/")
        shown.append([word.removeprefix("examples/") for word in words])
    for command in DOCUMENTED:
        assert any(set(command.split()) <= set(words) for words in shown), f"{command} has no row"


def execute(words: list[str], monkeypatch) -> None:
    """Run a command of the page in this process."""
    script, *rest = words
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [script, *rest])
    main = runpy.run_path(script)["main"]
    assert main(rest) == 0, words


def write_files_of_a_reader(folder: Path) -> None:
    """Vectors, shares and pairs of the words that are spoken, and phones in the original's JSON."""
    if (folder / "words").is_dir():
        return
    rng, alignment = np.random.default_rng(0), Alignment(folder / "data/demo_words")
    words = sorted({label.lower() for label in alignment.labels if label.isalpha()})
    (folder / "words").mkdir()
    vectors = [f"{word} {' '.join(f'{x:.4f}' for x in rng.normal(size=5))}\n" for word in words]
    (folder / "words/glove.txt").write_text("".join(vectors))
    for name in ("senses", "tags"):
        shares = [
            json.dumps({f"{name}{k}": 0.5, f"{name}{(k + 1) % 4}": 0.5}) for k in rng.integers(4, size=len(words))
        ]
        (folder / f"words/{name}.txt").write_text("".join(f"{w}\t{s}\n" for w, s in zip(words, shares)))
    pairs = [f"{a}\t{b}\t{score:.3f}\n" for a, b, score in zip(words, words[1:], rng.random(len(words)))]
    (folder / "words/similarity.txt").write_text("".join(pairs))
    phones: dict[str, list] = {}
    alignment = Alignment(folder / "data/demo_phones")
    for name in alignment.ids:
        for start, end, label in alignment.segments(name).tolist():
            phones.setdefault(alignment.labels[label], []).append([name, f"{name}.flac", start, end])
    (folder / "alignments").mkdir()
    (folder / "alignments/phone.json").write_text(json.dumps(phones))


def check_left(path: Path) -> None:
    """A file that a row promises: scores are finite, arrays hold numbers, alignments and texts something."""
    if path.name == "result.json":
        experiments = json.loads(path.read_text())["experiments"]
        assert experiments, path
        for found in experiments.values():
            for curve in found["upstreams"].values():
                assert curve, path
                assert all(np.isfinite(row["score"]) for row in curve), path
    elif path.suffix == ".json" and "original" in path.parts:
        scores = json.loads(path.read_text())
        assert scores, path
        assert all(np.isfinite(score) for score in scores.values()), path
    elif path.suffix == ".lst":
        lines = list(csv.reader(path.open()))
        assert lines, path
        assert all(len(line) == 4 and 0 <= float(line[3]) <= 1 for line in lines), path
    elif path.suffix == ".npy":
        assert np.load(path, mmap_mode="r").size, path
    else:
        assert path.read_text().strip(), path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_twin_of_every_command_runs_and_leaves_what_it_promises(tmp_path, monkeypatch, capsys):
    for name in (*LINKED, *(path.name for path in PROJECT.glob("run*.py"))):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    for line in PREPARED.strip().splitlines():
        execute(shlex.split(line), monkeypatch)
    for number, (_, command, promised) in enumerate(rows()):
        words = shlex.split(command.strip("`"))[1:]
        if any(word.rpartition("=")[2].lstrip("[").startswith(("words/", "alignments/")) for word in words):
            write_files_of_a_reader(tmp_path)
        before = contents(tmp_path / "result") if promised == PRINTED else {}
        capsys.readouterr()
        execute([*words, *SMALLER.get(words[0], [])], monkeypatch)
        printed = capsys.readouterr().out
        assert printed.strip(), (number, command)
        if promised == PRINTED:
            name = words[words.index("--run") + 1].split(",")[0]
            assert re.search(rf"^\s*{name}: .*\d", printed, re.MULTILINE), (command, printed)
            assert contents(tmp_path / "result") == before, command
            continue
        for pattern in re.findall(r"`([^`]+)`", promised):
            left = sorted(tmp_path.glob(pattern))
            assert left, f"{command} left no {pattern}"
            for path in left:
                check_left(path)
