"""Charades-STA and ActivityNet: the two published tvg scorers, TimeChat's parser, and the sane score."""

from __future__ import annotations

import math

import pytest

from vidcausal.benchmarks.grounding._tvg import parse_reply
from vidcausal.benchmarks.grounding.activitynet_mr import ActivityNetMR
from vidcausal.benchmarks.grounding.charades_sta import CharadesSTA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError
from vidcausal.types import Span

TEXT = "AAAAA 0.0 10.0##a person opens a door.\nBBBBB 10.0 20.0##the person sits.\n"
LENGTHS = "id,subject,length\nAAAAA,X,30.0\nBBBBB,X,20.0\n"
COCO = {
    "annotations": [
        {"image_id": "AAAAA.mp4", "caption": "a person opens a door.", "timestamp": [0.0, 10.0], "id": 0},
        {"image_id": "BBBBB.mp4", "caption": "the person sits.", "timestamp": [10.0, 20.0], "id": 1},
    ]
}


@pytest.fixture
def coco(write):
    return write("test.caption_coco_format.json", COCO)


# ---- loading ----------------------------------------------------------------------------------------------------

FORMS = {
    "charades_sta_test.txt": TEXT,
    "test.caption_coco_format.json": COCO,
    "temporal_grounding_charades.json": [
        {"video": f"{row['image_id']}", "caption": row["caption"], "timestamp": row["timestamp"]}
        for row in COCO["annotations"]
    ],
    "charades_test_release.jsonl": [
        {
            "qid": row["id"],
            "query": row["caption"],
            "duration": 30.0 - 10 * row["id"],
            "vid": row["image_id"][:5],
            "relevant_windows": [row["timestamp"]],
        }
        for row in COCO["annotations"]
    ],
}


@pytest.mark.parametrize("name", FORMS)
def test_all_published_forms_give_the_same_samples(write, name):
    write("Charades_v1_test.csv", LENGTHS)
    first, second = CharadesSTA(write(name, FORMS[name])).samples()
    assert (first.id, second.id) == ("0", "1")
    assert first.goal == "a person opens a door."
    assert second.target == (Span(10, 20),)
    assert (first.meta["duration"], second.meta["duration"]) == (30.0, 20.0)
    assert first.media.videos[0].endswith("AAAAA.mp4")


def test_without_lengths_there_is_no_chance(coco, write):
    scores = score_file("charades_sta", write("p.json", {"0": {"timestamp": [0, 10]}}), coco)
    assert scores.chance == {}
    assert any("no known length" in note for note in scores.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AAAAA 0.0 10.0 no mark\n", "line 1"),
        ("AAAAA 0.0 ten##x\n", "'ten', which is not a number"),
        ("AAAAA nan 2.0##x\n", "finite"),
        ("", "no question"),
    ],
)
def test_a_broken_line_is_named(write, text, said):
    with pytest.raises(DataError, match=said):
        len(CharadesSTA(write("charades_sta_test.txt", text)))


def test_a_reversed_true_moment_is_turned_round(write):
    """As there are four in the published train split."""
    path = write("charades_sta_train.txt", "AAAAA 8.0 7.0##x\n")
    (sample,) = CharadesSTA(path).samples()
    assert (sample.target, sample.meta["timestamp"]) == ((Span(7, 8),), (8.0, 7.0))
    scores = score_file("charades_sta", write("p.json", {"0": {"timestamp": [7, 8]}}), path)
    assert scores.strict["mIoU"] == 100.0


@pytest.mark.parametrize("value", [{"a": 1}, [1], [{"video": "a"}], {"annotations": 5}])
def test_a_json_of_another_form(write, value):
    with pytest.raises(DataError):
        len(CharadesSTA(write("x.json", value)))


def test_a_broken_length_is_named(write):
    write("Charades_v1_test.csv", "id,length\nAAAAA,-3\n")
    with pytest.raises(DataError, match="length of a video"):
        len(CharadesSTA(write("charades_sta_test.txt", TEXT)))


