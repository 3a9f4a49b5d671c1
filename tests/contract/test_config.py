"""Configs: which keys differ is said by one function."""

import math

from mockingjay.config import PretrainConfig
from utility.audio.features import FeatureConfig
from utility.config import Difference, as_dict, build, differences


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
