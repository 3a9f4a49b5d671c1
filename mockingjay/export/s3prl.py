"""An upstream behind S3PRL's interface: a list of waveforms in, hidden states out."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from mockingjay.checkpoint import pretrained
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.training.folder import read_folder

SAMPLE_RATE = 16000  # of every waveform in S3PRL


class WaveformExpert(nn.Module):
    """Calls an upstream as S3PRL's probing code does (its `UpstreamBase`), in evaluation mode at first.

    Raises ValueError for an upstream that does not know its features, or whose features are not of 16 kHz audio."""

    def __init__(self, upstream: Upstream):
        super().__init__()
        features = upstream.feature_config
        if features is None:
            raise ValueError(
                "the checkpoint does not say how its features are made, or they are not computed here (see --info): "
                "it takes only features, not waves"
            )
        if features.sample_rate != SAMPLE_RATE:
            raise ValueError(
                f"S3PRL gives waveforms at {SAMPLE_RATE} Hz, the checkpoint takes {features.sample_rate} Hz"
            )
        self.upstream, self.samples_per_frame = upstream.eval(), features.hop
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Samples from one frame to the next, whatever the `key`: every layer has the rate of the features."""
        return self.samples_per_frame

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor] | Tensor]:
        """1-D waveforms without padding -> `hidden_states`, a list of layers + 1 tensors [B, T, H] whose entry 0 is the
        embedding, and `last_hidden_state`; zero beyond an utterance's own frames."""
        states, _ = self.upstream.from_waveforms(wavs)
        return {"hidden_states": list(states), "last_hidden_state": states[-1]}


class UpstreamExpert(WaveformExpert):
    """The upstream of a folder that `--export` wrote: `ckpt`, or else the folder of this file."""

    def __init__(self, ckpt: Path | str | None = None, model_config: None = None, **_options):
        if model_config is not None:
            raise ValueError(f"model_config {model_config}: the folder brings its own config, leave it out")
        folder = Path(ckpt or Path(__file__).parent)
        saved = pretrained(read_folder(folder), folder)
        super().__init__(PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift))
