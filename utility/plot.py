"""Pictures of frames over time: drawing shared by all figures, and writing them to disk."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from utility.audio.feature_config import FeatureConfig
from utility.files import replacing
from utility.store.info import StoreInfo

DPI = 120
SALT = "figure"  # of the identifiers in an SVG
CEPSTRAL = ("coefficient", "natural log")
# What values are, and their unit; those of other kinds are log energies.
MEASURED = {
    "linear": ("level", "1 = 100 dB"),
    "mfcc": ("coefficient", "dB"),
    "kaldi_mfcc": CEPSTRAL,
    "s3prl_mfcc": CEPSTRAL,
}
LONGEST_STEM = 150  # bytes; a file's name has 255 at most, what follows and a temporary name's digits among them


@dataclass(frozen=True)
class ValueAxis:
    """What the columns of a [T, D] array are: the axis' label with its unit, the centre of column 0, the step, and the
    places and labels of the ticks, where they are not those of the numbers."""

    label: str
    start: float = 0.0
    step: float = 1.0
    ticks: tuple[tuple[float, str], ...] = ()


def feature_axis(config: FeatureConfig | None) -> ValueAxis:
    """The axis of the static part of features."""
    if config is None:
        return ValueAxis("feature dimension (index)")
    if config.kind in ("linear", "s3prl_linear"):
        return ValueAxis("frequency (Hz)", step=config.sample_rate / config.fft_size)
    centres = config.band_centres
    if centres is None:
        return ValueAxis("cepstral coefficient (index)")
    return ValueAxis("frequency (Hz, mel scale)", ticks=_frequency_ticks(centres))


def _frequency_ticks(centres: np.ndarray) -> tuple[tuple[float, str], ...]:
    """Octaves from 250 Hz where they lie among the bands, whose centres are in Hz and whose places are 0, 1, 2 ..."""
    octaves = 250.0 * 2 ** np.arange(8)
    octaves = octaves[(octaves >= centres[0]) & (octaves <= centres[-1])]
    positions = np.interp(octaves, centres, np.arange(len(centres)))
    return tuple((float(position), f"{octave:g}") for position, octave in zip(positions, octaves))


def feature_unit(config: FeatureConfig | None) -> str:
    """What the values of features are, with their unit, for a colour bar."""
    if config is None:
        return "feature value"
    name, unit = MEASURED.get(config.kind, ("log energy", "natural log"))
    if config.s3prl is not None and not config.s3prl.log:
        name, unit = "energy", "squared amplitude"
    if config.cmvn in ("utterance", "speaker", "global"):
        return f"{name}\n(standard deviations)"
    return f"{name}{', less the mean' if config.cmvn == 'speaker_mean' else ''}\n({unit})"


def value_norm(values: np.ndarray) -> Normalize:
    """Colours from the lowest values to the highest, but for the outermost half percent at each end."""
    low, high = np.percentile(values, (0.5, 99.5))
    return Normalize(low, max(high, low + 1e-6))


def static_part(values: np.ndarray, config: FeatureConfig | None) -> np.ndarray:
    """Features [T, D] without their deltas."""
    return values if config is None else values[:, : config.dim // (1 + config.deltas)]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no global state keeps alive."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


@dataclass(frozen=True)
class Clock:
    """Frame t is centred on `first + t * shift` seconds; a shift of NaN (nobody knows it) counts frames instead."""

    shift: float
    first: float = 0.0

    @classmethod
    def of(cls, info: StoreInfo) -> "Clock":
        """The clock of a store's frames."""
        return cls(info.frame_shift, info.frame_offset or 0.0)

    def stacked(self, rate: int) -> "Clock":
        """The clock of `rate` neighbouring frames as one."""
        return Clock(self.shift * rate, self.first + (rate - 1) / 2 * self.shift)

    @property
    def unit(self) -> str:
        """What the axis counts."""
        return "frames" if np.isnan(self.shift) else "s"

    def edges(self, frames: int) -> np.ndarray:
        """Where `frames` frames begin and end, [frames + 1]."""
        first, shift = (0.0, 1.0) if np.isnan(self.shift) else (self.first, self.shift)
        return first + (np.arange(frames + 1) - 0.5) * shift

    def width(self, frames: int) -> float:
        """A width of axes in inches at which so many frames can be read."""
        return float(np.clip(3 + (0.9 * self.shift if self.shift > 0 else 0.01) * frames, 7, 16))


def spectrogram_axes(
    ax: Axes, values: np.ndarray, clock: Clock, axis: ValueAxis, norm: Normalize, title: str = "", cmap: str = "viridis"
) -> AxesImage:
    """Draw values [T, D] over time, each frame around its centre."""
    frames, columns = values.shape
    edges = clock.edges(frames)
    extent = (edges[0], edges[-1], axis.start - axis.step / 2, axis.start + (columns - 0.5) * axis.step)
    image = ax.imshow(
        values.T, origin="lower", aspect="auto", interpolation="nearest", extent=extent, norm=norm, cmap=cmap
    )
    ax.set(xlabel=f"time ({clock.unit})", ylabel=axis.label)
    if axis.ticks:
        ax.set_yticks(*zip(*axis.ticks))
    ax.set_title(title, loc="left", fontsize=10, pad=8, parse_math=False)
    return image


def picture_stem(name: str) -> str:
    """What the files of an utterance begin with: its id, where no other id could have the same and it is short enough.

    Else what can stand in a file's name, and eight digits that tell it from others (a/b from a_b)."""
    plain = re.sub(r"[/\\\x00-\x1f\x7f]", "_", name)
    if plain == name and len(name.encode()) <= LONGEST_STEM:
        return name
    start = plain.encode()[: LONGEST_STEM - 9].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, or an SVG where the path ends so; a reader sees the old file or the whole new one.

    The same figure gives the same bytes: an SVG has no date, and its identifiers are not drawn by chance."""
    with replacing(path) as temporary:
        if path.suffix == ".svg":
            with matplotlib.rc_context({"svg.hashsalt": SALT}):
                figure.savefig(temporary, format="svg", metadata={"Date": None})
        else:
            figure.savefig(temporary, format="png")
