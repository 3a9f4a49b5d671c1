"""Changes of text files: YAML, JSON, tables with columns, tables with lines of fields."""

import json
import math
from typing import Any

import numpy as np
import yaml

from tests.campaign.mutations.raw import changed
from tests.campaign.mutations.values import CANARY, TEXTS, changed_tree, value

YAML_TAGS = (
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"!!python/object/apply:subprocess.check_call [['touch', {CANARY}]]",
    f"!!python/object/new:pathlib.Path [{CANARY}]",
    f'!!python/object/apply:eval [\'open("{CANARY}", "w")\']',
    "!!python/name:os.system",
    "!!python/module:os",
    "!!binary aGVsbG8=",
    "!!timestamp 2001-12-14t21:59:43.10-05:00",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!float 3",
    "!!int x",
    "!!str 3",
    "!own 3",
)
YAML_TEXTS = (
    "", "\0", "\t", "---\n---\n", "a: 1\n---\nb: 2\n", "%YAML 9.9\n---\na: 1\n", "? [a]\n: 1\n", "a: &a [*a]\n",
    "&a {b: *a}\n",
    "<<: 3\n", "a: *b\n", "model: !!merge 3\n", "model: {layers: 3, layers: 4}\n", "{{}: 1}\n", "1: 2\n", "null: 1\n",
    "model: {1: 2}\n", "model: {null: 1}\n", "model: {layers: " + "9" * 5000 + "}\n",
    "model: {layers: 0x" + "f" * 400 + "}\n",
    "x" * 100_000, "a: '" + "b" * 200_000 + "'\n", "model: {layers: 1:30:00}\n", "model: {layers: 0o17}\n",
    "trainer: {steps: 2001-01-01}\n", "data: {train: 2001-99-99}\n", "data: {train: [2001-01-01]}\n",
)  # fmt: skip


