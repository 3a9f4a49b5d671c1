"""Representations from features, as in the README of Mockingjay: python examples/extract.py CHECKPOINT"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from runner_mockingjay import get_mockingjay_model
from utility.command import only_argument

ckpt = only_argument("CHECKPOINT")
mockingjay = get_mockingjay_model(from_path=ckpt)

# A batch of spectrograms: (batch_size, seq_len, feature_size)
spec = torch.randn(3, 200, mockingjay.model.input_dim)

# (batch_size, num_hidden_layers, seq_len, hidden_size)
print(tuple(mockingjay.forward(spec=spec, all_layers=True, tile=True).shape))
# (batch_size, num_hidden_layers, seq_len // downsample_rate, hidden_size)
print(tuple(mockingjay.forward(spec=spec, all_layers=True, tile=False).shape))
# (batch_size, seq_len, hidden_size)
print(tuple(mockingjay.forward(spec=spec, all_layers=False, tile=True).shape))
# (batch_size, seq_len // downsample_rate, hidden_size); lengths say where the utterances end
print(tuple(mockingjay.forward(spec=spec, all_layers=False, tile=False, lengths=[200, 170, 150]).shape))
