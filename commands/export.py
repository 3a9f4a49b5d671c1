"""Write a model as a folder that other programs load."""

from commands.common import open_model, say
from commands.dry_run import describe_parts, print_plan
from commands.settings import Export
from mockingjay.export.write import write_export


def export(settings: Export) -> None:
    """Write the model as a folder that other programs load."""
    folder = settings.output or settings.ckpt.with_name(f"{settings.ckpt.stem}-{settings.export}")
    pretrained = open_model(settings.ckpt, assume=settings.assume)
    if settings.dry_run:
        return print_plan(
            pretrained.config,
            describe_parts(pretrained.config, pretrained.features),
            {"model": pretrained.model},
            folder,
        )
    write_export(pretrained, settings.export, folder)
    return say(settings.msg, f"{settings.export}: {folder}")
