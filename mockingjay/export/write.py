"""A pre-trained model as a folder for Transformers, for S3PRL, or for anything that reads safetensors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mockingjay.checkpoint import Pretrained
from mockingjay.export.portable import portable
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.config import as_dict
from utility.files import check_folder, remove_leftovers, replacing
from utility.training.folder import FORMAT, to_json, write_folder

MODELING = "modeling_mockingjay"
HF_README = """\
# Speech representations

```python
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained(FOLDER, trust_remote_code=True)
model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
inputs = extractor([wave_a, wave_b], sampling_rate=extractor.sampling_rate, return_tensors="pt")
states = model(**inputs, output_hidden_states=True).hidden_states  # layers + 1 of [B, T, H], 0 is the embedding
```

Needs torch, transformers (4.57 or 5), numpy, scipy, numba and pydantic. `trust_remote_code` runs the code in this
folder: say it only of a folder whose writer you trust.
"""
S3PRL_README = """\
# Speech representations

```python
import torch

expert = torch.hub.load(FOLDER, "ENTRY", source="local")
states = expert([wave_a, wave_b])["hidden_states"]  # 16 kHz, 1-D; layers + 1 of [B, T, H], 0 is the embedding
samples_per_frame = expert.get_downsample_rates("hidden_states")
```

As an upstream of S3PRL copy this folder to `s3prl/upstream/`; its name there is `ENTRY`, and only this model has it.
Needs torch, numpy, scipy, numba, threadpoolctl, pydantic and safetensors.
"""


def write_export(saved: Pretrained, target: str, folder: Path) -> None:
    """Write a model into `folder` as `target` (a key of TARGETS) wants it.

    Raises ValueError for a model that the target cannot use, OSError where `folder` cannot be written."""
    check_folder(folder)
    remove_leftovers(folder)
    TARGETS[target](saved, folder)


def _safetensors(saved: Pretrained, folder: Path) -> None:
    """The whole model, which this project opens again like a checkpoint."""
    write_folder(folder, saved.model.state_dict(), {"format": FORMAT, **saved.about()})


def _s3prl(saved: Pretrained, folder: Path) -> None:
    """The same, with the code of an `UpstreamExpert` and a `hubconf.py`, whose entry no other model's has."""
    from mockingjay.export.s3prl import WaveformExpert

    upstream = _upstream(saved)
    WaveformExpert(upstream)  # says what S3PRL cannot use
    _safetensors(saved, folder)
    files = portable({"mockingjay.export.s3prl": "expert", "mockingjay.export.folder_hubconf": "hubconf"})
    entry = f"mockingjay_{upstream.fingerprint[:8]}"
    files["hubconf.py"] += f"\n\n{entry} = _entry\n"
    files["README.md"] = S3PRL_README.replace("ENTRY", entry)
    _write(folder, files | {"__init__.py": '"""A pre-trained speech model."""\n'})


def _hf(saved: Pretrained, folder: Path) -> None:
    """The encoder, and the code of its Auto classes."""
    classes = {"AutoConfig": "Config", "AutoModel": "Model", "AutoFeatureExtractor": "FeatureExtractor"}
    classes = {auto: f"{MODELING}.Mockingjay{name}" for auto, name in classes.items()}
    features = saved.features and as_dict(saved.features)
    about: dict[str, Any] = {
        "architectures": ["MockingjayModel"],
        "auto_map": {auto: name for auto, name in classes.items() if auto != "AutoFeatureExtractor"},
        "model_type": "mockingjay",
        "dtype": "float32",
        "pretraining": as_dict(saved.config),
        "features": features,
        "input_dim": saved.model.input_dim,
        "frame_shift": saved.frame_shift,
        "steps": saved.step,
    }
    weights = {f"upstream.{name}": value for name, value in _upstream(saved).state_dict().items()}
    write_folder(folder, weights, about)
    _write(folder, portable({"mockingjay.export.huggingface": MODELING}, all_in=MODELING) | {"README.md": HF_README})
    if saved.features is not None:
        auto = "AutoFeatureExtractor"
        extractor = {
            "auto_map": {auto: classes[auto]},
            "feature_extractor_type": "MockingjayFeatureExtractor",
            "features": features,
            "feature_size": saved.features.dim,
            "sampling_rate": saved.features.sample_rate,
            "padding_value": 0.0,
            "padding_side": "right",
            "return_attention_mask": True,
        }
        _write(folder, {"preprocessor_config.json": to_json(extractor)})


TARGETS: dict[str, Callable[[Pretrained, Path], None]] = {"hf": _hf, "s3prl": _s3prl, "safetensors": _safetensors}


def _upstream(saved: Pretrained) -> PretrainedUpstream:
    return PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
