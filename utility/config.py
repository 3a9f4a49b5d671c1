"""Strict configuration: typed sections hold the defaults, a YAML file and `section.key=value` override them."""

import copy
import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, dataclass_transform, get_args, get_type_hints

import pydantic
import yaml
from pydantic.dataclasses import dataclass as validated

from utility.files import replace_file
from utility.text import cut, read_text, short

T = TypeVar("T")
DEPTH = 50  # levels of YAML; no config has more than five
MERGED = 1000  # keys of a mapping that `<<` of YAML fills
LARGEST = 2**31 - 1  # of a whole number: the product of two is still one of 64 bits; seeds may be larger
SHOWN = 5  # errors of one config in a line
LISTED = 200  # characters after which a line names no other error


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that checks types and ranges and refuses unknown keys."""
    config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")
    return cast(type[T], validated(cls, frozen=True, kw_only=True, config=config))


def build(schema: type[T], values: Mapping[str, Any]) -> T:
    """Check plain `values` against `schema`; a one-line `ValueError` names the key, its value and what is allowed."""
    if not isinstance(values, Mapping):
        raise ValueError(f"expected sections and keys, got {short(values)}")
    try:
        config = pydantic.TypeAdapter(schema).validate_python(dict(values))
    except pydantic.ValidationError as error:
        reasons: list[str] = []
        for item in error.errors()[:SHOWN]:
            reason = _explain(schema, item)
            if reasons and sum(map(len, [*reasons, reason])) > LISTED:
                break
            reasons.append(reason)
        more = error.error_count() - len(reasons)
        raise ValueError("; ".join([*reasons, *([f"and {more} more"] if more else [])])) from None
    for key, value in _values(as_dict(config)):
        if isinstance(value, int) and abs(value) > LARGEST and not key.endswith("seed"):
            raise ValueError(f"config key {key!r} has value {short(value)}: must be at most {LARGEST}")
    return config


def resolve(
    schema: type[T],
    source: Path | str | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    above: Path | str | Mapping[str, Any] | None = None,
) -> T:
    """Defaults of `schema`, overridden by a YAML file or a mapping, then key by key by another one `above` it, then by
    `section.key=value` words in order."""
    values: dict[str, Any] = {}
    for given in (source, above):
        _lay(values, given if isinstance(given, Mapping) else {} if given is None else read_yaml(given))
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"override {short(word)}: expected section.key=value")
        try:
            value = _parse(text)
        except ValueError:
            raise ValueError(f"override {short(word)}: value is not valid YAML") from None
        _set(values, key.split("."), value)
    files = [str(given) for given in (source, above) if isinstance(given, Path | str)]
    where = f"{' with '.join(files)}: " if files else ""
    try:
        config = build(schema, values)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    _check_obeyed(config, values, overrides)
    return config


def _check_obeyed(config: Any, values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise ValueError for an override that the other keys of its section leave no use for."""
    given, used = dict(_values(values)), dict(_values(as_dict(config)))
    for word in overrides:
        key = word.partition("=")[0]
        if given.get(key) is not None and key in used and used[key] is None:
            section = key.rpartition(".")[0]
            raise ValueError(f"{cut(word)} would change nothing beside the other keys of {section}: leave it out")


