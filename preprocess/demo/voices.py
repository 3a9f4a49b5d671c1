"""The built-in corpus's speakers: voices with their own pitch, formants, roughness and rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.demo.speech import VARIANTS, library_data

FORMANTS = 9
FIRST_READER = 1000


@dataclass(frozen=True)
class Speaker:
    """A voice: `pitch` in Hz at the low and high end, percent of frequency, height and width per formant [9, 3]."""

    reader: int
    split: str
    sex: str
    pitch: tuple[int, int]
    formants: tuple[tuple[int, int, int], ...]
    roughness: int
    rate: int  # words per minute
    colour: float  # of the speaker's noise, -1 high to 1 low frequencies

    @property
    def voice(self) -> str:
        """The voice's name for the synthesiser."""
        return f"en-us+demo{self.reader}"

    def variant(self) -> str:
        """The library's description of this voice."""
        lines = [f"name {self.reader}", "language variant", f"pitch {self.pitch[0]} {self.pitch[1]}"]
        lines += [f"formant {i} {' '.join(map(str, change))}" for i, change in enumerate(self.formants)]
        return "\n".join([*lines, f"roughness {self.roughness}", ""])


def make_speakers(count: int, seed: int) -> list[Speaker]:
    """`count` voices, women and men in turn, evenly spread in pitch; the first tenth is dev's, the second test's."""
    generator = np.random.default_rng([seed, 0])
    kept = max(1, round(count / 10))
    ranges = {"F": (150, 240), "M": (75, 135)}
    size = {"F": 1.13, "M": 0.98}  # inverse vocal-tract length against the library's default voice
    number = {"F": (count + 1) // 2, "M": count // 2}
    lows = {sex: generator.permutation(np.geomspace(*ranges[sex], number[sex])) for sex in "FM"}
    cast = []
    for i in range(count):
        sex = "FM"[i % 2]
        low = lows[sex][i // 2]
        tract = size[sex] * np.exp(generator.normal(0, 0.04))
        frequencies = 100 * tract * np.exp(generator.normal(0, 0.025, FORMANTS))
        heights, widths = (100 * np.exp(generator.normal(0, 0.15, FORMANTS)) for _ in range(2))
        cast.append(
            Speaker(
                reader=FIRST_READER + i,
                split="dev" if i < kept else "test" if i < 2 * kept else "train",
                sex=sex,
                pitch=(round(low), round(low * generator.uniform(1.35, 1.6))),
                formants=tuple((round(f), round(h), round(w)) for f, h, w in zip(frequencies, heights, widths)),
                roughness=int(generator.integers(0, 4)),
                rate=int(generator.integers(135, 205)),
                colour=float(generator.uniform(-0.5, 0.9)),
            )
        )
    return cast


def write_voices(data: Path, cast: Sequence[Speaker]) -> None:
    """A data folder for the synthesiser: links to its own, and a voice variant per speaker."""
    (data / VARIANTS).mkdir(parents=True)
    for path in library_data().iterdir():
        if path.name != VARIANTS.parts[0]:
            (data / path.name).symlink_to(path.resolve())
    for speaker in cast:
        (data / VARIANTS / f"demo{speaker.reader}").write_text(speaker.variant())
