"""The bad inputs of recognition: texts, lexicons, units, and keys that a head or a reading has no use for."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_store
from utility.labels.alignment import write_alignment
from utility.labels.texts import TextInfo, write_texts

RUN = "run_downstream.py --upstream baseline --cpu --no-msg --expdir exp data.train=[recognised/store/all] --run"
CHARS, TEXT = f"{RUN} ctc_char data.text=recognised/text", "data.text=recognised/text"
PHONES = f"{RUN} ctc_phone {TEXT} data.lexicon=recognised"
ALIGNED = f"{RUN} ctc_phone data.alignment=recognised"

CASES: list[Case] = [
    case("recognition without texts", f"{RUN} ctc_char", "ctc_char", "data.text", "preprocess_text.py"),
    case("recognition with a folder of other things as texts", f"{RUN} ctc_word data.text=recognised/store", "recognised/store", "text.tsv is missing"),
    case("recognition with texts of other utterances", f"{RUN} ctc_char data.text=recognised/foreign", "recognised/foreign", "none of the 6 utterances", "'x-0'", "'s0-0'"),
    case("recognition with texts of some utterances", f"{RUN} ctc_char data.text=recognised/few", "recognised/few", "lacks 3 of the 6", "'s1-1'", "leave_out"),
    case("recognition with a damaged table of texts", f"{RUN} ctc_char data.text=recognised/tabless", "recognised/tabless/text.tsv", "line 2"),
    case("text with the sign that stands between words", f"{RUN} ctc_char data.text=recognised/marked", "recognised/marked/text.tsv", "'s0-0'", "|"),
    case("text with the name of the blank", f"{RUN} ctc_word data.text=recognised/blank probe.head=linear", "'<blank>'", "word"),
    case("phones of nothing", f"{RUN} ctc_phone", "ctc_phone", "data.lexicon", "data.alignment"),
    case("phones of texts without a lexicon", f"{RUN} ctc_phone {TEXT}", "ctc_phone", "data.lexicon", "data.alignment"),
    case("phones of a lexicon without texts", f"{RUN} ctc_phone data.lexicon=recognised/good.dic", "data.lexicon", "data.text"),
    case("phones of a lexicon that is not there", f"{PHONES}/nowhere.dic", "recognised/nowhere.dic"),
    case("phones of a lexicon without a word of the texts", f"{PHONES}/few.dic", "recognised/few.dic", "NO (3)", "leave_out"),
    case("phones of a lexicon for other texts", f"{PHONES}/foreign.dic data.unaligned=leave_out", "recognised/foreign.dic", "recognised/text"),
    case("phones of a lexicon with a bare word", f"{PHONES}/bare.dic", "recognised/bare.dic: line 2", "'NO'", "no phones"),
    case("lexicon of audio", f"{PHONES}/store/all.npy", "recognised/store/all.npy"),
    case("phones of an alignment of other utterances", f"{ALIGNED}/others", "recognised/others", "none of the 6 utterances"),
    case("phones of an alignment of silence", f"{ALIGNED}/silent", "ctc_phone", "the train part has no phone"),
    case("lexicon for characters", f"{CHARS} data.lexicon=recognised/good.dic", "data.lexicon", "ctc_char"),
    case("column of labels for recognition", f"{CHARS} data.labels=recognised/table.csv data.label_column=mood", "data.label_column", "data.text"),
    case("subwords without a model", f"{RUN} ctc_subword {TEXT}", "data.subword_model", "preprocess_text.py --target subword"),
    case("subwords by a model that is none", f"{RUN} ctc_subword {TEXT} data.subword_model=recognised/good.dic", "recognised/good.dic", "sentencepiece", needs="sentencepiece"),
    case("subwords by a model that is not there", f"{RUN} ctc_subword {TEXT} data.subword_model=recognised/no.model", "recognised/no.model", needs="sentencepiece"),
    case("subwords without their library", f"{RUN} ctc_subword {TEXT} data.subword_model=recognised/good.dic", "sentencepiece", "requirements-subword.txt", without="sentencepiece"),
    case("subword model for characters", f"{CHARS} data.subword_model=recognised/m", "data.subword_model", "ctc_char"),
    case("phones without stress for characters", f"{CHARS} data.strip_stress=true", "data.strip_stress", "ctc_char"),
    case("rare words for characters", f"{CHARS} data.min_count=2", "data.min_count=2", "ctc_char"),
    case("recognition by a head of whole utterances", f"{CHARS} probe.head=gru", "probe.head=gru", "linear or bilstm"),
    case("layers of a linear head of recognition", f"{PHONES}/good.dic probe.layers=3", "probe.layers=3", "ctc_phone"),
    case("width of a linear head of recognition", f"{PHONES}/good.dic probe.hidden_size=9", "probe.hidden_size=9", "linear"),
    case("hidden layers of recognition", f"{CHARS} probe.hidden_layers=1", "probe.hidden_layers=1", "ctc_char"),
    case("context of recognition", f"{CHARS} probe.context=3", "probe.context=3", "ctc_char"),
    case("pool of recognition", f"{CHARS} probe.pool=mean", "probe.pool='mean'", "ctc_char"),
    case("metric that recognition has not", f"{CHARS} probe.metric=per", "'per'", "wer, cer"),
    case("frames of a step beyond all utterances", f"{CHARS} probe.stack=20 probe.head=linear", "probe.stack=20", "fewer steps than units"),
    case("steps of no frame", f"{CHARS} probe.stack=0", "probe.stack", "greater than 0"),
    case("masks for a probe of frames", f"{RUN} phone_linear data.alignment=recognised/phones probe.specaug.time=1", "probe.specaug", "phone_linear"),
    case("masks by a name that there is not", f"{CHARS} probe.specaug.frequency=1", "probe.specaug.frequency"),
    case("masks as a truth value", f"{CHARS} probe.specaug=true", "probe.specaug"),
    case("exact solution of recognition", f"{CHARS} probe.solver=exact", "probe.solver='exact'", "ctc_char"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    root = root / "recognised"
    ids, rng = [f"s{speaker}-{number}" for speaker in range(3) for number in range(2)], np.random.default_rng(0)
    write_store(root / "store", "all", {key: rng.normal(size=(40, 4)).astype(np.float32) for key in ids})
    texts = {
        "text": dict.fromkeys(ids[:3], "YES YES") | dict.fromkeys(ids[3:], "NO"),
        "foreign": {"x-0": "YES"},
        "few": dict.fromkeys(ids[:3], "YES"),
        "tabless": dict.fromkeys(ids, "YES"),
        "marked": dict.fromkeys(ids, "YES|NO"),
        "blank": dict.fromkeys(ids, "<blank> NO"),
    }
    for name, said in texts.items():
        write_texts(root / name, said.items(), TextInfo(format="csv"))
    table = root / "tabless" / "text.tsv"
    table.write_text(table.read_text().replace("s0-1\t", "s0-1 "))
    lexicons = {
        "good": "YES Y EH S\nNO N OW\n",
        "few": "YES Y EH S\n",
        "foreign": "JA Y AA\n",
        "bare": "YES Y EH S\nNO\n",
    }
    for name, lines in lexicons.items():
        (root / f"{name}.dic").write_text(lines)
    write_alignment(root / "phones", [(key, [(0.0, 0.4, "aa")]) for key in ids])
    write_alignment(root / "silent", [(key, [(0.0, 0.4, "sil")]) for key in ids])
    write_alignment(root / "others", [("x-0", [(0.0, 0.4, "aa")])])
    (root / "table.csv").write_text("id,mood\n" + "".join(f"{key},gay\n" for key in ids))
