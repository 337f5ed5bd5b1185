"""How the times of frames reach a chat model.

Video models were trained with times in different forms, and a wrong or missing time is silent: the answer is still
fluent. Everything that turns times into words or into processor metadata is therefore in this one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

TimeForm = Literal["timestamps", "whole-seconds", "spacing", "none"]
"""What a processor does with times: writes them to a tenth of a second, writes whole seconds, passes only the spacing
of evenly sampled frames to the position encoding, or drops them."""

VIRTUAL_FPS = 1000.0
"""Frame indices are given to processors at this rate, so that index / fps is the true time within half a millisecond,
also for frames that are not evenly spaced."""

SPACING_TOLERANCE = 0.5
"""Seconds. Qwen2.5-VL counts time in half seconds (two positions a second), so a smaller error cannot be seen."""


def seconds_label(seconds: float, *, digits: int = 1) -> str:
    """``3.2`` as ``"3.2 s"``."""
    return f"{seconds:.{digits}f} s"


@dataclass(frozen=True)
class FrameTimes:
    """Times of the frames of one prompt, in seconds since the first displayed frame of the video."""

    seconds: tuple[float, ...]

    @classmethod
    def of(cls, pts_seconds: Sequence[float]) -> FrameTimes:
        """From any sequence of times (a tensor's ``tolist()``)."""
        return cls(tuple(max(float(t), 0.0) for t in pts_seconds))

    @property
    def interval(self) -> float:
        """Mean distance between neighbors in seconds; 1.0 for a single frame."""
        if len(self.seconds) < 2 or self.seconds[-1] <= self.seconds[0]:
            return 1.0
        return (self.seconds[-1] - self.seconds[0]) / (len(self.seconds) - 1)

    @property
    def digits(self) -> int:
        """Decimals that keep neighbors apart in text: 1, or up to 3 for frames closer than a tenth of a second."""
        for digits in (1, 2):
            if len({f"{t:.{digits}f}" for t in self.seconds}) == len(self.seconds):
                return digits
        return 3 if len(self.seconds) > 1 else 1

    def labels(self) -> list[str]:
        """One ``"3.2 s"`` a frame."""
        return [seconds_label(t, digits=self.digits) for t in self.seconds]

    def metadata(self, height: int, width: int) -> dict[str, Any]:
        """Fields of ``transformers.video_utils.VideoMetadata`` under which every processor finds the true times.

        ``frames_indices[i] / fps`` is the time of frame i, and ``total_num_frames`` is such that the processor's own
        ``sampled_fps`` (frames / total * fps) is one frame an interval. A new list each call: processors extend it.
        """
        total = max(1, round(len(self.seconds) * self.interval * VIRTUAL_FPS))
        return {
            "total_num_frames": total,
            "fps": VIRTUAL_FPS,
            "height": height,
            "width": width,
            "duration": self.seconds[-1] + self.interval,
            "frames_indices": [round(t * VIRTUAL_FPS) for t in self.seconds],
        }

    def lost_by(self, form: TimeForm) -> bool:
        """True when a model that gets times in ``form`` alone would place these frames wrongly."""
        if form == "timestamps":
            return False
        if form == "whole-seconds":
            return len({int(t) for t in self.seconds}) < len(self.seconds)
        if form == "spacing":
            implied = (i * self.interval for i in range(len(self.seconds)))
            return any(abs(t - s) > SPACING_TOLERANCE for t, s in zip(self.seconds, implied, strict=True))
        return True

    def sentence(self) -> str:
        """The times in words, to stand right after the video in the prompt."""
        if len(self.seconds) == 1:
            return f"The frame above was taken at {self.labels()[0]} of the video."
        listed = ", ".join(f"{t:.{self.digits}f}" for t in self.seconds)
        return f"The {len(self.seconds)} frames above were taken at these seconds of the video: {listed}."
