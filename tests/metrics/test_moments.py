"""Moments and highlights: the vectors of the specification, and every metric against a slow, obvious second one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.metrics.grounding import iop, set_iou, span_iou
from vidcausal.metrics.highlights import fitted, ranking_precision, top_clip_liked
from vidcausal.metrics.moments import (
    AP_THRESHOLDS,
    average_precision,
    best_window_iou,
    cross_iou,
    padded,
    paired_hull_iou,
)
from vidcausal.types import Span

edges = st.integers(0, 40)
windows = st.tuples(edges, edges).map(sorted).filter(lambda w: w[0] < w[1])
spans = windows.map(lambda w: Span(w[0] / 2, w[1] / 2))


# ---- overlaps ---------------------------------------------------------------------------------------------------


def test_the_vectors_of_the_specification():
    assert span_iou(Span(0, 10), Span(5, 15)) == pytest.approx(1 / 3)
    assert span_iou(Span(0, 10), Span(20, 30)) == 0
    assert set_iou([Span(0, 5), Span(3, 8)], [Span(0, 8)]) == 1
    assert iop(Span(5, 15), Span(0, 10)) == 0.5
    assert iop(Span(5, 5), Span(0, 10)) == 0  # the published scorer of NExT-GQA says 1; see its test


def test_touching_intervals_are_one():
    assert set_iou([Span(0, 5), Span(5, 10)], [Span(0, 10)]) == 1
    assert set_iou([], []) == 0
    assert set_iou([Span(3, 3)], [Span(3, 3)]) == 0


@given(st.lists(spans, max_size=4), st.lists(spans, max_size=4))
def test_set_iou_counts_half_seconds(first, second):
    """Spans lie on half seconds here, so that the time that each covers can be listed."""
    a = {i for span in first for i in range(int(2 * span.start), int(2 * span.end))}
    b = {i for span in second for i in range(int(2 * span.start), int(2 * span.end))}
    expected = len(a & b) / len(a | b) if a | b else 0
    assert set_iou(first, second) == pytest.approx(expected)
    assert set_iou(first, second) == pytest.approx(set_iou(second, first))


@given(windows, windows)
def test_hull_and_union_agree_where_windows_overlap(a, b):
    hull = paired_hull_iou(np.array([a], float), np.array([b], float))[0]
    union = cross_iou(np.array([[a]], float), np.array([[b]], float))[0, 0, 0]
    assert hull == pytest.approx(union)
    assert union == pytest.approx(span_iou(Span(*a), Span(*b)))


def test_two_equal_points_overlap_by_an_undefined_share():
    point = np.array([[[4.0, 4.0]]])
    assert math.isnan(cross_iou(point, point)[0, 0, 0])
    assert paired_hull_iou(point[0], point[0])[0] == 0


def test_padding_takes_part_in_nothing():
    found = np.array([[0.0, 10.0], [0.0, 10.0]])
    assert best_window_iou(found, [[(0, 10), (0, 1)], [(5, 15)]]).tolist() == pytest.approx([1, 1 / 3])
    array, counts = padded([[(1, 2, 0.5)], [], [(3, 4), (5, 6)]])
    assert array.shape == (3, 2, 2)
    assert counts.tolist() == [1, 0, 2]
    assert np.isnan(array[0, 1]).all()


def test_a_query_without_a_true_window_is_refused():
    with pytest.raises(ValueError, match="needs a true window"):
        best_window_iou(np.array([[0.0, 1.0]]), [[]])


# ---- average precision of windows -------------------------------------------------------------------------------


def slow_average_precision(found, truths, threshold):
    """Walk down the ranking; each window takes the free true window that it overlaps most."""
    free = list(range(len(truths)))
    right = []
    for window in found:
        candidates = [(span_iou(Span(*window), Span(*truths[i])), i) for i in free]
        candidates = [pair for pair in candidates if pair[0] >= threshold]
        if candidates:
            free.remove(max(candidates)[1])
        right.append(bool(candidates))
    precisions = [sum(right[: i + 1]) / (i + 1) for i in range(len(right))]
    recalls = [sum(right[: i + 1]) / len(truths) for i in range(len(right))]
    area, reached = 0.0, 0.0
    for i, recall in enumerate(recalls):
        if recall > reached:
            area += (recall - reached) * max(precisions[i:])
            reached = recall
    return area


@settings(max_examples=150)
@given(st.lists(st.tuples(st.lists(windows, max_size=6), st.lists(windows, min_size=1, max_size=12)), max_size=4))
def test_average_precision_against_the_slow_one(queries):
    found, truths = [list(own) for own, _ in queries], [list(own) for _, own in queries]
    # Windows that are themselves true ones make hits likely.
    for i, own in enumerate(truths):
        found[i] = [*found[i], *own[: len(own) // 2]]
    got = average_precision(found, truths)
    assert got.shape == (len(queries), len(AP_THRESHOLDS))
    for i in range(len(queries)):
        for j, threshold in enumerate(AP_THRESHOLDS):
            assert got[i, j] == pytest.approx(slow_average_precision(found[i], truths[i], threshold), abs=1e-12)


def test_a_perfect_ranking_has_one_and_nothing_found_has_zero():
    truths = [[(0, 10), (20, 30)], [(5, 9)]]
    assert average_precision(truths, truths).tolist() == [[1.0] * 10] * 2
    assert average_precision([[], []], truths).tolist() == [[0.0] * 10] * 2


def test_a_window_is_taken_once():
    (one,) = average_precision([[(0, 10), (0, 10)]], [[(0, 10), (20, 30)]], [0.5])
    assert one.tolist() == [0.5]


def test_of_equal_overlaps_the_last_true_window_is_taken():
    # [0, 20] overlaps both halves by 1/2 and takes the last; [0, 12] then finds the first one free.
    (right,) = average_precision([[(0, 20), (0, 12)]], [[(0, 10), (10, 20)]], [0.5])
    assert right.tolist() == [1.0]
    (wrong,) = average_precision([[(0, 20), (8, 20)]], [[(0, 10), (10, 20)]], [0.5])
    assert wrong.tolist() == [0.5]


def test_an_undefined_overlap_counts_as_enough():
    """A reversed window as long as the true one: 0 / 0."""
    assert average_precision([[(10, 0)]], [[(50, 60)]], [0.95]).tolist() == [[1.0]]


# ---- highlights -------------------------------------------------------------------------------------------------


def slow_ranking_precision(liked, scores):
    """At every score that is there: how many clips of at least this score are liked."""
    if not any(liked) or all(liked):
        return float(all(liked))
    steps = []
    for least in sorted(set(scores), reverse=True):
        chosen = [own for own, score in zip(liked, scores, strict=True) if score >= least]
        steps.append((sum(chosen), sum(chosen) / len(chosen)))
    kept, before = [], 0
    for i, (hits, _) in enumerate(steps):
        if hits > before:
            kept.append(max(precision for _, precision in steps[i:]))
        before = hits
    return sum(kept) / len(kept)


clips = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])), min_size=1)


@settings(max_examples=150)
@given(st.lists(clips, max_size=4))
def test_ranking_precision_against_the_slow_one(videos):
    liked = [np.array([own[:2] for own in video]) for video in videos]
    scores = [np.array([own[2] for own in video]) for video in videos]
    got = ranking_precision(liked, scores)
    for i, video in enumerate(videos):
        for rater in (0, 1):
            expected = slow_ranking_precision([own[rater] for own in video], [own[2] for own in video])
            assert got[i, rater] == pytest.approx(expected, abs=1e-12)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="a score for each of its clips"):
        ranking_precision([np.ones((3, 1), bool)], [np.zeros(2)])


def test_the_first_of_equal_scores_is_the_top_clip():
    liked = [np.array([[False], [True]])]
    assert top_clip_liked(liked, [[1.0, 1.0]]).tolist() == [0.0]
    assert top_clip_liked(liked, [[1.0, 2.0]]).tolist() == [1.0]
    assert top_clip_liked(liked, [[1.0, 2.0, 3.0]]).tolist() == [0.0]  # beyond the video


def test_scores_are_fitted_to_the_video():
    assert fitted([1, 2, 3], 2).tolist() == [1, 2]
    assert fitted([1], 3).tolist() == [1, 0, 0]
