"""How well importance scores of a video's clips agree with those of its annotators: ranks, top clips, summaries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
TOP = 5
"""Clips that the average precision of TVSum looks at."""
SUMMARY_SHARE = 0.15
"""Share of a video that a summary may take."""


def kendall_tau_b(a: ArrayLike, b: ArrayLike) -> float | None:
    """Kendall's tau-b of two lists of scores, in [-1, 1]; None where one of them is constant (it has no order).

    Raises:
        ValueError: lengths that differ, or less than two scores.
    """
    first, second = _pair(a, b)
    signs = np.sign(first[:, None] - first[None, :]), np.sign(second[:, None] - second[None, :])
    ordered = [float(np.abs(sign).sum()) for sign in signs]
    if not all(ordered):
        return None
    return float((signs[0] * signs[1]).sum()) / math.sqrt(ordered[0] * ordered[1])


def spearman_rho(a: ArrayLike, b: ArrayLike) -> float | None:
    """Pearson's correlation of the average ranks, in [-1, 1]; None where one list is constant.

    Raises:
        ValueError: lengths that differ, or less than two scores.
    """
    ranks = [average_ranks(x) for x in _pair(a, b)]
    first, second = (rank - rank.mean() for rank in ranks)
    spread = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / spread if spread else None


def average_ranks(values: Array) -> Array:
    """Ranks from 1, equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[inverse]
    return ranks


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size < 2:
        raise ValueError(f"need two lists of at least two scores, got shapes {first.shape} and {second.shape}")
    return first, second


def lower_median(values: Sequence[float]) -> float:
    """The middle value, the lower one of two (as torch.median)."""
    return sorted(values)[(len(values) - 1) // 2]


def top_average_precision(scores: Sequence[float], importance: Sequence[float], top: int = TOP) -> float:
    """Average precision of the ``top`` highest scored clips against one annotator, as UMT and QD-DETR count it.

    A clip counts where its importance is above the annotator's median; recall is relative to the hits among the top
    clips alone, so that one hit at the first place is already 1. Equal scores keep the order of the clips (the
    published code leaves that to torch).
    """
    median = lower_median(importance)
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:top]
    hits = [importance[i] > median for i in best]
    if not any(hits):
        return 0.0
    precision, recall, area, found = 1.0, 0.0, 0.0, 0
    for place, hit in enumerate(hits, start=1):
        found += hit
        new_recall, new_precision = found / sum(hits), found / place
        area += (new_recall - recall) * (precision + new_precision) / 2
        recall, precision = new_recall, new_precision
    return area


def summary(scores: Sequence[float], share: float = SUMMARY_SHARE) -> set[int]:
    """The best scored clips that fit into the share of the video (they are equally long)."""
    room = int(len(scores) * share)
    return set(sorted(range(len(scores)), key=lambda i: -scores[i])[:room])


def summary_f1(scores: Sequence[float], importance: Sequence[float], share: float = SUMMARY_SHARE) -> float:
    """F-measure of two summaries made in the same way, in [0, 1]; 0 where a video is too short for one."""
    own, other = summary(scores, share), summary(importance, share)
    return 2 * len(own & other) / (len(own) + len(other)) if own or other else 0.0
