"""What stands on a page: runs as cards, figures, errors and sounds, gathered so that a template only lays them out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from report.errors import Errors, errors_of
from report.figures import (
    as_svg,
    confusion_figure,
    layers_figure,
    loss_of,
    losses_figure,
    numbers_figure,
    training_figure,
    weights_figure,
)
from report.leaderboard import Examined, Leaderboard, Paired, leaderboard
from report.pictures import as_image
from report.runs import DUMP, METRICS, Other, Pretraining, Probe, Runs
from report.sound import MEGABYTE, Clip, Room
from report.stated import Stated, stated
from utility.plot import picture_stem
from utility.predictions import predictions_of
from utility.store.reading import Store
from utility.training.log import read_metrics

HEARD = 5  # of the worst utterances of a run
DRAWN = {
    "_reconstruction.png": "input, prediction, truth, and the truth filled with the prediction",
    "_codes.png": "input, true codes and predicted codes",
}  # by the end of the file's name
RECONSTRUCTIONS = 2  # of a pre-training run
SOUNDS = ("input", "predicted", "true", "filled")


@dataclass(frozen=True)
class Rooms:
    """What other rooms know, and a report may not import."""

    paired: Paired
    examined: Examined
    changed: Callable[[Probe], Sequence[str]]  # settings that differ from the defaults, as `section.key=value`
    analysis_figures: Callable[[Mapping[str, Any]], Iterable[tuple[str, Figure]]]
    curve_figure: Callable[[Mapping[str, Any]], Figure]


@dataclass(frozen=True)
class Options:
    """What a page shall have."""

    title: str = "Results"
    baseline: str | None = None
    figures: int = 40  # runs whose figures and errors are shown
    sound: float = 20.0  # megabytes
    against: Path | None = None  # a folder with the metrics of others' pre-training
    project: Path = Path()


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, or an image in the page itself, and what stands under it."""

    about: str
    svg: str = ""
    image: str = ""


@dataclass
class Card:
    """A probing run as it is opened."""

    number: int
    probe: Probe
    settings: Sequence[str]
    pictures: list[Picture] = field(default_factory=list)
    errors: Errors | None = None
    clips: dict[str, Clip] = field(default_factory=dict)  # by utterance
    shown: bool = False  # whether its figures and errors were made


@dataclass(frozen=True)
class Reconstructed:
    """An utterance that a pre-trained model filled: its spectrograms, and how they sound; the loss of one of the
    worst."""

    utterance: str
    loss: float | None
    picture: Picture
    clips: Sequence[Clip]


@dataclass(frozen=True)
class Trained:
    """A pre-training run, and what it makes of some utterances."""

    run: Pretraining
    shown: Sequence[Reconstructed]


@dataclass(frozen=True)
class Figured:
    """A curve over labels, or an analysis, with its figures where these were `shown`; `failed` cannot be drawn."""

    run: Other
    pictures: Sequence[Picture]
    failed: Mapping[str, str] = field(default_factory=dict)
    shown: bool = True


@dataclass(frozen=True)
class Content:
    """All of a page."""

    options: Options
    runs: Runs
    board: Leaderboard
    cards: Sequence[Card]
    curves: Sequence[Figured]
    analyses: Sequence[Figured]
    pretrainings: Sequence[Trained]
    losses: Sequence[Picture]
    numbers: Sequence[Stated]
    sound_left_out: int
    sound_missing: int


def gather(runs: Runs, folder: Path, rooms: Rooms, options: Options) -> Content:
    """Everything that a page of the runs in `folder` has; figures and sounds come to the runs of the table first."""
    board = leaderboard(runs.probes, rooms.examined, rooms.paired, options.baseline)
    room = Room(options.sound * MEGABYTE)
    cards = [Card(number, probe, rooms.changed(probe)) for number, probe in enumerate(runs.probes)]
    for card in _first(cards, board)[: options.figures]:
        _fill(card, room)
    return Content(
        options,
        runs,
        board,
        cards,
        [
            _curve(number, one, rooms, options.figures)
            for number, one in enumerate([*runs.curves, *_joined(runs.curves)])
        ],
        [_analysis(number, one, rooms, options.figures) for number, one in enumerate(runs.analyses)],
        [_trained(run, room) for run in runs.pretrainings],
        _losses(runs.pretrainings, options.against),
        stated(runs, board, folder),
        room.left_out,
        len(room.missing),
    )


