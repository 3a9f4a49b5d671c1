"""Several runs become one result: nothing is lost, mixed up or drawn on an axis that is not its own."""

from copy import deepcopy

import pytest

from analysis.figures.draw import figures
from analysis.report_join import join
from tests.helpers import analysis_results as made

ONE = made.curve(["T0", "T1"], [0.1, 0.2])
TWO = made.curve(["T0", "T1"], [0.3, 0.4])


def run(fingerprints=None, **upstreams) -> dict:
    content = made.result(cca_phone=made.experiment(upstreams=upstreams, chance=0.1, data={"tokens": 10}))
    content["curves"] = {name: {"control": name == "random"} for name in upstreams}
    return content | {"fingerprints": {k: {"fingerprint": v} for k, v in (fingerprints or {}).items()}}


def test_curves_of_all_runs_stand_together_and_one_that_two_have_is_there_once():
    runs = {"a": run(base=ONE, random=TWO), "b": run(base=ONE, large=TWO)}
    runs["b"]["experiments"]["mi_phone"] = made.experiment(upstreams={"base": ONE})
    before = deepcopy(runs)
    joined = join(runs)
    assert runs == before
    assert joined["experiments"]["cca_phone"]["upstreams"] == {"base": ONE, "random": TWO, "large": TWO}
    assert joined["experiments"]["mi_phone"]["upstreams"] == {"base": ONE}
    assert joined["experiments"]["cca_phone"]["chance"] == 0.1
    assert joined["experiments"]["cca_phone"]["data"] == {"tokens": 10}
    assert joined["joined"] == ["a", "b"]
    assert {name: about["control"] for name, about in joined["curves"].items()} == {
        "base": False,
        "random": True,
        "large": False,
    }
    assert [stem for stem, _ in figures(joined)] == ["cca_phone", "mi_phone"]


def test_one_name_for_two_curves_is_told_apart_by_the_run_wherever_it_stands():
    runs = {"a": run(base=ONE, mel=TWO), "b": run(base=TWO, mel=TWO)}
    for content in runs.values():
        experiment = content["experiments"]["cca_phone"]
        experiment["differences"] = [made.paired(("base", "T1"), ("mel", "T1"), 0.1)]
        experiment |= {key: {"base": made.attention(2)[key]["base"]} for key in ("heads", "pruning")}
        experiment |= {key: {"base": ONE} for key in ("block_heads", "changes")}
    joined = join(runs)
    experiment = joined["experiments"]["cca_phone"]
    assert list(experiment["upstreams"]) == ["base (a)", "mel", "base (b)"]
    assert experiment["upstreams"]["base (b)"] == TWO
    assert [one["one"][0] for one in experiment["differences"]] == ["base (a)", "base (b)"]
    assert [one["other"][0] for one in experiment["differences"]] == ["mel", "mel"]
    for key in ("heads", "pruning", "block_heads", "changes"):
        assert list(experiment[key]) == ["base (a)", "base (b)"]
    assert "base (b)" in joined["curves"]


def test_one_name_for_two_models_is_told_apart_though_no_experiment_is_shared():
    runs = {"a": run({"base": "1111"}, base=ONE), "b": run({"base": "2222"})}
    runs["b"]["experiments"] = {"mi_phone": made.experiment(upstreams={"base": ONE})}
    joined = join(runs)
    assert list(joined["experiments"]["cca_phone"]["upstreams"]) == ["base (a)"]
    assert list(joined["experiments"]["mi_phone"]["upstreams"]) == ["base (b)"]


def test_maps_of_two_runs_do_not_replace_each_other():
    runs = {name: made.result(cka=made.layer_maps(1, size)) for name, size in (("a", 2), ("b", 3))}
    assert list(join(runs)["experiments"]["cka"]["maps"]) == ["model 0 (a)", "model 0 (b)"]


def test_chance_that_differs_is_one_line_for_each_run_and_other_data_is_said():
    runs = {"a": run(base=ONE), "b": run(large=TWO)}
    runs["b"]["experiments"]["cca_phone"] |= {"chance": 0.2, "data": {"tokens": 20}}
    joined = join(runs)
    assert joined["experiments"]["cca_phone"]["chance"] == {"a": 0.1, "b": 0.2}
    ((_, figure),) = figures(joined)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"chance of a: 0.100", "chance of b: 0.200"} <= set(words)
    assert any(text.get_text() == "samples: differ between runs" for text in figure.axes[0].texts)


def test_joining_again_what_was_joined_keeps_both_levels():
    runs = {"a": run(base=ONE), "b": run(large=TWO)}
    runs["b"]["experiments"]["cca_phone"]["chance"] = 0.2
    again = join({"first": join(runs), "c": run(other=TWO)})
    assert again["experiments"]["cca_phone"]["chance"] == {"a (first)": 0.1, "b (first)": 0.2, "c": 0.1}


BAD = {
    "none": ({}, "no results to join"),
    "a probe": ({"a": {"value": 1.0}}, "a: no result of an analysis, its experiments are None"),
    "upstreams": ({"a": made.result(x=made.experiment(upstreams=[1]))}, "a: x: its upstreams is [1]"),
    "measure": (
        {"a": made.result(x=made.experiment(measure="PWCCA")), "b": made.result(x=made.experiment(measure="mean CCA"))},
        "x of b: its measure is 'mean CCA', that of the runs before it 'PWCCA': join only runs that measure alike",
    ),
    "direction": (
        {"a": made.result(x=made.experiment()), "b": made.result(x=made.experiment(higher_is="worse"))},
        "x of b: its higher_is is 'worse'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_results_that_share_no_axis_are_refused_in_one_line(case):
    results, words = BAD[case]
    with pytest.raises(ValueError) as raised:
        join(results)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
