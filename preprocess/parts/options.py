"""The command line that all feature extraction scripts share."""

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from preprocess.parts.corpora import AUDIO_EXTENSIONS, PARTS, Corpus, folder, manifest, parts
from preprocess.parts.extraction import SplitResult, Workers, extract_split, processes
from utility.audio.features import FeatureConfig
from utility.command import Parser, shard
from utility.config import build
from utility.device import keep_memory
from utility.files import check_folder
from utility.store.files import check_split_name

FEATURE_TYPES = ("mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc")


def corpus_parser(prog: str, description: str, example: str, data_path: str | None) -> Parser:
    """A parser with the flags that every corpus needs, named as in the originals."""
    parser = Parser(prog=prog, description=description, epilog=f"example:\n  {example}")
    parser.add_argument(
        "--data_path",
        "--data_root",
        type=Path,
        default=data_path and Path(data_path),
        help="the corpus",
    )
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the new folder appears")
    parser.add_argument(
        "--splits", nargs="+", default=[], metavar="SPLIT", help="which splits (default: all there are)"
    )
    parser.add_argument("--n_jobs", type=_jobs, default=-1, metavar="N", help="workers, -1 for every core")
    return parser


def feature_parser(
    prog: str, description: str, example: str, data_path: str | None, feature_type: str, delta: bool
) -> Parser:
    """A parser of a script that makes a store; a script adds the flags of its corpus."""
    parser = corpus_parser(prog, description, example, data_path)
    parser.add_argument("--name", help="the store's folder (default: made of corpus and features, as libri_mel160)")
    parser.add_argument("--feature_type", choices=FEATURE_TYPES, default=feature_type, help="kind of features")
    parser.add_boolean("--delta", default=None, help=f"append time derivatives (default: {delta}; not of linear)")
    parser.add_boolean("--delta_delta", default=False, help="append second derivatives too")
    parser.set_defaults(usual_delta=delta)
    about = "zero mean, unit variance over each utterance (default: True, of linear False: they stay in [0, 1])"
    parser.add_boolean("--apply_cmvn", default=None, help=about)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="numbers on disk")
    parser.add_argument("--sample_rate", type=int, default=16000, metavar="HZ", help="audio is resampled to this rate")
    parser.add_argument(
        "--dask", type=_scheduler, metavar="tcp://HOST:PORT", help="use the workers of this Dask scheduler instead"
    )
    parser.add_argument(
        "--shard", type=shard, default="1/1", metavar="I/N", help="do part I of N here, other machines do the others"
    )
    return parser


def add_extension(parser: Parser, default: Sequence[str]) -> None:
    """Add `--audio_extension`, with the originals' spelling as an alias."""
    parser.add_argument(
        "--audio_extension",
        "--audio_extention",
        nargs="+",
        type=_extension,
        default=[],
        metavar="EXT",
        help=f"which files are audio (default: {' '.join(default)})",
    )


def add_recordings(parser: Parser) -> None:
    """Add the flags of `recordings`; `--data_path` is no longer the only way to name a corpus."""
    add_extension(parser, AUDIO_EXTENSIONS)
    for name in PARTS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"instead of --data_path: the audio of {name}")
    parser.add_argument(
        "--speaker_from",
        default="parent",
        metavar="RULE",
        help="parent (the folder a file lies in), none, or a regular expression, its (group) in the path the speaker",
    )
    parser.add_argument(
        "--id_from", choices=("path", "stem"), default="path", help="ids from the whole path, or from unique file names"
    )


def recordings(parser: Parser, args: argparse.Namespace) -> Corpus:
    """The corpus that the flags name: a folder of audio, a CSV or TSV manifest, or a folder for each split."""
    extensions = args.audio_extension or AUDIO_EXTENSIONS
    named = {name: place.expanduser() for name in PARTS if (place := getattr(args, name)) is not None}
    if named and (args.splits or args.data_path != parser.get_default("data_path")):
        other = "--splits" if args.splits else "--data_path"
        parser.error(f"--{min(named)} names a folder of its own: leave out {other}")
    if named:
        return parts(named, extensions, args.speaker_from, args.id_from)
    if args.data_path is None:
        parser.error("which corpus? --data_path, or --train, --dev and --test")
    path = args.data_path.expanduser()
    if path.is_file():
        return manifest(path, args.splits, args.id_from)
    return folder(path, args.splits, extensions, args.speaker_from, args.id_from)


def say_notes(corpus: Corpus, splits: Sequence[str]) -> None:
    """Print how the corpus was read and what of it is left out; what nobody asked for by `splits` is no news."""
    for note in corpus.notes:
        print(note)
    if corpus.left_out and not splits:
        print(
            f"{corpus.root}: {corpus.left_out} audio files there are not part of the corpus as asked for, and left out"
        )


def features_of(parser: Parser, args: argparse.Namespace) -> FeatureConfig:
    """The features that the flags ask for; linear features have no derivatives, asked for they are an error."""
    linear = args.feature_type == "linear"
    delta = args.usual_delta and not linear if args.delta is None else args.delta
    if linear and (delta or args.delta_delta):
        parser.error(f"--feature_type linear has no derivatives: leave out {'--delta' if delta else '--delta_delta'}")
    if args.delta_delta and not delta:
        parser.error("--delta_delta needs --delta")
    deltas = int(delta) + int(args.delta_delta)
    applied = not linear if args.apply_cmvn is None else args.apply_cmvn
    cmvn = "utterance" if applied else "none"
    values = {"kind": args.feature_type, "deltas": deltas, "cmvn": cmvn, "sample_rate": args.sample_rate}
    return build(FeatureConfig, values)


def extract(corpus: Corpus, prefix: str, features: FeatureConfig, args: argparse.Namespace) -> int:
    """Extract every split and say what came out; 1 when some recordings have no features, else 0."""
    root = args.output_path.expanduser() / (args.name or f"{prefix}_{features.kind}{features.dim}")
    root = root.absolute() if args.dask else root  # the workers have folders of their own
    check_folder(root)
    for split in corpus.splits:
        check_split_name(split)
    say_notes(corpus, args.splits)
    if features.kind == "linear" and args.apply_cmvn is None:
        print("linear features in [0, 1], without CMVN: --apply_cmvn normalises them")
    keep_memory()
    start = time.monotonic()
    results = []
    with _workers(args, (corpus.root, root)) as workers:
        for split in corpus.splits:
            results.append(extract_split(corpus, split, root, features, workers, args.dtype, args.shard))
            print(_described(results[-1]), flush=True)
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


def _workers(args: argparse.Namespace, folders: Sequence[Path]) -> contextlib.AbstractContextManager[Workers]:
    if args.dask is None:
        return processes(args.n_jobs)
    try:
        from preprocess.parts.cluster import cluster
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise ValueError("--dask needs dask.distributed: pip install -r requirements-dask.txt") from None
    return cluster(args.dask, folders)


def _described(result: SplitResult) -> str:
    size = f"{result.utterances} utterances, {result.seconds / 3600:.2f} hours, {result.frames} frames"
    state = ""
    if result.was_finished:
        state = ", was finished already"
    elif result.pending:
        state = f", {result.pending} of them still to be done by other shards"
    return f"{result.split}: {size}{state}"


def _jobs(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number of processes, or -1 for every core, got {text!r}")
    return int(text)


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://.+:\d{1,5}", text):
        raise argparse.ArgumentTypeError(f"expected the address of a Dask scheduler, as tcp://host:8786, got {text!r}")
    return text


def _extension(text: str) -> str:
    return f".{text.lower().lstrip('.')}"
