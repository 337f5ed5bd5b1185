from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.report.timeline import Box, Lane, stack, tick_step, timeline_svg

boxes = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0.01, 50)).map(lambda t: Box(t[0], t[0] + t[1], "x", "event")), max_size=25
)


@given(boxes)
def test_stacked_boxes_never_overlap_and_none_is_lost(given_boxes: list[Box]) -> None:
    rows = stack(given_boxes)
    assert sorted((b.start, b.end) for row in rows for b in row) == sorted((b.start, b.end) for b in given_boxes)
    for row in rows:
        assert all(a.end <= b.start + 1e-6 for a, b in zip(row, row[1:], strict=False))


@given(boxes)
def test_stacking_uses_as_few_rows_as_boxes_overlap_at_one_time(given_boxes: list[Box]) -> None:
    deepest = max((sum(o.start <= b.start < o.end - 1e-6 for o in given_boxes) for b in given_boxes), default=0)
    assert len(stack(given_boxes)) <= max(deepest, 1 if given_boxes else 0)


@pytest.mark.parametrize(("duration", "step"), [(7.6, 1.0), (10.0, 1.0), (38.7, 5.0), (600.0, 100.0), (0.4, 0.05)])
def test_ticks_are_round_and_at_most_ten(duration: float, step: float) -> None:
    assert tick_step(duration) == pytest.approx(step)
    assert duration / tick_step(duration) <= 10


def test_the_drawing_is_well_formed_and_escapes_captions() -> None:
    lane = Lane("recognized", (Box(0.0, 1.0, '<script>alert("x")</script> & more', "event"),))
    root = ElementTree.fromstring(timeline_svg([lane], 2.0))
    assert root.tag == "svg"
    assert "script" not in {element.tag for element in root.iter()}
    assert "0.00-1.00 s" in "".join(root.itertext())


def test_nothing_to_draw_is_an_empty_string() -> None:
    assert timeline_svg([Lane("clips", ())], 5.0) == ""
    assert timeline_svg([Lane("clips", (Box(0, 1, "a", "clip"),))], 0.0) == ""
