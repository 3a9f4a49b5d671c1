"""Speech from text with exact phone times, by the eSpeak NG library; nothing else loads that (GPL) library."""

import ctypes
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

VARIANTS = Path("voices/!v")  # where, in its data folder, the library looks for voice variants
_SYNCHRONOUS, _PHONEME_EVENTS, _NO_EXIT = 2, 0x0001, 0x8000
_UTF8, _END_PAUSE, _BY_CHARACTER = 1, 0x1000, 1
_WORD, _PHONEME = 1, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_STRESS = "',%=|"

# The library's American English phonemes -> phones with the share of its time that each takes. R-coloured vowels and
# triphthongs are one phoneme there and two phones here; syllabic consonants are one, as in Lee and Hon's folding.
_VOWELS = {
    "AA": "A: 0 0#", "AE": "a aa", "AH": "@ @2 @- a# V", "AO": "O: O2 O", "AW": "aU", "AY": "aI", "EH": "E E2",
    "ER": "3 3:", "EY": "eI", "IH": "I I2 I#", "IY": "i i:", "OW": "oU", "OY": "OI", "UH": "U", "UW": "u: u",
}  # fmt: skip
_CONSONANTS = {
    "B": "b", "CH": "tS", "D": "d d#", "DH": "D", "F": "f", "G": "g", "HH": "h", "JH": "dZ", "K": "k",
    "L": "l @L", "M": "m", "N": "n n-", "NG": "N", "P": "p", "R": "r r-", "S": "s", "SH": "S", "T": "t t# t2 ?",
    "TH": "T", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "Z", "sil": "_ _: _:: _|",
}  # fmt: skip
_PAIRS = {
    "A@": ("AA", "R", 0.6), "O@": ("AO", "R", 0.6), "o@": ("AO", "R", 0.6), "e@": ("EH", "R", 0.6),
    "U@": ("UH", "R", 0.6), "i@3": ("IH", "R", 0.6), "i@": ("IY", "AH", 0.5), "aI@": ("AY", "AH", 0.65),
    "aI3": ("AY", "ER", 0.65),
}  # fmt: skip
_PHONES = {name: phone for table in (_VOWELS, _CONSONANTS) for phone in table for name in table[phone].split()}
_L_AFTER = 0.55  # of the vowel and the `l` together
_GLIDE = ";"  # a transition between two vowels: part of the first


def synthesiser() -> str:
    """Name and version of the library; `ValueError` where it is not installed."""
    return f"espeakng-loader {importlib.metadata.version(_loader().__name__)}"


def library_data() -> Path:
    """The library's own data folder."""
    return Path(_loader().get_data_path())


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ModuleNotFoundError:
        raise ValueError("the built-in corpus needs a synthesiser: pip install -r requirements-demo.txt") from None
    return espeakng_loader


@dataclass(frozen=True)
class Phone:
    """One phone: label, first sample, and the index of its word (None in silence).

    Of words which the library speaks as one, as `in the`, all phones have the first word's index."""

    label: str
    start: int
    word: int | None


