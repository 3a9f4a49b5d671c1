"""A model of your own that takes waveforms, as an upstream:

python run_downstream.py --run phone_linear --upstream examples.own_waveform_upstream:Envelopes data.train=[...]"""

import torch
from torch import nn


class Envelopes(nn.Module):
    """Two layers above a bank of random filters: their log energy every 20 ms. Put your model in its place."""

    takes, sample_rate = "waveform", 16000
    downsample_rate, out_dim = 320, 64  # samples from one frame to the next, numbers per frame

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv1d(1, self.out_dim, kernel_size=400, stride=self.downsample_rate)
        self.mixed = nn.Linear(self.out_dim, self.out_dim)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """Waveforms [B, N] with true lengths [B] -> one state [B, T, out_dim] for each layer."""
        energy = self.filters(waveforms[:, None]).square().add(1e-6).log().transpose(1, 2)
        return [energy, energy + torch.relu(self.mixed(energy))]
