"""Looking at a pre-trained model: masked loss on a test set, reconstructions, alterations, hidden states, attention."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure

from mockingjay.checkpoint import Pretrained, check_input
from mockingjay.config import PretrainConfig
from mockingjay.figures import (
    Phones,
    Reconstruction,
    alterations_figure,
    attention_figure,
    codes_figure,
    hidden_states_figure,
    reconstruction_figure,
)
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import stack_frames
from mockingjay.objectives.masking import alter, each_alteration
from mockingjay.pretraining.codes import CodePretraining
from mockingjay.pretraining.data import Data, open_given
from mockingjay.pretraining.resynthesis import Resynthesis, heard, silent_because
from mockingjay.pretraining.run import pretraining
from mockingjay.pretraining.step import FramePretraining
from mockingjay.upstreams.pretrained import PretrainedUpstream
from mockingjay.upstreams.selection import LayerSelection
from utility.batches import Batch
from utility.files import replacing
from utility.labels.alignment import Alignment
from utility.plot import Clock, picture_stem, save_figure
from utility.seeds import utterance_generators


@dataclass(frozen=True)
class Inspection:
    """A pre-trained model before some data, and the folder its pictures go to."""

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
        self._check_target()
        return self._objective().evaluate(self.data.once(self.device))

    def _objective(self) -> FramePretraining | CodePretraining:
        return pretraining(self.pretrained.model, self.pretrained.config, self.device)

    def plot_hidden_states(self, layers: LayerSelection, count: int, source: str = "") -> list[Path]:
        """First, last and weighted hidden states of `count` utterances (equal weights unless `layers` brings some).

        `source` is the file that the weights of `layers` are from; the figure names it, and them."""
        upstream = self._upstream()
        last = upstream.num_layers
        if layers.weights is not None:
            weighted, weights = layers, f"\nweights of {source}:\n{_numbers(layers.weights)}"
        else:
            weighted, weights = LayerSelection((1 / (last + 1),) * (last + 1)), ", equal weights"
        weighted.row_shape(upstream)
        wanted = {
            "first": (LayerSelection(0), "hidden state 0, the embedding"),
            "last": (LayerSelection("last"), f"hidden state {last}, the last"),
            "weighted": (weighted, f"sum of hidden states 0 to {last}{weights}"),
        }

        def draw(batch: Batch, stem: str) -> list[Path]:
            states = upstream(batch.features, batch.lengths)
            clock = Clock.of(self.data.source)
            pictures = {
                name: hidden_states_figure(which.pick(states, upstream)[0], clock, f"{batch.ids[0]}: {title}")
                for name, (which, title) in wanted.items()
            }
            return [self._save(picture, f"{stem}_{name}.png") for name, picture in pictures.items()]

        return self._each(count, draw)

    def plot_reconstructions(self, count: int) -> list[Path]:
        """Masked, predicted, true and filled spectrograms of `count` utterances, all but the first as sound too."""
        self._check_target()
        objective = self._objective()
        assert isinstance(objective, FramePretraining), "codes are drawn by plot_codes"
        audible = self.silent_because() is None

        def draw(batch: Batch, stem: str) -> list[Path]:
            shown = objective.reconstruct(batch, self.data)
            figure = reconstruction_figure(shown, self.data.source, self.data.target, batch.ids[0])
            saved = [self._save(figure, f"{stem}_reconstruction.png")]
            return saved + self._save_sound(shown, batch.ids[0], stem) if audible else saved

        return self._each(count, draw)

    def plot_codes(self, count: int, alignment: Alignment | None) -> list[Path]:
        """The input, the codes and the predicted codes of `count` utterances, with the phones of an alignment."""
        self._check_target()
        objective = self._objective()
        assert isinstance(objective, CodePretraining), "frames are drawn by plot_reconstructions"

        def draw(batch: Batch, stem: str) -> list[Path]:
            phones = None if alignment is None else Phones.of(alignment, batch.ids[0])
            figure = codes_figure(objective.show(batch), self.data.source, batch.ids[0], phones)
            return [self._save(figure, f"{stem}_codes.png")]

        return self._each(count, draw)

    def _check_target(self) -> None:
        """Raise ValueError where what the model predicts is not computed here."""
        text, source = self.pretrained.stated.get("target"), self.data.target
        if text is not None and text != source.stated:
            raise ValueError(f"the checkpoint predicts features that are not computed here: {text}")

    def silent_because(self) -> str | None:
        """Why reconstructions cannot be made into sound, or None where they can."""
        if self.pretrained.config.objective == "codes":
            return "codes cannot be turned back into a waveform"
        return silent_because(self.data)

    def _save_sound(self, shown: Reconstruction, name: str, stem: str) -> list[Path]:
        saved, resynthesis = [], Resynthesis(self.data, name)
        for kind, frames in heard(shown).items():
            path = self.folder / f"{stem}_{kind}.wav"
            with replacing(path) as temporary:
                soundfile.write(temporary, resynthesis.waveform(frames), resynthesis.sample_rate, format="WAV")
            saved.append(path)
        return saved

    def plot_alterations(self, count: int) -> list[Path]:
        """What the model's masking hides of `count` utterances."""
        return draw_alterations(self.pretrained.config, self.data, self.folder, count)

    def plot_attention(self, count: int) -> list[Path]:
        """Attention of every head, a picture per layer, and the weights [layers, heads, T', T'] as .npy.

        Of an utterance that is encoded in pieces it is the attention of the first one, and the figure says so."""
        upstream = self._upstream()
        rate = self.pretrained.config.model.downsample_rate
        clock = Clock.of(self.data.source).stacked(rate)

        def draw(batch: Batch, stem: str) -> list[Path]:
            maps = upstream.attention_maps(batch.features, batch.lengths)[:, 0]
            with replacing(self.folder / f"{stem}_attention.npy") as temporary, temporary.open("wb") as file:
                np.save(file, maps.cpu().numpy())
            saved = [self.folder / f"{stem}_attention.npy"]
            part = self._piece(int(batch.lengths[0]))
            for layer, heads in enumerate(maps, start=1):
                figure = attention_figure(heads, clock, f"{batch.ids[0]}: attention of layer {layer}{part}")
                saved.append(self._save(figure, f"{stem}_attention_layer{layer}.png"))
            return saved

        return self._each(count, draw)

    def _piece(self, frames: int) -> str:
        """What a title says of an utterance that is encoded in pieces: which frames the first one is."""
        limit = self.pretrained.config.model.max_input_length
        if limit is None or frames <= limit:
            return ""
        first, shift = int(Segments.of(torch.tensor([frames]), limit).lengths[0]), self.data.source.frame_shift
        seconds = "" if math.isnan(shift) else f", {first * shift:.1f} of {frames * shift:.1f} s"
        return f"\nfirst piece alone: frames 1 to {first} of {frames}{seconds} (max_input_length {limit})"

    @torch.no_grad()
    def _each(self, count: int, draw: Callable[[Batch, str], list[Path]]) -> list[Path]:
        saved = []
        for index in range(min(count, len(self.data.loader.source.ids))):
            batch = self.data.one(index, self.device)
            saved += draw(batch, picture_stem(batch.ids[0]))
        return saved

    def _upstream(self) -> PretrainedUpstream:
        pretrained = self.pretrained
        upstream = PretrainedUpstream(pretrained.model, pretrained.config, pretrained.features, pretrained.frame_shift)
        return upstream.eval().to(self.device)

    def _save(self, figure: Figure, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        save_figure(figure, self.folder / name)
        return self.folder / name


def without_target(config: PretrainConfig) -> PretrainConfig:
    """The config of a model that is looked at, but predicts nothing."""
    objective = "masked" if config.objective == "codes" else config.objective
    return replace(config, objective=objective, data=replace(config.data, target=[]))


def _numbers(weights: Sequence[float]) -> str:
    """Weights of layers for a title, ten to a line."""
    texts = [f"{weight:.2f}" for weight in weights]
    return "\n".join("  ".join(texts[start : start + 10]) for start in range(0, len(texts), 10))


def draw_alterations(config: PretrainConfig, data: Data, folder: Path, count: int) -> list[Path]:
    """What `config` does to the first `count` utterances: time, replaced, frequency, noise, and all together."""
    saved, rate = [], config.model.downsample_rate
    for index in range(min(count, len(data.loader.source.ids))):
        batch = data.one(index, torch.device("cpu"))
        stacked, lengths = stack_frames(batch.features, batch.lengths, rate)
        shown = {"original": stacked}
        for name, only in each_alteration(config.masking).items():
            shown[name] = alter(stacked, lengths, only, utterance_generators(batch.ids)).inputs
        frames = {name: value[0].reshape(-1, batch.features.shape[2]) for name, value in shown.items()}
        folder.mkdir(parents=True, exist_ok=True)
        saved.append(folder / f"{picture_stem(batch.ids[0])}_alterations.png")
        save_figure(alterations_figure(frames, data.source, batch.ids[0]), saved[-1])
    return saved
