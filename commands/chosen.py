"""Which upstream, and which run, the flags name; it loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mockingjay.foreign.assumptions import in_words
from mockingjay.runs import find_checkpoint
from mockingjay.upstreams.spec import GRAMMAR, NAMED, WORDS, UpstreamSpec
from utility.flags import AUTO


def named_upstream(values: Mapping[str, Any], typed: Mapping[str, str]) -> UpstreamSpec | None:
    """The upstream of `--upstream` and `--ckpt`, its checkpoint found; None where they leave it to the other flags.

    A word without a source, as `random`, takes that of `--ckpt`. Raises ValueError for flags that say the same twice,
    or that this upstream would not use."""
    spec, ckpt, ckpdir = UpstreamSpec.parse(values["upstream"] or "pretrained"), values["ckpt"], values["ckpdir"]
    if not spec.of_checkpoint or (spec.source and ckpt is not None):
        for name in ("ckpt",) if spec.of_checkpoint else ("ckpt", "ckpdir", "assume"):
            if name in typed:
                given = in_words(values[name]) if name == "assume" else values[name]
                why = "names its checkpoint" if spec.of_checkpoint else "takes no checkpoint"
                raise ValueError(f"--upstream {spec} {why}, got {typed[name]} {given}: leave it out")
    if spec.source or not spec.of_checkpoint:
        return spec.located(ckpdir)
    if ckpt is not None:
        return replace(spec, source=str(find_checkpoint(ckpt, ckpdir)))
    if spec.word != "pretrained":
        raise ValueError(f"--upstream {spec} needs --ckpt: a file, or the name of a run below {ckpdir}")
    return None


def clustered_upstream(mode: str, values: Mapping[str, Any], typed: Mapping[str, str]) -> UpstreamSpec | None:
    """The upstream whose states are clustered; None where the frames themselves are, or where centroids say it.

    Raises ValueError for flags that go with an upstream alone, and where `--cluster` is not told how many."""
    if mode == "--cluster" and values["clusters"] is None:
        raise ValueError("--cluster needs --clusters, as 100, or --apply with centroids that are there")
    if values["upstream"] is None:
        for name in ("ckpdir", "assume"):
            if name in typed:
                raise ValueError(f"{mode} would not use {typed[name]} without --upstream: leave it out")
        return None
    spec = named_upstream(values, typed)
    if spec is None:
        raise ValueError(f"--upstream {values['upstream']} names no checkpoint: expected {GRAMMAR}")
    return spec


def check_resume(values: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Raise ValueError where `--resume DIR` names a run's folder, and other flags do too."""
    for name in ("name", "expdir"):
        if values["resume"] not in (None, "", AUTO) and name in typed:
            raise ValueError(f"--resume {values['resume']} names the run's folder: leave {typed[name]} out")


def draws_weights(spec: UpstreamSpec) -> bool:
    """Whether the seed changes the upstream."""
    return spec.fresh or (spec.kind in ("own", "s3prl") and not spec.file)


def is_spec(text: str, ckpdir: Path) -> bool:
    """Whether `--info` describes an upstream in words, rather than a checkpoint's file or run."""
    if (Path(text).exists() and Path(text).name) or (ckpdir / text).exists():
        return False
    named = NAMED.fullmatch(text)
    rest = named[2] if named else text
    return ":" in rest or rest in WORDS
