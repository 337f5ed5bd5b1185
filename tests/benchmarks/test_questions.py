from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.questions import UserQuestions
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError
from vidcausal.types import Span

CLIPS = [[0, 1], [2, 3], [4, 5]]
ROWS: list[dict[str, Any]] = [
    {
        "id": "o",
        "task": "order",
        "video": "a.mp4",
        "goal": "Bake",
        "clips": [[0, 1], [2, 3], [4, 5]],
        "answer": [2, 1, 3],
    },
    {"id": "g", "task": "ground", "video": "a.mp4", "query": "pours milk", "answer": [10, 20]},
    {"id": "q", "task": "ask", "video": "a.mp4", "question": "Why?", "options": ["full", "fell"], "answer": "B"},
    {"id": "t", "task": "ask", "video": "a.mp4", "question": "What color?", "answer": ["red", "dark red"]},
    {"id": "e", "task": "events", "video": "a.mp4", "answer": [[0, 3, "cuts"], {"start": 3, "end": 8}]},
    {"id": "n", "task": "ask", "videos": ["a.mp4"], "question": "And now?"},
]
REPLIES = {
    "o": "Correct order: 2, 1, 3",
    "g": "From 12 to 20 seconds",
    "q": "The answer is B.",
    "t": "Red!",
    "e": "0 - 3: a\n3 - 8: b",
    "n": "x",
}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(ROWS))
    return path


def predictions(path: Path, **changes: dict[str, Any]) -> Path:
    rows = [{"id": i, "reply": r, **changes.get(i, {})} for i, r in REPLIES.items()]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_samples(questions: Path) -> None:
    samples = {sample.id: sample for sample in UserQuestions(questions).samples()}
    assert samples["o"].media.clip_spans[1] == Span(2, 3)
    assert samples["o"].target == (2, 1, 3)
    assert samples["o"].goal == samples["o"].question == "Bake"
    assert samples["g"].goal == "pours milk"
    assert samples["g"].target == (Span(10, 20),)
    assert samples["q"].target == 1
    assert samples["n"].target is None
    assert samples["q"].media.videos == (str(questions.parent / "a.mp4"),)
    assert len(UserQuestions(data_dir=questions.parent)) == len(ROWS)


def test_right_answers_score_a_hundred(questions: Path, tmp_path: Path) -> None:
    scores = score_file("questions", predictions(tmp_path / "p.jsonl"), questions)
    assert scores.official == {}
    assert scores.count == 5
    assert scores.coverage == 1.0
    assert scores.unparsed == 0.0
    assert scores.strict["order"]["accuracy"] == 100.0
    assert scores.strict["ask"] == {"count": 2, "accuracy": 100.0}
    assert scores.strict["ground"]["mIoU"] == pytest.approx(80.0)
    assert scores.strict["ground"]["R@1 IoU=0.7"] == 100.0
    assert scores.strict["events"]["F1 IoU=0.5"] == 100.0
    assert scores.chance["ask"]["accuracy"] == 25.0
    assert scores.chance["order"]["accuracy"] == pytest.approx(100 / 6)
    json.dumps(scores.to_json())


def test_scored_answers_and_unreadable_ones(questions: Path, tmp_path: Path) -> None:
    path = predictions(
        tmp_path / "p.jsonl",
        o={"reply": "?", "order": [2, 1, 3]},
        g={"reply": "later", "spans": [[10, 20, 0.9]]},
        q={"reply": "both", "option": 0},
    )
    scores = score_file("questions", path, questions)
    assert scores.unparsed == pytest.approx(3 / 5)
    assert scores.strict["order"]["accuracy"] == 0.0
    assert scores.scored is not None
    assert scores.scored["order"]["accuracy"] == 100.0
    assert scores.scored["ground"]["mIoU"] == 100.0
    assert scores.scored["ask"]["accuracy"] == 0.0


def test_an_empty_reply_is_missing_nothing_but_points(questions: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "q", "reply": ""}')
    scores = score_file("questions", path, questions)
    assert scores.coverage == pytest.approx(1 / 5)
    assert scores.unparsed == 1.0
    with pytest.raises(DataError, match="has no official scorer"):
        score_file("questions", path, questions, policy="official")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "x", "task": "sort", "video": "a"}, "task must be one of"),
        ({"id": "x", "task": "ask", "video": "a"}, "needs question"),
        ({"task": "ask", "video": "a", "question": "?"}, 'needs an "id"'),
        ({"id": "x", "task": "ask", "question": "?"}, '"video"'),
        ({"id": "x", "task": "ask", "video": "a", "question": "?", "option": ["a"]}, "unknown key 'option'"),
        ({"id": "x", "task": "ask", "video": "a", "question": "?", "options": ["a"], "answer": 3}, "index 0..0"),
        ({"id": "x", "task": "order", "video": "a", "goal": "g", "answer": [1, 3]}, "permutation"),
        ({"id": "x", "task": "ground", "video": "a", "query": "g", "answer": [[5, 2]]}, "start <= end"),
        ("text", "must be an object"),
    ],
)
def test_bad_questions_are_named(tmp_path: Path, row: Any, message: str) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps([ROWS[1], row]))
    with pytest.raises(DataError, match=message) as caught:
        list(UserQuestions(path).samples())
    assert "question 2" in str(caught.value)


def test_jsonl_and_duplicate_ids(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    assert len(UserQuestions(path)) == len(ROWS)
    path.write_text("\n".join(json.dumps(row) for row in [ROWS[0], ROWS[0]]))
    with pytest.raises(DataError, match="more than once"):
        list(UserQuestions(path).samples())
