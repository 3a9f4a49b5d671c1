"""The example classifier of the originals' READMEs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class example_classifier(nn.Module):
    """Last state of a one-layer GRU, one linear layer, cross-entropy.

    The original names a dropout of 0.3 too, which PyTorch only applies between layers, so it never did anything."""

    def __init__(self, input_dim: int, hidden_dim: int, class_num: int):
        super().__init__()
        self.rnn = nn.GRU(input_dim, hidden_dim, batch_first=True)
        self.out = nn.Linear(hidden_dim, class_num)

    def forward(self, features: Tensor, labels: Tensor, lengths: Sequence[int] | Tensor | None = None) -> Tensor:
        """Mean loss of features [B, T, input_dim] against classes [B]; `lengths` [B] say where utterances end."""
        return F.cross_entropy(self.logits(features, lengths), labels.to(features.device))

    def logits(self, features: Tensor, lengths: Sequence[int] | Tensor | None = None) -> Tensor:
        """Scores [B, class_num]; the class is their argmax."""
        states, _ = self.rnn(features)
        if lengths is None:
            return self.out(states[:, -1])
        last = torch.as_tensor(lengths, device=states.device) - 1
        return self.out(states[torch.arange(len(states), device=states.device), last])
