"""Upstream + corpus -> stored representations."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mockingjay.encoding import BATCH_FRAMES, BATCH_SECONDS, Encoding, rows_of
from mockingjay.inputs import Inputs, UtteranceSource, source_fingerprint
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.selection import LayerSelection
from utility.audio.waveform import AudioError
from utility.background import Background
from utility.kaldi import archives
from utility.precision import Precision
from utility.side_stream import copies_beside
from utility.store.files import SplitFiles, info_differences, read_info, removed_if_refused
from utility.store.info import StoreInfo
from utility.store.kaldi_directory import DirectoryOptions, check_names, write_directory
from utility.store.reading import Store, splits_in
from utility.store.writing import StoreWriter
from utility.text import short

UNWRITTEN = 2  # batches of a GPU that wait to be written, at most


@dataclass(frozen=True)
class ExtractionOptions:
    """How representations are computed and stored."""

    layers: LayerSelection = field(default_factory=LayerSelection)
    dtype: Literal["float32", "float16"] = "float32"
    precision: Precision = "fp32"
    batch_frames: int = BATCH_FRAMES  # of features, padding included,
    batch_seconds: float = BATCH_SECONDS  # or of waveforms
    shard: tuple[int, int] = (0, 1)
    quiet: bool = False
    checkpoint: str = ""  # what the store says of its maker: a path,
    step: int = 0  # and the optimiser updates done there
    overwrite: bool = False  # instead of a split that is there


def represent(
    upstream: Upstream, corpus: UtteranceSource, root: Path | str, split: str, how: ExtractionOptions
) -> bool:
    """Write the representations of every utterance to the store `root/split`; True when all of it is there.

    ValueError where the folder holds something else: what made it, and what helps. `how.overwrite` puts the new ones in
    its place, if representations are what it is; an unfinished split of the same is continued.
    Batches depend on the lengths alone, and one is redone whole where any of its rows is missing, so a killed run
    continued, or several shards, leave the same bytes as one undisturbed run."""
    info, inputs = _info(upstream, corpus, how, Path(root)), Inputs(upstream, corpus, how.layers.labels(upstream)[0])
    files = SplitFiles(Path(root), split)
    make_way(files, info, how.overwrite)
    with removed_if_refused(files, how.shard):
        writer = StoreWriter.open(root, split, rows_of(corpus, inputs.frames, inputs.num_samples), info)
        _represent(upstream, inputs, writer, how)
        return writer.finish()


def _represent(upstream: Upstream, inputs: Inputs, writer: StoreWriter, how: ExtractionOptions) -> None:
    """Write what is missing of this shard."""
    pending = np.zeros(len(inputs.frames), bool)
    pending[writer.pending()] = True
    for failed in np.flatnonzero((inputs.frames == 0) & pending).tolist():
        writer.fail(failed, inputs.reason(failed))
    encoding = Encoding(upstream, inputs, how.layers, how.precision)
    all_batches = encoding.batches(how.batch_frames, how.batch_seconds)
    batches = [batch for batch in all_batches[how.shard[0] :: how.shard[1]] if pending[batch].any()]
    total = int(sum(inputs.frames[batch].sum() for batch in batches))
    whole = [batch for batch in batches if not inputs.long[batch[0]]]
    long = [int(batch[0]) for batch in batches if inputs.long[batch[0]]]
    with torch.inference_mode(), tqdm(total=total, unit="frame", unit_scale=True, disable=how.quiet or None) as bar:
        writing = _Writing(encoding, writer, how, bar)
        writing.whole(whole)
        writing.in_pieces(long)


class _Writing:
    """Hidden states on their way into a store.

    A GPU casts them to the store's type, only real frames leave it, and what it gave is written while it computes."""

    def __init__(self, encoding: Encoding, writer: StoreWriter, how: ExtractionOptions, bar: tqdm):
        self.encoding, self.inputs, self.writer, self.how, self.bar = encoding, encoding.inputs, writer, how, bar
        self.copies = copies_beside(encoding.device)

    def whole(self, batches: Sequence[np.ndarray]) -> None:
        """Write the utterances of batches."""
        found = self.encoding.whole(batches, self.writer.fail)
        if self.copies is None:
            for indices, rows, states in found:
                counts = self.inputs.frames[indices].tolist()
                self._write(indices, rows, states, [row[:n] for row, n in zip(_array(states), counts)])
            return
        with Background(UNWRITTEN) as background:
            for indices, rows, states in found:
                counts = self.inputs.frames[indices].tolist()
                real = [row[:n] for row, n in zip(states, counts)]
                ends = np.cumsum([len(frames) for frames in real])
                background.call(self._write_sent, indices, rows, states, self._sent(torch.cat(real)), ends)

    def _write_sent(
        self, indices: Sequence[int], rows: Tensor, states: Tensor, sent: Callable[[], np.ndarray], ends: np.ndarray
    ) -> None:
        self._write(indices, rows, states, np.split(sent(), ends[:-1]))

    def _write(self, indices: Sequence[int], rows: Tensor, states: Tensor, values: Sequence[np.ndarray]) -> None:
        """Write the values of some utterances, which are real frames of states [B, T, ...] of inputs [B, ...]."""
        for place, (index, frames) in enumerate(zip(indices, values)):
            try:
                self.writer.write(index, frames)
            except ValueError:
                name = self.inputs.corpus.ids[index]
                raise ValueError(_why_not_finite(name, states[place], rows[place], self.how)) from None
            self.bar.update(len(frames))

    def _sent(self, states: Tensor) -> Callable[[], np.ndarray]:
        """States on their way from the GPU, as they are stored."""
        assert self.copies is not None, "of a GPU"
        return self.copies.to_host(states.float().to(getattr(torch, self.how.dtype)))

    def in_pieces(self, indices: Sequence[int]) -> None:
        """Write long utterances, each piece by piece: no more than a piece is ever held."""
        for index in indices:
            try:
                self.writer.write_pieces(index, self._pieces(index))
            except AudioError as error:
                self.writer.fail(index, str(error))

    def _pieces(self, index: int) -> Iterator[np.ndarray]:
        for samples, states, arrived in self._begun(index):
            with np.errstate(over="ignore"):
                values = arrived().astype(self.how.dtype, copy=False)
            if not np.isfinite(values).all():
                raise ValueError(_why_not_finite(self.inputs.corpus.ids[index], states, samples, self.how))
            yield values
            self.bar.update(len(values))

    def _begun(self, index: int) -> Iterator[tuple[Tensor, Tensor, Callable[[], np.ndarray]]]:
        """Samples and states of each piece, and what gives them as an array; on a GPU the next piece is begun then."""
        begun: deque[tuple[Tensor, Tensor, Callable[[], np.ndarray]]] = deque()
        for samples, states in self.encoding.pieces(index):
            begun.append((samples, states, partial(_array, states) if self.copies is None else self._sent(states)))
            if len(begun) > (self.copies is not None):
                yield begun.popleft()
        yield from begun


