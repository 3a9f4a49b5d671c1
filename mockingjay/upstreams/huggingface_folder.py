"""A folder of Transformers, checked before a model is built of it; nothing is downloaded and no code of it runs."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mockingjay.foreign.exported import MODEL_TYPE
from utility.text import cut, one_line, parse_json, read_text, short

CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
EXTRACTOR = "Wav2Vec2FeatureExtractor"
TRAINING_ONLY = ("masked_spec_embed",)  # what SpecAugment writes over frames: checkpoints without it are complete
OF_NO_NUMBER = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "auto_map")
INSTALL = "install it: pip install -r requirements-hf.txt"


@dataclass(frozen=True)
class ModelFolder:
    """What the files of a folder say of its model."""

    path: Path
    config: Mapping[str, Any]  # config.json
    preprocessor: Mapping[str, Any]  # preprocessor_config.json; empty where there is none

    @classmethod
    def read(cls, path: Path | str) -> "ModelFolder":
        """FileNotFoundError where a folder or its config.json is not there, ValueError where a file is damaged."""
        path = Path(path).expanduser()
        if not path.is_dir():
            raise FileNotFoundError(f"upstream hf:{path}: no such folder; nothing is downloaded: name one on this disk")
        if not (path / CONFIG).is_file():
            raise FileNotFoundError(f"upstream hf:{path}: no {CONFIG} in it: name a folder that save_pretrained wrote")
        return cls(path, _read_json(path / CONFIG), _preprocessor(path))

    @property
    def is_ours(self) -> bool:
        """Whether `--export hf` wrote it."""
        return self.config.get("model_type") == MODEL_TYPE

    @property
    def sample_rate(self) -> int:
        """Hz, as preprocessor_config.json says; Transformers' default where that has no such key."""
        rate = self._stated("sampling_rate", 16000)
        if type(rate) is not int or not 0 < rate < 1 << 20:
            raise ValueError(f"{self.path / PREPROCESSOR}: sampling_rate is {short(rate)}, expected Hz")
        return rate

    @property
    def normalise(self) -> bool:
        """Whether a waveform is brought to zero mean and unit variance first; Transformers' default is yes."""
        value = self._stated("do_normalize", True)
        if type(value) is not bool:
            raise ValueError(f"{self.path / PREPROCESSOR}: do_normalize is {short(value)}, expected true or false")
        return value

    def settings(self) -> dict[str, Any]:
        """What of config.json may change a hidden state, whichever release of Transformers reads it."""
        return {key: value for key, value in sorted(self.config.items()) if key not in OF_NO_NUMBER}

    def _stated(self, key: str, default: Any) -> Any:
        if not self.preprocessor:
            raise FileNotFoundError(
                f"upstream hf:{self.path}: no {PREPROCESSOR} in it, which says sample rate and whether waveforms are "
                'normalised: copy it from where the model is from, or write one, {"sampling_rate": 16000, '
                '"do_normalize": true} or false'
            )
        kind = self.preprocessor.get("feature_extractor_type", EXTRACTOR)
        if kind != EXTRACTOR:
            raise ValueError(
                f"{self.path / PREPROCESSOR}: its feature extractor is {short(kind)}, expected {EXTRACTOR}"
            )
        return self.preprocessor.get(key, default)

    def build(self, seed: int | None) -> nn.Module:
        """The model in evaluation mode, float32, on the CPU; with a seed its weights are drawn from that.

        ValueError, one line: what a folder lacks, or that no such model takes sound."""
        transformers = _transformers()
        with _quietly(transformers), torch.random.fork_rng(devices=[]):
            config = self._model_config(transformers)
            if seed is None:
                return self._stored(transformers, config).eval()
            torch.manual_seed(seed)
            with self._explained("cannot be built from its config.json"):
                return transformers.AutoModel.from_config(config, dtype=torch.float32).eval()

    def _model_config(self, transformers: Any) -> Any:
        kind = self.config.get("model_type")
        if not isinstance(kind, str):
            raise ValueError(f"{self.path / CONFIG}: its model_type is {short(kind)}, expected a name, as 'hubert'")
        if kind not in transformers.CONFIG_MAPPING:
            if "auto_map" in self.config:
                raise ValueError(
                    f"upstream hf:{self.path}: a model {short(kind)} that needs code of its own (trust_remote_code), "
                    "which is not run: wrap it in a class of yours, package.module:Class"
                )
            raise ValueError(
                f"upstream hf:{self.path}: Transformers {transformers.__version__} knows no model {short(kind)}"
            )
        with self._explained("has a damaged config.json"):
            config = transformers.AutoConfig.from_pretrained(self.path, local_files_only=True, trust_remote_code=False)
        if not (getattr(config, "conv_kernel", None) and getattr(config, "conv_stride", None)):
            raise ValueError(
                f"upstream hf:{self.path}: a {kind} model takes no waveforms: expected one of the wav2vec 2.0 family, "
                "as wav2vec2, hubert, wavlm or data2vec-audio"
            )
        return config

    def _stored(self, transformers: Any, config: Any) -> nn.Module:
        """The model with the weights of the folder, all of them and no others."""
        if not any((self.path / name).is_file() for name in WEIGHTS):
            raise FileNotFoundError(
                f"upstream hf:{self.path}: no weights in it ({WEIGHTS[0]} or {WEIGHTS[2]}): copy them there, or take "
                f"random:hf:{self.path} for fresh ones"
            )
        with self._explained("cannot be loaded"):
            model, report = transformers.AutoModel.from_pretrained(
                self.path,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        own = {name for name, _ in model.named_children()}
        missing = [name for name in report["missing_keys"] if name.rpartition(".")[2] not in TRAINING_ONLY]
        prefix = f"{model.base_model_prefix}."
        extra = [name for name in report["unexpected_keys"] if name.removeprefix(prefix).partition(".")[0] in own]
        unlike = [name if isinstance(name, str) else name[0] for name in report.get("mismatched_keys") or ()]
        for names, what in (
            (missing, "are missing"),
            (extra, "have no place in its config"),
            (unlike, "differ in shape"),
        ):
            if names:
                raise ValueError(
                    f"upstream hf:{self.path}: {len(names)} of its weights {what}, {short(min(names))} for one: its "
                    f"{CONFIG} and weights do not belong together, or the file was cut"
                )
        for name, value in model.state_dict().items():
            if not torch.isfinite(value).all():
                raise ValueError(f"upstream hf:{self.path}: its weights {short(name)} are not finite: copy them again")
        return model

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Say of any error of the block, in one line, which folder it was: Transformers raises whatever comes."""
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            reason = cut(one_line(str(error)), 200) or type(error).__name__
            raise ValueError(f"upstream hf:{self.path}: {what}: {reason}") from None

    def write(self, model: nn.Module, folder: Path) -> None:
        """Write a model of this folder, and how its input is made, so that `hf:` opens it."""
        from utility.training.folder import to_json

        with _quietly(_transformers()):
            model.save_pretrained(folder)  # type: ignore[operator]
        (folder / PREPROCESSOR).write_text(to_json(self.preprocessor), encoding="utf-8")


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ValueError(f"an upstream hf: needs Transformers ({error}): {INSTALL}") from None


@contextlib.contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """Let Transformers write nothing: what matters of it is an error here."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {cut(one_line(str(error)), 100)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a {type(values).__name__}, expected keys and values")
    return values


def _preprocessor(folder: Path) -> dict[str, Any]:
    """How waveforms are prepared; a processor, a tokenizer beside it, may say it in a file of its own."""
    if (folder / PREPROCESSOR).is_file():
        return _read_json(folder / PREPROCESSOR)
    if (folder / PROCESSOR).is_file():
        inner = _read_json(folder / PROCESSOR).get("feature_extractor")
        return inner if isinstance(inner, dict) else {}
    return {}
