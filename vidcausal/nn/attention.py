"""Multi-head attention over ``scaled_dot_product_attention``, and the exact merge of attention over blocks of keys.

Letters: b batch, h heads, q queries, k keys, d model width, e width of a head.

The ``is_causal`` trap: wrappers around SDPA (transformers' ``sdpa_attention_forward`` is one) read
``getattr(module, "is_causal", True)`` and, when no mask is given, put a *token-level* triangle on the scores. For
cross-attention that silently hides almost every key (huggingface/transformers#48172). Therefore the modules here say
``is_causal = False`` and pass it on, and whatever causality there is stands in the mask that the caller drew.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionOutput(NamedTuple):
    """What attention gives when its weights are wanted too."""

    values: Tensor
    """``[b, q, d]``."""
    weights: Tensor
    """``[b, h, q, k]``, rows sum to one."""


class MultiHeadAttention(nn.Module):
    """Self- or cross-attention made of parts; LoRA is another ``q_proj``, not a flag.

    Args:
        q_proj: ``[..., d_q] -> [..., h * e]``.
        k_proj: ``[..., d_k] -> [..., kv_heads * e]``.
        v_proj: ``[..., d_k] -> [..., kv_heads * e]``.
        output_proj: ``[..., h * e] -> [..., d]``.
        num_heads: h.
        num_kv_heads: fewer key heads than query heads (grouped queries); must divide ``num_heads``.
        dropout: on the weights, in training only.
    """

    is_causal = False

    def __init__(
        self,
        *,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        output_proj: nn.Module,
        num_heads: int,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if num_heads < 1 or self.num_kv_heads < 1 or num_heads % self.num_kv_heads:
            raise ValueError(f"num_kv_heads must divide num_heads, got {num_heads=} and {num_kv_heads=}")
        self.dropout = dropout
        self.q_proj, self.k_proj, self.v_proj, self.output_proj = q_proj, k_proj, v_proj, output_proj

    def extra_repr(self) -> str:
        """Settings that no submodule shows."""
        return f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}"

    def queries(self, x: Tensor) -> Tensor:
        """``[b, q, d_q] -> [b, h, q, e]``."""
        return self._split(self.q_proj(x), self.num_heads)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[b, k, d_k]`` -> keys and values ``[b, kv_heads, k, e]`` each, as a cache keeps them."""
        return self._split(self.k_proj(x), self.num_kv_heads), self._split(self.v_proj(x), self.num_kv_heads)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of projected ``q`` over projected ``k`` and ``v``, then the output projection: ``[b, q, d]``."""
        values = F.scaled_dot_product_attention(
            q,
            *self.repeat_kv(k, v),
            attn_mask=_with_heads(mask),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=False,
        )
        return self.merge_heads(values)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend from ``x`` to ``context`` (to ``x`` itself when None).

        Args:
            x: ``[b, q, d_q]``.
            context: ``[b, k, d_k]``.
            mask: boolean ``[q, k]`` or ``[b, q, k]``, True = may attend. None means everything.

        Returns:
            ``[b, q, d]``.
        """
        return self.attend(self.queries(x), *self.keys_values(x if context is None else context), mask)

    def forward_with_weights(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> AttentionOutput:
        """The same, with the weights; it holds all scores in memory, so use it to look, not to train."""
        q = self.queries(x)
        k, v = self.repeat_kv(*self.keys_values(x if context is None else context))
        scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~_required(_with_heads(mask)), float("-inf"))
        weights = scores.softmax(dim=-1)
        return AttentionOutput(self.merge_heads(weights @ v), weights)

    def repeat_kv(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values with one head for each query head."""
        groups = self.num_heads // self.num_kv_heads
        return (k, v) if groups == 1 else (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1))

    def merge_heads(self, values: Tensor) -> Tensor:
        """``[b, h, q, e] -> [b, q, d]`` through the output projection."""
        out: Tensor = self.output_proj(values.transpose(1, 2).flatten(2))
        return out

    @staticmethod
    def _split(x: Tensor, heads: int) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def _with_heads(mask: Tensor | None) -> Tensor | None:
    """``[q, k]`` or ``[b, q, k]`` so that it broadcasts over heads."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask is boolean, True = may attend, got {mask.dtype}")
    return mask if mask.ndim == 2 else mask[:, None]


