"""What a feature store says of itself; apart from reading and writing it, which needs pandas."""

from typing import Annotated, Any, Literal

from pydantic import Field

from utility.audio.features import FeatureConfig
from utility.config import section

WORDS = ("checkpoint", "step")  # of `made_by`: what people are told; whether two stores are alike, the hashes say


@section
class StoreInfo:
    """What the rows of a store are; kept in `features.yaml`."""

    format: Literal[1] = 1
    kind: Literal["features", "representation"] = "features"
    dtype: Literal["float32", "float16"] = "float32"
    row_shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]  # [D] or [layers + 1, H]
    # seconds; NaN where nobody knows (an originals' directory without `features`)
    frame_shift: Annotated[float, Field(allow_inf_nan=True)]
    features: FeatureConfig | None = None  # what the frames, or the upstream's input, are
    audio_root: str | None = None  # the column `path` is relative to it
    made_by: Annotated[dict[str, Any], Field(default_factory=dict)]  # representation: upstream, layer, `WORDS` ...

    def in_words(self) -> str:
        """Which checkpoint made these representations."""
        path, step = (self.made_by.get(name) for name in WORDS)
        return f"{path} at step {step}" if path else "a checkpoint that it does not name"
