"""The curves of several analyses in one result, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.figures.draw import write_figures
from analysis.report_join import join
from commands.analyse import ROOM
from commands.common import ELSEWHERE
from utility.flags import AUTO
from utility.locks import LOCK, folder_below, held
from utility.runs import read_json, write_json

RESULT = "result.json"


def join_analyses(places: Sequence[Path], expdir: Path, name: str | None) -> int:
    """Write one result of all runs, and its figures, into a folder of its own."""
    files = [place / RESULT if place.is_dir() else place for place in places]
    for place, file in zip(places, files):
        if not file.is_file():
            raise ValueError(f"--plot {place}: no {RESULT} of a run there: name folders that run_analysis.py wrote")
    runs = [file.parent.name if file.name == RESULT else file.stem for file in files]
    names = [run if runs.count(run) == 1 else str(file.parent) for run, file in zip(runs, files)]
    if len(set(names)) != len(names):
        raise ValueError(f"--plot names {max(names, key=names.count)} twice")
    content = join({run: _read(file) for run, file in zip(names, files)})
    directory = folder_below(expdir / ROOM, name, AUTO if name else None)
    if directory.is_dir() and any(path.name != LOCK for path in directory.iterdir()):
        raise ValueError(f"{directory} holds a run already: choose another --name")
    with held(directory, ELSEWHERE):
        written = write_figures(content, directory)
        write_json(directory / RESULT, content)
    print(f"{len(written)} figures of {len(names)} runs; {directory}/{RESULT}")
    return 0


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except ValueError:
        raise ValueError(f"--plot {file}: damaged, no JSON: go on with that run (--resume), which writes it") from None
