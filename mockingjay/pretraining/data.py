"""What a model is trained or looked at on: batches of features, from a store or straight from recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mockingjay.config import DataConfig, PretrainConfig
from mockingjay.objectives.codes import UNKNOWN
from utility.audio.feature_config import FeatureConfig
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.batches import AnyBatch, Batch
from utility.loader import Loader, Target
from utility.store.info import StoreInfo
from utility.store.lists import without_list
from utility.store.reading import Store, is_split, splits_in
from utility.store.recordings import Recordings
from utility.store.statistics import Level, Statistics

HEARD = 500  # utterances whose frames give the statistics where features are computed as they are needed


@dataclass(frozen=True)
class Data:
    """Batches of a store, or of recordings that `online` turns into features, and the frames to predict."""

    corpus: Store | Recordings
    loader: Loader
    source: StoreInfo
    target: StoreInfo
    online: Online | None = None
    predicted: Store | None = None  # the store of the target, where it is another

    def target_level(self, name: str) -> Level | None:
        """What the target of an utterance was normalised by as it was read; None where it is as it was computed."""
        store = self.predicted or self.corpus
        return store.level(store.index[name]) if isinstance(store, Store) else None

    def features(self, batch: AnyBatch, generator: torch.Generator | None = None) -> Batch:
        """What a batch of the loader, already on the device, means to a model: features, computed where need be."""
        return self._as_features(batch, generator, self.loader.config.pad_multiple)

    def once(self, device: torch.device) -> Iterator[Batch]:
        """Every utterance once and whole."""
        return (self.features(batch.to(device)) for batch in self.loader.once(device.type == "cuda"))

    def one(self, index: int, device: torch.device) -> Batch:
        """Utterance `index` alone and whole."""
        return self._as_features(self.loader.one(index).to(device))

    def evenly(self, count: int) -> list[int]:
        """At most `count` utterances, spread over the corpus."""
        total = len(self.loader.source.ids)
        return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()

    def predicted_level(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [D], float64, of the frames that are predicted: of all of a store, of
        `HEARD` utterances where recordings are turned into features."""
        target, dim = self.loader.target, self.target.row_shape[0]
        if self.online is not None:
            cpu = torch.device("cpu")
            batches = (self.one(index, cpu) for index in self.evenly(HEARD))
            rows = ((b.features if b.target is None else b.target)[0].numpy() for b in batches)
        else:
            every = range(len(self.loader.source.ids))
            rows = (self.corpus[i] if target is None else np.asarray(target.read(i), np.float32) for i in every)
        level = Statistics.of((("", [frames]) for frames in rows), [""], dim)
        mean = level.sums[0] / level.counts[0]
        return mean, np.sqrt(np.maximum(level.squares[0] / level.counts[0] - mean**2, 0))

    def _as_features(self, batch: AnyBatch, generator: torch.Generator | None = None, multiple: int = 1) -> Batch:
        if isinstance(batch, Batch):
            return batch
        assert self.online is not None, "recordings are turned into features"
        return self.online(batch, generator, multiple)


def open_data(paths: Sequence[str], config: PretrainConfig, seed: int = 0, noisy: bool = False) -> Data:
    """Open the stores `paths`, or where the config trains online the tables and folders of recordings.

    `data.target` holds other features of the same frames, paired by utterance id (`duo_feature`). Recordings get the
    noise of the config where `noisy`, and else where it says `dev_noise`."""
    if config.online is not None:
        recordings = Recordings(paths, config.online.input)
        recordings.check()
        online = Online(config.online, noisy or config.online.dev_noise)
        target = recordings.info
        predicted = config.online.target
        if predicted is not None:
            target = replace(target, row_shape=[predicted.dim], features=predicted)
        paired = None
        if config.predicts_stored_codes:
            predicted_codes = _open_codes(config)
            paired, target = _codes_of(recordings, predicted_codes, config, paths[0]), predicted_codes.info
        loader = Loader(recordings, config.loader, seed, paired, waveforms=True)
        return Data(recordings, loader, recordings.info, target, online)
    table = next((path for path in paths if without_list(path)[0].suffix == ".csv"), None)
    if table is not None:
        raise ValueError(f"{table} is a table of recordings, not a store: add --online_config config/online.yaml")
    store = Store(paths)
    if len(store.info.row_shape) != 1:
        raise ValueError(f"{paths[0]} holds {store.info.row_shape} per frame: pre-training takes one vector per frame")
    if config.predicts_stored_codes:
        other = _open_codes(config)
        codes = _codes_of(store, other, config, paths[0])
        return Data(store, Loader(store, config.loader, seed, codes), store.info, other.info)
    if not config.data.target:
        return Data(store, Loader(store, config.loader, seed), store.info, store.info)
    other = Store(config.data.target)
    frames = _paired(store, other, paths[0])
    return Data(store, Loader(store, config.loader, seed, frames), store.info, other.info, predicted=other)