def _first(cards: Sequence[Card], board: Leaderboard) -> list[Card]:
    """Those of the table, column by column, then the others."""
    rank: dict[str, int] = {}
    for column in board.columns:
        for row in board.rows:
            if (row, column) in board.cells:
                rank.setdefault(board.cells[row, column].probe.place, len(rank))
    return sorted(cards, key=lambda card: (rank.get(card.probe.place, len(rank)), card.number))


def _fill(card: Card, room: Room) -> None:
    """Draw a run's figures, read its errors, and take what sound there is room for."""
    probe, folders = card.probe, card.probe.folders[0]
    name = f"run{card.number}"
    records = read_metrics(folders[0]) if (folders[0] / METRICS).is_file() else []
    figures = [
        ("loss", "loss and dev score over steps", training_figure(probe, records)),
        ("layers", "dev score by layer", layers_figure(probe)),
        ("weights", "weights of the layers", weights_figure(probe)),
    ]
    if all(predictions_of(one, "test").is_file() for one in folders):
        card.errors = errors_of(folders, probe.metric.name, "label_mean" not in probe.result)
    if card.errors is not None:
        figures.append(("confusions", "true and predicted answers", confusion_figure(card.errors)))
        figures.append(("numbers", "predicted against true numbers", numbers_figure(card.errors)))
    card.pictures += [
        Picture(about, as_svg(figure, f"{name}-{kind}", f"{probe.upstream}, {probe.task}: {about}"))
        for kind, about, figure in figures
        if figure is not None
    ]
    if card.errors is not None:
        paths = [*(probe.setting("data", "test") or []), *(probe.setting("data", "train") or [])]
        card.clips = _heard(paths, [one.name for one in card.errors.worst[:HEARD]], room)
    card.shown = True


def _heard(paths: Iterable[str], ids: Sequence[str], room: Room) -> dict[str, Clip]:
    """The recordings of utterances of stores; nothing where these are not there any more."""
    clips: dict[str, Clip] = {}
    for path in dict.fromkeys(map(str, paths)) if room.size > 0 else ():
        if all(name in clips for name in ids):
            break
        try:
            store = Store([path])
        except (ValueError, OSError):
            continue
        for name in ids:
            at = store.index.get(name)
            if at is not None and name not in clips:
                clip = room.recording("recording", store.audio_paths[at], store.spans[at])
                clips |= {} if clip is None else {name: clip}
    return clips


def _curve(number: int, one: Other, rooms: Rooms, figures: int) -> Figured:
    if number >= figures:
        return Figured(one, [], shown=False)
    about = f"{one.content.get('task')} over {one.content.get('key')}"
    try:
        return Figured(one, [Picture(about, as_svg(rooms.curve_figure(one.content), f"curve{number}", about))])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Figured(one, [], {"curve": str(error) or type(error).__name__})


def _joined(curves: Sequence[Other]) -> list[Other]:
    """Curves of one task over one key together, where several runs drew some; a name that two have gets its run's."""
    alike: dict[str, list[Other]] = {}
    for one in curves:
        key = [one.content.get(name) for name in ("task", "metric", "key", "axis")]
        alike.setdefault(json.dumps(key), []).append(one)
    joined = []
    for runs in alike.values():
        names = [curve["upstream"] for one in runs for curve in one.content.get("curves", ())]
        if len(runs) > 1:
            curves_of_all = [
                {**curve, "upstream": f"{name} ({one.folder.name})" if names.count(name) > 1 else name}
                for one in runs
                for curve in one.content.get("curves", ())
                if (name := curve["upstream"])
            ]
            words = " and ".join(one.place for one in runs)
            joined.append(Other(f"{words}, together", runs[0].folder, {**runs[0].content, "curves": curves_of_all}))
    return joined


