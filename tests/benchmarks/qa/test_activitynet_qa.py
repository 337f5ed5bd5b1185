"""ActivityNet-QA: the published score on a file that was made by hand, and what goes wrong with files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.activitynet_qa import ActivityNetQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError

# Types appear in the order 3, 8, 0, 1, 2, 4, 5, 6, 7: the last six are 1, 2, 4, 5, 6, 7, and not 3 to 8.
TRUTHS = [
    ("v_a_1", 3, "yes"),
    ("v_a_2", 3, "no"),
    ("v_a_3", 8, "happy"),
    ("v_a_4", 0, "run"),
    ("v_b_1", 1, "left"),
    ("v_b_2", 2, "jump"),
    ("v_b_3", 4, "red"),
    ("v_b_4", 5, "dog"),
    ("v_b_5", 6, "park"),
    ("v_b_6", 7, "2"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    answers = [{"question_id": q, "type": t, "answer": a} for q, t, a in TRUTHS]
    questions = [{"question_id": q, "video_name": q.split("_")[1], "question": f"what about {q}"} for q, _, _ in TRUTHS]
    write(tmp_path / "test_a.json", answers)
    write(tmp_path / "test_q.json", questions)
    return tmp_path


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def submission(folder: Path, **replies: Any) -> Path:
    return write(folder / "p.json", [{"question_id": key, "answer": reply} for key, reply in replies.items()])


def test_free_is_divided_by_the_last_six_types_that_appear(folder: Path) -> None:
    predictions = submission(folder, v_a_1="yes", v_a_2="no", v_a_3="happy", v_b_6="2", v_b_2="jump")
    scores = score_file("activitynet_qa", predictions, folder / "test_a.json")
    assert scores.official["Free"] == round(4 / 6, 4)  # 7 questions are of types 3 to 8
    assert scores.official["All"] == 0.5
    assert scores.official["Yes/No"] == 1.0
    assert scores.official["Temporal"] == 1.0
    assert scores.official["Motion"] == 0.0
    assert any("which makes 0.5714" in note for note in scores.notes)


def test_official_wants_the_very_letters_and_strict_the_word(folder: Path) -> None:
    predictions = submission(folder, v_a_1="Yes.", v_b_6=2, v_b_3="red ")
    scores = score_file("activitynet_qa", predictions, folder / "test_a.json")
    assert scores.official["All"] == 0.0
    assert scores.strict["accuracy"] == pytest.approx(20.0)  # "Yes." and "red "; a number is no text
    assert scores.strict["by type"]["Yes/No"] == 50.0
    assert scores.coverage == pytest.approx(0.3)
    assert scores.unparsed == pytest.approx(1 / 3)


def test_twice_answered_counts_twice(folder: Path) -> None:
    rows = [{"question_id": "v_a_1", "answer": "yes"}] * 3
    scores = score_file("activitynet_qa", write(folder / "p.json", rows), folder)
    assert scores.official["Yes/No"] == 1.5
    assert scores.strict["by type"]["Yes/No"] == 50.0


def test_missing_answers_are_wrong(folder: Path) -> None:
    scores = score_file("activitynet_qa", submission(folder, v_a_1="yes"), folder / "test_a.json")
    assert scores.official["All"] == 0.1
    assert scores.strict["accuracy"] == pytest.approx(10.0)


def test_where_the_official_scorer_stops(folder: Path) -> None:
    unknown = score_file("activitynet_qa", submission(folder, v_a_1="yes", v_z_9="no"), folder)
    assert unknown.official == {}
    assert any(note.startswith("the official scorer stops: KeyError 'v_z_9'") for note in unknown.notes)
    nothing_said = write(folder / "p.json", [{"question_id": "v_a_1"}, {"question_id": "v_a_2", "answer": "no"}])
    broken = score_file("activitynet_qa", nothing_said, folder)
    assert broken.official == {}
    assert any("line 1: a row needs one of" in note for note in broken.notes)
    with pytest.raises(DataError, match="the official scorer stops"):
        score_file("activitynet_qa", nothing_said, folder, "official")
    few = write(folder / "few_a.json", [{"question_id": "v_a_1", "type": 3, "answer": "yes"}])
    stopped = score_file("activitynet_qa", submission(folder, v_a_1="yes"), few)
    assert stopped.official == {}
    assert any("no question of type Motion" in note for note in stopped.notes)
    assert stopped.strict["accuracy"] == 100.0


def test_our_own_rows_are_read(folder: Path) -> None:
    lines = [{"id": "v_a_1", "reply": "yes"}, {"id": "v_a_2", "reply": None, "error": {"code": "model"}}]
    path = folder / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    scores = score_file("activitynet_qa", path, folder / "test_a.json")
    assert scores.official["All"] == 0.1
    assert scores.coverage == 0.1


def test_samples_have_question_video_and_type(folder: Path) -> None:
    bench = ActivityNetQA(folder / "test_q.json")
    first = next(bench.samples())
    assert first.id == "v_a_1"
    assert first.question == "What about v_a_1? Answer the question using a single word or phrase."
    assert Path(first.media.videos[0]).name == "v_a.mp4"
    assert (first.target, first.meta["groups"]) == ("yes", {"type": "Yes/No"})
    assert len(bench) == 10


def test_questions_without_answers_can_be_asked_but_not_scored(folder: Path) -> None:
    (folder / "test_a.json").unlink()
    bench = ActivityNetQA(folder / "test_q.json")
    assert next(bench.samples()).target is None
    with pytest.raises(DataError, match="no answers to score against"):
        bench.score(bench.predictions([{"id": "v_a_1", "reply": "yes"}]))


def test_best_constant_answer(folder: Path) -> None:
    scores = score_file("activitynet_qa", submission(folder, v_a_1="yes"), folder)
    assert scores.chance["best constant accuracy"] == 10.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("{}", "non-empty JSON list"),
        ("[]", "non-empty JSON list"),
        ('[{"question_id": "v_a_1", "type": NaN, "answer": "yes"}]', "type must be 0 to 8"),
        ('[{"question_id": NaN, "type": 3, "answer": "yes"}]', 'needs "question_id"'),
        ('[{"question_id": "v_a_1", "type": 9, "answer": "yes"}]', "type must be 0 to 8"),
        ('[{"question_id": "v_a_1", "type": 3, "answer": 2}]', "answer must be a text"),
        ('[{"question_id": "v_a_1"}]', 'needs "answer" and "type"'),
    ],
)
def test_bad_annotations(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "test_a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(ActivityNetQA(path).samples())


def test_bad_predictions(folder: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        score_file("activitynet_qa", folder / "none.json", folder)
    empty = folder / "empty.json"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no answer"):
        score_file("activitynet_qa", empty, folder)
    foreign = write(folder / "other.json", [{"id": "7", "reply": "A"}])
    with pytest.raises(DataError, match="none of the 1 predictions belongs to activitynet_qa"):
        score_file("activitynet_qa", foreign, folder)
    nan = folder / "nan.jsonl"
    nan.write_text('{"id": NaN, "reply": "x"}\n{"id": "v_a_1", "reply": "yes"}\n', encoding="utf-8")
    scores = score_file("activitynet_qa", nan, folder)
    assert any("line 1: a row needs one of id, qid, question_id" in note for note in scores.notes)


def test_a_split_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="split must be one of train, val, test"):
        ActivityNetQA(split="dev")


def test_the_split_says_which_file_is_looked_for(folder: Path) -> None:
    assert ActivityNetQA(data_dir=folder).annotations_path == folder / "test_a.json"
    with pytest.raises(DataError, match="val_a.json or val_q.json"):
        list(ActivityNetQA(data_dir=folder, split="val").samples())
