"""What a folder holds."""

from pathlib import Path

# Of the project, beside its runners: what its commands need in the folder that they are run in.
LINKED = ("config", "preprocess", "utility", "mockingjay", "downstream", "analysis", "originals", "commands")
LINKED += ("examples", "report", "hubconf.py", "docs")


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root` with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


class Watched:
    """A folder that is looked at again and again: a file is read anew only where its name, size or times changed."""

    def __init__(self, root: Path):
        self.root = root
        self.read: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def state(self) -> dict[str, bytes | None]:
        """Every folder (None), and every file with its bytes; what Python compiles of code that is run is its own."""
        found: dict[str, bytes | None] = {}
        for path in self.root.rglob("*"):
            if "__pycache__" in path.parts:
                continue
            name = str(path.relative_to(self.root))
            found[name] = self._bytes(name, path) if path.is_file() else None
        return found

    def _bytes(self, name: str, path: Path) -> bytes:
        stat = path.stat()
        mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if self.read.get(name, (None,))[0] != mark:
            self.read[name] = (mark, path.read_bytes())
        return self.read[name][1]
