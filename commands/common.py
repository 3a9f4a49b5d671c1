"""What several commands need: the checkpoint under its overrides, its data, the folder of the output."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from commands.settings import Assume, Look, OnData, PlotAlterations
from downstream.config import OnlineFile
from mockingjay.checkpoint import Pretrained, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.configs import ConfigSource
from mockingjay.upstreams.selection import LayerSelection
from utility.config import as_dict, build, read_yaml, resolve
from utility.files import check_folder, remove_leftovers
from utility.text import parse_json, read_text, short
from utility.training.distributed import Group
from utility.training.stopping import EXIT_CODE, Stopped

SECONDS = 30.0  # between two lines that say where a run stands, where nobody watches
ELSEWHERE = "wait until it ends, or give this run another --name"  # where another run writes


def open_model(ckpt: Path, overrides: Sequence[str] = (), assume: Assume = None) -> Pretrained:
    """The checkpoint, opened once; its config changed by what the command line says."""
    pretrained = load_pretrained(ckpt, assume)
    if not overrides:
        return pretrained
    config = resolve(PretrainConfig, as_dict(pretrained.config), overrides)
    check_sections(config, overrides)
    return replace(pretrained, config=config)


def check_sections(config: PretrainConfig, overrides: Sequence[str]) -> None:
    """Raise ValueError for an override in a section that a model of this kind does not have."""
    other: dict[str, str] = (
        {"gru": "encoder transformer"} if config.encoder == "transformer" else {"model": "encoder gru"}
    )
    unused = {"masked": ("apc", "codes"), "apc": ("masking", "codes"), "codes": ("apc",)}[config.objective]
    other |= dict.fromkeys(unused, f"objective {config.objective}")
    for word in overrides:
        section = word.partition("=")[0].partition(".")[0]
        if section in other:
            raise ValueError(f"{word} would change nothing: with {other[section]} the section {section} is not used")


def test_paths(settings: OnData | PlotAlterations, config: PretrainConfig) -> list[str]:
    """What the command looks at: --input, or the config's test set."""
    if settings.input is not None:
        named = next((word for word in settings.overrides if word.startswith("data.test=")), None)
        if named:
            raise ValueError(f"{named} would change nothing beside --input {settings.input}: leave one of them out")
        return [str(settings.input)]
    if not config.data.test:
        raise ValueError("no test set: add --input store/split, or data.test=[store/split]")
    return config.data.test


def read_online(file: Path) -> OnlineFile:
    """An `--online_config` that says what recordings are read as."""
    values = read_yaml(file)
    if "online" not in values:
        raise ValueError(f"{file} has no section online: config/online.yaml shows one")
    try:
        return build(OnlineFile, values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def output_folder(settings: Look) -> Path:
    """Where pictures and representations of a checkpoint go."""
    folder = settings.output or settings.ckpt.with_name(f"{settings.ckpt.stem}-dump")
    check_output(folder, settings.dry_run)
    return folder


def check_output(folder: Path, dry_run: bool) -> None:
    """Raise ValueError where a folder cannot be one, and tidy it."""
    check_folder(folder)
    if not dry_run:
        remove_leftovers(folder)


def parse_layers(text: str) -> LayerSelection:
    """What `--layer` says."""
    kind, _, file = text.partition(":")
    if kind != "ws" or not file:
        return LayerSelection.parse(text)
    try:
        weights = parse_json(read_text(file))["layer_weights"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"--layer {text}: {file} is not a result.json with layer_weights") from None
    if not weights:
        raise ValueError(f"--layer {text}: that probe learnt no layer weights; run it with --weighted_sum")
    if not isinstance(weights, list) or not all(type(w) in (int, float) and 0 <= w <= 1 for w in weights):
        raise ValueError(f"--layer {text}: layer_weights are {short(weights)}, expected numbers from 0 to 1")
    return LayerSelection(tuple(float(weight) for weight in weights))


def say(wanted: bool, text: str) -> None:
    """Print unless --no-msg."""
    if wanted:
        print(text)


def now_and_then(
    wanted: bool, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None
) -> Callable[[str], None]:
    """What says what a long run is at, on stderr: on a terminal each time, else once in `SECONDS` at most."""
    out = stream or sys.stderr
    last = clock()

    def say_now(text: str) -> None:
        nonlocal last
        if wanted and (out.isatty() or clock() - last >= SECONDS):
            last = clock()
            print(text, file=out, flush=True)

    return say_now


def say_notes(*given: ConfigSource) -> None:
    """Say what of the originals' configs has no meaning here."""
    for note in (config.note for config in given if config.note):
        print(note, file=sys.stderr)


def ended(stopped: Stopped, group: Group) -> int:
    """Say where a run stands that was told to end, and give its exit code."""
    group.leave()
    if group.leads:
        print(stopped, file=sys.stderr)
    return EXIT_CODE
