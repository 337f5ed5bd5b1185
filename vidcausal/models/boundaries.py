"""Where one event ends and the next begins: change points of a sequence of frame vectors.

The sequence is cut so that frames inside a piece are alike: the sum of squared distances to the piece's mean, plus a
price for every piece, is minimal (exact, by dynamic programming; Jackson et al. 2005, "An algorithm for optimal
partitioning of data on an interval"). The price is the Bayesian information criterion's for a change of mean,
``noise * log(t)``, where the noise is measured on the video itself.

Letters: t frames, d vector length.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.types import TIME_SLACK, Span

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segmenter:
    """Settings of the cut.

    ``min_seconds`` is the shortest event, except that a hard cut may leave a shorter one. ``strictness`` multiplies
    the price of a piece (1: the plain criterion; lower gives more events). ``max_events`` raises the price until no
    more pieces are left. A step between neighboring frames is a hard cut when it is larger than ``cut_distance``
    (squared distance of unit vectors: 0 same, 2 unrelated) and
    ``cut_ratio`` times the median step.
    """

    min_seconds: float = 1.0
    strictness: float = 1.0
    max_events: int = 60
    cut_distance: float = 0.5
    cut_ratio: float = 6.0

    @property
    def key(self) -> str:
        """Text that names the settings, for caches."""
        return (
            f"segmenter 1: {self.min_seconds} {self.strictness} {self.max_events} {self.cut_distance} {self.cut_ratio}"
        )

    def segment(
        self,
        vectors: NDArray[Any],
        pts: Sequence[float] | NDArray[Any],
        end: float,
        cuts: Sequence[float] = (),
    ) -> list[Span]:
        """Events in time order that cover the video without a gap.

        Args:
            vectors: unit vectors ``[t, d]``.
            pts: time of each frame in seconds ``[t]``, ascending.
            end: where the last event ends, in seconds.
            cuts: times of hard cuts that are known, in seconds; an event begins at each, between the frames.
        """
        times = np.asarray(pts, dtype=np.float64)
        if len(times) == 0:
            return []
        points = np.asarray(vectors, dtype=np.float64)
        known = {
            int(i): cut for cut in sorted(cuts) if 0 < (i := np.searchsorted(times, cut - TIME_SLACK)) < len(times)
        }
        starts = self._starts(points, times, known)
        edges = [known.get(i, float(times[i])) for i in starts] + [max(float(end), float(times[-1]))]
        return [Span(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def _starts(self, points: Floats, times: Floats, known: Collection[int]) -> list[int]:
        """Index of the first frame of every event; one begins at each ``known`` frame."""
        if len(points) < 3:
            return [0, *sorted(known)]
        steps = np.square(np.diff(points, axis=0)).sum(1)
        cuts = sorted({*hard_cuts(steps, self.cut_distance, self.cut_ratio), *known})
        price = self.strictness * _noise(steps) * np.log(len(points))
        starts = _pieces(points, times, cuts, price, self.min_seconds)
        while len(starts) > max(self.max_events, len(cuts) + 1) and price > 0:
            price *= 1.5
            starts = _pieces(points, times, cuts, price, self.min_seconds)
        return starts


def hard_cuts(steps: NDArray[Any], distance: float, ratio: float) -> list[int]:
    """Frames that begin a new shot, from the squared distances ``[t - 1]`` between neighbors."""
    if len(steps) == 0:
        return []
    limit = max(distance, ratio * float(np.median(steps)))
    return [int(i) + 1 for i in np.flatnonzero(steps > limit)]


def _noise(steps: Floats) -> float:
    """Variance of a frame around its event, summed over the vector: half the typical squared step, robustly.

    Inside an event neighbors differ by two independent draws of the noise, hence the half; the median ignores the few
    steps that are boundaries. A still video has no noise; the small floor keeps rounding from making events.
    """
    return max(float(np.median(steps)) / 2, 1e-4)


def _pieces(points: Floats, times: Floats, cuts: Sequence[int], price: float, min_seconds: float) -> list[int]:
    """Starts of the pieces: every stretch between hard cuts is partitioned on its own."""
    edges = [0, *cuts, len(points)]
    starts: list[int] = []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        starts += [first + i for i in _partition(points[first:last], times[first:last], price, min_seconds)]
    return starts


def _partition(points: Floats, times: Floats, price: float, min_seconds: float) -> list[int]:
    """Starts of the cheapest partition of one stretch.

    ``best[j]`` is the cost of the first j frames; a piece ``i..j-1`` is allowed when it starts ``min_seconds`` or more
    before frame j (or the end of the stretch) does.
    """
    n = len(points)
    total = np.concatenate([np.zeros((1, points.shape[1])), np.cumsum(points, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(points).sum(1))])
    step = float(np.median(np.diff(times))) if n > 1 else 0.0
    ends = np.append(times[1:], times[-1] + step)
    best = np.full(n + 1, np.inf)
    best[0] = -price
    back = np.zeros(n + 1, dtype=np.int64)
    for j in range(1, n + 1):
        allowed = np.flatnonzero((ends[j - 1] - times[:j] >= min_seconds - 1e-6) & np.isfinite(best[:j]))
        if len(allowed) == 0:
            continue
        inner = squares[j] - squares[allowed] - np.square(total[j] - total[allowed]).sum(1) / (j - allowed)
        cost = best[allowed] + inner + price
        winner = int(np.argmin(cost))
        best[j], back[j] = cost[winner], allowed[winner]
    if not np.isfinite(best[n]):
        return [0]
    starts = [int(back[n])]
    while starts[-1] > 0:
        starts.append(int(back[starts[-1]]))
    return starts[::-1]
