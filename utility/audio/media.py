"""The sound of files that libsndfile does not read (m4a, mp4, webm ...), decoded by the program ffmpeg.

Not by audioread: that gives 16 bits, and takes what ffmpeg could not read to its end for a shorter recording."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from utility.audio.containers import HeaderError
from utility.audio.extensions import FFMPEG, which

OPTIONS = ("-nostdin", "-v", "error", "-xerror", "-threads", "1", "-protocol_whitelist", "file,pipe")
AS_WAV = ("-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1")


@contextlib.contextmanager
def decoded(path: Path) -> Iterator[IO[bytes]]:
    """The first sound of a file as a temporary wav file of floats; HeaderError where ffmpeg cannot read all of it."""
    program = which(FFMPEG)
    if program is None:
        raise HeaderError(f"{path.suffix} is read by ffmpeg, which is not here: install it, or convert the file")
    with tempfile.TemporaryFile() as file:
        command = [program, *OPTIONS, "-i", f"file:{path.absolute()}", *AS_WAV]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {done.returncode}")
            raise HeaderError(f"ffmpeg cannot read it: {said[:100]}")
        file.seek(0)
        yield file
