"""The bad inputs of decoding and of files to score."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_input_cases import PHONE, Case, case

SCORE, LOWEST = "run_downstream.py --score", "run_downstream.py --lowest_wer"

CASES: list[Case] = [
    case("files to score that are not there", f"{SCORE} nowhere.tsv", "nowhere.tsv"),
    case("folder to score", f"{SCORE} scores", "scores", "directory"),
    case("one .trn file", f"{SCORE} scores/ref.trn", "scores/ref.trn", "two .trn files"),
    case("tables of two kinds", f"{SCORE} scores/ref.trn scores/good.tsv", "scores/good.tsv", "two .trn files"),
    case("two tables to score", f"{SCORE} scores/good.tsv scores/good.tsv", "one table"),
    case("table to score without a tab", f"{SCORE} scores/tabless.tsv", "scores/tabless.tsv: line 2", "'no tab here'"),
    case("table to score with a third column", f"{SCORE} scores/three.tsv", "scores/three.tsv: line 1", "a reference, a tab and a hypothesis"),
    case("predictions to score with a short row", f"{SCORE} scores/short.tsv", "scores/short.tsv: line 3", "3 fields"),
    case("table to score in another encoding", f"{SCORE} scores/latin.tsv", "scores/latin.tsv: line 2", "not UTF-8"),
    case("empty table to score", f"{SCORE} scores/empty.tsv", "scores/empty.tsv", "no utterance"),
    case("references without words", f"{SCORE} scores/wordless.tsv", "scores/wordless.tsv", "every reference is empty"),
    case("line of a .trn without id", f"{SCORE} scores/ref.trn scores/broken.trn", "scores/broken.trn: line 2", "TEXT (ID)"),
    case("utterance of a .trn twice", f"{SCORE} scores/ref.trn scores/twice.trn", "scores/twice.trn: line 3", "'a' is in line 1"),
    case("utterance without a hypothesis", f"{SCORE} scores/ref.trn scores/less.trn", "scores/less.trn", "1 of 2 utterances", "'b'"),
    case("hypothesis of an unknown utterance", f"{SCORE} scores/ref.trn scores/more.trn", "scores/more.trn", "'c' is not in scores/ref.trn"),
    case("flag beside files to score", f"{SCORE} scores/good.tsv --seeds 3", "--score", "--seeds", "--run"),
    case("folder of Kaldi that is not there", f"{LOWEST} nowhere", "nowhere", "no such folder"),
    case("folder without Kaldi's rates", f"{LOWEST} scores/kaldi_none", "scores/kaldi_none", "no file wer_*"),
    case("rate of Kaldi that is none", f"{LOWEST} scores/kaldi", "scores/kaldi/wer_7: line 2", "%WER"),
    case("decoding where nothing is decoded", f"{PHONE} baseline decode.beam=5", "decode.beam=5", "phone_linear has no use"),
]  # fmt: skip

FILES = {
    "ref.trn": "one (a)\ntwo (b)\n",
    "broken.trn": "one (a)\ntwo b\n",
    "twice.trn": "one (a)\ntwo (b)\none (a)\n",
    "less.trn": "one (a)\n",
    "more.trn": "one (a)\ntwo (b)\nthree (c)\n",
    "good.tsv": "one\tone\n",
    "tabless.tsv": "one\tone\nno tab here\n",
    "three.tsv": "one\tone\ttwo\n",
    "short.tsv": "id\treference\thypothesis\na\tone\tone\nb\ttwo\n",
    "empty.tsv": "",
    "wordless.tsv": "\tone\n \t\n",
    "kaldi_none/best_wer": "%WER 3.0 [ 3 / 100 ]\n",
    "kaldi/wer_7": "compute-wer\nno rate\n",
}


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    for name, text in FILES.items():
        file = root / "scores" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "scores/latin.tsv").write_bytes("eins\teins\nfür\tfür\n".encode("latin-1"))
