"""EgoSchema: the subset with public answers, scored as lmms-eval does and sanely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.egoschema import EgoSchema
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

ANSWERS = {"uid-0": 0, "uid-1": 4, "uid-2": 2}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    write(tmp_path / "subset_answers.json", ANSWERS)
    rows = [
        {"q_uid": f"uid-{n}", "google_drive_id": "x", "question": f"What is C doing in {n}?"}
        | {f"option {i}": f"C is doing thing number {'abcde'[i]} all day" for i in range(5)}
        for n in range(5)
    ]
    return write(tmp_path / "questions.json", rows)


def test_only_questions_with_a_public_answer(questions: Path) -> None:
    samples = list(EgoSchema(questions).samples())
    assert [(s.id, s.target) for s in samples] == list(ANSWERS.items())
    assert samples[0].options[1] == "C is doing thing number b all day"
    assert samples[0].media.videos[0].endswith("uid-0.mp4")
    everything = list(EgoSchema(questions, subset=False).samples())
    assert [s.target for s in everything] == [0, 4, 2, None, None]


@pytest.mark.parametrize("name", ["submission.json", "submission.csv", "submission.jsonl"])
def test_submissions(tmp_path: Path, questions: Path, name: str) -> None:
    chosen = {"uid-0": 0, "uid-1": 3, "uid-2": 2, "uid-4": 1}
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("q_uid,answer\n" + "".join(f"{k},{v}\n" for k, v in chosen.items()), encoding="utf-8")
    elif name.endswith("jsonl"):
        path.write_text("".join(json.dumps({"q_uid": k, "answer": v}) + "\n" for k, v in chosen.items()))
    else:
        write(path, chosen)
    for file in (questions, tmp_path / "subset_answers.json"):
        scores = score_file("egoschema", path, file)
        assert scores.official == {"score": 2 / 3}
        assert scores.strict["accuracy"] == pytest.approx(200 / 3)
        assert any("1 predictions have an unknown id" in note for note in scores.notes)


def test_official_counts_what_is_there(tmp_path: Path, questions: Path) -> None:
    scores = score_file("egoschema", write(tmp_path / "s.json", {"uid-0": 0}), questions)
    assert scores.official == {"score": 1.0}
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.coverage == pytest.approx(1 / 3)


def test_replies_in_words(tmp_path: Path, questions: Path) -> None:
    rows = [
        {"id": "uid-0", "reply": "A or B"},  # lmms-eval takes the first, the sane parser none
        {"id": "uid-1", "reply": "(E)"},
        {"id": "uid-2", "reply": "who knows"},
    ]
    scores = score_file("egoschema", write(tmp_path / "p.json", rows), questions)
    assert scores.official == {"score": 2 / 3}
    assert any("would guess at random for 1 of 3 replies" in note for note in scores.notes)
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.unparsed == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no question"),
        ({}, "holds no question"),
        ({"uid-0": 5}, "from 0 to 4, got 5"),
        ({"uid-0": float("nan")}, "from 0 to 4, got nan"),
        ([{"q_uid": "uid-0"}], "lacks question"),
        (3, "must be an object"),
    ],
)
def test_bad_files(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(EgoSchema(write(tmp_path / "x.json", value)))


def test_missing_and_empty(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        len(EgoSchema(tmp_path / "nothing.json"))
    (tmp_path / "s.csv").write_text("q_uid,answer\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("egoschema", tmp_path / "s.csv", questions)
    write(tmp_path / "subset_answers.json", [1])
    with pytest.raises(DataError, match="must be an object from ids to answers"):
        len(EgoSchema(questions))


@pytest.mark.data
def test_the_public_answers(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations" / "egoschema" / "subset_answers.json"
    answers = json.loads(path.read_text(encoding="utf-8"))
    scores = score_file("egoschema", write(tmp_path / "s.json", dict.fromkeys(answers, 4)), path)
    assert scores.count == 500
    assert scores.strict["accuracy"] == pytest.approx(scores.chance["best constant accuracy"]) == pytest.approx(23.4)
