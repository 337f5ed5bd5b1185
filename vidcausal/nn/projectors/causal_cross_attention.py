"""The projector of Video-CCAM (arXiv 2408.14023): one pool of learned queries under a staircase mask.

``q`` queries are shared out over the video in order; a query sees the frames of its own share and all earlier ones. The
language model always gets ``q`` tokens, whatever the number of frames; an image is the case of one frame.

Published: the sizes (config.json of Video-CCAM-7B-v1.2). Not published: where the norms stand, whether the queries
have a residual, and how shares are rounded; these are switches.

Letters: b batch, h heads, q queries, t frames, f frames of a block, p patches a frame, e width of a head.
"""

from __future__ import annotations

import bisect

import torch
from torch import Tensor, nn

from vidcausal.nn.attention import PartialAttention, attend_block, merge_partial, multi_head_attention
from vidcausal.nn.feed_forward import FeedForward, init_weights
from vidcausal.nn.masks import (
    Rounding,
    causal_cross_attention_mask,
    ragged_causal_cross_attention_mask,
    visible_frames,
)
from vidcausal.nn.projectors.base import ProjectedTokens, Projector

_ROWS_AT_ONCE = 256


class CausalCrossAttentionProjector(Projector):
    """Global query pool, one cross-attention under the staircase mask, feed-forward to the language model's width.

    ``h = query + attention(norm(query), norm(features), mask)``, ``tokens = mlp(norm(h))``.

    With the default ``norm_affine=False`` the norms have no weights of their own: each one stands before linear layers
    with biases, which can hold its scale and shift, so nothing is lost, and the sizes of 7B-v1.2 give exactly the
    28,589,568 parameters that its shards leave for the projector.

    Args:
        vision_dim: width of the features.
        output_dim: width of the language model.
        num_queries: tokens a video becomes.
        hidden_dim: width of queries and attention.
        num_heads: attention heads.
        num_kv_heads: fewer key heads (grouped queries); None for as many.
        intermediate_dim: hidden width of the feed-forward.
        activation: of the feed-forward, ``"swiglu"`` in v1.2, ``"gelu"`` in v1.0.
        bias: biases in attention and feed-forward.
        rounding: how shares are rounded when ``q`` is not a multiple of ``t``, see :func:`visible_frames`.
        causal: False lets every query see every frame: the same pool without order, for comparison.
        norm_queries: normalize queries before attention.
        norm_keys: normalize features before attention.
        norm_mlp: normalize before the feed-forward.
        norm_affine: norms with learned scale and shift.
        norm_eps: added to the variance.
        residual: add the queries to what attention gives.
        dropout: on the attention output, in training.
        attention_dropout: on the attention weights, in training.
        block_frames: frames that a stream takes at a time.
    """

    def __init__(
        self,
        vision_dim: int,
        output_dim: int,
        *,
        num_queries: int = 1024,
        hidden_dim: int = 1024,
        num_heads: int = 16,
        num_kv_heads: int | None = None,
        intermediate_dim: int = 4096,
        activation: str = "swiglu",
        bias: bool = True,
        rounding: Rounding = "ceil",
        causal: bool = True,
        norm_queries: bool = True,
        norm_keys: bool = True,
        norm_mlp: bool = True,
        norm_affine: bool = False,
        norm_eps: float = 1e-5,
        residual: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        block_frames: int = 2,
    ) -> None:
        super().__init__(vision_dim, output_dim)
        if min(num_queries, block_frames) < 1:
            raise ValueError(f"num_queries and block_frames must be positive, got {num_queries=}, {block_frames=}")
        visible_frames(num_queries, 1, rounding)

        def norm(width: int, wanted: bool) -> nn.Module:
            return nn.LayerNorm(width, eps=norm_eps, elementwise_affine=norm_affine) if wanted else nn.Identity()

        self.num_queries, self.rounding, self.causal = num_queries, rounding, causal
        self.residual, self.block_frames = residual, block_frames
        self.query = nn.Parameter(torch.empty(num_queries, hidden_dim))
        self.norm_query = norm(hidden_dim, norm_queries)
        self.norm_key = norm(vision_dim, norm_keys)
        self.attention = multi_head_attention(
            hidden_dim,
            context_dim=vision_dim,
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            bias=bias,
            dropout=attention_dropout,
        )
        self.dropout = nn.Dropout(dropout)
        self.norm_mlp = norm(hidden_dim, norm_mlp)
        self.mlp = FeedForward(hidden_dim, intermediate_dim, output_dim, activation=activation, bias=bias)
        nn.init.normal_(self.query, std=0.02)
        init_weights(self)

    def extra_repr(self) -> str:
        """Settings that no submodule shows."""
        settings = {"rounding": self.rounding, "causal": self.causal, "residual": self.residual}
        return ", ".join([f"num_queries={self.num_queries}", *(f"{key}={value}" for key, value in settings.items())])

    def num_tokens(self, num_frames: int, patches_per_frame: int) -> int:
        """Always the size of the pool."""
        return self.num_queries

    def limits(self, num_frames: int) -> Tensor:
        """int64 ``[q]``: how many frames each query may know of in a video of ``num_frames``."""
        if not self.causal:
            return torch.full((self.num_queries,), num_frames)
        return visible_frames(self.num_queries, num_frames, self.rounding)

    def project(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> ProjectedTokens:
        """See :meth:`Projector.project`: one masked attention over all frames; any device, and it trains."""
        features = self.check_features(features, pts_seconds, frame_mask)
        b, t, p, _ = features.shape
        keys = self.norm_key(features.flatten(1, 2))
        mask, last = self._mask(b, t, p, frame_mask, features.device)
        queries = self.query.expand(b, -1, -1)
        attended = self.attention(self.norm_query(queries), keys, mask)
        return ProjectedTokens(self.to_tokens(attended), last)

    def stream(self, num_frames: int | None = None) -> CausalCrossAttentionStream:
        """Absorb frames block by block; exact, and the state does not grow with the number of frames."""
        if num_frames is None or num_frames < 1:
            raise ValueError(
                f"the queries are shared out over the whole video, so a stream needs num_frames >= 1, "
                f"got {num_frames}; for a video without a known end use PerFrameCausalProjector"
            )
        return CausalCrossAttentionStream(self, num_frames)

    def to_tokens(self, attended: Tensor, rows: slice = slice(None)) -> Tensor:
        """Residual, norm and feed-forward: ``[b, rows, hidden_dim] -> [b, rows, d]``."""
        hidden = self.dropout(attended)
        if self.residual:
            hidden = hidden + self.query[rows]
        out: Tensor = self.mlp(self.norm_mlp(hidden))
        return out

    def _mask(
        self, b: int, t: int, p: int, frame_mask: Tensor | None, device: torch.device
    ) -> tuple[Tensor | None, Tensor]:
        """The mask, and the latest frame each query may know of, ``[b, q]``."""
        if frame_mask is None:
            last = (self.limits(t).to(device) - 1).expand(b, -1)
            if not self.causal or t == 1:
                return None, last
            return causal_cross_attention_mask(self.num_queries, t, p, rounding=self.rounding, device=device), last
        if self.causal:
            mask = ragged_causal_cross_attention_mask(frame_mask, self.num_queries, p, rounding=self.rounding)
        else:
            mask = frame_mask.repeat_interleave(p, dim=1)[:, None].expand(b, self.num_queries, t * p)
        frames = torch.arange(t, device=device)
        last = torch.where(mask[:, :, ::p], frames, -1).amax(dim=2)
        return mask, last


class CausalCrossAttentionStream:
    """Cross-attention that meets the frames a block at a time; see :class:`ProjectorStream`.

    State: for each query the attention so far and its log-sum-exp. A block is attended by the queries that may see it
    and merged by shares of the exponentials, so the result is that of one softmax over all frames. A query whose last
    frame is in never changes again and is handed out.
    """

    def __init__(self, projector: CausalCrossAttentionProjector, num_frames: int) -> None:
        self._projector = projector
        self._limits: list[int] = projector.limits(num_frames).tolist()
        self._num_frames = num_frames
        self._frames_seen = 0
        self._queries: Tensor | None = None
        self._state: PartialAttention | None = None

    def absorb(self, features: Tensor, pts_seconds: Tensor) -> ProjectedTokens:
        """Take the next frames; give the tokens that may know no later one."""
        projector = self._projector
        features = projector.check_features(features, pts_seconds)
        before, now = self._frames_seen, self._frames_seen + features.shape[1]
        if now > self._num_frames:
            raise ValueError(f"the stream was opened for {self._num_frames} frames, got {now}")
        if self._state is None:
            self._start(features)
        for start in range(0, features.shape[1], projector.block_frames):
            self._absorb_block(features[:, start : start + projector.block_frames])
        rows = slice(bisect.bisect_right(self._limits, before), bisect.bisect_right(self._limits, now))
        last = torch.tensor(self._limits[rows], dtype=torch.int64, device=features.device) - 1
        return ProjectedTokens(self._finished(rows, features), last.expand(len(features), -1))

    def _finished(self, rows: slice, features: Tensor) -> Tensor:
        """Tokens of ``rows``, a few hundred at a time: the hidden layer is four times as wide as the queries."""
        state, projector = self._required_state(), self._projector
        tokens = features.new_empty(len(features), rows.stop - rows.start, projector.output_dim)
        for start in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            some = slice(start, min(start + _ROWS_AT_ONCE, rows.stop))
            attended = projector.attention.merge_heads(state.values[:, :, some].to(features.dtype))
            tokens[:, start - rows.start : some.stop - rows.start] = projector.to_tokens(attended, some)
        return tokens

    def _start(self, features: Tensor) -> None:
        projector = self._projector
        queries = projector.norm_query(projector.query).expand(len(features), -1, -1)
        self._queries = projector.attention.queries(queries).contiguous()
        values = torch.zeros_like(self._queries, dtype=torch.float32)
        self._state = PartialAttention(values, torch.full_like(values[..., 0], float("-inf")))

    def _absorb_block(self, features: Tensor) -> None:
        projector, (_, f, p, _) = self._projector, features.shape
        first, end = self._frames_seen, self._frames_seen + f
        self._frames_seen = end
        k, v = projector.attention.keys_values(projector.norm_key(features.flatten(1, 2)))
        k, v = projector.attention.repeat_kv(k, v)
        whole = bisect.bisect_left(self._limits, end)  # from this row on, queries see the whole block
        for frame in range(first, end - 1):  # the stairs: rows that see the block up to some frame only
            rows = slice(bisect.bisect_right(self._limits, frame), whole)
            keys = slice((frame - first) * p, (frame - first + 1) * p)
            self._merge(rows, k[:, :, keys], v[:, :, keys])
        self._merge(slice(whole, len(self._limits)), k, v)

    def _merge(self, rows: slice, k: Tensor, v: Tensor) -> None:
        if rows.start >= rows.stop:
            return
        state = self._required_state()
        assert self._queries is not None
        new = attend_block(self._queries[:, :, rows], k, v)
        merged = merge_partial(PartialAttention(state.values[:, :, rows], state.log_sum_exp[:, :, rows]), new)
        self._state = PartialAttention(
            torch.cat([state.values[:, :, : rows.start], merged.values, state.values[:, :, rows.stop :]], dim=2),
            torch.cat(
                [state.log_sum_exp[:, :, : rows.start], merged.log_sum_exp, state.log_sum_exp[:, :, rows.stop :]], dim=2
            ),
        )

    def _required_state(self) -> PartialAttention:
        assert self._state is not None
        return self._state
