"""All figures of a result: which there are, what their files are called, and writing them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.figures.content import Experiment, controls, experiments, field, points_of
from analysis.figures.curves import layers_figure, step_runs, steps_figure
from analysis.figures.differences import difference_figures
from analysis.figures.heads import block_figures, heads_figure, heads_of, heads_scatter, pruning_figures
from analysis.figures.maps import map_figures
from analysis.figures.pairs import scatter_figure
from analysis.figures.style import Style, curve_styles
from analysis.figures.weights import weights_figure, weights_of
from utility.plot import picture_stem, save_figure

FORMATS = ("png", "svg")
SPEAKERS, PHONES = "cca_speaker", "cca_phone"  # x and y of the figure of two experiments


def write_figures(content: Mapping[str, Any], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure of the content of a result.json into `folder`, each in every format; gives the files.

    The same content gives the same bytes. ValueError where the content is none of an analysis; then nothing is
    written: every figure is made once before the first is kept, which costs little beside writing them."""
    for _ in figures(content):
        pass
    written = []
    for stem, figure in figures(content):
        for ending in formats:
            written.append(folder / f"{picture_stem(stem)}.{ending}")
            save_figure(figure, written[-1])
    return written


def figures(content: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Every figure of a result by the stem of its file, one after another; curves look the same in all of them."""
    listed = experiments(content)
    styles = curve_styles(list(dict.fromkeys(curve for one in listed for curve in one.curves)), controls(content))
    for experiment in listed:
        yield from experiment_figures(experiment, styles)
    by_name = {one.name: one for one in listed}
    if SPEAKERS in by_name and PHONES in by_name and by_name[SPEAKERS].curves.keys() & by_name[PHONES].curves.keys():
        yield f"{PHONES}_against_{SPEAKERS}", scatter_figure(by_name[SPEAKERS], by_name[PHONES], styles)


def experiment_figures(experiment: Experiment, styles: Mapping[str, Style]) -> Iterator[tuple[str, Figure]]:
    """The figures of one experiment by the stem of their files, which begins with its name."""
    name = experiment.name
    if any(experiment.curves.values()):
        yield name, layers_figure(experiment, styles)
    if step_runs(experiment):
        yield f"{name}_steps", steps_figure(experiment, styles)
    maps = [one for one in experiment.maps if one.values.size > 1]  # features beside themselves say nothing
    for number, kind in enumerate(dict.fromkeys(one.kind for one in maps)):
        pages = map_figures([one for one in maps if one.kind == kind], name)
        for page, figure in enumerate(pages):
            yield f"{name}_map{number + 1 if number else ''}{f'_{page + 1}' if page else ''}", figure
    for curve, content in field(name, experiment.raw, "heads", Mapping, {}).items():
        heads = heads_of(f"{name}: heads of {curve}", content)
        yield f"{name}_heads_{curve}", heads_figure(heads, f"{name}: heads of {curve}")
        yield f"{name}_scatter_{curve}", heads_scatter(heads, f"{name}: heads of {curve}")
    for end, figure in block_figures(experiment):
        yield f"{name}_{end}", figure
    for end, figure in pruning_figures(experiment):
        yield f"{name}_pruning_{end}", figure
    for curve, changes in field(name, experiment.raw, "changes", Mapping, {}).items():
        where = f"{name}: changes of {curve}"
        curves = {
            change: points_of(where, points)
            for change, points in field(where, {curve: changes}, curve, Mapping).items()
        }
        every = replace(experiment, name=f"{name} of {curve}", curves=curves, levels={})
        yield f"{name}_changes_{curve}", layers_figure(every, curve_styles(list(curves)))
    for end, figure in difference_figures(experiment, styles):
        yield f"{name}_{end}", figure
    if listed := field(name, experiment.raw, "layer_weights", list, []):
        yield f"{name}_weights", weights_figure([weights_of(name, one) for one in listed], name)
