"""500 windows on Charades-STA, scored by the eval_tvg.py of TimeChat and of TRACE."""

from __future__ import annotations

import json

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]

ANNOTATIONS = ("test.caption_coco_format.json", "charades_sta_test.txt", "temporal_grounding_charades.json")


def _timechat(item):
    return {"timestamp": [item["pred"]] if item["pred"] else []}


def _trace(item):
    return {"timestamp": item["pred"] or []}


@pytest.mark.parametrize("file", ANNOTATIONS)
@pytest.mark.parametrize("row", [_timechat, _trace])
def test_recorded_figures(file, row, golden, annotations, tmp_path, compared):
    recorded = golden("charades_tvg")
    path = tmp_path / "fmt_charades_test_result.json"
    path.write_text(json.dumps({str(item["id"]): row(item) for item in recorded["items"]}))
    official = score_file("charades_sta", path, annotations / "charades_sta" / file).official
    trace, printed = recorded["results"]["trace"], recorded["results"]["timechat_stdout"]
    assert [f"{name}: {value}" for name, value in official["timechat"].items()] == printed[1:]
    assert {t: official["trace"][f"IOU {t}"] for t in (0.3, 0.5, 0.7)} == {
        t: trace[f"R@1 IoU>={t}"] for t in (0.3, 0.5, 0.7)
    }
    assert round(100 * official["trace"]["mIOU"], 6) == trace["mIoU_times_100"]
    compared("charades_sta", 7)


def test_the_recorded_rows_themselves_are_read(golden, annotations, tmp_path):
    recorded = golden("charades_tvg")
    path = tmp_path / "items.json"
    path.write_text(json.dumps(recorded["items"]))
    scores = score_file("charades_sta", path, annotations / "charades_sta" / ANNOTATIONS[0])
    assert scores.official["trace"]["IOU 0.3"] == recorded["results"]["trace"]["R@1 IoU>=0.3"]
    assert scores.count == 3720
    assert scores.coverage == pytest.approx(500 / 3720)
    # Strict divides by all 3,720 ground truths.
    assert scores.strict["R@1 IoU=0.3"] < 9.0 * 500 / 3720 + 0.2
