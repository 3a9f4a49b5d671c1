"""Sentences that speak chosen words evenly, for experiments on words such as word similarity."""

from collections.abc import Iterator, Sequence

import numpy as np

from preprocess.demo.sentences import split_of
from utility.seeds import numpy_generator

_LISTED = """
    boy lad girl woman man child kid baby adult mother father brother son daughter wife family male female
    king queen prince doctor dentist soldier monk wizard magician teacher student friend
    car automobile bus train plane aircraft boat ship bicycle vehicle motor
    journey voyage trip travel road street bridge hill mountain valley cliff coast shore beach sea ocean river lake
    pond water waterfall rain snow storm sun sky cloud moon winter summer forest woodland flower grass garden
    cemetery graveyard mound landscape scenery nature island
    bird rooster cock crane hen cat dog horse cow fish lobster insect animal
    food fruit apple tomato bread cheese meat butter wine beer alcohol coffee tea cup glass bottle dinner
    drink seafood
    house home room kitchen door window wall bed chair table furnace stove lamp
    gem jewel ring gold silver metal iron steel money cash dollar bank market store shop trade
    book paper article news story word song dance film movie theater painting picture art
    color red blue green black white dark light sunset
    hand arm leg foot head face eye ear mouth brain body bruise
    noon midday morning evening night day month year
    tool implement machine computer keyboard camera
    idea question
    big large huge small tiny old new easy hard happy glad angry smart clever dumb
    add join unite attach connect combine blend mix separate divide split break destroy crush
    build construct make create boast brag explain teach show say speak talk tell ask reply
    allow permit let take get give receive catch carry hold walk run go come move stop start begin finish
    buy sell pay earn eat consume sleep work play fight win lose find seize supply furnish
    refer arrange yield end terminate demonstrate organize yell request
"""
WORDS = tuple(_LISTED.split())
_CARRIERS = """
    now say X and Y, then Z
    X is followed by Y and later by Z
    my list has X, Y, and Z
    write down X, then Y, then Z
    they read X after Y and before Z
    she wrote X, he wrote Y, and we chose Z
    can you spell X, Y, or Z
    neither X nor Y sounds like Z
    please repeat X twice, Y once, and Z again
    between X and Z comes Y
    we heard X, but you heard Y, not Z
    this page has X above Y and Z below
"""
_ORDER = 0  # the seed of the order in which the words come round, the same for every corpus


def word_sentences(begin: float, split: str, generator: np.random.Generator) -> Iterator[str]:
    """Endless sentences of three words each, going round all words from a share `begin` of them on; none comes twice.

    Speakers that begin evenly spread speak every word nearly equally often. A sentence belongs to one split alone,
    whatever the seed."""
    order = [WORDS[i] for i in numpy_generator(_ORDER).permutation(len(WORDS))]
    carriers = [line.strip() for line in _CARRIERS.splitlines() if line.strip()]
    seen: set[str] = set()
    place = round(begin * len(WORDS))
    while True:
        words = [order[(place + i) % len(order)] for i in generator.permutation(3)]
        text = _fill(carriers[generator.integers(len(carriers))], words)
        if text not in seen and split_of(text) == split:
            seen.add(text)
            place += len(words)
            yield text


def _fill(carrier: str, words: Sequence[str]) -> str:
    names = dict(zip("XYZ", words))
    parts = [(part.rstrip(","), part) for part in carrier.split()]
    return " ".join(names.get(bare, bare) + part[len(bare) :] for bare, part in parts)