def _required(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask


def multi_head_attention(
    query_dim: int,
    *,
    num_heads: int,
    context_dim: int | None = None,
    num_kv_heads: int | None = None,
    bias: bool = True,
    dropout: float = 0.0,
) -> MultiHeadAttention:
    """Build the usual attention from numbers: four linear layers, heads of width ``query_dim / num_heads``."""
    if num_heads < 1 or query_dim % num_heads:
        raise ValueError(f"the width must be a multiple of the number of heads, got {query_dim=} and {num_heads=}")
    kv_dim = query_dim // num_heads * (num_heads if num_kv_heads is None else num_kv_heads)
    context_dim = query_dim if context_dim is None else context_dim
    return MultiHeadAttention(
        q_proj=nn.Linear(query_dim, query_dim, bias=bias),
        k_proj=nn.Linear(context_dim, kv_dim, bias=bias),
        v_proj=nn.Linear(context_dim, kv_dim, bias=bias),
        output_proj=nn.Linear(query_dim, query_dim, bias=bias),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        dropout=dropout,
    )


# ---- attention over keys that come in blocks -------------------------------------------------------------------


class PartialAttention(NamedTuple):
    """Attention over some of the keys, and what it takes to merge it with attention over others."""

    values: Tensor
    """``[b, h, q, e]``, normalized over the keys seen so far."""
    log_sum_exp: Tensor
    """``[b, h, q]``, of the scaled scores over the keys seen so far."""


def attend_block(q: Tensor, k: Tensor, v: Tensor) -> PartialAttention:
    """Attention of every query over every key of one block, with its log-sum-exp.

    The fused kernels hand out the log-sum-exp but no gradient for it, so they are taken only where no gradient is
    wanted; elsewhere the same numbers come from plain tensor operations.

    Args:
        q: ``[b, h, q, e]``.
        k: ``[b, h, k, e]``.
        v: ``[b, h, k, e]``.
    """
    wants_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if not wants_grad and (fused := _fused_block(q, k, v)) is not None:
        return fused
    scores = (q.float() @ k.float().transpose(-2, -1)) * q.shape[-1] ** -0.5
    log_sum_exp = scores.logsumexp(dim=-1)
    return PartialAttention((scores - log_sum_exp[..., None]).exp() @ v.float(), log_sum_exp)


def _fused_block(q: Tensor, k: Tensor, v: Tensor) -> PartialAttention | None:
    """The fused kernel of this device, None where there is none for these tensors."""
    operators = torch.ops.aten
    if q.device.type == "cpu" and q.dtype in (torch.float32, torch.bfloat16, torch.float16):
        values, log_sum_exp = operators._scaled_dot_product_flash_attention_for_cpu(q, k, v)[:2]
    elif q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16) and q.shape[-1] % 8 == 0:
        values, log_sum_exp = operators._scaled_dot_product_flash_attention(q, k, v)[:2]
    elif q.device.type == "cuda" and q.dtype == torch.float32 and q.shape[-1] % 4 == 0:
        values, log_sum_exp = operators._scaled_dot_product_efficient_attention(q, k, v, None, True)[:2]
    else:
        return None
    # CUDA kernels pad the log-sum-exp to whole tiles
    return PartialAttention(values.float(), log_sum_exp[..., : q.shape[-2]].float())


def merge_partial(seen: PartialAttention, new: PartialAttention) -> PartialAttention:
    """Attention over the union of two disjoint sets of keys, exactly: weights are shares of the summed exponentials.

    ``seen`` may be empty (log-sum-exp of minus infinity), ``new`` may not.
    """
    log_sum_exp = torch.logaddexp(seen.log_sum_exp, new.log_sum_exp)
    old_share = (seen.log_sum_exp - log_sum_exp).exp()[..., None]
    new_share = (new.log_sum_exp - log_sum_exp).exp()[..., None]
    return PartialAttention(seen.values * old_share + new.values * new_share, log_sum_exp)