def bomb(levels: int) -> str:
    """YAML of a few hundred bytes that stands for 9^levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines) + f"\nmodel: *a{levels - 1}\n"


def deep(rng: np.random.Generator, text: bool = False) -> str:
    """Brackets in brackets."""
    depth = int(rng.choice([20, 400, 600, 1200, 5000, 100_000]))
    opening, closing = ("[", "]") if text or rng.random() < 0.6 else ('{"a":', "}")
    return opening * depth + "1" + closing * depth


def changed_yaml(tree: Any, rng: np.random.Generator) -> tuple[bytes, str]:
    """A config as YAML, wrong somewhere; and how."""
    whole = yaml.safe_dump(tree, sort_keys=False)
    how = rng.choice(["tree", "tree", "tree", "tree", "bytes", "tag", "text", "deep", "bomb", "code"])
    if how == "tree":
        tree, name = changed_tree(tree, rng)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=bool(rng.random() < 0.5)).encode(), name
    if how == "bytes":
        return changed(whole.encode(), rng)
    if how == "tag":
        lines = whole.splitlines()
        at, tag = int(rng.integers(len(lines))), YAML_TAGS[rng.integers(len(YAML_TAGS))]
        lines[at] = f"{lines[at].partition(':')[0]}: {tag}"
        return "\n".join(lines).encode(), f"tag {tag.split()[0]}"
    if how == "text":
        text = YAML_TEXTS[rng.integers(len(YAML_TEXTS))]
        return (whole * (rng.random() < 0.5) + text).encode(), f"text {text[:30]!r}"
    if how == "deep":
        return f"model: {deep(rng)}\n".encode(), "deep nesting"
    if how == "bomb":
        levels = int(rng.choice([3, 4, 5, 7, 9]))
        return bomb(levels).encode(), f"alias bomb of {levels} levels"
    coding = str(rng.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32"]))
    return f"{whole}name: é\n".encode(coding), f"in {coding}"


def changed_json(tree: Any, rng: np.random.Generator) -> tuple[bytes, str]:
    """Plain values as JSON, wrong somewhere; and how."""
    how = rng.choice(["tree", "tree", "tree", "tree", "bytes", "whole", "deep", "digits", "code"])
    if how == "tree":
        tree, name = changed_tree(tree, rng)
        return _json(tree), name
    if how == "bytes":
        return changed(_json(tree), rng)
    if how == "whole":
        other = value(rng)
        return _json(other), f"whole {str(other)[:30]!r}"
    if how == "deep":
        return deep(rng).encode(), "deep nesting"
    if how == "digits":
        return _json(tree).replace(b"1", b"1" * 5000, 1), "5000 digits"
    return _json(tree).decode().encode(str(rng.choice(["utf-16", "utf-8-sig"]))), "another encoding"


def _json(tree: Any) -> bytes:
    try:
        return json.dumps(tree, default=str, ensure_ascii=True).encode()
    except ValueError:  # Python writes no number of so many digits
        return b'{"a": 1' + b"0" * 400 + b"}"


def changed_table(table: bytes, rng: np.random.Generator, separator: str = ",") -> tuple[bytes, str]:
    """A table with a line of column names, wrong somewhere; and how."""
    rows = [line.split(separator) for line in table.decode().splitlines()]
    at = int(rng.integers(1, len(rows))) if len(rows) > 1 else 0
    column = int(rng.integers(len(rows[0])))
    how = rng.choice(["field", "field", "field", "column", "row", "length", "long", "bytes", "whole", "code", "all"])
    name = str(how)
    if how == "field" and column < len(rows[at]):
        rows[at][column] = _field(rng)
        name = f"{rows[0][column]}={rows[at][column][:30]!r}"
    elif how == "column":
        name = f"column {rows[0][column]} is lost, or twice"
        other = rng.random()
        rows = [
            row[:column] + row[column + 1 :] if other < 0.5 else [*row, row[min(column, len(row) - 1)]] for row in rows
        ]
    elif how == "row":
        rows.insert(int(rng.integers(len(rows))), list(rows[at]))
    elif how == "length":
        rows[at] = rows[at][:column] if rng.random() < 0.5 else [*rows[at], _field(rng)]
    elif how == "all":
        rows[1:] = [[*row, "x"] for row in rows[1:]]
    elif how == "long":
        rows[at][min(column, len(rows[at]) - 1)] = "x" * 200_000
    elif how == "bytes":
        return changed(table, rng)
    elif how == "whole":
        wholes = (
            b"",
            rows[0][0].encode(),
            table.splitlines()[0] + b"\n",
            b"\n" * 5,
            table.replace(b"\n", b"\r\n"),
            b'"',
        )
        return wholes[rng.integers(len(wholes))], "empty, header alone or other line ends"
    elif how == "code":
        return table.decode().encode(str(rng.choice(["utf-16", "utf-8-sig"]))), "another encoding"
    return "".join(separator.join(row) + "\n" for row in rows).encode(errors="surrogatepass"), name


def changed_lines(text: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Lines of fields with blanks between, wrong somewhere; and how."""
    lines = text.decode().splitlines()
    if not lines or rng.random() < 0.3:
        return changed(text, rng)
    at = int(rng.integers(len(lines)))
    fields = lines[at].split(" ")
    column = int(rng.integers(len(fields)))
    how = rng.choice(["field", "field", "field", "lost field", "more fields", "line twice", "line lost", "no end"])
    if how == "field":
        fields[column] = _field(rng)
        how = f"field {fields[column][:30]!r}"
    elif how == "lost field":
        del fields[column]
    elif how == "more fields":
        fields.append(_field(rng))
    lines[at] = " ".join(fields)
    if how == "line twice":
        lines.insert(int(rng.integers(len(lines))), lines[at])
    elif how == "line lost":
        del lines[at]
    ending = "" if how == "no end" else "\n"
    return ("\n".join(lines) + ending).encode(errors="surrogatepass"), str(how)


def _field(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return TEXTS[rng.integers(len(TEXTS))]
    new = value(rng, 9)
    if isinstance(new, int) and abs(new) > 10**40:
        return "1" + "0" * 400
    return repr(new) if not isinstance(new, float) or math.isfinite(new) else str(new)
