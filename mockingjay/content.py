"""What a checkpoint in our format must state, checked: it may be damaged, or written by anybody."""

from collections.abc import Callable, Mapping
from typing import Any

from utility.text import short
from utility.training.checkpoint import is_progress, is_whole


def check_content(content: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line, for a value in `content` that no pre-training of ours saves; KeyError for none."""
    for key, (right, wanted) in RULES.items():
        if not right(content[key]):
            raise ValueError(f"damaged: its {key!r} is {short(content[key])}, expected {wanted}")
    for key, (right, wanted) in OPTIONAL.items():
        if key in content and not right(content[key]):
            raise ValueError(f"damaged: its {key!r} is {short(content[key])}, expected {wanted}")


def _width(value: Any) -> bool:
    return is_whole(value, 1)


def _seed(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < 1 << 63)


def _shift(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and (value != value or 0 < value < 1e9))


def _tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(type(name) is str for name in value)


def _keys(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _keys_or_none(value: Any) -> bool:
    return value is None or _keys(value)


def _mapping_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _text(value: Any) -> bool:
    return type(value) is str


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _texts_by_key(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_text, value.values()))


Rule = tuple[Callable[[Any], bool], str]
RULES: dict[str, Rule] = {
    "model": (_tensors, "tensors by name"),
    "config": (_keys, "sections and keys"),
    "features": (_keys_or_none, "keys of features, or none"),
    "target": (_keys_or_none, "keys of features, or none"),
    "input_dim": (_width, "a whole number from 1"),
    "target_dim": (_width, "a whole number from 1"),
    "frame_shift": (_shift, "seconds, or none"),
    "seed": (_seed, "a whole number from 0, or none"),
    "state": (is_progress, "the step, and where the training stood"),
}
OPTIONAL: dict[str, Rule] = {
    "optimizer": (_mapping_or_none, "an optimiser's state, or none"),
    "cannot_resume": (_text, "text"),
    "written_by": (_text, "text"),
    "assumed": (_texts, "names of fields"),
    "sources": (_texts_by_key, "text by key"),
    "stated": (_texts_by_key, "definitions by part"),
    "headless": (lambda value: type(value) is bool, "true or false"),
}
