"""What finding moments is worth without looking, where a query may have several true spans.

Like the windows of the worlds, which have one true span each: one window (relative to the video's length) for all
videos, chosen on these very targets, and windows drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vidcausal.benchmarks._worlds_windows import DRAWS, STEPS, overlaps
from vidcausal.metrics.moments import Floats
from vidcausal.types import Span

_THRESHOLDS = {"R@1 IoU=0.3": 0.3, "R@1 IoU=0.5": 0.5, "R@1 IoU=0.7": 0.7, "mIoU": None}
_BLOCK = 256


def window_chance(targets: Sequence[Sequence[Span]], durations: Sequence[float]) -> dict[str, Any]:
    """Percent scored by random windows on average, and as ``constant_window …`` by the best one for all videos.

    Every target needs a span.
    """
    grid = np.arange(STEPS + 1) / STEPS
    constant = np.array([[a, b] for a in grid for b in grid if a < b])
    drawn = np.sort(np.random.default_rng(0).random((DRAWS, 2)), axis=1)
    windows = np.concatenate([constant, drawn])
    sums = {name: np.zeros(len(windows)) for name in _THRESHOLDS}
    for ious in _blocks(targets, durations, windows):
        for name, threshold in _THRESHOLDS.items():
            sums[name] += (ious if threshold is None else ious >= threshold).sum(axis=0)
    figures = {name: 100 * values / len(targets) for name, values in sums.items()}
    best = constant[int(figures["mIoU"][: len(constant)].argmax())]
    return {
        **{name: float(values[len(constant) :].mean()) for name, values in figures.items()},
        **{f"constant_window {name}": float(values[: len(constant)].max()) for name, values in figures.items()},
        "constant_window window": [round(float(edge), 4) for edge in best],
    }


def _blocks(targets: Sequence[Sequence[Span]], durations: Sequence[float], windows: Floats) -> Iterator[Floats]:
    """Overlap of each query's best true span with every window, some queries at a time."""
    for first in range(0, len(targets), _BLOCK):
        own = targets[first : first + _BLOCK]
        pairs = zip(own, durations[first : first + _BLOCK], strict=True)
        edges = np.array([(s.start / d, s.end / d) for spans, d in pairs for s in spans])
        starts = np.cumsum([0, *(len(spans) for spans in own[:-1])])
        yield np.maximum.reduceat(overlaps(edges, windows), starts, axis=0)
