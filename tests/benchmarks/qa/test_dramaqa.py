"""DramaQA: shares by level; a missing question stops the official scorer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.dramaqa import DramaQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError


def row(number: int, level: int, **more: Any) -> dict[str, Any]:
    return {
        "qid": 3200 + number,
        "que": "How is the relationship between Haeyoung1 and Dokyung?",
        "answers": [f"They are number {i}." for i in range(5)],
        "correct_idx": number % 5,
        "q_level_logic": level,
        "q_level_mem": 3,
        "vid": "AnotherMissOh14_001_0000",
        "videoType": "scene",
        "shot_contained": [25, 81],
        **more,
    }


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "AnotherMissOhQA_val_set.json", [row(0, 1), row(1, 3), row(2, 3), row(3, 3)])


def test_questions_as_published(questions: Path) -> None:
    sample = next(DramaQA(questions).samples())
    assert (sample.id, sample.target, len(sample.options)) == ("3200", 0, 5)
    assert sample.meta["groups"] == {"level": 1, "memory": 3, "video type": "scene"}
    assert sample.meta["shots"] == [25, 81]
    assert sample.media.videos[0].endswith("AnotherMissOh14_001_0000.mp4")


def test_shares_by_level(tmp_path: Path, questions: Path) -> None:
    path = write(tmp_path / "answers.json", {"3200": 0, "3201": 1, "3202": 2, "3203": 0, "99": 1})
    scores = score_file("dramaqa", path, questions)
    assert scores.official == {
        "test_accuracy_diff1": 1.0,
        "test_accuracy_diff3": pytest.approx(2 / 3),
        "test_accuracy": 0.75,
    }
    assert scores.strict["accuracy"] == 75.0
    assert scores.strict["by level"] == pytest.approx({"1": 100.0, "3": 200 / 3})


def test_replies_in_words(tmp_path: Path, questions: Path) -> None:
    rows = [{"id": str(3200 + n), "reply": "They are number 1."} for n in range(4)]
    scores = score_file("dramaqa", write(tmp_path / "p.json", rows), questions)
    assert scores.official["test_accuracy"] == 0.25


def test_a_missing_question_stops_it(tmp_path: Path, questions: Path) -> None:
    scores = score_file("dramaqa", write(tmp_path / "answers.json", {"3200": 0}), questions)
    assert scores.official == {}
    assert "the official scorer stops: AssertionError: key '3201' is missing" in scores.notes
    assert scores.strict["accuracy"] == 25.0


def test_a_split_without_answers(tmp_path: Path) -> None:
    bare = {key: value for key, value in row(0, 1).items() if key != "correct_idx"}
    questions = write(tmp_path / "test.json", [bare])
    with pytest.raises(DataError, match="no answers to score against"):
        score_file("dramaqa", write(tmp_path / "a.json", {"3200": 0}), questions)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no question"),
        ([{"qid": 1}], "lacks que, answers, vid, q_level_logic"),
        ([row(0, 1, correct_idx=5)], "from 0 to 4, got 5"),
        ([row(0, 1, answers="one")], "answers must be a list"),
        ([row(0, 1, answers=["a", float("nan")])], "answers must be a list of texts"),
        ("text", "must be an object"),
    ],
)
def test_bad_questions(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(DramaQA(write(tmp_path / "x.json", value)))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        len(DramaQA(tmp_path / "nothing.json"))
