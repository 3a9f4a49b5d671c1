"""The precisions that matrix products may have."""

from typing import Literal

Precision = Literal["fp32", "tf32", "bf16"]
