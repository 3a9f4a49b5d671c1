"""Finding recordings on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph", ".aif", ".aiff", ".au")


def audio_files(root: Path, extensions: Sequence[str] = AUDIO_EXTENSIONS) -> list[str]:
    """Paths below `root`, with forward slashes, sorted; hidden files and folders left out, links followed."""
    endings = tuple(extension.lower() for extension in extensions)
    found = []
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(root)
        found += [(below / n).as_posix() for n in files if n.lower().endswith(endings) and not n.startswith(".")]
    for path in found:
        if path != path.encode(errors="replace").decode():
            raise ValueError(f"{root}: file name {path!r} is not UTF-8: rename it")
    return sorted(found)
