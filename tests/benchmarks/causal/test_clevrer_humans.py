"""CLEVRER-Humans: candidates and whole questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.causal.clevrer_humans import CLEVRERHumans
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError


def question(number: int, *answers: str) -> dict[str, Any]:
    choices = [{"choice_id": i, "choice": f"event {i}", "answer": answer} for i, answer in enumerate(answers)]
    return {
        "question_id": number,
        "question": "Which of the following is responsible for the crash?",
        "question_type": "explanatory",
        "choices": choices,
    }


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    scenes = {"7": {"questions": [question(0, "correct", "wrong"), question(1, "wrong")]}, "123": {"questions": []}}
    return write(tmp_path / "valid.json", scenes)


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_a_sample_is_a_candidate(truth: Path) -> None:
    first, second, third = CLEVRERHumans(truth).samples()
    assert [s.id for s in (first, second, third)] == ["7_0_0", "7_0_1", "7_1_0"]
    assert [s.target for s in (first, second, third)] == [0, 1, 1]
    assert Path(first.media.videos[0]).name == "video_00007.mp4"
    assert "Candidate: event 0\n" in first.question


def test_choices_and_questions(truth: Path, tmp_path: Path) -> None:
    rows = [{"id": "7_0_0", "reply": "A"}, {"id": "7_0_1", "reply": "yes"}, {"id": "7_1_0", "reply": "No."}]
    scores = score_file("clevrer_humans", write(tmp_path / "p.json", rows), truth)
    assert scores.official == {"question acc": 0.5, "choice acc": pytest.approx(2 / 3)}
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert scores.strict["question accuracy"] == 50.0


def test_clevrer_s_own_form(truth: Path, tmp_path: Path) -> None:
    said = [{"scene_index": 7, "questions": [question(0, "correct", "wrong")]}]
    scores = score_file("clevrer_humans", write(tmp_path / "p.json", said), truth)
    assert scores.official == {"question acc": 1.0, "choice acc": 1.0}
    assert scores.strict["question accuracy"] == 50.0
    assert scores.coverage == pytest.approx(2 / 3)
    perfect = score_file("clevrer_humans", truth, truth)
    assert perfect.strict["question accuracy"] == 100.0


def test_a_missing_candidate_makes_its_question_wrong(truth: Path, tmp_path: Path) -> None:
    scores = score_file("clevrer_humans", write(tmp_path / "p.json", [{"id": "7_0_0", "reply": "yes"}]), truth)
    assert scores.official == {"question acc": 0.0, "choice acc": 1.0}


def test_unknown_candidates(truth: Path, tmp_path: Path) -> None:
    rows = [{"id": "7_0_0", "reply": "yes"}, {"id": "7_9_9", "reply": "yes"}]
    scores = score_file("clevrer_humans", write(tmp_path / "p.json", rows), truth)
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops") for note in scores.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "holds no question"),
        ('{"7": []}', "must be a number with a list"),
        ('{"a": {"questions": []}}', "must be a number with a list"),
        ('{"7": {"questions": [3]}}', "a question needs question_id"),
        ('{"7": {"questions": [{"question_id": NaN, "question": "q", "choices": [{}]}]}}', "a question needs"),
        (
            '{"7": {"questions": [{"question_id": 0, "question": "q",'
            ' "choices": [{"choice_id": 0, "choice": "c", "answer": "maybe"}]}]}}',
            "an answer must be correct or wrong",
        ),
    ],
)
def test_bad_annotations(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "valid.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(CLEVRERHumans(path).samples())


def test_bad_predictions(truth: Path, tmp_path: Path) -> None:
    for content in ("", "[]", "[1]", '[{"scene_index": 7}]', '[{"scene_index": 7, "questions": [{"choices": [{}]}]}]'):
        path = tmp_path / "p.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="holds no answer"):
            score_file("clevrer_humans", path, truth)


@pytest.mark.data
def test_the_published_files(shared_data: Path) -> None:
    folder = shared_data / "annotations/clevrer"
    sizes = [len(CLEVRERHumans(folder / f"clevrer_humans_{name}.json")) for name in ("valid", "train")]
    assert sizes == [512, 564]
