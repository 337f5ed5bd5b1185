"""A fixed number of tokens a frame, each of which knows its own and all earlier frames.

Unlike a global pool the number of tokens grows with the video, but a frame keeps tokens of its own, so a timestamp can
stand before each block, and a video without a known end can be streamed: a new frame changes no earlier token.

Letters: b batch, t frames, p patches a frame, n queries a frame, h heads, e width of a head, d hidden width.
"""

from __future__ import annotations

import math
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from vidcausal.nn.attention import multi_head_attention
from vidcausal.nn.feed_forward import FeedForward, init_weights
from vidcausal.nn.masks import block_causal_mask
from vidcausal.nn.projectors.base import (
    FrameByFrameStream,
    ProjectedTokens,
    Projector,
    ProjectorStream,
    own_frame_tokens,
)

BetweenFrames = Literal["causal", "full", "none"]


def time_embedding(pts_seconds: Tensor, dim: int, *, shortest: float = 0.1, longest: float = 20_000.0) -> Tensor:
    """Sines and cosines of true times, with periods from ``shortest`` to ``longest`` seconds: ``[..., dim]`` float32.

    Seconds, not frame numbers, so that the same moment looks the same at every sampling rate.
    """
    half = dim // 2
    steps = torch.arange(half, device=pts_seconds.device, dtype=torch.float64) / max(half - 1, 1)
    periods = shortest * (longest / shortest) ** steps
    angles = pts_seconds.double()[..., None] * (2 * math.pi / periods)
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).float()
    return nn.functional.pad(waves, (0, dim - 2 * half))


