"""OVO-Bench with a handful of questions: the published rules, and the sane score beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.ovobench import OvoBench, judge
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

QUESTIONS: list[dict[str, Any]] = [
    {"id": 0, "task": "EPM", "video": "a/1.mp4", "realtime": 9, "question": "Who?", "options": ["x", "y"], "gt": 1},
    {"id": 1, "task": "HLD", "video": "a/1.mp4", "realtime": 5, "question": "Who?", "options": ["x", "y"], "gt": 0},
    {"id": 2, "task": "OCR", "video": "b.mp4", "realtime": 3.5, "question": "What?", "options": ["u", "v"], "gt": 0},
    {"id": 3, "task": "REC", "video": "c.mp4", "activity": "jump", "test_info": [{"realtime": 2, "count": 0}] * 1},
    {
        "id": 4,
        "task": "SSR",
        "video": "d.mp4",
        "test_info": [{"realtime": 1, "step": "cut", "type": 1}, {"realtime": 8, "step": "cut", "type": 0}],
    },
    {"id": 5, "task": "CRR", "video": "e.mp4", "question": "Why?", "test_info": [{"realtime": 4, "type": 1}]},
]
RIGHT = {"0": "B", "1": "A", "2": "A", "3_0": "0", "4_0": "Yes", "4_1": "No", "5_0": "Yes"}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def results(replies: dict[str, Any]) -> dict[str, Any]:
    """The official results file."""
    found: dict[str, Any] = {"backward": [], "realtime": [], "forward": []}
    for q in QUESTIONS:
        if "gt" in q:
            part = "realtime" if q["task"] == "OCR" else "backward"
            row = {"id": q["id"], "task": q["task"], "ground_truth": "AB"[q["gt"]], "response": replies[str(q["id"])]}
            found[part].append(row)
        else:
            asked = [{**m, "response": replies[f"{q['id']}_{i}"]} for i, m in enumerate(q["test_info"])]
            found["forward"].append({**q, "test_info": asked})
    return found


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "ovo_bench_new.json", QUESTIONS)


def test_samples_ask_at_a_moment(questions: Path) -> None:
    samples = {sample.id: sample for sample in OvoBench(questions).samples()}
    assert list(samples) == list(RIGHT)
    first = samples["0"]
    assert "Options:\nA. x; B. y;\n" in first.question
    assert first.target == 1
    assert [(span.start, span.end) for span in first.media.clip_spans] == [(0.0, 9.0)]
    assert first.media.videos[0].endswith("a/1.mp4")
    assert "How many times did they jump?" in samples["3_0"].question
    assert samples["4_1"].target == 1
    assert samples["4_1"].options == ("Yes", "No")
    assert samples["5_0"].meta["groups"] == {"task": "CRR", "part": "Forward"}


def test_the_official_cut_of_a_video_is_preferred(questions: Path) -> None:
    (questions.parent / "videos").mkdir()
    (questions.parent / "videos" / "4_1.mp4").touch()
    media = {sample.id: sample.media for sample in OvoBench(questions).samples()}
    assert media["4_1"].videos[0].endswith("videos/4_1.mp4")
    assert media["4_1"].clip_spans == ()


def test_official_file_folder_and_our_rows_score_the_same(questions: Path, tmp_path: Path) -> None:
    one = score_file("ovobench", write(tmp_path / "r.json", results(RIGHT)), questions)
    assert one.official == {
        **dict.fromkeys(("EPM", "HLD", "OCR", "REC", "SSR", "CRR"), 100.0),
        **dict.fromkeys(("Backward", "Realtime", "Forward", "Total"), 100.0),
    }
    folder = tmp_path / "results"
    folder.mkdir()
    whole = results(RIGHT)
    for part in whole:
        write(folder / f"{part}.json", {other: rows if other == part else [] for other, rows in whole.items()})
    assert score_file("ovobench", folder, questions) == one
    rows = tmp_path / "p.jsonl"
    rows.write_text("\n".join(json.dumps({"id": i, "reply": r}) for i, r in RIGHT.items()))
    ours = score_file("ovobench", rows, questions)
    assert ours.official == one.official
    assert ours.strict == one.strict
    assert ours.strict["accuracy"] == ours.strict["Total"] == 100.0


def test_means_of_tasks_then_of_parts(questions: Path, tmp_path: Path) -> None:
    replies = {**RIGHT, "1": None, "4_0": "No", "2": "The Answer"}
    scores = score_file("ovobench", write(tmp_path / "r.json", results(replies)), questions)
    assert scores.official["Backward"] == 50.0
    assert scores.official["SSR"] == 50.0
    assert scores.official["Forward"] == 83.33
    assert scores.official["OCR"] == 100.0  # the A of "Answer"
    assert scores.official["Total"] == 77.78
    assert scores.strict["Realtime"] == 0.0
    assert scores.unparsed == pytest.approx(1 / 6)
    assert scores.coverage == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("part", "task", "truth", "reply", "hits"),
    [
        ("Backward", "EPM", "A", "ABCD", [1]),
        ("Backward", "EPM", "A", "a", [0]),
        ("Realtime", "OCR", "B", None, [0]),
        ("Forward", "REC", 12, "1 or 2", [1]),
        ("Forward", "REC", 3, "three", [0]),
        ("Forward", "REC", 3, "٣", [0]),
        ("Forward", "SSR", 1, "Y", [1]),
        ("Forward", "SSR", 0, "N", [1]),
        ("Forward", "SSR", 0, "Y", [0]),
        ("Forward", "CRR", 0, "Now I see it", [1]),
        ("Forward", "CRR", 1, "yes", [0]),
        ("Forward", "CRR", 1, "No. Yes.", [1]),
        ("Forward", "???", 1, "Yes", []),
    ],
)
def test_published_rules(part: str, task: str, truth: Any, reply: str | None, hits: list[int]) -> None:
    into: list[int] = []
    judge({"part": part, "task": task, "truth": truth, "reply": reply}, into)
    assert into == hits


def test_without_one_of_the_parts_the_official_scorer_stops(questions: Path, tmp_path: Path) -> None:
    half = {**results(RIGHT), "forward": []}
    scores = score_file("ovobench", write(tmp_path / "r.json", half), questions)
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops") and "forward" in note for note in scores.notes)
    assert scores.strict["accuracy"] == pytest.approx(300 / 7)


def test_official_rows_hold_their_own_truth_and_may_repeat(questions: Path, tmp_path: Path) -> None:
    twice = results(RIGHT)
    twice["backward"].append({"id": 0, "task": "EPM", "ground_truth": "D", "response": "B"})
    twice["realtime"].append({"id": 99, "task": "STU", "ground_truth": "C", "response": "C"})
    scores = score_file("ovobench", write(tmp_path / "r.json", twice), questions)
    assert scores.official["EPM"] == 50.0
    assert scores.official["STU"] == 100.0
    assert scores.strict["accuracy"] == 100.0
    assert any("unknown id" in note for note in scores.notes)


def test_bad_files(questions: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "r.json", results(RIGHT))
    with pytest.raises(DataError, match="does not exist"):
        score_file("ovobench", tmp_path / "none.json", questions)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("ovobench", write(tmp_path / "e.json", {}), questions)
    with pytest.raises(DataError, match="folder without .json"):
        score_file("ovobench", (tmp_path / "empty").mkdir() or tmp_path / "empty", questions)
    with pytest.raises(DataError, match="must be a JSON list"):
        score_file("ovobench", good, write(tmp_path / "q.json", {"a": 1}))
    with pytest.raises(DataError, match="gt must be the number"):
        score_file("ovobench", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "gt": float("nan")}]))
    with pytest.raises(DataError, match="task must be one of"):
        score_file("ovobench", good, write(tmp_path / "q.json", [{**QUESTIONS[0], "task": "XYZ"}]))
    number = results({**RIGHT, "0": float("nan")})
    scores = score_file("ovobench", write(tmp_path / "n.json", number), questions)
    assert scores.official == {}
    assert any("TypeError" in note for note in scores.notes)