def _array(states: Tensor) -> np.ndarray:
    return states.float().cpu().numpy()


def _why_not_finite(name: str, states: Tensor, seen: Tensor, how: ExtractionOptions) -> str:
    """What is wrong with an utterance whose hidden states no store takes."""
    text = f"utterance {short(name)}: its hidden states are not finite"
    if not torch.isfinite(seen).all():
        return f"{text}, as its input is not: make that again"
    if torch.isfinite(states.float()).all():
        return f"{text} in {how.dtype}, which ends at {np.finfo(how.dtype).max:g}: take --dtype float32"
    return f"{text}: the weights of {how.checkpoint or 'the upstream'} or of its layers are too large, or not finite"


def _info(upstream: Upstream, corpus: UtteranceSource, how: ExtractionOptions, root: Path) -> StoreInfo:
    waves, label = upstream.takes == "waveform", how.layers.labels(upstream)[0]
    shift, offset = upstream.times(label)
    if not waves and corpus.info.frame_shift > 0:
        shift, offset = corpus.info.frame_shift, corpus.info.frame_offset
    return StoreInfo(
        kind="representation",
        dtype=how.dtype,
        row_shape=how.layers.row_shape(upstream),
        frame_shift=math.nan if shift is None else shift,  # a folder of the originals does not state it
        features=None if waves else corpus.info.features,
        frame_offset=offset,
        audio_root=corpus.info.audio_root,
        made_by={
            "upstream": upstream.fingerprint,
            "source": source_fingerprint(upstream, corpus, root),
            "layers": how.layers.plain(),
            "precision": how.precision,
            **({"sample_rate": upstream.sample_rate} if waves else {}),
            **({"checkpoint": how.checkpoint, "step": how.step} if how.checkpoint else {}),
        },
    )


