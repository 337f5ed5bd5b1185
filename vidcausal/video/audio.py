"""The sound of a video as numbers, on the same clock as its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import MediaLimitError
from vidcausal.types import Span
from vidcausal.video import ffmpeg

if TYPE_CHECKING:
    from vidcausal.video.limits import MediaLimits
    from vidcausal.video.probe import VideoInfo

MAX_SECONDS = 6 * 3600.0
"""Longer waveforms are refused; read them in spans."""


@dataclass(frozen=True)
class Waveform:
    """Mono sound. Sample 0 is at the first displayed frame, or at the start of the span that was asked for."""

    samples: NDArray[np.float32]
    """Amplitudes in [-1, 1], float32 ``[n]``; n = 0 for a video without sound."""
    sample_rate: int
    """Samples a second."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


def read_waveform(
    source: str | Path | VideoInfo,
    sample_rate: int = 16_000,
    span: Span | None = None,
    *,
    limits: MediaLimits | None = None,
    media_root: str | Path | None = None,
) -> Waveform:
    """The first sound stream of a video, mixed to one channel.

    The clock is that of the frames: sound before the first displayed frame is cut off, a stream that starts later
    begins with silence, and gaps are filled with silence.

    Args:
        source: a path, or what :func:`~vidcausal.video.probe.probe` returned for it.
        sample_rate: samples a second of the result.
        span: seconds of the video to read; None reads all of it.
        limits: allow-lists and caps; None takes the default ones.
        media_root: files outside this folder are refused.

    Returns:
        The waveform; zero samples where the video has no sound.

    Raises:
        MediaError: the file is refused or cannot be decoded.
    """
    from vidcausal.video.probe import probe

    info = probe(source, limits=limits, media_root=media_root) if isinstance(source, str | Path) else source
    wanted = span if span is not None else Span(0.0, info.duration)
    if wanted.duration > MAX_SECONDS:
        raise MediaLimitError(
            f"{info.path}: {wanted.duration:.0f} s of sound were asked for; {MAX_SECONDS:.0f} are allowed, give a span"
        )
    if not info.has_audio or wanted.duration == 0:
        return Waveform(np.zeros(0, dtype=np.float32), sample_rate)
    # -copyts keeps the container's clock, so that the first frame's time can be taken off; first_pts=0 then pads a
    # late start with silence and trims an early one.
    sound = (
        ffmpeg.media_input(info.path, copyts=None)["a:0"]
        .filter("asetpts", f"PTS-({info.start_offset:.6f}/TB)")
        .filter("aresample", sample_rate, **{"async": 1, "first_pts": 0})
        .filter("atrim", start=wanted.start, end=wanted.end)
    )
    node = sound.output("pipe:1", format="f32le", acodec="pcm_f32le", ac=1, ar=sample_rate)
    deadline = 30.0 + 0.5 * wanted.end
    count = round(wanted.duration * sample_rate)
    raw = ffmpeg.run(node, deadline=deadline, source=info.path, limit_bytes=4 * (count + sample_rate))
    return Waveform(np.frombuffer(raw, dtype="<f4")[:count].astype(np.float32), sample_rate)
