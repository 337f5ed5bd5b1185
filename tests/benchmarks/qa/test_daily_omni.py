"""Daily-Omni with a few questions: the rules of four published scripts, and the sane score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.daily_omni import DailyOmni
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

QUESTIONS: list[dict[str, Any]] = [
    {
        "Question": f"What {i}?",
        "Choice": ["A. Dog", "B. Cat", "C. Bird", "D. Fish"],
        "Answer": answer,
        "video_id": video,
        "Type": kind,
        "video_category": "Music",
        "video_duration": duration,
    }
    for i, (answer, video, kind, duration) in enumerate(
        [("A", "u", "Inference", "30s"), ("B", "u", "Reasoning", "30s"), ("C", "w", "Reasoning", "60s")]
    )
]


def write(path: Path, value: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "qa.json", QUESTIONS)


def ours(path: Path, *replies: str | None) -> Path:
    return write(path, [{"id": str(i), "reply": reply} for i, reply in enumerate(replies)])


def test_samples(questions: Path) -> None:
    samples = list(DailyOmni(questions).samples())
    assert [s.target for s in samples] == [0, 1, 2]
    assert samples[0].options == ("Dog", "Cat", "Bird", "Fish")
    assert "\nQuestion: What 0?\nChoices: ['A. Dog', 'B. Cat', 'C. Bird', 'D. Fish']\n" in samples[0].question
    assert samples[2].media.videos[0].endswith("w/w_video.mp4")
    (questions.parent / "w.mp4").touch()
    assert list(DailyOmni(questions).samples())[2].media.videos[0] == str(questions.parent / "w.mp4")


def test_official(questions: Path, tmp_path: Path) -> None:
    scores = score_file("dailyomni", ours(tmp_path / "p.jsonl", "A", "because", "d"), questions)
    assert scores.official == {
        "rule": "qwen2.5-omni",
        "Overall Accuracy": 66.67,
        "QA Type": {"Inference": 100.0, "Reasoning": 50.0},
        "Video Category": {"Music": 66.67},
        "Video Duration": {"30s": 100.0, "60s": 0.0},
        "overall by rule": dict.fromkeys(("qwen2.5-omni", "qwen2.5-vl", "ola", "baseline"), 66.67),
    }
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.strict["by QA Type"] == {"Inference": 100.0, "Reasoning": 0.0}
    assert scores.unparsed == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("A", {"qwen2.5-omni", "qwen2.5-vl", "ola", "baseline"}),
        (" a.", {"qwen2.5-omni", "qwen2.5-vl", "baseline"}),
        ("user B\nassistant\nA", {"qwen2.5-omni"}),
        ("assistant\nB", {"qwen2.5-vl", "ola", "baseline"}),
        ("(A)", set()),
        ("", set()),
    ],
)
def test_rules(questions: Path, tmp_path: Path, reply: str, right: set[str]) -> None:
    official = score_file("dailyomni", ours(tmp_path / "p.jsonl", reply), questions).official
    assert {rule for rule, share in official["overall by rule"].items() if share} == right


def test_questions_with_replies_in_them(questions: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", [{**q, "response": "B"} for q in reversed(QUESTIONS)])
    scores = score_file("dailyomni", path, questions)
    assert scores.official["Overall Accuracy"] == 33.33
    assert scores.coverage == 1.0


def test_bad_files(questions: Path, tmp_path: Path) -> None:
    good = ours(tmp_path / "p.jsonl", "A")
    with pytest.raises(DataError, match="does not exist"):
        score_file("dailyomni", tmp_path / "none.jsonl", questions)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("dailyomni", ours(tmp_path / "e.jsonl"), questions)
    with pytest.raises(DataError, match="a question needs one of"):
        score_file("dailyomni", questions, questions)
    with pytest.raises(DataError, match="must be a JSON list"):
        score_file("dailyomni", good, write(tmp_path / "q.json", {"a": 1}))
    with pytest.raises(DataError, match="Answer must be text, got nan"):
        score_file("dailyomni", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "Answer": float("nan")}]))
    with pytest.raises(DataError, match="no letter of its 4 choices"):
        score_file("dailyomni", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "Answer": "E"}]))
    scores = score_file("dailyomni", ours(tmp_path / "none.jsonl", None, None), questions)
    assert scores.official == {}
    assert any("no reply to divide by" in note for note in scores.notes)


@pytest.mark.data
def test_the_published_questions(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations/dailyomni/qa.json"
    rows = [{"id": s.id, "reply": "ABCD"[s.target or 0]} for s in DailyOmni(path).samples()]
    scores = score_file("dailyomni", write(tmp_path / "p.jsonl", rows), path)
    assert scores.official["Overall Accuracy"] == scores.strict["accuracy"] == 100.0
    assert scores.count == 1197
