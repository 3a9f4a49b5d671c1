"""The config of training straight from audio; apart from what reads audio."""

from typing import Annotated

import pydantic

from utility.audio.feature_config import FeatureConfig
from utility.config import section

GAUSSIAN = "gaussian"


@section
class OnlineConfig:
    """What recordings go through before they are masked."""

    target_level: float | None = pydantic.Field(-25.0, le=0)  # dB, the RMS that speech is brought to; None leaves it
    noise_proportion: float = pydantic.Field(0.0, ge=0, le=1)  # chance that an utterance gets noise, its target none
    noise_type: str = GAUSSIAN  # or a folder of noise recordings
    snrs: Annotated[list[float], pydantic.Field(min_length=1)] = pydantic.Field(default_factory=lambda: [3.0, 6.0, 9.0])
    dev_noise: bool = False  # noise on dev and test as well, the same in every evaluation
    input: FeatureConfig = pydantic.Field(default_factory=FeatureConfig)
    target: FeatureConfig | None = None  # what is predicted; None: the features of the input, without noise

    def __post_init__(self) -> None:
        if self.target_level is not None and self.input.cmvn == "none":
            raise ValueError(
                "target_level needs input.cmvn 'utterance': without it whoever uses the model would have to set the "
                "level too; say target_level null"
            )
        if self.target is not None and _clock(self.target) != _clock(self.input):
            raise ValueError(
                f"target {self.target.kind} at {self.target.sample_rate} Hz does not have the frames of input "
                f"{self.input.kind} at {self.input.sample_rate} Hz"
            )


def _clock(features: FeatureConfig) -> tuple[int, int, bool]:
    return features.sample_rate, features.hop, features.centred
