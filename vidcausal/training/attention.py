"""Attention by plain matrix products for packed rows of some hundred tokens on a CPU.

There it takes about half the time of the fused kernel, forward and backward, because rows of a packed batch are short
and their masks are dense (``scripts/bench_training.py``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "vidcausal_dense"


def dense_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """What transformers calls for each layer.

    Args:
        module: the attention layer.
        query: ``[b, h, s, e]``.
        key: ``[b, g, k, e]``, g a divisor of h.
        value: ``[b, g, k, e]``.
        attention_mask: additive ``[b, 1, s, k]``.
        settings: ``scaling`` multiplies the scores; others do not concern a forward without dropout.
    """
    if groups := getattr(module, "num_key_value_groups", 1) - 1:
        key, value = (part.repeat_interleave(groups + 1, dim=1) for part in (key, value))
    scores = torch.matmul(query * settings["scaling"], key.transpose(-1, -2))
    if attention_mask is not None:
        scores = scores + attention_mask
    mixed = torch.matmul(torch.softmax(scores, dim=-1, dtype=query.dtype), value)
    return mixed.transpose(1, 2).contiguous(), None


def use_dense_attention(language: Any) -> None:
    """Let a language model of transformers use :func:`dense_attention`; only with masks that are given."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, dense_attention)
    language.set_attn_implementation(NAME)


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask (True = may look) as numbers to add."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
