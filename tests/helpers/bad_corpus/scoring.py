"""The bad inputs of decoding and of files to score."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_corpus.recognition import CHARS, PHONES
from tests.helpers.bad_input_cases import PHONE, Case, case

NEEDED = "flashlight.lib.text"
WORDS = f"{CHARS} decode.method=lexicon"
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
    case("decoding by a method that there is not", f"{CHARS} decode.method=viterbi", "decode.method", "greedy", "beam"),
    case("beam of no hypothesis", f"{CHARS} decode.method=beam decode.beam=0", "decode.beam", "greater than or equal to 1"),
    case("beam of greedy decoding", f"{CHARS} decode.beam=5", "decode.beam=5", "decode.method is greedy"),
    case("hypotheses of greedy decoding", f"{CHARS} --sweep decode.nbest=1,3", "decode.nbest=3", "decode.method is greedy"),
    case("language model of a beam", f"{CHARS} decode.method=beam decode.lm=scores/no.arpa", "decode.lm=scores/no.arpa", "decode.method is beam"),
    case("weight of no language model", f"{WORDS} decode.lm_weight=2", "decode.lm_weight=2", "decode.lm is not set"),
    case("words without their package", WORDS, "flashlight-text", "pip install -r requirements-decode.txt", without=NEEDED),
    case("language model that is not there", f"{WORDS} decode.lm=nowhere.arpa", "decode.lm=nowhere.arpa", "no such file", needs=NEEDED),
    case("language model that is none", f"{WORDS} decode.lm=scores/good.tsv", "scores/good.tsv", "ARPA", needs=NEEDED),
    case("list of words that is not there", f"{WORDS} decode.lexicon=nowhere.txt", "nowhere.txt", needs=NEEDED),
    case("list with two words in a line", f"{WORDS} decode.lexicon=scores/two.txt", "scores/two.txt: line 2", "'NO YES'", needs=NEEDED),
    case("list without words", f"{WORDS} decode.lexicon=scores/empty.tsv", "scores/empty.tsv", "no word", needs=NEEDED),
    case("list of words in the other case", f"{WORDS} decode.lexicon=scores/lower.txt", "scores/lower.txt", "none of 1 words", "'no'", needs=NEEDED),
    case("words of a list from phones", f"{PHONES}/good.dic decode.method=lexicon", "decode.method=lexicon", "by characters", "phones"),
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
    "two.txt": "YES\nNO YES\n",
    "lower.txt": "no\n",
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
