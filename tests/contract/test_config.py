"""Configs: which keys differ is said by one function, and what is no config is refused in a short line."""

import errno
import math
import os
import time
from pathlib import Path

import pytest

from downstream.config import DownstreamConfig
from mockingjay.config import PretrainConfig
from utility.audio.feature_config import FeatureConfig
from utility.config import Difference, as_dict, build, differences, resolve, write_yaml


def test_differing_keys_are_named_with_both_values():
    one, other = PretrainConfig(), build(PretrainConfig, {"model": {"layers": 5}, "eval_batches": 7})
    assert differences(one, other) == [Difference("model.layers", 3, 5), Difference("eval_batches", 50, 7)]
    assert differences(as_dict(one), other) == differences(one, as_dict(other)) == differences(one, other)
    assert not differences(one, PretrainConfig())
    assert differences(FeatureConfig(), FeatureConfig(kind="fbank")) == [("kind", "mel", "fbank")]


def test_absent_sections_and_keys_count_as_none_and_nan_equals_nan():
    there = {"shift": math.nan, "features": None, "made_by": {}, "sizes": [1, 2]}
    here = {"shift": math.nan, "features": {"kind": "mel"}, "made_by": {"layer": 0}, "sizes": [1, 3]}
    found = [("features.kind", None, "mel"), ("made_by.layer", None, 0), ("sizes", [1, 2], [1, 3])]
    assert sorted(differences(there, here)) == found
    assert differences(there, here, ignore=("features", "made_by.layer")) == [("sizes", [1, 2], [1, 3])]
    assert differences(there, here | {"shift": 0.01}, ignore=here.keys() - {"shift"})[0].other == 0.01


def bomb(levels: int, last: str) -> str:
    """YAML of which each level holds the one before ten times, and a `last` line that uses them."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join([*lines, last.format(f"*a{levels - 1}")])


def merges(levels: int) -> str:
    """YAML of which each level merges the one before ten times."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "aliases upon aliases": bomb(12, "model: {{layers: {0}}}"),
    "aliases as keys' values": bomb(12, "trainer: {0}"),
    "merges upon merges": merges(12),
    "deep lists": f"model: {'[' * 600}{']' * 600}",
    "deep mappings": "model: " + "{a: " * 3000 + "1" + "}" * 3000,
    "deep blocks": "\n".join(f"{' ' * n}a:" for n in range(300)),
    "deeper than any stack": "a: " + "[" * 100_000,
    "a list within itself": "model: &a [*a]",
    "a mapping within itself": "model: &a {layers: *a}",
    "4301 digits": "model: {layers: " + "9" * 4301 + "}",
    "400 digits": "model: {layers: " + "9" * 400 + "}",
    "an empty int": 'model: {layers: !!int ""}',
    "no bool": "model: {share_layers: !!bool x}",
    "no time": "model: {layers: !!timestamp x}",
    "a 13th month": "model: {layers: 2001-13-01}",
    "a long value": "model: {layers: " + "x" * 10_000 + "}",
    "a long key": "model: {" + "x" * 10_000 + ": 1}",
    "unknown sections": bomb(9, "model: {0}"),
    "a number that is repeated": "model: {heads: 1" + "0" * 300 + "}",
    "a long unknown section": "x" * 10_000 + ": 1",
    "many keys": "model: {" + ", ".join(f"k{n}: 1" for n in range(10_000)) + "}",
    "beyond 64 bits": "trainer: {steps: 100000000000000000000000}",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_one_short_line_at_once(text, tmp_path):
    """Aliases took 2 GB, or made a line of 523 kB; depth ended in RecursionError."""
    file, start = tmp_path / "c.yaml", time.process_time()
    file.write_text(text)
    with pytest.raises(ValueError) as refused:
        resolve(PretrainConfig, file)
    assert str(refused.value).startswith(f"{file}: ")
    assert len(str(refused.value)) < len(str(file)) + 300
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "value", ["[" * 600 + "]" * 600, "9" * 5000, '!!int ""', "x" * 5000], ids=["deep", "digits", "empty", "long"]
)
def test_hostile_overrides_are_one_short_line(value):
    with pytest.raises(ValueError, match=r"model\.layers") as refused:
        resolve(PretrainConfig, overrides=[f"model.layers={value}"])
    assert len(str(refused.value)) < 300


def test_a_config_is_a_regular_file(tmp_path):
    """A pipe that nobody writes into hung, /dev/zero filled the memory."""
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="not a regular file"):
            resolve(PretrainConfig, file)
    with pytest.raises(IsADirectoryError):
        resolve(PretrainConfig, tmp_path)


SIZES = ["model.layers", "model.hidden_size", "model.ffn_size", "model.downsample_rate", "model.max_input_length"]
SIZES += ["gru.layers", "gru.hidden_size", "gru.prenet_layers", "loader.max_frames", "loader.batch_frames"]


@pytest.mark.parametrize("key", SIZES)
def test_sizes_beyond_any_memory_are_refused(key):
    """They ended in OverflowError or RuntimeError, a million layers in a hang."""
    for value in (10**10, 10**18, 10**23, 10**400):
        with pytest.raises(ValueError, match=key):
            resolve(PretrainConfig, overrides=[f"{key}={value}"])


def test_a_seed_may_be_as_large_as_a_generator_takes():
    assert resolve(DownstreamConfig, overrides=[f"data.split_seed={2**63 - 1}"]).data.split_seed == 2**63 - 1


def test_a_config_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "config.yaml"
    write_yaml(PretrainConfig(), file)
    before = file.read_text()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        write_yaml(PretrainConfig(eval_batches=7), file)
    assert failed.value.filename == str(file)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]
