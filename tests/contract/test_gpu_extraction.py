"""Extraction as it runs on a GPU: written by a thread while the next batch is computed, to the bytes of a CPU.

The way is tested, not the device: a fake copies what a GPU would."""

import errno
import threading

import numpy as np
import pytest
import soundfile
import torch

from mockingjay import representation
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.selection import LayerSelection
from tests.helpers.bounded import RATE, Bounded
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.files import contents
from tests.helpers.speech import UNEVEN, write_store
from utility.background import Background
from utility.side_stream import copies_beside
from utility.store.reading import Store
from utility.store.recordings import Recordings
from utility.store.writing import StoreWriter

LIMIT = 30  # seconds until a test gives up


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store([write_store(tmp_path_factory.mktemp("store") / "test", UNEVEN)])


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    ckpt = write_checkpoint(tmp_path_factory.mktemp("ckpt") / "mockingjay-1.ckpt", model=TRANSFORMER)
    return load_upstream("transformer", ckpt)


class Copies:
    """Copies to host memory, which arrive when they are waited for."""

    def __init__(self):
        self.sent: list[tuple[int, torch.dtype]] = []

    def to_host(self, values):
        self.sent.append((len(values), values.dtype))
        there = np.full_like(values.numpy(), np.nan)

        def arrived():
            there[:] = values.numpy()
            return there

        return arrived


@pytest.fixture
def copies(monkeypatch) -> Copies:
    fake = Copies()
    monkeypatch.setattr(representation, "copies_beside", lambda device: fake)
    return fake


def extract(*args, **how) -> bool:
    upstream, store, root = args
    return represent(upstream, store, root, "test", ExtractionOptions(**{"quiet": True, "batch_frames": 300} | how))


def background() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("background")]


@pytest.mark.parametrize(("dtype", "layers", "precision"), [
    ("float32", "last", "fp32"), ("float16", "all", "fp32"), ("float16", "last", "bf16"),
])  # fmt: skip
def test_it_writes_the_bytes_of_a_cpu_and_copies_real_frames_as_they_are_stored(
    upstream, store, tmp_path, dtype, layers, precision, monkeypatch
):
    how = {"dtype": dtype, "layers": LayerSelection(layers), "precision": precision}
    assert extract(upstream, store, tmp_path / "cpu", **how)
    fake = Copies()
    monkeypatch.setattr(representation, "copies_beside", lambda device: fake)
    assert extract(upstream, store, tmp_path / "gpu", **how)
    assert contents(tmp_path / "gpu") == contents(tmp_path / "cpu")
    assert np.abs(Store([tmp_path / "gpu/test"])[0]).max() > 0.1
    assert len(fake.sent) > 3
    assert sum(frames for frames, _ in fake.sent) == store.lengths.sum()
    assert {kind for _, kind in fake.sent} == {getattr(torch, dtype)}
    assert not background()


def test_a_cpu_writes_what_it_computes_at_once(upstream):
    assert copies_beside(torch.device("cpu")) is None


def test_a_batch_is_written_while_the_next_is_computed(store, tmp_path, copies, monkeypatch):
    begun, wrote, order = threading.Event(), StoreWriter.write, []

    class Upstream(Baseline):
        batches = 0

        def encode(self, inputs, lengths, labels):
            Upstream.batches += 1
            if Upstream.batches == 2:
                begun.set()
            return (inputs,)

    def write(self, index, values):
        assert threading.current_thread().name.startswith("background")
        assert begun.wait(LIMIT), "the second batch waits for the first to be written"
        order.append(index)
        wrote(self, index, values)

    monkeypatch.setattr(StoreWriter, "write", write)
    assert extract(Upstream(store.info), store, tmp_path / "out")
    assert Upstream.batches > 3
    assert store.lengths[order].tolist() == sorted(store.lengths.tolist(), reverse=True)  # batch by batch