def open_given(
    paths: Sequence[str],
    config: PretrainConfig,
    features: FeatureConfig | None = None,
    target: FeatureConfig | None = None,
) -> Data:
    """Open what a command line names: it may be a store where the config trains from audio, and audio where it trains
    from a store, if it is known which `features` the model takes and which are its `target`."""
    first, _ = without_list(paths[0])
    if is_split(first):
        return open_data(paths, replace(config, online=None))
    if config.online is not None or not first.exists() or splits_in(first):
        return open_data(paths, config)
    if features is None:
        raise ValueError(
            f"{first}: nothing says which features the model takes, or they are not computed here (see --info): give a "
            "store/split, not audio"
        )
    other = None if target == features or config.predicts_stored_codes else target
    online = OnlineConfig(target_level=None, input=features, target=other)
    codes = config.data.target if config.predicts_stored_codes else []
    return open_data(paths, replace(config, data=DataConfig(target=codes), online=online))


def _paired(store: Store, other: Store, name: str) -> Target:
    """The frames of the other store that belong to each utterance."""
    pairs = _pairs(store, other, name, "features")
    wrong = next((i for i, pair in enumerate(pairs) if other.lengths[pair] != store.lengths[i]), None)
    if wrong is not None:
        raise ValueError(
            f"data.target: {store.ids[wrong]} has {other.lengths[pairs[wrong]]} frames, the input "
            f"{store.lengths[wrong]}: extract both with the same frame shift"
        )
    return Target(lambda index: other.read(pairs[index]))


def _pairs(corpus: Store | Recordings, other: Store, name: str, what: str) -> list[int]:
    """Where the other store has each utterance."""
    missing = [key for key in corpus.ids if key not in other.index]
    if missing:
        raise ValueError(f"data.target has no {what} for {len(missing)} utterances of {name}, e.g. {missing[0]}")
    return [other.index[key] for key in corpus.ids]


def _open_codes(config: PretrainConfig) -> Store:
    """The stores of codes that the config names."""
    if not config.data.target:
        raise ValueError(
            "codes.source is store, and data.target names none: make codes by runner_mockingjay.py --cluster, and name "
            "them, as in data.target=[data/libri_mel160_codes/train]"
        )
    store, codes = Store(config.data.target, codes=True), config.codes
    if (store.info.codes, store.info.row_shape) != (codes.size, [codes.codebooks]):
        raise ValueError(
            f"{store.names[0]} holds {store.info.row_shape[0]} codebooks of {store.info.codes} codes: set "
            f"codes.codebooks={store.info.row_shape[0]} codes.size={store.info.codes} (they are {codes.codebooks} and "
            f"{codes.size})"
        )
    return store


def _codes_of(corpus: Store | Recordings, other: Store, config: PretrainConfig, name: str) -> Target:
    """The codes of each utterance, repeated to the rate of its frames; `UNKNOWN` where it has none."""
    rate, shift = config.model.downsample_rate, corpus.info.frame_shift
    if shift > 0 and abs(other.info.frame_shift / (rate * shift) - 1) > 1e-3:
        here, there = 1000 * rate * shift, 1000 * other.info.frame_shift
        raise ValueError(
            f"{other.names[0]} has a code every {there:g} ms, the model a frame every {here:g} ms "
            f"(model.downsample_rate {rate} times {name}'s {1000 * shift:g}): make codes by --cluster --stack {rate}, "
            "or of an upstream of that rate"
        )
    pairs = _pairs(corpus, other, name, "codes")
    stacked = np.maximum(corpus.lengths // rate, 1)
    wrong = np.flatnonzero(np.abs(other.lengths[pairs] - stacked) > 1)  # rims of windows may differ
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"{other.names[0]}: {corpus.ids[i]} has {other.lengths[pairs[i]]} codes, {stacked[i]} frames in {name}: "
            "make the codes again"
        )

    def read(index: int) -> np.ndarray:
        codes, frames = other[pairs[index]], int(corpus.lengths[index])
        if codes.min() < 0 or codes.max() >= config.codes.size:
            raise ValueError(f"{other.names[0]}: {corpus.ids[index]} has a code outside 0 ... {config.codes.size - 1}")
        every = np.full((frames, codes.shape[1]), UNKNOWN, np.int32)
        known = codes.repeat(rate, axis=0)[:frames]
        every[: len(known)] = known
        return every

    return Target(read, UNKNOWN, step=rate)
