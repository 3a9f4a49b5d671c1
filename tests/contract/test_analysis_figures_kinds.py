"""Maps, heads, pruning, differences and layer weights: each cell, line and bar shows the value of the result."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.figures.draw import figures
from analysis.figures.style import COLOURS
from tests.helpers import analysis_results as made


def drawn(**listed):
    return dict(figures(made.result(**listed)))


def images(figure):
    return [ax.images[0] for ax in figure.axes if ax.images]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def numbers_in(ax):
    """Texts in cells by (row, column)."""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts}


def test_a_layer_map_has_its_first_layer_at_the_bottom_and_its_numbers_in_the_cells():
    one = made.matrix(["T0", "T1"], ["T0", "T1", "T2"], [[1.0, 0.714, -0.32], [None, 0.5, -0.001]])
    figure = drawn(cka=made.experiment(maps={"a and b": one}))["cka_map"]
    (image,) = images(figure)
    assert image.origin == "lower"
    assert np.allclose(image.get_array().filled(9), [[1, 0.714, -0.32], [9, 0.5, -0.001]])
    assert numbers_in(image.axes) == {(0, 0): "1.00", (0, 1): ".71", (0, 2): "-.32", (1, 1): ".50", (1, 2): ".00"}
    assert (image.axes.get_xlabel(), image.axes.get_ylabel()) == ("layer of b", "layer of a")
    assert [label.get_text() for label in image.axes.get_xticklabels()] == ["T0", "T1", "T2"]
    assert figure.axes[1].get_ylabel() == "linear CKA"
    assert legend_of(figure) == ["no value"]


def test_shares_have_one_scale_from_0_to_1_and_maps_of_another_measure_another_figure():
    maps = made.layer_maps(2, 3)["maps"] | {"features": made.matrix(["F"], ["F"], [[1]])}
    maps |= {"norms": made.matrix(["T0"], ["T0", "T1"], [[3, 7]], measure="norm")}
    shown = drawn(x=made.experiment(maps=maps))
    assert list(shown) == ["x_map", "x_map2"]
    assert [image.norm.vmin for image in images(shown["x_map"])] == [0, 0]
    assert images(shown["x_map"])[0].norm is images(shown["x_map"])[1].norm
    assert (images(shown["x_map2"])[0].norm.vmin, images(shown["x_map2"])[0].norm.vmax) == (3, 7)


def test_more_maps_than_fit_go_to_further_figures_in_the_same_scale():
    maps = {f"model {i}": made.matrix(["T0"], ["T0", "T1"], [[0, i]]) for i in range(8)}
    shown = drawn(x=made.experiment(maps=maps))
    assert [len(images(figure)) for figure in shown.values()] == [6, 2]
    assert list(shown) == ["x_map", "x_map_2"]
    assert {image.norm.vmax for figure in shown.values() for image in images(figure)} == {7}


@pytest.mark.slow
def test_a_relation_map_has_no_effect_in_neutral_grey_and_pairs_that_never_meet_hatched():
    (figure,) = drawn(relations=made.relations()).values()
    (image,) = images(figure)
    assert image.origin == "upper"
    red, green, blue, _ = image.cmap(image.norm(0.0))
    assert max(red, green, blue) - min(red, green, blue) < 0.05
    assert image.get_array().mask[12].all()
    assert image.get_array().mask[:, 12].all()
    assert image.axes.patch.get_hatch() == "////"
    values = np.array(made.relations()["maps"]["T3 head 2"]["values"])
    assert image.norm.vmin == np.nanmin(values)
    assert image.norm.vmax < np.nanmax(values)  # a few phones that say nothing else do not take all colours
    assert len(image.axes.get_xticklabels()) == 39


def test_each_head_is_marked_in_the_table_of_its_category_and_drawn_in_its_shape():
    heads = made.attention(3)["heads"]["base"] | {"category": [["global"] * 3, ["vertical"] * 3, ["diagonal"] * 3]}
    shown = drawn(attention=made.experiment(heads={"base": heads}))
    tables = [image.axes for image in images(shown["attention_heads_base"])]
    assert [{place for place, mark in numbers_in(ax).items() if mark} for ax in tables] == [
        {(row, column) for column in range(3)} for row in range(3)
    ]
    assert np.allclose(tables[1].images[0].get_array(), heads["verticality"])
    globals_, verticals, _ = shown["attention_scatter_base"].axes[0].collections
    assert np.allclose(globals_.get_offsets(), np.transpose([heads["globalness"][0], heads["verticality"][0]]))
    assert len({to_hex(collection.get_facecolor()[0]) for collection in (globals_, verticals)}) == 2  # by layer
    assert legend_of(shown["attention_scatter_base"]) == ["global head", "vertical head", "diagonal head"]


def test_a_head_that_resamples_call_otherwise_has_a_small_letter():
    heads = made.attention(2)["heads"]["base"] | {
        "category": [["global"] * 2] * 2,
        "certainty": [[1.0, 0.94], [0.95, 0]],
    }
    figure = drawn(attention=made.experiment(heads={"base": heads}))["attention_heads_base"]
    assert numbers_in(images(figure)[0].axes) == {(0, 0): "G", (0, 1): "g", (1, 0): "G", (1, 1): "g"}
    assert "small letter" in figure.get_suptitle()
    heads["certainty"] = None
    assert (
        "small letter"
        not in drawn(attention=made.experiment(heads={"base": heads}))["attention_heads_base"].get_suptitle()
    )


def test_maps_of_attention_have_a_logarithmic_scale_and_round_numbers_of_frames():
    frames = [str(i) for i in range(120)]
    values = np.zeros((120, 120))
    values[0], values[1] = 0.5, 1e-9
    one = made.matrix(frames, frames, values.tolist(), scale="log", row_axis="query frame", column_axis="key frame")
    (figure,) = drawn(x=made.experiment(maps={"head": one})).values()
    (image,) = images(figure)
    assert image.norm.vmax == 0.5
    assert image.norm.vmin == pytest.approx(0.0005, rel=0.01)  # three decades, not all of them
    assert not np.ma.getmaskarray(image.norm(image.get_array())).any()  # 0 has the darkest colour, it is no hole
    assert [label.get_text() for label in image.axes.get_xticklabels()] == [str(i) for i in range(0, 120, 10)]


def test_scores_of_single_heads_are_a_table_and_every_change_of_the_input_is_a_curve():
    points = made.curve(["T1 head 0", "T1 head 1", "T2 head 1"], [0.1, 0.2, 0.3])
    changes = {"pgd 0.1": made.curve(["W", "T0"], [0.5, 0.4]), "noise": made.curve(["W", "T0"], [0.1, 0.05])}
    shown = drawn(x=made.experiment(block_heads={"base": points}, changes={"base": changes}))
    assert list(shown) == ["x_block_heads_base", "x_changes_base"]
    (table,) = images(shown["x_block_heads_base"])
    assert np.allclose(table.get_array().filled(9), [[0.1, 0.2], [9, 0.3]])
    ax = shown["x_changes_base"].axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["W", "T0"]
    assert legend_of(shown["x_changes_base"])[:2] == [
        "pgd 0.1, best T0: 0.400 [0.380, 0.420]",  # the waveform itself is no layer
        "noise, best T0: 0.050 [0.030, 0.070]",
    ]


def test_random_orders_of_pruning_are_one_line_with_their_range():
    shown = drawn(attention=made.attention(2))
    figure = shown["attention_pruning_heads_base"]
    loss, accuracy = figure.axes
    assert len(loss.get_lines()) == 5
    assert np.allclose(loss.get_lines()[-1].get_ydata(), [0.4, 0.5, 0.6 + 0.5])  # of orders 4, 5 and 6
    assert loss.get_lines()[-1].get_linestyle() == "--"
    assert {0.6 + i / 10 for i in (4, 6)} <= set(loss.collections[0].get_paths()[0].vertices[:, 1].round(6))
    assert loss.get_lines()[0].get_xdata().tolist() == [0, 72, 144]
    assert accuracy.get_ylabel() == "accuracy (%)"
    assert legend_of(figure)[-1] == "random: mean and range of 3 orders"
    span = shown["attention_pruning_span_base"].axes[0]
    assert [label.get_text() for label in span.get_xticklabels()] == ["all", "8", "2"]
    assert np.allclose(span.get_lines()[0].get_ydata(), [0.4, 0.5, 0.7])


def test_differences_are_filled_where_the_interval_excludes_0():
    shown = drawn(cca=made.differences())
    assert list(shown) == ["cca_differences", "cca_differences_of_layers", "cca_differences_of_pairs"]
    points = [line for line in shown["cca_differences"].axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert [float(line.get_ydata()[0]) for line in points] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])
    assert [line.get_markerfacecolor() for line in points] == ["white"] * 3 + [COLOURS[0]] * 2  # ± 0.02 ends at 0
    ours = "ours \N{MINUS SIGN} random: 2 of 5 layers clear of 0"
    assert legend_of(shown["cca_differences"])[0] == ours
    assert legend_of(shown["cca_differences_of_layers"])[0].startswith("ours T4 \N{MINUS SIGN} other layers: 4 of 4")
    rows = [label.get_text() for label in shown["cca_differences_of_pairs"].axes[0].get_yticklabels()]
    assert rows == ["ours T4 \N{MINUS SIGN} mel F  -0.100"]


@pytest.mark.slow
def test_what_holds_no_value_at_all_is_drawn_empty(recwarn):
    nothing = {"a": made.curve(["T0"], [None]), "b": []}
    maps = {"m": made.matrix(["T0", "T1"], ["T0"], [[None], [None]])}
    order = {"name": "weight", "steps": [0], "figures": {"loss": [None]}}
    shown = drawn(x=made.experiment(upstreams=nothing, maps=maps, pruning={"a": {"heads": [order]}}))
    assert list(shown) == ["x", "x_map", "x_pruning_heads_a"]
    assert legend_of(shown["x"]) == ["a: no score", "b: no score"]
    assert shown["x_pruning_heads_a"].axes[0].get_ylabel() == "loss"  # a figure without a unit
    assert not recwarn.list


def test_pairs_of_upstreams_stand_beside_each_other_at_their_layer():
    found = [made.paired(("a", f"T{i}"), (other, f"T{i}"), 0.1) for i in range(2) for other in ("b", "c", "d")]
    ax = drawn(x=made.experiment(differences=found))["x_differences"].axes[0]
    places = sorted(float(line.get_xdata()[0]) for line in ax.get_lines() if len(line.get_xdata()) == 1)
    assert min(np.diff(places)) > 0.1
    assert np.round(places).tolist() == [0, 0, 0, 1, 1, 1]


def test_differences_within_an_upstream_look_like_its_curve():
    curves = {name: made.curve(["T0", "T1"], [0.1, 0.2]) for name in ("mel", "ours")}
    found = [made.paired(("ours", "T1"), ("ours", "T0"), 0.1)]
    figure = drawn(x=made.experiment(upstreams=curves, differences=found))["x_differences_of_layers"]
    assert figure.axes[0].get_lines()[0].get_color() == COLOURS[1]


def test_two_best_layers_that_are_the_same_one_are_a_pair_not_a_curve():
    lone = made.experiment(differences=[made.paired(("a", "T2"), ("b", "T2"), 0.1)])
    assert list(drawn(x=lone)) == ["x_differences_of_pairs"]


def test_layer_weights_are_bars_from_0_and_scores_of_single_layers_are_points():
    figure = drawn(layer_weights=made.weights())["layer_weights_weights"]
    weights, products, scores = figure.axes
    heights = [patch.get_height() for patch in weights.patches]
    assert heights == pytest.approx([0.2, 0.3, 0.5] * 2)
    assert weights.get_ylim()[0] == 0
    assert [patch.get_height() for patch in products.patches][:3] == pytest.approx([0.25, 0.25, 0.5])
    assert scores.get_ylabel() == "frame accuracy (%)"
    assert np.isnan(scores.get_lines()[0].get_ydata()[1])  # no probe of that layer
    assert legend_of(figure)[0] == "phone_linear, base: mean ± deviation of 3 seeds"
    assert legend_of(figure)[-1].replace("\n", " ").startswith("a weight also makes up for the size")
    assert len({(patch.get_hatch(), patch.get_facecolor()) for patch in weights.patches}) == 2
    assert float(weights.get_lines()[0].get_ydata()[0]) == pytest.approx(1 / 3)
    one = drawn(layer_weights=made.weights(seeds=1))["layer_weights_weights"]
    assert legend_of(one)[0] == "phone_linear, base: 1 seed"


def test_controls_with_layers_are_dashed():
    curves = {name: made.curve(["T0", "T1"], [0.1, 0.2]) for name in ("base", "random")}
    content = made.result(x=made.experiment(upstreams=curves))
    content["curves"] = {"base": {"control": False}, "random": {"control": True}}
    ((_, figure),) = figures(content)
    styles = [line.get_linestyle() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert styles == ["-", "--"]
