"""The bad inputs of lists of utterances and alignments."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import ALIGN, EXTRACT, NEW, RUN, Case, case
from utility.kaldi.archives import write_ark
from utility.labels.alignment import write_alignment

KALDI = f"{ALIGN} --name new --format kaldi --data_path"
LISTED = f"{RUN} --run phone_linear --upstream baseline data.alignment=phones data.cache=cache"
CPC = f"{LISTED} data.split=cpc"

CASES: list[Case] = [
    case("list that is not there", f"{LISTED} data.train=[data/mel/train@lists/none.txt]", "lists/none.txt", "no such list of utterances"),
    case("list that is a folder", f"{LISTED} data.train=[data/mel/train@lists]", "lists: a folder", "one id a line"),
    case("list without a name", f"{LISTED} data.train=[data/mel/train@]", "data/mel/train@", "no list behind the @"),
    case("list of a split that is not there", f"{LISTED} data.train=[data/mel/trian@lists/some.txt]", "data/mel/trian: no such split", "data/mel has"),
    case("list with an id twice", f"{LISTED} data.train=[data/mel/train@lists/twice.txt]", "lists/twice.txt:5", "'s0-0' is there twice, first in line 2"),
    case("list of nothing but remarks", f"{LISTED} data.train=[data/mel/train@lists/remarks.txt]", "lists/remarks.txt", "no utterance in it"),
    case("list in another encoding", f"{LISTED} data.train=[data/mel/train@lists/latin.txt]", "lists/latin.txt", "not UTF-8 text at byte 1"),
    case("list of utterances of which some are not there", f"{LISTED} data.train=[data/mel/train@lists/more.txt]", "lists/more.txt: data/mel/train lacks 2 of its 3 utterances", "'x-1' for one", "data.unaligned=leave_out"),
    case("list of another corpus", f"{LISTED} data.unaligned=leave_out data.train=[data/mel/train@lists/other.txt]", "lists/other.txt: data/mel/train has none of its 2 utterances", "'x-1'", "like 's0-0'"),
    case("list and its own split together", f"{LISTED} data.train=[data/mel/train@lists/some.txt] data.test=[data/mel/train]", "'s0-0' is not unique", "data/mel/train@lists/some.txt"),
    case("list of pre-training with ids that are not there", f"{NEW} --config good.yaml data.train=[data/mel/train@lists/more.txt]", "lists/more.txt", "lacks 2 of its 3"),
    case("list of an extraction with an id twice", f"{EXTRACT} --upstream baseline --input data/mel/train@lists/twice.txt --output out", "lists/twice.txt:5", "twice"),
    case("list of an analysis with ids that are not there", "run_analysis.py --cpu --no-msg --expdir exp --run cca_mel --upstream baseline data.store=[data/mel/train@lists/more.txt]", "lists/more.txt", "data.unaligned=leave_out"),
    case("S3PRL's cut without a list", f"{CPC} data.train=[data/mel/train] data.test=[data/mel/test]", "data.split 'cpc' cuts a list", "data.train=[data/NAME/SPLIT@train_split.txt]"),
    case("S3PRL's cut without a test list", f"{CPC} data.train=[data/mel/train@lists/some.txt]", "data.split 'cpc'", "leave data.dev empty, list data.test"),
    case("S3PRL's cut with a dev part", f"{CPC} data.train=[data/mel/train@lists/some.txt] data.dev=[data/mel/dev] data.test=[data/mel/test]", "data.split 'cpc' has nothing to cut"),
    case("labels by number without an alignment", f"{RUN} --run speaker_utterance --upstream baseline data.train=[data/mel/train] data.label_rule=index", "label_rule index", "data.alignment is not set"),
    case("labels by number of an alignment between its steps", f"{LISTED} data.train=[data/mel/train] data.alignment=fine data.label_rule=index", "fine: s0-0", "0.105000 s", "data.label_rule=time"),
    case("Kaldi's alignment of transition ids", f"{KALDI} ali/transitions.ark --phones ali/phones.txt", "ali/transitions.ark: s0-0: 1042 is more than 3", "transition ids cannot be mapped without the model", "ali-to-phones"),
    case("Kaldi's alignment with another table of phones", f"{KALDI} ali/phones.ark --phones ali/holes.txt", "ali/phones.ark: s0-0: 2 is no phone"),
    case("Kaldi's features for an alignment", f"{KALDI} ali/feats.ark --phones ali/phones.txt", "ali/feats.ark: s0-0", "whole number for every frame"),
    case("Kaldi's alignment without phones", f"{KALDI} ali/phones.ark", "--format=kaldi needs --phones phones.txt"),
    case("Kaldi's alignment of words", f"{KALDI} ali/phones.ark --phones ali/phones.txt --tier words", "--tier=words", "--format=ctm"),
    case("archive of Kaldi without a format", f"{ALIGN} --name new --data_path ali/phones.ark", "ali/phones.ark", "--format kaldi"),
    case("table of phones for another format", f"{ALIGN} --name new --data_path grids_bad --phones ali/phones.txt", "--phones goes with --format=kaldi"),
    case("table of phones with a broken line", f"{KALDI} ali/phones.ark --phones ali/torn.txt", "ali/torn.txt:3", "expected `PHONE id`, got 'T'"),
    case("table of phones with an id twice", f"{KALDI} ali/phones.ark --phones ali/doubled.txt", "ali/doubled.txt:2", "id 1 is there twice, first in line 1"),
    case("frames that stand still", f"{KALDI} ali/phones.ark --phones ali/phones.txt --frame_shift 0", "--frame_shift", "seconds from 0.0001 to 1"),
    case("archive of Kaldi that is cut off", f"{KALDI} ali/cut.ark --phones ali/phones.txt", "ali/cut.ark", "cut off"),
    case("utterances to exclude in a file that is not there", f"{ALIGN} --name new --data_path ali/texts --exclude none.txt", "none.txt", "No such file"),
    case("nothing left after exclusion", f"{ALIGN} --name new --data_path ali/texts --exclude ali/texts/unaligned.txt", "nothing to write", "ali/texts/unaligned.txt leaves out 1"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    lists, ali = root / "lists", root / "ali"
    for folder in (lists, ali / "texts"):
        folder.mkdir(parents=True)
    texts = {
        "some": "s0-0\ns0-1\ns1-0\n",
        "twice": "# two of one\ns0-0\n\ns0-1\ns0-0\n",
        "remarks": "# none yet\n\n",
        "more": "s0-0\nx-1\nx-2",
        "other": "x-1\nx-2\n",
    }
    for name, text in texts.items():
        (lists / f"{name}.txt").write_text(text)
    (lists / "latin.txt").write_bytes("sé-0\n".encode("latin-1"))
    tables = {
        "phones": "<eps> 0\nSIL 1\nAH_B 2\nT_E 3\n#0 4\n",
        "holes": "SIL 1\nT_E 3\n",
        "torn": "SIL 1\nAH 2\nT\n",
        "doubled": "SIL 1\nAH 1\n",
    }
    for name, text in tables.items():
        (ali / f"{name}.txt").write_text(text)
    (ali / "texts/a.txt").write_text("0.0 0.1 aa\n")
    (ali / "texts/unaligned.txt").write_text("a silent\n")
    for name, values in {"phones": [1, 2, 3], "transitions": [2, 1042]}.items():
        write_ark(ali / f"{name}.ark", [("s0-0", np.array(values, np.int32))], scp=False)
    write_ark(ali / "feats.ark", [("s0-0", np.zeros((2, 3), np.float32))], scp=False)
    (ali / "cut.ark").write_bytes((ali / "phones.ark").read_bytes()[:-3])
    ids = [f"s{speaker}-{number}" for speaker in range(4) for number in range(6)]
    write_alignment(root / "fine", [(key, [(0.0, 0.105, "aa"), (0.105, 0.3, "b")]) for key in ids])
