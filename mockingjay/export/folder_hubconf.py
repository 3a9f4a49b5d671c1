"""`hubconf.py` of a folder that `--export s3prl` wrote: one entry for torch.hub and for S3PRL.

S3PRL takes every name here without an underscore for an upstream of its own list. So only the entry has none; its line
is added by the export, under a name that no other upstream has."""

import hashlib as _hashlib
import importlib.util as _util
import sys as _sys
from importlib import import_module as _import_module
from pathlib import Path as _Path
from types import ModuleType as _ModuleType


def _entry(ckpt: _Path | str | None = None, *args, **kwargs):
    """The pre-trained upstream of the exported folder `ckpt`, or else of this one, as an `UpstreamExpert`."""
    return _package("expert").UpstreamExpert(ckpt, *args, **kwargs)


def _package(module: str) -> _ModuleType:
    """A module of this folder, imported as a part of a package however this file itself was loaded."""
    folder = _Path(__file__).resolve().parent
    name = f"mockingjay_{_hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in _sys.modules:
        locations = [str(folder)]
        spec = _util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=locations)
        assert spec is not None
        assert spec.loader is not None
        _sys.modules[name] = _util.module_from_spec(spec)
        spec.loader.exec_module(_sys.modules[name])
    return _import_module(f"{name}.{module}")
