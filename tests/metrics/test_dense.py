from __future__ import annotations

import pytest

from vidcausal.metrics.caption_tools import CaptionTools
from vidcausal.metrics.dense import (
    NO_MATCH,
    THRESHOLDS,
    SodaRun,
    TimedCaption,
    ascii_only,
    covered,
    densevid_eval,
    pairs_at,
    soda_eval,
    timechat_eval,
    timechat_videos,
)
from vidcausal.metrics.soda import hull_iou

A, B = TimedCaption(0, 10, "cut the onion"), TimedCaption(10, 20, "fry the onion")
TRUTH = {"v": [A, B], "w": [TimedCaption(0, 5, "serve the dish now")]}


class _Meteor:
    """Stands for METEOR: 1 for equal captions, else 0; counts by candidate."""

    def score(self, candidates: list[str], references: list[list[str]]) -> tuple[float, list[float]]:
        each = [float(c in of_one) for c, of_one in zip(candidates, references, strict=True)]
        return (sum(each) / len(each) if each else 0.0), each


def _tools() -> CaptionTools:
    return CaptionTools(meteor=_Meteor())  # type: ignore[arg-type]


def _overlap(a: TimedCaption, b: TimedCaption) -> float:
    return hull_iou(a.span, b.span)


def test_pairs_and_what_overlaps_none() -> None:
    far = TimedCaption(90, 99, "look away")
    candidates, references = pairs_at([A, far], [[A, B]], 0.3, _overlap)
    assert candidates == [A.text, "look away"]
    assert references == [[A.text], [NO_MATCH]]


def test_precision_wants_more_than_the_threshold_and_captions_at_least() -> None:
    event, truth = TimedCaption(0, 3, "x"), TimedCaption(0, 10, "y")
    exact = _overlap(event, truth)
    assert pairs_at([event], [[truth]], exact, _overlap)[1] == [["y"]]
    assert covered([event], [truth], exact, _overlap) == (0, 0)
    assert covered([event], [truth], exact - 1e-9, _overlap) == (1, 1)


def test_perfect_events() -> None:
    printed, each = timechat_eval(TRUTH, TRUTH, _tools())
    assert (printed["F1_Score"], printed["METEOR"], printed["SODA_c_2"], printed["n_preds"]) == (100, 100, 100, 1.5)
    assert printed["SODA_c_1"] == -100
    assert set(each) == {"v", "w"}
    assert soda_eval(TRUTH, [TRUTH], _tools())["-s c"] == {"precision": 100, "recall": 100, "f1": 100}
    found = densevid_eval(TRUTH, [TRUTH], _tools())
    assert list(found) == [*map(str, THRESHOLDS), "average"]
    assert (found["average"]["Precision"], found["average"]["ROUGE_L"]) == (100, 100)


def test_a_video_without_prediction_counts_as_nothing_except_for_soda() -> None:
    printed, each = timechat_eval({"v": [A, B]}, TRUTH, _tools())
    assert printed["F1_Score"] == 50
    assert each["w"]["CIDER"] == 0
    assert densevid_eval({"v": [A, B]}, [TRUTH], _tools())["average"]["Recall"] == 50
    assert soda_eval({"v": [A, B]}, [TRUTH], _tools())["-s d"]["f1"] == 100


def test_the_split_names_soda() -> None:
    each = timechat_videos({"v": [A, B]}, TRUTH, _tools(), split="train")
    assert (each["v"]["SODA_c_1"], each["v"]["SODA_c_2"]) == (pytest.approx(1), -1)
    assert "SODA_c_3" in timechat_videos({"v": [A, B]}, TRUTH, _tools(), split="test")["v"]


def test_beyond_ten_events_captions_and_spans_come_apart() -> None:
    events = [TimedCaption(10 * i, 10 * i + 10, f"step number{i}") for i in range(12)]
    each = timechat_videos({"v": events}, {"v": events}, _tools())["v"]
    # As text the numbers are 0, 1, 10, 11, 2, …: only 0 and 1 meet their own captions.
    assert each["SODA_c_2"] == pytest.approx(2 / 12)
    assert each["F1_Score"] == 1
    assert timechat_videos({"v": events[:10]}, {"v": events[:10]}, _tools())["v"]["SODA_c_2"] == pytest.approx(1)


def test_reversed_spans_are_turned_around_by_timechat_alone() -> None:
    turned = {"v": [TimedCaption(10, 0, A.text)]}
    assert timechat_videos(turned, TRUTH, _tools())["v"]["Precision@0.9"] == 1
    assert densevid_eval(turned, [TRUTH], _tools())["average"]["Precision"] == 0


def test_paragraphs_are_paired_by_their_place() -> None:
    truths = {"a": [TimedCaption(0, 1, "x y z")], "b": [TimedCaption(0, 1, "p q r")], "c": [TimedCaption(0, 1, "k l")]}
    right, _ = timechat_eval({"a": truths["a"], "b": truths["b"]}, truths, _tools())
    wrong, _ = timechat_eval({"b": truths["b"], "c": truths["c"]}, truths, _tools())
    assert right["Para_METEOR"] == 100
    assert wrong["Para_METEOR"] == 0


def test_two_sets_of_annotations() -> None:
    second = {"v": [TimedCaption(0, 20, "cook")]}
    found = densevid_eval({"v": [A, B]}, [TRUTH, second], _tools())
    assert found["0.9"]["Precision"] == 50  # v: best set 100 %, w: not predicted
    runs = soda_eval({"v": [A, B]}, [TRUTH, second], _tools())
    assert runs["-s c -mr"]["f1"] == 100
    assert runs["-s c"]["f1"] < 100


def test_without_meteor_its_figures_are_left_out() -> None:
    tools = CaptionTools()
    printed, _ = timechat_eval(TRUTH, TRUTH, tools)
    assert not [name for name in printed if "METEOR" in name or "SODA" in name]
    assert printed["F1_Score"] == 100
    assert set(soda_eval(TRUTH, [TRUTH], tools)) == {"-s d", "-s c -m Cider"}
    assert "METEOR" not in densevid_eval(TRUTH, [TRUTH], tools)["average"]


def test_only_the_first_thousand_events() -> None:
    many = [TimedCaption(90, 99, "nothing")] * 1000 + [A]
    assert densevid_eval({"v": many}, [TRUTH], _tools())["0.3"]["Precision"] == 0


def test_what_stops_the_published_code() -> None:
    with pytest.raises(ValueError, match="no predicted video has an event"):
        densevid_eval({"v": []}, [TRUTH], _tools())
    with pytest.raises(ValueError, match="without an event"):
        soda_eval({"v": []}, [TRUTH], _tools(), runs=[SodaRun("-s d", "d", "none")])


def test_ascii_only() -> None:
    assert ascii_only("crème 350°") == "cr me 350 "
