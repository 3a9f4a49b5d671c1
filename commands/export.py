"""Write a model as a folder that other programs load."""

from commands.common import open_model, say
from commands.dry_run import describe_parts, print_plan
from commands.settings import Export
from mockingjay.export.write import write_export


def export(settings: Export) -> None:
    """Write the model as a folder that other programs load."""
    folder = settings.output or settings.ckpt.with_name(f"{settings.ckpt.stem}-{settings.export}")
    found = open_model(settings.ckpt)
    if settings.dry_run:
        return print_plan(found.config, describe_parts(found.config, found.features), {"model": found.model}, folder)
    write_export(found, settings.export, folder)
    return say(settings.msg, f"{settings.export}: {folder}")
