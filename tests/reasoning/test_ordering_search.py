from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidcausal.reasoning.ordering import _local_search, best_order, order_value, pairwise_log_odds
from vidcausal.reasoning.transcript import Transcript
from vidcausal.types import OptionScore

matrices = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.integers(-9, 9), min_size=n * n, max_size=n * n).map(
        lambda values: np.array(values, dtype=float).reshape(n, n)
    )
)


@pytest.mark.parity
@settings(deadline=None, max_examples=60)
@given(matrices)
def test_the_best_order_is_the_first_of_the_best_of_all_permutations(odds: NDArray[np.float64]) -> None:
    n = len(odds)
    slow = max(itertools.permutations(range(n)), key=lambda order: (order_value(odds, order), [-i for i in order]))
    assert best_order(odds) == slow


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_a_consistent_ranking_is_recovered(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    strength = rng.permutation(n).astype(float)
    odds = strength[:, None] - strength[None, :]
    assert list(best_order(odds)) == list(np.argsort(-strength))
    assert list(_local_search(odds)) == list(np.argsort(-strength))


def test_twelve_are_exact_and_more_are_locally_optimal() -> None:
    rng = np.random.default_rng(5)
    odds = rng.normal(size=(12, 12))
    exact, searched = best_order(odds), _local_search(odds)
    assert sorted(exact) == list(range(12))
    assert order_value(odds, exact) >= order_value(odds, searched) - 1e-9
    many = rng.normal(size=(20, 20))
    order = list(best_order(many))
    assert sorted(order) == list(range(20))
    value = order_value(many, order)
    for clip, place in itertools.product(range(20), range(20)):
        moved = [other for other in order if other != clip]
        moved.insert(place, clip)
        assert order_value(many, moved) <= value + 1e-9
    assert best_order(many) == best_order(many.copy())


def test_nothing_known_keeps_the_given_order() -> None:
    assert best_order(np.zeros((5, 5))) == (0, 1, 2, 3, 4)
    assert best_order(np.zeros((0, 0))) == ()
    with pytest.raises(ValueError, match="finite square"):
        best_order(np.full((2, 2), np.nan))


class Ranker:
    """Scores text by the order of the letters in it, and likes the option "A" for its own sake."""

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    def score_options(self, prompt: str, options: list[str], frames: object = None) -> list[OptionScore]:
        if options == ["A", "B"]:
            lines = prompt.splitlines()
            first = next(line[3:] for line in lines if line.startswith("A: "))
            second = next(line[3:] for line in lines if line.startswith("B: "))
            gap = ord(second[0]) - ord(first[0])
            return [OptionScore(gap + self.bias, 1), OptionScore(0.0, 1)]
        scores = []
        for option in options:
            one, two = (line.split(". ", 1)[1] for line in option.splitlines())
            scores.append(OptionScore(float(ord(two[0]) - ord(one[0])), 4))
        return scores


@pytest.mark.parametrize("method", ["sequence", "question"])
@given(captions=st.permutations(["add", "beat", "cook", "dish"]))
@settings(deadline=None, max_examples=24)
def test_pairs_put_steps_in_order_whatever_letter_the_model_likes(method: str, captions: list[str]) -> None:
    transcript = Transcript()
    odds = pairwise_log_odds(transcript, Ranker(bias=50.0), "bake", captions, method)  # type: ignore[arg-type]
    assert np.allclose(odds, -odds.T)
    assert [captions[i] for i in best_order(odds)] == sorted(captions)
    assert len(transcript.steps) == (1 if method == "sequence" else 12)


def test_clips_without_words_stand_level() -> None:
    odds = pairwise_log_odds(Transcript(), Ranker(), "bake", ["b", "", "a"])
    assert odds[0, 1] == odds[1, 2] == 0
    assert odds[2, 0] > 0
