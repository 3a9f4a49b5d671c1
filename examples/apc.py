"""Representations of APC, as in its README: python examples/apc.py CHECKPOINT"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from originals.mockingjay_api import get_apc_model
from utility.command import only_argument

ckpt = only_argument("CHECKPOINT")
model = get_apc_model(ckpt)

# A batch of log mel spectrograms (batch_size, seq_len, feature_size) and their lengths, in any order
inputs = torch.randn(3, 400, model.model.input_dim)
with torch.no_grad():
    prediction, feats = model.forward(inputs, [300, 400, 350])
print(tuple(prediction.shape), tuple(feats.shape))  # feats: (num_layers, batch_size, seq_len, hidden_size)
print(tuple(feats[-1].shape))  # the last layer is what the paper uses
