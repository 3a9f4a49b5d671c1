"""The bad inputs of Kaldi's directories and archives."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np
import soundfile

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.bad_input_world import CANARY
from utility.kaldi.archives import write_ark

KALDI = "preprocess_kaldi.py"
DIR = f"{KALDI} --n_jobs 1 --data_dir kaldi"
FEATS = f"{KALDI} --feats --data_dir kaldi"
ARK = f"{KALDI} --split train --ark kaldi"

CASES: list[Case] = [
    case("Kaldi's directory that is not named", KALDI, "--data_dir", "--ark", "--recipe"),
    case("Kaldi's directory that is not there", f"{DIR}/nowhere", "kaldi/nowhere", "no such folder"),
    case("directory without wav.scp", f"{DIR}/none", "kaldi/none", "wav.scp"),
    case("wav.scp without recordings", f"{DIR}/empty", "kaldi/empty/wav.scp", "no recordings"),
    case("line of wav.scp without a path", f"{DIR}/pathless", "kaldi/pathless/wav.scp:2:", "'recording path' or", "'r2'"),
    case("wav.scp that is no text", f"{DIR}/latin", "kaldi/latin/wav.scp:2:", "not UTF-8"),
    case("recording twice in wav.scp", f"{DIR}/twice", "kaldi/twice/wav.scp:3:", "'r1'", "there twice"),
    case("shell command in wav.scp", f"{DIR}/command", "kaldi/command/wav.scp:2: a shell command,", "run it only if you trust the file: --allow_commands"),
    case("shell command behind a harmless one", f"{DIR}/hidden", "kaldi/hidden/wav.scp:1: a shell command,", "--allow_commands"),
    case("segment with four fields too many", f"{DIR}/fields", "kaldi/fields/segments:1:", "'utterance recording start end'"),
    case("segment of an unknown recording", f"{DIR}/unknown", "kaldi/unknown/segments:2:", "'r9'", "not in wav.scp"),
    case("segment that ends before it starts", f"{DIR}/backwards", "kaldi/backwards/segments:1:", "end is 0.1, not after start 0.2"),
    case("segment that starts below 0", f"{DIR}/below", "kaldi/below/segments:2:", "start is -1, below 0"),
    case("segment with a time in words", f"{DIR}/words", "kaldi/words/segments:1:", "'soon'", "seconds"),
    case("utterance twice in segments", f"{DIR}/again", "kaldi/again/segments:2:", "'u1'", "there twice"),
    case("utt2spk without a speaker", f"{DIR}/speakerless", "kaldi/speakerless/utt2spk:1:", "'utterance speaker'"),
    case("utt2dur without a number", f"{DIR}/durations", "kaldi/durations/utt2dur:1:", "'long'"),
    case("names of splits that are too few", f"{DIR}/good kaldi/none --split train", "--split", "1 names for 2 directories"),
    case("two directories of one name", f"{DIR}/good kaldi/good", "split good", "--split"),
    case("one utterance in two directories", f"{DIR}/good kaldi/copy", "one id", "'r1'"),
    case("text of a directory that has none", f"{DIR}/good --text words", "kaldi/good", "--text", "no directory has a file text"),
    case("matrices from two places", f"{FEATS}/good --ark a.ark", "--feats and --ark"),
    case("matrices of a directory without feats.scp", f"{FEATS}/good", "kaldi/good", "feats.scp", "--feats"),
    case("feats.scp with a shell command", f"{FEATS}/feats_command", "kaldi/feats_command/feats.scp:1: a shell command,", "--allow_commands"),
    case("range in feats.scp that is none", f"{FEATS}/range", "kaldi/range/feats.scp:1:", "[5:2]"),
    case("feats.scp whose archives are gone", f"{FEATS}/gone", "kaldi/gone/feats.scp", "no matrix in it that can be read", "gone.ark"),
    case("archive that is cut off", f"{ARK}/cut.ark", "kaldi/cut.ark: key 'a', byte 17: cut off: 6400 bytes should follow"),
    case("archive that claims absurd sizes", f"{ARK}/huge.ark", "kaldi/huge.ark: key 'a', byte 17: cut off:"),
    case("archive of vectors", f"{ARK}/vectors.ark", "kaldi/vectors.ark", "no matrix in it"),
    case("archive without a split", f"{KALDI} --ark kaldi/a.ark", "--ark needs --split NAME"),
    case("archives that share a key", f"{ARK}/a.ark kaldi/b.ark", "kaldi/b.ark", "'a'", "another archive"),
    case("CMVN of speakers that nobody knows", f"{ARK}/a.ark --apply_cmvn speaker --cmvn_file kaldi/cmvn.ark", "utt2spk has no speaker of 1 utterances"),
    case("CMVN without statistics of a speaker", f"{ARK}/a.ark --apply_cmvn speaker --cmvn_file kaldi/cmvn.ark --utt2spk kaldi/utt2spk", "kaldi/cmvn.ark", "no statistics of 1 speakers", "s1"),
    case("deviation without a mean", f"{ARK}/a.ark --norm_vars", "--norm_vars", "--apply_cmvn"),
    case("frames that do not go on", f"{ARK}/a.ark --frame_shift nan", "--frame_shift", "above 0 s"),
    case("kind of matrices that is a path", f"{ARK}/a.ark --kind ../up", "--kind '../up'", "one word"),
    case("features of archives stated", f"{ARK}/a.ark --features kaldi_fbank", "--ark would not use --features", "--feats"),
    case("recipe without Kaldi's root", f"{KALDI} --recipe libri", "--kaldi_root"),
    case("recipe that was not run", f"{KALDI} --recipe timit --kaldi_root kaldi", "kaldi/egs/timit/s5/data-fmllr-tri3", "no such files"),
    case("Kaldi's directory for pre-training", "runner_mockingjay.py --train --kaldi_data kaldi/good", "--kaldi_data", "preprocess_kaldi.py --feats --data_dir DIR"),
]  # fmt: skip

GOOD = "r1 r1.wav\nr2 r2.wav\n"
DIRECTORIES = {  # name: its files, wav.scp the good one where it is not said
    "none": {"wav.scp": None},
    "empty": {"wav.scp": ""},
    "pathless": {"wav.scp": "r1 r1.wav\nr2\n"},
    "latin": {"wav.scp": b"r1 r1.wav\nr2 \xff.wav\n"},
    "twice": {"wav.scp": "r1 r1.wav\nr2 r2.wav\nr1 r1.wav\n"},
    "command": {"wav.scp": f"r1 r1.wav\nr2 touch {CANARY}; cat r2.wav |\n"},
    "hidden": {"wav.scp": f"r1 cat $(touch {CANARY}) |\n"},
    "good": {},
    "copy": {},
    "fields": {"segments": "u1 r1 0 0.1 1 2 3 4\n"},
    "unknown": {"segments": "u1 r1 0 0.1\nu2 r9 0 0.1\n"},
    "backwards": {"segments": "u1 r1 0.2 0.1\n"},
    "below": {"segments": "u1 r1 0 0.1\nu2 r1 -1 0.1\n"},
    "words": {"segments": "u1 r1 soon 0.1\n"},
    "again": {"segments": "u1 r1 0 0.1\nu1 r2 0 0.1\n"},
    "speakerless": {"utt2spk": "r1\n"},
    "durations": {"utt2dur": "r1 long\n"},
    "feats_command": {"feats.scp": f"a touch {CANARY} |\n"},
    "range": {"feats.scp": "a ../a.ark:2[5:2]\n"},
    "gone": {"feats.scp": "a gone.ark:2\n"},
}


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    for name, files in DIRECTORIES.items():
        folder = root / "kaldi" / name
        folder.mkdir(parents=True)
        for file, content in {"wav.scp": GOOD, **files}.items():
            if content is not None:
                (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        for key in ("r1", "r2") if name in ("good", "copy", "durations") else ():
            soundfile.write(folder / f"{key}.wav", np.zeros(1600, np.int16), 16000)
    _archives(root / "kaldi")


def _archives(folder: Path) -> None:
    matrix = np.ones((40, 40), np.float32)
    for name in "ab":
        write_ark(folder / f"{name}.ark", [("a", matrix)], scp=False)
    whole = (folder / "a.ark").read_bytes()
    (folder / "cut.ark").write_bytes(whole[:-5])
    (folder / "huge.ark").write_bytes(whole[:8] + b"\xff\xff\xff\x7f" + whole[12:])
    write_ark(folder / "vectors.ark", [("a", matrix[0])], scp=False)
    write_ark(folder / "cmvn.ark", [("s0", np.ones((2, 41)))], scp=False, form="double")
    (folder / "utt2spk").write_text("a s1\n")
