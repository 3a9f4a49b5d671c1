"""All figures of a result: which there are, what their files are called, and writing them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.figures.content import Experiment, controls, experiments, field, points_of
from analysis.figures.curves import layers_figure, step_runs, steps_figure
from analysis.figures.differences import difference_figures
from analysis.figures.heads import block_figures, heads_figure, heads_of, heads_scatter, pruning_figures
from analysis.figures.maps import map_figures
from analysis.figures.pairs import scatter_figure
from analysis.figures.rows import rows_figure
from analysis.figures.style import Style, curve_styles
from analysis.figures.weights import weights_figure, weights_of
from utility.plot import picture_stem, save_figure
from utility.text import one_line

FORMATS = ("png", "svg")
SPEAKERS, PHONES = "cca_speaker", "cca_phone"  # x and y of the figure of two experiments
Drawn = tuple[str, Figure]  # the stem of its file, or the end of it
Drawing = tuple[str, Callable[[], Iterable[Drawn]]]  # figures that can be drawn, by the name that a reader is told


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


def draw_what_can_be(content: Mapping[str, Any], folder: Path, formats: Sequence[str] = FORMATS) -> dict[str, str]:
    """Write every figure that can be drawn; gives the reason of each that cannot, by its name.

    Meant for a result that is kept already: a fault in one figure costs neither the result nor the other figures."""
    failed = {}
    for name, make in drawings(content):
        try:
            for stem, figure in make():
                for ending in formats:
                    save_figure(figure, folder / f"{picture_stem(stem)}.{ending}")
        except Exception as error:  # whatever a library that draws may raise
            kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
            failed[name] = one_line(f"{kind}{error}")
    return failed


def figures(content: Mapping[str, Any]) -> Iterator[Drawn]:
    """Every figure of a result by the stem of its file, one after another; curves look the same in all of them."""
    for _, make in drawings(content):
        yield from make()


def drawings(content: Mapping[str, Any]) -> Iterator[Drawing]:
    """What makes the figures of a result, by a name; ValueError where the content is none of an analysis."""
    listed = experiments(content)
    styles = curve_styles(list(dict.fromkeys(curve for one in listed for curve in one.curves)), controls(content))
    for experiment in listed:
        yield from _of_experiment(experiment, styles)
    by_name = {one.name: one for one in listed}
    if SPEAKERS in by_name and PHONES in by_name and by_name[SPEAKERS].curves.keys() & by_name[PHONES].curves.keys():
        stem = f"{PHONES}_against_{SPEAKERS}"
        yield _one(stem, lambda: scatter_figure(by_name[SPEAKERS], by_name[PHONES], styles))


def _one(stem: str, make: Callable[[], Figure]) -> Drawing:
    return stem, lambda: iter([(stem, make())])


def _several(name: str, start: str, make: Callable[[], Iterable[Drawn]]) -> Drawing:
    """Figures whose files are called `start` and an end."""
    return name, lambda: ((f"{start}{end}", figure) for end, figure in make())


def _of_experiment(experiment: Experiment, styles: Mapping[str, Style]) -> Iterator[Drawing]:
    """Of one experiment; all names begin with its own."""
    name = experiment.name
    if any(experiment.curves.values()):
        draw = rows_figure if experiment.in_rows else layers_figure
        yield _one(name, lambda: draw(experiment, styles))
    if step_runs(experiment):
        yield _one(f"{name}_steps", lambda: steps_figure(experiment, styles))
    yield _several(f"{name}_map", f"{name}_map", lambda: _map_figures(experiment))
    for curve, content in field(name, experiment.raw, "heads", Mapping, {}).items():
        yield _several(f"{name}_heads_{curve}", f"{name}_", partial(_head_figures, name, curve, content))
    yield _several(f"{name}_block_heads", f"{name}_", lambda: block_figures(experiment))
    yield _several(f"{name}_pruning", f"{name}_pruning_", lambda: pruning_figures(experiment))
    for curve, changes in field(name, experiment.raw, "changes", Mapping, {}).items():
        yield _one(f"{name}_changes_{curve}", partial(_changes_figure, experiment, curve, changes))
    yield _several(f"{name}_differences", f"{name}_", lambda: difference_figures(experiment, styles))
    if weights := field(name, experiment.raw, "layer_weights", list, []):
        stem = f"{name}_weights"
        yield _one(stem, lambda: weights_figure([weights_of(name, one) for one in weights], name))


def _map_figures(experiment: Experiment) -> Iterator[Drawn]:
    maps = [one for one in experiment.maps if one.values.size > 1]  # features beside themselves say nothing
    for number, kind in enumerate(dict.fromkeys(one.kind for one in maps)):
        pages = map_figures([one for one in maps if one.kind == kind], experiment.name)
        for page, figure in enumerate(pages):
            yield f"{number + 1 if number else ''}{f'_{page + 1}' if page else ''}", figure


def _head_figures(name: str, curve: str, content: Any) -> Iterator[Drawn]:
    title = f"{name}: heads of {curve}"
    heads = heads_of(title, content)
    yield f"heads_{curve}", heads_figure(heads, title)
    yield f"scatter_{curve}", heads_scatter(heads, title)


def _changes_figure(experiment: Experiment, curve: str, changes: Any) -> Figure:
    where = f"{experiment.name}: changes of {curve}"
    listed = field(where, {curve: changes}, curve, Mapping)
    curves = {change: points_of(where, points) for change, points in listed.items()}
    every = replace(experiment, name=f"{experiment.name} of {curve}", curves=curves, levels={})
    return layers_figure(every, curve_styles(list(curves)))
