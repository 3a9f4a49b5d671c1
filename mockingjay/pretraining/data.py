"""What a model is trained or looked at on: batches of features, from a store or straight from recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mockingjay.config import DataConfig, PretrainConfig
from utility.audio.feature_config import FeatureConfig
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.batches import AnyBatch, Batch
from utility.loader import Loader, Target
from utility.store.info import StoreInfo
from utility.store.lists import without_list
from utility.store.reading import Store, is_split, splits_in
from utility.store.recordings import Recordings
from utility.store.statistics import Level


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
        loader = Loader(recordings, config.loader, seed, waveforms=True)
        return Data(recordings, loader, recordings.info, target, online)
    table = next((path for path in paths if without_list(path)[0].suffix == ".csv"), None)
    if table is not None:
        raise ValueError(f"{table} is a table of recordings, not a store: add --online_config config/online.yaml")
    store = Store(paths)
    if len(store.info.row_shape) != 1:
        raise ValueError(f"{paths[0]} holds {store.info.row_shape} per frame: pre-training takes one vector per frame")
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
    online = OnlineConfig(target_level=None, input=features, target=None if target == features else target)
    return open_data(paths, replace(config, data=DataConfig(), online=online))


def _paired(store: Store, other: Store, name: str) -> Target:
    """The frames of the other store that belong to each utterance."""
    missing = [key for key in store.ids if key not in other.index]
    if missing:
        raise ValueError(f"data.target has no features for {len(missing)} utterances of {name}, e.g. {missing[0]}")
    pairs = [other.index[key] for key in store.ids]
    wrong = next((i for i, pair in enumerate(pairs) if other.lengths[pair] != store.lengths[i]), None)
    if wrong is not None:
        raise ValueError(
            f"data.target: {store.ids[wrong]} has {other.lengths[pairs[wrong]]} frames, the input "
            f"{store.lengths[wrong]}: extract both with the same frame shift"
        )
    return Target(lambda index: other[pairs[index]])
