"""The bidirectional Transformer encoder over acoustic frames (Mockingjay, Liu et al. 2020)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Annotated, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mockingjay.model.attention import Dropout, attend, attention_weights, queries_of
from mockingjay.model.layout import Packing, Scope, visible
from utility.batches import real_frames
from utility.config import section

LAYER_NORM_EPS = 1e-12
POSITIONS = 1024  # whose encodings are made at first
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "swish": F.silu}


@section
class TransformerConfig:
    """Size and regularisation of the encoder; the defaults are Mockingjay Base."""

    # What is beyond the bounds is beyond any memory.
    layers: int = pydantic.Field(3, ge=1, le=1000)
    hidden_size: int = pydantic.Field(768, ge=1, le=1 << 17)
    heads: int = pydantic.Field(12, ge=1)
    ffn_size: int = pydantic.Field(3072, ge=1, le=1 << 20)
    dropout: float = pydantic.Field(0.1, ge=0, lt=1)
    attention_dropout: float = pydantic.Field(0.1, ge=0, lt=1)
    activation: Literal["gelu", "relu", "swish"] = "gelu"
    downsample_rate: int = pydantic.Field(1, ge=1, le=1000)  # so many neighbouring frames are stacked into one
    max_input_length: int | None = pydantic.Field(None, gt=0)  # longer ones are encoded in segments of so many
    share_layers: bool = False  # one block's weights in every layer (AALBERT, Chi et al. 2021)
    prune_heads: list[Annotated[int, pydantic.Field(ge=0)]] = field(
        default_factory=list
    )  # counted from the first layer on
    pre_layer_norm: bool = False  # normalise before each sub-layer: trains at higher rates (Xiong et al. 2020)
    embedding_norm: bool = False  # with it: hidden state 0 has a LayerNorm of its own too (S3PRL from 0.3)
    # Standard deviation of the first weights; narrow models want more.
    initializer_range: float = pydantic.Field(0.02, gt=0)

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if any(head >= self.layers * self.heads for head in self.prune_heads):
            raise ValueError(f"prune_heads {max(self.prune_heads)} is beyond the {self.layers * self.heads} heads")
        if self.embedding_norm and not self.pre_layer_norm:
            raise ValueError("embedding_norm goes with pre_layer_norm: set that to true too")


def stack_frames(features: Tensor, lengths: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Put `rate` neighbouring frames side by side: [B, T, D] -> [B, T // rate, D * rate], lengths // rate.

    Each utterance's tail of fewer than `rate` frames is dropped, as in the originals; one shorter than `rate` frames is
    filled up with its last frame, so that it keeps one stacked frame. Values beyond the new lengths are zero."""
    if rate == 1:
        return features, lengths
    stacked_lengths = (lengths // rate).clamp(min=1)
    time = torch.arange(max(features.shape[1] // rate, 1) * rate, device=features.device)
    source = torch.minimum(time, lengths[:, None] - 1)
    features = features.gather(1, source[..., None].expand(-1, -1, features.shape[2]))
    stacked = features.reshape(features.shape[0], -1, features.shape[2] * rate)
    return stacked * real_frames(stacked_lengths, stacked.shape[1])[..., None], stacked_lengths


def unstack_states(states: Tensor, lengths: Tensor, frames: int, rate: int) -> Tensor:
    """Repeat states [B, T // rate, H] back to one per frame, [B, frames, H]; zero beyond the true lengths [B].

    The e = length mod rate frames that stacking dropped are made up by the edges: e // 2 copies of the first state in
    front, the rest of the last behind (S3PRL v0.1.0)."""
    if rate > 1:
        time = torch.arange(frames, device=states.device)
        front = lengths % rate // 2
        last = (lengths // rate).clamp(min=1) - 1
        source = torch.div(time - front[:, None], rate, rounding_mode="floor").clamp(min=0)
        source = torch.minimum(source, last[:, None])
        states = states.gather(1, source[..., None].expand(-1, -1, states.shape[2]))
    return states * real_frames(lengths, frames)[..., None]


def sinusoid_positions(frames: int, size: int) -> Tensor:
    """Position encodings [frames, size] (Vaswani et al. 2017), computed in float64, on the CPU where sizes alone are
    checked too: there it would load PyTorch's compiler."""
    column = torch.arange(size, dtype=torch.float64, device="cpu")
    rate = torch.exp(-math.log(10000.0) * 2 * torch.div(column, 2, rounding_mode="floor") / size)
    angle = torch.arange(frames, dtype=torch.float64, device="cpu")[:, None] * rate
    angle[:, 0::2] = angle[:, 0::2].sin()
    angle[:, 1::2] = angle[:, 1::2].cos()
    return angle.float()


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that computes in float32 and gives what it takes: autocast alone would give float32."""

    def __init__(self, size: int):
        super().__init__(size, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention; `scope` says which frames each frame may look at.

    `kept` [heads], where there is any, multiplies the attention of each head (0: the head is pruned)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, scope: Scope | Packing, kept: Tensor | None = None) -> Tensor:
        query, key, value = self._heads(x)
        dropout = self.dropout if self.training else 0.0
        if isinstance(scope, Packing):
            mixed = scope.attend(query, key, value, dropout)
        else:
            mixed = attend(query, key, value, scope, dropout)
        if kept is not None:
            mixed = mixed * kept[:, None, None]
        return self.output(mixed.transpose(1, 2).flatten(2))

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What attention weights are made of, [B, heads, T, d] each."""
        query, key, _ = self._heads(x)
        return query, key

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))  # [B, T, 3, heads, H / heads]
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        return query, key, value


class Block(nn.Module):
    """One encoder layer: y = LN(x + attention(x)), z = LN(y + feedforward(y)).

    With `pre_layer_norm`: y = x + attention(LN(x)), z = y + feedforward(LN(y))."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norm_first, self.activation = config.pre_layer_norm, ACTIVATIONS[config.activation]
        self.attention = SelfAttention(config)
        self.attention_norm = LayerNorm(config.hidden_size)
        self.expand = nn.Linear(config.hidden_size, config.ffn_size)
        self.contract = nn.Linear(config.ffn_size, config.hidden_size)
        self.norm = LayerNorm(config.hidden_size)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, scope: Scope | Packing, kept: Tensor | None = None) -> Tensor:
        if self.norm_first:
            x = self.dropout(self.attention(self.attention_norm(x), scope, kept), x)
            return self.dropout(self._feedforward(self.norm(x)), x)
        x = self.attention_norm(self.dropout(self.attention(x, scope, kept), x))
        return self.norm(self.dropout(self._feedforward(x), x))

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the weights of its attention are made of, [B, heads, T, d] each."""
        return self.attention.query_and_key(self.attention_norm(x) if self.norm_first else x)

    def _feedforward(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))


class TransformerEncoder(nn.Module):
    """Stacked frames [B, T, D] -> hidden states: entry 0 is the embedding after projection, position and norm, entry k
    the output of block k (with `pre_layer_norm` after a LayerNorm of its own, which with `embedding_norm` entry 0 has
    too); each [B, T, hidden_size]. Values at padding are meaningless. With `causal` a frame attends to itself and those
    before it only.

    Of a packing x is [1, N, D] and so are the states. `recompute` keeps of each block only its input for backward;
    `residual` is the type in which states go from block to block under autocast, that of the norms (float32) without.
    `kept` multiplies what each head gives, weights of frames further than `radius` are 0 (both: what is pruned)."""

    positions: Tensor
    kept: Tensor | None  # [layers, heads]
    radius: int | None = None
    recompute: bool = False
    residual: torch.dtype | None = None

    def __init__(self, config: TransformerConfig, input_dim: int, causal: bool = False):
        super().__init__()
        self.hidden_size, self.num_layers, self.causal = config.hidden_size, config.layers, causal
        self.projection = nn.Linear(input_dim, config.hidden_size)
        self.norm = LayerNorm(config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(1 if config.share_layers else config.layers))
        if config.pre_layer_norm:
            self.output_norms = nn.ModuleList(LayerNorm(config.hidden_size) for _ in range(config.layers))
        self.embedding_norm = LayerNorm(config.hidden_size) if config.embedding_norm else None
        self.pre_layer_norm = config.pre_layer_norm
        self.register_buffer("positions", sinusoid_positions(0, config.hidden_size), persistent=False)
        kept = torch.ones(config.layers * config.heads)
        kept[config.prune_heads] = 0.0
        kept = kept.view(config.layers, config.heads)
        self.register_buffer("kept", kept if config.prune_heads else None, persistent=False)

    def forward(self, x: Tensor, lengths: Tensor, layout: Packing | Scope | None = None) -> tuple[Tensor, ...]:
        assert layout is None or self.radius is None, "spans are cut in padded batches of a scope that is made here"
        scope = layout or Scope(lengths, x.shape[1], self.causal, self.radius)
        x = self._embedded(x, scope)
        states = [x if self.embedding_norm is None else self.embedding_norm(x)]
        for layer, (block, kept) in enumerate(self._stack()):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, scope, kept, use_reentrant=False)
            else:
                x = block(x, scope, kept)
            states.append(self.output_norms[layer](x) if self.pre_layer_norm else x)
        return tuple(states)

    def attention_maps(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Attention weights of every layer, [layers, B, heads, T, T], as they are before anything is pruned there."""
        return self.attention_rows(x, lengths)(slice(None))

    def attention_rows(self, x: Tensor, lengths: Tensor) -> Callable[[slice], Tensor]:
        """The rows of attention maps, [layers, B, heads, n, T] of some queries; all of a map need never exist."""
        scope, pairs = Scope(lengths, x.shape[1], self.causal, self.radius), []
        mask = visible(lengths, x.shape[1], self.causal) if scope.mask is None else scope.mask
        x = self._embedded(x, scope)
        for block, kept in self._stack():
            assert isinstance(block, Block)
            pairs.append(block.query_and_key(x))
            x = block(x, scope, kept)

        def rows(chosen: slice) -> Tensor:
            seen = queries_of(mask, chosen)[:, None]
            return torch.stack([attention_weights(query[:, :, chosen], key, seen) for query, key in pairs])

        return rows

    def _stack(self) -> Iterator[tuple[nn.Module, Tensor | None]]:
        for layer in range(self.num_layers):
            yield self.blocks[layer % len(self.blocks)], None if self.kept is None else self.kept[layer]

    def compile_parts(self, compiled: Callable[[Callable], Callable]) -> None:
        """Have the embedding and each block computed as `compiled` makes them; a block of shared weights once."""
        self._embed = compiled(self._embed)  # type: ignore[method-assign]
        for block in self.blocks:
            block.forward = compiled(block.forward)

    def _embedded(self, x: Tensor, scope: Packing | Scope) -> Tensor:
        if len(self.positions) < scope.frames:  # by a factor, as each size is compiled anew
            rows = max(1 << (scope.frames - 1).bit_length(), POSITIONS)
            self.positions = sinusoid_positions(rows, self.projection.out_features).to(self.projection.weight)
        return self._embed(x, scope)

    def _embed(self, x: Tensor, scope: Packing | Scope) -> Tensor:
        positions = self.positions[scope.position if isinstance(scope, Packing) else slice(scope.frames)]
        x = self.dropout(self.norm(self.projection(x) + positions))
        narrow = self.residual is not None and torch.is_autocast_enabled(x.device.type)
        return x.to(self.residual) if narrow else x


def initialise(module: nn.Module, deviation: float) -> None:
    """BERT's initial weights: linear maps drawn from a normal distribution, zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.is_meta:  # sizes alone would load PyTorch's compiler
            nn.init.normal_(part.weight, std=deviation)
            nn.init.zeros_(part.bias)
