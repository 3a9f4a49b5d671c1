"""Which checkpoint a run's name means, and what to type where there is none; it loads nothing heavy."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from utility.flags import DEFAULT_SEED

DEFAULT_CONFIG = Path("config/mockingjay_libri.yaml")
DEFAULT_PROBING_CONFIG = Path("config/downstream.yaml")
CKPDIR = Path("result/result_mockingjay")
LOGDIR, PROBING_LOGDIR = Path("log/log_mockingjay"), Path("log/log_downstream")
EXPORTED = "model.safetensors"  # what a folder of --export holds
STEP = re.compile(r"mockingjay-(\d+)\.ckpt")
RUN_AND_STEP = re.compile(r"(.+)@(\d+)", re.DOTALL)
RUN_AND_STEPS = re.compile(r"(.+)@(\d+(?:,\d+)+)", re.DOTALL)
SHOWN = 5


def run_name(config: Path | None, name: str | None, seed: int | None) -> str:
    """The name of the run that `--train` makes with these flags."""
    return name or f"{(config or DEFAULT_CONFIG).stem}_sd{DEFAULT_SEED if seed is None else seed}"


def find_checkpoint(path: Path, ckpdir: Path = CKPDIR, flag: str = "--ckpt") -> Path:
    """`path` as a file or a folder of `--export`, or as a run's folder its best.ckpt; itself or below `ckpdir`.

    `RUN@STEP` is the checkpoint of that step in a run's folder. A run without a dev set has no best.ckpt: its newest
    checkpoint is taken. Raises ValueError where there is none."""
    candidates = [path] if path.is_absolute() else [path, ckpdir / path]
    for candidate in candidates:
        checkpoint = checkpoint_in(candidate) if candidate.is_dir() else candidate if candidate.is_file() else None
        if checkpoint is not None:
            return checkpoint
    if (at_step := RUN_AND_STEP.fullmatch(str(path))) is not None:
        return _at_step(Path(at_step[1]), int(at_step[2]), ckpdir, flag)
    folder = next((candidate for candidate in candidates if candidate.is_dir()), None)
    if folder is not None:
        raise ValueError(f"{flag} {path}: the folder {folder} holds no checkpoint{_known(ckpdir)}")
    below = f", nor does {candidates[1]}" if len(candidates) > 1 else ""
    raise ValueError(f"{flag} {path} does not exist{below}{_known(ckpdir)}")


def _at_step(run: Path, step: int, ckpdir: Path, flag: str) -> Path:
    for folder in [run] if run.is_absolute() else [run, ckpdir / run]:
        if (folder / f"mockingjay-{step}.ckpt").is_file():
            return folder / f"mockingjay-{step}.ckpt"
        steps = sorted(int(match[1]) for path in folder.glob("*.ckpt") if (match := STEP.fullmatch(path.name)))
        if steps:
            raise ValueError(f"{flag} {run}@{step}: {folder} has no checkpoint of that step, but of {listed(steps)}")
    raise ValueError(f"{flag} {run}@{step}: there is no such run, here or below {ckpdir}{_known(ckpdir)}")


def listed(values: Sequence[object]) -> str:
    """Some of the values, for a message."""
    return ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")


def checkpoint_in(folder: Path) -> Path | None:
    """The best checkpoint in a run's folder, or the folder itself where `--export` wrote it."""
    if (folder / "best.ckpt").is_file():
        return folder / "best.ckpt"
    if (folder / EXPORTED).is_file():
        return folder
    steps = [(int(match[1]), path) for path in folder.glob("*.ckpt") if (match := STEP.fullmatch(path.name))]
    return max(steps)[1] if steps else None


def chosen_checkpoint(ckpt: Path | None, config: Path | None, name: str | None, seed: int | None, ckpdir: Path) -> Path:
    """`ckpt`, or without it the best checkpoint of the run that the other flags name; ValueError says what to type."""
    given = {"--config": config, "--name": name, "--seed": seed}
    given = {flag: value for flag, value in given.items() if value is not None}
    if ckpt is not None:
        if given:
            flag = next(iter(given))
            raise ValueError(f"--ckpt {ckpt} brings its own config: {flag} belongs to --train, or names a run instead")
        return find_checkpoint(ckpt, ckpdir)
    folder = ckpdir / run_name(config, name, seed)
    checkpoint = checkpoint_in(folder) if folder.is_dir() else None
    if checkpoint is None:
        words = [f"{flag} {value}" for flag, value in given.items()]
        if ckpdir != CKPDIR:
            words.append(f"--ckpdir {ckpdir}")
        command = " ".join(["runner_mockingjay.py --train", *words])
        raise ValueError(
            f"{folder} holds no checkpoint: train it by {command}, or name another by --ckpt{_known(ckpdir)}"
        )
    return checkpoint


def _known(ckpdir: Path) -> str:
    """The runs that are there, for a message."""
    runs = sorted(_runs(ckpdir))
    if not runs:
        return ""
    return f"; {ckpdir} has {listed(runs)}"


def _runs(ckpdir: Path) -> Iterable[str]:
    if not ckpdir.is_dir():
        return ()
    return (folder.name for folder in ckpdir.iterdir() if folder.is_dir() and checkpoint_in(folder) is not None)
