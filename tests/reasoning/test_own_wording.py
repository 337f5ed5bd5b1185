"""A model that was trained on fixed words is asked in them, by every strategy and in every task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from vidcausal.errors import ConfigError
from vidcausal.reasoning import prompts
from vidcausal.reasoning.direct import Direct
from vidcausal.reasoning.rrd import RRD
from vidcausal.reasoning.tasks import ask_prompt, order_prompt
from vidcausal.types import EventRecord, OptionScore, Recognition
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch

OWN = {
    "neutral": "",
    "direct_ask": "ask {question}",
    "direct_events": "all",
    "direct_ground": "find {query}",
    "direct_order": "{clips}\nput in order {goal}",
    "rrd_reason_ask": "read {records} ask {question}",
    "rrd_reason_ask_video": "see {records} ask {question}",
    "rrd_reason_ground": "read {records} find {query}",
    "rrd_reason_ground_video": "see {records} find {query}",
    "rrd_reason_order": "read {records} order {goal}",
    "rrd_reason_order_video": "see {records} order {goal}",
    "pair_sequence": "pair {goal}",
    "pair_question": "{first} or {second}",
    "ground_match": "match {query}",
}
OPTIONS = ("it fell", "it was hot and full")


class Speaks:
    """A chat that scores, with words of its own; remembers the prompts of replies and of scores."""

    name = "speaks"

    def __init__(self, reply: str = "1", own: dict[str, str] | None = None) -> None:
        self.reply, self.prompts = reply, OWN if own is None else own
        self.asked: list[tuple[str, bool]] = []
        self.scored: list[tuple[str, tuple[str, ...], bool]] = []

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        self.asked.append((prompt, frames is not None))
        return self.reply

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        self.scored.append((prompt, tuple(options), frames is not None))
        return [OptionScore(-float(len(option)), len(option.split())) for option in options]


class Recognizes(Speaks):
    """And has records: of clips where there are any, else of the whole video."""

    fingerprint = "f"

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        if footage.clips:
            return Recognition(
                tuple(EventRecord(c.span.start, c.span.end, f"step {c.number}", clip=c.number) for c in footage.clips)
            )
        return Recognition((EventRecord(0.5, 2.0, "cup falls"), EventRecord(2.0, 4.0, "milk runs")))


CLIPS = "Clip 1: step 1\nClip 2: step 2\nClip 3: step 3"
EVENTS = "0.5-2.0 s: cup falls\n2.0-4.0 s: milk runs"


def test_the_names_are_those_of_prompts() -> None:
    assert set(OWN) <= set(prompts.available())


# ---- direct -----------------------------------------------------------------------------------------------------


def test_direct_asks_a_question_without_options_and_instructions(fakes: Any) -> None:
    model = Speaks("it fell")
    sample = fakes.sample("ask", question="why?", options=OPTIONS)
    reply = Direct(model).answer(sample, fakes.footage(0))
    assert model.asked == [("ask why?", True)]
    assert model.scored == [("ask why?", OPTIONS, True)]  # nothing to compare with: "neutral" is empty
    assert reply.option_scores == (-len(OPTIONS[0]) / 2, -len(OPTIONS[1]) / 5)
    assert reply.option == 0


def test_a_question_that_holds_its_options_is_asked_in_own_words_too(fakes: Any) -> None:
    sample = fakes.sample("ask", question=f"why? {OPTIONS[0]} or {OPTIONS[1]}", options=OPTIONS)
    assert ask_prompt(sample) == sample.question
    assert ask_prompt(sample, Speaks()) == f"ask {sample.question}"


def test_direct_says_where_the_clips_lie(fakes: Any) -> None:
    model = Speaks("3, 1, 2")
    sample = fakes.sample("order", question="A published question.", goal="bake")
    reply = Direct(model).answer(sample, fakes.footage(3))
    assert model.asked == [("clip 1 1.0 3.0\nclip 2 4.0 6.0\nclip 3 7.0 9.0\nput in order bake", True)]
    assert reply.order == (3, 1, 2)
    assert order_prompt(sample) == "A published question."
    assert order_prompt(sample, Speaks()) == "put in order bake"


def test_direct_asks_for_moments_and_events(fakes: Any) -> None:
    model = Speaks("from 1.0 to 2.0 seconds")
    Direct(model).answer(fakes.sample("ground", goal="pours"), fakes.footage(0))
    Direct(model).answer(fakes.sample("events"), fakes.footage(0))
    assert model.asked == [("find pours", True), ("all", True)]


# ---- recognition, then reasoning ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("with_video", "verb"), [(False, "read"), (True, "see")])
def test_a_reasoner_reads_records_in_own_words(fakes: Any, with_video: bool, verb: str) -> None:
    model = Recognizes("3, 1, 2")
    strategy = RRD(model, reason_with_video=with_video)
    strategy.answer(fakes.sample("ask", question="why?", options=OPTIONS), fakes.footage(0))
    assert model.asked == [(f"{verb} {EVENTS} ask why?", with_video)]
    assert model.scored == [(f"{verb} {EVENTS} ask why?", OPTIONS, with_video)]
    strategy.answer(fakes.sample("order", goal="bake"), fakes.footage(3))
    assert model.asked[1:] == [(f"{verb} {CLIPS} order bake", with_video)]
    strategy.answer(fakes.sample("ground", goal="milk"), fakes.footage(0))
    assert model.asked[2:] == [(f"{verb} {EVENTS} find milk", with_video)]


def test_pairs_and_records_are_scored_after_own_words(fakes: Any) -> None:
    model = Recognizes("no")
    RRD(model).answer(fakes.sample("order", goal="bake"), fakes.footage(3))
    ((prompt, options, seen),) = model.scored
    assert (prompt, len(options), seen) == ("pair bake", 6, False)
    model.scored.clear()
    RRD(model).answer(fakes.sample("ground", goal="milk"), fakes.footage(0))
    assert model.scored == [("match milk", ("cup falls", "milk runs"), False)]
    model.scored.clear()
    RRD(model, ordering="question").answer(fakes.sample("order", goal="bake"), fakes.footage(2))
    assert [(prompt, options) for prompt, options, _ in model.scored] == [
        ("step 1 or step 2", ("A", "B")),
        ("step 2 or step 1", ("A", "B")),
    ]


def test_the_words_are_those_of_the_model_that_reasons(fakes: Any) -> None:
    eyes, head = Recognizes("no"), Speaks("no", own={})
    RRD(eyes, head).answer(fakes.sample("ask", question="why?"), fakes.footage(0))
    ((prompt, _),) = head.asked
    assert prompt == prompts.fill(
        "rrd_reason_ask", records=EVENTS, question="why?", options="", instruction=prompts.load("answer_free")
    )
    eyes, head = Recognizes("no", own={}), Speaks("no")
    RRD(eyes, head).answer(fakes.sample("ask", question="why?"), fakes.footage(0))
    assert head.asked == [(f"read {EVENTS} ask why?", False)]
    assert eyes.asked == []


# ---- where a model has no words of its own ------------------------------------------------------------------------


@pytest.mark.parametrize("own", [{}, {"direct_ground": "find {query}"}])
def test_what_a_model_has_no_words_for_is_asked_in_ours(fakes: Any, own: dict[str, str]) -> None:
    model, plain = Speaks("A", own), fakes.ScoringVideos("A", lambda prompt, option: 0.0)
    for sample in (
        fakes.sample("ask", question="why?", options=OPTIONS),
        fakes.sample("order", goal="bake", question="bake"),
        fakes.sample("events"),
    ):
        for one in (model, plain):
            Direct(one).answer(sample, fakes.footage(3))
    assert [prompt for prompt, _ in model.asked] == [prompt for prompt, _ in plain.asked]
    assert [prompt for prompt, _, _ in model.scored] == [model.asked[0][0], prompts.load("neutral")]


def test_a_neutral_prompt_of_its_own_is_compared_with(fakes: Any) -> None:
    model = Speaks("A", {"neutral": "say something"})
    reply = Direct(model).answer(fakes.sample("ask", question="why?", options=OPTIONS), fakes.footage(0))
    assert [(prompt, seen) for prompt, _, seen in model.scored] == [
        (model.asked[0][0], True),
        ("say something", False),
    ]
    assert reply.option_scores == (0.0, 0.0)


@pytest.mark.parametrize("make", [lambda: None, lambda: object(), lambda: Speaks(own={})])
def test_models_without_words_of_their_own(make: Callable[[], object]) -> None:
    assert prompts.own(make(), "direct_ask") is None


def test_own_words_may_leave_fields_out_and_the_rules_for_fields_stay() -> None:
    model = Speaks()
    assert prompts.fill("direct_events", model, duration="9.0") == "all"
    assert prompts.fill("pair_sequence", model, goal="{first} {") == "pair {first} {"
    with pytest.raises(ConfigError, match="needs a value for goal"):
        prompts.fill("pair_sequence", model)
    with pytest.raises(ConfigError, match="has no field colour"):
        prompts.fill("pair_sequence", model, goal="x", colour="red")


def test_lines_left_empty_at_the_ends_go(fakes: Any) -> None:
    assert order_prompt(fakes.sample("order", goal="bake"), Speaks(own={"direct_order": "{clips}\n{goal}"})) == "bake"
