"""Reconstructions as sound, where the recordings are there and their features can be turned back."""

import numpy as np

from mockingjay.figures.spectrograms import Reconstruction
from mockingjay.pretraining.data import Data
from mockingjay.sound import to_waveform
from utility.audio.waveform import read_audio


def silent_because(data: Data) -> str | None:
    """Why what is predicted of `data` cannot be made into sound, or None where it can."""
    features, corpus = data.target.features, data.corpus
    if features is None or features.kind not in ("mel", "linear"):
        return f"{features.kind if features else 'unknown'} features cannot be turned back into a waveform"
    if not corpus.audio_paths[0].is_file():
        return f"the recordings are not where the store says, e.g. {corpus.audio_paths[0]}"
    return None


class Resynthesis:
    """Makes sound of the frames of one utterance of `data`, which `silent_because` has nothing against.

    Raises ValueError or OSError where its recording cannot be read."""

    def __init__(self, data: Data, name: str):
        assert data.target.features is not None, "features that nobody knows are silent"
        self.features, self.level, corpus = data.target.features, data.target_level(name), data.corpus
        index, self.sample_rate = corpus.index[name], data.target.features.sample_rate
        self.reference = read_audio(corpus.audio_paths[index], self.sample_rate, span=corpus.spans[index])

    def waveform(self, frames: np.ndarray, seconds: float = np.inf) -> np.ndarray:
        """Frames [T, D] as float32 [N], full scale 1, as long as the recording, or its first `seconds`."""
        samples = int(min(len(self.reference), seconds * self.sample_rate))
        frames = frames[: self.features.num_frames(samples)]
        return to_waveform(frames, self.features, self.reference, self.level)[:samples]


def heard(shown: Reconstruction) -> dict[str, np.ndarray]:
    """The frames [T, D] of a reconstruction that become sound, by name.

    `filled` is the truth with the masked frames taken from the prediction; the sound of `true` shows what the way from
    features back to sound costs alone."""
    return {"predicted": shown.predicted, "true": shown.true, "filled": shown.filled}
