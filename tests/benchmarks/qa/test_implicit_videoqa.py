"""Implicit-VideoQA: the annotated moment is hidden; released results name no video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.implicit_videoqa import ImplicitVideoQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

OPTIONS = ["walk away", "sit", "pat her face", "turns her head", "sing"]


def row(number: int, video: Any = 2667165452, **more: Any) -> dict[str, Any]:
    return {
        "video_id": video,
        "question_id": number,
        "all_duration": 36,
        "duration": [[0.0, 2.6], [10.0, 12.0]],
        "qa": {"question": f"what did the lady do in part {number}", "answer": "turns her head"},
        "action_relation_intent": "1. person holds a bottle: Stay hydrated.",
        "options": OPTIONS,
        "ans": "D",
        **more,
    }


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "test_mc.json", [row(3), row(4), row(3, "v_abc", options=OPTIONS[:4])])


def test_what_is_shown_and_asked(questions: Path) -> None:
    samples = list(ImplicitVideoQA(questions).samples())
    assert [s.id for s in samples] == ["2667165452_3", "2667165452_4", "v_abc_3"]
    first = samples[0]
    assert [(s.start, s.end) for s in first.media.clip_spans] == [(2.6, 10.0), (12.0, 36.0)]
    assert len(first.media.videos) == 2
    assert first.target == 3
    assert first.question == (
        "The question involves implicit visual information, with key visual evidence being invisible, requiring the "
        "deduction of answer based on context. Q: Please answer: What did the lady do in part 3? \n(A) walk away\n"
        "(B) sit\n(C) pat her face\n(D) turns her head\n(E) sing\nOnly give the best option."
    )
    assert samples[2].meta["groups"] == {"source": "ReXTime", "options": 4}
    seen = next(ImplicitVideoQA(questions, hide_evidence=False, clues=True).samples())
    assert seen.media.clip_spans == ()
    assert "Stay hydrated.\nBased on the clues, select" in seen.question


def test_a_moment_that_is_the_whole_video_leaves_it(tmp_path: Path) -> None:
    path = write(tmp_path / "q.json", [row(3, duration=[[0.0, 20.0], [15.0, 40.0]])])
    assert next(ImplicitVideoQA(path).samples()).media.clip_spans == ()


def test_questions_of_traffic_have_no_number_and_no_moment(tmp_path: Path) -> None:
    bare = {"video_id": "j_1.mp4", "question": "how many?", "options": ["", "two", "three", ""], "ans": "B"}
    samples = list(ImplicitVideoQA(write(tmp_path / "q.json", [bare, bare | {"question": "where?"}])).samples())
    assert [s.id for s in samples] == ["j_1.mp4_0", "j_1.mp4_1"]
    assert samples[0].meta["groups"]["source"] == "SUTD-TrafficQA"
    assert samples[0].target == 1


@pytest.mark.parametrize("nested", [False, True])
def test_released_results_are_found_by_their_question(tmp_path: Path, questions: Path, nested: bool) -> None:
    asked = ["\n".join(s.question.split("\n")[:-1]).split("context. ")[1] for s in ImplicitVideoQA(questions).samples()]
    rows = [
        {"question_id": number, "question": text, "answer": "D", "pred": pred}
        for number, text, pred in zip((3, 4, 3), asked, ("D", "d", "A"), strict=True)
    ]
    path = write(tmp_path / "result.json", [rows[:2], rows[2:]] if nested else rows)
    scores = score_file("implicit_videoqa", path, questions)
    assert scores.coverage == 1.0
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert scores.strict["by source"] == {"NExT-GQA": 100.0, "ReXTime": 0.0}
    assert scores.official == {}
    assert any("1 of 3 submitted rows have pred equal to their answer" in note for note in scores.notes)


def test_results_that_name_the_video(tmp_path: Path, questions: Path) -> None:
    rows = [{"question_id": "4", "video_id": "2667165452", "question": "x", "answer": "D", "pred": "(D"}]
    scores = score_file("implicit_videoqa", write(tmp_path / "r.json", rows), questions)
    assert scores.coverage == pytest.approx(1 / 3)


def test_policy_official_says_that_there_is_no_scorer(tmp_path: Path, questions: Path) -> None:
    path = write(tmp_path / "p.json", [{"id": "v_abc_3", "reply": "D"}])
    with pytest.raises(DataError, match="implicit_videoqa has no official scorer"):
        score_file("implicit_videoqa", path, questions, "official")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no question"),
        ({"a": 1}, "lacks video_id, options, ans"),
        ([row(3, ans="F")], "whole number from 0 to 4, got 'F'"),
        ([row(3, duration=[[5.0, 1.0]])], "needs two finite seconds"),
        ([row(3, duration=[[float("nan"), 1.0]])], "needs two finite seconds"),
        ([row(3, duration=4)], "duration must be a list"),
        ([row(3, all_duration="long")], "needs two finite seconds"),
        ([row(3, all_duration=10**400)], "needs two finite seconds"),
        ([row(3, qa={})], r"needs qa\.question"),
        ([row(3, options=3)], "options must be a list"),
        ([row(3), row(3)], "'2667165452_3' more than once"),
    ],
)
def test_bad_questions(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(ImplicitVideoQA(write(tmp_path / "x.json", value)))


def test_missing_and_foreign_files(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        len(ImplicitVideoQA(tmp_path / "nothing.json"))
    rows = [{"question_id": 9, "question": "other", "answer": "A", "pred": "A"}]
    with pytest.raises(DataError, match="none of the 1 predictions belongs to implicit_videoqa"):
        score_file("implicit_videoqa", write(tmp_path / "r.json", rows), questions)


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "count"), [("test_mc.json", 1800), ("test_open_ended.json", 880), ("filtered_data2.json", 868)]
)
def test_the_released_questions(shared_data: Path, file: str, count: int) -> None:
    samples = list(ImplicitVideoQA(shared_data / "annotations" / "implicit_videoqa" / file).samples())
    assert len(samples) == count
    assert all(sample.target is not None for sample in samples)
