"""The best order of clips from pairwise likelihoods: exact up to twelve clips, deterministic, never malformed.

A reasoner scores, for every pair of descriptions, which of the two is done first; ``odds[i, j]`` is the log-odds that
``i`` comes before ``j``. The order that collects the largest sum is found by dynamic programming over sets of clips
(``2^n n`` steps); above twelve clips by moving single clips from a good start until nothing improves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidcausal.protocols import Scoring
from vidcausal.reasoning.prompts import fill
from vidcausal.reasoning.transcript import Transcript

Method = Literal["sequence", "question"]
METHODS: tuple[Method, ...] = ("sequence", "question")
EXACT_LIMIT = 12
_TIE = 1e-9


def order_value(odds: NDArray[np.float64], order: Sequence[int]) -> float:
    """Sum of the log-odds of all pairs as ``order`` (0-based) has them."""
    return float(sum(odds[order[a], order[b]] for a in range(len(order)) for b in range(a + 1, len(order))))


def best_order(odds: NDArray[np.float64]) -> tuple[int, ...]:
    """The 0-based order with the largest value; of equally good ones the first in the dictionary.

    Args:
        odds: ``[n, n]``, log-odds that the row's clip comes before the column's. Above :data:`EXACT_LIMIT` clips the
            result is a local optimum under moves of single clips.

    Raises:
        ValueError: not square, or not finite.
    """
    n = odds.shape[0]
    if odds.shape != (n, n) or not np.isfinite(odds).all():
        raise ValueError(f"odds must be a finite square matrix, got shape {list(odds.shape)}")
    return _exact(odds) if n <= EXACT_LIMIT else _local_search(odds)


def _exact(odds: NDArray[np.float64]) -> tuple[int, ...]:
    n = odds.shape[0]
    full = (1 << n) - 1
    best = np.zeros(1 << n)
    """``best[S]``: the most that the clips outside S can still collect among themselves once those of S are placed."""
    ahead = np.zeros((1 << n, n))
    """``ahead[R, j]``: what j collects by being placed before all clips of R."""
    for rest in range(1, 1 << n):
        low = (rest & -rest).bit_length() - 1
        ahead[rest] = ahead[rest & (rest - 1)] + odds[:, low]
    for placed in range(full - 1, -1, -1):
        free = full & ~placed
        best[placed] = max(ahead[free & ~(1 << j), j] + best[placed | (1 << j)] for j in range(n) if free >> j & 1)
    order: list[int] = []
    placed = 0
    while placed != full:
        free = full & ~placed
        for j in range(n):
            if free >> j & 1 and ahead[free & ~(1 << j), j] + best[placed | (1 << j)] >= best[placed] - _TIE:
                order.append(j)
                placed |= 1 << j
                break
    return tuple(order)


def _local_search(odds: NDArray[np.float64]) -> tuple[int, ...]:
    n = odds.shape[0]
    lead = (odds - odds.T).sum(axis=1)
    order = sorted(range(n), key=lambda i: (-lead[i], i))
    improved = True
    while improved:
        improved = False
        for clip in range(n):
            gain, place = _best_move(odds, order, clip)
            if gain > _TIE:
                order.remove(clip)
                order.insert(place, clip)
                improved = True
    return tuple(order)


def _best_move(odds: NDArray[np.float64], order: Sequence[int], clip: int) -> tuple[float, int]:
    """The gain of the best new place of ``clip``, and that place in the order without it."""
    others = [other for other in order if other != clip]
    value = float(sum(odds[clip, other] for other in others))
    values = [value]
    for other in others:
        value += float(odds[other, clip] - odds[clip, other])
        values.append(value)
    now = values[list(order).index(clip)]
    place = max(range(len(values)), key=lambda i: (values[i], -i))
    return values[place] - now, place


def pairwise_log_odds(
    transcript: Transcript, scorer: Scoring, goal: str, captions: Sequence[str], method: Method = "sequence"
) -> NDArray[np.float64]:
    """Antisymmetric ``[n, n]`` log-odds that caption i is done before caption j, toward ``goal``.

    ``sequence``: how much likelier is "1. i, 2. j" than "1. j, 2. i" as the reply: both directions of all pairs in one
    call, which shares the prompt. ``question``: "which is done first, A or B?" with i as A and again with j as A; the
    mean of both cancels a model's liking for a letter or a place. A clip without a caption stands level with every
    other.
    """
    n = len(captions)
    odds = np.zeros((n, n))
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(n), 2)
        if captions[i] and captions[j] and captions[i] != captions[j]
    ]
    compare = _by_sequence if method == "sequence" else _by_question
    texts = [(captions[i], captions[j]) for i, j in pairs]
    for (i, j), value in zip(pairs, compare(transcript, scorer, goal, texts) if texts else (), strict=True):
        odds[i, j], odds[j, i] = value, -value
    return odds


def _by_sequence(transcript: Transcript, scorer: Scoring, goal: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    options = [f"1. {first}\n2. {second}" for one, other in pairs for first, second in ((one, other), (other, one))]
    scores = transcript.score("score_pairs", scorer, fill("pair_sequence", scorer, goal=goal), options)
    return [there.log_likelihood - back.log_likelihood for there, back in zip(scores[::2], scores[1::2], strict=True)]


def _by_question(transcript: Transcript, scorer: Scoring, goal: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    values = []
    for one, other in pairs:
        total = 0.0
        for first, second, sign in ((one, other, 1.0), (other, one, -1.0)):
            prompt = fill("pair_question", scorer, goal=goal, first=first, second=second)
            scores = transcript.score("score_pair", scorer, prompt, ["A", "B"])
            total += sign * (scores[0].log_likelihood - scores[1].log_likelihood)
        values.append(total / 2)
    return values
