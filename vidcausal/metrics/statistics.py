"""How far a figure would move with other videos: bootstrap and Wilson intervals, paired comparison. numpy only.

Questions about one video are not independent, so whole videos ("clusters") are drawn, never questions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
_BLOCK = 256
"""Resamples drawn at once: bounds memory at ``_BLOCK * clusters`` numbers."""


class Interval(NamedTuple):
    """Ends of a confidence interval, ``low <= high``."""

    low: float
    high: float


class PairedDifference(NamedTuple):
    """``second - first``, its interval, and the two-sided bootstrap p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of ``sum(values) / sum(weights)`` when clusters are drawn with replacement.

    Args:
        values: one number a question, ``[n]``: a hit, a count of hits, a score.
        weights: what each number is out of, ``[n]``; ones by default (a plain mean).
        clusters: the video of each question; every question its own by default.
        groups: with groups, the statistic is the mean over groups of each group's ratio (a macro mean); groups that a
            resample does not hold are left out of it.
        level: confidence level in (0, 1).
        resamples: how many times to draw.
        seed: same seed, same interval.

    Raises:
        ValueError: no values, or lengths that differ.
    """
    top, bottom, inverse = _tables(values, weights, clusters, groups)
    draws = _draw(top, bottom, inverse, resamples, seed)
    return _percentiles(draws, level)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Is ``second`` better than ``first`` on the same questions? Means over questions, clusters drawn together.

    Raises:
        ValueError: no values, or lengths that differ.
    """
    a, b = _vector(first, "first"), _vector(second, "second")
    if a.shape != b.shape:
        raise ValueError(f"paired values need one length, got {a.size} and {b.size}")
    top, bottom, inverse = _tables(b - a, None, clusters, None)
    draws = _draw(top, bottom, inverse, resamples, seed)
    low, high = _percentiles(draws, level)
    tail = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    p_value = min(1.0, 2 * (float(tail) + 1) / (draws.size + 1))
    return PairedDifference(float((b - a).mean()), low, high, p_value)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: would a fair coin part the discordant pairs so unevenly?

    Args:
        only_first: questions that the first run alone got right.
        only_second: questions that the second run alone got right.

    Raises:
        ValueError: a count below 0.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts must be 0 or more, got {only_first} and {only_second}")
    n, fewer = only_first + only_second, min(only_first, only_second)
    ways = term = 1  # whole numbers, so that thousands of pairs neither underflow nor round
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        ways += term
    # Twice the tail: more than 1 where both sides hold the same number of pairs.
    return min(1.0, 2 * ways / (1 << n))


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, in [0, 1]; honest at 0 and at 1, where a bootstrap has no width.

    Raises:
        ValueError: no trials, or successes outside 0..trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"need 0 <= successes <= trials and trials >= 1, got {successes} of {trials}")
    z = _normal_quantile(0.5 + level / 2)
    p, n = successes / trials, float(trials)
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == trials else min(1.0, center + half)
    return Interval(low, high)


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def _vector(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty list of numbers, got shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers")
    return array


def _codes(labels: Sequence[Hashable] | None, n: int, name: str) -> tuple[NDArray[np.int64], int]:
    if labels is None:
        return (np.arange(n), n) if name == "clusters" else (np.zeros(n, dtype=np.int64), 1)
    if len(labels) != n:
        raise ValueError(f"{name} needs one label a value: got {len(labels)} for {n} values")
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)
    return codes, len(seen)


def _tables(
    values: ArrayLike,
    weights: ArrayLike | None,
    clusters: Sequence[Hashable] | None,
    groups: Sequence[Hashable] | None,
) -> tuple[Array, Array, int]:
    """Sums of values and of weights, each ``[clusters, groups]``, and the number of clusters."""
    value = _vector(values, "values")
    weight = np.ones_like(value) if weights is None else _vector(weights, "weights")
    if weight.shape != value.shape:
        raise ValueError(f"weights need one number a value: got {weight.size} for {value.size}")
    rows, num_clusters = _codes(clusters, value.size, "clusters")
    columns, num_groups = _codes(groups, value.size, "groups")
    top = np.zeros((num_clusters, num_groups))
    bottom = np.zeros((num_clusters, num_groups))
    np.add.at(top, (rows, columns), value)
    np.add.at(bottom, (rows, columns), weight)
    return top, bottom, num_clusters


def _draw(top: Array, bottom: Array, num_clusters: int, resamples: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    resamples = resamples if num_clusters > 1 else 1  # one cluster can only be drawn again
    out = np.empty(resamples)
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        drawn = generator.integers(num_clusters, size=(size, num_clusters)) + num_clusters * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * num_clusters).reshape(size, num_clusters)
        over = counts @ bottom
        ratio = np.divide(counts @ top, over, out=np.zeros_like(over), where=over > 0)
        present = (over > 0).sum(axis=1)
        out[start : start + size] = ratio.sum(axis=1) / np.maximum(present, 1)
    return out


def _percentiles(draws: Array, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
