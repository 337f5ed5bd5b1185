from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.text._answers import parse_number, parse_yes_no
from vidcausal.benchmarks.text.bbh import BBHCausalJudgement, parse_official
from vidcausal.errors import DataError

STORIES = [
    "Did Billy cause it?",
    "Did Suzy intentionally do it?",
    "Did the red wire cause it?",
    "Did the red wire cause it?",
]
TARGETS = ["Yes", "No", "No", "Yes"]


def ask(story: str) -> str:
    return f"How would a typical person answer?\n{story}\nOptions:\n- Yes\n- No"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "causal_judgement.json"
    examples = [{"input": ask(story), "target": target} for story, target in zip(STORIES, TARGETS, strict=True)]
    path.write_text(json.dumps({"canary": "…", "examples": examples}))
    return path


def write(tmp_path: Path, value: Any, name: str = "p.json") -> Path:
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_samples_hold_the_question_as_published_and_no_video(questions: Path) -> None:
    samples = list(BBHCausalJudgement(questions).samples())
    assert [s.id for s in samples] == ["0", "1", "2", "3"]
    assert [s.target for s in samples] == [0, 1, 1, 0]
    assert samples[0].question == ask(STORIES[0])
    assert all(s.media.videos == () and s.options == ("Yes", "No") for s in samples)
    assert [s.meta["groups"]["type"] for s in samples] == ["causation", "intention", "causation", "causation"]


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("Yes", "Yes"),
        (" No\n", "No"),
        ("Yes.", "Yes."),  # not equal to the target: as published
        ("yes", "yes"),
        ("He did. So the answer is No.", "No"),
        ("So the answer is Yes", "Yes"),
        ("So the answer is Yes. Q: next? So the answer is No.", "Yes"),
        ("He did not do it, therefore no.", "He did not do it, therefore no."),
    ],
)
def test_official_reading(reply: str, read: str) -> None:
    assert parse_official(reply) == read


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        ("Yes", 0),
        ("no.", 1),
        ("**No**, because the machine was broken.", 1),
        ("So the answer is No.", 1),
        ("The answer is yes. Wait. Final answer: No", 1),
        ("<think>Yes?</think>No", 1),
        ("No one touched the wire, and so it is hard to say", None),
        ("There is no reason to think so", None),
        ("Billy was there.\nYes.", 0),
        ("B", 1),
        ("", None),
        ("yesterday", None),
    ],
)
def test_sane_reading(reply: str, option: int | None) -> None:
    assert parse_yes_no(reply) == option


@pytest.mark.parametrize(
    ("reply", "first", "option"),
    [
        ("0", 0, 0),
        ("1. The grass was cut.", 0, 1),
        ("Answer: 2", 1, 1),
        ("The answer is (3)", 1, 2),
        ("4", 0, None),
        ("In 2019 the first happened", 0, None),
        ("B", 1, 1),
        ("the grass was cut", 0, 1),
        ("2 men ran away", 1, None),
        ("0.5", 0, None),
    ],
)
def test_numbered_options(reply: str, first: int, option: int | None) -> None:
    assert parse_number(reply, first, ["The sun was rising.", "The grass was cut.", "It rained."]) == option


def test_released_form_with_worked_examples_before_the_question(questions: Path, tmp_path: Path) -> None:
    shots = "Answer questions.\n\nQ: How would a typical person answer?\nOld?\nA: So the answer is No.\n\nQ: "
    outputs = [
        {"input": f"{shots}{ask(STORIES[0])}\nA: Let's think step by step.", "prediction": "So the answer is Yes."},
        {"input": f"{shots}{ask(STORIES[2])}\nA:", "prediction": "Yes", "target": "Yes"},  # the second of the twins
        {"input": f"{shots}{ask(STORIES[2])}\nA:", "prediction": "Yes", "target": "No"},
    ]
    path = write(tmp_path, {"canary": "", "outputs": outputs})
    scores = score_file("bbh_causal_judgement", path, questions)
    assert scores.official == {"n": 3, "correct": 2, "accuracy": 66.67}
    assert scores.strict["accuracy"] == 50.0  # of all four questions
    assert scores.coverage == 0.75


def test_own_rows_are_scored_by_id(questions: Path, tmp_path: Path) -> None:
    lines = [{"id": "0", "reply": "Yes"}, {"id": 1, "reply": "Yes"}, {"id": "3", "reply": "maybe"}]
    scores = score_file(
        "bbh_causal_judgement", write(tmp_path, "\n".join(map(json.dumps, lines)), "p.jsonl"), questions
    )
    assert scores.official == {"n": 3, "correct": 1, "accuracy": 33.33}
    assert scores.strict["accuracy"] == 25.0
    assert scores.unparsed == pytest.approx(1 / 3)
    assert scores.chance["accuracy"] == 50.0


def test_bad_rows_are_named_and_the_rest_is_scored(questions: Path, tmp_path: Path) -> None:
    outputs = [{"input": ask(STORIES[0]) + "\nA:", "prediction": "Yes"}, {"input": "x", "prediction": float("nan")}, 7]
    scores = score_file("bbh_causal_judgement", write(tmp_path, {"outputs": outputs}), questions)
    assert any("row" in note or "line" in note for note in scores.notes)
    assert scores.strict["accuracy"] == 25.0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("[1, 2]", "list"),
        ('{"outputs": []}', "predictions"),
        ('{"examples": [{"input": "q", "target": "(A)"}]}', "another task"),
        ('{"examples": [{"input": NaN, "target": "Yes"}]}', "input"),
        ('{"examples": []}', "no question"),
    ],
)
def test_wrong_annotations(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(BBHCausalJudgement(write(tmp_path, content)).samples())


def test_missing_and_foreign_submissions(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        score_file("bbh_causal_judgement", tmp_path / "absent.json", questions)
    with pytest.raises(DataError, match="no prediction"):
        score_file("bbh_causal_judgement", write(tmp_path, "", "p.jsonl"), questions)
    with pytest.raises(DataError, match="belongs to bbh_causal_judgement"):
        score_file("bbh_causal_judgement", write(tmp_path, [{"id": "dev-0", "reply": "A"}]), questions)
    with pytest.raises(DataError, match="needs its questions"):
        list(BBHCausalJudgement(data_dir=tmp_path / "empty").samples())
