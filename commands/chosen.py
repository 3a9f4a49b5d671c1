"""Which upstream the flags name; it loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mockingjay.foreign.assumptions import in_words
from mockingjay.runs import find_checkpoint
from mockingjay.upstreams.spec import NAMED, WORDS, UpstreamSpec


def named_upstream(values: Mapping[str, Any], typed: Mapping[str, str]) -> UpstreamSpec | None:
    """The upstream of `--upstream` and `--ckpt`, its checkpoint found; None where they leave it to the other flags.

    A word without a source, as `random`, takes that of `--ckpt`. Raises ValueError for flags that say the same twice,
    or that this upstream would not use."""
    text, ckpt, ckpdir = values["upstream"], values["ckpt"], values["ckpdir"]
    if text is None:
        return None
    spec = UpstreamSpec.parse(text)
    if ckpt is not None:
        if spec.source or not spec.of_checkpoint:
            raise ValueError(f"--upstream {text} takes no checkpoint beside it: leave --ckpt {ckpt} out")
        spec = replace(spec, source=str(find_checkpoint(ckpt, ckpdir)))
    elif not spec.source and spec.kind in ("pretrained", "pretrained_head"):
        return None
    elif not spec.source and spec.of_checkpoint:
        raise ValueError(f"--upstream {text} needs a file: say {text}:FILE, or add --ckpt FILE")
    else:
        spec = spec.located(ckpdir)
    _check_unused(text, spec, values, typed)
    return spec


def _check_unused(text: str, spec: UpstreamSpec, values: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Raise ValueError for a flag that this upstream would not use."""
    if not spec.of_checkpoint:
        for name in ("ckpdir", "assume"):
            if name in typed:
                given = in_words(values[name]) if name == "assume" else values[name]
                raise ValueError(f"--upstream {text} takes no checkpoint of ours: leave {typed[name]} {given} out")
    if "seed" in typed and not draws_weights(spec):
        raise ValueError(f"--upstream {text} draws no weights: leave {typed['seed']} {values['seed']} out")


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
