"""What somebody has who comes from the originals: corpora, Kaldi's folder, S3PRL's lists and phones, a checkpoint."""

import contextlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.conftest import PROJECT
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.downstream_corpus import WIDTH, write_store
from tests.helpers.importer_corpora import csd, fluent_commands, iemocap, mosei, speech_commands, voxceleb
from tests.helpers.speech import wav
from utility.audio.feature_config import FeatureConfig
from utility.kaldi.archives import write_ark

MATRICES = {f"84-1-{i}": np.full((4, 40), i, "f") for i in range(3)}
ARCHIVES = {  # where Kaldi works, and the archive of MATRICES that its recipe left there
    "kaldi/egs/librispeech/s5": "fmllr_cmvn/train_clean_100/fmllr_cmvn.ark",
    "kaldi/egs/timit/s5": "data-fmllr-tri3/train/data/feats_fmllr_train.1.ark",
    "kaldi/egs/voxceleb/v1": "data/train/feats.ark",
    ".": "kaldi_data/train/feats.ark",
}
TEXTS = {"84-1-0000": "TO BE", "84-1-0001": "OR NOT TO BE", "103-1-0000": "THAT IS IT"}
LEXICON = "TO T UW1\nBE B IY1\nOR AO1 R\nNOT N AA1 T\nTHAT DH AE1 T\nIS IH1 Z\nIT IH1 T\n"


def build_world(root: Path) -> None:
    """Fill `root`, the working directory of the commands."""
    _corpora(root / "corpora")
    _phones(root)
    for base, archive in ARCHIVES.items():
        (root / base / archive).parent.mkdir(parents=True)
        with contextlib.chdir(root / base):
            write_ark(archive, MATRICES.items())
    (root / "config").symlink_to(PROJECT / "config")
    write_checkpoint(root / "best.ckpt", features=FeatureConfig(kind="kaldi_fbank", deltas=0), model=TRANSFORMER)


def _corpora(root: Path) -> None:
    wav(root / "recordings/a.wav")
    wav(root / "TIMIT/TRAIN/DR1/FVMH0/SA1.WAV")
    for number, (key, text) in enumerate(TEXTS.items()):
        folder = root / "LibriSpeech/train-clean-100" / key.split("-")[0] / "1"
        wav(folder / f"{key}.flac", 4000 + number)
        with (folder / f"{key[:-5]}.trans.txt").open("a") as stream:
            stream.write(f"{key} {text}\n")
    (root / "lexicon.txt").write_text(LEXICON)
    mosei(root / "MOSEI", "abcd")
    (root / "MOSEI/s3prl.csv").rename(root / "MOSEI/CMU_MOSEI_Labels.csv")
    plain = (root / "MOSEI/labels.csv").read_text()
    (root / "MOSEI/mosei_no_semi.csv").write_text(plain.replace("id,video,", "key,filename,"))
    for name in ("a_1", "a_2", "a_3", "b_1", "b_2", "c_1", "d_1"):
        wav(root / f"MOSI/wavs/{name}.wav")
    if find_spec("h5py"):
        csd(root / "MOSI/CMU_MOSI_Opinion_Labels.csd", "float64", width=1)
    speech_commands(root / "speech_commands", root / "speech_commands_test")
    fluent_commands(root / "FSC")
    voxceleb(root / "VoxCeleb1")
    moods = ("neu", "hap", "ang", "sad")
    turns = [(f"Ses0{s}F_impro0{s}_F{k:03d}", moods[k % 4]) for s in (1, 2, 3) for k in range(8)]
    iemocap(root / "IEMOCAP", turns)


def _phones(root: Path) -> None:
    """Phones in Montreal's text and in Kaldi's archive; lists and phones of CPC, with features of their length."""
    montreal = root / "data/libri_alignment/train-clean-360"
    montreal.mkdir(parents=True)
    for name, phones in {"a": "z y", "b": "x x", "c": "b a"}.items():
        first, second = phones.split()
        (montreal / f"{name}.txt").write_text(f"0.0 0.1 {first}\n0.1 0.2 {second}\n")
    (montreal / "unaligned.txt").write_text("b\tno alignment\n")
    (root / "data/lang").mkdir()
    (root / "data/lang/phones.txt").write_text("<eps> 0\nSIL 1\nAH_B 2\nT_E 3\n")
    codes = {"u1": np.array([1, 1, 2, 3], np.int32), "u2": np.array([2, 2, 1], np.int32)}
    with contextlib.chdir(root):
        write_ark("phones.ark", codes.items(), scp=False)
    rng, theirs = np.random.default_rng(0), root / "data/cpc_phone"
    theirs.mkdir()
    ids = [f"{speaker}-1-{number:04d}" for number in range(15) for speaker in (84, 103)]
    frames = {key: rng.standard_normal((20, WIDTH), np.float32) for key in ids}
    write_store(root / "data/libri_fbank", "train-clean-100", frames)
    lines = [f"{key} {' '.join(str(code) for code in np.repeat(rng.permutation(4), 5))}\n" for key in ids]
    (theirs / "converted_aligned_phones.txt").write_text("".join(lines))
    (theirs / "train_split.txt").write_text("\n".join(ids[:20]) + "\n")
    (theirs / "test_split.txt").write_text("\n".join(ids[20:]) + "\n")
