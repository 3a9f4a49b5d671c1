"""What a run reads: stores of features, or recordings as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from downstream.config import DataConfig
from utility.audio.feature_config import FeatureConfig
from utility.store.lists import IdList, Unaligned, without_list
from utility.store.reading import Store, is_split, splits_in
from utility.store.recordings import Recordings

Corpus = Store | Recordings


@dataclass(frozen=True)
class Sources:
    """The listed splits one by one, and as one corpus of all their utterances."""

    whole: Corpus
    splits: Sequence[Corpus]

    def lists(self) -> dict[str, IdList]:
        """The lists of utterances behind the splits that have one, by the splits' names."""
        return {split.names[0]: listed for split in self.splits if (listed := split.lists[0]) is not None}


def listed_paths(config: DataConfig) -> list[str]:
    """The splits of all parts, in the order train, dev, test; ValueError where there is none to train on."""
    if not config.train:
        raise ValueError("data.train is empty: list the splits to train on, as data.train=[data/<store>/<split>]")
    return [*config.train, *config.dev, *config.test]


def are_recordings(paths: Sequence[str]) -> bool:
    """Whether the paths are recordings (tables, folders of audio, files) and not splits of stores; ValueError for some
    of both."""
    kinds = {_is_recordings(Path(path).expanduser()): path for path in reversed(paths)}
    if len(kinds) > 1:
        raise ValueError(
            f"data lists both: {kinds[False]} is read as a store/split, {kinds[True]} as recordings: list one kind"
        )
    return True in kinds


def open_stores(paths: Sequence[str], unaligned: Unaligned) -> Sources:
    """Open every split of stores once, or of those with a list what it names."""
    return Sources(*Store.with_splits(paths, unaligned=unaligned))


def open_recordings(
    paths: Sequence[str],
    features: FeatureConfig | None,
    sample_rate: int | None = None,
    unaligned: Unaligned = "error",
) -> Sources:
    """Open every table or folder once: as features, which are computed when read, or as waveforms."""
    return Sources(*Recordings.with_splits(paths, features, sample_rate, unaligned))


def unstated_features(name: str) -> str:
    """What to say of an upstream of features that recordings cannot be computed for."""
    return (
        f"upstream {name} does not say which features of recordings it takes: add --online_config YAML, whose section "
        "online.input says them (config/online.yaml shows one)"
    )


def _is_recordings(name: Path) -> bool:
    path, _ = without_list(name)
    return not is_split(path) and (path.is_file() or (path.is_dir() and not splits_in(path)))
