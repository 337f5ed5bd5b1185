"""From a curve of similarity over time to spans.

Letters: t frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.metrics.grounding import span_iou
from vidcausal.types import Span

Floats = NDArray[np.float64]


def smooth(curve: NDArray[Any], pts: NDArray[Any], seconds: float) -> Floats:
    """The curve ``[t]`` averaged with a Gaussian over time (standard deviation ``seconds``), also for uneven frames."""
    times = np.asarray(pts, np.float64)
    values = np.asarray(curve, np.float64)
    if seconds <= 0 or len(values) < 2:
        return values
    kernel = np.exp(-0.5 * np.square((times[:, None] - times[None, :]) / seconds))
    return np.asarray(kernel @ values / kernel.sum(1))


def curve_spans(
    curve: NDArray[Any], pts: NDArray[Any], end: float, *, max_spans: int = 5, max_iou: float = 0.5
) -> list[Span]:
    """Stretches where the curve is high, best first; the score is the z-score of the mean inside.

    Around every peak three stretches are looked at, bounded where the curve falls to 75, 50 and 25 % of the way from
    the peak down to the median. A stretch's score is how much its mean exceeds the curve's mean, in standard
    deviations of the curve, times the square root of its number of frames, which trades height against length; rivals
    that overlap a better one by more than ``max_iou`` are dropped.

    Args:
        curve: similarity of each frame ``[t]``.
        pts: time of each frame in seconds ``[t]``, ascending.
        end: where the last frame ends, in seconds.
        max_spans: how many are returned at most.
        max_iou: allowed intersection over union of two returned spans.
    """
    values = np.asarray(curve, np.float64)
    times = np.asarray(pts, np.float64)
    if len(values) == 0:
        return []
    edges = np.append(times, max(float(end), float(times[-1])))
    spread = float(values.std()) or 1.0
    rated = []
    for first, last in _stretches(values):
        inside = values[first : last + 1]
        score = float((inside.mean() - values.mean()) / spread * np.sqrt(len(inside)))
        rated.append(Span(float(edges[first]), float(edges[last + 1]), score))
    kept: list[Span] = []
    for span in sorted(rated, key=lambda span: (-(span.score or 0.0), span.start)):
        if kept and (span.score or 0.0) <= 0:  # no better than the video on average
            break
        if len(kept) < max_spans and all(span_iou(span, other) <= max_iou for other in kept):
            kept.append(span)
    return kept


def _stretches(values: Floats) -> set[tuple[int, int]]:
    """First and last frame of every stretch around every peak."""
    floor = float(np.median(values))
    found: set[tuple[int, int]] = set()
    for peak in _peaks(values):
        top = float(values[peak])
        for share in (0.75, 0.5, 0.25):
            high = values >= floor + share * (top - floor)
            found.add(_run_around(high, peak))
    return found


def _peaks(values: Floats) -> list[int]:
    """Frames that no neighbor exceeds (of a plateau, its first frame), highest first."""
    before = np.concatenate([[-np.inf], values[:-1]])
    after = np.concatenate([values[1:], [-np.inf]])
    peaks = np.flatnonzero((values > before) & (values >= after))
    return [int(i) for i in peaks[np.argsort(-values[peaks], kind="stable")]]


def _run_around(high: NDArray[np.bool_], peak: int) -> tuple[int, int]:
    first = last = peak
    while first > 0 and high[first - 1]:
        first -= 1
    while last < len(high) - 1 and high[last + 1]:
        last += 1
    return first, last
