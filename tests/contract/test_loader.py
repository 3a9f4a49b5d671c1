"""Batches: every utterance once, within the budget, order from (seed, epoch), resumable, with any number of workers."""

import threading
from dataclasses import replace
from itertools import chain, islice
from time import process_time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import utility.loader
from mockingjay.config import PretrainConfig
from tests.conftest import PROJECT
from tests.helpers.speech import MEL, sparse_store, write_store
from utility.config import resolve
from utility.loader import START, Loader, LoaderConfig, Target, frame_batches
from utility.store.reading import Store

# Seconds within which these shares of LibriSpeech's utterances are, of each at speeds 0.9, 1 and 1.1: what icefall's
# egs/librispeech/ASR/local/display_manifest_statistics.py says of them.
SHARES = [0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1]
LIBRISPEECH = {
    "train-clean-100": [1.3, 1.9, 2.2, 2.5, 4.2, 6.4, 11.4, 13.8, 15.3, 16.7, 17.3, 18.1, 18.4, 18.8, 27.2],
    "train-clean-360": [1.0, 1.8, 2.2, 2.5, 4.2, 6.2, 11.2, 13.7, 15.3, 16.6, 17.3, 18.1, 18.4, 18.8, 33.0],
    "train-other-500": [0.8, 1.7, 2.1, 2.3, 3.5, 5.0, 9.8, 13.4, 15.1, 16.5, 17.2, 18.1, 18.4, 18.9, 31.0],
}


@settings(deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=80), st.integers(1, 2000), st.integers(0, 5))
def test_batches_hold_every_utterance_once_within_the_budget(lengths, budget, seed):  # R16: the last one was lost
    lengths = np.array(lengths)
    for rng in (None, np.random.default_rng(seed)):
        batches = frame_batches(lengths, budget, rng)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or lengths[batch].max() * len(batch) <= budget


