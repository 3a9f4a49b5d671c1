"""Which parameters form a group of the originals' optimisers."""

from torch import nn

QUERY_KEY_VALUE = 3  # blocks of rows of one matrix, which the originals keep apart


def original_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups for `bertadam` and `lamb`: as in the originals the LayerNorms after the layers decay, too, and
    query, key and value are cut or scaled each on its own."""
    groups: dict[tuple[bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        after_blocks = "output_norms" in name or "embedding_norm" in name
        decay = parameter.ndim > 1 or (after_blocks and name.endswith("weight"))
        parts = QUERY_KEY_VALUE if "query_key_value" in name else 1
        groups.setdefault((decay, parts), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decay else 0.0, "parts": parts}
        for (decay, parts), parameters in groups.items()
    ]
