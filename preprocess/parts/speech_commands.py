"""Speech Commands on disk -> utterances with the twelve classes of keyword spotting.

Pete Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018: which part a file is of."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from preprocess.parts.corpora import Corpus, Utterance, corpus_root
from preprocess.parts.label_table import Labelled, Labels, labelled
from utility.audio.headers import audio_files, scan

WORDS = frozenset("yes no up down left right on off stop go".split())  # noqa: SIM905
UNKNOWN, SILENCE, NOISE = "_unknown_", "_silence_", "_background_noise_"
MODULUS = 2**27
COLUMNS = ("speaker", "word", "class")
TRAIN_SILENCE = 0.8  # of the seconds of each recording of noise, from its beginning
EXPECTED = "<word>/<speaker>_nohash_<n>.wav with words such as yes and no"


def speech_commands(
    root: Path, splits: Sequence[str] = (), test: Path | None = None, hash_test: bool = False
) -> tuple[Corpus, Labels]:
    """`<word>/<speaker>_nohash_<n>.wav` under `root`, the seconds of its `_background_noise_`, and all of `test`.

    Of the files of `root` a tenth is dev by the hash of their speakers, and another tenth is left out, or test where
    `hash_test` says so. Labels: word, and class, one of ten words, `_unknown_` and `_silence_`."""
    root = corpus_root(root, ("speech_commands_v0.01", "speech_commands_v0.02"))
    top = root
    if test is not None:
        test = corpus_root(test, ())
        top = _common(root, test)
        if top == test.resolve():
            raise ValueError(f"{test}: the corpus lies in the folder of its test part")
    own = [path for path in audio_files(root) if path.count("/") == 1]
    if not WORDS & {PurePosixPath(path).parts[0] for path in own}:
        raise ValueError(f"{root}: not Speech Commands, expected {EXPECTED}")
    prefix = _below(top, root)
    pairs = [*_words(own, prefix, hash_test), *_silence(root, own, prefix)]
    tested = [] if test is None else [path for path in audio_files(test) if path.count("/") == 1]
    if test is not None:
        if not tested:
            raise ValueError(f"{test}: no audio found, expected <word>/*.wav")
        pairs += _tested(tested, _below(top, test))
    noise = sum(path.startswith(f"{NOISE}/") for path in own)
    words = sum(values[1] != NOISE for _, values in pairs)
    left_out = len(own) + len(tested) - noise - words
    notes = [f"{root}: {left_out} recordings left out, the tenth that the hash gives to test"] if left_out else []
    notes += [f"{root}: {noise} recordings of noise, cut into {len(pairs) - words} seconds of {SILENCE}"]
    return labelled(top, COLUMNS, pairs, splits, EXPECTED, notes)


def hash_percent(name: str) -> float:
    """Where in [0, 100] the file `name` lies, by the SHA-1 of what precedes `_nohash_`: all of a speaker's alike."""
    digest = hashlib.sha1(name.partition("_nohash_")[0].encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % MODULUS * (100.0 / (MODULUS - 1))


def hash_part(name: str) -> str:
    """The part of the file `name`: dev, test or train."""
    percent = hash_percent(name)
    return "dev" if percent < 10 else "test" if percent < 20 else "train"


def _words(paths: Sequence[str], prefix: str, hash_test: bool) -> Iterator[Labelled]:
    for path in paths:
        word, name = path.split("/")
        part = hash_part(name)
        if word != NOISE and (part != "test" or hash_test):
            yield _pair(path, prefix, part, word, word if word in WORDS else UNKNOWN)


def _silence(root: Path, paths: Sequence[str], prefix: str) -> Iterator[Labelled]:
    """Consecutive seconds of each recording of noise; what is left at its end is no second."""
    noise = [path for path in paths if path.startswith(f"{NOISE}/")]
    for path, header in zip(noise, scan([root / path for path in noise])):
        count = header.num_samples // header.rate
        if header.reason:  # errors.csv has it
            yield _pair(path, prefix, "train", NOISE, SILENCE)
        for second in range(count):
            part = "train" if second < int(TRAIN_SILENCE * count) else "dev"
            yield _pair(path, prefix, part, NOISE, SILENCE, second)


def _tested(paths: Sequence[str], prefix: str) -> Iterator[Labelled]:
    for path in paths:
        word = path.split("/")[0]
        label = word if word in WORDS or word == SILENCE else UNKNOWN
        yield _pair(path, prefix, "test", word, label, key_prefix="test_")


def _pair(
    path: str, prefix: str, split: str, word: str, label: str, second: int | None = None, key_prefix: str = ""
) -> Labelled:
    stem = PurePosixPath(path).stem
    speaker = stem.partition("_nohash_")[0] if "_nohash_" in stem else ""
    key = f"{key_prefix}{word.strip('_')}_{stem}" + ("" if second is None else f"_{second:04d}")
    span = (None, None) if second is None else (float(second), float(second + 1))
    return Utterance(key, split, speaker, f"{prefix}{path}", *span), (speaker, word, label)


def _common(root: Path, test: Path) -> Path:
    """The folder that both lie in."""
    root, test = root.resolve(), test.resolve()
    return next(folder for folder in (root, *root.parents) if test.is_relative_to(folder))


def _below(top: Path, folder: Path) -> str:
    """The path of a folder below another, ending in a slash; empty for the other itself."""
    relative = folder.resolve().relative_to(top.resolve()).as_posix()
    return "" if relative == "." else f"{relative}/"
