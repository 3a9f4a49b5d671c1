"""Upstreams of every kind that something is wrong with: folders of Transformers and of S3PRL, modules of one's own."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.helpers.speech import write_originals, write_store

PREPROCESSOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True}
SMALL = {
    "model_type": "hubert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "conv_dim": [4, 4],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 4],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
EXPERT = """
import torch
class _Expert(torch.nn.Module):
    stride = 320
    def forward(self, wavs):
        frames = [len(wav) // 320 for wav in wavs]
        return {"hidden_states": [torch.zeros(len(wavs), max(frames), 4)]}
    def get_downsample_rates(self, key):
        return self.stride
"""
ENTRIES = {
    "several": "def one(): return _Expert()\ndef two(): return _Expert()\n",
    "rateless": "del _Expert.get_downsample_rates\ndef expert(): return _Expert()\n",
    "plain": "def expert(): return 3\n",
    "frames": "_Expert.stride = 100\ndef expert(): return _Expert()\n",
    "failing": "def expert(): raise RuntimeError('no such thing')\n",
}


class Sound(nn.Module):
    """It states something else to take than features or waveforms."""

    takes, out_dim = "sound", 4


class NoRate(nn.Module):
    """It takes waveforms of which it does not say the rate."""

    takes, out_dim, downsample_rate = "waveform", 4, 160


class Waves(nn.Module):
    """It takes waveforms, as it should."""

    takes, sample_rate, downsample_rate, out_dim = "waveform", 16000, 160, 2

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, 2, 400, 160)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.convolution(waveforms[:, None]).transpose(1, 2)


class Silence(Waves):
    """Its states are not finite."""

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return super().forward(waveforms) / 0.0


class NotFinite(nn.Module):
    """It takes features, and its states are not finite."""

    out_dim = 80

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features / 0.0


def build_upstreams(root: Path) -> None:
    """Fill `root` with folders of models, and stores whose recordings are nowhere."""
    _folders(root / "models")
    for name, entry in ENTRIES.items():
        (root / "experts" / name).mkdir(parents=True)
        (root / "experts" / name / "hubconf.py").write_text(EXPERT + entry)
    write_originals(root / "data/npy/train", {"1-2-3": np.zeros((5, 80), np.float32)})
    write_store(root / "data/again_mel/train", {"x": 20})
    torch.save({"other": torch.zeros(3)}, root / "ckpt/other.pt")
    (root / "online_fbank.yaml").write_text("online: {input: {kind: fbank, deltas: 0}}\n")
    (root / "noisy.yaml").write_text("online: {noise_proportion: 0.5}\n")


def _folders(models: Path) -> None:
    made = {
        "unweighted": SMALL,
        "text": {"model_type": "bert", "hidden_size": 8},
        "unknown": {"model_type": "hubret"},
        "coded": {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}},
        "unprepared": SMALL,
        "damaged": SMALL,
        "rateless": SMALL,
    }
    for name, config in made.items():
        (models / name).mkdir(parents=True)
        (models / name / "config.json").write_text(json.dumps(config))
        if name != "unprepared":
            (models / name / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (models / "rateless/preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, "sampling_rate": "high"}))
    for name in ("damaged", "unprepared", "text", "coded", "unknown", "rateless"):
        (models / name / "model.safetensors").write_bytes(b"nothing")
    (models / "broken").mkdir()
    (models / "broken/config.json").write_text('{"model_type": ')
    (models / "bare").mkdir()
