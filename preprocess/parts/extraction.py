"""Utterances -> feature store, in parallel and restartable."""

import contextlib
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import joblib
import numpy as np
import torch
from tqdm import tqdm

from preprocess.parts.corpora import Corpus, Utterance
from preprocess.parts.workers import DIED, end_with
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.headers import Header, recording_state, scan
from utility.audio.waveform import AudioError, Span, read_audio, resampled_length, span_samples
from utility.device import claim_core
from utility.store.files import Failure, Row
from utility.store.info import StoreInfo
from utility.store.rows import RowWriter
from utility.store.writing import StoreWriter

BATCH_SECONDS = 10.0, 60.0  # of audio, at least and at most, unless one recording is longer
BATCHES = 64  # of a small split, so that no worker waits long for the last
Done = TypeVar("Done")
Workers = Callable[[Iterator[Callable[[], Done]], int], Iterator[Done]]  # run so many calls, results as they come


@dataclass(frozen=True)
class SplitResult:
    """What one call did to one split; `frames` and `seconds` of audio are of the whole split, without the failed."""

    split: str
    utterances: int
    frames: int
    seconds: float  # of audio
    extracted: float  # seconds of audio that this call turned into features
    failures: list[Failure]
    was_finished: bool
    pending: int  # utterances left to other shards
    newer: list[str]  # recordings that were changed after a split was finished that was there already


@dataclass(frozen=True, slots=True)
class _Job:
    row: int
    path: Path
    num_samples: int
    span: Span


def extract_split(
    corpus: Corpus,
    split: str,
    root: Path,
    features: FeatureConfig,
    workers: Workers,
    dtype: Literal["float32", "float16"] = "float32",
    shard: tuple[int, int] = (0, 1),
) -> SplitResult:
    """Let `workers` write the features of one split of a corpus to the store at `root`, or this shard's part (k of n,
    k from 0).

    Raises ValueError when the store was made from something else and OSError when it cannot be written.
    """
    utterances = corpus.of(split)
    rows, failed = plan(corpus.root, utterances, features, split, corpus.broken)
    info = StoreInfo(
        dtype=dtype,
        row_shape=[features.dim],
        frame_shift=features.frame_shift,
        features=features,
        audio_root=str(corpus.root),
    )
    writer = StoreWriter.open(root, split, rows, info, lambda row: recording_state(corpus.root / row.path))
    was_finished = writer.finished
    mine = writer.pending(shard)
    for i in mine:
        if i in failed:
            writer.some([i]).fail(i, failed[i], recording_state(corpus.root / rows[i].path))
    jobs = [
        _Job(i, corpus.root / rows[i].path, rows[i].num_samples, (rows[i].start, rows[i].stop))
        for i in mine
        if i not in failed
    ]
    _run(jobs, writer, features, workers, split)
    writer.finish()
    failures = writer.failures()
    lost = {failure.path for failure in failures}
    kept = [row for row in rows if row.source not in lost]
    return SplitResult(
        split=split,
        utterances=len(kept),
        frames=sum(row.length for row in kept),
        seconds=sum(row.num_samples for row in kept) / features.sample_rate,
        extracted=sum(job.num_samples for job in jobs) / features.sample_rate,
        failures=failures,
        was_finished=was_finished,
        pending=len(writer.pending()),
        newer=_newer(kept, corpus.root, writer.files.table) if was_finished else [],
    )


def _newer(rows: Sequence[Row], root: Path, table: Path) -> list[str]:
    """The recordings that were written after a table was."""
    finished = table.stat().st_mtime
    return [row.path for row in rows if (root / row.path).stat().st_mtime > finished]


