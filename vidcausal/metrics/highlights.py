"""How well highlights are found: clips of a video ranked by saliency, against the clips that raters liked.

Letters: n queries, c clips of a video, r raters. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def ranking_precision(liked: Sequence[Bools], scores: Sequence[Floats]) -> Floats:
    """Interpolated average precision of each query's clips by each rater, ``[n, r]``.

    Args:
        liked: for every query which clips each rater liked, ``[c, r]``.
        scores: saliency of every query's clips, ``[c]``; equal scores are one step of the ranking.

    Where a rater liked no clip the precision is 0, where all clips 1. Otherwise it is the mean of the monotone
    precisions at the steps that find another liked clip.

    Raises:
        ValueError: lengths differ, or a video has no clip.
    """
    if not len(liked):
        return np.zeros((0, 0))
    raters = liked[0].shape[1]
    out = np.zeros((len(liked), raters))
    by_length: dict[int, list[int]] = {}
    for index, (own, score) in enumerate(zip(liked, scores, strict=True)):
        if own.shape != (len(score), raters) or not len(score):
            raise ValueError(f"query {index} needs a score for each of its clips: {len(score)} for {own.shape}")
        by_length.setdefault(len(score), []).append(index)
    for rows in by_length.values():
        labels = np.stack([liked[i] for i in rows]).transpose(0, 2, 1)
        out[rows] = _equal_lengths(labels, np.stack([scores[i] for i in rows]))
    return out


def _equal_lengths(labels: Bools, scores: Floats) -> Floats:
    """Average precisions ``[m, r]`` of labels ``[m, r, c]`` ranked by scores ``[m, c]``."""
    clips = scores.shape[1]
    order = scores.argsort(axis=1, kind="stable")[:, ::-1]
    ranked = np.take_along_axis(scores, order, axis=1)
    ends = np.ones(ranked.shape, dtype=bool)  # where a step of equal scores ends
    ends[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    ends = np.broadcast_to(ends[:, None, :], labels.shape)
    hits = np.cumsum(np.take_along_axis(labels, order[:, None, :], axis=2), axis=2).astype(np.float64)
    precision = np.where(ends, hits / np.arange(1, clips + 1), 0.0)
    precision = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    # Hits at the end of the step before: a step counts when it finds another liked clip.
    before = np.maximum.accumulate(np.where(ends, hits, 0.0), axis=2)
    before = np.concatenate([np.zeros((*before.shape[:2], 1)), before[:, :, :-1]], axis=2)
    counted = ends & (hits > before)
    total = hits[:, :, -1]
    found = _means(precision, counted)
    return np.where(total == 0, 0.0, np.where(total == clips, 1.0, found))


def _means(values: Floats, wanted: Bools) -> Floats:
    """Mean of the wanted values along the last axis, last to first, added as numpy adds a list of them."""
    flat = values[:, :, ::-1].reshape(-1, values.shape[2])
    mask = wanted[:, :, ::-1].reshape(flat.shape)
    counts = mask.sum(axis=1)
    out = np.zeros(len(flat))
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        out[rows] = flat[rows][mask[rows]].reshape(len(rows), count).mean(axis=1)
    return out.reshape(values.shape[:2])


def top_clip_liked(liked: Sequence[Bools], scores: Sequence[Sequence[float] | Floats]) -> Floats:
    """1 where the clip of the highest score (the first of equals) is liked by any rater, ``[n]``.

    A highest score beyond the last clip of the video counts as a miss.
    """
    out = np.zeros(len(liked))
    for index, (own, score) in enumerate(zip(liked, scores, strict=True)):
        top = int(np.argmax(score))
        out[index] = float(top < len(own) and own[top].any())
    return out


def fitted(scores: Sequence[float], clips: int) -> Floats:
    """Scores cut to so many clips, or filled up with zeros."""
    given = np.asarray(scores, dtype=np.float64)[:clips]
    out = np.zeros(clips)
    out[: len(given)] = given
    return out
