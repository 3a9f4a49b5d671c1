"""Pre-training by one process of two in which something is wrong: `faulty_rank.py HOW --train ...`."""

import atexit
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

SHORT = 10  # seconds that the processes of a test wait for each other


def main() -> None:
    """Change what the first word says; then be runner_mockingjay.py."""
    import runner_mockingjay
    from utility.command import run
    from utility.training.distributed import Group

    held, leave = [], Group.leave
    Group.leave = lambda self: (held.append(self), leave(self))  # as an object does that nobody has collected yet
    atexit.register(_name_threads)
    FAULTS[sys.argv.pop(1)](int(os.environ["RANK"]))
    run(runner_mockingjay.main)


def _name_threads() -> None:
    """Say what of gloo still runs: when Python ends it may abort it."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm") if path.exists()]
    sys.stderr.write("".join(name for name in names if "gloo" in name))


def _disagree(rank: int) -> None:
    """A file system shows one process what another has removed."""
    from commands import pretrain

    newest = pretrain.newest_checkpoint
    pretrain.newest_checkpoint = lambda folder, stem: folder / f"{stem}-6.ckpt" if rank else newest(folder, stem)


def _stale(rank: int) -> None:
    """The same name, another content."""
    from utility.training.trainer import Trainer

    resume = Trainer.resume

    def changed(self: Trainer, path: Path, content: dict) -> None:
        resume(self, path, content | {"state": content["state"] | {"step": 6 if rank else 8}})

    Trainer.resume = changed


def _told(rank: int) -> None:
    """One process gets a SIGTERM."""
    from utility.training.trainer import Trainer

    mark = Trainer._mark

    def marked(self: Trainer, bar: object) -> None:
        mark(self, bar)
        if rank == 1 and self.progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    Trainer._mark = marked


def _hangs(rank: int) -> None:
    """The first evaluates for longer than others may wait in training; then the second goes no further."""
    from utility.training import distributed
    from utility.training.trainer import Trainer

    distributed.COLLECTIVE_TIMEOUT = timedelta(seconds=SHORT)
    evaluated, update = Trainer._evaluated, Trainer.update

    def slow(self: Trainer) -> dict:
        time.sleep(0 if "trainer.reduce_overlap=true" in sys.argv else 1.4 * SHORT)  # once is enough
        return evaluated(self)

    def hanging(self: Trainer, stream: object) -> None:
        leader = self.run.group.from_leader(os.getpid())
        if rank == 1 and self.progress.step == 8:
            while os.path.exists(f"/proc/{leader}"):
                time.sleep(0.1)
        update(self, stream)

    Trainer._evaluated, Trainer.update = slow, hanging


FAULTS = {"none": lambda rank: None, "disagree": _disagree, "stale": _stale, "told": _told, "hangs": _hangs}

if __name__ == "__main__":
    main()
