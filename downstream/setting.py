"""What is run, and what is said of it: the command that repeats it, its configs, where TensorBoard's files go."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from downstream.config import DownstreamConfig, OnlineFile
from downstream.tasks.base import Task
from mockingjay.foreign.assumptions import in_words
from mockingjay.upstreams.spec import UpstreamSpec
from utility.audio.online_config import OnlineConfig
from utility.config import to_yaml
from utility.training.distributed import ALONE, Group
from utility.training.stopping import Stop

CONFIG, ONLINE = "config.yaml", "online.yaml"  # in a run's folder


@dataclass(frozen=True)
class EventFolders:
    """Where TensorBoard's files of runs go: of a run in a folder below `results` to the same path below `events`."""

    results: Path
    events: Path


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
    events: EventFolders | None = None  # None: nothing for TensorBoard

    def event_folder(self, directory: Path) -> Path | None:
        """Where TensorBoard's files of the run in `directory` go."""
        if self.events is None:
            return None
        return self.events.events / directory.relative_to(self.events.results)

    def command(self, directory: Path) -> str:
        """What to type to repeat the run in `directory`: all its settings are in the config.yaml there."""
        words = ["python", "run_downstream.py", "--run", self.task.name, "--upstream", str(self.upstream)]
        words += ["--assume", in_words(self.assume)] if self.assume else []
        words += ["--config", str(directory / CONFIG), "--seed", str(self.seed)]
        words += ["--online_config", str(directory / ONLINE)] if self.online is not None else []
        return shlex.join([*words, *(["--cpu"] if self.device.type == "cpu" else [])])

    def configs(self) -> dict[str, bytes]:
        """The config files of a run, by name."""
        configs = {CONFIG: to_yaml(self.config)}
        return configs if self.online is None else {**configs, ONLINE: to_yaml(OnlineFile(online=self.online))}

    def texts(self, directory: Path) -> dict[str, str]:
        """What TensorBoard shows as text of the run in `directory`."""
        configs = {Path(name).stem: content.decode() for name, content in self.configs().items()}
        return {**configs, "command": self.command(directory)}
