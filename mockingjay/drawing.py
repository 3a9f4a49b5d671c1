"""Drawing what a model makes of utterances: reconstructions, codes, hidden states, attention, alterations."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure

from mockingjay.config import PretrainConfig
from mockingjay.figures.attention import attention_figure
from mockingjay.figures.codes import codes_figure
from mockingjay.figures.phones import Phones
from mockingjay.figures.spectrograms import Reconstruction, alterations_figure, reconstruction_figure
from mockingjay.figures.states import hidden_states_figures
from mockingjay.inspection import Inspection
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import stack_frames
from mockingjay.objectives.masking import alter, each_alteration
from mockingjay.pretraining.codes import CodePretraining
from mockingjay.pretraining.data import Data
from mockingjay.pretraining.resynthesis import Resynthesis, heard
from mockingjay.pretraining.step import FramePretraining
from mockingjay.upstreams.selection import LayerSelection
from utility.batches import Batch
from utility.files import replacing
from utility.labels.alignment import Alignment
from utility.plot import Clock, picture_stem, save_figure
from utility.seeds import utterance_generators
from utility.worst import write_worst


@dataclass(frozen=True)
class Shown:
    """The utterances of the data that are drawn, with their phones where an alignment is given."""

    data: Data
    indices: Sequence[int]
    phones: Mapping[str, Phones]  # by id

    @classmethod
    def of(cls, data: Data, indices: Sequence[int], alignment: Alignment | None) -> "Shown":
        """Raise ValueError where the alignment lacks one of them, or cannot be one of its recording, before any
        picture is made."""
        if alignment is None:
            return cls(data, indices, {})
        if math.isnan(data.source.frame_shift):
            raise ValueError(
                f"{data.corpus.names[0]}: nothing says when its frames are, so that the phones of "
                f"{alignment.root} have no place: make the store anew, or leave --alignment out"
            )
        chosen = np.asarray(indices)
        names = [data.corpus.ids[index] for index in indices]
        frames, samples = data.corpus.lengths[chosen], data.corpus.num_samples[chosen]
        ends = data.source.durations(samples)
        last = (data.source.frame_offset or 0.0) + (frames - 1) * data.source.frame_shift
        ends = np.where(np.isnan(ends), last, ends).tolist()
        return cls(data, indices, {name: Phones.of(alignment, name, end) for name, end in zip(names, ends)})

    @torch.no_grad()
    def each(self, device: torch.device, draw: Callable[[Batch, str, Phones | None], list[Path]]) -> list[Path]:
        """What `draw` saves of each utterance, which it gets with the beginning of its files' names and its phones."""
        saved = []
        for index in self.indices:
            batch = self.data.one(index, device)
            saved += draw(batch, picture_stem(batch.ids[0]), self.phones.get(batch.ids[0]))
        return saved


