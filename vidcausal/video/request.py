"""What ``video`` asks of a backend, and what a backend gives back. Matched by pts, never by index."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vidcausal.errors import DecodeTimeoutError
from vidcausal.video.probe import VideoInfo


@dataclass(frozen=True)
class ReadRequest:
    """Frames to decode from one file.

    ``indices`` are sorted, unique positions in ``info.pts_seconds``; a backend that counts frames differently must
    look them up by ``info.pts_seconds[i] + info.start_offset`` (container seconds).
    """

    info: VideoInfo
    indices: tuple[int, ...]
    size: tuple[int, int] | None = None
    """Output height and width after rotation; None keeps the displayed size."""
    device: str = "cpu"
    threads: int = 0
    """Decoder threads, 0 lets the backend choose."""
    deadline_seconds: float | None = None
    """Give up with DecodeTimeoutError after this many seconds."""

    def check_deadline(self, started: float, done: int, library: str) -> None:
        """Give up when it is time; for libraries that decode a piece at a time.

        Args:
            started: ``time.monotonic()`` when the read began.
            done: frames read so far.
            library: what the message calls the backend.

        Raises:
            DecodeTimeoutError: the deadline has passed.
        """
        if self.deadline_seconds is not None and time.monotonic() - started > self.deadline_seconds:
            raise DecodeTimeoutError(
                f"{self.info.path}: {library} read {done} of {len(self.indices)} frames within "
                f"{self.deadline_seconds:.0f} s; ask for fewer frames or give it longer"
            )


@dataclass(frozen=True)
class RawFrames:
    """Frames of a backend: ``data`` uint8 ``[k, 3, h, w]`` RGB upright; ``pts_seconds`` ``[k]`` as in the index."""

    data: Tensor
    pts_seconds: tuple[float, ...]
    bad_packets: int = 0
    total_packets: int = 0


class Backend(Protocol):
    """One private module a backend has these three functions (a module satisfies this protocol)."""

    def version(self) -> str:
        """Version of the library, for records and cache keys."""
        ...

    def unavailable(self, device: str) -> str | None:
        """Why this backend cannot run here on ``device`` ("cpu" or "cuda"), one line; None when it can."""
        ...

    def read_frames(self, request: ReadRequest) -> RawFrames:
        """Decode. Frames that cannot be had are left out; errors are members of the MediaError family."""
        ...
