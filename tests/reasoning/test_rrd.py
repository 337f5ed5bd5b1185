from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidcausal.cache import DiskCache
from vidcausal.errors import ConfigError, ModelError
from vidcausal.protocols import Recognizer, Strategy
from vidcausal.reasoning.chat_recognizer import ChatRecognizer
from vidcausal.reasoning.rrd import RRD, _shuffled
from vidcausal.types import EventRecord, Span

STEPS = ["stir the batter", "bake the cake", "crack the eggs"]
RIGHT = (3, 1, 2)
RANK = {"crack": 0, "stir": 1, "bake": 2}


def likes_right_order(prompt: str, option: str) -> float:
    """Higher for options whose lines are in the true order."""
    ranks = [RANK[line.split(". ", 1)[1].split()[0]] for line in option.splitlines()]
    return -10.0 if ranks != sorted(ranks) else -5.0


def by_prompt(**replies: str) -> Any:
    """A reply for the first key that the prompt holds; underscores stand for blanks."""

    def answer(prompt: str) -> str:
        for key, reply in replies.items():
            if key.replace("_", " ") in prompt:
                return reply
        raise AssertionError(f"nothing is scripted for: {prompt}")

    return answer


def test_one_shot_describes_all_clips_then_reasons_over_the_words_alone(fakes: Any) -> None:
    model = fakes.Videos("Clip 1: stir the batter\nClip 2: bake the cake\nClip 3: crack the eggs")
    reasoner = fakes.ScoringTexts("Clip 2, Clip 1, Clip 3", likes_right_order)
    strategy = RRD(model=model, reasoner=reasoner)
    assert isinstance(strategy, Strategy)
    assert strategy.name == "rrd"
    reply = strategy.answer(fakes.sample("order", goal="Bake a Cake", question="long prompt"), fakes.footage(3))
    assert len(model.asked) == 1
    assert "Bake a Cake" not in model.asked[0][0]
    assert "Clip 2 lasts from 4.0 to 6.0 seconds." in model.asked[0][0]
    assert "Bake a Cake" in reasoner.asked[0]
    assert "Clip 1: stir the batter\nClip 2: bake the cake\nClip 3: crack the eggs" in reasoner.asked[0]
    assert reply.text == "Clip 2, Clip 1, Clip 3"
    assert reply.order == RIGHT
    assert [r.caption for r in reply.records] == STEPS
    assert [(r.start, r.end) for r in reply.records] == [(1.0, 3.0), (4.0, 6.0), (7.0, 9.0)]
    assert [s.name for s in reply.steps] == ["describe_clips", "reason", "score_pairs"]
    scored = {row["option"] for row in json.loads(reply.steps[2].reply)}
    assert len(scored) == 6
    assert "1. crack the eggs\n2. stir the batter" in scored


def test_without_scoring_the_order_is_read_from_the_text(fakes: Any) -> None:
    reasoner = fakes.ScoringTexts("Correct order: 2 -> 1 -> 3", likes_right_order)
    reply = RRD(fakes.Sees(STEPS), reasoner, score=False).answer(fakes.sample("order", goal="g"), fakes.footage(3))
    assert reply.order == (2, 1, 3)
    bad = RRD(fakes.Sees(STEPS), fakes.Texts("no")).answer(fakes.sample("order", goal="g"), fakes.footage(3))
    assert bad.order is None
    assert bad.notes == ("the reply gives no order of 3 clips",)


def test_iterative_looks_at_one_clip_at_a_time(fakes: Any) -> None:
    model = fakes.Videos(by_prompt(How_many="There are 3.", precise="a hand moves"))
    strategy = RRD(model, fakes.Texts("1, 2, 3"), recognition="iterative")
    assert strategy.name == "rrd-iterative"
    footage = fakes.footage(3)
    reply = strategy.answer(fakes.sample("order", goal="g"), footage)
    assert [s.name for s in reply.steps] == ["count_clips", *["describe_clip"] * 3, "reason"]
    assert [len(frames) for _, frames in model.asked] == [len(footage.frames), 4, 4, 4]
    assert [r.clip for r in reply.records] == [1, 2, 3]
    assert reply.notes == ()


def test_a_wrong_count_is_corrected_by_the_title_cards(fakes: Any) -> None:
    model = fakes.Videos(by_prompt(How_many="7", precise="x"))
    reply = RRD(model, fakes.Texts("1, 2, 3"), recognition="iterative").answer(
        fakes.sample("order", goal="g"), fakes.footage(3)
    )
    assert len(reply.records) == 3
    assert reply.notes == ("the model counted 7 clips; the video has 3, which is used",)


