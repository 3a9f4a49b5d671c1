"""Look at a checkpoint: what it is, its masked loss, its pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from commands.common import check_sections, open_model, output_folder, parse_layers, say, say_notes, test_paths
from commands.dry_run import describe_parts, describe_paths, print_look, print_plan
from commands.extract import check_flags, write_representations
from commands.settings import (
    Info,
    Look,
    Plot,
    PlotAlterations,
    PlotReconstructions,
    PlotStates,
    Stored,
    Test,
    TestAndPlot,
)
from commands.upstreams import open_pretrained
from mockingjay.checkpoint import load_pretrained
from mockingjay.config import DataConfig, PretrainConfig
from mockingjay.describe import describe_checkpoint, describe_upstream
from mockingjay.drawing import Drawing, Shown, draw_alterations
from mockingjay.foreign.apc import BY_DEFAULT
from mockingjay.foreign.assumptions import FLAG, in_words
from mockingjay.foreign.configs import read_config, read_online
from mockingjay.inspection import Inspection
from mockingjay.pretraining.data import Data, open_given
from mockingjay.runs import DEFAULT_CONFIG
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.selection import LayerSelection
from mockingjay.upstreams.spec import YAMLS, UpstreamSpec
from utility.config import resolve
from utility.device import claim_device
from utility.files import check_folder, remove_leftovers, replacing
from utility.flags import DEFAULT_SEED
from utility.labels.alignment import Alignment
from utility.store.reading import Store


def info(settings: Info) -> None:
    """Print what a checkpoint, or any upstream, is."""
    described = settings.described
    store = None if settings.input is None else Store([settings.input]).info
    if isinstance(described, UpstreamSpec):
        if settings.dry_run:
            raise ValueError(f"--info {described} writes nothing: leave --dry_run out")
        if store is None and (described.kind == "baseline" or described.source.endswith(YAMLS)):
            raise ValueError(f"--info {described}: add --input, a store/split whose features it takes")
        upstream = load_upstream(described, info=store, seed=DEFAULT_SEED, assume=settings.assume)
        return print(describe_upstream(upstream, str(described)))
    if store is not None:
        load_upstream(load_pretrained(described, settings.assume), info=store)  # refuses what it cannot take
    if not settings.dry_run:
        return print(describe_checkpoint(described, settings.assume))
    pretrained = open_model(described, assume=settings.assume)
    return print_plan(
        pretrained.config, describe_parts(pretrained.config, pretrained.features), {"model": pretrained.model}, None
    )


def test(settings: Test) -> int:
    """Masked loss of the test set with fixed masks, and its representations."""
    inspection = _open(settings, predicts=True)
    return 0 if _only_planned(settings, inspection) else _test(inspection, settings)


def test_and_plot(settings: TestAndPlot) -> int:
    """Both, as in the first README; hidden states are drawn."""
    return _test_and_draw(settings, lambda drawing: drawing.hidden_states(LayerSelection("last")))


def test_and_plot_reconstructions(settings: TestAndPlot) -> int:
    """Both, as in the first README; true, predicted and filled frames are drawn."""
    return _test_and_draw(settings, lambda drawing: _draw_reconstructions(drawing, settings.msg))


def plot_states(settings: PlotStates) -> None:
    """First, last and weighted hidden states of the first utterances."""
    layers = parse_layers(settings.layer)
    if settings.layer != "last" and layers.weights is None:
        raise ValueError(
            f"--layer {settings.layer}: --plot draws the first and the last, and takes only weights, ws:FILE"
        )
    source = settings.layer.partition(":")[2]
    _draw(settings, lambda drawing: drawing.hidden_states(layers, source))


def plot_reconstructions(settings: PlotReconstructions) -> None:
    """Masked, true, predicted and filled frames of some utterances, where possible as sound too; or codes."""
    _draw(settings, lambda drawing: _draw_reconstructions(drawing, settings.msg), predicts=True)


def plot_attention(settings: Plot) -> None:
    """Attention of every head."""
    _draw(settings, Drawing.attention)


def plot_alterations(settings: PlotAlterations) -> None:
    """What a checkpoint, or without one a config, hides of its input."""
    alignment = _alignment(settings)
    if settings.ckpt is not None:
        if settings.online_config is not None:
            raise ValueError(f"--ckpt {settings.ckpt} brings its own config: leave --online_config out")
        pretrained = open_model(settings.ckpt, settings.overrides, settings.assume)
        config, folder = pretrained.config, settings.output or settings.ckpt.with_name(f"{settings.ckpt.stem}-dump")
        paths = test_paths(settings, config)
        data = Inspection.open(pretrained, paths, folder, torch.device("cpu")).data
    else:
        if settings.assume is not None:
            raise ValueError(f"{FLAG} {in_words(settings.assume)} says something of --ckpt: add that, or leave it out")
        given, heard = read_config(settings.config), read_online(settings.online_config)
        config = resolve(PretrainConfig, given.source or DEFAULT_CONFIG, settings.overrides, heard.source)
        check_sections(config, settings.overrides)
        folder = settings.output or settings.ckpdir / f"{(settings.config or DEFAULT_CONFIG).stem}-alterations"
        paths = test_paths(settings, config)
        data = open_given(paths, replace(config, data=DataConfig()))
        say_notes(given, heard)
    shown = Shown.of(data, _first(data, settings.num), alignment)
    check_folder(folder)
    if settings.dry_run:
        return print_plan(config, describe_paths("test", paths, data.source.features), {}, folder)
    remove_leftovers(folder)
    saved = draw_alterations(config, shown, folder)
    return say(settings.msg, f"{len(saved)} files in {folder}")


def _open(settings: Look, predicts: bool) -> Inspection:
    """The checkpoint, opened once, before its data.

    `predicts` is for what compares a prediction with the truth, so that it must be known which frame is predicted."""
    if isinstance(settings, Stored):
        check_flags(settings)
    pretrained = open_model(settings.ckpt, settings.overrides, settings.assume)
    told = any(word.startswith("apc.time_shift=") for word in settings.overrides)
    if predicts and pretrained.sources.get("shift") == BY_DEFAULT and not told:
        raise ValueError(f"{settings.ckpt}: does not say how many frames ahead it predicts: add {FLAG} shift=N")
    paths, folder = test_paths(settings, pretrained.config), output_folder(settings)
    return Inspection.open(pretrained, paths, folder, claim_device(settings.cpu), predicts)


def _only_planned(settings: Look, inspection: Inspection) -> bool:
    """Whether this is a dry run, whose plan is printed."""
    if settings.dry_run:
        paths = test_paths(settings, inspection.pretrained.config)
        print_look(inspection.pretrained, paths, inspection.folder)
    return settings.dry_run


def _open_drawing(settings: Plot | TestAndPlot, predicts: bool) -> Drawing:
    """The checkpoint before the utterances that are drawn."""
    alignment = _alignment(settings)
    inspection = _open(settings, predicts)
    data = inspection.data
    if isinstance(settings, PlotReconstructions) and settings.worst and not settings.dry_run:
        worst = inspection.worst(settings.num, not settings.msg)
        losses = {data.corpus.ids[index]: loss for index, loss in worst}
        return Drawing(inspection, Shown.of(data, [index for index, _ in worst], alignment), losses)
    return Drawing(inspection, Shown.of(data, _first(data, settings.num), alignment))


def _first(data: Data, count: int) -> range:
    return range(min(count, len(data.corpus.ids)))


def _alignment(settings: Plot | TestAndPlot | PlotAlterations) -> Alignment | None:
    """The phones that are drawn over pictures; ValueError besides where no picture is asked for."""
    if settings.num < 1:
        raise ValueError(f"--num is {settings.num}: plot at least one utterance")
    return None if settings.alignment is None else Alignment(settings.alignment)


def _test(inspection: Inspection, settings: Test) -> int:
    spec = UpstreamSpec("pretrained", str(settings.ckpt), word="pretrained")
    opened = open_pretrained(inspection.pretrained, spec, settings, DEFAULT_SEED)
    code = write_representations(opened, settings, inspection.folder)
    claim_device(settings.cpu)  # of the loss too; --precision is of the representations
    scores, config = inspection.scores(), inspection.pretrained.config
    paths = test_paths(settings, config)
    with replacing(inspection.folder / "test.json") as temporary:
        temporary.write_text(json.dumps({**scores, "data": paths, "checkpoint": str(settings.ckpt)}) + "\n")
    loss = f"masked L1 {scores['loss']:.4f}"
    if config.objective == "codes":
        loss = f"cross-entropy {scores['loss']:.4f} nats, {100 * scores['accuracy']:.2f} % of masked codes right"
    print(f"{loss} on {', '.join(paths)}")
    return code


def _draw(settings: Plot, draw: Callable[[Drawing], list[Path]], predicts: bool = False) -> None:
    drawing = _open_drawing(settings, predicts)
    if not _only_planned(settings, drawing.inspection):
        say(settings.msg, f"{len(draw(drawing))} files in {drawing.inspection.folder}")


def _test_and_draw(settings: TestAndPlot, draw: Callable[[Drawing], list[Path]]) -> int:
    drawing = _open_drawing(settings, predicts=True)
    if _only_planned(settings, drawing.inspection):
        return 0
    code = _test(drawing.inspection, settings)
    say(settings.msg, f"{len(draw(drawing))} files in {drawing.inspection.folder}")
    return code


def _draw_reconstructions(drawing: Drawing, msg: bool) -> list[Path]:
    if drawing.inspection.pretrained.config.objective == "codes":
        return drawing.codes()
    saved = drawing.reconstructions()
    silent = drawing.inspection.silent_because()
    if silent:
        say(msg, f"no waveforms: {silent}")
    return saved
