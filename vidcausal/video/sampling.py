"""Which frames to look at: policies that turn a video's index into times.

A policy knows only :class:`~vidcausal.video.probe.VideoInfo` (times and key frames), never a backend. ``plan`` gives
times that exist in the index, ascending and without duplicates; where more frames are asked for than there are, it
gives all there are. With a ``span`` only frames shown during it are taken; when the span falls between two frames,
the frame on the screen at its start.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vidcausal.types import TIME_SLACK, Span

if TYPE_CHECKING:
    from vidcausal.video.probe import VideoInfo

Positions = NDArray[np.int64]


@runtime_checkable
class SamplingPolicy(Protocol):
    """Chooses frames of a video."""

    @property
    def key(self) -> str:
        """Text that is equal for equal policies in every process and version; part of cache keys."""
        ...

    def plan(self, info: VideoInfo, span: Span | None = None) -> list[float]:
        """Times of the chosen frames, ascending, all of them in ``info.pts_seconds``."""
        ...


class _Policy:
    """What the policies share: a key from the fields, and times from positions."""

    @property
    def key(self) -> str:
        """``name(field=value,…)`` of the policy."""
        fields = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            fields.append(f"{field.name}={value.key if isinstance(value, _Policy) else value!r}")
        return f"{type(self).__name__.lower()}({','.join(fields)})"

    def plan(self, info: VideoInfo, span: Span | None = None) -> list[float]:
        """Times of the chosen frames, ascending, all of them in ``info.pts_seconds``."""
        first, last = frames_in(info, span)
        chosen = np.unique(np.clip(self._choose(info, first, last, span), first, last - 1))
        return [float(t) for t in info.pts_seconds[chosen]]

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        raise TypeError(f"{type(self).__name__} is not a complete sampling policy: it must define _choose or plan")


def frames_in(info: VideoInfo, span: Span | None) -> tuple[int, int]:
    """Half-open range of positions shown during ``span`` (the whole video for None), never empty."""
    if span is None:
        return 0, info.num_frames
    pts = info.pts_seconds
    first = int(np.searchsorted(pts, span.start - TIME_SLACK, side="left"))
    last = int(np.searchsorted(pts, span.end - TIME_SLACK, side="left"))
    if last > first:
        return first, last
    on_screen = int(shown_at(info, np.asarray([span.start]))[0])
    return on_screen, on_screen + 1


def shown_at(info: VideoInfo, seconds: NDArray[np.float64]) -> Positions:
    """Position of the frame on the screen at each time; before the first frame the first, after the end the last."""
    found = np.searchsorted(info.pts_seconds, seconds + TIME_SLACK, side="right") - 1
    return np.clip(found, 0, info.num_frames - 1).astype(np.int64)


def nearest(times: NDArray[np.float64], wanted: NDArray[np.float64]) -> Positions:
    """Position in the ascending ``times`` of the one nearest to each wanted time; the earlier of two as near."""
    right = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(times[left] - wanted) <= np.abs(times[right] - wanted), left, right).astype(np.int64)


def spread(count: int, wanted: int) -> Positions:
    """``wanted`` of ``count`` positions, evenly, both ends included: rounded ``np.linspace(0, count - 1, wanted)``."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def middles(count: int, wanted: int) -> Positions:
    """The middle position of each of ``wanted`` equal segments of ``count`` positions."""
    if wanted >= count:
        return np.arange(count, dtype=np.int64)
    return np.floor((np.arange(wanted) + 0.5) * count / wanted).astype(np.int64)


def _window(info: VideoInfo, span: Span | None) -> tuple[float, float]:
    if span is None:
        return 0.0, info.duration
    start = min(max(span.start, 0.0), info.duration)
    return start, max(start, min(span.end, info.duration))


def _need(name: str, value: float, minimum: float, *, whole: bool = False) -> None:
    fits = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value) and value >= minimum
    if not fits or (whole and not isinstance(value, int)):
        kind = "a whole number" if whole else "a number"
        bound = f"{minimum} or more" if minimum > 0 and whole else f"above {minimum}" if not whole else f">= {minimum}"
        raise ValueError(f"{name} must be {kind} {bound}, got {value!r}")


@dataclass(frozen=True)
class Uniform(_Policy):
    """``num_frames`` frames evenly over the video, by position in the index.

    ``"endpoints"`` is ``np.linspace(0, T - 1, num_frames).round()``: first and last frame included.
    ``"segment_middle"`` cuts the frames into equal segments and takes the middle of each.
    """

    num_frames: int
    mode: Literal["endpoints", "segment_middle"] = "endpoints"

    def __post_init__(self) -> None:
        _need("Uniform.num_frames", self.num_frames, 1, whole=True)
        if self.mode not in ("endpoints", "segment_middle"):
            raise ValueError(f"Uniform.mode must be 'endpoints' or 'segment_middle', got {self.mode!r}")

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        pick = spread if self.mode == "endpoints" else middles
        return first + pick(last - first, self.num_frames)


