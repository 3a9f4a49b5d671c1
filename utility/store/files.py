"""The files of a feature store: what they are called, their tables, and writing them whole or not at all."""

import contextlib
import errno
import fcntl
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utility.config import SHOWN, Difference, build, differences, read_yaml, to_yaml
from utility.files import naming, replace_file, temporary
from utility.locks import NO_LOCKS
from utility.store.info import WORDS, StoreInfo
from utility.tables import table_bytes
from utility.text import cut, short

STORE_COLUMNS = ("id", "offset", "length", "num_samples", "speaker", "path")
SPAN_COLUMNS = ("start", "end")  # seconds; where utterances are parts of recordings
ERROR_COLUMNS = ("split", "path", "reason")
RESERVED = ("errors", "features")  # names of other files of a store
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance: `length` in frames, `num_samples` of its audio, `path` relative to the store's `audio_root`.

    `start` and `stop`, seconds, say which part of the recording it is; None is the recording's own beginning or end."""

    id: str
    length: int
    num_samples: int
    speaker: str
    path: str
    start: float | None = None
    stop: float | None = None

    @property
    def source(self) -> str:
        """What errors.csv calls it: its recording, and which part of it."""
        return source_of(self.path, self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Failure:
    """An utterance that has no features, and why."""

    path: str
    reason: str


def source_of(path: str, start: float | None, stop: float | None) -> str:
    """A recording, or a part of one in seconds, in words."""
    if start is None and stop is None:
        return path
    return f"{path} from {start or 0} s to {'its end' if stop is None else f'{stop} s'}"


def check_split_name(name: str) -> None:
    """ValueError for what cannot be the name of a split, that is of files."""
    if not re.fullmatch(r"[\w][\w.+-]*", name) or name in RESERVED:
        raise ValueError(f"split name {short(name)}: use letters, digits, '-', '_' and '.', not errors or features")


def split_name(text: str) -> str:
    """A name for a split made of a folder's: blanks, commas, quotes and the like become `_`, letters one code point."""
    name = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", text))
    name = re.sub(r"^\W+", "", name) or "recordings"
    return f"{name}_" if name in RESERVED else name


@dataclass(frozen=True)
class SplitFiles:
    """Where one split of a store keeps its files."""

    root: Path
    split: str

    def __str__(self) -> str:
        return str(self.root / self.split)

    def __post_init__(self):
        check_split_name(self.split)

    @property
    def info(self) -> Path:
        return self.root / "features.yaml"

    @property
    def errors(self) -> Path:
        return self.root / "errors.csv"

    @property
    def table(self) -> Path:
        return self.root / f"{self.split}.csv"

    @property
    def array(self) -> Path:
        return self.root / f"{self.split}.npy"

    @property
    def digest(self) -> Path:
        return self.root / f"{self.split}.digest"

    @property
    def statistics(self) -> Path:
        return self.root / f"{self.split}.cmvn.npz"

    @property
    def plan(self) -> Path:
        return self.root / f"{self.split}.plan.csv"

    @property
    def progress(self) -> Path:
        return self.root / f"{self.split}.progress"

    @property
    def archive(self) -> Path:
        return self.root / f"{self.split}.ark"

    @property
    def archive_index(self) -> Path:
        return self.root / f"{self.split}.scp"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store alone; the system lets go when the process dies. File systems without locks go on unlocked."""
        with self.info.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            yield

    def remove(self) -> None:
        """Remove this split of the store, and its archive."""
        self.remove_rows()
        self.archive_index.unlink(missing_ok=True)
        self.archive.unlink(missing_ok=True)
        write_errors(self, [])

    def remove_rows(self) -> None:
        """Remove the frames, not what is known of failures. The table goes first: nobody ever finds half a split."""
        self.table.unlink(missing_ok=True)
        self.remove_helpers()
        for file in (self.array, self.digest, self.statistics):
            file.unlink(missing_ok=True)

    def remove_helpers(self) -> None:
        """Remove what only an unfinished split needs, and what killed processes left half-written."""
        self.plan.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)
        owners = (self.table, self.plan, self.array, self.digest, self.progress, self.info, self.errors)
        for owner in (*owners, self.statistics):
            for leftover in self.root.glob(f".{owner.name}.*.tmp"):
                leftover.unlink(missing_ok=True)


def read_info(file: Path) -> StoreInfo:
    """The StoreInfo in a `features.yaml`; ValueError naming the file and the key that is wrong."""
    try:
        return build(StoreInfo, read_yaml(file))
    except ValueError as error:
        raise ValueError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from None


def create_info(file: Path, info: StoreInfo) -> StoreInfo:
    """Write `info` unless the file is there already; return what it holds then."""
    if not file.exists():
        with temporary(file) as new:
            with naming(file):
                new.write_bytes(to_yaml(info))
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # another process was first, or has finished
                _link(new, file)
    return read_info(file)


def _link(new: Path, file: Path) -> None:
    try:
        os.link(new, file)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS or file.exists():
            raise
        os.rename(new, file)


def info_differences(there: StoreInfo, here: StoreInfo, ignore: Sequence[str] = ()) -> list[Difference]:
    """Every key in which two descriptions differ, `WORDS` apart."""
    return differences(there, here, [*ignore, *(f"made_by.{name}" for name in WORDS)])


def unlike(there: StoreInfo, here: StoreInfo, ignore: Sequence[str] = ()) -> str:
    """`key is a there, b here` of everything in which two descriptions differ; empty where they agree."""
    pairs = info_differences(there, here, ignore)
    shown = [f"{cut(key)} is {short(one)} there, {short(other)} here" for key, one, other in pairs[:SHOWN]]
    return "; ".join(shown) + (f"; and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else "")


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """First frame of each utterance, int64 [U], when all follow one another."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])[:-1]


def write_errors(files: SplitFiles, failures: Sequence[Failure]) -> None:
    """Put what failed of one split into `errors.csv`, beside that of the others; without any there is no such file."""
    rows = []
    if files.errors.exists():
        table = read_table(files.errors, ERROR_COLUMNS)
        rows = list(table[table["split"] != files.split].itertuples(index=False, name=None))
    rows += [(files.split, failure.path, failure.reason) for failure in failures]
    if rows:
        replace_file(files.errors, table_bytes(ERROR_COLUMNS, sorted(rows)))
    else:
        files.errors.unlink(missing_ok=True)


def read_table(file: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """The named columns of a CSV table, and of the optional ones those that are there.

    Counts and rates are int64, `SPAN_COLUMNS` float64 with NaN where empty, everything else is text."""
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError(f"its rows have more fields than the {len(table.columns)} columns")
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}; it has {cut(', '.join(map(str, table.columns)))}")
        numbers = {name: np.int64 for name in ("offset", "length", "num_samples", "rate") if name in columns}
        for name in numbers:
            wrong = table[name][~table[name].str.fullmatch(r"[0-9]{1,18}")]
            if len(wrong):
                raise ValueError(f"{name} is {short(wrong.iloc[0])} in line {wrong.index[0] + 2}, expected 0 or more")
        there = [name for name in optional if name in table.columns]
        for name in set(SPAN_COLUMNS).intersection(there):
            wrong = table[name][~table[name].str.fullmatch(r"([0-9]+(\.[0-9]*)?(e-?[0-9]+)?)?")]
            if len(wrong):
                raise ValueError(
                    f"{name} is {short(wrong.iloc[0])} in line {wrong.index[0] + 2}, expected seconds or nothing"
                )
            table[name] = table[name].replace("", "nan").astype(np.float64)
        return table[[*columns, *there]].astype(numbers)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{file}: not a table of utterances: {error}") from None


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a store's table or plan."""
    columns = [table[name].tolist() for name in STORE_COLUMNS if name != "offset"]
    return [Row(*values, *span) for *values, span in zip(*columns, spans_of(table))]


def spans_of(table: pd.DataFrame) -> list[tuple[float | None, float | None]]:
    """Which part of its recording each utterance of a table is, in seconds; None where a table does not say."""
    if not set(SPAN_COLUMNS).intersection(table.columns):
        return [(None, None)] * len(table)
    starts, stops = (table[name] if name in table else pd.Series(np.nan, table.index) for name in SPAN_COLUMNS)
    return [(_stated(start), _stated(stop)) for start, stop in zip(starts, stops)]


def _stated(seconds: float) -> float | None:
    return None if np.isnan(seconds) else seconds


@contextlib.contextmanager
def removed_if_refused(files: SplitFiles, shard: tuple[int, int] = (0, 1)) -> Iterator[None]:
    """Remove a split that is begun here, alone, when a ValueError ends it; others and the rest of the store stay."""
    alone = shard[1] == 1 and not files.plan.exists() and not files.table.exists()
    info = files.info.exists()
    made = [folder for folder in (files.root, *files.root.parents) if not folder.exists()]
    try:
        yield
    except ValueError:
        if alone and files.info.exists():
            files.remove()
            if not info:
                files.info.unlink()
            with contextlib.suppress(OSError):  # somebody put something there
                for folder in made:
                    folder.rmdir()
        raise