ANET = {
    "v_a": {"duration": 60.0, "timestamps": [[0, 30.0], [30, 30]], "sentences": [" One. ", "Two."]},
    "v_b": {"duration": 10.0, "timestamps": [[1, 2]], "sentences": ["Three."]},
}


def test_activitynet_numbers_the_sentences_across_videos(write):
    samples = list(ActivityNetMR(write("val_1.json", ANET)).samples())
    assert [(s.id, s.goal, s.meta["video"]) for s in samples] == [
        ("0", "One.", "v_a"),
        ("1", "Two.", "v_a"),
        ("2", "Three.", "v_b"),
    ]
    assert samples[1].target == (Span(30, 30),)


def test_activitynet_is_found_in_the_folder_of_the_captions(write, tmp_path):
    write("activitynet_captions/val_2.json", ANET)
    assert len(ActivityNetMR(data_dir=tmp_path, split="val_2")) == 3
    with pytest.raises(ConfigError, match="val_1, val_2, train"):
        ActivityNetMR(split="test")


@pytest.mark.parametrize(
    "broken", [{"timestamps": [[0, 1]]}, {"duration": 0}, {"timestamps": [[0, math.nan], [0, 1]]}, {"sentences": 5}]
)
def test_a_broken_video_is_an_error(write, broken):
    with pytest.raises(DataError):
        len(ActivityNetMR(write("val_1.json", {"v_a": {**ANET["v_a"], **broken}})))


# ---- official ---------------------------------------------------------------------------------------------------


def official(write, coco, rows):
    return score_file("charades_sta", write("fmt_result.json", rows), coco)


def test_both_scorers_take_their_form_and_get_the_other_in_theirs(write, coco):
    trace = official(write, coco, {"0": {"timestamp": [0, 10]}, "1": {"timestamp": [10, 15]}}).official
    timechat = official(write, coco, {"0": {"timestamp": [[0, 10]]}, "1": {"timestamp": [[10, 15], [0, 1]]}}).official
    assert trace == timechat
    assert trace["timechat"] == {"IOU 0.3": 100.0, "IOU 0.5": 100.0, "IOU 0.7": 50.0}
    assert trace["trace"] == {"IOU 0.3": 100.0, "IOU 0.5": 100.0, "IOU 0.7": 50.0, "mIOU": 0.75}


def test_trace_divides_by_rows_with_a_timestamp(write, coco):
    scores = official(write, coco, {"0": {"timestamp": [0, 10]}, "1": {}})
    assert scores.official == {"trace": {"IOU 0.3": 100.0, "IOU 0.5": 100.0, "IOU 0.7": 100.0, "mIOU": 1.0}}
    assert any("the scorer of timechat stops" in note for note in scores.notes)
    assert scores.strict["R@1 IoU=0.3"] == 50


def test_trace_counts_empty_and_unknown_ones_in_the_denominator(write, coco):
    rows = {"0": {"timestamp": [0, 10]}, "1": {"timestamp": []}, "7": {"timestamp": [0, 1]}}
    scores = official(write, coco, rows)
    assert scores.official["trace"]["IOU 0.3"] == pytest.approx(100 / 3)
    assert "timechat" not in scores.official  # it wants as many predictions as ground truths
    assert scores.strict["R@1 IoU=0.3"] == 50


def test_fewer_predictions_than_ground_truths_are_timechats_option_sample(write, coco):
    scores = official(write, coco, {"1": {"timestamp": [[10, 20]]}})
    assert scores.official["timechat"]["IOU 0.7"] == 100.0
    assert any("--sample" in note for note in scores.notes)
    assert scores.strict["R@1 IoU=0.7"] == 50


def test_a_hull_of_no_length_stops_both(write):
    path = write("x.json", {"annotations": [{**COCO["annotations"][0], "timestamp": [5, 5]}]})
    scores = official(write, path, {"0": {"timestamp": [5, 5]}})
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops") and "ZeroDivision" in note for note in scores.notes)
    assert scores.strict["mIoU"] == 100


