from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from vidcausal.models import native_text as text
from vidcausal.types import EventRecord, Span, record_table

SAID = ["red ball hits blue box", "why did the blue box leave?", "hand presses pink button", "events clip order when"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return text.build_tokenizer(SAID)


def ids(tokenizer: Any, words: str) -> list[int]:
    found: list[int] = tokenizer(words, add_special_tokens=False)["input_ids"]
    return found


def tokens(tokenizer: Any, words: str) -> list[str]:
    found: list[str] = tokenizer.convert_ids_to_tokens(ids(tokenizer, words))
    return found


@pytest.mark.parametrize("caption", SAID[:1] + SAID[2:])
def test_captions_come_back_as_they_were_one_token_a_word(tokenizer: Any, caption: str) -> None:
    assert tokens(tokenizer, caption) == caption.split()
    assert tokenizer.decode(ids(tokenizer, caption)) == caption


def test_lines_of_events_come_back_as_they_were(tokenizer: Any) -> None:
    lines = text.event_lines([(0.0, 2.5, "red ball hits blue box"), (2.5, 102.3, "hand presses pink button")])
    assert lines == "0.0 2.5 red ball hits blue box\n2.5 102.3 hand presses pink button\n"
    assert tokenizer.decode(ids(tokenizer, lines)) == lines


def test_every_time_is_one_token_and_another_one_each(tokenizer: Any) -> None:
    times = text.time_words()
    assert times[0] == "0.0"
    assert times[-1] == f"{text.LONGEST:.1f}"
    found = [ids(tokenizer, time) for time in times]
    assert all(len(one) == 1 for one in found)
    assert len({one[0] for one in found}) == len(times) == 1024


def test_a_time_beyond_the_last_has_no_word(tokenizer: Any) -> None:
    assert tokens(tokenizer, "102.4") == [text.UNKNOWN]


def test_numbers_that_are_no_times_are_digits(tokenizer: Any) -> None:
    assert tokens(tokenizer, "12 2.55 1.") == ["1", "2", "2", ".", "5", "5", "1", "."]


def test_unknown_words_are_spelled_and_come_back(tokenizer: Any) -> None:
    assert tokens(tokenizer, "zebra") == ["z", "##e", "##b", "##r", "##a"]
    assert tokenizer.decode(ids(tokenizer, "red zebra hits")) == "red zebra hits"


def test_case_and_accents_do_not_matter(tokenizer: Any) -> None:
    assert ids(tokenizer, "Réd BALL") == ids(tokenizer, "red ball")


def test_punctuation_stands_apart_and_newlines_are_tokens(tokenizer: Any) -> None:
    assert tokens(tokenizer, "why?\nclip 1: red,") == ["why", "?", text.NEWLINE, "clip", "1", ":", "red", ","]
    assert tokenizer.decode(ids(tokenizer, "red\nblue")) == "red\nblue"


def test_no_text_of_ascii_signs_is_unknown(tokenizer: Any) -> None:
    every = "".join(map(chr, range(32, 127)))
    assert text.UNKNOWN not in tokens(tokenizer, every)


def test_the_order_of_the_texts_does_not_matter(tokenizer: Any) -> None:
    mixed = [*SAID, *SAID]
    random.Random(0).shuffle(mixed)
    assert text.vocabulary(mixed) == text.vocabulary(SAID)
    assert text.build_tokenizer(mixed).get_vocab() == tokenizer.get_vocab()
    assert text.vocabulary(SAID)[: len(text.SPECIAL)] == list(text.SPECIAL)


def test_a_saved_tokenizer_is_the_same(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    text.save_tokenizer(tokenizer, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    words = "2.5 Red ball zebra\nwhy?"
    assert ids(again, words) == ids(tokenizer, words)
    assert [again.pad_token, again.bos_token, again.eos_token, again.unk_token] == list(text.SPECIAL)


def test_records_are_said_in_the_form_of_the_model() -> None:
    records = [EventRecord(2.5, 4.04, "red ball hits blue box"), EventRecord(10.0, 12.0, "box from 2.0 - 3.0: odd")]
    table = record_table(records)
    assert text.compact(table) == "2.5 4.0 red ball hits blue box\n10.0 12.0 box from 2.0 - 3.0: odd"
    assert text.compact(f"events\n{table}\nwhy?").startswith("events\n2.5 4.0 red")
    assert text.compact("1 - 2.25: a") == "1.0 2.2 a"
    clips = record_table([EventRecord(0.0, 1.0, "red", clip=1)])
    assert text.compact(clips) == clips


def test_lines_that_are_no_events_are_left_out() -> None:
    reply = "nothing\n4.0 2.5 box leaves\n1.0 2.0\n1.0 red\n 0.5 1.5 ball enters \n\n1 2 ball\n-1.0 2.0 ball\n3.0 9.5 "
    found = text.read_events(reply)
    assert [(e.span, e.caption) for e in found] == [(Span(0.5, 1.5), "ball enters"), (Span(2.5, 4.0), "box leaves")]
    assert text.read_events("") == []


def test_what_is_written_is_read() -> None:
    events = [(0.0, 2.5, "red ball hits blue box"), (3.0, 4.5, "blue box leaves")]
    assert [(e.span.start, e.span.end, e.caption) for e in text.read_events(text.event_lines(events))] == events
    assert text.span_text(1.0, 2.25) == "1.0 2.2"


def test_times_are_found_within_a_text_and_other_numbers_are_not() -> None:
    assert text.TIME.findall("at 2.5, 10.0 and 1 or 2.55 or 1.2.3") == ["2.5", "10.0"]
