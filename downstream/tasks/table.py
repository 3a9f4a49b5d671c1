"""The tasks by name; it loads nothing, so that a command can list them at once."""

import importlib
from typing import TYPE_CHECKING

from utility.text import short

if TYPE_CHECKING:
    from downstream.config import DownstreamConfig
    from downstream.tasks.base import Task

TASKS = {
    "phone_linear": "phone of each frame, one linear layer",
    "phone_1hidden": "phone of each frame, one hidden layer (ReLU)",
    "phone_concat": "phone of each frame from 9 frames side by side, linear",
    "speaker_frame": "speaker of each frame, one linear layer",
    "speaker_utterance": "speaker of the mean over an utterance's frames, linear",
    "utterance": "class or number of an utterance by a table (data.labels), from the mean over its frames, linear",
    "keyword_spotting": "word of an utterance by a table, projected, pooled and linear (config/superb_ks.yaml)",
    "intent": "intent of an utterance, a class in each of several columns (config/superb_ic.yaml)",
    "emotion": "emotion of an utterance by a table, best with --folds (config/superb_er.yaml)",
    "sentiment": "sentiment of an utterance, a class or a number from -3 to 3 (config/sentiment.yaml)",
    "mos": "quality of an utterance as listeners hear it, a number (config/superb_mos.yaml)",
    "asv_cosine": "whether two utterances are of one speaker (data.trials), cosine of their means, not trained",
    "asv_xvector": "whether two utterances are of one speaker (data.trials), cosine of trained x-vectors",
    "ctc_phone": "recognition of phones (data.lexicon or data.alignment) by CTC, linear: phone error rate",
    "ctc_char": "recognition of texts (data.text) by characters and CTC, recurrent: word and character error rate",
    "ctc_subword": "recognition of texts by subwords (data.subword_model) and CTC, recurrent",
    "ctc_word": "recognition of texts by whole words and CTC, recurrent",
}
MODULES = {  # where the function `task(name, config)` is that makes it
    "phone_linear": "downstream.tasks.phones",
    "phone_1hidden": "downstream.tasks.phones",
    "phone_concat": "downstream.tasks.phones",
    "speaker_frame": "downstream.tasks.speakers",
    "speaker_utterance": "downstream.tasks.speakers",
    "utterance": "downstream.tasks.utterances",
    "keyword_spotting": "downstream.tasks.utterances",
    "intent": "downstream.tasks.utterances",
    "emotion": "downstream.tasks.utterances",
    "sentiment": "downstream.tasks.utterances",
    "mos": "downstream.tasks.utterances",
    "asv_cosine": "downstream.tasks.verification",
    "asv_xvector": "downstream.tasks.verification",
    "ctc_phone": "downstream.tasks.recognition",
    "ctc_char": "downstream.tasks.recognition",
    "ctc_subword": "downstream.tasks.recognition",
    "ctc_word": "downstream.tasks.recognition",
}


def find_task(name: str, config: "DownstreamConfig | None" = None) -> "Task":
    """The task of that name as a config wants it, None that of the defaults; ValueError that lists all for another
    name, or for a config that wants of it what it is not."""
    if name not in TASKS:
        raise ValueError(f"unknown task {short(name)}: expected one of {', '.join(TASKS)}")
    if config is None:
        config = importlib.import_module("downstream.config").DownstreamConfig()
    return importlib.import_module(MODULES[name]).task(name, config)
