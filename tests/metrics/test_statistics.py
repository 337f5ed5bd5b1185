"""Intervals: against formulas, against simulation, and reproducible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.metrics.statistics import bootstrap_interval, mcnemar, paired_bootstrap, wilson_interval


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, table I, method 3 (no continuity correction)
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson_interval(15, 148)
    assert (round(low, 4), round(high, 4)) == (0.0624, 0.1605)
    low, high = wilson_interval(0, 20)
    assert (low, round(high, 4)) == (0.0, 0.1611)
    low, high = wilson_interval(1, 29)
    assert (round(low, 4), round(high, 4)) == (0.0061, 0.1718)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_solves_its_equation(case: tuple[int, int]) -> None:
    k, n = case
    low, high = wilson_interval(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    for bound in (low, high):
        if 0 < bound < 1:
            z = abs(k / n - bound) / np.sqrt(bound * (1 - bound) / n)
            assert z == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(k, n)


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5, 2, size=400)
    low, high = bootstrap_interval(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


@pytest.mark.parity
def test_bootstrap_equals_drawing_clusters_one_by_one() -> None:
    rng = np.random.default_rng(0)
    clusters = list(rng.integers(0, 12, size=60))
    values, weights = rng.random(60) * 3, rng.integers(1, 6, size=60).astype(float)
    low, high = bootstrap_interval(values, weights=weights, clusters=clusters, resamples=8000)
    names = sorted(set(clusters))
    draws = []
    for _ in range(8000):
        drawn = rng.choice(names, size=len(names))
        rows = np.concatenate([np.flatnonzero(np.array(clusters) == c) for c in drawn])
        draws.append(values[rows].sum() / weights[rows].sum())
    slow = np.quantile(draws, [0.025, 0.975])
    assert low == pytest.approx(slow[0], abs=0.02)
    assert high == pytest.approx(slow[1], abs=0.02)


def test_questions_of_one_video_do_not_narrow_the_interval() -> None:
    hits = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0] * 5
    single = bootstrap_interval(hits)
    repeated = bootstrap_interval(hits * 4, clusters=list(range(len(hits))) * 4)
    assert repeated == pytest.approx(single, abs=1e-9)
    assert bootstrap_interval(hits * 4)[1] - bootstrap_interval(hits * 4)[0] < single[1] - single[0]


def test_macro_mean_over_groups() -> None:
    low, high = bootstrap_interval([1.0] * 10 + [0.0] * 2, groups=["a"] * 10 + ["b"] * 2)
    assert low >= 0.5 - 1e-9
    assert high <= 1.0
    assert bootstrap_interval([1.0] * 4, groups=list("aabb")) == (1.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 5))
def test_bootstrap_is_seeded_and_inside_the_range(values: list[float], seed: int) -> None:
    first = bootstrap_interval(values, seed=seed, resamples=300)
    assert first == bootstrap_interval(values, seed=seed, resamples=300)
    assert min(values) - 1e-9 <= first.low <= first.high <= max(values) + 1e-9


def test_paired_bootstrap_sees_a_difference_and_none() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(300) < 0.4).astype(float)
    better = np.maximum(base, (rng.random(300) < 0.2).astype(float))
    result = paired_bootstrap(base, better)
    assert result.difference == pytest.approx((better - base).mean())
    assert result.low > 0
    assert result.p_value < 0.01
    same = paired_bootstrap(base, base)
    assert same.difference == same.low == same.high == 0.0
    assert same.p_value == 1.0


def test_one_video_proves_nothing() -> None:
    assert bootstrap_interval([1.0, 0.0], clusters=["a", "a"]) == (0.5, 0.5)
    assert paired_bootstrap([0.0, 0.0], [1.0, 1.0], clusters=["a", "a"]).p_value == 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": []},
        {"values": [1.0, float("nan")]},
        {"values": [1.0], "clusters": ["a", "b"]},
        {"values": [1.0], "weights": [1.0, 2.0]},
        {"values": [1.0], "level": 1.5},
    ],
)
def test_bad_input_is_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"values|clusters|weights|level"):
        bootstrap_interval(**arguments)  # type: ignore[arg-type]


def _mcnemar_by_enumeration(only_first: int, only_second: int) -> float:
    """Every way a fair coin may fall: how many are at least as uneven as what was seen."""
    n = only_first + only_second
    seen = abs(only_first - only_second)
    outcomes = [sum(toss) for toss in itertools.product((0, 1), repeat=n)]
    return sum(abs(2 * heads - n) >= seen for heads in outcomes) / len(outcomes)


def test_mcnemar_agrees_with_every_way_a_coin_may_fall() -> None:
    for first in range(7):
        for second in range(7):
            assert mcnemar(first, second) == pytest.approx(_mcnemar_by_enumeration(first, second), abs=1e-15)


def test_mcnemar_of_many_pairs_neither_overflows_nor_underflows() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5000, 5000) == 1.0
    assert 0.0 < mcnemar(4700, 5300) < 1e-8
    assert mcnemar(0, 3000) == 0.0, "2 / 2 ** 3000 is below the smallest float"
    assert mcnemar(3, 11) == mcnemar(11, 3)
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar(-1, 2)
