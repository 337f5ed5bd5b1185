"""The formats against the annotations they come from, and field by field against the official files."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections import Counter

import pytest

import vidcausal as vc
from vidcausal.benchmarks.vcrbench import VCRBench
from vidcausal.errors import UnknownNameError
from vidcausal.types import Span
from vidcausal.video.clips import clip_spans, find_title_cards
from vidcausal.video.decode import open_video
from vidcausal.video.edit import Piece, join_clips
from vidcausal.worlds.annotations import annotate, read_annotations
from vidcausal.worlds.formats import FORMATS, load_format, nextgqa, nextqa, qvhighlights, vcrbench
from vidcausal.worlds.registry import create_world


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Annotations of sixty samples, and their formats without videos."""
    world = create_world("tiny")
    rows = [annotate(world, world.tell(seed, "test"), size=64, fps=8) for seed in range(60)]
    folder = tmp_path_factory.mktemp("formats")
    return rows, folder, {name: load_format(name).write(rows, folder / name) for name in FORMATS}


def test_every_format_writes_the_files_it_names(many):
    _, folder, _ = many
    for name in FORMATS:
        assert sorted(p.name for p in (folder / name).iterdir()) == sorted(load_format(name).FILES)
        assert load_format(name).SUMMARY
    with pytest.raises(UnknownNameError, match="'nextqa'"):
        load_format("nextq")


# ---- VCRBench ---------------------------------------------------------------------------------------------------


def test_vcrbench_runs_unchanged(tiny_folder, tmp_path):
    data = tiny_folder / "formats/vcrbench"
    report = vc.evaluate(
        "rrd",
        "vcrbench",
        model="scripted-identity",
        data_dir=data,
        output_dir=tmp_path,
        frames="uniform-8",
        cache=False,
        progress=False,
    )
    assert report.num_errors == 0
    truths = [row["ground_truth"] for row in json.loads((data / "data.json").read_text())]
    assert report.num_samples == len(truths) == 5
    right = sum(truth == sorted(truth) for truth in truths)
    assert report.scores.strict["accuracy"] == pytest.approx(100 * right / len(truths))
    assert VCRBench(data_dir=data).missing_videos() == []