@pytest.mark.parametrize("cropped", [True, False])
@pytest.mark.parametrize("split", sorted(LIBRISPEECH))
def test_little_is_padded_at_the_lengths_of_librispeech(split, cropped):
    draws = np.random.default_rng(0).random(10_000)
    lengths = MEL.num_frames((16000 * np.interp(draws, SHARES, LIBRISPEECH[split])).astype(int))
    config = resolve(PretrainConfig, PROJECT / "config" / "mockingjay_libri.yaml").loader
    assert (config.max_frames, config.pad_multiple) == (1500, 64)
    loader = Loader(
        SimpleNamespace(lengths=lengths, ids=range(len(lengths))),
        config if cropped else replace(config, max_frames=None),
        seed=1,
    )
    for epoch in range(2):
        batches = loader.epoch(epoch)
        longest = [int(-(-loader.cropped[batch].max() // 64) * 64) for batch in batches]
        computed = sum(frames * len(batch) for frames, batch in zip(longest, batches))
        assert 1 - loader.cropped.sum() / computed < 0.05
        assert loader.cropped.sum() / len(batches) > 0.85 * config.batch_frames


@pytest.mark.slow
def test_first_batch_of_300_000_utterances_comes_within_seconds(tmp_path):
    lengths = np.random.default_rng(0).integers(100, 1600, 300_000)
    path = sparse_store(tmp_path / "train", lengths)
    start = process_time()
    loader = Loader(Store([path]), LoaderConfig(max_frames=1500, pad_multiple=64))
    _, batch = next(loader.stream())
    assert process_time() - start < 10  # about 1
    assert batch.lengths.sum() > 6000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    lengths = {f"s{i % 3}-{i}": 5 + 7 * i % 40 for i in range(23)}
    return Store([write_store(tmp_path_factory.mktemp("store") / "train", lengths)])


def seen(stream):
    return [(position, batch.ids, batch.features) for position, batch in stream]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_continues_where_it_was_with_any_number_of_workers(store, workers):
    config = LoaderConfig(batch_frames=100, max_frames=20)
    whole = seen(islice(Loader(store, config, seed=3).stream(), 40))
    position = whole[16][0]
    other = LoaderConfig(batch_frames=100, max_frames=20, workers=workers)
    rest = seen(islice(Loader(store, other, seed=3).stream(position), 23))
    for (here, ids, features), (there, other_ids, other_features) in zip(whole[17:], rest, strict=True):
        assert (here, ids) == (there, other_ids)
        assert torch.equal(features, other_features)


@pytest.mark.parametrize("stop", ["closed", "failed"])
def test_threads_that_read_ahead_end_with_their_stream(store, stop, monkeypatch):
    """As processes they ended with "terminate called without an active exception" on some machines."""
    before = set(threading.enumerate())
    stream = Loader(store, LoaderConfig(batch_frames=100, workers=2), seed=3).stream()
    next(stream)
    assert len(set(threading.enumerate()) - before) == 2
    if stop == "failed":

        def gone(*_):
            raise FileNotFoundError(2, "No such file or directory", "a.flac")

        monkeypatch.setattr(store, "read", gone, raising=False)
        with pytest.raises(FileNotFoundError, match=r"a\.flac"):
            list(stream)
    else:
        stream.close()
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    ("workers", "pin", "waveforms", "expected"),
    [(None, False, False, 0), (None, True, False, 4), (None, True, True, 8), (0, True, True, 0), (2, False, False, 2)],
)
def test_threads_read_ahead_for_a_gpu_unless_the_config_says_otherwise(
    store, workers, pin, waveforms, expected, monkeypatch
):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    pools = []
    make = utility.loader.ThreadPoolExecutor
    monkeypatch.setattr(
        utility.loader, "ThreadPoolExecutor", lambda *how, **more: pools.append(how[0]) or make(*how, **more)
    )
    stream = Loader(store, LoaderConfig(batch_frames=50, workers=workers), waveforms=waveforms).stream(pin=pin)
    next(stream)
    assert pools == [expected] * bool(expected)
    stream.close()
    assert not readers()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("of", ["features", "target"])
def test_float16_stays_float16_until_the_device_and_becomes_the_same_float32(store, tmp_path, of, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self.dtype) or self)
    half = Store([write_store(tmp_path / "half", dict(zip(store.ids, store.lengths.tolist())), dtype="float16")])
    source, target = (half, None) if of == "features" else (store, Target(half.read))
    loader = Loader(source, LoaderConfig(batch_frames=100, max_frames=20, pad_multiple=8), seed=3, target=target)
    for (_, host), (_, sent) in zip(islice(loader.stream(), 12), loader.stream(pin=True)):
        one, other = getattr(host, of), getattr(sent, of)
        assert (one.dtype, other.dtype) == (torch.float32, torch.float16)
        there = getattr(sent.to(torch.device("cpu")), of)
        assert there.dtype == torch.float32
        assert torch.equal(there, one)
        for row, name, length in zip(one, host.ids, host.lengths):
            whole = torch.from_numpy(half[half.index[name]])
            assert whole.dtype == torch.float32
            assert any(torch.equal(row[:length], whole[i : i + length]) for i in range(len(whole)))
    assert torch.float16 in pinned
    assert one.abs().max() > 0.1


def test_batches_of_splits_of_both_types_are_float32(store, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    single = write_store(tmp_path / "one" / "single", {"a-1": 9, "a-2": 8})
    half = write_store(tmp_path / "two" / "half", {"b-1": 9}, seed=1, dtype="float16")
    both = Store([half, single])
    _, batch = next(Loader(both, LoaderConfig()).stream(pin=True))
    assert batch.features.dtype == torch.float32
    for row, name in zip(batch.features, batch.ids):
        assert np.array_equal(row[: both.lengths[both.index[name]]].numpy(), both[both.index[name]])


def test_epochs_and_seeds_differ_and_lose_nothing(store):
    loader = Loader(store, LoaderConfig(batch_frames=100), seed=3)
    epochs = [[batch.tolist() for batch in loader.epoch(epoch)] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(sorted(chain.from_iterable(epoch)) == list(range(23)) for epoch in epochs)
    assert epochs[0] != [batch.tolist() for batch in Loader(store, loader.config, seed=4).epoch(0)]


def test_a_length_limit_crops_long_utterances_and_keeps_short_ones(store):  # R14: only the too long ones were kept
    loader = Loader(store, LoaderConfig(batch_frames=100, max_frames=20), seed=3)
    taken = {}
    for _, batch in islice(loader.stream(), len(loader.epoch(0))):
        taken |= dict(zip(batch.ids, batch.lengths.tolist()))
    assert taken == {name: min(int(length), 20) for name, length in zip(store.ids, store.lengths)}
    assert min(taken.values()) < 20 < max(store.lengths)


def test_crops_and_targets_stay_together_and_lengths_belong_to_their_utterances(store):  # R15: lengths of other files
    config = LoaderConfig(batch_frames=200, max_frames=12)
    frames = Target(lambda index: store[index] * 2)
    for _, batch in islice(Loader(store, config, 1, frames).stream(START), 10):
        assert torch.equal(batch.target, batch.features * 2)
        for row, (name, length) in enumerate(zip(batch.ids, batch.lengths.tolist())):
            index = store.index[name]
            assert length == min(store.lengths[index], 12)
            whole = store[index]
            crops = [whole[start : start + length] for start in range(len(whole) - length + 1)]
            assert any(np.array_equal(batch.features[row, :length], crop) for crop in crops)


def test_utterances_meet_others_in_the_next_epoch():
    lengths = np.random.default_rng(0).integers(200, 400, 300)
    loader = Loader(SimpleNamespace(lengths=lengths, ids=range(300)), LoaderConfig(batch_frames=2000), seed=3)
    first, second = ({frozenset(batch.tolist()) for batch in loader.epoch(epoch)} for epoch in (0, 1))
    assert len(first & second) < 0.5 * len(first)


def test_a_crop_may_lie_anywhere_up_to_the_last_frame(store):
    loader = Loader(store, LoaderConfig(batch_frames=10_000, max_frames=12), seed=3)
    longest, edges = int(np.argmax(store.lengths)), {"first": 0, "last": 0}
    for _, batch in islice(loader.stream(), 400):  # an epoch each
        crop = batch.features[batch.ids.index(store.ids[longest])].numpy()
        edges["first"] += np.array_equal(crop, store[longest][:12])
        edges["last"] += np.array_equal(crop, store[longest][-12:])
    assert min(edges.values()) > 0


def test_padded_lengths_are_multiples_of_what_is_asked_for(store):
    for _, batch in islice(Loader(store, LoaderConfig(batch_frames=100, pad_multiple=8), seed=3).stream(), 10):
        assert batch.features.shape[1] % 8 == 0
        assert batch.features.shape[1] - int(batch.lengths.max()) < 8
        assert len(batch.ids) == 1 or batch.features.shape[1] * len(batch.ids) <= 100


def test_once_reads_whole_utterances_and_labels(store):
    loader = Loader(store, LoaderConfig(batch_frames=90, max_frames=5), target=Target(lambda i: np.int64(i), -100))
    batches = list(loader.once())
    assert sum(len(batch.ids) for batch in batches) == 23
    for batch in batches:
        assert [store.ids[i] for i in batch.target.tolist()] == batch.ids
        assert batch.lengths.tolist() == store.lengths[batch.target].tolist()
        assert torch.equal(batch.mask().sum(1), batch.lengths)
    alone = loader.one(4)
    assert alone.ids == [store.ids[4]]
    assert np.array_equal(alone.features[0].numpy(), store[4])


def test_no_utterances_is_an_error(store):
    with pytest.raises(ValueError, match="no utterances"):
        Loader(store, LoaderConfig(), subset=np.array([], int))


def test_a_target_of_its_own_length_is_not_cropped(store):
    config = LoaderConfig(batch_frames=90, max_frames=5, pad_multiple=4)
    words = Target(lambda index: np.arange(index % 7 + 6), -1, own_length=True)
    batch = next(Loader(store, config, target=words).stream())[1].to(torch.device("cpu"))
    lengths = [store.index[name] % 7 + 6 for name in batch.ids]
    assert batch.target_lengths.tolist() == lengths
    assert batch.target.shape == (len(lengths), max(lengths))
    for row, length in zip(batch.target.tolist(), lengths):
        assert row == [*range(length), *[-1] * (max(lengths) - length)]
    assert batch.features.shape[1] == 8
    frames = next(Loader(store, config, target=Target(lambda index: np.zeros(store.lengths[index]))).stream())[1]
    assert frames.target_lengths is None
    assert frames.target.shape == frames.features.shape[:2]
