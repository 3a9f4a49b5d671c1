"""TIMIT on disk -> utterances."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from preprocess.parts.corpora import Corpus, Utterance, corpus_root, make_corpus
from preprocess.parts.names import TIMIT_EXTENSIONS
from utility.audio.headers import audio_files, unread_media
from utility.text import short
from utility.utterance_ids import timit_id

# The 24 speakers of TIMIT's core test set, and the 50 of its test part that Kaldi's recipe keeps for development.
TIMIT_CORE = """
    MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0
    MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0
""".split()  # noqa: SIM905
TIMIT_DEV = """
    FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0 FEDW0 MGJF0
    MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0 MERS0 FMAH0 FDRW0
    MRCS0 MRJM4 FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 MJFC0 MRJR0 FMML0 MRWS1
""".split()  # noqa: SIM905


def timit(
    root: Path,
    splits: Sequence[str] = (),
    extensions: Sequence[str] = TIMIT_EXTENSIONS,
    drop_sa: bool = False,
    complete_test: bool = False,
    held_out: Mapping[str, str] | None = None,
) -> Corpus:
    """TIMIT as published, `{TRAIN,TEST}/DR?/<speaker>/*.WAV` in either case, or its NLTK sample, `dr?-<speaker>/*.wav`.

    Ids are `FAEM0_SI1392`. The sample, all training speakers, is one split `train`. Where all of TEST is there, `test`
    is the core test set of 24 speakers and `dev` the usual 50, unless `complete_test` keeps TEST as it is. `held_out`
    gives speakers another split, as {"FADG0": "dev"}; ValueError for one who is not there.
    """
    root = corpus_root(root, ("TIMIT", "timit", "data", "DATA"))
    utterances = []
    paths = _without_copies(audio_files(root, extensions))
    for path in paths:
        parts = PurePosixPath(path).parts
        key = timit_id(_single_suffix(path))
        speaker, _, sentence = key.partition("_")
        official = len(parts) == 4 and parts[0].lower() in ("train", "dev", "test")
        sample = len(parts) == 2 and re.match(r"dr\d-", parts[0], re.IGNORECASE)
        if (official or sample) and not (drop_sa and sentence in ("SA1", "SA2")):
            utterances.append(Utterance(key, parts[0].lower() if official else "train", speaker, path))
    if not complete_test:
        utterances = _core_test(utterances)
    utterances = _hold_out(utterances, held_out or {})
    expected = "{TRAIN,TEST}/DR?/<speaker>/*.WAV or dr?-<speaker>/*.wav"
    return make_corpus(root, utterances, splits, expected, len(paths), unread=unread_media(root, extensions))


def _single_suffix(path: str) -> Path:
    return Path(re.sub(r"(\.\w+)\1$", r"\1", path, flags=re.IGNORECASE))


def _without_copies(paths: Sequence[str]) -> list[str]:
    """Leave out `SA1.WAV.wav`, which some copies of TIMIT have beside `SA1.WAV`."""
    there = {path.lower() for path in paths}
    return [path for path in paths if (single := str(_single_suffix(path))) == path or single.lower() not in there]


def _hold_out(utterances: Sequence[Utterance], split_of: Mapping[str, str]) -> list[Utterance]:
    absent = sorted(split_of.keys() - {utterance.speaker for utterance in utterances})
    if absent:
        raise ValueError(f"no recordings of speaker {short(absent[0])}, who is to be held out")
    return [replace(utterance, split=split_of.get(utterance.speaker, utterance.split)) for utterance in utterances]


def _core_test(utterances: Sequence[Utterance]) -> list[Utterance]:
    test = {utterance.speaker for utterance in utterances if utterance.split == "test"}
    if not test.issuperset(TIMIT_CORE + TIMIT_DEV):
        return list(utterances)
    split_of = dict.fromkeys(TIMIT_CORE, "test") | dict.fromkeys(TIMIT_DEV, "dev")
    return [
        Utterance(u.id, split_of[u.speaker] if u.split == "test" else u.split, u.speaker, u.path)
        for u in utterances
        if u.split != "test" or u.speaker in split_of
    ]
