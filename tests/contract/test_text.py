"""Values in messages: as `repr` writes them, cut to 100 characters without looking at the rest."""

import time

import torch

from utility.text import cut, short


def test_a_small_value_is_its_repr():
    for value in (None, "a'b", b"a", 3, -1.5, [1, [], {"a": [None, "b"]}], {}, {1: {}}, (1, 2), "x" * 98):
        assert short(value) == repr(value)


def test_a_large_value_is_cut():
    for value in ("x" * 500, list(range(500)), {"k" * 90: "v" * 90}, 10**5000, -(10**5000), b"x" * 500):
        assert len(short(value)) == 100
        assert short(value).endswith("...")
        assert len(short(value, limit=40)) == 40


def test_a_tensor_is_named_by_its_type():
    """Its text would be lines of numbers."""
    assert short({"step": torch.ones(3)}) == "{'step': a Tensor}"
    assert short(((1, 2), (torch.ones(3),))) == "((1, 2), (a Tensor,))"


def test_aliases_upon_aliases_take_no_time():
    """Ten levels of ten aliases were 2 GB of text."""
    value = ["x"]
    for _ in range(30):
        value = [value] * 10
    start = time.process_time()
    assert len(short(value)) == 100
    assert len(short({"a": value})) == 100
    assert time.process_time() - start < 0.1


def test_deep_nesting_and_a_loop_are_cut():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert len(short(deep)) == 100
    loop: list = []
    loop.append(loop)
    assert len(short(loop)) == 100


def test_text_is_cut():
    assert cut("a" * 100) == "a" * 100
    assert cut("a" * 101) == "a" * 97 + "..."