@pytest.mark.parametrize(("count", "used"), [("400", 20), ("0", 1), ("none", 1), ("There are 4 clips", 4)])
def test_a_count_without_title_cards_is_limited(fakes: Any, count: str, used: int) -> None:
    model = fakes.Videos(by_prompt(How_many=count, Watch_Clip="x"))
    reply = RRD(model, fakes.Texts("?"), recognition="iterative").answer(
        fakes.sample("order", goal="g"), fakes.footage(0)
    )
    assert len(reply.records) == used
    assert f"Watch Clip {used} only" in model.asked[-1][0]
    assert len(reply.notes) == (1 if used == 4 else 2)


def test_missing_and_superfluous_descriptions_are_noted(fakes: Any) -> None:
    model = fakes.Videos("Clip 1: stirs\nClip 9: flies\nClip 3: eats")
    reasoner = fakes.Texts("3, 2, 1")
    reply = RRD(model, reasoner).answer(fakes.sample("order", goal="g"), fakes.footage(3))
    assert [r.caption for r in reply.records] == ["stirs", "", "eats"]
    assert "Clip 2: (not described)" in reasoner.asked[0]
    assert reply.notes == (
        "descriptions of clips [9] were left out: clips are numbered 1 to 3",
        "no description of clips [2] could be read",
    )


def test_official_compat_hands_on_what_the_published_script_prints(fakes: Any) -> None:
    raw = "Sure!\nClip 1: stirs\nClip 2: eats"
    reasoner = fakes.Texts("2, 1")
    RRD(fakes.Videos(raw), reasoner, official_compat=True).answer(fakes.sample("order", goal="g"), fakes.footage(2))
    assert raw in reasoner.asked[0]
    model = fakes.Videos(by_prompt(How_many="2", Watch_Clip="stirs"))
    strategy = RRD(model, reasoner, recognition="iterative", official_compat=True)
    strategy.answer(fakes.sample("order", goal="g"), fakes.footage(2))
    assert "Clip Clip 1: stirs\nClip Clip 2: stirs" in reasoner.asked[1]
    silent = fakes.Videos(by_prompt(How_many="many"))
    with pytest.raises(ModelError, match="counted the clips as 'many'"):
        RRD(silent, reasoner, recognition="iterative", official_compat=True).answer(
            fakes.sample("order", goal="g"), fakes.footage(2)
        )


def test_reasoning_with_the_video(fakes: Any) -> None:
    model = fakes.Videos(by_prompt(Describe_each="Clip 1: a\nClip 2: b", Check_the="Correct order: 2, 1"))
    strategy = RRD(model, reason_with_video=True)
    assert strategy.name == "rrd-video"
    reply = strategy.answer(fakes.sample("order", goal="g"), fakes.footage(2))
    assert all(frames is not None for _, frames in model.asked)
    assert reply.order == (2, 1)
    with pytest.raises(ConfigError, match="texts reads text only"):
        RRD(model, fakes.Texts("x"), reason_with_video=True)


def test_ask_scores_options_over_the_records(fakes: Any) -> None:
    reasoner = fakes.ScoringTexts("B", lambda prompt, option: 2.0 if option == "it fell" and "Why" in prompt else 0.0)
    question = fakes.sample("ask", question="Why did it break?", options=("it was full", "it fell", "nobody knows"))
    reply = RRD(fakes.Sees(["a glass falls", "it breaks"]), reasoner).answer(question, fakes.footage(0))
    assert "0.0-1.0 s: a glass falls" in reasoner.asked[0]
    assert "B. it fell" in reasoner.asked[0]
    assert reply.option == 1
    assert reply.option_scores == (0.0, 1.0, 0.0)
    assert len(reply.records) == 2
    unread = RRD(fakes.Sees(["x"]), fakes.Texts("hm")).answer(question, fakes.footage(0))
    assert unread.option is None
    assert unread.notes == ("the reply names no option, or more than one",)


def test_ground_by_the_model_by_words_and_by_likelihood(fakes: Any) -> None:
    sample, footage = fakes.sample("ground", goal="the glass breaks"), fakes.footage(0)
    own = RRD(fakes.Grounds(["x"]), fakes.Texts("unused")).answer(sample, footage)
    assert [span.start for span in own.spans] == [1.0, 4.0]
    told = RRD(fakes.Sees(["a", "b"]), fakes.Texts("From 2 to 3.5 seconds")).answer(sample, footage)
    assert told.spans == (Span(2.0, 3.5),)
    reasoner = fakes.ScoringTexts("dunno", lambda prompt, option: 3.0 * ("breaks" in option and "glass" in prompt))
    scored = RRD(fakes.Sees(["a glass stands", "it breaks", "all laugh"]), reasoner).answer(sample, footage)
    assert [(span.start, span.end) for span in scored.spans][0] == (1.0, 2.0)
    assert len(scored.spans) == 3
    assert scored.notes == ("the reply gives no span of time",)


