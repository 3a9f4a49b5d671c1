"""`hubconf.py` of a folder that `--export s3prl` wrote: its entries for torch.hub and for S3PRL."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

dependencies = ["torch", "numpy", "scipy", "numba", "threadpoolctl", "pydantic", "safetensors"]


def mockingjay_local(ckpt: Path | str | None = None, *args, **kwargs):
    """The pre-trained upstream of the exported folder `ckpt`, or else of this one, as an `UpstreamExpert`."""
    return _package("expert").UpstreamExpert(ckpt, *args, **kwargs)


def _package(module: str) -> ModuleType:
    """A module of this folder, imported as a part of a package however this file itself was loaded."""
    folder = Path(__file__).resolve().parent
    name = f"mockingjay_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        locations = [str(folder)]
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=locations
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return importlib.import_module(f"{name}.{module}")
