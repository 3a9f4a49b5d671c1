"""The bad inputs of exports to Kaldi, CMVN and definitions of features."""
# ruff: noqa: E501

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import ANY, EXTRACT, ONLINE, Case, case
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.speech import MEL, write_store
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

EXPORT, FLAT = "export_kaldi.py --output_path out", f"{ANY} --data_path flat --name x"
SPEECH = f"{EXPORT} --store exports/speech/train"
BY_SPEAKER = replace(MEL, cmvn="speaker")

CASES: list[Case] = [
    case("export of a store that is not there", f"{EXPORT} --store nowhere/train", "nowhere/train", "no feature store here"),
    case("export of several layers", f"{EXPORT} --store exports/layers/train", "exports/layers/train", "[2, 4] per frame", "one layer"),
    case("several layers as APC's text", f"{EXPORT} --store exports/layers/train --format blogmel", "[2, 4] per frame"),
    case("export of a speaker with a blank", f"{EXPORT} --store exports/blank/train", "exports/blank/train", "speaker 's 0'", "white space"),
    case("export of an utterance called as a speaker", f"{EXPORT} --store exports/alone/train", "'s1'", "no speaker, and the name of one"),
    case("speakers before ids that become alike", f"{EXPORT} --store exports/alike/train --prefix_speaker", "'s1-1'", "--prefix_speaker"),
    case("export into a folder of other things", "export_kaldi.py --store exports/speech/train --output_path exports/taken", "exports/taken/train", "'notes.txt'", "another place"),
    case("exports of two splits of one name", f"{SPEECH} exports/layers/train", "out/train", "one by one"),
    case("export with texts that are not there", f"{SPEECH} --text nowhere", "nowhere", "preprocess_text.py"),
    case("export with texts of some utterances", f"{SPEECH} --text exports/few", "exports/few has no text", "2 of 3 utterances", "'s1-1'"),
    case("export with a text without an id", f"{SPEECH} --text exports/tabless", "exports/tabless/text.tsv: line 2", "an id, a tab and a text"),
    case("export with two texts of one utterance", f"{SPEECH} --text exports/twice", "exports/twice/text.tsv: line 2", "'s0-0'", "twice"),
    case("compression of APC's text", f"{SPEECH} --format blogmel --compress speech", "--format blogmel", "--compress"),
    case("shard of a data directory", f"{EXTRACT} --ckpt ckpt/good.ckpt --input data/mel/dev --format kaldi --shard 1/2", "--format kaldi", "--shard"),
    case("store that lost its statistics", f"{EXPORT} --store exports/lost/train", "exports/lost/train.cmvn.npz", "no such file", "cmvn speaker"),
    case("statistics that were cut off", f"{EXPORT} --store exports/cut/train", "exports/cut/train.cmvn.npz", "damaged"),
    case("statistics of other speakers", f"{EXPORT} --store exports/renamed/train", "exports/renamed/train.cmvn.npz", "1 of the speakers", "'new'"),
    case("statistics of other frames", f"{EXPORT} --store exports/swapped/train", "exports/swapped/train.cmvn.npz", "of 's0' 4 there, 9 in the table"),
    case("speakers' normalisation straight from audio", f"{EXTRACT} --ckpt exports/speaker.ckpt --input flat", "cmvn speaker", "--statistics"),
    case("statistics that are none", f"{EXTRACT} --ckpt exports/speaker.ckpt --input flat --statistics exports/few/text.tsv", "exports/few/text.tsv", "no statistics of a store"),
    case("statistics beside a store", f"{EXTRACT} --ckpt exports/speaker.ckpt --input exports/speech/train --statistics exports/speech/train.cmvn.npz", "exports/speech/train", "--statistics"),
    case("statistics that nothing takes", f"{EXTRACT} --ckpt ckpt/good.ckpt --input flat --statistics exports/speech/train.cmvn.npz", "--statistics", "cmvn utterance"),
    case("speakers' normalisation in training from audio", f"{ONLINE} online.input.cmvn=speaker", "cmvn speaker", "takes the statistics of a store"),
    case("window of features that have one", f"{FLAT} --feature_type mel --window_type hamming", "window_type", "kind mel", "kaldi_fbank"),
    case("energy of features without a coefficient", f"{FLAT} --feature_type kaldi_fbank --energy", "energy", "kind kaldi_fbank", "kaldi_mfcc"),
    case("derivatives of APC's features", f"{FLAT} --feature_type apc_fbank --delta", "apc_fbank", "--delta", "--feature_type kaldi_fbank"),
    case("normalisation said twice", f"{FLAT} --cmvn speaker --apply_cmvn", "--cmvn speaker", "--apply_cmvn"),
    case("unknown normalisation", f"{FLAT} --cmvn speakers", "--cmvn", "'speakers'", "speaker_mean"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    root = root / "exports"
    for name in ("speech", "lost", "cut", "renamed", "swapped"):
        write_store(root / name / "train", {"s0-0": 4, "s1-1": 9, "s1-2": 5}, BY_SPEAKER)
    (root / "lost" / "train.cmvn.npz").unlink()
    whole = (root / "cut" / "train.cmvn.npz").read_bytes()
    (root / "cut" / "train.cmvn.npz").write_bytes(whole[:500])
    _edit(root / "renamed" / "train.csv", ",s0,", ",new,")
    _edit(root / "swapped" / "train.csv", "s1-2,13,5,1000,s1", "s1-2,13,5,1000,s0")
    for name in ("blank", "alone", "alike"):
        write_store(root / name / "train", {"s0-0": 4, "s1-1": 9, "s1": 5, "1": 3})
    _edit(root / "blank" / "train.csv", ",s0,", ",s 0,")
    _edit(root / "alone" / "train.csv", "s1,13,5,1000,s1,", "s1,13,5,1000,,")
    _edit(root / "alike" / "train.csv", ",1,1.wav", ",s1,1.wav")  # 1 of s1, and s1-1 of nobody
    _edit(root / "alike" / "train.csv", ",s1,s1-1", ",,s1-1")
    info = StoreInfo(row_shape=[2, 4], frame_shift=0.01, kind="representation")
    writer = StoreWriter.open(root / "layers", "train", [Row("a", 3, 0, "", "a.wav")], info)
    writer.write(0, np.zeros((3, 2, 4), np.float32))
    writer.finish()
    (root / "taken" / "train").mkdir(parents=True)
    (root / "taken" / "train" / "notes.txt").write_text("mine\n")
    texts = {"few": "s0-0\tA\n", "tabless": "s0-0\tA\ns1-1 B\n", "twice": "s0-0\tA\ns0-0\tB\n"}
    for name, text in texts.items():
        (root / name).mkdir()
        (root / name / "text.tsv").write_text(text)
        (root / name / "text.yaml").write_text("format: kaldi\n")
    write_checkpoint(root / "speaker.ckpt", model=TRANSFORMER, features=BY_SPEAKER)


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new))
