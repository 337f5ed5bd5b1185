from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.models.boundaries import Segmenter, hard_cuts
from vidcausal.models.clip_onnx import unit


def walk(levels: list[int], noise: float, seed: int = 0) -> np.ndarray:
    """Unit vectors: one random direction a level, with noise."""
    rng = np.random.default_rng(seed)
    directions = unit(rng.normal(size=(max(levels) + 1, 64)))
    return unit(directions[levels] + noise * rng.normal(size=(len(levels), 64)) / 8)


def starts(spans: list) -> list[float]:
    return [round(span.start, 3) for span in spans]


def test_changes_are_found_where_they_are() -> None:
    levels = [0] * 10 + [1] * 6 + [2] * 12
    pts = np.arange(28) * 0.5
    spans = Segmenter().segment(walk(levels, 0.3), pts, 14.0)
    assert starts(spans) == [0.0, 5.0, 8.0]
    assert spans[-1].end == 14.0


def test_soft_changes_are_found_without_hard_cuts() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=64)
    levels = np.repeat([0, 1, 0], 12)
    shifted = base + levels[:, None] * 0.35 * rng.normal(size=64)
    vectors = unit(shifted + 0.05 * rng.normal(size=(36, 64)))
    assert not hard_cuts(np.square(np.diff(vectors, axis=0)).sum(1), 0.5, 6.0)
    assert starts(Segmenter().segment(vectors, np.arange(36.0), 36.0)) == [0.0, 12.0, 24.0]


def test_a_still_video_is_one_event() -> None:
    spans = Segmenter().segment(walk([0] * 30, 0.0), np.arange(30.0), 30.0)
    assert [(s.start, s.end) for s in spans] == [(0.0, 30.0)]


def test_noise_alone_makes_no_events() -> None:
    for seed in range(5):
        assert len(Segmenter().segment(walk([0] * 60, 0.5, seed), np.arange(60) * 0.5, 30.0)) == 1


def test_minimum_duration_holds_between_soft_changes() -> None:
    levels = [0, 0, 1, 1] * 8
    pts = np.arange(32) * 0.25
    spans = Segmenter(min_seconds=1.5, cut_distance=9.0).segment(walk(levels, 0.05), pts, 8.0)
    assert all(span.duration >= 1.5 - 1e-6 for span in spans)


def test_a_hard_cut_is_kept_even_when_the_shot_is_short() -> None:
    levels = [0] * 20 + [1] * 2 + [2] * 20
    spans = Segmenter(min_seconds=2.0).segment(walk(levels, 0.1), np.arange(42) * 0.25, 10.5)
    assert starts(spans) == [0.0, 5.0, 5.5]


def test_number_of_events_is_capped() -> None:
    rng = np.random.default_rng(3)
    drift = unit(np.cumsum(rng.normal(size=(200, 64)) * 0.3, axis=0) + rng.normal(size=64))
    assert len(Segmenter(max_events=7, cut_distance=9.0).segment(drift, np.arange(200.0), 200.0)) <= 7


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_frames(count: int) -> None:
    spans = Segmenter().segment(walk([0] * max(count, 1), 0.1)[:count], np.arange(float(count)), 5.0)
    assert [(s.start, s.end) for s in spans] == ([(0.0, 5.0)] if count else [])


@settings(max_examples=25, deadline=None)
@given(
    gaps=st.lists(st.floats(0.05, 3.0), min_size=3, max_size=40),
    seed=st.integers(0, 100),
    min_seconds=st.floats(0.1, 4.0),
)
def test_events_cover_the_video_without_gap(gaps: list[float], seed: int, min_seconds: float) -> None:
    pts = np.cumsum(gaps) - gaps[0]
    vectors = unit(np.random.default_rng(seed).normal(size=(len(pts), 16)))
    spans = Segmenter(min_seconds=min_seconds).segment(vectors, pts, float(pts[-1]) + 1.0)
    assert spans[0].start == pts[0]
    assert spans[-1].end == pts[-1] + 1.0
    assert all(a.end == b.start for a, b in zip(spans[:-1], spans[1:], strict=True))


def test_an_event_begins_at_a_known_cut_between_frames() -> None:
    vectors = np.tile([[1.0, 0.0]], (8, 1))
    spans = Segmenter().segment(vectors, np.arange(8) * 0.5, 4.0, cuts=[1.7, 0.0, 9.0])
    assert [(span.start, span.end) for span in spans] == [(0.0, 1.7), (1.7, 4.0)]
    assert len(Segmenter().segment(vectors, np.arange(8) * 0.5, 4.0)) == 1
    two = Segmenter().segment(vectors[:2], [0.0, 0.5], 1.0, cuts=[0.3])
    assert [(span.start, span.end) for span in two] == [(0.0, 0.3), (0.3, 1.0)]
