from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vidcausal.metrics.soda import Matrix, Story, best_path, f_measure, hull_iou, soda

tables = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 8).map(lambda n: n / 8))
)


@settings(deadline=None)
@given(tables)
def test_the_best_path_is_the_best_of_all(gains: Matrix) -> None:
    rows, columns = gains.shape
    totals = [
        sum(gains[i, j] for i, j in zip(chosen, places, strict=True))
        for size in range(1, min(rows, columns) + 1)
        for chosen in combinations(range(rows), size)
        for places in combinations(range(columns), size)
    ]
    total, pairs = best_path(gains)
    assert total == pytest.approx(max(totals))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in zip(pairs, pairs[1:], strict=False))
    assert sum(gains[pair] for pair in pairs) <= total + 1e-9


def test_the_pairs_are_not_always_those_of_the_best_path() -> None:
    # The last row is matched where it can be, though the best path leaves it out: so the published code picks them.
    gains = np.array([[0.0, 1.0], [0.5, 0.0]])
    total, pairs = best_path(gains)
    assert total == 1
    assert pairs == [(1, 0)]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_match(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="nothing to match"):
        best_path(np.zeros(shape))


def test_overlap() -> None:
    assert hull_iou((0, 10), (5, 15)) == pytest.approx(1 / 3)
    assert hull_iou((0, 1), (5, 6)) == 0
    assert hull_iou((30, 10), (0, 50)) == 0


def _ones(predicted: object, annotated: object) -> Matrix:
    return np.ones((len(annotated), len(predicted)))  # type: ignore[arg-type]


TRUTH = {"v": Story([(0, 10), (10, 20)], ["a", "b"]), "w": Story([(0, 5)], ["c"])}


def test_each_kind_by_hand() -> None:
    predicted = {"v": Story([(0, 10)], ["a"])}
    overlap = soda(predicted, [TRUTH], "d")
    assert (overlap.precision, overlap.recall) == pytest.approx((1, 0.5))
    assert overlap.f1 == pytest.approx(2 / 3)
    both = soda(predicted, [TRUTH], "c", lambda p, t: 0.5 * _ones(p, t))
    assert both.precision == pytest.approx(0.5)
    # Here the matched pair alone counts, whatever it overlaps.
    assert soda({"v": Story([(90, 99)], ["a"])}, [TRUTH], "b", _ones).precision == 1
    assert soda({"v": Story([(90, 99)], ["a"])}, [TRUTH], "c", _ones).precision == 0


def test_only_predicted_videos_count_and_the_best_annotation() -> None:
    predicted = {"v": Story([(0, 10)], ["a"]), "unknown": Story([(0, 1)], ["x"])}
    assert set(soda(predicted, [TRUTH], "d").per_video) == {"v"}
    second = {"v": Story([(0, 10)], ["a"])}
    assert soda(predicted, [TRUTH, second], "d").f1 == pytest.approx(1)
    with pytest.raises(ValueError, match="both annotated and predicted"):
        soda({"x": Story([(0, 1)], ["a"])}, [TRUTH], "d")
    with pytest.raises(ValueError, match="without an event"):
        soda({"v": Story([], [])}, [TRUTH], "d")


def test_f_measure() -> None:
    assert f_measure(0, 0) == 0
    assert f_measure(1, 0.5) == pytest.approx(2 / 3)
