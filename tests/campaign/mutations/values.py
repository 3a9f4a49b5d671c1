"""Values that nobody expects, and trees of plain values with such a value somewhere in them."""

import copy
from typing import Any

import numpy as np

CANARY = "canary"  # the file that hostile input would make
HUGE = (10**4, 10**5, 10**6, 10**9)  # legal for a size: memory or time may run out, and nothing is wrong
BEYOND = (2**31, 2**53, 2**63, 2**64, 2**70, 10**18, 10**23, 10**30, 10**400)  # no machine holds these
NUMBERS = (0, 1, -1, 2, 3, 7, -7, 255, 1.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"), 0.1)
TEXTS = (
    "", " ", "a", "0", "1_0", "٣", "nan", "inf", "-inf", "1e400", "true", "null", "~", "../up", "..", "/", "a/b", "a b",
    "a,b",
    'a"b', "a\nb", "a\tb", "a\x00b", "\u00e9", "e\u0301", "\ufeffa", "\u202ea", "\ud800", "%s%n",
    "$(touch canary)", "|touch canary;",
    "`touch canary`", "x" * 300, "x" * 5000, "[", "{", "a: b", "!!python/name:os.system", "0x10", "1e3", "12:30", "yes",
)  # fmt: skip


def value(rng: np.random.Generator, depth: int = 0) -> Any:
    """A value of any plain type."""
    kind = rng.choice(["number", "huge", "beyond", "text", "none", "bool", "list", "dict", "nested"])
    match kind:
        case "number":
            return NUMBERS[rng.integers(len(NUMBERS))]
        case "huge":
            return HUGE[rng.integers(len(HUGE))]
        case "beyond":
            return BEYOND[rng.integers(len(BEYOND))] * (1 if rng.random() < 0.8 else -1)
        case "text":
            return TEXTS[rng.integers(len(TEXTS))]
        case "none":
            return None
        case "bool":
            return bool(rng.random() < 0.5)
        case "list" if depth < 2:
            return [value(rng, depth + 1) for _ in range(rng.integers(4))]
        case "dict" if depth < 2:
            return {str(TEXTS[rng.integers(len(TEXTS))]): value(rng, depth + 1) for _ in range(rng.integers(3))}
        case _:
            return nested(int(rng.choice([3, 30])))


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    whole: Any = 1
    for _ in range(depth):
        whole = [whole]
    return whole


def changed_tree(tree: Any, rng: np.random.Generator) -> tuple[Any, str]:
    """A copy of nested dicts and lists with one node replaced, removed, renamed, repeated or wrapped; and how."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return value(rng), "replace the whole"
    parent, key = places[rng.integers(len(places))]
    how = rng.choice(["replace", "replace", "replace", "replace", "remove", "rename", "repeat", "wrap", "other"])
    if how == "remove":
        del parent[key]
    elif how == "rename" and isinstance(parent, dict):
        parent[f"{key}x" if rng.random() < 0.5 else TEXTS[rng.integers(len(TEXTS))]] = parent.pop(key)
    elif how == "repeat" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif how == "wrap":
        parent[key] = [parent[key]] if rng.random() < 0.5 else {"x": parent[key]}
    elif how == "other":
        other, name = places[rng.integers(len(places))]
        parent[key] = copy.deepcopy(other[name])
    else:
        parent[key] = value(rng)
        return tree, f"{key}: {str(parent[key])[:40]!r}"
    return tree, f"{how} {key}"


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in list(items):
        yield tree, key
        yield from _places(inner)


def is_huge(tree: Any) -> bool:
    """Whether a tree holds a number that is large and yet legal, so that time and memory may honestly run out."""
    if isinstance(tree, dict):
        return any(is_huge(inner) for inner in tree.values())
    if isinstance(tree, list | tuple):
        return any(is_huge(inner) for inner in tree)
    return isinstance(tree, int | float) and not isinstance(tree, bool) and HUGE[0] <= tree < BEYOND[0]
