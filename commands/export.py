"""Write a model as a folder that other programs load."""

import argparse

from commands.common import _checkpoint, _say


def export(args: argparse.Namespace) -> None:
    """Write the model as a folder that other programs load."""
    from mockingjay.checkpoint import load_pretrained
    from mockingjay.export.write import write_door

    if args.overrides:
        raise ValueError(f"--export writes the checkpoint as it is: {args.overrides[0]} cannot change it")
    path = _checkpoint(args)
    folder = args.output or path.with_name(f"{path.stem}-{args.export}")
    write_door(load_pretrained(path), args.export, folder)
    _say(args, f"{args.export}: {folder}")