@dataclass(frozen=True)
class Fps(_Policy):
    """The frame on the screen at every ``1 / fps`` seconds; over ``max_frames`` of them, evenly fewer."""

    fps: float
    max_frames: int | None = None

    def __post_init__(self) -> None:
        _need("Fps.fps", self.fps, 1e-6)
        if self.max_frames is not None:
            _need("Fps.max_frames", self.max_frames, 1, whole=True)

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        start, end = _window(info, span)
        ticks = max(1, math.ceil((end - start) * self.fps - 1e-6))
        if ticks > 4 * info.num_frames:
            chosen = np.arange(first, last, dtype=np.int64)
        else:
            chosen = np.unique(np.clip(shown_at(info, start + np.arange(ticks) / self.fps), first, last - 1))
        if self.max_frames is not None and len(chosen) > self.max_frames:
            chosen = chosen[spread(len(chosen), self.max_frames)]
        return chosen


@dataclass(frozen=True)
class Clips(_Policy):
    """``num_clips`` stretches of ``clip_seconds``, evenly over the video, with ``frames_per_clip`` frames in each.

    The first clip starts at the start and the last one ends at the end; a single clip is the middle of the video.
    Inside a clip the frames lie in the middle of equal parts.
    """

    num_clips: int
    frames_per_clip: int
    clip_seconds: float = 2.0

    def __post_init__(self) -> None:
        _need("Clips.num_clips", self.num_clips, 1, whole=True)
        _need("Clips.frames_per_clip", self.frames_per_clip, 1, whole=True)
        _need("Clips.clip_seconds", self.clip_seconds, 1e-6)

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        start, end = _window(info, span)
        length = min(self.clip_seconds, end - start)
        room = end - start - length
        starts = start + (np.linspace(0.0, room, self.num_clips) if self.num_clips > 1 else np.asarray([room / 2]))
        inside = (np.arange(self.frames_per_clip) + 0.5) * length / self.frames_per_clip
        return shown_at(info, (starts[:, None] + inside[None, :]).ravel())


@dataclass(frozen=True)
class NearestKeyframe(_Policy):
    """Another policy's frames, each moved to the nearest key frame: far cheaper to decode on long videos.

    The times that come back are the key frames' own. Right for coarse recognition, wrong for order within a second.
    """

    policy: SamplingPolicy

    def __post_init__(self) -> None:
        if not isinstance(self.policy, SamplingPolicy):
            raise ValueError(
                f"NearestKeyframe.policy must be a sampling policy such as Uniform(32), got {self.policy!r}"
            )

    @property
    def key(self) -> str:
        """``nearestkeyframe(inner policy)``."""
        return f"nearestkeyframe({self.policy.key})"

    def plan(self, info: VideoInfo, span: Span | None = None) -> list[float]:
        """Times of the key frames nearest to the inner policy's frames; inside ``span`` where it has key frames."""
        wanted = np.asarray(self.policy.plan(info, span))
        keys = info.keyframes
        first, last = frames_in(info, span)
        inside = keys[(keys >= first) & (keys < last)]
        times = info.pts_seconds[inside if len(inside) else keys]
        if not len(times):
            return [float(t) for t in wanted]
        return [float(t) for t in np.unique(times[nearest(times, wanted)])]


@dataclass(frozen=True)
class SceneChanges(_Policy):
    """``frames_per_scene`` frames from the middles of every scene; ``cut_seconds`` are where a new scene begins."""

    cut_seconds: tuple[float, ...]
    frames_per_scene: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "cut_seconds", tuple(sorted(float(t) for t in self.cut_seconds)))
        _need("SceneChanges.frames_per_scene", self.frames_per_scene, 1, whole=True)
        if not all(math.isfinite(t) for t in self.cut_seconds):
            raise ValueError(f"SceneChanges.cut_seconds must be finite seconds, got {self.cut_seconds}")

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        cuts = np.searchsorted(info.pts_seconds, np.asarray(self.cut_seconds) - TIME_SLACK, side="left")
        edges = np.unique(np.concatenate([[first], cuts[(cuts > first) & (cuts < last)], [last]])).astype(np.int64)
        scenes = [a + middles(int(b - a), self.frames_per_scene) for a, b in zip(edges, edges[1:], strict=False)]
        return np.concatenate(scenes)


@dataclass(frozen=True)
class At(_Policy):
    """The frames on the screen at the given times; times outside a span are moved to its nearest frame."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", tuple(sorted(float(t) for t in self.seconds)))
        if not self.seconds or not all(math.isfinite(t) for t in self.seconds):
            raise ValueError(f"At.seconds needs at least one finite time in seconds, got {self.seconds}")

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        return shown_at(info, np.asarray(self.seconds))


@dataclass(frozen=True)
class KeepAll(_Policy):
    """Every frame; over ``max_frames`` of them, evenly fewer (for videos that are already a few chosen frames)."""

    max_frames: int

    def __post_init__(self) -> None:
        _need("KeepAll.max_frames", self.max_frames, 1, whole=True)

    def _choose(self, info: VideoInfo, first: int, last: int, span: Span | None) -> Positions:
        return first + spread(last - first, self.max_frames)
