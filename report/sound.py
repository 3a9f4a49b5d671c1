"""Sound on a page: recordings and reconstructions as FLAC in the page itself, as much as there is room for."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from utility.audio.waveform import AudioError, Span, read_audio

LONGEST = 10.0  # seconds of each
RATE = 16000
MEGABYTE = 10**6


@dataclass(frozen=True)
class Clip:
    """What is heard, as a page has it; `cut` says that it is longer in truth."""

    label: str
    source: str  # data:audio/flac;base64,...
    cut: bool = False


@dataclass
class Room:
    """How many bytes of sound a page may still have; `left_out` counts what found no room."""

    size: float  # bytes
    left_out: int = 0
    missing: list[str] = field(default_factory=list)  # recordings that are not there

    def recording(self, label: str, path: Path, span: Span) -> Clip | None:
        """A recording, or a part of it; None where it is not there, cannot be read, or finds no room."""
        if self.size <= 0:
            self.left_out += 1
            return None
        try:
            return self._clip(label, read_audio(path, RATE, span=span), RATE)
        except (AudioError, OSError, ValueError):
            self.missing.append(path.name)
            return None

    def file(self, label: str, path: Path) -> Clip | None:
        """A WAV of ours."""
        return self.recording(label, path, (None, None))

    def _clip(self, label: str, samples: np.ndarray, rate: int) -> Clip | None:
        buffer, longest = io.BytesIO(), int(LONGEST * rate)
        soundfile.write(buffer, samples[:longest], rate, format="FLAC", subtype="PCM_16")
        text = base64.b64encode(buffer.getvalue()).decode()
        if len(text) > self.size:
            self.left_out += 1
            return None
        self.size -= len(text)
        return Clip(label, f"data:audio/flac;base64,{text}", len(samples) > longest)