@pytest.mark.parametrize(
    ("factor", "harm", "reason"),
    [
        (np.inf, False, "not finite: the weights of model.ckpt or of its layers"),
        (1e6, False, "not finite in float16, which ends at 65504: take --dtype float32"),
        (1.0, True, "not finite, as its input is not: make that again"),
    ],
)
def test_states_that_no_store_takes_leave_nothing_and_name_their_cause(tmp_path, copies, factor, harm, reason):
    path = write_store(tmp_path / "store/train", UNEVEN)
    if harm:
        array = np.load(path.with_suffix(".npy"), mmap_mode="r+")
        array[-1] = np.nan
        array.flush()
    store = Store([path])

    class Scaled(Baseline):
        def encode(self, inputs, lengths, labels):
            return (inputs * factor,)

    with pytest.raises(ValueError, match=f"utterance 's.-[0-9]+': its hidden states are {reason}"):
        extract(Scaled(store.info), store, tmp_path / "out", dtype="float16", checkpoint="model.ckpt")
    assert not (tmp_path / "out").exists()
    assert not background()


@pytest.mark.parametrize("where", ["writing", "computing"])
def test_an_error_reaches_the_caller_and_what_is_written_goes_on(upstream, store, tmp_path, copies, where, monkeypatch):
    assert extract(upstream, store, tmp_path / "whole")
    error = OSError(errno.ENOSPC, "No space left on device (what is finished is kept: ...)", "test.npy")
    calls, wrote, computed = [], StoreWriter.write, type(upstream).forward

    def write(self, index, values):
        calls.append(index)
        if len(calls) == 8 and where == "writing":
            raise error
        wrote(self, index, values)

    def forward(self, inputs, lengths, labels):
        if len(calls) > 8 and where == "computing":
            raise KeyboardInterrupt
        return computed(self, inputs, lengths, labels)

    monkeypatch.setattr(StoreWriter, "write", write)
    monkeypatch.setattr(type(upstream), "forward", forward)
    with pytest.raises(OSError if where == "writing" else KeyboardInterrupt) as raised:
        extract(upstream, store, tmp_path / "killed", batch_frames=100)
    assert raised.value is error or where == "computing"
    assert not background()
    assert where == "computing" or len(calls) == 8  # nothing is written behind an error
    written = (tmp_path / "killed/test.progress").read_bytes()[: len(store)]
    assert 0 < written.count(1) < len(store)
    monkeypatch.undo()
    assert extract(upstream, store, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_an_error_of_the_last_call_is_raised_by_the_end():
    done = []

    def failing():
        raise OSError(errno.ENOSPC, "No space left on device")

    def two_calls():
        with Background(2) as background:
            background.call(done.append, 1)
            background.call(failing)

    with pytest.raises(OSError, match="No space"):
        two_calls()
    assert done == [1]


def test_of_a_long_recording_the_next_piece_is_begun_before_one_is_written(tmp_path, copies, monkeypatch):
    noise = 0.1 * np.random.default_rng(0).standard_normal(9 * RATE + 123)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/long.wav", noise, RATE)
    upstream, corpus, order = Bounded().eval(), Recordings([tmp_path / "in"], None, RATE), []
    with monkeypatch.context() as cpu:
        cpu.setattr(representation, "copies_beside", lambda device: None)
        assert extract(upstream, corpus, tmp_path / "cpu", dtype="float16")
    computed, sent = upstream.encode, copies.to_host
    monkeypatch.setattr(upstream, "encode", lambda *args: order.append("computed") or computed(*args), raising=False)

    def to_host(values):
        arrived = sent(values)
        return lambda: order.append("waited for") or arrived()

    monkeypatch.setattr(copies, "to_host", to_host)
    assert extract(upstream, corpus, tmp_path / "gpu", dtype="float16")
    assert contents(tmp_path / "gpu") == contents(tmp_path / "cpu")
    pieces = order.count("computed")
    assert pieces > 3
    assert order == ["computed", *["computed", "waited for"] * (pieces - 1), "waited for"]
    assert {kind for _, kind in copies.sent} == {torch.float16}
