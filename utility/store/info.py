"""What a feature store says of itself; apart from reading and writing it, which needs pandas."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from utility.audio.feature_config import FeatureConfig
from utility.config import section

# Of `made_by`: what people are told; whether two stores are alike, other entries say.
WORDS = ("checkpoint", "step", "imported_from")


@section
class StoreInfo:
    """What the rows of a store are; kept in `features.yaml`."""

    format: Literal[1] = 1
    kind: Literal["features", "representation", "codes"] = "features"
    dtype: Literal["float32", "float16", "int32"] = "float32"
    # [D], or [layers + 1, H], or of codes [codebooks]
    row_shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
    # seconds; NaN where nobody knows (an originals' directory without `features`)
    frame_shift: Annotated[float, Field(allow_inf_nan=True)]
    features: FeatureConfig | None = None  # what the frames, or the upstream's input, are
    codes: Annotated[int, Field(gt=0)] | None = None  # of codes: they are whole numbers from 0 to below this
    stated: str | None = None  # a definition of other programs, where nothing here computes the frames
    audio_root: str | None = None  # the column `path` is relative to it
    made_by: dict[str, Any] = Field(default_factory=dict)  # representation: upstream, layer, `WORDS` ...
    frame_offset: float | None = None  # seconds to the centre of frame 0; None: as the features have it, else 0

    def __post_init__(self) -> None:
        whole = self.dtype == "int32"
        if (self.kind == "codes") != whole or (self.codes is not None) != whole:
            raise ValueError(
                f"kind {self.kind}, dtype {self.dtype}, codes {self.codes}: codes are int32 and say how many there are"
            )
        if self.frame_offset is None:
            object.__setattr__(self, "frame_offset", self.usual_offset)

    @model_serializer(mode="wrap")
    def _plain(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `stated` and `codes` where nothing is: files and fingerprints stay as they were before them."""
        late = {"stated", "codes"}
        return {key: value for key, value in plain(self).items() if key not in late or value is not None}

    @property
    def sample_rate(self) -> int | None:
        """Hz at which the samples of utterances are counted; None: was never stated."""
        return self.made_by.get("sample_rate") if self.features is None else self.features.sample_rate

    @property
    def normalised_when_read(self) -> bool:
        """Whether the statistics of a split lie beside its frames and are applied to what is read of them."""
        return self.kind == "features" and self.features is not None and self.features.of_corpus

    @property
    def usual_offset(self) -> float:
        """The centre of frame 0 where a file does not say it, as those of earlier versions."""
        return 0.0 if self.features is None else self.features.frame_offset

    def frame_times(self, frames: int) -> np.ndarray:
        """Centres of an utterance's frames in seconds, float64 [T]: frame_offset + t * frame_shift."""
        features = self.features
        if features and (self.frame_shift, self.frame_offset) == (features.frame_shift, features.frame_offset):
            return features.frame_times(frames)  # the same, to the last bit the quotient of whole samples
        return (self.frame_offset or 0.0) + np.arange(frames) * self.frame_shift

    def durations(self, num_samples: np.ndarray) -> np.ndarray:
        """Seconds of utterances of so many samples [U], float64; NaN where nobody knows (0 samples, no sample rate)."""
        rate = self.sample_rate
        seconds = num_samples / rate if rate else np.full(len(num_samples), np.nan)
        return np.where(num_samples > 0, seconds, np.nan)

    def in_words(self) -> str:
        """Which checkpoint made these representations."""
        path, step = (self.made_by.get(name) for name in ("checkpoint", "step"))
        return f"{path} at step {step}" if path else "a checkpoint that it does not name"
