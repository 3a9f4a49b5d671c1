"""The command line that all feature extraction scripts share."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from preprocess.parts.names import APC_FBANK, FEATURE_TYPES, PARTS
from utility.audio.extensions import recording_extensions
from utility.audio.kinds import Cmvn, WindowType
from utility.flags import Command, Parser, folder_name, shard
from utility.text import short
from utility.utterance_ids import ID_RULES, IdRule


@dataclass(frozen=True, kw_only=True)
class RecordingFlags:
    """Which recordings: those of `data_path`, a folder or a table, or those of a folder for each split."""

    data_path: Path | None
    folders: Mapping[str, Path]
    splits: Sequence[str]
    extensions: Sequence[str]
    speaker_from: str
    id_from: IdRule
    clip: bool | None  # None: parts of recordings are not taken


@dataclass(frozen=True, kw_only=True)
class ExtractionFlags:
    """Which store is made, where and by whom; `name` None is made of `prefix` and the features."""

    prefix: str
    output_path: Path
    name: str | None
    splits: Sequence[str]
    feature_type: str
    deltas: int
    cmvn: Cmvn
    window_type: WindowType | None  # None: what is usual
    energy: bool | None
    s3prl: Sequence[str]  # key=value
    sample_rate: int
    dtype: Literal["float32", "float16"]
    n_jobs: int
    dask: str | None
    shard: tuple[int, int]
    dry_run: bool


def corpus_parser(prog: str, description: str, example: str, data_path: str | None, one: bool = True) -> Parser:
    """A parser with the flags that every corpus needs, named as in the originals.

    A corpus that is not `one` folder has flags of its own for its folders and their splits."""
    parser = Parser(prog=prog, description=description, epilog=f"example:\n  {example}")
    if one:
        add_corpus(parser, data_path)
    else:
        _add_jobs(parser)
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the new folder appears")
    parser.add_boolean("--dry_run", help="print what would be made of which recordings, and end")
    return parser


def add_corpus(parser: Parser, data_path: str | None) -> None:
    """Add the flags that say which corpus is read, by how many workers."""
    parser.add_argument(
        "--data_path",
        "--data_root",
        type=Path,
        default=data_path and Path(data_path),
        help="the corpus",
    )
    parser.add_argument(
        "--splits", nargs="+", default=[], metavar="SPLIT", help="which splits (default: all there are)"
    )
    _add_jobs(parser)


def _add_jobs(parser: Parser) -> None:
    parser.add_argument("--n_jobs", type=_jobs, default=-1, metavar="N", help="workers, -1 for every core")


def feature_parser(
    prog: str, description: str, example: str, data_path: str | None, feature_type: str, delta: bool, one: bool = True
) -> Parser:
    """A parser of a script that makes a store; a script adds the flags of its corpus (`one`: as of `corpus_parser`)."""
    parser = corpus_parser(prog, description, example, data_path, one)
    parser.add_argument(
        "--name", type=folder_name, help="the store's folder (default: made of corpus and features, as libri_mel160)"
    )
    about = "kind of features; apc_fbank is kaldi_fbank as APC's authors made it"
    parser.add_argument("--feature_type", choices=FEATURE_TYPES, default=feature_type, help=about)
    parser.add_boolean("--delta", default=None, help=f"append time derivatives (default: {delta}; not of linear)")
    parser.add_boolean("--delta_delta", default=False, help="append second derivatives too")
    about = "zero mean, unit variance over each utterance (default: True, of linear False: they stay in [0, 1])"
    parser.add_boolean("--apply_cmvn", default=None, help=about)
    about = "the same in words: mean and variance of the utterance, of its speaker, or of all of the split"
    parser.add_argument("--cmvn", choices=get_args(Cmvn), help=about)
    about = "window of the Kaldi kinds (default: povey)"
    parser.add_argument("--window_type", choices=get_args(WindowType), help=about)
    about = "the frame's energy in place of coefficient 0 (default: True of mfcc, False of kaldi_mfcc)"
    parser.add_boolean("--energy", default=None, help=about)
    about = (
        "options of the s3prl kinds, as in S3PRL's configs, e.g. n_mels=40 hop_ms=12.5 (default: those of its log mel)"
    )
    parser.add_argument("--s3prl", nargs="+", type=_option, default=[], metavar="KEY=VALUE", help=about)
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


def add_timit(parser: Parser) -> None:
    """Add the flags of `preprocess.parts.timit`."""
    parser.add_boolean("--drop_sa", default=False, help="of TIMIT: leave out SA1 and SA2, which every speaker reads")
    parser.add_boolean(
        "--complete_test",
        default=False,
        help="of TIMIT: test is all of TEST; else it is the 24 speakers of the core set and dev the usual 50, if all "
        "are there",
    )
    for part in ("dev", "test"):
        told = f"of TIMIT: speakers that make up {part} instead, as the sample has no {part} set"
        parser.add_argument(f"--{part}_speakers", nargs="+", default=[], metavar="SPK", help=told)


def held_out(values: Mapping[str, Any]) -> dict[str, str]:
    """The part of each speaker whom the flags of `add_timit` name."""
    return {name.upper(): part for part in ("dev", "test") for name in values[f"{part}_speakers"]}


def add_recordings(parser: Parser, parts: bool = False) -> None:
    """Add the flags of `recordings`; `--data_path` is no longer the only way to name a corpus, and a script that takes
    `parts` of recordings has a flag for those."""
    add_extension(parser, recording_extensions())
    for name in PARTS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"instead of --data_path: the audio of {name}")
    if parts:
        parser.add_boolean("--clip", default=False, help="of a manifest: a start below 0 is 0, not an error")
    parser.add_argument(
        "--speaker_from",
        default="parent",
        metavar="RULE",
        help="parent (the folder a file lies in), none, or a regular expression, its (group) in the path the speaker",
    )
    parser.add_argument(
        "--id_from",
        choices=ID_RULES,
        default="auto",
        help="ids from file names (stem), whole paths (path), or from file names where no two are alike, else paths",
    )


def recordings(command: Command) -> RecordingFlags:
    """What the flags say of the recordings; ValueError for those that do not go together."""
    values, typed = command.values, command.typed
    folders = {name: path.expanduser() for name in PARTS if (path := values[name]) is not None}
    other = next((typed[name] for name in ("splits", "data_path") if name in typed), None)
    if folders and other:
        raise ValueError(f"--{min(folders)} names a folder of its own: leave out {other}")
    if not folders and values["data_path"] is None:
        raise ValueError("which corpus? --data_path, or --train, --dev and --test")
    path = None if folders else values["data_path"].expanduser()
    unused = next((typed[name] for name in ("audio_extension", "speaker_from") if name in typed), None)
    if path is not None and path.is_file() and unused:
        raise ValueError(f"{path} is a table, which names its recordings: leave out {unused}")
    if "clip" in typed and not (path is not None and path.is_file()):
        raise ValueError(f"{typed['clip']} is for a manifest with a column start: leave it out")
    extensions = tuple(values["audio_extension"] or recording_extensions())
    return command.fill(RecordingFlags, data_path=path, folders=folders, extensions=extensions, clip=values.get("clip"))


def making(command: Command, prefix: str, usual_delta: bool, **more: Any) -> ExtractionFlags:
    """What the flags say of a store, or what is given as `more`; ValueError for those that do not go together.

    Linear features have no derivatives, asked for they are an error, and no CMVN unless asked for: they stay in [0, 1]
    and can be inverted to sound."""
    values = command.values
    if values["feature_type"] == APC_FBANK:
        return _as_apc(command, prefix, **more)
    linear = values["feature_type"] == "linear"
    delta = usual_delta and not linear if values["delta"] is None else values["delta"]
    if linear and (delta or values["delta_delta"]):
        named = "--delta" if delta else "--delta_delta"
        raise ValueError(f"--feature_type linear has no derivatives: leave out {named}")
    if values["delta_delta"] and not delta:
        raise ValueError("--delta_delta needs --delta")
    if values["dask"] and "n_jobs" in command.typed:
        raise ValueError("--n_jobs counts processes of this machine, which --dask does not use: leave it out")
    if values["cmvn"] is not None and "apply_cmvn" in command.typed:
        raise ValueError(f"--cmvn {values['cmvn']} says how to normalise: leave out {command.typed['apply_cmvn']}")
    normalised = not linear if values["apply_cmvn"] is None else values["apply_cmvn"]
    return command.fill(
        ExtractionFlags,
        prefix=prefix,
        output_path=values["output_path"].expanduser(),
        deltas=int(delta) + int(values["delta_delta"]),
        cmvn=values["cmvn"] or ("utterance" if normalised else "none"),
        **more,
    )


def _as_apc(command: Command, prefix: str, **more: Any) -> ExtractionFlags:
    """The features of APC's authors: Kaldi's 80 bands through a hamming window, less the mean of the speaker."""
    for name in ("delta", "delta_delta", "apply_cmvn", "cmvn", "window_type", "energy", "s3prl"):
        if name in command.typed:
            raise ValueError(
                f"--feature_type {APC_FBANK} says what these features are: leave out {command.typed[name]}, or take "
                "--feature_type kaldi_fbank"
            )
    return command.fill(
        ExtractionFlags,
        prefix=prefix,
        output_path=command.values["output_path"].expanduser(),
        deltas=0,
        cmvn="speaker_mean",
        window_type="hamming",
        **more,
    )


def _jobs(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number of processes, or -1 for every core, got {short(text)}")
    return int(text)


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://.+:\d{1,5}", text):
        raise argparse.ArgumentTypeError(
            f"expected the address of a Dask scheduler, as tcp://host:8786, got {short(text)}"
        )
    return text


def _option(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {short(text)}")
    return text


def _extension(text: str) -> str:
    return f".{text.lower().lstrip('.')}"
