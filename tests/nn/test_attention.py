from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vidcausal.nn.attention import (
    MultiHeadAttention,
    PartialAttention,
    attend_block,
    merge_partial,
    multi_head_attention,
)


def naive(module: MultiHeadAttention, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
    """Attention as in the textbook: one query, one head, one sum at a time."""
    q, k, v = module.q_proj(x), module.k_proj(context), module.v_proj(context)
    width = q.shape[-1] // module.num_heads
    share = module.num_heads // module.num_kv_heads
    out = torch.zeros(*q.shape, dtype=q.dtype)
    for b in range(q.shape[0]):
        for head in range(module.num_heads):
            mine = slice(head * width, (head + 1) * width)
            theirs = slice(head // share * width, (head // share + 1) * width)
            for row in range(q.shape[1]):
                scores = (k[b, :, theirs] @ q[b, row, mine]) / width**0.5
                if mask is not None:
                    seen = mask[row] if mask.ndim == 2 else mask[b, row]
                    scores = torch.where(seen, scores, torch.tensor(float("-inf")))
                out[b, row, mine] = scores.softmax(0) @ v[b, :, theirs]
    result: Tensor = module.output_proj(out)
    return result


@pytest.fixture
def parts() -> tuple[MultiHeadAttention, Tensor, Tensor]:
    torch.manual_seed(0)
    return multi_head_attention(24, context_dim=10, num_heads=4), torch.randn(2, 7, 24), torch.randn(2, 11, 10)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_it_is_textbook_attention(kind: str, kv_heads: int) -> None:
    torch.manual_seed(1)
    module = multi_head_attention(24, context_dim=10, num_heads=4, num_kv_heads=kv_heads)
    x, context = torch.randn(2, 7, 24), torch.randn(2, 11, 10)
    mask = {"none": None, "shared": torch.rand(7, 11) > 0.4, "own": torch.rand(2, 7, 11) > 0.4}[kind]
    if mask is not None:
        mask[..., 0] = True
    expected = naive(module, x, context, mask)
    torch.testing.assert_close(module(x, context, mask), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(module.forward_with_weights(x, context, mask).values, expected, atol=1e-5, rtol=0)


def test_weights_are_given_on_request(parts: tuple[MultiHeadAttention, Tensor, Tensor]) -> None:
    module, x, context = parts
    mask = torch.ones(7, 11, dtype=torch.bool)
    mask[:, 5:] = False
    weights = module.forward_with_weights(x, context, mask).weights
    assert weights.shape == (2, 4, 7, 11)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 7))
    assert float(weights[..., 5:].detach().abs().max()) == 0.0


def test_no_mask_means_everything(parts: tuple[MultiHeadAttention, Tensor, Tensor]) -> None:
    module, x, context = parts
    dense = module(x, context, torch.ones(7, 11, dtype=torch.bool))
    torch.testing.assert_close(module(x, context), dense, atol=1e-6, rtol=0)


def test_the_is_causal_trap_of_wrappers_is_closed(parts: tuple[MultiHeadAttention, Tensor, Tensor]) -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    class Unguarded(nn.Module):
        pass

    module, x, context = parts
    q, (k, v) = module.queries(x), module.keys_values(context)
    expected = naive(module, x, context, None)
    guarded = module.output_proj(sdpa_attention_forward(module, q, k, v, None)[0].flatten(2))
    torch.testing.assert_close(guarded, expected, atol=1e-5, rtol=0)
    trapped = module.output_proj(sdpa_attention_forward(Unguarded(), q, k, v, None)[0].flatten(2))
    assert float((trapped - expected).detach().abs().max()) > 1e-3, "the wrapper no longer has the trap"


def test_a_float_mask_is_refused(parts: tuple[MultiHeadAttention, Tensor, Tensor]) -> None:
    module, x, context = parts
    with pytest.raises(ValueError, match="boolean"):
        module(x, context, torch.zeros(7, 11))


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="query_dim=10"):
        multi_head_attention(10, num_heads=4)
    with pytest.raises(ValueError, match="num_kv_heads=3"):
        multi_head_attention(16, num_heads=4, num_kv_heads=3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.floats(0.1, 30), st.integers(0, 99))
def test_blocks_merge_to_one_softmax(lengths: list[int], queries: int, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    q = torch.randn(1, 2, queries, 8) * scale
    k, v = torch.randn(1, 2, sum(lengths), 8), torch.randn(1, 2, sum(lengths), 8)
    state = PartialAttention(torch.zeros(1, 2, queries, 8), torch.full((1, 2, queries), float("-inf")))
    for keys, values in zip(k.split(lengths, 2), v.split(lengths, 2), strict=True):
        state = merge_partial(state, attend_block(q, keys, values))
    scores = q @ k.transpose(-2, -1) / 8**0.5
    # a score of size s is known to s * 6e-8 in fp32, and that error is the relative error of its weight
    tolerance = 1e-5 * max(1.0, scale / 3)
    torch.testing.assert_close(state.values, scores.softmax(-1) @ v, atol=tolerance, rtol=0)
    torch.testing.assert_close(state.log_sum_exp, scores.logsumexp(-1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_fused_block_is_the_plain_one(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 16).to(dtype) for n in (5, 40, 40))
    fused = attend_block(q, k, v)
    plain = attend_block(q.clone().requires_grad_(), k, v)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    for one, other in zip(fused, plain, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other.detach(), atol=tolerance, rtol=tolerance)
