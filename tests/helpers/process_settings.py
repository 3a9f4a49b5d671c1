"""What a program may set for its whole process, and tests must not pass on."""

import signal
from dataclasses import dataclass
from typing import Any

import torch

CUDNN = ("benchmark", "deterministic", "allow_tf32")


@dataclass(frozen=True)
class ProcessSettings:
    """PyTorch's settings that change speed or the last bits of numbers, and what Ctrl-C does."""

    precision: str
    threads: int
    deterministic: bool
    warn_only: bool
    cudnn: tuple[bool, bool, bool]  # benchmark, deterministic, allow_tf32
    interrupt: Any

    @classmethod
    def now(cls) -> "ProcessSettings":
        """The settings as they are."""
        return cls(
            torch.get_float32_matmul_precision(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            tuple(getattr(torch.backends.cudnn, name) for name in CUDNN),
            signal.getsignal(signal.SIGINT),
        )

    def restore(self) -> None:
        """Make them what they were; one that is as it was is not touched."""
        if torch.get_float32_matmul_precision() != self.precision:
            torch.set_float32_matmul_precision(self.precision)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        for name, value in zip(CUDNN, self.cudnn):
            setattr(torch.backends.cudnn, name, value)
        signal.signal(signal.SIGINT, self.interrupt)
