from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.metrics.events import EventCounts, TrueEvent, count_events, match_events, pooled, same_words
from vidcausal.metrics.grounding import span_iou
from vidcausal.types import Event, Span

NAMES = ("red ball hits blue box", "lamp turns on", "door opens")
spans = st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda t: Span(t[0], t[0] + t[1]))
found_events = st.lists(st.builds(Event, spans, st.sampled_from(NAMES)), max_size=6)
true_events = st.lists(
    st.builds(TrueEvent, spans, st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(tuple)), max_size=6
)
thresholds = st.sampled_from((0.3, 0.5, 0.7))


def slow_match(found: list[Event], truths: list[TrueEvent], threshold: float, named: bool) -> list[tuple[int, int]]:
    """Again and again: look at every pair that is left and take the one that overlaps most."""
    left_found, left_true = list(range(len(found))), list(range(len(truths)))
    matched = []
    while True:
        best = None
        for i in left_found:
            for j in left_true:
                iou = span_iou(found[i].span, truths[j].span)
                allowed = not named or found[i].caption in truths[j].wordings
                if iou >= threshold and allowed and (best is None or iou > best[0]):
                    best = (iou, i, j)
        if best is None:
            return matched
        matched.append(best[1:])
        left_found.remove(best[1])
        left_true.remove(best[2])


def most_possible(found: list[Event], truths: list[TrueEvent], threshold: float) -> int:
    """The largest number of pairs that any one-to-one matching has, by trying all."""
    few, many = (found, truths) if len(found) <= len(truths) else (truths, found)
    most = 0
    for chosen in itertools.permutations(range(len(many)), len(few)):
        fits = sum(span_iou(a.span, many[k].span) >= threshold for a, k in zip(few, chosen, strict=True))
        most = max(most, fits)
    return most


@pytest.mark.parity
@given(found_events, true_events, thresholds, st.booleans())
def test_matching_equals_taking_the_best_pair_again_and_again(
    found: list[Event], truths: list[TrueEvent], threshold: float, named: bool
) -> None:
    assert match_events(found, truths, threshold, named=named) == slow_match(found, truths, threshold, named)


@pytest.mark.parity
@given(found_events, true_events, thresholds)
def test_counts_keep_their_bounds(found: list[Event], truths: list[TrueEvent], threshold: float) -> None:
    where = count_events(found, truths, threshold)
    what = count_events(found, truths, threshold, named=True)
    assert what.matched <= where.matched <= min(len(found), len(truths))
    possible = most_possible(found, truths, threshold)
    assert possible / 2 <= where.matched <= possible  # greedy is at least half as good as the best
    if found or truths:
        precision, recall = where.precision, where.recall
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert where.f1 == pytest.approx(expected)


@given(found_events, true_events, thresholds)
def test_a_stricter_threshold_never_finds_more(found: list[Event], truths: list[TrueEvent], threshold: float) -> None:
    assert count_events(found, truths, 0.71).matched <= most_possible(found, truths, threshold)


@given(true_events)
def test_the_truth_finds_itself(truths: list[TrueEvent]) -> None:
    said = [Event(truth.span, truth.wordings[-1].upper() + ".") for truth in truths]
    for threshold in (0.3, 0.5, 0.7, 1.0):
        assert count_events(said, truths, threshold) == (len(truths),) * 3
    if len({truth.span for truth in truths}) == len(truths):
        assert count_events(said, truths, 1.0, named=True) == (len(truths),) * 3


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda t: EventCounts(*t, min(t))), max_size=5))
def test_pooling_adds(counts: list[EventCounts]) -> None:
    total = pooled(counts)
    assert total == tuple(sum(c[k] for c in counts) for k in range(3))


def test_where_and_what_by_hand() -> None:
    truths = [TrueEvent(Span(0, 2), ("lamp turns on", "the lamp lights up")), TrueEvent(Span(3, 5), ("door opens",))]
    found = [Event(Span(0, 2), "The lamp lights up!"), Event(Span(3, 5), "lamp turns on"), Event(Span(8, 9), "x")]
    assert count_events(found, truths, 0.5) == (3, 2, 2)
    assert count_events(found, truths, 0.5, named=True) == (3, 2, 1)
    assert count_events(found, truths, 0.5, named=True).f1 == pytest.approx(0.4)
    assert same_words("Red  ball, hits", "red ball hits")
    assert not same_words("red ball hits", "red ball")


def test_the_best_overlap_wins_and_each_event_counts_once() -> None:
    truths = [TrueEvent(Span(0, 10), ("a",))]
    found = [Event(Span(0, 9), "a"), Event(Span(0, 10), "a")]
    assert match_events(found, truths, 0.5) == [(1, 0)]
    assert count_events(found, truths, 0.5) == (2, 1, 1)


def test_nothing_is_right_where_nothing_happens() -> None:
    nothing = EventCounts(0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 1.0, 1.0)
    missed = EventCounts(0, 3, 0)
    assert (missed.precision, missed.recall, missed.f1) == (0.0, 0.0, 0.0)
    invented = EventCounts(2, 0, 0)
    assert (invented.precision, invented.recall, invented.f1) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01])
def test_a_threshold_outside_the_unit_interval_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        match_events([], [], threshold)
