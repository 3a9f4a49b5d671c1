"""A GPU gets each batch while it computes the one before; a fake stands for its stream of copies."""

from itertools import islice

import pytest
import torch

from tests.helpers.speech import write_store
from utility import side_stream
from utility.loader import Loader, LoaderConfig
from utility.side_stream import SideStream, fed, one_ahead
from utility.store.reading import Store


@pytest.fixture(scope="module")
def loader(tmp_path_factory) -> Loader:
    store = write_store(tmp_path_factory.mktemp("fed") / "train", {f"s{i % 3}-{i}": 5 + 7 * i % 40 for i in range(23)})
    return Loader(Store([store]), LoaderConfig(batch_frames=100, workers=2), seed=3)


class Log:
    """Copies to "meta", which stands for a GPU, and what was asked of them."""

    def __init__(self):
        self.events: list[tuple[str, tuple[str, ...]]] = []

    def to_device(self, batch):
        self.events.append(("copy", tuple(batch.ids)))
        return batch.to(torch.device("meta"))

    def join(self, batch):
        assert batch.features.is_meta
        self.events.append(("join", tuple(batch.ids)))


def test_one_batch_is_ahead_and_each_keeps_its_position(loader):
    plain = list(islice(loader.stream(), 30))
    copies = Log()
    stream = one_ahead(loader.stream(), copies)
    for number, (position, batch) in enumerate(islice(stream, 29)):
        expected, host = plain[number]
        assert (position, batch.ids, batch.host_lengths.tolist()) == (expected, host.ids, host.lengths.tolist())
        assert batch.features.shape == host.features.shape
        copied = [ids for event, ids in copies.events if event == "copy"]
        assert copied == [tuple(other.ids) for _, other in plain[: number + 2]]
        assert copies.events[-2:] == [("join", copied[-2]), ("copy", copied[-1])]  # it does not wait for the next copy


def test_the_stream_behind_it_ends_with_it(loader):
    inner = loader.stream()
    stream = one_ahead(inner, Log())
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(inner)


def test_an_error_of_the_loader_is_raised(loader):
    def failing():
        yield from islice(loader.stream(), 2)
        raise FileNotFoundError("a.flac")

    stream = one_ahead(failing(), Log())
    next(stream)
    with pytest.raises(FileNotFoundError, match=r"a\.flac"):
        next(stream)


def test_a_cpu_gets_the_stream_as_it_is(loader):
    stream = loader.stream()
    assert fed(stream, torch.device("cpu")) is stream


class Stream:
    """What of torch.cuda.Stream is used, each call noted."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def wait_stream(self, other):
        self.calls.append((self.name, "waits for", other.name))

    def record_event(self):
        self.calls.append((self.name, "records"))
        return self

    def synchronize(self):
        self.calls.append(("host", "waits for", self.name))

    def __enter__(self):
        self.calls.append((self.name, "begins"))

    def __exit__(self, *_):
        self.calls.append((self.name, "ends"))


@pytest.fixture
def cuda(monkeypatch):
    calls: list[tuple] = []
    computing, made = Stream("computing", calls), torch.empty
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side", calls))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: calls.append(("kept for", stream.name)))
    monkeypatch.setattr(side_stream.torch, "empty", lambda *args, pin_memory, **more: made(*args, **more))
    return calls


def test_streams_wait_for_each_other_where_they_share_memory(cuda, loader):
    """Only the order of the calls: none of it runs on a GPU here."""
    side = SideStream(torch.device("meta"))
    _, batch = next(loader.stream())
    sent = side.to_device(batch)
    assert sent.features.is_meta
    assert cuda == [("side", "begins"), ("side", "ends")]
    cuda.clear()
    side.join(sent)
    assert cuda == [("computing", "waits for", "side"), *[("kept for", "computing")] * 2]  # features, lengths
    cuda.clear()
    values = torch.arange(6.0)
    arrived = side.to_host(values)
    begun = [("side", "waits for", "computing"), ("side", "begins"), ("kept for", "side"), ("side", "records")]
    assert cuda == [*begun, ("side", "ends")]
    assert arrived().tolist() == values.tolist()
    assert cuda[-1] == ("host", "waits for", "side")
