"""Figures of an analysis: what is drawn is what the result says, nothing is cut off, and any eye can read it."""

from itertools import combinations

import matplotlib._pylab_helpers
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.text import Text

from analysis.figures.content import experiments
from analysis.figures.curves import layers_figure, steps_figure
from analysis.figures.draw import draw_what_can_be, figures, write_figures
from analysis.figures.style import COLOURS, curve_styles, graded_styles, layer_places
from tests.helpers import analysis_results as made

T4 = ["T0", "T1", "T2", "T3"]


def drawn(**listed):
    return dict(figures(made.result(**listed)))


def lines(ax, label=None):
    """Lines with data, (x, y) each, by their colour and style."""
    return [(line, np.array(line.get_xdata(), float), np.array(line.get_ydata(), float)) for line in ax.get_lines()]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def rings(figure):
    """Places (x, y) of the rings around best layers."""
    return [(float(x[0]), float(y[0])) for line, x, y in lines(figure.axes[0]) if line.get_markeredgewidth() == 1.6]


def test_layers_stand_in_the_order_of_the_model_with_gaps_between_kinds():
    places = layer_places(["final", "T1", "T0", "T3", "P", "C2", "C1", "odd"])
    assert list(places) == ["C1", "C2", "P", "T0", "T1", "T3", "final", "odd"]
    steps = np.diff(list(places.values()))
    assert steps[[0, 3]] == pytest.approx(1)
    assert steps[4] == pytest.approx(2)  # T2 is not there, its place is
    assert (steps[[1, 2, 5, 6]] > 1.5).all()


def test_scores_bands_best_layers_and_controls_are_drawn_as_they_are():
    curves = {"base": made.curve(["C1", "C2", "T0", "T1"], [0.1, 0.2, 0.5, 0.4]), "mel": made.curve(["F"], [0.3])}
    figure = drawn(cca_phone=made.experiment(upstreams=curves, chance=0.05, ceiling=0.9))["cca_phone"]
    ax = figure.axes[0]
    shown = [(x.tolist(), y.tolist()) for line, x, y in lines(ax) if len(x) == 2 and line.get_linestyle() == "-"]
    (convolutions, low), (blocks, high) = shown  # the line is broken between convolutions and blocks
    assert (low, high) == ([0.1, 0.2], [0.5, 0.4])
    assert blocks[0] - convolutions[1] > 1.5
    band = ax.collections[1].get_paths()[0].vertices
    assert {float(y.round(6)) for _, y in band} == {0.48, 0.52, 0.38, 0.42}
    assert rings(figure) == [(blocks[0], 0.5)]
    across = {round(float(y[0]), 6) for _, x, y in lines(ax) if x.tolist() == [0, 1] and y[0] == y[1]}
    assert across == {0.05, 0.3, 0.9}
    assert "base, best T0: 0.500 [0.480, 0.520]" in legend_of(figure)
    assert "mel: 0.300 [0.280, 0.320]" in legend_of(figure)
    assert {"chance: 0.050", "ceiling: 0.900", "band: 95 % interval"} <= set(legend_of(figure))
    assert ax.get_ylabel() == "similarity to phones"
    assert ax.get_xlabel() == "layer"


@pytest.mark.parametrize(("higher", "ceiling"), [("better", 1.0), ("worse", 0.0)])
def test_a_ceiling_far_from_all_curves_presses_none_of_them_flat(higher, ceiling):
    """The legend has it; near ones are drawn."""
    scores, chance = ([0.05, 0.09], 0.0) if higher == "better" else ([40.0, 42.0], 50.0)
    curves = {"base": made.curve(["T0", "T1"], scores)}
    content = made.experiment(upstreams=curves, chance=chance, ceiling=ceiling) | {"higher_is": higher}
    figure = drawn(cca_word=content)["cca_word"]
    low, high = figure.axes[0].get_ylim()
    assert high - low < 3 * abs(chance - scores[1 if higher == "better" else 0])
    assert any(text.startswith("ceiling") and text.endswith("off the axis") for text in legend_of(figure))


