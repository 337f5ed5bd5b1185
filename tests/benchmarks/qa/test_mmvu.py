"""MMVU with a few questions: the judge's verdicts, the rules that need no judge, and the sane score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.mmvu import Mmvu, matches
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

CHOICES = {"A": "Boiling point", "B": "Melting", "C": "Freezing", "D": "Nothing", "E": "Gas"}
BLANK = dict.fromkeys("ABCDE", "")


def question(number: int, kind: str, answer: str, subject: str = "Chemistry") -> dict[str, Any]:
    return {
        "id": f"validation_{number}",
        "video": f"https://x/videos/{subject.replace(' ', '_')}/{number}.mp4",
        "question_type": kind,
        "metadata": {"subject": subject},
        "question": "Which?",
        "choices": CHOICES if kind == "multiple-choice" else BLANK,
        "answer": answer,
    }


QUESTIONS = [
    question(0, "multiple-choice", "B"),
    question(1, "multiple-choice", "E", "Civil Engineering"),
    question(2, "open-ended", "Dolly Zoom", "Art"),
    question(3, "open-ended", "12%"),
]


def write(path: Path, value: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "validation.json", QUESTIONS)


def outputs(*replies: str, **more: Any) -> list[dict[str, Any]]:
    return [{**q, "response": reply, **more} for q, reply in zip(QUESTIONS, replies, strict=False)]


def test_samples(questions: Path) -> None:
    samples = list(Mmvu(questions).samples())
    assert samples[0].options == tuple(CHOICES.values())
    assert samples[0].target == 1
    assert "\nQuestion: Which?\nA: Boiling point\nB: Melting\n" in samples[0].question
    assert samples[0].media.videos[0].endswith("Chemistry/0.mp4")
    assert samples[2].options == ()
    assert "Directly output the final short answer." in samples[2].question
    assert samples[1].meta["groups"]["discipline"] == "Engineering"


def test_without_a_judge(questions: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "o.json", outputs("B", "The answer is D", "Answer: dolly zoom.", "a tenth"))
    scores = score_file("mmvu", path, questions)
    assert scores.official == {
        "Average Accuracy": 50.0,
        "Science accuracy": 50.0,
        "Engineering accuracy": 0.0,
        "Healthcare accuracy": 0,
        "Humanities_and_Social_Science accuracy": 100.0,
    }
    assert any("1 written answers match no rule" in note for note in scores.notes)
    assert scores.strict["accuracy"] == 50.0
    assert scores.strict["by question type"] == {"multiple-choice": 50.0, "open-ended": 50.0}
    assert scores.strict["by discipline"]["Science"] == 50.0
    assert scores.strict["positions"]["right"] == {"A": 0, "B": 1, "C": 0, "D": 0, "E": 1}
    assert scores.chance["accuracy"] == 10.0
    rows = [{"id": q["id"], "reply": q["response"]} for q in outputs("B", "The answer is D", "x", "y")]
    assert score_file("mmvu", write(tmp_path / "p.jsonl", rows), questions).official["Average Accuracy"] == 25.0


def test_verdicts_of_the_judge_are_the_official_accuracy(questions: Path, tmp_path: Path) -> None:
    rows = outputs("x", "y", "z", "w", correct=True)
    rows[0]["correct"] = False
    scores = score_file("mmvu", write(tmp_path / "o.json", rows), questions)
    assert scores.official == {"accuracy": 0.75}
    assert scores.strict["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("answer", "reply", "right"),
    [
        ("B", "A or B", True),
        ("B", "melting it is", True),
        ("B", "b", True),
        ("A", "what a point", True),
        ("E", "The letter", False),
        ("E", "", False),
    ],
)
def test_rules_for_choices(answer: str, reply: str, right: bool) -> None:
    assert matches(CHOICES, answer, reply) == right


@pytest.mark.parametrize(
    ("answer", "reply", "right"),
    [
        ("Dolly Zoom", "it is a DOLLY  zoom shot", True),
        ("Dolly Zoom", "zoom", True),
        ("Dolly Zoom", "", True),
        ("Dolly Zoom", "a zoom, by dolly", True),
        ("Dolly Zoom", "pan", False),
        ("n² items", "n^2 ITEMS", True),
        ("12%", "about 12.001 percent", True),
        ("12%", "13", False),
        ("the order O(n log n) of it all is what", "o(n log n) maybe", True),
        ("be it so", "nothing like", True),
    ],
)
def test_rules_for_written_answers(answer: str, reply: str, right: bool) -> None:
    assert matches({}, answer, reply) == right


def test_bad_files(questions: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "o.json", outputs("B"))
    with pytest.raises(DataError, match="does not exist"):
        score_file("mmvu", tmp_path / "none.json", questions)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("mmvu", write(tmp_path / "e.json", []), questions)
    with pytest.raises(DataError, match="KeyError: 'response'"):
        score_file("mmvu", write(tmp_path / "n.json", [{"id": "validation_0"}]), questions)
    with pytest.raises(DataError, match="must be a JSON list"):
        score_file("mmvu", good, write(tmp_path / "q.json", {"a": 1}))
    with pytest.raises(DataError, match="answer must be text, got nan"):
        score_file("mmvu", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "answer": float("nan")}]))
    with pytest.raises(DataError, match="no multiple-choice or open-ended question"):
        score_file("mmvu", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "answer": "F"}]))


@pytest.mark.data
def test_the_published_questions(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations/mmvu/validation.json"
    rows = [{"id": s.id, "reply": s.meta["answer"]} for s in Mmvu(path).samples()]
    scores = score_file("mmvu", write(tmp_path / "p.jsonl", rows), path)
    assert scores.official["Average Accuracy"] == 100.0
    assert scores.strict["accuracy"] == 100.0
    assert scores.strict["by question type"] == {"multiple-choice": 100.0, "open-ended": 100.0}
    assert scores.count == 1000
