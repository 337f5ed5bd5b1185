"""CLEVRER: every candidate is judged; per option and per question, in both official forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.clevrer import CLEVRER
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

TRUTH = ("correct", "wrong", "wrong")


def question(number: int, kind: str, truth: tuple[str, ...] = TRUTH) -> dict[str, Any]:
    choices = [{"choice_id": i, "choice": f"event {i}", "answer": answer} for i, answer in enumerate(truth)]
    return {"question_id": number, "question": "What happens?", "question_type": kind, "choices": choices}


def scene(index: int) -> dict[str, Any]:
    open_ended = {"question_id": 0, "question": "How many?", "question_type": "descriptive", "answer": "2"}
    kinds = ("explanatory", "predictive", "counterfactual")
    questions = [open_ended, *(question(n, kind) for n, kind in enumerate(kinds, start=1))]
    return {"scene_index": index, "video_filename": f"video_{index}.mp4", "questions": questions}


def prediction(index: int, judged: tuple[str, ...]) -> dict[str, Any]:
    """A scene of the submission form: every question judged the same."""
    choices = [{"choice_id": i, "answer": answer} for i, answer in enumerate(judged)]
    questions = [{"question_id": 0, "answer": "2"}, *({"question_id": n, "choices": choices} for n in (1, 2, 3))]
    return {"scene_index": index, "questions": questions}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "validation.json", [scene(10000), scene(10001)])


def test_candidates_are_samples(tmp_path: Path, questions: Path) -> None:
    (tmp_path / "video_10000.mp4").write_bytes(b"")
    samples = list(CLEVRER(questions).samples())
    assert len(samples) == 2 * 3 * 3
    first = samples[0]
    assert (first.id, first.target, first.options) == ("10000_1_0", 0, ("correct", "wrong"))
    assert first.question.startswith("What happens?\nCandidate answer: event 0\nIs the candidate answer correct?\nA. ")
    assert first.media.videos == (str(tmp_path / "video_10000.mp4"),)
    assert first.meta["groups"] == {"type": "explanatory"}


def test_per_option_and_per_question(tmp_path: Path, questions: Path) -> None:
    judged = [prediction(10000, TRUTH), prediction(10001, ("correct", "error", "correct"))]
    scores = score_file("clevrer", write(tmp_path / "p.json", judged), questions)
    for name in ("overall", "explanatory", "predictive", "counterfactual"):
        assert scores.official[f"{name} accuracy per option"] == 66.666667
        assert scores.official[f"{name} accuracy per question"] == 50.0
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert scores.strict["accuracy per question"] == 50.0
    assert scores.strict["by type per question"]["predictive"] == 50.0
    assert scores.chance["accuracy per question"] == 12.5
    assert scores.unparsed == pytest.approx(3 / 18)
    low, high = scores.intervals["accuracy per question"]
    assert low <= 50.0 <= high


@pytest.mark.parametrize("bad", [3, {"scene_index": 1}, {"questions": 3}, {"questions": [3]}])
def test_what_is_no_scene_is_named(tmp_path: Path, questions: Path, bad: Any) -> None:
    scores = score_file("clevrer", write(tmp_path / "p.json", [prediction(10000, TRUTH), bad]), questions)
    assert scores.official == {}
    assert any("1 malformed lines were left out (line 2: " in note for note in scores.notes)
    assert scores.strict["accuracy"] == 50.0


def test_one_scene_is_a_submission_too(tmp_path: Path, questions: Path) -> None:
    scores = score_file("clevrer", write(tmp_path / "p.json", prediction(10000, TRUTH)), questions)
    assert scores.official["overall accuracy per option"] == 50.0
    assert any("9 candidates have no prediction" in note for note in scores.notes)
    assert scores.coverage == 0.5


def test_a_type_without_a_question_divides_by_zero(tmp_path: Path) -> None:
    questions = write(tmp_path / "validation.json", [{"scene_index": 1, "questions": [question(1, "predictive")]}])
    scores = score_file("clevrer", write(tmp_path / "p.json", {"1_1_0": "correct"}), questions)
    assert scores.official == {}
    assert "the official scorer stops: ZeroDivisionError: no explanatory question" in scores.notes
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)


def test_clevrer_humans(tmp_path: Path) -> None:
    truths = {"7": {"questions": [question(0, "explanatory", ("correct", "wrong"))]}}
    questions = write(tmp_path / "valid.json", truths | {"8": {"questions": [question(0, "explanatory", ("wrong",))]}})
    judged = {"7": {"questions": [question(0, "explanatory", ("correct", "correct"))]}}
    scores = score_file("clevrer", write(tmp_path / "p.json", judged), questions)
    # Nothing is said of scene 8: not judged correct, which is right there.
    assert scores.official == {"question acc": 0.5, "choice acc": pytest.approx(2 / 3)}
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.strict["accuracy per question"] == 0.0


def test_replies_in_words(tmp_path: Path, questions: Path) -> None:
    rows = [
        {"id": s.id, "reply": "A" if s.target == 0 else "The candidate is wrong."} for s in CLEVRER(questions).samples()
    ]
    rows[0]["reply"] = "maybe"
    scores = score_file("clevrer", write(tmp_path / "p.json", rows), questions)
    assert scores.official["overall accuracy per option"] == 94.444444
    assert scores.strict["accuracy per question"] == pytest.approx(500 / 6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no question"),
        ({}, "holds no question"),
        (3, "must be a list or an object of scenes"),
        ([3], "a scene needs its number"),
        ([{"questions": []}], "a scene needs its number"),
        ([{"scene_index": 1, "questions": [{"question": "why"}]}], "a question needs question, question_type"),
        ({"1": {"questions": [question(1, "predictive", ("perhaps",))]}}, "must be correct or wrong, got 'perhaps'"),
    ],
)
def test_bad_questions(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(CLEVRER(write(tmp_path / "x.json", value)))


def test_missing_and_foreign_files(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        len(CLEVRER(tmp_path / "nothing.json"))
    (tmp_path / "x.json").write_text("[{", encoding="utf-8")
    with pytest.raises(DataError, match="is not JSON"):
        len(CLEVRER(tmp_path / "x.json"))
    with pytest.raises(DataError, match="none of the 1 predictions belongs to clevrer"):
        score_file("clevrer", write(tmp_path / "p.json", {"4010_6": {"prediction": 1, "answer": 1}}), questions)


@pytest.mark.data
def test_the_released_questions(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations" / "clevrer" / "clevrer_humans_valid.json"
    scores = score_file("clevrer", path, path)  # the questions' own form is the form of a submission
    assert scores.official == {"question acc": 1.0, "choice acc": 1.0}
    assert scores.count == 512
    assert scores.chance["accuracy per question"] == 25.0
