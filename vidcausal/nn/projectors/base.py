"""What every projector is: vision features in, language-model tokens out, and what each token may know.

Letters: b batch, t frames, p patches a frame, d_v vision width, q tokens, d language width.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class ProjectedTokens(NamedTuple):
    """Tokens for the language model."""

    tokens: Tensor
    """``[b, q, d]``."""
    frame_index: Tensor
    """int64 ``[b, q]``: the latest frame (index into ``features``) that the token may know of, -1 for a token that
    stands for a padded frame (its values are zero)."""


class ProjectorStream(Protocol):
    """A video that arrives a few frames at a time."""

    def absorb(self, features: Tensor, pts_seconds: Tensor) -> ProjectedTokens:
        """Take the next frames and give the tokens that are complete now, possibly none.

        What all calls gave, one after the other, is what :meth:`Projector.project` gives for the whole video. Frame
        indices count from the start of the stream.

        Args:
            features: ``[b, f, p, d_v]``, the next ``f`` frames.
            pts_seconds: ``[b, f]``.
        """
        ...


class Projector(nn.Module, abc.ABC):
    """Base of the projectors.

    ``vision_dim`` and ``output_dim`` are the widths in and out. ``tokens_per_frame`` is None for a pool of tokens over
    the whole video; else token ``i`` belongs to frame ``i // n``, and a caller can put a timestamp before each block.

    Ragged batches: pad the shorter videos with frames of any content and say which ones are real in ``frame_mask``.
    Padded frames are set to zero on arrival and never attended, so not even NaN in them reaches a token.
    """

    def __init__(self, vision_dim: int, output_dim: int) -> None:
        super().__init__()
        if min(vision_dim, output_dim) < 1:
            raise ValueError(f"widths must be positive, got {vision_dim=} and {output_dim=}")
        self.vision_dim = vision_dim
        self.output_dim = output_dim
        self.spec: dict[str, Any] | None = None
        """``kind`` and sizes that build the same projector again; set by :func:`build_projector`."""

    def tokens_per_frame(self, patches_per_frame: int) -> int | None:
        """Tokens a frame of ``patches_per_frame`` features has of its own, None for a pool over the whole video."""
        return None

    @abc.abstractmethod
    def num_tokens(self, num_frames: int, patches_per_frame: int) -> int:
        """How many tokens a video of ``num_frames`` frames becomes."""

    @abc.abstractmethod
    def project(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> ProjectedTokens:
        """Features of whole videos to tokens.

        Args:
            features: ``[b, t, p, d_v]``.
            pts_seconds: ``[b, t]``, the true time of each frame.
            frame_mask: boolean ``[b, t]``, True = a real frame; None when no frame is padding.
        """

    @abc.abstractmethod
    def stream(self, num_frames: int | None = None) -> ProjectorStream:
        """A fresh stream; ``num_frames`` must be known in advance where the tokens are shared out over the video."""

    def forward(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> ProjectedTokens:
        """The same as :meth:`project`."""
        return self.project(features, pts_seconds, frame_mask)

    def check_features(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """``features`` with padded frames set to zero.

        Raises:
            ValueError: a shape that does not fit; the message has what was got.
        """
        if features.ndim != 4 or features.shape[-1] != self.vision_dim or 0 in features.shape:
            raise ValueError(f"features must be [b, t, p, {self.vision_dim}], got {list(features.shape)}")
        if pts_seconds.shape != features.shape[:2]:
            raise ValueError(
                f"one time a frame: features have [b, t] = {list(features.shape[:2])}, "
                f"pts_seconds is {list(pts_seconds.shape)}"
            )
        if frame_mask is None:
            return features
        if frame_mask.shape != features.shape[:2]:
            raise ValueError(f"frame_mask must be [b, t] = {list(features.shape[:2])}, got {list(frame_mask.shape)}")
        return features.masked_fill(~frame_mask[:, :, None, None], 0.0)


def own_frame_tokens(blocks: Tensor, frame_mask: Tensor | None = None, first_frame: int = 0) -> ProjectedTokens:
    """Tokens of projectors that keep a block a frame.

    Args:
        blocks: ``[b, t, n, d]``.
        frame_mask: boolean ``[b, t]``; blocks of padded frames become zero with index -1.
        first_frame: index of the first frame.
    """
    b, t, n, _ = blocks.shape
    index = torch.arange(first_frame, first_frame + t, device=blocks.device).expand(b, t)
    if frame_mask is not None:
        blocks = blocks.masked_fill(~frame_mask[:, :, None, None], 0.0)
        index = index.masked_fill(~frame_mask, -1)
    return ProjectedTokens(blocks.flatten(1, 2), index.repeat_interleave(n, dim=1))


class FrameByFrameStream:
    """The stream of a projector whose frames do not look at one another: each chunk is a video of its own."""

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self._frames_seen = 0

    def absorb(self, features: Tensor, pts_seconds: Tensor) -> ProjectedTokens:
        """Tokens of the given frames."""
        tokens, frame_index = self._projector.project(features, pts_seconds)
        frame_index = frame_index + self._frames_seen
        self._frames_seen += features.shape[1]
        return ProjectedTokens(tokens, frame_index)
