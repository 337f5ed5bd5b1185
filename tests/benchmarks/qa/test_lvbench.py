"""LVBench with a few questions in both published forms: four rules, several types a question, the sane score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.lvbench import LvBench, polish
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

OPTIONS = ["(A) 1636", "(B) 1366", "(C) 1363", "(D) 1633"]
CLEAN: list[dict[str, Any]] = [
    {
        "video": video,
        "type": kind,
        "question": f"Q{i}?",
        "candidates": OPTIONS,
        "answer": answer,
        "question_type": types,
    }
    for i, (video, kind, answer, types) in enumerate(
        [
            ("0", "tv", "(D) 1633", ["reasoning"]),
            ("0", "tv", "(A) 1636", ["reasoning", "summarization"]),
            ("1", "live", "(B) 1366", ["summarization"]),
        ]
    )
]


def official_entry(number: int, q: dict[str, Any]) -> dict[str, Any]:
    """A question as video_info.meta.jsonl has it: with the options in it."""
    asked = "\n".join((q["question"], *OPTIONS))
    return {"uid": str(number), "question": asked, "answer": q["answer"][1], "question_type": q["question_type"]}


META = [
    {
        "key": video,
        "type": kind,
        "qa": [official_entry(10 + i, q) for i, q in enumerate(CLEAN) if q["video"] == video],
    }
    for video, kind in (("0", "tv"), ("1", "live"))
]


def write(path: Path, value: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write(tmp_path / "lvbench_clean.json", CLEAN)


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    return write(tmp_path / "video_info.meta.jsonl", META)


def official(questions: Path, path: Path, rule: str) -> dict[str, Any]:
    bench = LvBench(questions, rule=rule)
    return bench.score(bench.predictions(bench.read_submission(path).rows)).official


def test_both_forms_hold_the_same_questions(clean: Path, meta: Path) -> None:
    ours, theirs = list(LvBench(clean).samples()), list(LvBench(meta).samples())
    assert [s.id for s in ours] == ["0", "1", "2"]
    assert [s.id for s in theirs] == ["10", "11", "12"]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.question, one.options, one.target, one.meta) == (
            other.question,
            other.options,
            other.target,
            other.meta,
        )
    assert ours[0].options == ("1636", "1366", "1363", "1633")
    assert ours[0].question == "\n".join(("Q0?", *OPTIONS, "Answer the question with the option letter"))


def test_official_answers(meta: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "answers.json", {"10": "D", "11": "B", "12": "B", "99": "A"})
    scores = score_file("lvbench", path, meta)
    assert scores.official == {
        "rule": "lvbench",
        "reasoning": 0.5,
        "summarization": 0.5,
        "acc": pytest.approx(2 / 3),
        "overall by rule": dict.fromkeys(
            ("lvbench", "lvbench-polished", "lmms-eval", "lmms-eval-older"), pytest.approx(2 / 3)
        ),
    }
    assert scores.strict["by question type"] == {"reasoning": 50.0, "summarization": 50.0}
    assert scores.strict["by video type"] == {"live": 100.0, "tv": 50.0}
    assert any("1 predictions have an unknown id" in note for note in scores.notes)


def test_rules(clean: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": i, "reply": r} for i, r in enumerate(("(D) 1633", "A", "Answer: B"))])
    assert official(clean, path, "lvbench")["overall by rule"] == {
        "lvbench": pytest.approx(1 / 3),
        "lvbench-polished": pytest.approx(2 / 3),
        "lmms-eval": 1.0,
        "lmms-eval-older": pytest.approx(2 / 3),
    }
    assert score_file("lvbench", path, clean).strict["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("(B) x", "B"), (" C) y", "C"), ("The answer is (D", "D"), ("the answer is B", "t"), ("", ""), ("(", "")],
)
def test_polish(reply: str, letter: str) -> None:
    assert polish(reply) == letter


def test_bad_files(clean: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "p.json", {"0": "A"})
    with pytest.raises(DataError, match="does not exist"):
        score_file("lvbench", tmp_path / "none.json", clean)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("lvbench", write(tmp_path / "e.json", {}), clean)
    with pytest.raises(DataError, match="an answer must be text, got nan"):
        score_file("lvbench", write(tmp_path / "n.json", {"0": float("nan")}), clean)
    with pytest.raises(DataError, match="is not a file of lvbench"):
        score_file("lvbench", good, write(tmp_path / "q.json", [1]))
    with pytest.raises(DataError, match="none of the candidates"):
        score_file("lvbench", good, write(tmp_path / "q.json", [{**CLEAN[0], "answer": "(E) x"}]))
    with pytest.raises(DataError, match="question must be text, got nan"):
        score_file("lvbench", good, write(tmp_path / "q.json", [{**CLEAN[0], "question": float("nan")}]))


@pytest.mark.data
def test_the_published_questions(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations/lvbench/lvbench_clean.json"
    answers = {s.id: "ABCD"[s.target or 0] for s in LvBench(path).samples()}
    scores = score_file("lvbench", write(tmp_path / "a.json", answers), path)
    assert scores.official["acc"] == 1.0
    assert set(scores.official) - {"rule", "acc", "overall by rule"} == {
        "entity recognition",
        "event understanding",
        "key information retrieval",
        "temporal grounding",
        "reasoning",
        "summarization",
    }
    assert scores.count == 1519