def test_the_true_order_puts_the_shown_clips_right(many):
    rows, folder, counts = many
    usable = [row for row in rows if len(row["valid_orders"]) == 1]
    data = json.loads((folder / "vcrbench/data.json").read_text())
    assert counts["vcrbench"] == {"questions": len(usable), "left_out": len(rows) - len(usable)}
    assert [entry["qid"] for entry in data] == [str(k) for k in range(1, len(usable) + 1)]
    for entry, row in zip(data, usable, strict=True):
        shown = [row["clips"][index]["start"] for index in row["clip_order"]]
        ordered = [shown[number] for number in entry["ground_truth"]]
        assert ordered == sorted(shown)
        assert entry["goal"] == row["goal"]
    lengths = Counter(len(entry["ground_truth"]) for entry in data)
    orders = {tuple(e["ground_truth"]) for e in data if len(e["ground_truth"]) == 4}
    assert len(orders) > min(15, lengths[4] // 3), "all orders occur"


def test_an_order_that_is_not_the_told_one_can_be_the_right_one():
    world = create_world("tiny")
    row = annotate(world, world.tell(0, "test"), size=64, fps=8)
    row |= {"clip_order": [1, 2, 0, 3], "valid_orders": [[1, 0, 2, 3]]}
    (question,) = vcrbench.questions([row])
    assert question.ground_truth == (0, 2, 1, 3)


def test_cards_stand_where_the_spans_say(tiny_folder):
    folder = tiny_folder / "formats/vcrbench"
    samples = VCRBench(annotations=folder / "clips.jsonl").samples()
    for sample, number in itertools.islice(zip(samples, itertools.count(1), strict=False), 3):
        with open_video(folder / f"videos/video_{number}.mp4") as video:
            cards = find_title_cards(video)
            found = clip_spans(cards, video.info)
        assert [(s.start, s.end) for s in found] == [
            pytest.approx((s.start, s.end), abs=1e-3) for s in sample.media.clip_spans
        ]
        assert [card.span.duration for card in cards] == pytest.approx([1.0] * len(cards))


def test_spans_are_those_of_the_joined_video(tiny_folder, tmp_path):
    row = read_annotations(tiny_folder)[0] | {"fps": 7}
    row["clips"] = [clip | {"end": clip["end"] + 0.3} for clip in row["clips"]]
    (question,) = vcrbench.questions([row])
    pieces = [Piece(str(tiny_folder / row["video"]), Span(*span)) for span in question.spans]
    joined = join_clips(pieces, tmp_path / "a.mp4", size=(96, 96), fps=7)
    assert [(round(s.start, 3), round(s.end, 3)) for s in joined] == question.shown


@pytest.mark.data
def test_vcrbench_has_the_official_fields(many, shared_data):
    _, folder, _ = many
    official = json.loads((shared_data / "annotations/vcrbench/data.json").read_text())
    ours = json.loads((folder / "vcrbench/data.json").read_text())
    assert {frozenset(row) for row in ours} == {frozenset(row) for row in official}
    answers = json.loads((shared_data / "annotations/vcrbench/response_1.json").read_text())
    assert type(ours[0]["qid"]) is type(answers[0]["qid"]) is str
    assert [row["video_file"] for row in ours[:3]] == [row["video_file"] for row in answers[:3]]


# ---- moments ----------------------------------------------------------------------------------------------------

_STA = re.compile(r"^(\S+) (\d+\.\d+) (\d+\.\d+)##(\S.*)$")


def test_charades_sta_says_every_event(many):
    rows, folder, counts = many
    text = (folder / "charades_sta/charades_sta_test.txt").read_text()
    events = [(row, event) for row in rows for event in row["events"]]
    assert counts["charades_sta"]["sentences"] == len(events) == text.count("\n")
    used = Counter()
    for line, (row, event) in zip(text.splitlines(), events, strict=True):
        vid, start, end, sentence = _STA.match(line).groups()
        assert (vid, float(start), float(end)) == (row["id"], event["start"], event["end"])
        assert sentence.endswith(".")
        used[event["wordings"].index(sentence[:-1])] += 1
    assert min(used[k] for k in range(3)) > len(events) / 5, "the wordings take turns"
    lengths = {row["id"]: float(row["length"]) for row in table(folder / "charades_sta/Charades_v1_test.csv")}
    assert lengths == {row["id"]: row["duration"] for row in rows}


@pytest.mark.data
def test_charades_sta_has_the_official_form(many, shared_data):
    _, folder, _ = many
    official = shared_data / "annotations/charades_sta"
    theirs = (official / "charades_sta_test.txt").read_text().splitlines()
    ours = (folder / "charades_sta/charades_sta_test.txt").read_text().splitlines()
    assert all(_STA.match(line) for line in theirs + ours)
    heads = [(f / "Charades_v1_test.csv").read_bytes().split(b"\n")[0] for f in (official, folder / "charades_sta")]
    assert heads[0] == heads[1]
    first = table(official / "Charades_v1_test.csv")[0]
    own = table(folder / "charades_sta/Charades_v1_test.csv")[0]
    for column in ("quality", "relevance", "length"):
        assert float(own[column]) > 0
        assert float(first[column]) > 0
    assert own["verified"] == first["verified"] == "Yes"


@pytest.mark.parametrize(
    ("span", "clips"),
    [
        ((4.0, 6.0), [2]),
        ((3.0, 5.0), [1, 2]),
        ((3.75, 5.25), [2]),
        ((3.25, 4.5), [1]),
        ((1.5, 2.5), [0, 1]),
        ((0.0, 0.5), [0]),
        ((9.9, 10.0), [4]),
        ((1.0, 7.0), [0, 1, 2, 3]),
        ((1.25, 6.75), [1, 2]),
    ],
)
def test_which_clips_an_event_is_relevant_for(span, clips):
    assert qvhighlights.relevant_clips(*span) == clips


def test_qvhighlights_agrees_with_itself(many):
    rows, folder, _ = many
    durations = {row["id"]: row["duration"] for row in rows}
    queries = lines(folder / "qvhighlights/highlight_val_release.jsonl")
    assert len({query["qid"] for query in queries}) == len(queries) == sum(len(row["events"]) for row in rows)
    for query in queries:
        from_windows = [k for a, b in query["relevant_windows"] for k in range(a // 2, b // 2)]
        assert from_windows == query["relevant_clip_ids"]
        assert len(query["saliency_scores"]) == len(query["relevant_clip_ids"])
        assert all(len(scores) == 3 and all(0 <= s <= 4 for s in scores) for scores in query["saliency_scores"])
        # The official scorer makes an array of int(duration / 2) clips and indexes it with the ids.
        assert max(query["relevant_clip_ids"]) < int(query["duration"] / 2)
        assert 0 <= query["duration"] - durations[query["vid"]] < 2


@pytest.mark.data
def test_qvhighlights_has_the_official_fields(many, shared_data):
    _, folder, _ = many
    official = lines(shared_data / "annotations/qvhighlights/highlight_val_release.jsonl")
    ours = lines(folder / "qvhighlights/highlight_val_release.jsonl")

    def form(row):
        return {key: type(value) for key, value in row.items()} | {"even": row["duration"] % 2 == 0}

    assert {json.dumps(form(row), default=str, sort_keys=True) for row in ours} == {
        json.dumps(form(row), default=str, sort_keys=True) for row in official
    }


def test_activitynet_captions_have_two_wordings(many):
    rows, folder, _ = many
    first, second = (json.loads((folder / f"activitynet_captions/val_{k}.json").read_text()) for k in (1, 2))
    for row in rows:
        assert first[row["id"]]["duration"] == row["duration"]
        assert first[row["id"]]["timestamps"] == [[e["start"], e["end"]] for e in row["events"]]
        assert first[row["id"]]["timestamps"] == second[row["id"]]["timestamps"]
        assert first[row["id"]]["sentences"] == [e["caption"] for e in row["events"]]
        assert not set(first[row["id"]]["sentences"]) & set(second[row["id"]]["sentences"])


@pytest.mark.data
def test_activitynet_captions_have_the_official_fields(many, shared_data):
    _, folder, _ = many
    for name in ("val_1.json", "val_2.json"):
        official = json.loads((shared_data / "annotations/activitynet_captions" / name).read_text())
        ours = json.loads((folder / "activitynet_captions" / name).read_text())
        assert {tuple(entry) for entry in ours.values()} == {tuple(entry) for entry in official.values()}
        for entries in (official, ours):
            assert all(len(e["timestamps"]) == len(e["sentences"]) for e in entries.values())
            assert all(len(pair) == 2 for e in entries.values() for pair in e["timestamps"])


# ---- questions --------------------------------------------------------------------------------------------------


def test_nextqa_asks_what_the_annotation_asks(many):
    rows, folder, counts = many
    main, other = table(folder / "nextqa/test.csv"), table(folder / "nextqa/test_cf_pr.csv")
    assert {row["type"] for row in main} == {"TN", "CW"}
    assert {row["type"] for row in other} == {"CF", "PR"}
    assert counts["nextqa"] == {"videos": 60, "questions": len(main), "cf_pr_questions": len(other)}
    asked = {(row["id"], str(q["qid"])): q for row in rows for q in row["questions"]}
    assert {(row["video"], row["qid"]) for row in main + other} == set(asked)
    for row in main + other:
        question = asked[row["video"], row["qid"]]
        assert row["question"] + "?" == question["question"]
        assert [row[f"a{k}"] for k in range(5)] == question["options"]
        assert int(row["answer"]) == question["answer"]
    durations = {row["id"]: row["duration"] for row in rows}
    assert all(int(row["frame_count"]) == math.ceil(8 * durations[row["video"]]) for row in main)
    paths = json.loads((folder / "nextqa/map_vid_vidorID.json").read_text())
    assert paths == {row["id"]: f"videos/{row['id']}" for row in rows}


def test_nextqa_finds_its_videos(tiny_folder):
    paths = json.loads((tiny_folder / "formats/nextqa/map_vid_vidorID.json").read_text())
    assert len(paths) == 6
    for row in table(tiny_folder / "formats/nextqa/test.csv"):
        info = open_video(tiny_folder / f"{paths[row['video']]}.mp4").info
        assert (info.num_frames, info.width, info.height) == tuple(
            int(row[c]) for c in ("frame_count", "width", "height")
        )


@pytest.mark.data
def test_nextqa_has_the_official_columns(many, shared_data):
    _, folder, _ = many
    official = table(shared_data / "annotations/nextqa/test.csv")
    head = (shared_data / "annotations/nextqa/test.csv").read_bytes().split(b"\n")[0]
    for name in ("test.csv", "test_cf_pr.csv"):
        assert (folder / "nextqa" / name).read_bytes().split(b"\n")[0] == head
    types = {row["type"] for row in official}
    assert not types & set(nextqa.NOT_NEXTQA)
    assert {row["type"] for row in table(folder / "nextqa/test.csv")} <= types
    assert {row["answer"] for row in official} == set("01234")
    assert "?" not in official[0]["question"]
    paths = json.loads((shared_data / "annotations/nextqa/map_vid_vidorID.json").read_text())
    assert all(re.fullmatch(r"\d+/\d+", path) for path in itertools.islice(paths.values(), 50)), "folder/name, no .mp4"


def test_nextgqa_grounds_what_it_asks(many):
    rows, folder, counts = many
    asked = table(folder / "nextgqa/test.csv")
    moments = json.loads((folder / "nextgqa/gsub_test.json").read_text())
    assert counts["nextgqa"] == {"videos": len(moments), "questions": len(asked)}
    assert {(row["video_id"], row["qid"]) for row in asked} == {
        (vid, qid) for vid, entry in moments.items() for qid in entry["location"]
    }
    by_id = {row["id"]: row for row in rows}
    for row in asked:
        question = by_id[row["video_id"]]["questions"][int(row["qid"])]
        assert row["type"] in nextgqa.TYPES
        assert row["answer"] == question["options"][question["answer"]]
        assert moments[row["video_id"]]["location"][row["qid"]] == question["spans"]


def test_nextgqa_leaves_out_what_has_no_moment(many, tmp_path):
    rows, _, _ = many
    bare = {**rows[0], "questions": [q | {"spans": []} for q in rows[0]["questions"]]}
    assert nextgqa.write([bare, rows[1]], tmp_path) == {"videos": 1, "questions": 2}
    assert list(json.loads((tmp_path / "gsub_test.json").read_text())) == [rows[1]["id"]]


@pytest.mark.data
def test_nextgqa_has_the_official_fields(many, shared_data):
    _, folder, _ = many
    official = shared_data / "annotations/nextgqa"
    ours = folder / "nextgqa"
    assert (ours / "test.csv").read_bytes().split(b"\n")[0] == (official / "test.csv").read_bytes().split(b"\n")[0]
    assert {row["type"] for row in table(official / "test.csv")} == set(nextgqa.TYPES)
    sample = table(official / "test.csv")[0]
    assert sample["answer"] in [sample[f"a{k}"] for k in range(5)]
    theirs, own = (json.loads((f / "gsub_test.json").read_text()) for f in (official, ours))
    assert {tuple(entry) for entry in own.values()} == {tuple(entry) for entry in theirs.values()}
