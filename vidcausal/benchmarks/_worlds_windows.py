"""What finding moments is worth without looking: the same window of every video, and windows at random.

Letters: n queries, w windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.types import Span

Floats = NDArray[np.float64]

THRESHOLDS = (0.3, 0.5, 0.7)
STEPS = 50
"""Constant windows begin and end at multiples of 1 / STEPS of the video's length."""
DRAWS = 200
"""Random windows that every query is measured against."""
_BLOCK = 256
"""Queries looked at together: bounds memory at ``_BLOCK * STEPS ** 2 / 2`` numbers."""


def shares(targets: Sequence[Span], durations: Sequence[float]) -> Floats:
    """Start and end of each target as shares of its video's length, ``[n, 2]``."""
    return np.array([[t.start / d, t.end / d] for t, d in zip(targets, durations, strict=True)], dtype=np.float64)


def overlaps(targets: Floats, windows: Floats) -> Floats:
    """Intersection over union of every target with every window, ``[n, w]``; windows are ``[w, 2]``."""
    start, end = targets[:, None, 0], targets[:, None, 1]
    low, high = windows[None, :, 0], windows[None, :, 1]
    shared = np.clip(np.minimum(end, high) - np.maximum(start, low), 0.0, None)
    return np.asarray(shared / np.maximum((end - start) + (high - low) - shared, 1e-12))


def constant_window(targets: Floats) -> dict[str, Any]:
    """The best that one window of all videos (relative to their length) can score, in percent.

    The window is chosen on these targets, for every figure anew, so no model that answers without looking does better
    (up to the grid of windows). ``window`` is the one with the best mean overlap.
    """
    grid = np.arange(STEPS + 1) / STEPS
    windows = np.array([[a, b] for a in grid for b in grid if a < b])
    sums = {name: np.zeros(len(windows)) for name in _names()}
    for first in range(0, len(targets), _BLOCK):
        ious = overlaps(targets[first : first + _BLOCK], windows)
        for name, threshold in _names().items():
            sums[name] += (ious if threshold is None else ious >= threshold).sum(axis=0)
    best = windows[int(sums["mIoU"].argmax())]
    figures = {name: 100 * float(values.max()) / len(targets) for name, values in sums.items()}
    return {**figures, "window": [round(float(edge), 4) for edge in best]}


def random_window(targets: Floats, seed: int = 0) -> dict[str, Any]:
    """What windows between two times drawn evenly score on average, in percent, over :data:`DRAWS` of them."""
    windows = np.sort(np.random.default_rng(seed).random((DRAWS, 2)), axis=1)
    totals = dict.fromkeys(_names(), 0.0)
    for first in range(0, len(targets), _BLOCK):
        ious = overlaps(targets[first : first + _BLOCK], windows)
        for name, threshold in _names().items():
            totals[name] += float((ious if threshold is None else ious >= threshold).mean(axis=1).sum())
    return {name: 100 * total / len(targets) for name, total in totals.items()}


def _names() -> dict[str, float | None]:
    return {**{f"R@1 IoU={threshold}": threshold for threshold in THRESHOLDS}, "mIoU": None}
