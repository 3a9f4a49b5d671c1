"""Which device a run computes on."""

import torch


def pick_device(cpu: bool) -> torch.device:
    """CUDA where there is one and `cpu` is not asked for."""
    return torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
