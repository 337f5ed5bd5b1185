"""Which words fit which event, given the similarities of all events with all texts.

Letters: n events, m texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.models.clip_onnx import Vectors

TEMPERATURE = 0.05


@dataclass(frozen=True)
class Match:
    """The text chosen for an event and the share of confidence it got among all texts, in [0, 1]."""

    text: int
    confidence: float


def even_out(scores: NDArray[Any]) -> Vectors:
    """Scores ``[n, m]`` without each text's mean over the events.

    Some texts lie near every picture and would be chosen everywhere; inside one video only where a text fits better
    than elsewhere counts. A single event has nothing to be compared with and stays as it is.
    """
    values = np.asarray(scores, np.float32)
    return values - values.mean(0) if len(values) > 1 else values


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
