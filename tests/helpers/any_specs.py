"""Upstreams of waveforms of every kind, as specs: classes of one's own, experts of S3PRL's interface, Transformers."""

from pathlib import Path

from tests.helpers.huggingface_models import write_model
from tests.oracle.test_s3prl_upstream import EXPERT, HOOKED, INTERFACE, MODEL, weights, write

SPECS = {  # samples from one frame to the next
    "own20": 320,
    "own40": 640,
    "expert": 320,
    "s3prl": 320,
    "hf": 320,
}


def make_spec(name: str, root: Path) -> str:
    """The spec of an upstream, whose files are written below `root`."""
    own = {"own20": "Own", "own40": "OwnSlow"}
    if name in own:
        return f"tests.helpers.waveform_upstreams:{own[name]}"
    if name == "expert":
        return f"s3prl:{write(root / 'made_up', expert=EXPERT, model=MODEL)}"
    if name == "hf":
        return f"hf:{write_model(root / 'hubert', 'hubert')}"
    package = write(root / "s3prl_like", __init__="")
    upper = write(package / "upstream", __init__="", interfaces=INTERFACE)
    hubconf = "from .expert import UpstreamExpert as _UpstreamExpert\n"
    hubconf += "def net_local(ckpt, *args, **kwargs):\n    return _UpstreamExpert(ckpt, *args, **kwargs)\n"
    folder = write(upper / "net", __init__="", hubconf=hubconf, expert=HOOKED, model=MODEL)
    return f"s3prl:{folder}:{weights(root / 'net.pt', 1)}"
