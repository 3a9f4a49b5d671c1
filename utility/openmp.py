"""Settings of OpenMP; to be imported before PyTorch, which loads it."""

import os

# Idle threads would spin 300,000 times, for milliseconds in which threads of our own wait for their core.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
