"""The speaker, from the store's speaker column: of every frame, or of an utterance."""

from downstream.labels import speakers
from downstream.splits import Division
from downstream.tasks.classification import ByFrame, ByUtterance, Classification, Level
from downstream.tasks.table import TASKS


def _speakers(name: str, level: Level) -> Classification:
    return Classification(name, TASKS[name], speakers, level, Division("utterance", known_speakers=True))


speaker_frame = _speakers("speaker_frame", ByFrame())
speaker_utterance = _speakers("speaker_utterance", ByUtterance())
