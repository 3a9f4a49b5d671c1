"""Looking at a pre-trained model: the checkpoint before some data, and its masked loss on them."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from mockingjay.checkpoint import Pretrained, check_input
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.codes import CodePretraining
from mockingjay.pretraining.data import Data, open_given
from mockingjay.pretraining.resynthesis import silent_because
from mockingjay.pretraining.run import pretraining
from mockingjay.pretraining.step import FramePretraining, NothingToEvaluate
from mockingjay.upstreams.pretrained import PretrainedUpstream


@dataclass(frozen=True)
class Inspection:
    """A pre-trained model before some data, and the folder that what is seen goes to."""

    pretrained: Pretrained
    data: Data
    folder: Path
    device: torch.device

    @classmethod
    def open(
        cls, pretrained: Pretrained, paths: Sequence[str], folder: Path, device: torch.device, predicts: bool = True
    ) -> "Inspection":
        """Open the stores or recordings `paths`; ValueError where their features are not those of the checkpoint.

        Where it `predicts`, what it predicts of them is opened too."""
        config = pretrained.config if predicts else without_target(pretrained.config)
        data = open_given(paths, config, pretrained.features, pretrained.target)
        check_input(data.source.features, data.source.stated, pretrained, paths[0])
        if data.source.row_shape != [pretrained.model.input_dim]:
            raise ValueError(
                f"{paths[0]} has rows of {data.source.row_shape}, the checkpoint takes {pretrained.model.input_dim}"
            )
        return cls(pretrained, data, folder, device)

    def scores(self) -> dict[str, float]:
        """The loss over the whole data, with masks fixed by the utterance ids: L1; of codes cross-entropy in nats, with
        accuracy and how they are spread."""
        return self.objective().evaluate(self.data.once(self.device))

    def worst(self, count: int, quiet: bool) -> list[tuple[int, float]]:
        """Indices of the utterances of the greatest loss, greatest first, and the losses; masks are those of `scores`.

        Those too short for any frame to count are left out; ValueError where that leaves none."""
        objective, losses = self.objective(), []
        every = range(len(self.data.corpus.ids))
        for index in tqdm(every, unit="utterance", desc="loss of each", disable=quiet or None):
            try:
                losses.append((objective.evaluate([self.data.one(index, self.device)])["loss"], -index))
            except NothingToEvaluate:
                continue
        if not losses:
            raise NothingToEvaluate
        return [(-index, loss) for loss, index in heapq.nlargest(count, losses)]

    def loss_in_words(self, loss: float) -> str:
        """What a loss is called: `masked L1 0.1234`."""
        if self.pretrained.config.objective == "codes":
            return f"cross-entropy {loss:.4f} nats"
        return f"{'masked ' * (self.pretrained.config.objective != 'apc')}L1 {loss:.4f}"

    def objective(self) -> FramePretraining | CodePretraining:
        """What the model was trained for; ValueError where what it predicts is not computed here."""
        text, source = self.pretrained.stated.get("target"), self.data.target
        if text is not None and text != source.stated:
            raise ValueError(f"the checkpoint predicts features that are not computed here: {text}")
        return pretraining(self.pretrained.model, self.pretrained.config, self.device)

    def upstream(self) -> PretrainedUpstream:
        """The encoder, as it gives hidden states."""
        pretrained = self.pretrained
        upstream = PretrainedUpstream(pretrained.model, pretrained.config, pretrained.features, pretrained.frame_shift)
        return upstream.eval().to(self.device)

    def silent_because(self) -> str | None:
        """Why reconstructions cannot be made into sound, or None where they can."""
        if self.pretrained.config.objective == "codes":
            return "codes cannot be turned back into a waveform"
        return silent_because(self.data)


def without_target(config: PretrainConfig) -> PretrainConfig:
    """The config of a model that is looked at, but predicts nothing."""
    objective = "masked" if config.objective == "codes" else config.objective
    return replace(config, objective=objective, data=replace(config.data, target=[]))
