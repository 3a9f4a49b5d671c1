"""Which device a run computes on."""

import os

import torch


def pick_device(cpu: bool) -> torch.device:
    """CUDA where there is one and `cpu` is not asked for; under torchrun each process of a machine takes its own."""
    if cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK")
    return torch.device("cuda") if local is None else torch.device("cuda", int(local))
