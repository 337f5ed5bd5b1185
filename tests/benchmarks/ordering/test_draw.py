from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.benchmarks.ordering._draw import Procedure, TimedStep, draw, usable_steps


def _steps(*texts: str) -> tuple[TimedStep, ...]:
    return tuple(TimedStep(10.0 * i, 10.0 * i + 5, text) for i, text in enumerate(texts))


def test_neighbors_that_say_the_same_are_one_step() -> None:
    assert usable_steps(_steps("cut", "Cut.", "fry")) == [TimedStep(0, 15, "cut"), TimedStep(20, 25, "fry")]


def test_a_step_at_two_places_is_left_out_at_both() -> None:
    assert [s.text for s in usable_steps(_steps("stir", "cut", "stir", "fry"))] == ["cut", "fry"]


def test_a_step_that_begins_before_the_last_one_has_ended_is_left_out() -> None:
    steps = [TimedStep(0, 10, "a"), TimedStep(9, 20, "b"), TimedStep(10, 12, "c")]
    assert [s.text for s in usable_steps(steps)] == ["a", "c"]


def test_unsorted_empty_reversed_and_nan_steps() -> None:
    steps = [
        TimedStep(30, 40, "last"),
        TimedStep(0, 5, "first"),
        TimedStep(6, 6, "no time"),
        TimedStep(9, 8, "reversed"),
        TimedStep(float("nan"), 20, "nan"),
        TimedStep(10, 12, "  "),
    ]
    assert [s.text for s in usable_steps(steps)] == ["first", "last"]


def test_too_few_steps_make_no_question() -> None:
    assert draw(Procedure("v", "v", "g", _steps("a", "b")), [3, 4], "uniform", 0) is None


@given(st.integers(3, 9), st.sampled_from(["uniform", "vcrbench"]), st.integers(0, 50), st.text(max_size=5))
def test_the_order_leads_through_a_stretch_of_the_true_steps(count: int, policy: str, seed: int, name: str) -> None:
    steps = _steps(*map(str, range(count)))
    drawn = draw(Procedure(name, name, "g", steps), [3, 4, 5, 6, 7], policy, seed)  # type: ignore[arg-type]
    assert drawn is not None
    told = [int(drawn.clips[clip - 1].text) for clip in drawn.order]
    assert told == list(range(told[0], told[0] + len(told)))
    assert 3 <= len(told) <= min(7, count)
    assert sorted(drawn.order) == list(range(1, len(told) + 1))
    if policy == "vcrbench":
        assert list(drawn.order) not in (sorted(drawn.order), sorted(drawn.order, reverse=True))


def _orders(policy: str) -> Counter[tuple[int, ...]]:
    found: Counter[tuple[int, ...]] = Counter()
    for number in range(3000):
        drawn = draw(Procedure(str(number), "v", "g", _steps("a", "b", "c")), [3], policy, 0)  # type: ignore[arg-type]
        assert drawn is not None
        found[drawn.order] += 1
    return found


@pytest.mark.parametrize(("policy", "kinds"), [("uniform", 6), ("vcrbench", 4)])
def test_all_orders_of_a_policy_are_equally_likely(policy: str, kinds: int) -> None:
    found = _orders(policy)
    assert len(found) == kinds
    expected = 3000 / kinds
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 25  # chi squared, p < 1e-4


def test_the_draw_is_the_same_in_every_process() -> None:
    drawn = draw(Procedure("abc", "abc", "g", _steps(*"abcdefgh")), [3, 4, 5, 6, 7], "uniform", 0)
    again = draw(Procedure("abc", "abc", "other goal", _steps(*"abcdefgh")), [7, 3, 4, 5, 6], "uniform", 0)
    assert drawn == again
    others = {draw(Procedure("abc", "abc", "g", _steps(*"abcdefgh")), [5], "uniform", seed) for seed in range(20)}
    assert len(others) > 10
