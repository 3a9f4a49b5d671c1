"""Whether matrices are what their user says they are: a few utterances computed again from their audio."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from preprocess.parts.kaldi_cmvn import Normaliser
from preprocess.parts.kaldi_matrices import MatrixSource
from preprocess.parts.kaldi_recordings import Unpacking, recording_file, unpack
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.waveform import read_audio
from utility.kaldi.data_dir import read_data_dir
from utility.kaldi.scp_entries import Located
from utility.text import cut

COMPARED = 20  # utterances
APART = 0.1  # mean difference of a value: Kaldi adds noise (dither) to the samples


def check_agreement(
    source: MatrixSource, normalise: Normaliser, features: FeatureConfig, folder: Path, root: Path | None
) -> str:
    """Compare some matrices with the `features` of the recordings in a data directory; what to tell of it.

    ValueError where the frames are not as many, or differ by more than 0.1 on average. Without wav.scp, and of
    recordings that only a command gives, nothing can be said."""
    if not (folder / "wav.scp").is_file():
        return f"{source.named}: not compared with {features.kind}, there is no wav.scp"
    directory = read_data_dir(folder)
    located = Located(folder / "wav.scp", root)
    usable = sorted(key for key, shape in source.shapes.items() if len(shape) == 2 and key in directory.utterances)
    chosen = {usable[i] for i in np.linspace(0, len(usable) - 1, min(COMPARED, len(usable))).round().astype(int)}
    extractor, apart = FeatureExtractor(features), []
    with tempfile.TemporaryDirectory() as scratch:
        for key, values in source.values(chosen):
            part = directory.utterances[key]
            entry = directory.recordings[part.recording]
            try:
                file = recording_file(entry.value, located, Path(scratch), allow_commands=False)
                if isinstance(file, Unpacking):
                    unpack([file], 1)
                    file = file.target
                wave = torch.from_numpy(read_audio(file, features.sample_rate, span=(part.start, part.stop)))
            except ValueError:
                continue
            if isinstance(values, ValueError) or features.too_short(len(wave)):
                continue
            apart.append(_difference(key, normalise(key, values), extractor, wave, source))
    if not apart:
        return f"{source.named}: not compared with {features.kind}, no recording could be read"
    mean = float(np.mean(apart))
    if not mean <= APART:
        raise ValueError(
            f"{source.named}: not what --features says ({features.in_words()}): values of {len(apart)} utterances "
            f"differ by {mean:.3g} on average from those computed here, more than {APART}: name a --kind instead"
        )
    return f"{source.named}: {len(apart)} utterances computed again, values differ by {mean:.2g} on average"


def _difference(
    key: str, values: np.ndarray, extractor: FeatureExtractor, wave: torch.Tensor, source: MatrixSource
) -> float:
    """Mean distance of the values of one utterance."""
    here = extractor(wave[None], torch.tensor([len(wave)]))[0][0].numpy()
    if here.shape != values.shape:
        raise ValueError(
            f"{source.named}: not what --features says: {cut(key)} has {values.shape[0]} frames of {values.shape[1]}, "
            f"computed here {here.shape[0]} of {here.shape[1]}"
        )
    return float(np.abs(here - values).mean())
