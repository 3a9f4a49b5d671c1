"""How much memory this process has taken."""

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

STATUS = Path("/proc/self/status")


def peak_memory_mib() -> float:
    """The largest resident memory so far, MiB.

    On Linux it is the kernel's figure of this program. That of getrusage is never below the memory of the process
    that started it, so it shows nothing where a large one did."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return getrusage(RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1024)
