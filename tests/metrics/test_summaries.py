from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.metrics.summaries import (
    kendall_tau_b,
    lower_median,
    spearman_rho,
    summary,
    summary_f1,
    top_average_precision,
)

lists = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 5).map(float), min_size=n, max_size=n) for _ in range(2)))
)


@settings(deadline=None)  # scipy is slow to load
@given(lists)
def test_correlations_against_scipy(pair: tuple[list[float], list[float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = pair
    for own, other in ((kendall_tau_b(a, b), stats.kendalltau), (spearman_rho(a, b), stats.spearmanr)):
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert own is None
        else:
            assert own == pytest.approx(other(a, b)[0], abs=1e-12)


def test_correlations_refuse_what_cannot_be_compared() -> None:
    for a, b in (([1, 2], [1, 2, 3]), ([1], [1]), ([], [])):
        with pytest.raises(ValueError, match="two lists"):
            kendall_tau_b(a, b)
        with pytest.raises(ValueError, match="two lists"):
            spearman_rho(a, b)


def test_the_lower_one_of_two_middle_values() -> None:
    assert lower_median([4, 1, 3, 2]) == 2
    assert lower_median([3, 1, 2]) == 2


def test_average_precision_by_hand() -> None:
    importance = [5.0, 1.0, 4.0, 1.0, 1.0, 3.0, 1.0]  # median 1: clips 0, 2 and 5 count
    assert top_average_precision([9, 0, 8, 0, 0, 7, 0], importance) == 1
    # Ranks 0, 1, 2, 3, 4: hit, miss, hit, miss, miss. 1/2 (1 + 1)/2 + 1/2 (1/2 + 2/3)/2
    assert top_average_precision([9, 8, 7, 6, 5, 0, 0], importance) == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)
    assert top_average_precision([0, 9, 0, 8, 7, 0, 6], importance, top=4) == 0
    assert top_average_precision([1, 2, 3], [2.0, 2.0, 2.0]) == 0


@given(lists)
def test_average_precision_against_an_obvious_one(pair: tuple[list[float], list[float]]) -> None:
    scores, importance = pair
    ranked = [importance[i] for _, i in sorted((-s, i) for i, s in enumerate(scores))][:5]
    middle = sorted(importance)[math.ceil(len(importance) / 2) - 1]
    hits = [int(value > middle) for value in ranked]
    points = [(0.0, 1.0)] + [
        (sum(hits[: k + 1]) / max(1, sum(hits)), sum(hits[: k + 1]) / (k + 1)) for k in range(len(hits))
    ]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:], strict=False))
    assert top_average_precision(scores, importance) == pytest.approx(area)


def test_summaries_take_the_share_and_no_more() -> None:
    assert summary([0, 5, 1, 2] * 5) == {1, 5, 9}
    assert summary([1, 2, 3]) == set()
    assert summary_f1([1, 2, 3], [1, 2, 3]) == 0
    scores = list(range(20))
    assert summary_f1(scores, scores) == 1
    assert summary_f1(scores, [-s for s in scores]) == 0
    assert summary_f1(scores, [50, 60, *[0] * 17, 99]) == pytest.approx(1 / 3)
