"""LongVideoBench with a few questions: the published rule with its random draw, and the sane score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.longvideobench import LongVideoBench
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

QUESTIONS: list[dict[str, Any]] = [
    {
        "id": f"v_{i}",
        "video_id": "v",
        "video_path": "v.mp4",
        "subtitle_path": "v_en.json",
        "question": "When?",
        "candidates": ["x", "y", "z", "w"][:options],
        "correct_choice": right,
        "duration_group": group,
        "question_category": category,
        "topic_category": "KA",
        "level": "L1",
        "duration": 12.0,
    }
    for i, (options, right, group, category) in enumerate(
        [(4, 0, 15, "S2E"), (4, 1, 15, "S2E"), (4, 2, 60, "S2E"), (2, 1, 60, "T2O")]
    )
]


def write(path: Path, value: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "lvb_val.json", QUESTIONS)


def test_samples(questions: Path) -> None:
    first = next(LongVideoBench(questions).samples())
    assert first.question == (
        "When?\nA. x\nB. y\nC. z\nD. w\nAnswer with the option's letter from the given choices directly.\n"
    )
    assert first.media.subtitles is None
    (questions.parent / "subtitles").mkdir()
    (questions.parent / "subtitles" / "v_en.json").touch()
    first = next(LongVideoBench(questions, subtitles=True).samples())
    assert first.media.subtitles == str(questions.parent / "subtitles" / "v_en.json")


def test_official_submission(questions: Path, tmp_path: Path) -> None:
    replies = {"v_0": "The best answer is A", "v_1": "Because of this, B", "v_2": "D", "v_3": "B"}
    scores = score_file("longvideobench", write(tmp_path / "s.json", replies), questions)
    assert scores.official == {
        "lvb_acc": 0.75,
        "15": {"num": 2, "acc": 1.0},
        "S2E": {"num": 3, "acc": 0.66667},
        "60": {"num": 2, "acc": 0.5},
        "T2O": {"num": 1, "acc": 1.0},
        "Overall": {"num": 8, "acc": 0.75},
    }
    assert scores.strict["accuracy"] == 50.0  # "Because of this, B" is not taken for an answer
    assert scores.strict["by duration group"] == {"15": 50.0, "60": 50.0}
    rows = [{"id": i, "reply": reply} for i, reply in replies.items()]
    assert score_file("longvideobench", write(tmp_path / "p.jsonl", rows), questions) == scores


def test_a_reply_without_a_letter_counts_as_its_chance(questions: Path, tmp_path: Path) -> None:
    replies = {"v_0": "A", "v_1": "unclear", "v_3": "no"}
    scores = score_file("longvideobench", write(tmp_path / "s.json", replies), questions)
    assert scores.official["lvb_acc"] == round((1 + 1 / 4 + 1 / 2) / 3, 5)
    assert any("2 replies hold none of A to E" in n and "0.33333 and 1.00000" in n for n in scores.notes)
    assert scores.strict["accuracy"] == 25.0
    assert scores.unparsed == pytest.approx(2 / 3)


def test_a_test_split_has_no_answers(tmp_path: Path) -> None:
    hidden = [{key: value for key, value in row.items() if key != "correct_choice"} for row in QUESTIONS]
    path = write(tmp_path / "lvb_test_wo_gt.json", hidden)
    assert len(LongVideoBench(path)) == 4
    with pytest.raises(DataError, match="no answers to score against"):
        score_file("longvideobench", write(tmp_path / "s.json", {"v_0": "A"}), path)


def test_bad_files(questions: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "s.json", {"v_0": "A"})
    with pytest.raises(DataError, match="does not exist"):
        score_file("longvideobench", tmp_path / "none.json", questions)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("longvideobench", write(tmp_path / "e.json", {}), questions)
    with pytest.raises(DataError, match="a reply must be text, got nan"):
        score_file("longvideobench", write(tmp_path / "n.json", {"v_0": float("nan")}), questions)
    with pytest.raises(DataError, match="must be a JSON list"):
        score_file("longvideobench", good, write(tmp_path / "q.json", {"a": 1}))
    with pytest.raises(DataError, match="correct_choice must be the number"):
        score_file("longvideobench", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "correct_choice": 9}]))
    with pytest.raises(DataError, match="correct_choice must be the number"):
        score_file(
            "longvideobench", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "correct_choice": float("nan")}])
        )


@pytest.mark.data
def test_the_published_questions(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations/longvideobench/lvb_val.json"
    replies = {s.id: "ABCDE"[s.target or 0] for s in LongVideoBench(path).samples()}
    scores = score_file("longvideobench", write(tmp_path / "s.json", replies), path)
    assert scores.official["Overall"] == {"num": 2674, "acc": 1.0}
    assert scores.strict["accuracy"] == 100.0
