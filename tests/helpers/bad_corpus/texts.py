"""The bad inputs of texts, and corpora that are looked at before use."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_input_cases import Case, case
from utility.labels.texts import TextInfo, write_texts

TEXT, CHECK = "preprocess_text.py", "check_corpus.py"
SAID = f"{TEXT} --data_path texts/said --name new"

CASES: list[Case] = [
    case("texts that are not there", f"{TEXT} --data_path nowhere", "nowhere", "no such file"),
    case("folder without texts", f"{TEXT} --data_path texts/audio", "texts/audio", "*.trans.txt", "a.csv is a table"),
    case("texts of two forms", f"{TEXT} --data_path texts/mixed", "texts/mixed", "librispeech (a.trans.txt)", "trn (b.trn)", "--format"),
    case("texts of a form that the folder has not", f"{TEXT} --data_path texts/mixed --format kaldi", "texts/mixed", "kaldi", "named text"),
    case("file of texts of no known form", f"{TEXT} --data_path texts/said/notes.rtf", "notes.rtf", "--format librispeech, kaldi"),
    case("folder of tables", f"{TEXT} --data_path texts/audio --format csv", "texts/audio", "the table itself"),
    case("table without texts", f"{TEXT} --data_path texts/audio/a.csv", "a.csv", "no column 'text'", "id, path", "--text_column"),
    case("table of texts without ids", f"{TEXT} --data_path texts/idless.csv", "idless.csv", "no column id", "path"),
    case("table of texts in another encoding", f"{TEXT} --data_path texts/latin.csv", "latin.csv", "not UTF-8"),
    case("texts of one utterance twice", SAID, "said/text: line 3", "'a'", "line 1 already"),
    case("texts without a letter", f"{TEXT} --data_path texts/empty/text --name new", "no text that can be used", "2 errors", "text: line 1", "'...'"),
    case("texts in another encoding", f"{TEXT} --data_path texts/latin/text --name new", "text: line 1", "not UTF-8"),
    case("broken lines of trn", f"{TEXT} --data_path texts/broken.trn --name new", "broken.trn: line 1", "TEXT (ID)", "'hello (a'"),
    case("broken text of TIMIT", f"{TEXT} --data_path texts/timit --name new", "SA1.TXT: line 1", "0 SAMPLES TEXT", "'She had your'"),
    case("texts with digits that are all refused", f"{TEXT} --data_path texts/digits/text --digits refuse --name new", "text: line 1", "number sign '7'"),
    case("characters of the other case", f"{SAID} --keep_characters abc", "'a'", "case upper"),
    case("texts in a place that holds something else", f"{TEXT} --data_path texts/digits/text --output_path . --name flat", "flat", "no part of texts"),
    case("order of n-grams that are not made", f"{SAID} --order 4", "--order", "--arpa FILE"),
    case("order of n-grams that is too high", f"{TEXT} --data_path texts/digits/text --name new --arpa new.arpa --order 12", "order 12", "1 to 9"),
    case("n-grams within the folder of texts", f"{TEXT} --data_path texts/digits/text --name new --arpa data/new/x.arpa", "data/new/x.arpa", "another place"),
    case("splits of texts that are not there", f"{TEXT} --data_path texts/good.tsv --target char --fit_splits dev", "good.tsv", "no split dev", "it has train"),
    case("splits of texts that nothing is made of", f"{TEXT} --data_path texts/good.tsv --fit_splits train", "--fit_splits", "--arpa FILE or --target"),
    case("phonemes without a lexicon", f"{TEXT} --data_path texts/good.tsv --target phoneme", "--lexicon FILE"),
    case("lexicon that no target uses", f"{TEXT} --data_path texts/good.tsv --target char --lexicon texts/lexicon.txt", "--lexicon", "--target phoneme"),
    case("lexicon with a word without phones", f"{TEXT} --data_path texts/good.tsv --target phoneme --lexicon texts/phoneless.txt", "phoneless.txt: line 2", "'TO'"),
    case("lexicon without the words", f"{TEXT} --data_path texts/good.tsv --target phoneme --lexicon texts/lexicon.txt", "lexicon.txt", "2 words: OR (2), NOT (1)", "leave_out"),
    case("subwords without sentencepiece", f"{TEXT} --data_path texts/good.tsv --target subword", "sentencepiece", "requirements-subword.txt", without="sentencepiece"),
    case("more subwords than the texts have", f"{TEXT} --data_path texts/good.tsv --target subword", "--n_tokens 5000", "too high", needs="sentencepiece"),
    case("too few tokens for words", f"{TEXT} --data_path texts/good.tsv --target word --n_tokens 3", "--n_tokens 3", "at least 4"),
    case("corpus to look at that is not there", f"{CHECK} --data_path nowhere", "nowhere", "no such folder"),
    case("look at no corpus", CHECK, "which corpus?", "--data_path"),
    case("layout with a flag of another", f"{CHECK} --data_path flat --layout libri --drop_sa", "--layout libri", "--drop_sa"),
    case("labels to look at without a column", f"{CHECK} --data_path flat --labels texts/good.tsv", "--labels", "--label_column"),
    case("labels of another corpus to look at", f"{CHECK} --data_path flat --labels texts/good.tsv --label_column text", "texts/good.tsv", "none of the"),
    case("texts to look at that are not there", f"{CHECK} --data_path flat --text flat", "flat", "no texts here", "preprocess_text.py"),
    case("damaged texts", f"{CHECK} --data_path flat --text texts/damaged", "damaged/text.tsv: line 2", "'a' is there twice"),
    case("figure of a form that there is not", f"{CHECK} --data_path flat --figure look.bmp", "look.bmp", ".png or .svg"),
    case("findings in a place where nothing can be made", f"{CHECK} --data_path flat --output good.yaml/look.json", "good.yaml", "not a folder"),
]  # fmt: skip

FILES = {
    "audio/a.csv": "id,path\na,a.wav\n",
    "mixed/a.trans.txt": "a ONE\n",
    "mixed/b.trn": "one (a)\n",
    "said/text": "a one\nb two\na three\n",
    "said/notes.rtf": "one\n",
    "idless.csv": "speaker,text\nx,one\n",
    "empty/text": "a ...\nb\n",
    "broken.trn": "hello (a\n",
    "timit/TRAIN/DR1/FVMH0/SA1.TXT": "She had your\n",
    "digits/text": "a room 7\n",
    "good.tsv": "id\tsplit\ttext\na\ttrain\tto be\nb\ttrain\tor not or\n",
    "lexicon.txt": "TO T UW\nBE B IY\n",
    "phoneless.txt": "BE B IY\nTO\n",
}


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    for name, text in FILES.items():
        file = root / "texts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "texts/latin.csv").write_bytes("id,text\na,für\n".encode("latin-1"))
    (root / "texts/latin").mkdir()
    (root / "texts/latin/text").write_bytes("a für\n".encode("latin-1"))
    write_texts(root / "texts/damaged", [("a", "ONE")], TextInfo(format="kaldi"))
    (root / "texts/damaged/text.tsv").write_text("a\tONE\na\tTWO\n")
