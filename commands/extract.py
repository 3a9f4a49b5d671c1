"""Write the representations of a store or of audio."""

import os
import sys
from pathlib import Path

from commands.common import open_model, output_folder, parse_layers, say, test_paths
from commands.dry_run import print_look
from commands.settings import Extract
from mockingjay.checkpoint import Pretrained
from mockingjay.foreign.assumptions import FLAG, in_words
from mockingjay.representation import ExtractionOptions, represent, represent_as_archive
from mockingjay.upstream import load_upstream
from utility.audio.headers import unread_media, unread_note
from utility.device import claim_device
from utility.store.files import split_name
from utility.store.reading import Store, is_split, splits_in
from utility.store.recordings import Recordings


def extract(settings: Extract) -> int:
    """Write representations; 1 when some recordings could not be used."""
    check_flags(settings)
    return write_representations(open_model(settings.ckpt, settings.overrides, settings.assume), settings)


def check_flags(settings: Extract) -> None:
    """Raise ValueError for flags that do not go together."""
    parse_layers(settings.layer)
    if settings.format == "ark" and settings.layer == "all":
        raise ValueError("--format ark holds one vector per frame, not all layers: choose one by --layer")
    if settings.format == "ark" and settings.shard != (0, 1):
        raise ValueError(
            "--format ark is written by one process: --shard without it, and at the end --format ark alone"
        )
    if settings.overwrite and settings.shard != (0, 1):
        raise ValueError("--overwrite removes what other shards write: remove the old folder, then start the shards")


def write_representations(pretrained: Pretrained, settings: Extract) -> int:
    """Write the representations that an opened checkpoint gives; 1 when some recordings could not be used."""
    how = ExtractionOptions(
        parse_layers(settings.layer),
        settings.dtype,
        settings.precision,
        shard=settings.shard,
        quiet=not settings.msg,
        checkpoint=f"{settings.ckpt} {FLAG} {in_words(settings.assume)}" if settings.assume else str(settings.ckpt),
        step=pretrained.step,
        overwrite=settings.overwrite,
    )
    paths = test_paths(settings, pretrained.config)
    corpus = _open_corpus(pretrained, settings, paths)
    upstream = load_upstream(pretrained, info=corpus.info, device=claim_device(settings.cpu))
    folder = output_folder(settings)
    split = split_name(Path(os.path.abspath(paths[0])).stem) if len(paths) == 1 else "test"
    if settings.overwrite and (folder / split).resolve() in [Path(path).resolve() for path in paths]:
        raise ValueError(f"--overwrite would remove {folder / split}, which is the input: choose another --output")
    if settings.dry_run:
        print_look(pretrained, paths, folder)
        return 0
    if settings.format == "ark":
        archive = represent_as_archive(upstream, corpus, folder, split, how)
        lengths, shape, written = archive.lengths, how.layers.row_shape(upstream), folder / f"{split}.ark"
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


def _open_corpus(pretrained: Pretrained, settings: Extract, paths: list[str]) -> Store | Recordings:
    first = Path(paths[0])
    named = settings.input is None and pretrained.config.online is None  # by the config, where stores are what is usual
    if is_split(first) or splits_in(first) or (named and not first.exists()):
        return Store(paths)
    if settings.input is not None and not settings.input.exists():
        raise FileNotFoundError(f"--input {settings.input}: neither a store/split nor a recording or folder of audio")
    if pretrained.features is None:
        stated, why = pretrained.stated.get("features"), "does not say which features it takes"
        why = f"takes features that are not computed here, {stated}" if stated else why
        raise ValueError(f"{settings.ckpt} {why}: extract from a store, not from audio")
    if first.is_dir() and (unread := unread_note(unread_media(first))):
        say(settings.msg, f"{first}: {unread}")
    return Recordings(paths, pretrained.features)
