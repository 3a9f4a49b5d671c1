"""Tiny models of Transformers with random weights, saved as folders; nothing is downloaded."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "layerdrop": 0.5,
    "initializer_range": 0.1,
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
DATA2VEC = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2", {}),
    "wav2vec2_stable": ("Wav2Vec2", STABLE),
    "hubert": ("Hubert", {}),
    "hubert_stable": ("Hubert", STABLE),
    "wavlm": ("WavLM", {"num_buckets": 32, "max_bucket_distance": 80}),
    "wavlm_stable": ("WavLM", STABLE | {"num_buckets": 32, "max_bucket_distance": 80}),
    "data2vec": ("Data2VecAudio", DATA2VEC),
    "unispeech_sat": ("UniSpeechSat", {}),
}


def write_model(folder: Path, name: str, normalise: bool = False, seed: int = 0, head: str = "Model", **more) -> Path:
    """A model of `MODELS` with random weights, and how its input is made."""
    import transformers

    family, settings = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**(SMALL | settings | more))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}{head}")(config)
        for weight in model.parameters():  # biases and norms are zeros and ones when they are new
            if weight.ndim == 1:
                weight.data += 0.1 * torch.randn_like(weight)
    model.save_pretrained(folder)
    write_preprocessor(folder, do_normalize=normalise)
    return folder


def write_preprocessor(folder: Path, **values: Any) -> None:
    """A preprocessor_config.json as Transformers writes it."""
    about = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": 16000, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))


def waveforms(*counts: int) -> list[Tensor]:
    """Noise of so many samples, not of zero mean."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, generator=generator) * 0.1 + 0.02 for count in counts]


@torch.no_grad()
def direct_states(folder: Path, wave: Tensor) -> dict[str, Tensor]:
    """What Transformers itself gives for one utterance alone: the states of all labels that it names, [T, width]."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    inputs = extractor(wave.numpy(), sampling_rate=extractor.sampling_rate, return_tensors="pt").input_values
    states: dict[str, Tensor] = {}
    for k, part in enumerate(model.feature_extractor.conv_layers, 1):
        part.register_forward_hook(lambda module, x, y, k=k: states.update({f"C{k}": y[0].T}))
    if len(wave) < 400:  # it fails at the last convolution
        with contextlib.suppress(RuntimeError):
            model(inputs)
        return states
    given = model(inputs, output_hidden_states=True)
    projected = model.feature_projection(model.feature_extractor(inputs).transpose(1, 2))
    states["P"] = (projected if isinstance(projected, Tensor) else projected[0])[0]
    count = len(given.hidden_states)
    last = given.hidden_states[-1][0]
    if model.config.do_stable_layer_norm if hasattr(model.config, "do_stable_layer_norm") else False:
        states["final"] = given.last_hidden_state[0]
        if torch.equal(last, given.last_hidden_state[0]):  # releases before 5: the last one is behind the norm
            kept: list[Tensor] = []
            handle = model.encoder.layers[-1].register_forward_hook(
                lambda module, x, y: kept.append(y if isinstance(y, Tensor) else y[0])
            )
            model(inputs)
            handle.remove()
            last = kept[0][0]
    states |= {f"T{k}": state[0] for k, state in enumerate(given.hidden_states)} | {f"T{count - 1}": last}
    return states


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Transformers asks no server, and shows no bars, during the block."""
    import transformers

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        transformers.utils.logging.disable_progress_bar()
        yield