@dataclass(frozen=True)
class Drawing:
    """Pictures of what a model makes of some utterances, saved in the folder of the inspection.

    Where `losses` are known, by id and greatest first, titles state them, and `worst.csv` lists them."""

    inspection: Inspection
    shown: Shown
    losses: Mapping[str, float] = field(default_factory=dict)

    def hidden_states(self, layers: LayerSelection, source: str = "") -> list[Path]:
        """First, last and weighted hidden states (equal weights unless `layers` brings some), comparable.

        `source` is the file that the weights of `layers` are from; the figure names it, and them."""
        upstream = self.inspection.upstream()
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

        def draw(batch: Batch, stem: str, phones: Phones | None) -> list[Path]:
            states = upstream(batch.features, batch.lengths)
            shown = {
                f"{batch.ids[0]}: {title}": which.pick(states, upstream)[0].float().cpu().numpy()
                for which, title in wanted.values()
            }
            figures = hidden_states_figures(shown, batch.features[0].cpu().numpy(), self.shown.data.source, phones)
            return [self._save(figure, f"{stem}_{name}.png") for name, figure in zip(wanted, figures)]

        return self._each(draw)

    def reconstructions(self) -> list[Path]:
        """Masked, predicted, true and filled spectrograms, all but the first as sound too."""
        objective, data = self.inspection.objective(), self.shown.data
        assert isinstance(objective, FramePretraining), "codes are drawn by `codes`"
        audible = self.inspection.silent_because() is None

        def draw(batch: Batch, stem: str, phones: Phones | None) -> list[Path]:
            shown = objective.reconstruct(batch, data)
            figure = reconstruction_figure(shown, data.source, data.target, self._named(batch), phones)
            saved = [self._save(figure, f"{stem}_reconstruction.png")]
            return saved + self._save_sound(shown, batch.ids[0], stem) if audible else saved

        return self._each(draw)

    def codes(self) -> list[Path]:
        """The input, the codes and the predicted codes."""
        objective = self.inspection.objective()
        assert isinstance(objective, CodePretraining), "frames are drawn by `reconstructions`"

        def draw(batch: Batch, stem: str, phones: Phones | None) -> list[Path]:
            figure = codes_figure(objective.show(batch), self.shown.data.source, self._named(batch), phones)
            return [self._save(figure, f"{stem}_codes.png")]

        return self._each(draw)

    def attention(self) -> list[Path]:
        """Attention of every head, a picture per layer, and the weights [layers, heads, T', T'] as .npy.

        Of an utterance that is encoded in pieces it is the attention of the first one, and the figure says so."""
        upstream = self.inspection.upstream()
        clock = Clock.of(self.shown.data.source).stacked(self.inspection.pretrained.config.model.downsample_rate)

        def draw(batch: Batch, stem: str, phones: Phones | None) -> list[Path]:
            maps = upstream.attention_maps(batch.features, batch.lengths)[:, 0].cpu().numpy()
            saved = [self.inspection.folder / f"{stem}_attention.npy"]
            with replacing(saved[0]) as temporary, temporary.open("wb") as file:
                np.save(file, maps)
            part = self._piece(int(batch.lengths[0]))
            for layer, heads in enumerate(maps, start=1):
                figure = attention_figure(heads, clock, f"{batch.ids[0]}: attention of layer {layer}{part}", phones)
                saved.append(self._save(figure, f"{stem}_attention_layer{layer}.png"))
            return saved

        return self._each(draw)

    def _each(self, draw: Callable[[Batch, str, Phones | None], list[Path]]) -> list[Path]:
        saved = self.shown.each(self.inspection.device, draw)
        return [*saved, write_worst(self.inspection.folder, self.losses)] if self.losses else saved

    def _named(self, batch: Batch) -> str:
        """The id of the utterance of a batch, with its loss where that is known."""
        name = batch.ids[0]
        return f"{name}, {self.inspection.loss_in_words(self.losses[name])}" if name in self.losses else name

    def _piece(self, frames: int) -> str:
        """What a title says of an utterance that is encoded in pieces: which frames the first one is."""
        limit = self.inspection.pretrained.config.model.max_input_length
        if limit is None or frames <= limit:
            return ""
        first, shift = int(Segments.of(torch.tensor([frames]), limit).lengths[0]), self.shown.data.source.frame_shift
        seconds = "" if math.isnan(shift) else f", {first * shift:.1f} of {frames * shift:.1f} s"
        return f"\nfirst piece alone: frames 1 to {first} of {frames}{seconds} (max_input_length {limit})"

    def _save_sound(self, shown: Reconstruction, name: str, stem: str) -> list[Path]:
        saved, resynthesis = [], Resynthesis(self.shown.data, name)
        data = self.shown.data
        same = data.source.features == data.target.features
        seen = {"input": shown.masked} if same else {}  # what is hidden is heard as the mean
        for kind, frames in {**seen, **heard(shown)}.items():
            path = self.inspection.folder / f"{stem}_{kind}.wav"
            with replacing(path) as temporary:
                soundfile.write(temporary, resynthesis.waveform(frames), resynthesis.sample_rate, format="WAV")
            saved.append(path)
        return saved

    def _save(self, figure: Figure, name: str) -> Path:
        save_figure(figure, self.inspection.folder / name)
        return self.inspection.folder / name


def draw_alterations(config: PretrainConfig, shown: Shown, folder: Path) -> list[Path]:
    """What `config` does to the utterances: time, replaced, frequency, noise, and all together."""
    source = shown.data.source

    def draw(batch: Batch, stem: str, phones: Phones | None) -> list[Path]:
        stacked, lengths = stack_frames(batch.features, batch.lengths, config.model.downsample_rate)
        altered = {"original": stacked}
        for name, only in each_alteration(config.masking).items():
            altered[name] = alter(stacked, lengths, only, utterance_generators(batch.ids)).inputs
        frames = {name: value[0].reshape(-1, batch.features.shape[2]) for name, value in altered.items()}
        path = folder / f"{stem}_alterations.png"
        save_figure(alterations_figure(frames, source, batch.ids[0], phones), path)
        return [path]

    return shown.each(torch.device("cpu"), draw)


def _numbers(weights: Sequence[float]) -> str:
    """Weights of layers for a title, ten to a line."""
    texts = [f"{weight:.2f}" for weight in weights]
    return "\n".join("  ".join(texts[start : start + 10]) for start in range(0, len(texts), 10))
