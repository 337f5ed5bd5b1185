"""TVQA+: answers with moments; temporal figures of the official scorer and sane ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.tvqa_plus import TVQAPlus
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

SPANS = ((0.0, 10.0), (10.0, 20.0), (5.0, 5.0), (30.0, 40.0))


def row(number: int, **more: Any) -> dict[str, Any]:
    """Question ``number``: its right answer is the number, in digits, as published."""
    return {
        **{f"a{i}": f"Option {i} ." for i in range(5)},
        "q": "Why ?",
        "qid": 133000 + number,
        "answer_idx": str(number),
        "ts": list(SPANS[number]),
        "bbox": {"1": []},
        "vid_name": f"s01e02_seg02_clip_{number:02}",
        **more,
    }


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "tvqa_plus_val.json", [row(n) for n in range(4)])


def test_official_figures_are_shares_over_what_was_predicted(tmp_path: Path, questions: Path) -> None:
    answers = {
        "133000": [[0.0, 10.0], 0],  # right, IoU 1
        "133001": [[15.0, 25.0], 1],  # right, IoU 1/3
        "133002": [[5.0, 5.0], 0],  # wrong, and two equal points have IoU 0
    }
    scores = score_file("tvqa_plus", write(tmp_path / "s.json", {"ts_answer": answers, "bbox": {}}), questions)
    assert scores.official["qa_acc"] == pytest.approx(2 / 3)
    assert scores.official["miou"] == pytest.approx((1 + 1 / 3) / 3)
    assert scores.official["R@0.30"] == pytest.approx(2 / 3)
    assert scores.official["R@0.40"] == pytest.approx(1 / 3)
    assert scores.official["ans_span_joint_acc@.5"] == pytest.approx(1 / 3)
    assert scores.strict["accuracy"] == 50.0
    assert scores.strict["miou"] == pytest.approx(100 * (1 + 1 / 3) / 4)
    assert scores.strict["ans_span_joint_acc@.5"] == 25.0
    low, high = scores.intervals["miou"]
    assert low <= scores.strict["miou"] <= high
    assert any("overall_map" in note for note in scores.notes)


def test_a_threshold_is_what_arange_makes_of_it(tmp_path: Path) -> None:
    # 3 of 10 seconds: an IoU of exactly 0.3, below 0.30000000000000004.
    questions = write(tmp_path / "q.json", [row(0)])
    path = write(tmp_path / "s.json", {"ts_answer": {"133000": [[0.0, 3.0], 0]}})
    assert score_file("tvqa_plus", path, questions).official["R@0.30"] == 0.0


def test_one_answer_as_text_makes_all_wrong(tmp_path: Path, questions: Path) -> None:
    path = write(tmp_path / "s.json", {"ts_answer": {"133000": [[0.0, 10.0], 0], "133001": [[10.0, 20.0], "1"]}})
    scores = score_file("tvqa_plus", path, questions)
    assert scores.official["qa_acc"] == 0.0
    assert scores.official["miou"] == 1.0
    assert scores.strict["accuracy"] == 50.0


def test_the_hull_is_the_union_only_where_spans_meet(tmp_path: Path, questions: Path) -> None:
    path = write(tmp_path / "s.json", {"ts_answer": {"133000": [[20.0, 30.0], 0]}})
    assert score_file("tvqa_plus", path, questions).official["miou"] == 0.0


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"1": [[0, 1], 0]}, "KeyError: no question '1'"),
        ({"133001": 3}, "TypeError: the span of '133001' is 3"),
        ({"133001": ["now", 0]}, "TypeError: the span of '133001'"),
        ({"133001": [[1], 0]}, "TypeError: the span of '133001'"),
        ({"133001": [[1, 10**400], 0]}, "TypeError: the span of '133001'"),
    ],
)
def test_where_the_official_scorer_stops(tmp_path: Path, questions: Path, entry: Any, reason: str) -> None:
    path = write(tmp_path / "s.json", {"ts_answer": {"133000": [[0.0, 10.0], 0]} | entry})
    scores = score_file("tvqa_plus", path, questions)
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: ") and reason in note for note in scores.notes)
    assert scores.strict["miou"] == 25.0


@pytest.mark.parametrize("span", [[10.0, 0.0], [float("nan"), 3.0], [0.0, float("inf")]])
def test_spans_that_run_backward_or_nowhere(tmp_path: Path, questions: Path, span: list[float]) -> None:
    scores = score_file("tvqa_plus", write(tmp_path / "s.json", {"ts_answer": {"133000": [span, 0]}}), questions)
    assert scores.strict["miou"] == 0.0
    assert any("1 predictions have no span, or one that is reversed" in note for note in scores.notes)


def test_replies_in_words_and_structured_answers(tmp_path: Path, questions: Path) -> None:
    rows = [
        {"id": "133000", "reply": "A, from 0 to 10 s"},
        {"id": "133001", "reply": "B", "spans": [[10.0, 15.0, 0.9], [0.0, 1.0, 0.1]], "option": 1},
        {"id": "133003", "reply": "D"},
    ]
    scores = score_file("tvqa_plus", write(tmp_path / "p.json", rows), questions)
    assert scores.official["qa_acc"] == 1.0
    assert scores.official["miou"] == pytest.approx(1.5 / 3)
    assert scores.strict["ans_span_joint_acc@.5"] == 50.0
    assert scores.scored is not None
    assert scores.scored["accuracy"] == 25.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no question"),
        ({"a": 1}, "lacks qid"),
        ([row(0, ts=[3.0, 1.0])], "needs two finite seconds"),
        ([row(0, ts=[float("nan"), 1.0])], "needs two finite seconds"),
        ([row(0, answer_idx="5")], "from 0 to 4, got '5'"),
    ],
)
def test_bad_questions(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(TVQAPlus(write(tmp_path / "x.json", value)))


def test_bad_submissions(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(DataError, match="ts_answer must be an object"):
        score_file("tvqa_plus", write(tmp_path / "s.json", {"ts_answer": 3}), questions)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("tvqa_plus", write(tmp_path / "s.json", {"ts_answer": {}}), questions)
    with pytest.raises(DataError, match="does not exist"):
        score_file("tvqa_plus", tmp_path / "nothing.json", questions)


@pytest.mark.data
@pytest.mark.golden
def test_the_truth_scores_as_the_readme_says(shared_data: Path, tmp_path: Path) -> None:
    # eval/readme.txt: "QA Acc. 1.0 … Temp. mIoU0.999337089824, ASA 0.999337089824" for the annotation itself.
    path = shared_data / "annotations" / "tvqa" / "tvqa_plus_val.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    answers = {str(r["qid"]): [r["ts"], int(r["answer_idx"])] for r in rows}
    scores = score_file("tvqa_plus", write(tmp_path / "s.json", {"ts_answer": answers}), path)
    assert scores.official["qa_acc"] == 1.0
    assert f"{scores.official['miou']:.12f}" == "0.999337089824"
    assert f"{scores.official['ans_span_joint_acc@.5']:.12f}" == "0.999337089824"
