"""The flags of curves, typed or in the section `curve` of a file; it loads nothing heavy before there is one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utility.flags import Command

KEYS = {"each": "each", "upstream": "upstreams", "seeds": "seeds"}  # flag -> key of the section


def with_curve(command: Command) -> Mapping[str, Any]:
    """The values of the flags, and of those that are not typed what the section `curve` of --config says; `each` is one
    word, or None.

    Raises ValueError for two keys of a curve, and for several upstreams without one."""
    for word in command.overrides:
        if word.startswith("curve."):
            raise ValueError(f"{word}: type --each, --upstream or --seeds; the section curve is of files alone")
    file, values = command.values["config"], dict(command.values)
    section = {} if file is None else _section(file)
    for flag, key in KEYS.items():
        if section.get(key) and flag not in command.typed:
            values[flag] = [section[key]] if flag == "each" else section[key]
    if "ckpt" in command.typed and section.get("upstreams") and "upstream" not in command.typed:
        raise ValueError(f"--ckpt {values['ckpt']}: {file} lists upstreams (curve.upstreams): type --upstream too")
    each, upstreams = values["each"], values["upstream"]
    if len(each) > 1:
        raise ValueError(f"--each {each[1]}: a curve is over one key, {each[0]} is there already")
    if not each and len(upstreams) > 1:
        named = " and ".join(upstreams[:2])
        raise ValueError(f"--upstream {named}: several are for a curve (--each); run each of them by itself")
    return {**values, "each": each[0] if each else None}


def _section(file: Path) -> Mapping[str, Any]:
    """The section `curve` of a YAML."""
    from utility.config import as_dict, build, read_yaml

    values = read_yaml(file)
    if "curve" not in values:
        return {}
    from downstream.config import ConfigFile

    try:
        return as_dict(build(ConfigFile, {"curve": values["curve"]}))["curve"]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
