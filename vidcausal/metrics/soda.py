"""SODA: the story that predicted events tell against the annotated one (ECCV 2020), as fujiso/SODA@9cb3e2c counts it.

Predicted and annotated events are matched in time order by dynamic programming, so that what is matched adds up to
the most. Four kinds: ``a`` and ``b`` match by overlap alone and then add up the captions' scores, ``c`` matches by
overlap times caption score, ``d`` adds up overlaps and needs no captions. Quirks of the published code, kept here:

* The caption metric gets the prediction as the reference and the annotation as the candidate.
* ``a`` and ``b`` add up the caption scores of pairs that are picked row by row from the last one back: they need not
  be those of the best path, and may not overlap at all.
* Only videos that were predicted are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float64]
Kind = Literal["a", "b", "c", "d"]
ACTIVE_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
"""Least overlaps that kind ``a`` is averaged over; the other kinds have none."""
_UP, _LEFT, _MATCH = 0, 1, 2

PairScores = Callable[[Sequence[str], Sequence[str]], Matrix]
"""Caption scores, ``[annotated, predicted]``, of two lists of tokenized captions (predicted, annotated)."""


class Story(NamedTuple):
    """The events of one video: ``spans[i]`` is told by ``captions[i]`` (tokenized)."""

    spans: Sequence[tuple[float, float]]
    captions: Sequence[str]


@dataclass(frozen=True)
class SodaScores:
    """Means over videos, and the F-measures they are the means of; all from 0 to 1."""

    precision: float
    recall: float
    f1: float
    per_video: dict[str, float]


def hull_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Overlap by the length from the first start to the last end, as the dense captioning scorers write it.

    Parts count as nothing where the two do not touch; reversed spans and NaN go through the same arithmetic.
    """
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    covered = min(max(a[1], b[1]) - min(a[0], b[0]), a[1] - a[0] + b[1] - b[0])
    return shared / (covered + 1e-8)


def best_path(gains: Matrix) -> tuple[float, list[tuple[int, int]]]:
    """The most that pairs ``(row, column)``, both rising, can add up to, and the pairs the published code picks.

    Raises:
        ValueError: no row or no column.
    """
    if 0 in gains.shape:
        raise ValueError(f"nothing to match in a table of {gains.shape[0]} annotated and {gains.shape[1]} predicted")
    rows, columns = gains.shape
    total = np.full((rows + 1, columns + 1), 0.0)
    total[0, :] = total[:, 0] = -1.0
    steps = np.zeros((rows, columns), dtype=np.int64)
    for i in range(rows):
        for j in range(columns):
            before = total[i, j] if i and j else 0.0
            ways = (total[i, j + 1], total[i + 1, j], before + gains[i, j])
            steps[i, j] = int(np.argmax(ways))
            total[i + 1, j + 1] = ways[steps[i, j]]
    return float(total[rows, columns]), _pairs(steps)


def _pairs(steps: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Matches from the last row back: in each row the last column that ends in a match."""
    i, j = steps.shape[0] - 1, steps.shape[1] - 1
    found: list[tuple[int, int]] = []
    while True:
        matches = np.flatnonzero(steps[i][: j + 1] == _MATCH)
        if i and not matches.size:
            i -= 1
            continue
        column = int(matches[-1])
        found.append((i, column))
        if i == 0 or column == 0:
            return found[::-1]
        i, j = i - 1, column - 1


def overlaps(truth: Story, predicted: Story) -> Matrix:
    """``[annotated, predicted]`` overlaps of one video."""
    table = [[hull_iou(p, t) for p in predicted.spans] for t in truth.spans]
    return np.array(table, dtype=np.float64).reshape(len(truth.spans), len(predicted.spans))


def f_measure(precision: float, recall: float) -> float:
    """Harmonic mean, 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def soda(
    predicted: Mapping[str, Story], truths: Sequence[Mapping[str, Story]], kind: Kind, scores: PairScores | None = None
) -> SodaScores:
    """SODA over the videos that are both annotated and predicted.

    Args:
        predicted: the events of each video, sorted by start.
        truths: one set of annotations, or several: then the best one counts for each video and threshold.
        kind: which of the four.
        scores: the caption metric; not used by ``d``.

    Raises:
        ValueError: no video is in both, or a video has no event (the published code stops there).
    """
    thresholds = ACTIVE_THRESHOLDS if kind == "a" else (0.0,)
    annotated = {video for truth in truths for video in truth}
    videos = [video for video in predicted if video in annotated]
    if not videos:
        raise ValueError("no video is both annotated and predicted")
    best = {
        video: _video(predicted[video], [t[video] for t in truths if video in t], kind, thresholds, scores)
        for video in videos
    }
    means = np.array(list(best.values())).mean(axis=(0, 1))
    per_video = {video: float(np.mean([values[2] for values in found])) for video, found in best.items()}
    return SodaScores(float(means[0]), float(means[1]), float(means[2]), per_video)


def _video(
    predicted: Story, truths: Sequence[Story], kind: Kind, thresholds: Sequence[float], scores: PairScores | None
) -> list[tuple[float, float, float]]:
    """Precision, recall and F-measure at each threshold, against the annotation with the best F-measure there."""
    tables = []
    for truth in truths:
        iou = overlaps(truth, predicted)
        if 0 in iou.shape:
            raise ValueError("a video without an event")
        close = np.zeros_like(iou) if kind == "d" or scores is None else scores(predicted.captions, truth.captions)
        tables.append((iou, close))
    return [max((_measure(i, c, kind, t) for i, c in tables), key=lambda values: values[2]) for t in thresholds]


def _measure(iou: Matrix, close: Matrix, kind: Kind, threshold: float) -> tuple[float, float, float]:
    iou = np.where(iou < threshold, 0.0, iou)
    total, pairs = best_path(iou * close if kind == "c" else iou)
    if kind in ("a", "b"):
        total = float(np.sum(close[tuple(zip(*pairs, strict=True))]))
    precision, recall = total / iou.shape[1], total / iou.shape[0]
    return precision, recall, f_measure(precision, recall)
