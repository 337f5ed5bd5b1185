"""Ordering metrics against obvious second implementations, and the figures that are known exactly."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.metrics.ordering import (
    best_constant,
    chance,
    exact_match,
    kendall_tau,
    official_scores,
    position_hits,
    spearman,
    strict_scores,
)

permutations = st.integers(1, 6).flatmap(lambda n: st.permutations(range(1, n + 1)))
pairs = st.integers(1, 7).flatmap(
    lambda n: st.tuples(st.permutations(range(1, n + 1)), st.permutations(range(1, n + 1)))
)


def slow_tau(answer: list[int], predicted: list[int]) -> float:
    n = len(answer)
    if n < 2:
        return 1.0
    total = 0
    for a, b in itertools.combinations(range(1, n + 1), 2):
        same = (answer.index(a) < answer.index(b)) == (predicted.index(a) < predicted.index(b))
        total += 1 if same else -1
    return total / math.comb(n, 2)


def slow_pearson_of_ranks(answer: list[int], predicted: list[int]) -> float:
    xs = [answer.index(c) for c in range(1, len(answer) + 1)]
    ys = [predicted.index(c) for c in range(1, len(answer) + 1)]
    mean = sum(xs) / len(xs)
    covariance = sum((x - mean) * (y - mean) for x, y in zip(xs, ys, strict=True))
    variance = sum((x - mean) ** 2 for x in xs)
    return covariance / variance if variance else 1.0


@pytest.mark.parity
@given(pairs)
def test_rank_correlations_equal_the_slow_ones(pair: tuple[list[int], list[int]]) -> None:
    answer, predicted = pair
    assert kendall_tau(answer, predicted) == pytest.approx(slow_tau(answer, predicted), abs=1e-12)
    assert spearman(answer, predicted) == pytest.approx(slow_pearson_of_ranks(answer, predicted), abs=1e-12)


def test_rank_correlations_at_the_ends() -> None:
    assert kendall_tau([3, 1, 2], [3, 1, 2]) == spearman([3, 1, 2], [3, 1, 2]) == 1
    assert kendall_tau([3, 1, 2], [2, 1, 3]) == spearman([3, 1, 2], [2, 1, 3]) == -1
    with pytest.raises(ValueError, match="same distinct clips"):
        kendall_tau([1, 2, 3], [1, 1, 3])
    with pytest.raises(ValueError, match="same distinct clips"):
        spearman([1, 2, 3], [1, 2])


@pytest.mark.parity
@settings(max_examples=60, deadline=None)
@given(st.lists(permutations, min_size=1, max_size=4), st.booleans())
def test_chance_equals_trying_every_permutation(answers: list[list[int]], exclude: bool) -> None:
    exact, hits, positions = 0.0, 0.0, 0
    for answer in answers:
        n = len(answer)
        identity, reversal = list(range(1, n + 1)), list(range(n, 0, -1))
        guesses = [list(p) for p in itertools.permutations(identity)]
        if exclude and n >= 3:
            guesses = [g for g in guesses if g not in (identity, reversal)]
        exact += sum(g == answer for g in guesses) / len(guesses)
        hits += sum(sum(position_hits(answer, g)) for g in guesses) / len(guesses)
        positions += n
    result = chance(answers)
    suffix = "_excluding_identity_and_reversal" if exclude else ""
    assert result["accuracy" + suffix] == pytest.approx(100 * exact / len(answers))
    assert result["step_accuracy" + suffix] == pytest.approx(100 * hits / positions)


@pytest.mark.parity
@given(st.lists(permutations, min_size=1, max_size=12))
def test_no_constant_answer_beats_the_best_one(answers: list[list[int]]) -> None:
    best = best_constant(answers)
    for n, order in best.items():
        group = [a for a in answers if len(a) == n]
        most = max(sum(a == list(other) for a in group) for other in itertools.permutations(range(1, n + 1)))
        assert sum(exact_match(a, order) for a in group) == most


@given(st.lists(st.tuples(pairs, st.sampled_from("ab")), min_size=1, max_size=8))
def test_official_and_strict_agree_up_to_rounding_when_nothing_is_missing(
    rows: list[tuple[tuple[list[int], list[int]], str]],
) -> None:
    answers, predictions, goals = [r[0][0] for r in rows], [r[0][1] for r in rows], [r[1] for r in rows]
    official = official_scores(answers, predictions, goals)
    strict = strict_scores(answers, predictions, goals)
    assert official["avg_accuracy"] == pytest.approx(strict["accuracy"], abs=0.0051)
    assert official["avg_step_accuracy"] == pytest.approx(strict["step_accuracy"], abs=0.0051)
    assert official["weighted_avg_accuracy"] == pytest.approx(strict["goal_mean_accuracy"], abs=0.0102)


def test_perfect_answers_score_a_hundred() -> None:
    answers = [[2, 1, 3], [4, 2, 1, 3]]
    official = official_scores(answers, answers, ["a", "b"])
    assert official["avg_accuracy"] == official["avg_step_accuracy"] == official["weighted_avg_accuracy"] == 100.0
    strict = strict_scores(answers, answers, ["a", "b"])
    assert strict["accuracy"] == strict["step_accuracy"] == 100.0
    assert strict["kendall_tau"] == 1.0


def test_the_official_mean_over_goals_is_of_rounded_accuracies_and_unweighted() -> None:
    answers = [[2, 1, 3]] * 7
    predictions = [[2, 1, 3]] + [[0, 0, 0]] * 6
    official = official_scores(answers, predictions, ["a"] * 3 + ["b"] * 4)
    assert official["scores_per_class"] == {"a": 33.33, "b": 0.0}
    assert official["weighted_avg_accuracy"] == 16.66  # of 33.33, not of 33.333...
    assert official["avg_accuracy"] == 14.29
    assert official["scores_per_step"] == {"3": 14.29}


def test_a_missing_answer_is_wrong_everywhere_under_strict() -> None:
    strict = strict_scores([[2, 1, 3], [2, 1, 3]], [[2, 1, 3], None], ["a", "a"])
    assert strict["accuracy"] == 50.0
    assert strict["step_accuracy"] == 50.0
    assert strict["kendall_tau"] == 1.0
    assert strict_scores([[2, 1, 3]], [None], ["a"])["kendall_tau"] is None


def test_the_published_scorer_divides_by_zero_without_rows() -> None:
    with pytest.raises(ZeroDivisionError):
        official_scores([], [], [])


@pytest.mark.data
def test_known_chance_figures_of_vcrbench(shared_data: Path) -> None:
    rows = json.loads((shared_data / "annotations/vcrbench/response_1.json").read_text())
    result = chance([row["answer"] for row in rows])
    assert round(result["accuracy"], 3) == 7.147
    assert round(result["step_accuracy"], 3) == 23.609
    assert result["identity_accuracy"] == 0.0
    assert round(result["identity_step_accuracy"], 2) == 17.72
    assert round(result["best_constant_accuracy"], 2) == 14.25
    assert round(result["accuracy_excluding_identity_and_reversal"], 2) == 10.14
    assert {n: row["count"] for n, row in result["per_n"].items()} == {"3": 126, "4": 105, "5": 80, "6": 30, "7": 24}
