"""The strict parsers on what models really write."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidcausal.parsing import (
    first_number,
    normalize_answer,
    parse_choice,
    parse_clip_lines,
    parse_events,
    parse_order,
    parse_spans,
    without_thoughts,
)

RIGHT = [
    "Correct order: Clip 2, Clip 1, Clip 3.",
    "2,1,3",
    "02, 01, 03",
    "Correct order: ２，１，３",
    "Correct order: 2->1->3",
    "Correct order: 2 → 1 → 3",
    "Correct order: 2 > 1 > 3",
    "Clip 2\nClip 1\nClip 3",
    "1. Clip 2\n2. Clip 1\n3. Clip 3",
    "Correct order:\n\n1. Clip 2\n\n2. Clip 1\n\n3. Clip 3\n\nStep 3 comes last.",
    "Clip 2, Clip 1 and Clip 3",
    "The video has Clip 1, Clip 2, Clip 3. Correct order: 2, 1, 3",
    "Order is 3, 1, 2! Wait, no. Correct order: 2, 1, 3",
    "Correct order: 1, 2, 3\nCorrect order: 2, 1, 3",
    "The 3 clips, in order: Clip 2, Clip 1, Clip 3",
    "Correct order: Clip 2: pour 1 cup, Clip 1: stir, Clip 3: serve",
    "2. 1. 3.",
    "Correct order: Clip 2,\nClip 1,\nClip 3",
    "1: 2, 2: 1, 3: 3",
    "**Correct order:** Clip 2, Clip 1, Clip 3",
    "The correct order is:\nClip 2, Clip 1, Clip 3",
    "Correct order: 2, 1, 3\n\nThis is the correct order because Clip 1 shows stirring.",
    "Correct order: Clip 2, Clip 1, Clip 3. Clip 1 must come after Clip 2.",
    "<think>Correct order: 1, 2, 3</think>\n2, 1, 3",
    "Correct order: <mention the Clip numbers separated by a comma>\nASSISTANT: Clip 2, Clip 1, Clip 3",
    "Clip 1 shows flour, Clip 2 shows eggs, Clip 3 shows the pan.\nCorrect order: Clip 2, Clip 1, Clip 3",
]
UNREADABLE = [
    "",
    "I cannot tell.",
    "213",
    "Correct order: 2, 1",
    "Correct order: 2, 1, 3, 3",
    "Correct order: 2, 1, 3, 4",
    "Correct order: 2, 2, 3",
    "Correct order: two, one, three",
    "Correct order: 2, 1, 3. No: Correct order: 2, 2, 3",
    "9" * 6000,
]


@pytest.mark.parametrize("text", RIGHT)
def test_orders_that_can_be_read(text: str) -> None:
    assert parse_order(text, 3) == (2, 1, 3)


@pytest.mark.parametrize("text", UNREADABLE)
def test_orders_that_cannot(text: str) -> None:
    assert parse_order(text, 3) is None


@given(
    st.integers(2, 7).flatmap(lambda n: st.permutations(range(1, n + 1))),
    st.sampled_from([", ", ",", " -> ", "->", " → ", " > ", "\n", " and ", ", then "]),
    st.sampled_from(["Clip {}", "{}", "clip {}", "Step {}", "Clip #{}"]),
    st.sampled_from(["Correct order: ", "The correct order is: ", "I looked at 9 things.\nCorrect order:\n"]),
)
def test_every_written_form_is_read_back(order: list[int], separator: str, item: str, cue: str) -> None:
    text = cue + separator.join(item.format(clip) for clip in order)
    assert parse_order(text, len(order)) == tuple(order)


@given(st.text(max_size=300), st.integers(1, 7))
def test_any_text_gives_a_permutation_or_none(text: str, n: int) -> None:
    order = parse_order(text, n)
    assert order is None or sorted(order) == list(range(1, n + 1))


@given(st.text(max_size=300), st.integers(1, 7))
@example("ß", 1)  # a letter that is two in capitals
def test_any_text_gives_values_in_range_or_none(text: str, n: int) -> None:
    assert parse_choice(text, n, ["a"] * n) in (None, *range(n))
    assert all(0 <= span.start <= span.end <= 9 for span in parse_spans(text, duration=9))
    events = parse_events(text)
    assert list(events) == sorted(events, key=lambda event: event.span.start)
    assert all(number >= 0 and sentence == sentence.strip() for number, sentence in parse_clip_lines(text).items())


@pytest.mark.parametrize(
    ("reply", "left"), [(" B ", "B"), ("<think>A?\n</think>\n\nB", "B"), ("a</think>b</think> c", "c"), ("", "")]
)
def test_thoughts_are_left_out(reply: str, left: str) -> None:
    assert without_thoughts(reply) == left


TRAPS = ["\n", "1 - ", "correct order ", "<think>", "</think>", "1:", "answer is ", "A. ", "\n \t", "1"]


@pytest.mark.parametrize("trap", TRAPS)
def test_a_long_senseless_reply_takes_no_time(trap: str) -> None:
    text = trap * 20_000
    start = time.process_time()
    assert parse_order(text, 5) is None
    for parser in (parse_spans, parse_events, parse_clip_lines):
        parser(text)
    parse_choice(text, 4, ["a", "b", "c", "d"])
    assert time.process_time() - start < 2


CHOICES = [
    ("A.", 0),
    ("The answer is D.", 3),
    ("B: the cat", 1),
    ("(B)", 1),
    ("**C**", 2),
    (r"\boxed{D}", 3),
    ("B) foo", 1),
    ("b", 1),
    ("C\nBecause it is", 2),
    ("Answer\nB", 1),
    ("A man is here, so the answer is C", 2),
    ("The answer is (A) because B. was wrong", 0),
    ("<think>A. maybe</think>B", 1),
    ("I will go with (C).", 2),
    ("Option C", 2),
    ("the dog", 1),
    ("Answer: B. the dog", 1),
    ("NVIDIA is shown", None),
    ("The USA won", None),
    ("A man walks", None),
    ("Both A and C", None),
    ("A. B. C. D.", None),
    ("I think A. or B: both", None),
    ("The answer is E", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), CHOICES)
def test_choices(text: str, expected: int | None) -> None:
    assert parse_choice(text, 4, ["a cat", "the dog", "two birds", "nothing"]) == expected


SPANS = [
    ("12.3 - 15 s", [(12.3, 15.0)]),
    ("from 1:05 to 1:10", [(65.0, 70.0)]),
    ("[[12, 15], [30, 31.5]]", [(12.0, 15.0), (30.0, 31.5)]),
    ("00:01:05.5 --> 00:01:10", [(65.5, 70.0)]),
    ("1:02:03 to 1:02:05", [(3723.0, 3725.0)]),
    ("between 3 and 7 seconds", [(3.0, 7.0)]),
    ("It happens from 12.5s to 14s.", [(12.5, 14.0)]),
    ("From 2.00 to 3.50 seconds", [(2.0, 3.5)]),
    ("15 - 12", []),
    ("at 5 s", []),
]


@pytest.mark.parametrize(("text", "expected"), SPANS)
def test_spans(text: str, expected: list[tuple[float, float]]) -> None:
    assert [(span.start, span.end) for span in parse_spans(text)] == expected


def test_spans_are_cut_to_the_video() -> None:
    spans = parse_spans("5 - 9999, 200 - 300", duration=100)
    assert [(span.start, span.end) for span in spans] == [(5.0, 100.0)]


def test_event_lines() -> None:
    text = "The events:\n3.0 - 4.5: he eats 2 to 3 pieces\n- [0.0, 2.5] a man cuts\n1:05-1:10 - end\nIn 2 to 3 words: x"
    events = parse_events(text, duration=80)
    assert [(e.span.start, e.span.end, e.caption) for e in events] == [
        (0.0, 2.5, "a man cuts"),
        (3.0, 4.5, "he eats 2 to 3 pieces"),
        (65.0, 70.0, "end"),
    ]


def test_clip_lines() -> None:
    text = "Sure:\n**Clip 1:** a man\ncuts wood\nClip 2 - he eats\n- Clip 3: c\nClip 3: again"
    assert parse_clip_lines(text) == {1: "a man cuts wood", 2: "he eats", 3: "c"}


def test_small_things() -> None:
    assert first_number("There are **6** clips, 7 at most") == 6
    assert first_number("none") is None
    assert normalize_answer(" The  Dog! ") == "the dog"
