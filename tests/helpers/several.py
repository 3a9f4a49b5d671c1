"""Several processes of one run, as torchrun starts them, but forked from one that has everything imported."""

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.campaign.child import be_script
from tests.campaign.zygote import GIB, PROJECT, Zygote


class End(NamedTuple):
    """How a process ended; `code` is -N for signal N."""

    code: int
    stdout: str
    stderr: str


def ranks_of(warm: Zygote, world: int, *argv: str) -> list[End]:
    """How each process ended of a run of the script `argv[0]` by so many."""
    told = ["tests/helpers/several.py", str(world), *argv]
    outcome = warm.run(told, PROJECT, timeout=200, memory=8 * GIB, environment=environment(world))
    assert outcome.code == 0, outcome.stderr
    return [End(*end) for end in json.loads(outcome.stdout)]


def environment(world: int) -> dict[str, str]:
    """What torchrun tells each of so many processes on one machine, but its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def main() -> None:
    """Fork the processes, wait for them, and print as JSON how they ended."""
    world, *argv = sys.argv[1:]
    folder = Path(tempfile.mkdtemp())  # an object that cleans up would be forked, too
    places = [folder / str(rank) for rank in range(int(world))]
    started = [_started(rank, argv, place) for rank, place in enumerate(places)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    texts = [[(place / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")] for place in places]
    shutil.rmtree(folder)
    print(json.dumps([End(code, *text) for code, text in zip(codes, texts)]))


def _started(rank: int, argv: list[str], place: Path) -> int:
    place.mkdir()
    pid = os.fork()
    if pid == 0:
        be_script(argv, place, lambda: os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank)))
    return pid


if __name__ == "__main__":
    main()