def make_way(files: SplitFiles, info: StoreInfo, overwrite: bool) -> None:
    """Refuse what is there and was made otherwise, in words, or remove it."""
    if not files.info.is_file():
        return
    there = read_info(files.info)
    different = info_differences(there, info)
    if "upstream" not in there.made_by:
        if overwrite:
            raise ValueError(
                f"{files.info}: not made by --extract or --test, so not to overwrite: choose another --output"
            )
        return  # the writer names the values
    if different and not overwrite:
        hashes = ("made_by.upstream", "made_by.source", "features")
        values = [
            f"{key.removeprefix('made_by.')} is {short(one)} there, {short(other)} here"
            for key, one, other in different
            if not key.startswith(hashes)
        ]
        if any(key.startswith(("made_by.source", "features")) for key, _, _ in different):
            values.append("its input was another")
        raise ValueError(
            f"{files} was made by {there.in_words()}, this is {info.in_words()}: "
            f"{''.join(f'{text}; ' for text in values)}choose another --output, or add --overwrite to replace it"
        )
    directory = files.root / files.split / "feats.scp"
    finished = files.table.exists() or files.archive_index.exists() or directory.exists()
    if not overwrite or (not different and not finished):
        return
    archived = {path.stem for path in files.root.glob("*.scp")}
    archived |= {path.parent.name for path in files.root.glob("*/feats.scp")}
    others = sorted({*splits_in(files.root), *archived} - {files.split})
    if different and others:
        raise ValueError(
            f"{files.root} also holds {', '.join(others)}, made by {there.in_words()}: "
            "choose another --output, or remove that folder"
        )
    with files.lock():
        files.remove()
        if different:
            files.info.unlink()


def represent_as_archive(
    upstream: Upstream, corpus: UtteranceSource, root: Path | str, split: str, how: ExtractionOptions
) -> archives.Matrices:
    """Write the representations of every utterance to the Kaldi archive `root/split.ark`, its index `.scp` beside it.

    On the way they are a store, which `represent` continues when it was killed: batches come by length, an archive in
    the order of its utterances. When the archive is whole the store goes; `features.yaml` and `errors.csv` stay."""
    files = SplitFiles(Path(root), split)
    _check_archived(upstream, corpus, how)
    make_way(files, _info(upstream, corpus, how, files.root), how.overwrite)
    if not files.archive_index.is_file() or files.table.is_file():
        assert represent(upstream, corpus, root, split, replace(how, overwrite=False)), "one process does all of it"
        store = Store([files.root / split])
        archives.write_ark(files.archive, ((name, store[index]) for index, name in enumerate(store.ids)))
    files.remove_rows()
    return _written(files.archive_index, corpus)


def represent_as_directory(
    upstream: Upstream, corpus: UtteranceSource, root: Path | str, split: str, how: ExtractionOptions
) -> tuple[archives.Matrices, list[str]]:
    """The same as Kaldi's data directory `root/split`, and what is to be told as warnings."""
    files = SplitFiles(Path(root), split)
    _check_archived(upstream, corpus, how)
    check_names(corpus)
    index, warnings = files.root / split / "feats.scp", []
    make_way(files, _info(upstream, corpus, how, files.root), how.overwrite)
    if how.overwrite or not index.is_file() or files.table.is_file():
        assert represent(upstream, corpus, root, split, replace(how, overwrite=False)), "one process does all of it"
        warnings = write_directory(Store([files.root / split]), index.parent, DirectoryOptions())
    files.remove_rows()
    return _written(index, corpus), warnings


def _check_archived(upstream: Upstream, corpus: UtteranceSource, how: ExtractionOptions) -> None:
    """Raise ValueError for what Kaldi's files cannot hold, before any work."""
    if len(shape := how.layers.row_shape(upstream)) != 1:
        raise ValueError(f"a Kaldi archive holds one vector per frame, not {shape}: choose one layer")
    for name in corpus.ids:
        try:
            archives.check_key(name)
        except ValueError as error:
            raise ValueError(f"utterance {short(name)} has no place in an archive: {error}") from None


def _written(index: Path, corpus: UtteranceSource) -> archives.Matrices:
    written = archives.read_scp(index)
    if other := set(written.keys) - set(corpus.ids):
        raise ValueError(f"{index} is of other utterances, as {short(min(other))}: add --overwrite to replace it")
    return written