def _analysis(number: int, one: Other, rooms: Rooms, figures: int) -> Figured:
    if number >= figures:
        return Figured(one, [], shown=False)
    pictures, failed = [], {}
    try:
        for place, (stem, figure) in enumerate(rooms.analysis_figures(one.content)):
            about = stem.replace("_", " ")
            pictures.append(Picture(about, as_svg(figure, f"analysis{number}-{place}", about)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        failed["figures"] = str(error) or type(error).__name__
    return Figured(one, pictures, failed)


def _losses(runs: Sequence[Pretraining], against: Path | None) -> list[Picture]:
    """The training loss of all runs, on axes of one kind of loss each; beside others' where they are given."""
    known: dict[str, dict[str, Sequence[Mapping[str, float]]]] = {}
    for run in runs:
        if run.metrics:
            known.setdefault(loss_of(run), {})[run.name] = run.metrics
    for name, records in _others(against).items():
        nats = any("accuracy" in key for record in records for key in record)
        known.setdefault("cross-entropy (nats)" if nats else "L1", {})[f"{name} (theirs)"] = records
    pictures = []
    for number, (label, metrics) in enumerate(sorted(known.items())):
        for key, about in (("loss", "training loss"), ("dev_loss", "loss on dev")):
            figure = losses_figure(metrics, key, f"{about}, {label}")
            if figure is not None:
                pictures.append(Picture(f"{about}, {label}", as_svg(figure, f"losses{number}{key}", about)))
    return pictures


def _others(folder: Path | None) -> dict[str, Sequence[Mapping[str, float]]]:
    """Metrics of others' runs: NAME/metrics.jsonl below a folder. ValueError where there are none."""
    if folder is None:
        return {}
    found: dict[str, Sequence[Mapping[str, float]]] = {
        file.parent.name: read_metrics(file.parent) for file in sorted(folder.glob(f"**/{METRICS}"))
    }
    if not found:
        raise ValueError(
            f"--against {folder}: no {METRICS} below it: name a folder of logs, such as log/log_mockingjay"
        )
    return found


def _trained(run: Pretraining, room: Room) -> Trained:
    """A run with what `--plot --with_head` left beside its checkpoints: the worst where it looked for them, or the
    first."""
    data, shown = run.config.get("data"), []
    paths = data.get("test", []) if isinstance(data, Mapping) else []
    for picture, name, loss in _drawn(run)[:RECONSTRUCTIONS]:
        end = next(end for end in DRAWN if picture.name.endswith(end))
        stem = picture.name.removesuffix(end)
        clips = list(_heard(paths, [name], room).values())
        for kind in SOUNDS:
            clip = room.file(kind, file) if (file := picture.with_name(f"{stem}_{kind}.wav")).is_file() else None
            clips += [] if clip is None else [clip]
        shown.append(Reconstructed(name, loss, Picture(f"{name}: {DRAWN[end]}", image=as_image(picture)), clips))
    return Trained(run, shown)


def _drawn(run: Pretraining) -> list[tuple[Path, str, float | None]]:
    """Pictures of what a model predicts, each with its utterance and, of the worst, which stand first, the loss."""
    worst = {folder / (picture_stem(name) + end): (name, loss) for folder, name, loss in run.worst for end in DRAWN}
    found = {path: end for end in DRAWN for path in sorted(run.folder.glob(f"*{DUMP}/*{end}"))}
    drawn: list[tuple[Path, str, float | None]] = [(path, *worst[path]) for path in worst if path in found]
    return drawn + [(path, path.name.removesuffix(end), None) for path, end in found.items() if path not in worst]
