"""A folder of S3PRL's or torch.hub's form: its code under a private name, and the entry that makes its expert."""

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from mockingjay.upstreams.users_code import made

Entry = Callable[..., Any]
CLASS = "UpstreamExpert"
FILES = ("hubconf.py", "expert.py", "__init__.py")  # where an entry is looked for, the first that is there


def find_entry(folder: Path, name: str) -> Entry:
    """The function or class of the folder that makes an expert: `name`, or the only one.

    It stands in hubconf.py, a name without an underscore in front, or is `UpstreamExpert` of expert.py or of the
    package itself. The code of the folder is run, inside `importable`. ValueError says which entries there are."""
    file = next((file for file in FILES if (folder / file).is_file()), None)
    if file is None:
        there = "has neither hubconf.py nor expert.py" if folder.is_dir() else "is no folder"
        raise ValueError(f"upstream s3prl:{folder}: {folder} {there}: s3prl: takes a folder of S3PRL's form")
    where = folder / file
    module = made(lambda: _imported(folder, where), f"upstream s3prl:{folder}: {where} could not be imported")
    every = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    if file != "hubconf.py":
        every = {CLASS: every[CLASS]} if CLASS in every else {}
    if not every:
        wanted = "no function that makes an expert" if file == "hubconf.py" else f"no class {CLASS}"
        raise ValueError(f"upstream s3prl:{folder}: {where} has {wanted}")
    entries = {name: value for name, value in every.items() if _is_of(value, folder)} or every
    names = ", ".join(entries)
    if name:
        if name not in every:
            raise ValueError(f"upstream s3prl:{folder}: {where} has no entry {name}, but {names}")
        return every[name]
    if len({id(entry) for entry in entries.values()}) > 1:
        raise ValueError(
            f"upstream s3prl:{folder}: {where} has the entries {names}: say which, s3prl:{folder}:{next(iter(entries))}"
        )
    return next(iter(entries.values()))


def _is_of(value: object, folder: Path) -> bool:
    """Whether it was made in the folder, not imported there from elsewhere."""
    if isinstance(value, functools.partial):
        return True
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let the folder's modules be imported by their plain names in the block too, as torch.hub does; afterwards they
    are forgotten, or the next folder's `import model` would get this one's."""
    before, paths = set(sys.modules), [str(folder)]
    if len(levels := _levels(folder)) > 1:
        paths.append(str(levels[0].parent))
    sys.path[:0] = paths
    try:
        yield
    finally:
        for path in paths:
            with suppress(ValueError):  # the folder's code has removed it
                sys.path.remove(path)
        for name in set(sys.modules) - before:
            top, file = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
            plain = (folder / top).is_dir() or (folder / f"{top}.py").is_file()
            if plain and file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _levels(folder: Path) -> list[Path]:
    """The folder behind those packages that it lies in, the outermost first."""
    levels = [folder]
    while (levels[0].parent / "__init__.py").is_file():
        levels.insert(0, levels[0].parent)
    return levels


def _imported(folder: Path, file: Path) -> ModuleType:
    """The module `file` of the folder. The folder is a package of a private name, below those that it lies in, so that
    `from .model import` and `from ..interfaces import` work and two folders never meet in `sys.modules`."""
    name = f"_expert_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    for loaded in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[loaded]  # the folder may have changed since
    for number, level in enumerate(_levels(folder)):
        name = f"{name}.{level.name}" if number else name
        _add_package(name, level, run=level == folder)
    return sys.modules[name] if file.name == "__init__.py" else importlib.import_module(f"{name}.{file.stem}")


def _add_package(name: str, folder: Path, run: bool) -> None:
    init = folder / "__init__.py"
    if run and init.is_file():
        spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    else:  # those around it only say where it is: S3PRL's own import more than is installed
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None, "a file's or a package's"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    if spec.loader is not None:
        spec.loader.exec_module(module)
