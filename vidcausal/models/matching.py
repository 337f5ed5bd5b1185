"""Which words fit which event: similarities of pictures and texts, made comparable inside one video.

Letters: n events, m texts, d vector length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.models.clip_onnx import Vectors, unit

TEMPERATURE = 0.05


@dataclass(frozen=True)
class Match:
    """The text chosen for an event and the share of confidence it got among all texts, in [0, 1]."""

    text: int
    confidence: float


def similarities(events: NDArray[Any], texts: NDArray[Any], background: NDArray[Any]) -> Vectors:
    """Cosines ``[n, m]`` of events and texts after ``background [d]`` was taken from the events.

    What all frames of a video share (the room, the style, that it is a video at all) says nothing about which event a
    text belongs to; taking it away also closes most of the gap between drawings, which the bridge was fitted on, and
    footage.
    """
    return np.asarray(unit(np.asarray(events, np.float64) - background) @ np.asarray(texts).T, dtype=np.float32)


def softmax(scores: NDArray[Any], temperature: float = TEMPERATURE) -> Vectors:
    """Shares along the last axis; rows sum to 1."""
    scaled = np.asarray(scores, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True), dtype=np.float32)


def best_each(scores: NDArray[Any]) -> list[Match]:
    """Every event takes its best text on its own."""
    shares = softmax(scores)
    return [Match(int(j), float(shares[i, j])) for i, j in enumerate(np.argmax(scores, axis=1))]


def one_to_one(scores: NDArray[Any]) -> list[Match]:
    """Every event gets another text, so that the sum of scores is the highest (needs m >= n)."""
    from scipy.optimize import linear_sum_assignment

    shares = softmax(scores)
    rows, columns = linear_sum_assignment(-np.asarray(scores, np.float64))
    return [Match(int(j), float(shares[i, j])) for i, j in zip(rows, columns, strict=True)]
