"""Phone inventories: CMU's 39 ARPAbet phones, and TIMIT's 61 symbols folded to 48 and 39."""

import re
from collections.abc import Callable

from utility.text import short

SILENCE = "sil"
SILENCE_MARKS = frozenset(("", "sil", "sp", "spn"))
SILENCES = SILENCE_MARKS | {"h#", "pau", "epi"}  # of CMU's and of TIMIT's labels, in small letters

_ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
ARPABET_39 = frozenset(_ARPABET.split())

# Lee and Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE ASSP 37(11), 1989, table I.
_LEE_HON = (
    "aa ae ah ao aw ax ay b ch cl d dh dx eh el en epi er ey f g hh ih ix iy jh k l m n ng ow oy p r s sh sil t th uh "
    "uw v vcl w y z zh"
)
TIMIT_48 = frozenset(_LEE_HON.split())
TIMIT_61_TO_48 = {phone: phone for phone in TIMIT_48 - {"cl", "sil", "vcl"}} | {
    **dict.fromkeys(("pcl", "tcl", "kcl"), "cl"),
    **dict.fromkeys(("bcl", "dcl", "gcl"), "vcl"),
    **dict.fromkeys(("h#", "pau"), "sil"),
    "ax-h": "ax",
    "axr": "er",
    "em": "m",
    "eng": "ng",
    "hv": "hh",
    "nx": "n",
    "ux": "uw",
    "q": "",  # the glottal stop is left out: its frames have no label
}
TIMIT_48_TO_39 = {
    **dict.fromkeys(("cl", "vcl", "epi"), "sil"),
    "ao": "aa",
    "ax": "ah",
    "el": "l",
    "en": "n",
    "ix": "ih",
    "zh": "sh",
}


def without_stress(phone: str) -> str:
    """`AH0` -> `AH`: without the stress, 0 to 2, behind a vowel's letters."""
    return re.sub(r"(?<=[^\W\d_])[012]$", "", phone)


def as_is(label: str) -> str:
    """The label itself; an empty one stays empty, which means no label."""
    return label


def arpabet_39(label: str) -> str:
    """`AH0`, `ah`, `AH_B` -> `AH`; silence marks -> `sil`; `ValueError` for what is no ARPAbet phone."""
    if label.lower() in SILENCE_MARKS:
        return SILENCE
    bare = re.sub(r"_[BIES]$", "", label.upper()).rstrip("012")
    if bare.lower() in SILENCE_MARKS:
        return SILENCE
    if bare not in ARPABET_39:
        raise ValueError(f"{short(label)} is none of the 39 ARPAbet phones")
    return bare


def timit_48(label: str) -> str:
    """One of TIMIT's 61 symbols -> one of 48, or empty for the glottal stop; `ValueError` for another symbol."""
    if label.lower() not in TIMIT_61_TO_48:
        raise ValueError(f"{short(label)} is none of TIMIT's 61 symbols")
    return TIMIT_61_TO_48[label.lower()]


def timit_39(label: str) -> str:
    """One of TIMIT's 61 symbols -> one of 39, or empty for the glottal stop; `ValueError` for another symbol."""
    wide = timit_48(label)
    return TIMIT_48_TO_39.get(wide, wide)


PHONE_SETS: dict[str, Callable[[str], str]] = {
    "as_is": as_is,
    "arpabet39": arpabet_39,
    "timit48": timit_48,
    "timit39": timit_39,
}
