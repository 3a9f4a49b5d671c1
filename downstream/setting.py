"""What is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from downstream.config import DownstreamConfig
from downstream.tasks.base import Task
from mockingjay.upstreams.spec import UpstreamSpec
from utility.audio.online_config import OnlineConfig
from utility.training.distributed import ALONE, Group
from utility.training.stopping import Stop


@dataclass(frozen=True)
class Setting:
    """What is run: task, upstream, config and seed."""

    task: Task
    upstream: UpstreamSpec
    config: DownstreamConfig
    seed: int
    device: torch.device
    quiet: bool = False
    group: Group = ALONE
    stop: Stop | None = None
    assume: Mapping[str, Any] | None = None  # what the checkpoint does not say (`load_upstream`)
    online: OnlineConfig | None = None  # of recordings: which features an upstream takes that does not say it
