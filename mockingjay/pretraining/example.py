"""What a model in training makes of one utterance, for TensorBoard: a picture, and sound where there can be some."""

from collections.abc import Callable

import numpy as np
import torch

from mockingjay.figures.codes import codes_figure
from mockingjay.figures.spectrograms import Reconstruction, reconstruction_figure
from mockingjay.pretraining.codes import CodePretraining
from mockingjay.pretraining.data import Data
from mockingjay.pretraining.resynthesis import Resynthesis, heard, silent_because
from mockingjay.pretraining.step import FramePretraining
from utility.training.events import Board

GROUP = "example"
SECONDS = 10.0  # of the utterance that are heard, at most: each of the three sounds takes half a second to make


class Example:
    """The first utterance of `data`, masked the same way at every look; `warn` is told of a bad recording."""

    def __init__(
        self,
        objective: FramePretraining | CodePretraining,
        data: Data,
        device: torch.device,
        warn: Callable[[str], None],
    ):
        self.objective, self.data, self.warn = objective, data, warn
        self.batch = data.one(0, device)
        self.audible = silent_because(data) is None
        self.resynthesis: Resynthesis | None = None
        self.made: dict[str, np.ndarray] = {}  # the sound of the truth, which no training changes

    def show(self, step: int, board: Board) -> None:
        """Add what the model makes of it at a step."""
        name, source = self.batch.ids[0], self.data.source
        if isinstance(self.objective, CodePretraining):
            board.figure(step, "codes", codes_figure(self.objective.show(self.batch), source, name), GROUP)
            return
        shown = self.objective.reconstruct(self.batch, self.data)
        board.figure(step, "reconstruction", reconstruction_figure(shown, source, self.data.target, name), GROUP)
        if self.audible and board.file is not None:
            self._play(step, shown, board)

    def _play(self, step: int, shown: Reconstruction, board: Board) -> None:
        try:
            self.resynthesis = self.resynthesis or Resynthesis(self.data, self.batch.ids[0])
            sounds = {
                kind: self.made[kind] if kind in self.made else self.resynthesis.waveform(frames, SECONDS)
                for kind, frames in heard(shown).items()
            }
        except (ValueError, OSError) as error:
            self.audible = False
            self.warn(f"no sound for TensorBoard: {error}")
            return
        self.made = {"true": sounds["true"]}
        for kind, sound in sounds.items():
            board.sound(step, kind, sound, self.resynthesis.sample_rate, GROUP)
