"""The plain eager baseline: masks per utterance in Python, scores materialised, nothing fused, fp32; one step and one
forward pass as a first version of such a project has them."""

import math
import random

import torch
from torch import Tensor, nn

from mockingjay.config import PretrainConfig
from mockingjay.model.transformer import TransformerConfig, sinusoid_positions
from utility.device import pick_device


class PlainNorm(nn.Module):
    """Layer normalisation written out."""

    def __init__(self, size: int, eps: float = 1e-12):
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * ((x - mean) / torch.sqrt(variance + self.eps)) + self.bias


def plain_gelu(x: Tensor) -> Tensor:
    """GELU by its formula."""
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class PlainAttention(nn.Module):
    """Self-attention with the whole matrix of scores and an additive mask."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        size, self.heads = config.hidden_size, config.heads
        self.query, self.key, self.value, self.output = (nn.Linear(size, size) for _ in range(4))
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1]) + bias
        mixed = torch.matmul(self.dropout(scores.softmax(-1)), value)
        return self.output(mixed.permute(0, 2, 1, 3).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).permute(0, 2, 1, 3)


class PlainBlock(nn.Module):
    """One encoder layer, post-norm."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention, self.attention_norm = PlainAttention(config), PlainNorm(config.hidden_size)
        self.expand = nn.Linear(config.hidden_size, config.ffn_size)
        self.contract = nn.Linear(config.ffn_size, config.hidden_size)
        self.norm, self.dropout = PlainNorm(config.hidden_size), nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x, bias)))
        return self.norm(x + self.dropout(self.contract(plain_gelu(self.expand(x)))))


class PlainModel(nn.Module):
    """Encoder and head over stacked frames [B, T, D]; the last hidden state and the prediction come out."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, input_dim: int, target_dim: int):
        super().__init__()
        size = config.hidden_size
        self.projection, self.norm, self.dropout = nn.Linear(input_dim, size), PlainNorm(size), nn.Dropout(0.1)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.layers))
        self.dense, self.head_norm, self.output = nn.Linear(size, size), PlainNorm(size), nn.Linear(size, target_dim)
        self.register_buffer("positions", sinusoid_positions(2048, size))

    def encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The last hidden state [B, T, H]."""
        real = (torch.arange(x.shape[1], device=x.device)[None] < lengths[:, None]).float()
        bias = (1.0 - real)[:, None, None, :] * -10000.0
        x = self.dropout(self.norm(self.projection(x) + self.positions[: x.shape[1]]))
        for block in self.blocks:
            x = block(x, bias)
        return x

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.output(self.head_norm(plain_gelu(self.dense(self.encode(x, lengths)))))


class PlainGru(nn.Module):
    """Autoregressive predictive coding: GRUs with residuals over packed sequences, as its original has them."""

    def __init__(self, layers: int, hidden_size: int, input_dim: int):
        super().__init__()
        widths = [input_dim] + [hidden_size] * (layers - 1)
        self.rnns = nn.ModuleList(nn.GRU(width, hidden_size, batch_first=True) for width in widths)
        self.output = nn.Linear(hidden_size, input_dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for rnn in self.rnns:
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            out, _ = nn.utils.rnn.pad_packed_sequence(rnn(packed)[0], batch_first=True)
            x = out + x if out.shape == x.shape else out
        return self.output(x)


class Baseline:
    """Training steps and representations of the plain model, on features [B, T, D] with true lengths [B]."""

    def __init__(self, config: PretrainConfig, input_dim: int, target_dim: int):
        self.config, self.rate = config, config.model.downsample_rate
        self.model: PlainGru | PlainModel
        if config.encoder == "gru":
            self.model = PlainGru(config.gru.layers, config.gru.hidden_size, input_dim)
        else:
            self.model = PlainModel(config.model, input_dim * self.rate, target_dim * self.rate)
        self.device = pick_device(cpu=False)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-4, foreach=False, fused=False)
        self.draw = random.Random(1)

    def step(self, features: Tensor, lengths: Tensor, target: Tensor | None = None) -> None:
        """Forward, masked L1, backward, clipping, update."""
        self.model.train()
        loss = self._loss(self._stack(features), lengths // self.rate, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss.item()

    @torch.no_grad()
    def represent(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The last hidden state, one per frame."""
        assert isinstance(self.model, PlainModel)
        self.model.eval()
        states = self.model.encode(self._stack(features).to(self.device), (lengths // self.rate).to(self.device))
        return states.repeat_interleave(self.rate, 1).cpu()

    def _loss(self, stacked: Tensor, lengths: Tensor, target: Tensor | None) -> Tensor:
        if self.config.encoder == "gru":
            shift = self.config.apc.time_shift
            stacked = stacked.to(self.device)
            return (self.model(stacked, lengths)[:, :-shift] - stacked[:, shift:]).abs().mean()
        altered, mask = self._mask(stacked, lengths)
        truth = stacked if target is None else self._stack(target)
        error = (self.model(altered.to(self.device), lengths.to(self.device)) - truth.to(self.device)).abs()
        return error[mask.to(self.device)[..., None].expand_as(error)].mean()

    def _stack(self, x: Tensor) -> Tensor:
        frames = x.shape[1] // self.rate * self.rate
        return x[:, :frames].reshape(len(x), frames // self.rate, -1)

    def _mask(self, stacked: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        altered, chosen = stacked.clone(), torch.zeros(stacked.shape[:2], dtype=torch.bool)
        masking = self.config.masking
        for row, length in enumerate(lengths.tolist()):
            span = self.draw.randint(masking.consecutive_min, masking.consecutive_max)
            starts = self.draw.sample(range(length - span), round(length * masking.proportion / span))
            die = self.draw.random()
            for start in starts:
                chosen[row, start : start + span] = True
                if die < masking.zero:
                    altered[row, start : start + span] = 0
                elif die < masking.zero + masking.replace:
                    other = self.draw.randrange(length - span)
                    altered[row, start : start + span] = stacked[row, other : other + span]
            if masking.frequency:
                width = self.draw.randint(0, masking.frequency)
                first = self.draw.randrange(stacked.shape[2] - width)
                altered[row, :, first : first + width] = 0
            if self.draw.random() < masking.noise:
                altered[row] += torch.randn_like(altered[row]) * masking.noise_deviation
        return altered, chosen
