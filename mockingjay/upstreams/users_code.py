"""Code that a user names is run here: what it raises becomes one line, what it sets is put back."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

Made = TypeVar("Made")


@contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """Random numbers from `seed` in the block; generators and settings of the process are as before afterwards."""
    generators = random.getstate(), np.random.get_state()  # noqa: NPY002  # a user's code may draw from it
    threads, precision, dtype = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    gradients = torch.is_grad_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            random.setstate(generators[0])
            np.random.set_state(generators[1])  # noqa: NPY002
            torch.set_grad_enabled(gradients)
            torch.set_default_dtype(dtype)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            if torch.get_float32_matmul_precision() != precision:
                torch.set_float32_matmul_precision(precision)


def made(make: Callable[[], Made], what: str) -> Made:
    """What `make` gives; whatever it raises is a ValueError that begins with `what`."""
    try:
        return make()
    except Exception as error:
        raise ValueError(f"{what}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What an exception of a user's code says, on one line; its type where that tells more."""
    text = " ".join(str(error).split())
    plain = isinstance(error, ImportError | ValueError | TypeError | AttributeError | SyntaxError) and text
    return text if plain else f"{text} ({type(error).__name__})".strip()