def plan(
    root: Path,
    utterances: Sequence[Utterance],
    features: FeatureConfig,
    split: str,
    broken: Mapping[str, str] | None = None,
) -> tuple[list[Row], dict[int, str]]:
    """Rows of all utterances from the audio headers alone, and the reason of each that cannot have features.

    `broken` are reasons that are known already, by path."""
    headers = {path: Header(0, 1, reason) for path, reason in (broken or {}).items()}
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))  # parts share their recordings
    paths = [path for path in paths if path not in headers]
    headers |= zip(paths, scan([root / path for path in paths], f"{split}: lengths"))
    rows, failed = [], {}
    for i, utterance in enumerate(utterances):
        span, header = (utterance.start, utterance.stop), headers[utterance.path]
        num_samples, reason = _extent(header, span, features.sample_rate)
        reason = reason or features.too_short(num_samples)
        if reason:
            failed[i] = reason
        length = 0 if reason else int(features.num_frames(num_samples))
        rows.append(Row(utterance.id, length, num_samples, utterance.speaker, utterance.path, *span))
    return rows, failed


def _extent(header: Header, span: Span, sample_rate: int) -> tuple[int, str]:
    """Samples of a part of a recording at the `sample_rate`, and why there are none."""
    if header.reason:
        return 0, header.reason
    try:
        first, last = span_samples(header.num_samples, header.rate, span)
    except ValueError as error:
        return 0, str(error)
    return resampled_length(last - first, header.rate, sample_rate), ""


def _run(jobs: Sequence[_Job], writer: StoreWriter, features: FeatureConfig, workers: Workers, split: str) -> None:
    total = sum(job.num_samples for job in jobs) / features.sample_rate
    batches = list(_batches(jobs, int(np.clip(total / BATCHES, *BATCH_SECONDS) * features.sample_rate)))
    if not batches:
        return
    calls = (partial(_extract, batch, writer.some([job.row for job in batch]), features) for batch in batches)
    start, seconds = time.monotonic(), 0.0
    with tqdm(total=len(jobs), desc=split, unit="utt", disable=None) as bar:
        for batch in workers(calls, len(batches)):
            seconds += sum(job.num_samples for job in batch) / features.sample_rate
            bar.set_postfix_str(f"{seconds / (time.monotonic() - start):.0f} x real time", refresh=False)
            bar.update(len(batch))


@contextlib.contextmanager
def processes(n_jobs: int) -> Iterator[Workers]:
    """Processes of this machine; -1 means one for every core. Where they can be forked they start at once."""
    number = joblib.effective_n_jobs(n_jobs)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(number, context, initializer=_start_worker, initargs=(os.getpid(),))

    def run(calls: Iterator[Callable[[], Done]], count: int) -> Iterator[Done]:
        if min(number, count) == 1:
            yield from (call() for call in calls)
            return
        waiting = {pool.submit(call) for call in islice(calls, 2 * number)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(call) for call in islice(calls, len(done))}
            yield from (future.result() for future in done)

    try:
        yield run
    except BrokenProcessPool:
        raise OSError(DIED) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    """Make this worker take one core and end with its parent."""
    claim_core()
    end_with(parent)


def _batches(jobs: Sequence[_Job], num_samples: int) -> Iterator[list[_Job]]:
    """Longest first, so that no worker starts a long recording when the others have finished."""
    batch: list[_Job] = []
    for job in sorted(jobs, key=lambda job: (-job.num_samples, job.row)):
        if batch and (len(batch) + 1) * batch[0].num_samples > num_samples:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _extract(batch: Sequence[_Job], writer: RowWriter, features: FeatureConfig) -> Sequence[_Job]:
    """Read, compute and write a few recordings; runs in a worker process."""
    read = []
    for job in batch:
        state = recording_state(job.path)
        try:
            samples = read_audio(job.path, features.sample_rate, expected=job.num_samples, span=job.span)
            read.append((job, state, samples))
        except AudioError as error:
            writer.fail(job.row, _reason(error, job.path), state)
    if not read:
        return batch
    frames, lengths = _extractor(features).of([torch.from_numpy(samples) for *_, samples in read])
    for (job, state, _), values, length in zip(read, frames.numpy(), lengths.tolist()):
        try:
            writer.write(job.row, values[:length], state)
        except ValueError as error:
            writer.fail(job.row, str(error).rpartition(": ")[2], state)
    return batch


@functools.lru_cache(maxsize=1)
def _extractor(features: FeatureConfig) -> FeatureExtractor:
    return FeatureExtractor(features.before_corpus)


def _reason(error: AudioError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
