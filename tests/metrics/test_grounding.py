from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.metrics.grounding import best_iou, event_f1, span_iou
from vidcausal.types import Span

spans = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda t: Span(t[0], t[0] + t[1]))


@pytest.mark.parity
@given(spans, spans)
def test_iou_equals_counting_seconds(a: Span, b: Span) -> None:
    first, second = set(range(int(a.start), int(a.end))), set(range(int(b.start), int(b.end)))
    assert span_iou(a, b) == pytest.approx(len(first & second) / len(first | second))
    assert span_iou(a, b) == span_iou(b, a)


def test_iou_of_known_pairs() -> None:
    assert span_iou(Span(0, 10), Span(5, 15)) == pytest.approx(1 / 3)
    assert span_iou(Span(0, 1), Span(2, 3)) == 0
    assert span_iou(Span(2, 2), Span(2, 2)) == 1
    assert best_iou(None, [Span(0, 1)]) == 0
    assert best_iou(Span(0, 1), [Span(5, 6), Span(0, 2)]) == 0.5


def test_event_f1_matches_each_truth_once() -> None:
    truths = [Span(0, 10), Span(10, 20)]
    assert event_f1([Span(0, 10), Span(0, 9)], truths, 0.5) == pytest.approx(0.5)
    assert event_f1(truths, truths, 0.5) == 1.0
    assert event_f1([], truths, 0.5) == 0.0