def test_of_several_samples_the_band_is_their_deviation_and_thin_bars_the_interval():
    points = made.curve(["T0", "T1"], [0.5, 0.4])
    for point in points:
        point["per_sample"] = [point["score"] - 0.1, point["score"] + 0.1]
    figure = drawn(x=made.experiment(upstreams={"base": points}))["x"]
    deviation = np.std([-0.1, 0.1], ddof=1)
    band, *bars = figure.axes[0].collections
    assert np.unique(band.get_paths()[0].vertices[:, 1]) == pytest.approx(
        np.sort([0.5 - deviation, 0.5 + deviation, 0.4 - deviation, 0.4 + deviation])
    )
    ends = [end for bar in bars for end in bar.get_segments()[0][:, 1]]
    assert ends == pytest.approx([0.48, 0.52, 0.38, 0.42])
    assert legend_of(figure) == [
        "base, best T0: 0.500 ± 0.141 [0.480, 0.520]",
        "band: ± deviation over samples",
        "thin bars: 95 % interval, mean over samples",
    ]


def test_scores_that_hardly_differ_have_whole_numbers_at_their_ticks():
    figure = drawn(x=made.experiment(upstreams={"a": made.curve(["T0", "T1"], [0.9999962, 0.9999977], half=1e-8)}))["x"]
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].yaxis.get_offset_text().get_text() == ""