def read_yaml(file: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    text = read_text(file)
    try:
        values = _parse(text)
    except ValueError as error:
        raise ValueError(f"{file}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{file}: expected sections and keys, got a {type(values).__name__}")
    return values


def as_dict(config: Any) -> dict[str, Any]:
    """The config as nested dicts and lists of plain types, ready for YAML, JSON or a checkpoint."""
    return pydantic.TypeAdapter(type(config)).dump_python(config, mode="json")


class Difference(NamedTuple):
    """A key, as `section.key`, under which two configs hold different values; None stands for an absent one."""

    key: str
    one: Any
    other: Any


def differences(one: Any, other: Any, ignore: Collection[str] = ()) -> list[Difference]:
    """Every key whose values differ between two configs, or two nested dicts of plain values; two NaN are equal.

    Keys in `ignore`, and what lies below them, do not count."""
    ones, others = (dict(_values(part if isinstance(part, Mapping) else as_dict(part))) for part in (one, other))
    pairs = [Difference(key, ones.get(key), others.get(key)) for key in ones | others]
    return [pair for pair in pairs if _differ(pair.one, pair.other) and not _within(pair.key, ignore)]


def _within(key: str, sections: Collection[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _differ(one: Any, other: Any) -> bool:
    return one != other and not (one != one and other != other)  # only NaN is unlike itself


def to_yaml(config: Any) -> bytes:
    """A config as the text of a YAML file."""
    return yaml.safe_dump(as_dict(config), sort_keys=False).encode()


def write_yaml(config: Any, file: Path | str) -> None:
    """Write the resolved config beside the run that it made, whole or not at all; OSError names the file."""
    replace_file(Path(file), to_yaml(config))


def leaf_path(schema: type, name: str) -> str:
    """The full `section.key` of `name`, which may be given as the key alone where only one section has it."""
    paths = list(_leaves(schema))
    if name in paths:
        return name
    by_key = [path for path in paths if path.rpartition(".")[2] == name]
    if len(by_key) == 1:
        return by_key[0]
    if by_key:
        raise ValueError(f"config key {short(name)} is ambiguous: {', '.join(by_key)}")
    like = difflib.get_close_matches(name.rpartition(".")[2], [path.rpartition(".")[2] for path in paths], n=1)
    near = [path for path in paths if path.rpartition(".")[2] in like]
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else nearest(name, paths)
    raise ValueError(f"unknown config key {short(name)}{hint}")


def _values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _leaves(schema: type, prefix: str = "") -> list[str]:
    paths = []
    for name, kind in get_type_hints(schema).items():
        inner = _dataclass_in(kind)
        paths += _leaves(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return paths


def _dataclass_in(kind: Any) -> type | None:
    return next((k for k in (kind, *get_args(kind)) if isinstance(k, type) and dataclasses.is_dataclass(k)), None)


def _lay(values: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Put what is `above` over the values, key by key."""
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _lay(values[key], value)
        else:
            values[key] = copy.deepcopy(value)


def _set(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"override {'.'.join(path)}: {key} is not a section")
        values = inner
    values[path[-1]] = value


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which stops at a depth before Python's stack does."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {DEPTH} levels", problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MERGED:
            raise yaml.MarkedYAMLError(problem=f"more than {MERGED} keys are merged", problem_mark=node.start_mark)


def _parse(text: str) -> Any:
    """What YAML says; ValueError for anything that it does not say properly."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else _place(error.problem_mark)
        raise ValueError(f"{error.problem}{where}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    except (AttributeError, LookupError, TypeError):  # PyYAML, of `!!int ""`, `!!bool x`, `!!timestamp x`
        raise ValueError("a value is not of the type that it states") from None


def _place(mark: yaml.Mark) -> str:
    return f" in line {mark.line + 1}, column {mark.column + 1}"


def _explain(schema: type, item: Mapping[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    dotted = ".".join(path)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner = schema
        for key in path[:-1]:
            owner = _dataclass_in(get_type_hints(owner).get(key)) or owner
        known = [field.name for field in dataclasses.fields(owner)]
        return f"unknown config key {short(dotted)}{nearest(path[-1], known)}"
    if item["type"] in ("missing", "missing_argument"):
        return f"config key {short(dotted)} is missing"
    reason = item["msg"].removeprefix("Value error, ")
    if item["type"] == "dataclass_type":
        reason = "expected a section with keys"
    reason = reason.partition(", unable to parse")[0].replace("Input should be", "must be")
    reason = cut(reason, 150)  # it may repeat values
    if not path:
        return reason
    if item["type"] == "value_error" and isinstance(item["input"], Mapping):
        return f"config section {short(dotted)}: {reason}"
    return f"config key {short(dotted)} has value {short(item['input'])}: {reason[0].lower()}{reason[1:]}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a line about an unknown key: what was probably meant, else all that there are."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {short(close[0])}?" if close else f"; known keys: {', '.join(known)}"