def test_disjoint_windows_are_zero_by_the_hull_too(write, coco):
    rows = {"0": {"timestamp": [20, 30]}, "1": {"timestamp": [0, 5]}}
    assert official(write, coco, rows).official["trace"]["mIOU"] == 0.0


def test_replies_without_a_window_are_not_in_traces_denominator(write, coco):
    rows = [{"id": "0", "reply": "It happens in 0 - 10 seconds."}, {"id": "1", "reply": "I do not know."}]
    scores = score_file("charades_sta", write("predictions.jsonl", rows), coco)
    assert scores.official["trace"]["IOU 0.7"] == 100.0
    assert scores.official["timechat"]["IOU 0.7"] == 50.0
    assert scores.strict["R@1 IoU=0.7"] == 50.0
    assert scores.unparsed == 0.5


@pytest.mark.parametrize(
    ("reply", "window"),
    [
        ("The event happens in the 24.3 - 30.4 seonds.", [[24.3, 30.4]]),
        ("30 - 20", [[20.0, 30.0]]),
        ("1 - 2 and 3 - 4", [[1.0, 2.0]]),
        ("from 12 to 15 seconds", []),  # the sane parser reads it
        ("It starts at 12\nand ends at 15", [[12.0, 15.0]]),
        ("It starts at 12. It ends at 15.", []),  # a full stop parts nothing
        ("Start time: 0.8 seconds\nEnd time: 1.1 seconds\nends again at 9", [[0.8, 1.1]]),
        ("It starts at 00:00:18 and ends at 00:00:23", []),
        ("starts at 00:00:18\nends at 00:00:23", [[0.0, 0.0]]),
        ("", []),
    ],
)
def test_timechats_parser(reply, window):
    assert parse_reply(reply) == window


def test_a_number_that_stops_timechats_parser_stops_official(write, coco):
    scores = score_file("charades_sta", write("p.jsonl", [{"id": "0", "reply": "1..5 - 3"}]), coco)
    assert scores.official == {}


def test_the_files_before_the_forms_of_the_scorers_are_read(write, coco):
    replies = [{"vname": "AAAAA.mp4", "generated_cap": "0 - 10 seconds", "query": "q", "id": 0, "prompt": "p"}]
    scores = score_file("charades_sta", write("timechat.json", replies), coco)
    assert scores.official["timechat"]["IOU 0.7"] == 100.0
    events = [
        {"id": 0, "video": "AAAAA.mp4", "captions": ["a", "b"], "timestamps": [[3.0], [0.0, 10.0]], "scores": [[], []]},
        {"id": 1, "video": "BBBBB.mp4", "captions": ["a"], "timestamps": [[3.0]], "scores": [[]]},
    ]
    scores = score_file("charades_sta", write("trace.json", events), coco)
    assert scores.official == {"trace": {"IOU 0.3": 100.0, "IOU 0.5": 100.0, "IOU 0.7": 100.0, "mIOU": 1.0}}
    assert scores.strict["R@1 IoU=0.7"] == 50.0


# ---- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", '{"0": 5}', '{"99": {"timestamp": [0, 1]}}', "not json"])
def test_files_without_predictions(write, coco, text):
    with pytest.raises(DataError):
        score_file("charades_sta", write("p.json", text), coco)


@pytest.mark.parametrize("window", [[math.nan, 3], ["a", "b"], [[1]], 5, [None, None], [[[1, 2]]]])
def test_other_values_than_windows_are_wrong_under_strict(write, coco, window):
    scores = official(write, coco, {"0": {"timestamp": window}, "1": {"timestamp": [10, 20]}})
    assert scores.strict["R@1 IoU=0.7"] == 50.0


def test_unknown_ids_that_are_no_numbers_stop_official(write, coco):
    rows = [{"id": "0", "reply": "0 - 10"}, {"id": "x", "reply": "0 - 10"}]
    scores = score_file("charades_sta", write("p.jsonl", rows), coco)
    assert scores.official == {}
    assert scores.strict["R@1 IoU=0.7"] == 50.0
