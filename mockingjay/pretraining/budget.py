"""`loader.batch_frames: auto`: how many frames a batch may have, found by trial on the GPU."""

from collections.abc import Callable
from dataclasses import replace

import torch

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.data import Data, open_data
from mockingjay.pretraining.run import pretraining
from utility.batches import Batch
from utility.loader import AUTO

SHARE = 0.85  # of the free memory; what is computed besides a step, and what the allocator loses, has the rest
MOMENTS = 8  # bytes of a parameter: what AdamW keeps
FEW, MORE = 4, 8  # utterances of a first and a second trial
SHRINK = 0.9  # of the frames, where a trial took more than was foretold


def settled(config: PretrainConfig, device: torch.device) -> PretrainConfig:
    """The config with a number of frames; ValueError where there is no GPU to try them on."""
    if config.loader.batch_frames != AUTO:
        return config
    if device.type != "cuda":
        raise ValueError("loader.batch_frames auto is found by trial on a GPU: without one set a number, as 9000")
    data = open_data(config.data.train, replace(config, loader=replace(config.loader, batch_frames=1)))
    limit = config.loader.max_frames or int(data.corpus.lengths.max())
    longest = min(limit, int(data.corpus.lengths.max()))
    longest = -(-longest // config.loader.pad_multiple) * config.loader.pad_multiple
    frames = affordable(_Trial(config, data, longest, device).peak, longest, SHARE * torch.cuda.mem_get_info(device)[0])
    return replace(config, loader=replace(config.loader, batch_frames=frames))


def affordable(peak: Callable[[int], float], longest: int, limit: float) -> int:
    """The most utterances of `longest` frames, in frames, whose step takes no more than `limit` bytes.

    `peak` tells what a step on so many frames takes, and raises OutOfMemoryError where it finds none. It grows evenly
    with frames of one length, so two trials foretell the third."""
    few, more = FEW * longest, MORE * longest
    try:
        least = peak(few)
        slope = (peak(more) - least) / (more - few)
    except torch.OutOfMemoryError:
        least, slope = limit + 1, 1.0
    if least > limit:
        raise ValueError(
            f"loader.batch_frames auto: no room for {MORE} utterances of {longest} frames: set a smaller number, "
            "loader.max_frames or speed.recompute=True"
        )
    frames = few + (limit - least) / max(slope, 1.0)
    while frames > few:
        whole = int(frames // longest) * longest
        try:
            if peak(whole) <= limit:
                return whole
        except torch.OutOfMemoryError:
            pass
        frames *= SHRINK
    return few


class _Trial:
    """Steps of a model of its own on made-up frames."""

    def __init__(self, config: PretrainConfig, data: Data, longest: int, device: torch.device):
        self.data, self.longest, self.device = data, longest, device
        dims = data.source.row_shape[0], data.target.row_shape[0]
        self.objective = pretraining(new_model(config, *dims, 0), config, device)
        self.state = MOMENTS * sum(p.numel() for p in self.objective.model.parameters() if p.requires_grad)

    def peak(self, frames: int) -> float:
        """Bytes that a step on so many frames, and the optimiser, take at most."""
        rows, data = frames // self.longest, self.data
        shape = (rows, self.longest)
        target = None
        if data.loader.target is not None or data.source.row_shape != data.target.row_shape:
            target = torch.zeros(*shape, *data.target.row_shape, dtype=torch.int64 if self._codes else torch.float32)
        batch = Batch(
            torch.randn(*shape, *data.source.row_shape), torch.full((rows,), self.longest), ["a"] * rows, target
        )
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        self.objective.model.train()
        with self.objective.autocast():
            scores = self.objective.step(batch.to(self.device), torch.Generator().manual_seed(0))
        scores["loss"].backward()
        self.objective.model.zero_grad(set_to_none=True)
        return torch.cuda.max_memory_allocated(self.device) + self.state

    @property
    def _codes(self) -> bool:
        return self.objective.config.predicts_stored_codes
