"""Tables that people have, CSV or TSV with a line of names, read row by row."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Tabs(csv.excel):
    """Columns separated by tabs, in which quotation marks are letters like others."""

    delimiter = "\t"
    quoting = csv.QUOTE_NONE


@contextmanager
def open_table(file: Path) -> Iterator["csv.DictReader[str]"]:
    """The rows of a table, each a dict by column: `.tsv` has tabs and no quoting, any other name is CSV.

    Only the row at hand is in memory. A row of another width than the first line has None among its keys or values.
    ValueError in the block for what is no table."""
    dialect = Tabs if file.suffix.lower() == ".tsv" else csv.excel
    table = None
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, dialect=dialect, strict=True)
            yield table
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not a table (CSV or TSV): not UTF-8 text") from None
    except csv.Error as error:
        line = "" if table is None else f", line {table.reader.line_num}"
        raise ValueError(f"{file}: not a table (CSV or TSV): {error}{line}") from None


def names_and_rows(table: "csv.DictReader[str]") -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The names of the columns, and the rows with the numbers of their lines; `fits` says whether a row is one."""
    return list(table.fieldnames or ()), ((table.line_num, row) for row in table)


def fits(row: Mapping[str, str]) -> bool:
    """Whether a row has a field for each column, and no more."""
    return None not in row and None not in row.values()


def one_of(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the `known` columns that a table has."""
    return next((name for name in known if name in names), None)


def table_bytes(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A CSV table, the same bytes on every system."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