@dataclass(frozen=True)
class Speech:
    """One utterance: int16 samples at the voice's own rate, and phones which follow each other without a gap."""

    samples: np.ndarray
    phones: list[Phone]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class Synthesiser:
    """One voice of the library, of which a process has one at a time; its sound depends on all it said before.

    `data` is its data folder, `voice` a name such as `en-us+f2`, `rate` in words per minute.
    """

    def __init__(self, data: Path, voice: str):
        self._library = ctypes.CDLL(_loader().get_library_path())
        options = _PHONEME_EVENTS | _NO_EXIT
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 2000, str(data).encode(), options)
        if self.sample_rate <= 0:
            raise OSError(f"{data}: the speech synthesiser does not start with this data")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)  # breath and roughness draw from C's generator
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"{voice}: no such voice under {data}")
        self._audio: list[bytes] = []
        self._events: list[tuple[int, int, str, int]] = []

    def say(self, text: str, rate: int, pitch: int, pitch_range: int) -> Speech:
        """Speak `text` at `rate` words per minute; `pitch` and `pitch_range` 0..99 around the voice's own at 50."""
        self._audio, self._events = [], []
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        flags = _UTF8 | _END_PAUSE
        if self._library.espeak_Synth(data, len(data) + 1, 0, _BY_CHARACTER, 0, flags, None, None):
            raise OSError(f"the speech synthesiser failed on {text!r}")
        samples = np.frombuffer(b"".join(self._audio), dtype=np.int16)
        try:
            return Speech(samples, _phones(self._events, samples, _word_indices(text)))
        except ValueError as error:
            raise ValueError(f"{text!r} cannot be spoken: {error}") from None

    def _collect(self, wave: int | None, count: int, events) -> int:
        if wave is not None and count > 0:
            self._audio.append(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type:
            event = events[i]
            if event.type == _WORD:
                self._events.append((_WORD, event.sample, "", event.text_position))
            elif event.type == _PHONEME:
                self._events.append((_PHONEME, event.sample, event.name.decode(), 0))
            i += 1
        return 0


def _word_indices(text: str) -> dict[int, int]:
    """The index of each word by its position in the text, from 1 as the library counts."""
    return {match.start() + 1: index for index, match in enumerate(re.finditer(r"\S+", text))}


def _phones(
    events: Sequence[tuple[int, int, str, int]], samples: np.ndarray, word_indices: Mapping[int, int]
) -> list[Phone]:
    """Phones from the library's events; `ValueError` for a phoneme which the tables do not have, and for a word which
    the library parts into several."""
    names, starts, words = ["_"], [0], [-1]
    word = -1
    for kind, start, name, position in events:
        bare = name.strip(_STRESS)
        if kind == _WORD:
            if position not in word_indices:
                raise ValueError("the synthesiser parts a word of it into several")
            word = word_indices[position]
        elif bare != _GLIDE and not (_is_silence(bare) and _is_silence(names[-1])):
            names.append(bare)
            starts.append(start)
            words.append(word)
    first = 1 if starts[1] == 0 else 0
    names, starts, words = names[first:], [*starts[first:], len(samples)], words[first:]
    _give_closures(names, starts, samples)
    _part_final_l(names, starts)
    return [
        Phone(label, starts[i] + round(share * (starts[i + 1] - starts[i])), words[i] if label != "sil" else None)
        for i, name in enumerate(names)
        for label, share in _labels(name, names[i + 1] if i + 1 < len(names) else "_")
    ]


def _give_closures(names: Sequence[str], starts: list[int], samples: np.ndarray) -> None:
    """Move starts back over the pause of pure zeros before a consonant: a stop's closure is part of the stop."""
    for i in range(1, len(names)):
        if _is_silence(names[i]) or _is_silence(names[i - 1]):
            continue
        sounding = np.flatnonzero(samples[starts[i - 1] : starts[i]])
        if len(sounding):
            starts[i] = starts[i - 1] + int(sounding[-1]) + 1
        elif names[i - 1] == "l":
            starts[i] = starts[i - 1]


def _part_final_l(names: Sequence[str], starts: list[int]) -> None:
    """Give an `l` that ends a syllable its share of the vowel: the library sounds it as the vowel's ending."""
    for i in range(1, len(names)):
        if names[i] == "l" and _is_vowel(names[i - 1]) and not (i + 1 < len(names) and _is_vowel(names[i + 1])):
            starts[i] = starts[i - 1] + round(_L_AFTER * (starts[i + 1] - starts[i - 1]))


def _labels(name: str, following: str) -> list[tuple[str, float]]:
    """Phones of one phoneme, with the share of its time at which each starts."""
    if name in _PHONES:
        return [(_PHONES[name], 0.0)]
    if name not in _PAIRS:
        raise ValueError(f"phoneme {name!r}: no phone is given for it")
    first, second, share = _PAIRS[name]
    if following.startswith("r"):
        return [(first, 0.0)]
    return [(first, 0.0), (second, share)]


def _is_silence(name: str) -> bool:
    return name.startswith("_")


def _is_vowel(name: str) -> bool:
    return name in _PAIRS or _PHONES.get(name) in _VOWELS