class BlockCausalLayer(nn.Module):
    """Pre-norm self-attention between the tokens of frames, then a feed-forward."""

    def __init__(self, dim: int, *, num_heads: int, intermediate_dim: int, activation: str, norm_eps: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim, eps=norm_eps)
        self.attention = multi_head_attention(dim, num_heads=num_heads)
        self.norm_mlp = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = FeedForward(dim, intermediate_dim, dim, activation=activation)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What later frames will look at: ``[b, h, t * n, e]`` twice."""
        return self.attention.keys_values(self.norm_attention(x))

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """``[b, t * n, d]`` attends to ``k`` and ``v``, which hold the past and ``x`` itself."""
        x = x + self.attention.attend(self.attention.queries(self.norm_attention(x)), k, v, mask)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class PerFrameCausalProjector(Projector):
    """``n`` learned queries read each frame, then look back at the tokens of earlier frames.

    Args:
        vision_dim: width of the features.
        output_dim: width of the language model.
        num_queries: n, tokens a frame becomes.
        hidden_dim: width of the queries.
        num_heads: attention heads.
        num_layers: block-causal layers between frames; 0 keeps the frames apart.
        intermediate_dim: hidden width of the feed-forwards.
        activation: of the feed-forwards.
        window: how many frames a token may look at, its own included; None for all. With a window the state of a
            stream stays bounded. (What a token knows still reaches further back, one window a layer.)
        norm_eps: added to the variance.
        attention: which frames the layers between frames let a frame see: ``"causal"`` itself and earlier ones,
            ``"full"`` all of them, ``"none"`` itself alone. The parameters are the same, so the three can be compared.
    """

    def __init__(
        self,
        vision_dim: int,
        output_dim: int,
        *,
        num_queries: int = 16,
        hidden_dim: int = 1024,
        num_heads: int = 16,
        num_layers: int = 2,
        intermediate_dim: int = 4096,
        activation: str = "swiglu",
        window: int | None = None,
        norm_eps: float = 1e-5,
        attention: BetweenFrames = "causal",
    ) -> None:
        super().__init__(vision_dim, output_dim)
        if attention not in get_args(BetweenFrames):
            raise ValueError(f"attention must be one of {', '.join(get_args(BetweenFrames))}, got {attention!r}")
        if window is not None and attention != "causal":
            raise ValueError(f"a window bounds the past of causal attention; got {window=} with {attention=}")
        if num_queries < 1 or num_layers < 0 or (window is not None and window < 1):
            raise ValueError(
                f"needed: num_queries >= 1, num_layers >= 0, window >= 1 or None; "
                f"got {num_queries=}, {num_layers=}, {window=}"
            )
        self.num_queries, self.window, self.attention = num_queries, window, attention
        self.query = nn.Parameter(torch.empty(num_queries, hidden_dim))
        self.norm_query = nn.LayerNorm(hidden_dim, eps=norm_eps)
        self.norm_key = nn.LayerNorm(vision_dim, eps=norm_eps)
        self.read = multi_head_attention(hidden_dim, context_dim=vision_dim, num_heads=num_heads)
        self.layers = nn.ModuleList(
            BlockCausalLayer(
                hidden_dim,
                num_heads=num_heads,
                intermediate_dim=intermediate_dim,
                activation=activation,
                norm_eps=norm_eps,
            )
            for _ in range(num_layers)
        )
        self.norm_output = nn.LayerNorm(hidden_dim, eps=norm_eps)
        self.output = nn.Linear(hidden_dim, output_dim)
        nn.init.normal_(self.query, std=0.02)
        init_weights(self)

    def extra_repr(self) -> str:
        """Settings that no submodule shows."""
        settings = f"num_queries={self.num_queries}, window={self.window}"
        # Left out where it is the default: this text is part of the fingerprint of models that exist.
        return settings if self.attention == "causal" else f"{settings}, attention={self.attention}"

    def tokens_per_frame(self, patches_per_frame: int) -> int:
        """As many as queries, whatever the number of patches."""
        return self.num_queries

    def num_tokens(self, num_frames: int, patches_per_frame: int) -> int:
        """As many as queries, for each frame."""
        return num_frames * self.num_queries

    def project(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> ProjectedTokens:
        """See :meth:`Projector.project`."""
        x = self.read_frames(self.check_features(features, pts_seconds, frame_mask), pts_seconds)
        b, t, n, _ = x.shape
        x, mask = x.flatten(1, 2), self._mask(t, frame_mask, x.device)
        for layer in self.block_causal_layers():
            x = layer(x, *layer.keys_values(x), mask)
        projected = own_frame_tokens(self.output(self.norm_output(x)).reshape(b, t, n, -1), frame_mask)
        if self.attention != "full" or not self.layers:
            return projected
        own = projected.frame_index
        return projected._replace(frame_index=own.amax(dim=1, keepdim=True).expand_as(own).where(own >= 0, own))

    def block_causal_layers(self) -> list[BlockCausalLayer]:
        """The layers between frames, first to last."""
        return cast("list[BlockCausalLayer]", list(self.layers))

    def stream(self, num_frames: int | None = None) -> ProjectorStream:
        """Feed frames as they come; ``num_frames`` need not be known.

        Raises:
            ValueError: every frame sees all frames, so none is complete before the last has come.
        """
        if self.attention == "full":
            raise ValueError(
                'attention="full" lets every frame see later ones, so frames cannot be streamed; give the whole video '
                'to project(), or build the projector with attention="causal"'
            )
        return FrameByFrameStream(self) if self.attention == "none" else PerFrameCausalStream(self)

    def read_frames(self, features: Tensor, pts_seconds: Tensor) -> Tensor:
        """Each frame read by the queries on its own: ``[b, t, p, d_v] -> [b, t, n, d]``, times added."""
        b, t = features.shape[:2]
        query = self.query.expand(b * t, -1, -1)
        read: Tensor = query + self.read(self.norm_query(query), self.norm_key(features.flatten(0, 1)))
        times = time_embedding(pts_seconds.to(features.device), read.shape[-1]).to(read.dtype)
        return read.reshape(b, t, *read.shape[1:]) + times[:, :, None]

    def _mask(self, t: int, frame_mask: Tensor | None, device: torch.device) -> Tensor | None:
        n = self.num_queries
        if frame_mask is None and self.attention == "causal":
            return None if t == 1 else block_causal_mask(t, n, window=self.window, device=device)
        own = torch.eye(t, dtype=torch.bool, device=device)
        if self.attention == "none":
            return own.repeat_interleave(n, 0).repeat_interleave(n, 1)
        if frame_mask is None:
            return None
        rank = frame_mask.long().cumsum(dim=1)  # counts real frames, so that padding takes no room in a window
        mask = frame_mask[:, None, :].expand(-1, t, -1)
        if self.attention == "causal":
            mask = mask & (rank[:, None, :] <= rank[:, :, None])
        if self.window is not None:
            mask = mask & (rank[:, None, :] > rank[:, :, None] - self.window)
        mask = mask | own  # a padded frame sees itself: no row may be empty
        return mask.repeat_interleave(n, 1).repeat_interleave(n, 2)


class PerFrameCausalStream:
    """Frames one by one with a cache of keys and values; see :class:`ProjectorStream`."""

    def __init__(self, projector: PerFrameCausalProjector) -> None:
        self._projector = projector
        self._frames_seen = 0
        self._cache: list[tuple[Tensor, Tensor]] = []

    def absorb(self, features: Tensor, pts_seconds: Tensor) -> ProjectedTokens:
        """The tokens of the given frames, which know everything before them."""
        projector = self._projector
        x = projector.read_frames(projector.check_features(features, pts_seconds), pts_seconds)
        b, t, n, _ = x.shape
        past = self._cache[0][0].shape[2] // n if self._cache else 0
        mask = None
        if t > 1 or projector.window is not None:
            mask = block_causal_mask(t, n, past_frames=past, window=projector.window, device=x.device)
        x, cache = x.flatten(1, 2), []
        for number, layer in enumerate(projector.block_causal_layers()):
            k, v = layer.keys_values(x)
            if self._cache:
                old_k, old_v = self._cache[number]
                k, v = torch.cat([old_k, k], dim=2), torch.cat([old_v, v], dim=2)
            x = layer(x, k, v, mask)
            keep = 0 if projector.window is None else max(0, k.shape[2] - (projector.window - 1) * n)
            cache.append((k[:, :, keep:], v[:, :, keep:]))
        self._cache = cache
        first, self._frames_seen = self._frames_seen, self._frames_seen + t
        return own_frame_tokens(projector.output(projector.norm_output(x)).reshape(b, t, n, -1), first_frame=first)
