"""What features are computed from a waveform, and what follows for frames, times and sizes."""

import dataclasses
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
from torch import Tensor

from utility.audio import s3prl_online, spectrum
from utility.audio.kinds import Cmvn, Kind, WindowType
from utility.config import section

Count = TypeVar("Count", int, np.ndarray, Tensor)
STATIC_DIM = {"mel": 80, "fbank": 80, "mfcc": 13, "kaldi_fbank": 80, "kaldi_mfcc": 13}
ENERGY = {"mfcc": True, "kaldi_mfcc": False}  # what is usual of the kinds that have a choice
USUAL = {"s3prl": None, "window_type": "povey", "energy": None}  # options that came later: unsaid where they are usual


@section
class FeatureConfig:
    """What is computed from a waveform; stored with features and checkpoints.

    `mel` (50 ms windows every 12.5 ms), `fbank`, `mfcc` (25 ms every 10 ms) and `linear` (as `mel`) are the originals'
    features, those of librosa 0.7: frames centred on multiples of the hop, reflection at the utterance's own ends.
    `kaldi_fbank` and `kaldi_mfcc` are Kaldi's (`snip_edges`, no dither, samples scaled to 16 bit), with its windows.
    `s3prl_mel`, `s3prl_linear` and `s3prl_mfcc` are what S3PRL computes online since 0.3, with the options `s3prl`;
    their deviation in CMVN is the unbiased one, and they bring an utterance to a level themselves.

    `cmvn` speaker and global take mean and variance of all frames of a speaker, or of all, in one split of a store;
    speaker_mean takes the mean alone. The store holds them beside its frames, which are normalised as they are read.
    `energy` puts the frame's energy in place of coefficient 0: of `mfcc` the RMS, which is usual there; of
    `kaldi_mfcc` the log energy before emphasis and window (Kaldi's `use_energy`), which is not.
    """

    kind: Kind = "mel"
    deltas: Annotated[int, pydantic.Field(ge=0, le=2)] = 1
    cmvn: Cmvn = "utterance"
    sample_rate: Annotated[int, pydantic.Field(ge=4000, le=384000)] = 16000
    s3prl: s3prl_online.S3prlOptions | None = None
    window_type: WindowType = "povey"  # of Kaldi's kinds
    energy: bool | None = None  # None: as is usual

    def __post_init__(self) -> None:
        if self.kind == "linear" and self.deltas:
            raise ValueError(f"linear features take deltas=0, got deltas={self.deltas}")
        if self.kind in s3prl_online.KINDS:
            options = self.s3prl or s3prl_online.S3prlOptions()
            options.check(self.kind, self.sample_rate)
            object.__setattr__(self, "s3prl", options)
        elif self.s3prl is not None:
            raise ValueError(f"options s3prl would change nothing with kind {self.kind}: leave them out")
        if self.window_type != "povey" and self.centred:
            raise ValueError(
                f"window_type {self.window_type} would change nothing with kind {self.kind}: only kaldi_fbank and "
                "kaldi_mfcc have a choice"
            )
        if self.energy is not None and self.kind not in ENERGY:
            raise ValueError(
                f"energy would change nothing with kind {self.kind}: only {' and '.join(ENERGY)} have a choice"
            )
        if self.energy == ENERGY.get(self.kind):
            object.__setattr__(self, "energy", None)  # one definition has one form

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later options where they are usual: files and fingerprints stay as they were before these."""
        return {key: value for key, value in plain(self).items() if key not in USUAL or value != USUAL[key]}

    def __repr__(self) -> str:
        """Likewise: fingerprints are made of it."""
        later = [name for name, usual in USUAL.items() if getattr(self, name) != usual]
        names = ["kind", "deltas", "cmvn", "sample_rate", *later]
        return f"FeatureConfig({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def in_words(self) -> str:
        """The definition in a line."""
        text = f"{self.kind}, deltas {self.deltas}, cmvn {self.cmvn}, {self.sample_rate} Hz"
        text += "" if self.window_type == "povey" else f", {self.window_type} window"
        text += "" if self.energy is None else f", {'with' if self.energy else 'without'} energy"
        return text if self.s3prl is None else f"{text}, {self.s3prl.in_words(self.kind)}"

    @property
    def of_corpus(self) -> bool:
        """Whether frames are normalised by what other utterances have too: the statistics of a split."""
        return self.cmvn in ("speaker", "speaker_mean", "global")

    def check_alone(self) -> None:
        """Raise ValueError where recordings alone do not have the features."""
        if self.of_corpus:
            raise ValueError(
                f"cmvn {self.cmvn} takes the statistics of a store, which recordings alone do not have: name a "
                "store/split made with it, or extract with --statistics data/NAME/SPLIT.cmvn.npz"
            )

    @property
    def before_corpus(self) -> "FeatureConfig":
        """What is computed of an utterance alone, before the statistics of a split are applied."""
        return dataclasses.replace(self, cmvn="none") if self.of_corpus else self

    @property
    def has_energy(self) -> bool:
        """Whether coefficient 0 is the frame's energy."""
        return ENERGY.get(self.kind, False) if self.energy is None else self.energy

    @property
    def centred(self) -> bool:
        """Whether frame t is centred on sample t * hop (librosa) or starts there (Kaldi)."""
        return not self.kind.startswith("kaldi")

    @property
    def window(self) -> int:
        """Samples that one frame sees."""
        if self.s3prl is not None:
            return s3prl_online.samples(self.s3prl.win_ms, self.sample_rate)
        return int(self.sample_rate * (0.05 if self.kind in ("mel", "linear") else 0.025))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        if self.s3prl is not None:
            return s3prl_online.samples(self.s3prl.hop_ms, self.sample_rate)
        return int(self.sample_rate * (0.0125 if self.kind in ("mel", "linear") else 0.01))

    @property
    def fft_size(self) -> int:
        """Points of the Fourier transform, the window zero-padded to it."""
        if self.s3prl is not None:
            return self.s3prl.fft_size
        if self.kind in ("fbank", "mfcc"):
            return self.window
        scale = 2 if self.kind in ("mel", "linear") else 1
        return 1 << (scale * self.window - 1).bit_length()

    @property
    def dim(self) -> int:
        """Values per frame, deltas included."""
        static = STATIC_DIM.get(self.kind, self.fft_size // 2 + 1) if self.s3prl is None else self.s3prl.dim(self.kind)
        return static * (1 + self.deltas)

    @property
    def band_centres(self) -> np.ndarray | None:
        """Centres of the mel bands that the static values are, in Hz, float64 [bands]; None of other kinds."""
        if self.s3prl is not None:
            mel = self.kind == "s3prl_mel"
            return s3prl_online.htk_centres(self.sample_rate, self.s3prl.n_mels) if mel else None
        bands = STATIC_DIM.get(self.kind)
        if bands is None or self.kind.endswith("mfcc"):
            return None
        if not self.centred:
            return spectrum.kaldi_centres(self.sample_rate, bands)
        return spectrum.slaney_centres(self.sample_rate, bands)

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.sample_rate

    @property
    def frame_offset(self) -> float:
        """Seconds from the first sample to the centre of frame 0."""
        return float(self.frame_times(1)[0])

    def num_frames(self, num_samples: Count) -> Count:
        """Frames of a waveform, or a part of one, of `num_samples`; see `too_short` for whole utterances."""
        if self.centred:
            return (num_samples > 0) * (1 + num_samples // self.hop)
        return (num_samples >= self.window) * (1 + (num_samples - self.window) // self.hop)

    @property
    def min_samples(self) -> int:
        """The fewest samples of an utterance: one window, of which the reflection at its ends makes no more."""
        return self.window

    def too_short(self, num_samples: int) -> str:
        """Why an utterance of so many samples has no features; empty where it has some."""
        if num_samples >= self.min_samples:
            return ""
        return f"too short: {num_samples} samples where one window of {self.kind} features has {self.min_samples}"

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        return (frames - 1) * self.hop + (1 if self.centred else self.window)

    def frame_times(self, num_frames: int) -> np.ndarray:
        """Centres of the frames in seconds, float64 [T]."""
        first = 0.0 if self.centred else self.window / 2
        return (first + self.hop * np.arange(num_frames, dtype=np.float64)) / self.sample_rate
