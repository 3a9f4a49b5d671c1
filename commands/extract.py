"""Write the representations of a store or of audio."""

import argparse
import sys
from pathlib import Path

from commands.common import _checkpoint, _folder, _layers, _open, _paths, _say


def extract(args: argparse.Namespace) -> int:
    """Write representations; 1 when some recordings could not be used."""
    from mockingjay.representation import Representing, represent, write_ark
    from mockingjay.upstream import load_upstream
    from utility.audio.headers import unread_media
    from utility.device import claim_device
    from utility.store.reading import Store, is_split, splits_in
    from utility.store.recordings import Recordings

    if args.format == "ark" and args.layer == "all":
        raise ValueError("--format ark holds one vector per frame, not all layers: choose one by --layer")
    found = _open(args)
    how = Representing(
        _layers(args.layer),
        args.dtype,
        args.precision,
        shard=args.shard,
        quiet=args.quiet,
        checkpoint=str(_checkpoint(args)),
        step=found.step,
        overwrite=args.overwrite,
    )
    paths = _paths(args, found.config)
    first = Path(paths[0])
    named = args.input is None and found.config.online is None  # by the config, where stores are what is usual
    if is_split(first) or splits_in(first) or (named and not first.exists()):
        corpus = Store(paths)
    elif args.input is not None and not args.input.exists():
        raise FileNotFoundError(f"--input {args.input}: neither a store/split nor a recording or folder of audio")
    elif found.features is None:
        raise ValueError(f"{args.ckpt} does not say which features it takes: extract from a store, not from audio")
    else:
        corpus = Recordings(paths, found.features)
        if first.is_dir() and (unread := unread_media(first)):
            _say(args, f"{first}: {unread}")
    upstream = load_upstream("transformer", _checkpoint(args), corpus.info, device=claim_device(args.cpu))
    folder, split = _folder(args), Path(paths[0]).stem if len(paths) == 1 else "test"
    if args.overwrite and (folder / split).resolve() in [Path(path).resolve() for path in paths]:
        raise ValueError(f"--overwrite would remove {folder / split}, which is the input: choose another --output")
    if not represent(upstream, corpus, folder, split, how):
        _say(args, f"{folder / split}: this shard is done, others are not yet")
        return 0
    store = Store([folder / split])
    if args.format == "ark":
        write_ark(store, folder / split)
    failed = len(corpus.ids) - len(store)
    _say(args, f"{len(store)} utterances, {store.lengths.sum()} frames of {store.info.row_shape} in {folder / split}")
    if failed:
        print(f"{failed} recordings not used, see {folder / 'errors.csv'}", file=sys.stderr)
    return int(failed > 0)
