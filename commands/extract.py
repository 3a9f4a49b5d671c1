"""Write the representations that any upstream gives of a store or of recordings."""

import os
import sys
from pathlib import Path

from commands.common import check_output, parse_layers, say
from commands.dry_run import print_extraction
from commands.settings import Extract, Stored
from commands.upstreams import Opened, open_upstream
from mockingjay.representation import ExtractionOptions, represent, represent_as_archive, represent_as_directory
from mockingjay.upstreams.spec import UpstreamSpec
from utility.store.files import split_name
from utility.store.lists import without_list
from utility.store.reading import Store

DATA = Path("data")


def extract(settings: Extract) -> int:
    """Write representations; 1 when some recordings could not be used."""
    check_flags(settings)
    return write_representations(open_upstream(settings), settings, settings.output or dump_folder(settings.upstream))


def dump_folder(spec: UpstreamSpec) -> Path:
    """Where representations go without `--output`: beside their checkpoint, or a store of the upstream's name."""
    named = split_name(spec.label)
    if not spec.of_checkpoint:
        return DATA / f"{named}-dump"
    plain = spec.kind == "pretrained" and not spec.name
    ckpt = Path(spec.source)
    return ckpt.with_name(f"{ckpt.stem}-dump" if plain else f"{ckpt.stem}-{named}-dump")


def check_flags(settings: Stored) -> None:
    """Raise ValueError for flags that do not go together."""
    layers = parse_layers(settings.layer)
    of_kaldi = settings.format in ("ark", "kaldi")
    if of_kaldi and layers.several:
        raise ValueError(
            f"--format {settings.format} holds one vector per frame, not several layers (--layer {settings.layer}): "
            "choose one"
        )
    if of_kaldi and settings.shard != (0, 1):
        raise ValueError(
            f"--format {settings.format} is written by one process: --shard without it, and at the end "
            f"--format {settings.format} alone"
        )
    if settings.overwrite and settings.shard != (0, 1):
        raise ValueError("--overwrite removes what other shards write: remove the old folder, then start the shards")


def write_representations(opened: Opened, settings: Stored, folder: Path) -> int:
    """Write the representations that an opened upstream gives; 1 when some recordings could not be used."""
    upstream, corpus, paths = opened.upstream, opened.corpus, opened.paths
    how = ExtractionOptions(
        parse_layers(settings.layer),
        settings.dtype,
        settings.precision,
        shard=settings.shard,
        quiet=not settings.msg,
        checkpoint=opened.source,
        step=upstream.step or 0,
        overwrite=settings.overwrite,
    )
    how.layers.labels(upstream)  # a layer that is not there is told before anything is made
    check_output(folder, settings.dry_run)
    given = [without_list(path)[0] for path in paths]
    split = split_name(Path(os.path.abspath(given[0])).stem) if len(given) == 1 else "test"
    if settings.overwrite and (folder / split).resolve() in [path.resolve() for path in given]:
        raise ValueError(f"--overwrite would remove {folder / split}, which is the input: choose another --output")
    if settings.dry_run:
        print_extraction(opened, folder)
        return 0
    if settings.format == "ark":
        archive = represent_as_archive(upstream, corpus, folder, split, how)
        lengths, shape, written = archive.lengths, how.layers.row_shape(upstream), folder / f"{split}.ark"
    elif settings.format == "kaldi":
        matrices, warnings = represent_as_directory(upstream, corpus, folder, split, how)
        lengths, shape, written = matrices.lengths, how.layers.row_shape(upstream), folder / split
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
    elif represent(upstream, corpus, folder, split, how):
        store = Store([folder / split])
        lengths, shape, written = store.lengths, store.info.row_shape, folder / split
    else:
        say(settings.msg, f"{folder / split}: this shard is done, others are not yet")
        return 0
    failed = len(corpus.ids) - len(lengths)
    say(settings.msg, f"{len(lengths)} utterances, {lengths.sum()} frames of {shape} in {written}")
    if failed:
        print(f"{failed} recordings not used, see {folder / 'errors.csv'}", file=sys.stderr)
    return int(failed > 0)
