"""Feature stores made as a command line says."""

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from preprocess.parts.corpora import Corpus, folder, parts
from preprocess.parts.extraction import SplitResult, Workers, extract_split, plan, processes
from preprocess.parts.fluent_commands import fluent_commands
from preprocess.parts.iemocap import iemocap
from preprocess.parts.label_table import LABEL_FILE, Labels
from preprocess.parts.layouts import LayoutFlags
from preprocess.parts.manifest import manifest
from preprocess.parts.names import APC_FBANK
from preprocess.parts.options import ExtractionFlags, RecordingFlags
from preprocess.parts.speech_commands import speech_commands
from preprocess.parts.voxceleb import voxceleb
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, resolve
from utility.device import claim_core
from utility.files import check_folder, replace_file
from utility.store.files import check_split_name


def find_recordings(flags: RecordingFlags) -> Corpus:
    """The corpus that the flags name: a folder of audio, a CSV or TSV manifest, or a folder for each split."""
    if flags.folders:
        return parts(flags.folders, flags.extensions, flags.speaker_from, flags.id_from)
    assert flags.data_path is not None, "a corpus was named"
    if flags.data_path.is_file():
        return manifest(flags.data_path, flags.splits, flags.id_from, bool(flags.clip), flags.clip is not None)
    return folder(flags.data_path, flags.splits, flags.extensions, flags.speaker_from, flags.id_from)


def find_labelled(flags: LayoutFlags) -> tuple[Corpus, Labels]:
    """A corpus in a layout of its own, and its labels."""
    if flags.layout == "speech_commands":
        return speech_commands(flags.data_path, flags.splits, flags.test, flags.hash_test)
    if flags.layout == "iemocap":
        return iemocap(flags.data_path, flags.splits)
    if flags.layout == "voxceleb":
        return voxceleb(flags.data_path, flags.list_file, flags.splits)
    assert flags.layout == "fsc", "a layout of LAYOUTS"
    return fluent_commands(flags.data_path, flags.splits)


def say_notes(corpus: Corpus, splits: Sequence[str]) -> None:
    """Print how the corpus was read and what of it is left out; what nobody asked for by `splits` is no news."""
    for note in corpus.notes:
        print(note)
    if corpus.left_out and not splits:
        print(
            f"{corpus.root}: {corpus.left_out} audio files there are not part of the corpus as asked for, and left out"
        )


def list_unread(corpus: Corpus, root: Path) -> None:
    """Name the media files that cannot be read in a list beside the output."""
    file = root / "not_read.txt"
    if corpus.unread:
        replace_file(file, "".join(f"{path}\n" for path in corpus.unread).encode())
    else:
        file.unlink(missing_ok=True)


def features_of(flags: ExtractionFlags) -> FeatureConfig:
    """What the flags say of the features; ValueError where they do not go together."""
    kind = "kaldi_fbank" if flags.feature_type == APC_FBANK else flags.feature_type
    values = {"kind": kind, "deltas": flags.deltas, "cmvn": flags.cmvn, "sample_rate": flags.sample_rate}
    chosen = {"window_type": flags.window_type, "energy": flags.energy}
    values |= {name: value for name, value in chosen.items() if value is not None}
    return resolve(FeatureConfig, values, [f"s3prl.{option}" for option in flags.s3prl])


def store_root(flags: ExtractionFlags, features: FeatureConfig) -> Path:
    """The folder of the store that the flags ask for."""
    root = flags.output_path / (flags.name or f"{flags.prefix}_{flags.feature_type}{features.dim}")
    return root.absolute() if flags.dask else root  # the workers have folders of their own


def extract(corpus: Corpus, flags: ExtractionFlags, labels: Labels | None = None) -> int:
    """Extract every split and say what came out; 1 when some recordings have no features, else 0.

    The `labels` of an importer are written beside the features when these are done."""
    features = features_of(flags)
    root = store_root(flags, features)
    check_folder(root)
    for split in corpus.splits:
        check_split_name(split)
    say_notes(corpus, flags.splits)
    if features.kind == "linear" and features.cmvn == "none":
        print("linear features in [0, 1], without CMVN: --apply_cmvn normalises them")
    if flags.dry_run:
        return _print_plan(corpus, features, root, labels)
    claim_core()
    start = time.monotonic()
    results = []
    with _workers(flags, (corpus.root, root)) as workers:
        for split in corpus.splits:
            results.append(extract_split(corpus, split, root, features, workers, flags.dtype, flags.shard))
            print(_described(results[-1]), flush=True)
            _warn(results[-1], root)
    list_unread(corpus, root)
    if labels:
        replace_file(root / LABEL_FILE, labels.csv)
        print(_labels_line(labels, root))
    extracted = sum(result.extracted for result in results)
    speed = f"{extracted / (time.monotonic() - start):.0f} x real time" if extracted else "nothing to do"
    failures = [failure for result in results for failure in result.failures]
    print(
        f"{root}: {sum(result.utterances for result in results)} utterances, "
        f"{sum(result.seconds for result in results) / 3600:.2f} hours, "
        f"{sum(result.frames for result in results)} frames, {speed}, {len(failures)} failed"
    )
    if failures:
        first = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {first}", file=sys.stderr)
    return 1 if failures else 0


def _workers(flags: ExtractionFlags, folders: Sequence[Path]) -> contextlib.AbstractContextManager[Workers]:
    if flags.dask is None:
        return processes(flags.n_jobs)
    try:
        from preprocess.parts.cluster import cluster
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise ValueError("--dask needs dask.distributed: pip install -r requirements-dask.txt") from None
    return cluster(flags.dask, folders)


def _described(result: SplitResult) -> str:
    size = f"{result.utterances} utterances, {result.seconds / 3600:.2f} hours, {result.frames} frames"
    state = ""
    if result.was_finished:
        state = ", was finished already"
    elif result.pending:
        state = f", {result.pending} of them still to be done by other shards"
    return f"{result.split}: {size}{state}"


def _warn(result: SplitResult, root: Path) -> None:
    """Say which recordings may be others than those that a finished split was made of."""
    if result.newer:
        print(
            f"warning: {len(result.newer)} recordings are newer than {root / result.split}, {result.newer[0]} for one: "
            f"if they are other recordings, remove {root / result.split}.csv and run this again",
            file=sys.stderr,
        )


def _labels_line(labels: Labels, root: Path) -> str:
    return f"{root / LABEL_FILE}: {len(labels.rows)} rows of {', '.join(labels.columns)}"


def _print_plan(corpus: Corpus, features: FeatureConfig, root: Path, labels: Labels | None) -> int:
    """What `--dry_run` prints."""
    print("features:")
    print("\n".join(f"  {line}" for line in yaml.safe_dump(as_dict(features), sort_keys=False).splitlines()))
    print("data:")
    for split in corpus.splits:
        rows, failed = plan(corpus.root, corpus.of(split), features, split, corpus.broken)
        hours = sum(row.num_samples for row in rows) / features.sample_rate / 3600
        print(f"  {split}: {len(rows) - len(failed)} utterances, {hours:.2f} hours, {len(failed)} not usable")
    if labels:
        print(_labels_line(labels, root))
    print(f"dry run: nothing is written; the output would go to {root}")
    return 0
