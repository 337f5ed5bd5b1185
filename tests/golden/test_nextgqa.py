"""NExT-GQA's eval_ground.py over HQGA's real answers and windows made by four rules."""

from __future__ import annotations

import json

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]

RULES = {
    "[0,duration]": lambda duration, segments: [0, duration],
    "[round(0.25*duration,1),round(0.75*duration,1)]": lambda duration, segments: [
        round(0.25 * duration, 1),
        round(0.75 * duration, 1),
    ],
    "first gt span": lambda duration, segments: segments[0],
    "[m,m] with m=round(duration/2,1)": lambda duration, segments: [round(duration / 2, 1)] * 2,
}
COLUMNS = ("Acc&GQA", "mIoP", "TIoP@0.3", "TIoP@0.5", "mIoU", "TIoU@0.3", "TIoU@0.5")


@pytest.fixture
def windows(annotations):
    moments = json.loads((annotations / "nextgqa" / "gsub_test.json").read_text(encoding="utf-8"))

    def make(rule):
        return {
            f"{video}_{qid}": RULES[rule](about["duration"], segments)
            for video, about in moments.items()
            for qid, segments in about["location"].items()
        }

    return make


@pytest.mark.parametrize("rule", RULES)
def test_the_official_folder_gives_the_recorded_line(rule, windows, golden, annotations, tmp_path, compared):
    recorded = golden("nextgqa")
    (tmp_path / "test_ground_ada.json").write_text(json.dumps(windows(rule)))
    (tmp_path / "test-res.json").write_text(json.dumps(golden("nextqa_HQGA_test")))
    scores = score_file("nextgqa", tmp_path, annotations / "nextgqa" / "test.csv")
    case = next(case for case in recorded["cases"] if case["spans"] == rule)
    assert [scores.official[column] for column in COLUMNS] == case["recorded"]
    compared("nextgqa", len(COLUMNS))


def test_every_recorded_rule_is_looked_at(golden):
    assert {case["spans"] for case in golden("nextgqa")["cases"]} == set(RULES)


def test_one_file_with_both_gives_the_same_line(windows, golden, annotations, tmp_path):
    """Windows and answers by id, and the moments' file as the annotations."""
    rule = "[round(0.25*duration,1),round(0.75*duration,1)]"
    answers = golden("nextqa_HQGA_test")
    rows = [{"id": key, "span": window, **answers[key]} for key, window in windows(rule).items()]
    path = tmp_path / "both.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    scores = score_file("nextgqa", path, annotations / "nextgqa" / "gsub_test.json")
    case = next(case for case in golden("nextgqa")["cases"] if case["spans"] == rule)
    assert [scores.official[column] for column in COLUMNS] == case["recorded"]
    # Every question has a window, so that both policies count the same.
    assert scores.strict["Acc@GQA"] == pytest.approx(scores.official["Acc&GQA"], abs=0.05)
    assert scores.strict["mIoU"] == pytest.approx(scores.official["mIoU"], abs=0.05)
    assert scores.coverage == 1.0


def test_our_own_rows_give_the_same_line(windows, golden, annotations, tmp_path):
    rule = "[0,duration]"
    answers = golden("nextqa_HQGA_test")
    rows = [
        {"id": key, "reply": f"({'ABCDE'[answers[key]['prediction']]}) from {start} to {end} seconds"}
        for key, (start, end) in windows(rule).items()
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    scores = score_file("nextgqa", path, annotations / "nextgqa" / "test.csv")
    case = next(case for case in golden("nextgqa")["cases"] if case["spans"] == rule)
    assert [scores.official[column] for column in COLUMNS] == case["recorded"]
