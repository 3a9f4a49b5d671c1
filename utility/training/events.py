"""TensorBoard's event files, written at once: a full disk is an error where it happens, not in another thread."""

import io
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import audio, scalar, text

from utility.files import naming

PREFIX = "events.out.tfevents"  # by which TensorBoard knows the files
GROUPS = {  # the titles of TensorBoard's page, and which names of metrics.jsonl stand below them: the first that fits
    "loss": r"(dev_)?loss",
    "rate": r"lr",
    "speed": r"frames_per_s|data_wait_share|seconds",
    "codes": r"dev_(codes|predicted)_.*",
    "dev": r"dev_.*",
    "solver": r"l2|gradient|gap|passes",
    "train": r".*",
}


def tag(name: str, group: str | None = None) -> str:
    """What TensorBoard calls a figure: its name below the title of its group, as `loss/dev_loss`."""
    return f"{group or next(title for title, names in GROUPS.items() if re.fullmatch(names, name))}/{name}"


class EventFile:
    """An event file of a run, for `tensorboard --logdir`; the first that is added to it makes it, and its folder.

    It begins with `texts`, by name. Those stand at the step after `start`, where the run goes on from; what earlier
    files say of that step and later ones is not shown. Without a `start` it adds to what is there."""

    def __init__(self, directory: Path, start: int | None = None, texts: Mapping[str, str] | None = None):
        stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"  # TensorBoard reads them in this order
        self.path, self.start, self.texts = directory / f"{PREFIX}.{stamp}", start, dict(texts or {})

    def add(self, step: int, *summaries: Summary) -> None:
        """Add what belongs to a step; OSError, with the file's name, when the system takes no more."""
        events = [] if self.path.exists() else self._first()
        events += [Event(wall_time=time.time(), step=step, summary=summary) for summary in summaries]
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"".join(_record(event.SerializeToString()) for event in events))

    def _first(self) -> list[Event]:
        now, step = time.time(), (self.start or 0) + 1
        events = [Event(wall_time=now, file_version="brain.Event:2")]
        if self.start is not None:
            session = SessionLog(status=SessionLog.START)
            events.append(Event(wall_time=now, step=step if self.start else 0, session_log=session))
        return events + [Event(wall_time=now, step=step, summary=_text(*item)) for item in self.texts.items()]


class Board:
    """What a run shows on TensorBoard's page; without a `directory`, nothing.

    When nothing more can be written a line says so, and what goes on without it."""

    def __init__(
        self,
        directory: Path | None,
        start: int | None = None,
        texts: Mapping[str, str] | None = None,
        goes_on: str = "training goes on, metrics.jsonl has the figures",
    ):
        self.file = None if directory is None else EventFile(directory, start, texts)
        self.goes_on = goes_on

    def scalars(self, step: int, values: Mapping[str, float], group: str | None = None) -> None:
        """Add numbers."""
        self._add(step, *(scalar(tag(name, group), value) for name, value in values.items()))

    def figure(self, step: int, name: str, figure: Figure, group: str) -> None:
        """Add a picture."""
        if self.file is not None:
            drawn = io.BytesIO()
            figure.savefig(drawn, format="png")
            self.picture(step, name, drawn.getvalue(), group)

    def picture(self, step: int, name: str, png: bytes, group: str) -> None:
        """Add a picture that is drawn already."""
        width, height = struct.unpack(">II", png[16:24])  # of the header
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self._add(step, Summary(value=[Summary.Value(tag=tag(name, group), image=image)]))

    def sound(self, step: int, name: str, samples: np.ndarray, sample_rate: int, group: str) -> None:
        """Add a waveform [N]; what is beyond full scale, 1, is clipped."""
        self._add(step, audio(tag(name, group), samples.clip(-1, 1), sample_rate))

    def _add(self, step: int, *summaries: Summary) -> None:
        try:
            if self.file is not None:
                self.file.add(step, *summaries)
        except OSError as error:
            self.file = None
            what = f"nothing more for TensorBoard; {self.goes_on}"
            print(f"warning: {error.filename}: {error.strerror}: {what}", file=sys.stderr)


def _text(name: str, content: str) -> Summary:
    """A text as it stands, in a fenced block."""
    summary = text(name, f"```\n{content.rstrip()}\n```")
    (value,) = summary.value
    value.tag = tag(name, "run")
    value.tensor.tensor_shape.Clear()  # one text, not a table with one cell
    return summary


def _record(data: bytes) -> bytes:
    """Data as a TFRecord: its length, the length's checksum, the data, their checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
