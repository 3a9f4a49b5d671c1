"""TensorBoard's event files, written at once: a full disk is an error where it happens, not in another thread."""

import os
import socket
import struct
import time
from pathlib import Path

from matplotlib.figure import Figure
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import image, scalar
from tensorboardX.utils import figure_to_image

from utility.files import naming


class EventFile:
    """An event file of a run, for `tensorboard --logdir`; it is made when the first figure comes.

    `purge_step`: what earlier files say of this step and later ones is not shown. Every call raises OSError, with the
    file's name, when the system takes no more."""

    def __init__(self, directory: Path, purge_step: int | None = None):
        stamp = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self.path, self.purge_step = directory / f"events.out.tfevents.{stamp}", purge_step

    def scalar(self, step: int, name: str, value: float) -> None:
        """Add a number."""
        self._add(step, scalar(name, value))

    def figure(self, step: int, name: str, figure: Figure) -> None:
        """Add a picture."""
        self._add(step, image(name, figure_to_image(figure), dataformats="CHW"))

    def _add(self, step: int, summary: Summary) -> None:
        events = [Event(wall_time=time.time(), step=step, summary=summary)]
        if not self.path.exists():
            if self.purge_step is not None:
                session = SessionLog(status=SessionLog.START)
                events.insert(0, Event(wall_time=time.time(), step=self.purge_step, session_log=session))
            events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
        with naming(self.path), self.path.open("ab") as file:
            file.write(b"".join(_record(event.SerializeToString()) for event in events))


def _record(data: bytes) -> bytes:
    """Data as a TFRecord: its length, the length's checksum, the data, their checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
