"""The clock of the native model: whatever the times of its frames are, it is told the same even ones.

A small model reads the time of an event off the number of frames before it and the few sequences of times it has
seen. So frame after frame is told 0.4, 1.1, 1.9 …, and times in its answers are put back onto the frames' own: where
the times of frames themselves were told, frames a tenth of a second off their trained places cost a fifth of the
moments (docs/model_cards/native_small.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vidcausal.models.native_text import LONGEST, TIME, TIME_FORMAT
from vidcausal.video.frames import FrameBatch

STEP = 0.75
"""Seconds that are told between two frames."""
TOLD_SECONDS = 12.0
"""Told length of a video of 16 frames or more; of shorter ones :data:`STEP` a frame."""


class Clock:
    """Seconds of a video and the times that the model is told for them, both ways.

    Frame i is told to stand at (i + 1/2) steps. Between frames times are interpolated, beyond them continued.

    Args:
        seconds: times of the frames, ascending; equal ones count once.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = [time for time, _ in itertools.groupby(float(second) for second in seconds)]
        count = len(self.seconds)
        self.real_step = (self.seconds[-1] - self.seconds[0]) / (count - 1) if count > 1 else STEP
        self.step = min(STEP, TOLD_SECONDS / max(count, 1))
        self._shown = [(number + 0.5) * self.step for number in range(count)]
        places = {time: place for place, time in enumerate(self.seconds)}
        self.shown = [self._shown[places[float(second)]] for second in seconds]
        """The told time of each frame."""

    def told(self, second: float) -> float:
        """What a second of the video is told to be; from 0 to the last time that the model has a word for."""
        return min(LONGEST, max(0.0, _between(second, self.seconds, self._shown, self.step / self.real_step)))

    def real(self, told: float) -> float:
        """The second of the video that a told time stands for; not before 0."""
        return max(0.0, _between(told, self._shown, self.seconds, self.real_step / self.step))

    def answered(self, told: float) -> float:
        """The second of the video that a time in an answer stands for.

        An answer has one digit after the point, so 0.4 is the frame that was told to stand at 0.375.
        """
        words = [round(shown, 1) for shown in self._shown]
        if not self.shown or len(set(words)) < len(words):
            return self.real(told)
        return max(0.0, _between(told, words, self.seconds, self.real_step / self.step))

    def nearest(self, second: float) -> float:
        """The told time of the frame that is nearest to a second of the video, the earlier of two."""
        return self._shown[min(range(len(self.seconds)), key=lambda place: (abs(self.seconds[place] - second), place))]

    def told_text(self, text: str) -> str:
        """A text whose times are seconds of the video, with told times."""
        return TIME.sub(lambda found: TIME_FORMAT.format(self.told(float(found[0]))), text)

    def real_text(self, text: str) -> str:
        """An answer whose times are told ones, with seconds of the video."""
        return TIME.sub(lambda found: TIME_FORMAT.format(self.answered(float(found[0]))), text)


class TextClock(Clock):
    """Where there are no frames, only a text with times: the same times, or a half, a quarter … of them where the
    model has no words for them.
    """

    def __init__(self, text: str) -> None:
        longest = max((float(found) for found in TIME.findall(text)), default=0.0)
        super().__init__((0.0, 1.0))
        scale = 1.0
        while longest * scale > LONGEST:
            scale /= 2
        self.step, self._shown, self.shown = scale, [0.0, scale], []


def told_frames(frames: FrameBatch) -> tuple[FrameBatch, Clock]:
    """Frames with the times that the model is told, and their clock; there must be one at least."""
    clock = Clock(frames.pts_seconds.tolist())
    told = torch.tensor(clock.shown, dtype=frames.pts_seconds.dtype)
    key = None if frames.key is None else f"{frames.key} on the told clock"
    return replace(frames, pts_seconds=told, key=key), clock


def _between(value: float, knots: Sequence[float], values: Sequence[float], slope: float) -> float:
    if not knots:
        return value
    if value <= knots[0]:
        return values[0] + (value - knots[0]) * slope
    if value >= knots[-1]:
        return values[-1] + (value - knots[-1]) * slope
    return float(np.interp(value, knots, values))