@pytest.mark.slow
def test_counts_of_the_data_stand_under_the_title():
    data = [
        {"upstream": "a", "tokens": 7800, "every": 4, "note": "", "about": "words", "left_out": ["a"], "seconds": 1.5},
        {"tokens": 1},
    ]
    figure = drawn(x=made.experiment(upstreams={"a": made.curve(T4, [0.1] * 4)}, data=data))["x"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["7,800 tokens, every: 4, about: words"]


def test_the_best_layer_is_the_lowest_where_lower_is_better_and_never_one_without_a_score():
    curves = {"a": made.curve(T4, [0.4, float("nan"), 0.2, None]), "none": made.curve(T4, [None] * 4)}
    figure = drawn(abx=made.experiment(upstreams=curves, higher_is="worse", unit="%"))["abx"]
    assert rings(figure) == [(2.0, 0.2)]
    assert "none: no score" in legend_of(figure)
    assert figure.axes[0].get_ylabel() == "similarity to phones (%)"


def test_without_an_interval_the_band_is_the_deviation_of_trials_and_says_so():
    curves = {"a": made.curve(T4, [0.4, 0.5, 0.6, 0.7], half=None, trials=(-0.1, 0.0, 0.1))}
    figure = drawn(x=made.experiment(upstreams=curves))["x"]
    heights = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert {0.3, 0.5, 0.8, 0.6} <= {float(height) for height in heights.round(6)}
    assert "band: ± deviation over trials" in legend_of(figure)


def test_checkpoints_of_one_run_are_lines_of_layers_over_steps():
    shown = drawn(cca_phone=made.over_steps())
    assert list(shown) == ["cca_phone", "cca_phone_steps"]
    ax = shown["cca_phone_steps"].axes[0]
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "training step (updates)"
    paths = [(x.tolist(), y.tolist()) for line, x, y in lines(ax) if len(x) == 3]
    assert paths == [([100, 200, 20000], [score] * 3) for score in (0.1, 0.2, 0.3, 0.4)]
    assert [text.get_text() for text in shown["cca_phone_steps"].axes[1].get_yticklabels()] == T4


def test_names_keep_their_underscore_and_dollar():
    curves = {name: made.curve(T4, [0.1, 0.2, 0.3, 0.4]) for name in ("_hidden", "a$b_$c")}
    figure = drawn(x=made.experiment(upstreams=curves))["x"]
    FigureCanvasAgg(figure).draw()
    assert {text.split(",")[0] for text in legend_of(figure)} >= {"_hidden", "a$b_$c"}


CASES = {
    "crowded": made.crowded,
    "steps": made.over_steps,
    "deep": made.deep,
    "layers": lambda: made.layer_maps(3, 75),
    "small": lambda: made.layer_maps(1, 13),
    "relations": made.relations,
    "attention": made.attention,
    "differences": made.differences,
    "weights": made.weights,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_cut_off_overlaps_or_is_too_small_to_read(case):
    for stem, figure in drawn(**{case: CASES[case]()}).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer, paper = canvas.get_renderer(), figure.bbox.padded(1)
        unseen = {id(label) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in outside(axis)}
        for text in figure.findobj(Text):
            if not text.get_text() or not text.get_visible() or id(text) in unseen:
                continue
            corners = text.get_window_extent(renderer).corners()
            assert text.get_fontsize() >= 5.5, f"{stem}: {text.get_text()!r}"
            assert all(paper.contains(*corner) for corner in corners), f"{stem}: {text.get_text()!r} is cut off"
        for ax in figure.axes:
            least = 0.6 if stem.endswith("_pairs") else 1.3  # inches; pairs are rows, of which there may be one
            assert ax.get_window_extent(renderer).height / figure.dpi > least, f"{stem}: flat"
            for axis in (ax.xaxis, ax.yaxis):
                labels = [one for one in axis.get_ticklabels() if one.get_text() and one not in outside(axis)]
                boxes = [one.get_window_extent(renderer).padded(-0.5) for one in labels]
                assert not any(a.overlaps(b) for a, b in combinations(boxes, 2)), stem
            for legend in figure.legends:
                assert not legend.get_window_extent(renderer).overlaps(ax.get_tightbbox(renderer).padded(-1)), stem


def outside(axis):
    """Labels of ticks beyond the ends of an axis, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    """CIE Lab of a colour as an eye with that matrix of linear RGB sees it."""
    rgb = np.array(to_rgb(colour))
    linear = matrix @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(to_xyz @ linear, 1e-6, None) / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


EYES = {  # Machado, Oliveira and Fernandes 2009, severity 1
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("eye", EYES)
def test_colours_differ_for_every_eye(eye):
    places = [seen(colour, np.array(EYES[eye])) for colour in COLOURS]
    assert min(np.linalg.norm(a - b) for a, b in combinations(places, 2)) > 9


def test_in_grey_markers_tell_curves_apart_and_ordered_ones_grow_lighter():
    styles = curve_styles([f"model {i}" for i in range(10)]).values()
    assert len({(style.marker, style.filled) for style in styles}) == 10
    light = [np.dot(to_rgb(style.colour), (0.299, 0.587, 0.114)) for style in graded_styles(T4).values()]
    assert (np.diff(light) > 0.1).all()


def test_a_curve_looks_the_same_in_every_figure_of_a_result():
    both = {name: made.curve(T4, [0.1, 0.2, 0.3, 0.4]) for name in ("first", "second")}
    shown = drawn(a=made.experiment(upstreams=both), b=made.experiment(upstreams={"second": both["second"]}))
    looks = [lines(shown[stem].axes[0])[which][0] for stem, which in (("a", 2), ("b", 0))]
    assert [(line.get_color(), line.get_marker()) for line in looks] == [(COLOURS[1], "s")] * 2


def test_speaker_against_phone_is_a_path_through_the_layers_that_both_have():
    phone = made.experiment(upstreams={"a": made.curve(["T2", "T0", "T1"], [0.3, 0.1, 0.2])}, chance=0.02)
    speaker = made.experiment(upstreams={"a": made.curve(["T2", "T1"], [0.6, 0.7]), "b": made.curve(["T0"], [0.1])})
    figure = drawn(cca_speaker=speaker, cca_phone=phone)["cca_phone_against_cca_speaker"]
    path = next((x.tolist(), y.tolist()) for _, x, y in lines(figure.axes[0]) if len(x) == 2)
    assert path == ([0.7, 0.6], [0.2, 0.3])  # T1, T2
    assert legend_of(figure) == ["a", "chance"]


@pytest.mark.slow
def test_the_same_result_gives_the_same_files_byte_for_byte_and_keeps_nothing_alive(tmp_path):
    heads = made.attention(2)["heads"]["base"]
    content = made.result(
        cca_phone=made.over_steps(), cka=made.layer_maps(1, 3), x=made.experiment(heads={"a/b": heads})
    )
    one, two = (write_figures(content, tmp_path / folder) for folder in ("one", "two"))
    assert [path.name for path in one][:6] == [
        f"{stem}.{ending}" for stem in ("cca_phone", "cca_phone_steps", "cka_map") for ending in ("png", "svg")
    ]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(path.name for path in one)
    assert all(path.parent == tmp_path / "one" for path in one)  # a/b is no folder
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert one[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in one[1].read_text()
    assert not matplotlib._pylab_helpers.Gcf.figs


def test_styles_are_asked_for_by_the_figures_alone():
    (one,) = experiments(made.result(x=made.over_steps()))
    styles = curve_styles(list(one.curves))
    assert layers_figure(one, styles) is not None
    assert steps_figure(one, styles) is not None
    assert to_rgba(styles["base@100"].colour) != to_rgba(styles["base@200"].colour)


def test_a_figure_that_cannot_be_drawn_is_named_and_the_others_are_there(tmp_path):
    good, bad = made.curve(T4, [0.1] * 4), made.attention()["heads"]["base"] | {"category": [["odd"]]}
    content = made.result(a=made.experiment(heads={"b": bad}), good=made.experiment(upstreams={"a": good}))
    failed = draw_what_can_be(content, tmp_path)
    assert failed.keys() == {"a_heads_b"}
    assert "a category is none of" in failed["a_heads_b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.png", "good.svg"]


BAD = {
    "no analysis": ({"experiments": None}, "no result of an analysis"),
    "no measure": (made.result(a={"upstreams": {}}), "a: its measure is None"),
    "no label": (made.result(a=made.experiment(upstreams={"b": [{"score": 1}]})), "a: b: its label is None"),
    "text": (made.result(a=made.experiment(upstreams={"b": [{"label": "T0", "score": "x"}]})), "its score is 'x'"),
    "points": (made.result(a=made.experiment(upstreams={"b": 3})), "a: b: its layers are 3"),
    "size": (
        made.result(a=made.experiment(maps={"m": made.matrix(["T0"], ["T0"], [[1, 2]])})),
        "map m: its values has the shape (1, 2), expected (1, 1)",
    ),
    "rows": (
        made.result(a=made.experiment(maps={"m": made.matrix(["T0", "T1"], ["T0"], [[1], [2, 3]])})),
        "map m: its values is no table of numbers",
    ),
    "end": (made.result(a=made.experiment(differences=[{"one": ["a", "T0"]}])), "a: its other is None"),
    "category": (
        made.result(a=made.experiment(heads={"b": made.attention()["heads"]["base"] | {"category": [["odd"]]}})),
        "a category is none of global, vertical, diagonal",
    ),
    "steps": (
        made.result(
            a=made.experiment(
                pruning={
                    "b": {
                        "figures": {"loss": ""},
                        "heads": [
                            {"name": "x", "steps": [0, 1], "figures": {"loss": [1, 2]}},
                            {"name": "y", "steps": [0, 2], "figures": {"loss": [1, 2]}},
                        ],
                    }
                }
            )
        ),
        "the order y has other steps than the first one",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_figure_can_show_is_named_in_one_line(case, tmp_path):
    content, words = BAD[case]
    if content["experiments"]:
        content = made.result(
            good=made.experiment(upstreams={"a": made.curve(T4, [0.1] * 4)}), **content["experiments"]
        )
    with pytest.raises(ValueError) as raised:
        write_figures(content, tmp_path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
