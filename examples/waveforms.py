"""From sound to representations in one call: python examples/waveforms.py CHECKPOINT"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mockingjay.upstream import load_upstream
from utility.command import only_argument
from utility.device import pick_device

ckpt = only_argument("CHECKPOINT")
upstream = load_upstream(ckpt, device=pick_device(cpu=False))
waveforms = [torch.randn(16000), torch.randn(12000), torch.randn(8000)]  # 1-D, at 16 kHz, of any lengths
with torch.no_grad():
    hidden_states, lengths = upstream.from_waveforms(waveforms)

# hidden_states[0] is the embedding, [k] the output of layer k: (batch_size, frames, hidden_size)
print(len(hidden_states), tuple(hidden_states[-1].shape), lengths.tolist(), f"{upstream.frame_shift} s per frame")
