"""How well moments are found, many queries at once: overlaps, recall of the first answer, average precision.

Letters: n queries, p predicted windows, g true windows, t thresholds. Ragged lists are padded with NaN, which
takes part in nothing. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Window: TypeAlias = Sequence[float]
"""Start and end in seconds, and in predictions a score."""

AP_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""The overlaps that mAP is averaged over."""
_PAIRWISE = 8
"""numpy adds fewer numbers than this one after the other, more of them in eight lanes."""


def padded(windows: Sequence[Sequence[Window]]) -> tuple[Floats, NDArray[np.int64]]:
    """Lists of windows as ``[n, most, 2]`` (NaN where a list is shorter) and how many each list has, ``[n]``.

    Raises:
        ValueError: a window has fewer than two numbers.
    """
    counts = np.array([len(own) for own in windows], dtype=np.int64)
    out = np.full((len(windows), int(counts.max(initial=0)), 2), np.nan)
    flat = np.array([(w[0], w[1]) for own in windows for w in own], dtype=np.float64).reshape(-1, 2)
    out[np.arange(out.shape[1]) < counts[:, None]] = flat
    return out, counts


def paired_hull_iou(first: Floats, second: Floats) -> Floats:
    """Shared length over the length from the first start to the last end, ``[n]``; 0 where that length is 0.

    For spans that overlap this is intersection over union; for others both are 0.
    """
    shared = np.maximum(0, np.minimum(first[:, 1], second[:, 1]) - np.maximum(first[:, 0], second[:, 0]))
    hull = np.maximum(first[:, 1], second[:, 1]) - np.minimum(first[:, 0], second[:, 0])
    return np.asarray(np.divide(shared, hull, out=np.zeros_like(shared), where=hull != 0))


def cross_iou(found: Floats, truths: Floats) -> Floats:
    """Intersection over union of all pairs, ``[n, p, 2]`` with ``[n, g, 2]`` to ``[n, p, g]``.

    NaN where the union is 0 (two equal points, or a reversed window as long as the true one) and for padding.
    """
    lengths = (found[..., 1] - found[..., 0])[:, :, None] + (truths[..., 1] - truths[..., 0])[:, None, :]
    left = np.maximum(found[:, :, None, 0], truths[:, None, :, 0])
    right = np.minimum(found[:, :, None, 1], truths[:, None, :, 1])
    shared = np.clip(right - left, 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(shared / (lengths - shared))


def best_window_iou(found: Floats, truths: Sequence[Sequence[Window]]) -> Floats:
    """Hull overlap of one window a query with the true window that it fits best, ``[n]``.

    The best window is the one of the greatest :func:`cross_iou`, the first of equals, an undefined one before all.

    Raises:
        ValueError: a query has no true window.
    """
    spans, counts = padded(truths)
    if not counts.all():
        raise ValueError("every query needs a true window")
    ious = cross_iou(found[:, None, :], spans)[:, 0, :]
    ious[np.arange(spans.shape[1]) >= counts[:, None]] = -np.inf
    rows = np.arange(len(found))
    return paired_hull_iou(found, spans[rows, ious.argmax(axis=1)])


def average_precision(
    found: Sequence[Sequence[Window]],
    truths: Sequence[Sequence[Window]],
    thresholds: Sequence[float] = AP_THRESHOLDS,
) -> Floats:
    """Interpolated average precision of every query at every threshold, ``[n, t]``.

    Args:
        found: windows of each query, best first (sort them by score).
        truths: true windows of each query.
        thresholds: overlap that makes a window right. Each window takes the free true window that it overlaps most;
            of equal overlaps the last one. An undefined overlap (NaN) counts as enough.

    A query without found windows has 0, and so has one without true windows.
    """
    right = _right(found, truths, np.asarray(thresholds, dtype=np.float64))
    counts = np.array([len(own) for own in found])
    totals = np.array([len(own) for own in truths], dtype=np.float64)
    rank = np.arange(1, right.shape[2] + 1, dtype=np.float64)
    there = (np.arange(right.shape[2]) < counts[:, None])[:, None, :]
    hits = np.cumsum(right, axis=2)
    precision = np.where(there, hits / rank, 0.0)
    return _area(precision, hits / np.maximum(totals, 1)[:, None, None])


def _right(found: Sequence[Sequence[Window]], truths: Sequence[Sequence[Window]], thresholds: Floats) -> Floats:
    """1 where a found window takes a true one, ``[n, t, p]``."""
    spans, counts = padded(truths)
    windows, _ = padded(found)
    n, p, g = len(windows), windows.shape[1], spans.shape[1]
    out = np.zeros((n, len(thresholds), p))
    if not (n and p and g):
        return out
    ious = cross_iou(windows, spans)
    ious[np.broadcast_to((np.arange(g) >= counts[:, None])[:, None, :], ious.shape)] = -np.inf
    ious[np.arange(p) >= np.array([len(own) for own in found])[:, None]] = -np.inf
    order = ious.argsort(axis=2, kind="stable")[:, :, ::-1]
    ordered = np.take_along_axis(ious, order, axis=2)
    taken = np.zeros((n, len(thresholds), g), dtype=bool)
    rows = np.arange(n)
    for i in range(p):
        open_ = np.ones((n, len(thresholds)), dtype=bool)
        for k in range(g):
            open_ &= ~(ordered[:, i, k, None] < thresholds)
            if not open_.any():
                break
            place = order[:, i, k]
            takes = open_ & ~taken[rows, :, place]
            taken[rows, :, place] |= takes
            out[:, :, i] += takes
            open_ &= ~takes
    return out


def _area(precision: Floats, recall: Floats) -> Floats:
    """Area under the stepwise curve with precisions made monotone, over the last axis; padded by repeated recall."""
    n, t, p = precision.shape
    high = np.concatenate([np.zeros((n, t, 1)), precision, np.zeros((n, t, 1))], axis=2)
    edge = np.concatenate([np.zeros((n, t, 1)), recall, np.ones((n, t, 1))], axis=2)
    high = np.maximum.accumulate(high[:, :, ::-1], axis=2)[:, :, ::-1]
    steps = np.diff(edge, axis=2)
    terms = np.where(steps != 0, steps * high[:, :, 1:], 0.0)
    area = np.zeros((n, t))
    for i in range(p + 1):
        area += terms[:, :, i]
    # Sums of many terms are added the way numpy adds the list of them, so that every digit agrees with it.
    for row, column in np.argwhere((steps != 0).sum(axis=2) >= _PAIRWISE):
        area[row, column] = terms[row, column][steps[row, column] != 0].sum()
    return area
