"""Measures every stage against the limits of the machine and against a plain baseline; nothing imports it."""

import utility.openmp  # noqa: F401, before PyTorch is loaded; contestants inherit it
