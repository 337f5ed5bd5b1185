"""Frames and their true times, traveling together.

Letters: t frames, h height, w width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidcausal.types import TIME_SLACK, Span


@dataclass(frozen=True)
class FrameBatch:
    """Decoded frames of one video, in time order, with where they came from."""

    data: Tensor
    """RGB pixels, uint8 ``[t, 3, h, w]``, on the device that was asked for."""
    pts_seconds: Tensor
    """Time of each returned frame, float64 ``[t]`` on the CPU, seconds since the first displayed frame."""
    requested_seconds: Tensor | None = None
    """Times that were asked for, float64 ``[n]``, n >= t."""
    missing_seconds: tuple[float, ...] = ()
    """Asked-for times for which no frame could be decoded."""
    bad_packets: int = 0
    """Packets the decoder rejected while reading."""
    damaged: bool = False
    """True when so much was bad (1 % of the packets, or a missing frame) that scores should not trust the sample."""
    backend: str = ""
    """The backend that decoded, with its version, for example ``"pyav 18.1.0"``."""
    key: str | None = None
    """Hash of media digest, plan, size and backend: what caches are keyed by. None for frames made in memory."""

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[1] != 3 or self.data.dtype != torch.uint8:
            raise ValueError(
                f"frames must be uint8 [t, 3, h, w], got {self.data.dtype} {list(self.data.shape)}; "
                "permute to channels first and keep 0..255"
            )
        if self.pts_seconds.shape != (self.data.shape[0],):
            raise ValueError(
                f"one time a frame: got {self.data.shape[0]} frames and pts_seconds of shape "
                f"{list(self.pts_seconds.shape)}"
            )

    def __len__(self) -> int:
        return int(self.data.shape[0])

    def __repr__(self) -> str:
        t, _, h, w = self.data.shape
        first, last = (float(self.pts_seconds[0]), float(self.pts_seconds[-1])) if t else (math.nan, math.nan)
        return (
            f"FrameBatch({t} frames {h}x{w} on {self.data.device}, {first:.2f}-{last:.2f} s, "
            f"backend={self.backend!r}, damaged={self.damaged})"
        )

    def between(self, span: Span) -> FrameBatch:
        """Frames with ``span.start <= pts < span.end`` (a half-millisecond of slack at both ends)."""
        keep = (self.pts_seconds >= span.start - TIME_SLACK) & (self.pts_seconds < span.end - TIME_SLACK)
        index = keep.nonzero()[:, 0]
        key = None if self.key is None else f"{self.key}[{span.start:.4f}:{span.end:.4f}]"
        return replace(self, data=self.data[index.to(self.data.device)], pts_seconds=self.pts_seconds[index], key=key)

    def to(self, device: torch.device | str) -> FrameBatch:
        """The same batch with its pixels on ``device``."""
        return replace(self, data=self.data.to(device))