def test_events_are_the_records(fakes: Any) -> None:
    reply = RRD(fakes.Sees(["a", "b"]), fakes.Texts("unused")).answer(fakes.sample("events"), fakes.footage(0))
    assert reply.text == "0.00 - 1.00: a\n1.00 - 2.00: b"
    told = RRD(fakes.Videos("1 - 2: cuts\n3 - 4: eats")).answer(fakes.sample("events"), fakes.footage(0))
    assert [r.caption for r in told.records] == ["cuts", "eats"]
    loose = RRD(fakes.Videos("he cuts\nand eats")).answer(fakes.sample("events"), fakes.footage(0))
    assert [(r.start, r.end, r.caption) for r in loose.records] == [(0.0, 6.0, "he cuts and eats")]
    assert len(loose.notes) == 1


def test_the_stages_can_be_measured_apart(fakes: Any) -> None:
    def captions(records: str) -> list[str]:
        oracle = tuple(EventRecord(k, k + 1, s, clip=k + 1, source="annotation") for k, s in enumerate(STEPS))
        sample = fakes.sample("order", goal="g", meta={"oracle_records": oracle})
        model = fakes.Sees(["x y", "y z", "z x"])
        reasoner = fakes.ScoringTexts("?", lambda prompt, option: 0.0)
        reply = RRD(model, reasoner, records=records).answer(sample, fakes.footage(3))  # type: ignore[arg-type]
        assert reply.order is not None
        return [record.caption for record in reply.records]

    assert captions("recognized") == ["x y", "y z", "z x"]
    assert captions("oracle") == STEPS
    assert captions("blank") == ["", "", ""]
    assert sorted(captions("shuffled")) == ["x y", "y z", "z x"]
    assert captions("shuffled") == captions("shuffled")
    with pytest.raises(ConfigError, match="no annotated captions"):
        RRD(fakes.Sees(STEPS), fakes.Texts("x"), records="oracle").answer(fakes.sample("order"), fakes.footage(3))


def test_models_that_cannot_are_refused_with_advice(fakes: Any) -> None:
    with pytest.raises(ConfigError, match="texts can do neither"):
        RRD(fakes.Texts("x"))
    with pytest.raises(ConfigError, match="name a reasoner"):
        RRD(fakes.Sees(STEPS))
    with pytest.raises(ConfigError, match="recognition must be one of one_shot, iterative"):
        RRD(fakes.Videos("x"), recognition="twice")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="records must be one of"):
        RRD(fakes.Videos("x"), records="perfect")  # type: ignore[arg-type]


def test_chat_recognizer_is_a_recognizer_with_a_fingerprint(fakes: Any) -> None:
    model = fakes.Videos("1 - 2: cuts")
    one, other = ChatRecognizer(model), ChatRecognizer(model, "iterative")
    assert isinstance(one, Recognizer)
    assert one.fingerprint == ChatRecognizer(model).fingerprint != other.fingerprint
    found = one.recognize(fakes.footage(0), goal="g", candidates=["x"])
    assert [record.caption for record in found.records] == ["cuts"]
    assert found.steps[0].name == "describe_events"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_shuffled_records_none_keeps_its_caption(count: int) -> None:
    records = tuple(EventRecord(float(i), i + 1.0, f"caption {i}", clip=i + 1) for i in range(count))
    for seed in map(str, range(20)):
        mixed = _shuffled(records, seed)
        assert sorted(r.caption for r in mixed) == sorted(r.caption for r in records)
        assert all(a.caption != b.caption and a.clip == b.clip for a, b in zip(mixed, records, strict=True))


@pytest.mark.parametrize("mode", ["one_shot", "iterative"])
def test_a_chat_is_asked_once_about_a_video(fakes: SimpleNamespace, tmp_path: Path, mode: str) -> None:
    class Watches(fakes.Videos):
        fingerprint = "weights 1"

    def strategy(model: Any) -> RRD:
        return RRD(model, fakes.Texts("Correct order: 2, 1, 3"), recognition=mode, cache=DiskCache(tmp_path))

    first, again, other = (Watches("Clip 1: a\nClip 2: b\nClip 3: c") for _ in range(3))
    answered = strategy(first).answer(fakes.sample("order", goal="tea"), fakes.footage())
    remembered = strategy(again).answer(fakes.sample("order", goal="tea"), fakes.footage())
    assert remembered.records == answered.records
    assert [step.reply for step in remembered.steps] == [step.reply for step in answered.steps]
    assert first.asked
    assert again.asked == []
    other.fingerprint = "weights 2"
    strategy(other).answer(fakes.sample("order", goal="tea"), fakes.footage())
    assert len(other.asked) == len(first.asked)


def test_a_chat_without_a_fingerprint_is_asked_again(fakes: SimpleNamespace, tmp_path: Path) -> None:
    model = fakes.Videos("Clip 1: a\nClip 2: b\nClip 3: c")
    strategy = RRD(model, fakes.Texts("Correct order: 2, 1, 3"), cache=DiskCache(tmp_path))
    for asked in (1, 2):
        strategy.answer(fakes.sample("order", goal="tea"), fakes.footage())
        assert len(model.asked) == asked
