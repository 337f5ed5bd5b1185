from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.benchmarks._worlds_windows import STEPS, constant_window, overlaps, random_window, shares
from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.worlds import Worlds
from vidcausal.errors import ConfigError, DataError, UnknownNameError
from vidcausal.metrics.grounding import span_iou
from vidcausal.types import Prediction, Sample, Span

Row = dict[str, Any]


def event(identity: str, start: float, end: float, caption: str, *others: str) -> Row:
    wordings = [caption, *others]
    return {"id": identity, "kind": "hit", "start": start, "end": end, "caption": caption, "wordings": wordings}


def sample_row(number: int = 0, world: str = "collisions", split: str = "test") -> Row:
    events = [
        event("a", 1.0, 3.0, "red ball hits blue box", "the red ball hits the blue box"),
        event("b", 3.0, 5.0, "blue box hits green can", "the green can is hit by the blue box"),
        event("c", 6.0, 8.0, "green can tips over"),
    ]
    questions = [
        {"qid": "0", "type": "CW", "question": "why?", "options": [*"vwxyz"], "answer": 2, "spans": [[1, 3]]},
        {"qid": "1", "type": "TN", "question": "then?", "options": [*"vwxyz"], "answer": number % 5, "spans": []},
    ]
    return {
        "id": f"{world}-{split}-{number:06d}",
        "world": world,
        "split": split,
        "seed": number,
        "video": f"videos/{number:06d}.mp4",
        "duration": 10.0,
        "fps": 8,
        "size": 64,
        "goal": "start to end",
        "events": events,
        "questions": questions,
        "clips": [{"start": e["start"], "end": e["end"], "caption": e["caption"]} for e in events],
        "clip_order": [2, 0, 1],
        "valid_orders": [[0, 1, 2], [0, 2, 1]],
    }


def write_folder(folder: Path, rows: list[Row], **about: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described = {"world": rows[0]["world"], "split": rows[0]["split"], "n": len(rows), "status": "complete", **about}
    (folder / "world.json").write_text(json.dumps(described))
    (folder / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "world", [sample_row(n) for n in range(6)])


def by_id(benchmark: Worlds) -> dict[str, Sample[Any]]:
    return {sample.id: sample for sample in benchmark.samples()}


def right_reply(sample: Sample[Any]) -> str:
    if sample.task == "order":
        return "Correct order: " + ", ".join(map(str, sample.target))
    if sample.task == "ground":
        return f"From {sample.target[0].start} to {sample.target[0].end} seconds"
    if sample.task == "ask":
        return "ABCDE"[sample.target]
    lines = zip(sample.target, sample.meta["wordings"], strict=True)
    return "\n".join(f"{span.start} - {span.end}: {words[-1]}" for span, words in lines)


def replies(benchmark: Worlds, **other: Any) -> list[Row]:
    """Right replies, but for tasks in ``other``, whose reply or row fields are given."""
    rows = []
    for sample in benchmark.samples():
        changed = other.get(sample.task, right_reply(sample))
        row = changed(sample) if callable(changed) else changed
        rows.append({"id": sample.id, "reply": row} if isinstance(row, str) else {"id": sample.id, **row})
    return rows


# ---- samples ----------------------------------------------------------------------------------------------------


def test_clips_are_numbered_as_shown_and_the_target_is_the_true_order(folder: Path) -> None:
    sample = by_id(Worlds(folder))["collisions-test-000000/order"]
    # Clip 1 is the third that happened, clip 2 the first, clip 3 the second.
    assert sample.media.clip_spans == (Span(6, 8), Span(1, 3), Span(3, 5))
    assert sample.target == (2, 3, 1)
    assert sample.meta["valid_orders"] == ((2, 3, 1), (2, 1, 3))
    captions = {record.clip: record.caption for record in sample.meta["oracle_records"]}
    assert [captions[clip] for clip in sample.target] == [e["caption"] for e in sample_row()["events"]]


def test_nothing_about_an_order_tells_when_its_clips_happened(folder: Path) -> None:
    sample = by_id(Worlds(folder))["collisions-test-000000/order"]
    assert len(sample.media.videos) == len(sample.media.clip_spans) == 3
    assert "Clip 1 lasts from 0.0 to 2.0 seconds.\nClip 2 lasts from 2.0 to 4.0 seconds." in sample.question
    assert [record.start for record in sample.meta["oracle_records"]] == [0.0, 2.0, 4.0]
    assert sample.question.count("start to end") == 2
    assert sample.question.endswith("Correct order: <mention the Clip numbers separated by a comma>")


def test_samples_of_a_video_stand_together(folder: Path) -> None:
    videos = [sample.meta["video"] for sample in Worlds(folder).samples()]
    assert videos == sorted(videos)
    tasks = [s.task for s in Worlds(folder).samples() if s.meta["video"].endswith("000003")]
    assert tasks == ["events", "order", "ground", "ground", "ground", "ask", "ask"]
    media = {s.media for s in Worlds(folder).samples() if s.meta["video"].endswith("000003") and s.task != "order"}
    assert len(media) == 1


def test_queries_are_wordings_and_only_of_events_that_have_no_twin(tmp_path: Path) -> None:
    row = sample_row()
    row["events"].append(event("d", 8.0, 9.0, "red ball hits blue box", "the red ball hits the blue box again"))
    row["events"].append(event("e", 9.0, 10.0, "lamp turns on", "green can tips over"))
    samples = by_id(Worlds(write_folder(tmp_path, [row]), tasks=["ground"], ground_per_video=None))
    asked = {identity.rpartition("/")[2]: sample for identity, sample in samples.items()}
    assert set(asked) == {"b", "e"}, "a and d share a caption, c's only wording also names e"
    for identity, sample in asked.items():
        own = next(e for e in row["events"] if e["id"] == identity)
        assert sample.goal in own["wordings"]
        assert sample.target == (Span(own["start"], own["end"]),)
    assert asked["e"].goal == "lamp turns on"


def test_every_wording_is_asked_for_sometime(tmp_path: Path) -> None:
    many = write_folder(tmp_path, [sample_row(n) for n in range(40)])
    queries = [s.goal for s in Worlds(many, tasks=["ground"]).samples() if s.id.endswith("/a")]
    assert {"red ball hits blue box", "the red ball hits the blue box"} == set(queries)
    assert queries == [s.goal for s in Worlds(many, tasks=["ground"]).samples() if s.id.endswith("/a")]


def test_limits_and_tasks(folder: Path) -> None:
    few = Worlds(folder, tasks=["ask", "ground"], ground_per_video=1, ask_per_video=1)
    assert [s.task for s in few.samples()] == ["ground", "ask"] * 6
    chosen = {s.id.rpartition("/")[2] for s in few.samples() if s.task == "ground"}
    assert len(chosen) > 1, "not always the first event of a video"
    assert len(Worlds(folder, ground_per_video=None)) == 6 * (1 + 1 + 3 + 2)


def test_a_video_without_clips_has_no_order(tmp_path: Path) -> None:
    row = {**sample_row(), "clips": [], "clip_order": [], "valid_orders": []}
    assert "order" not in {s.task for s in Worlds(write_folder(tmp_path, [row])).samples()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_order": [0, 0, 1]}, "line 2 .*no order of 3 clips"),
        ({"events": [{"id": "a"}]}, "line 2 .*KeyError"),
        ({"questions": [{**sample_row()["questions"][0], "answer": 5}]}, "5 options and the answer 5"),
        ({"id": "collisions-test-000000"}, "is there twice"),
        ({"duration": None}, "line 2"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, change: Row, message: str) -> None:
    broken = write_folder(tmp_path, [sample_row(0), {**sample_row(1), **change}])
    with pytest.raises(DataError, match=message):
        list(Worlds(broken).samples())


def test_folders_that_cannot_be_used(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"needs benchmark\.folder=DIR"):
        list(Worlds().samples())
    with pytest.raises(DataError, match=r"has no world\.json"):
        list(Worlds(tmp_path / "absent").samples())
    with pytest.raises(DataError, match="not complete"):
        list(Worlds(write_folder(tmp_path / "half", [sample_row()], status="in progress")).samples())
    (folder / "annotations.jsonl").write_text('{"id": 1\n')
    with pytest.raises(DataError, match="line 1 is not JSON"):
        list(Worlds(folder).samples())
    with pytest.raises(UnknownNameError, match="task"):
        Worlds(folder, tasks=["sort"])
    with pytest.raises(ConfigError, match="tasks is empty"):
        Worlds(folder, tasks=[])
    with pytest.raises(ConfigError, match="ground_per_video"):
        Worlds(folder, ground_per_video=0)


# ---- scores -----------------------------------------------------------------------------------------------------


def test_right_answers_score_a_hundred(folder: Path, tmp_path: Path) -> None:
    benchmark = create_benchmark("worlds", folder=str(folder))
    assert isinstance(benchmark, Worlds)
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, replies(benchmark))))
    scores = score_file("worlds", file, folder / "annotations.jsonl")
    assert (scores.coverage, scores.unparsed, scores.count) == (1.0, 0.0, len(benchmark))
    assert scores.strict["order"]["accuracy n=3..5"] == scores.strict["order"]["kendall_tau"] * 100 == 100.0
    assert scores.strict["ground"] == {
        "count": 18,
        **{f"R@1 IoU={t}": 100.0 for t in (0.3, 0.5, 0.7)},
        "mIoU": pytest.approx(100.0),
    }
    assert scores.strict["ask"]["per_type"] == {"CW": 100.0, "TN": 100.0}
    assert scores.strict["events"]["F1 IoU=0.7"] == scores.strict["events"]["named F1 IoU=0.7"] == 100.0
    assert scores.chance["ground"]["constant_window R@1 IoU=0.5"] > scores.chance["ground"]["random_window R@1 IoU=0.5"]
    assert scores.chance["ground"]["constant_window window"][0] < scores.chance["ground"]["constant_window window"][1]
    assert scores.official == scores.strict
    assert scores.scored is None
    assert scores.intervals["ask"]["per_type"]["CW"] == [100.0, 100.0]
    json.dumps(scores.to_json())


def test_an_order_that_is_valid_but_not_the_shown_one(folder: Path) -> None:
    benchmark = Worlds(folder, tasks=["order"])
    scores = benchmark.score(benchmark.predictions(replies(benchmark, order="Correct order: 2, 1, 3")))
    assert scores.strict["order"]["accuracy"] == 0.0
    assert scores.strict["order"]["valid_accuracy"] == scores.strict["order"]["valid_accuracy n=3..5"] == 100.0
    assert scores.strict["order"]["step_accuracy"] == pytest.approx(100 / 3)
    assert scores.chance["order"]["accuracy n=3..5"] == pytest.approx(100 / 6)
    assert scores.chance["order"]["valid_accuracy"] == pytest.approx(100 * 2 / 6)
    assert scores.chance["order"]["best_constant_accuracy"] == 100.0, "all six are shuffled alike"
    assert scores.chance["order"]["identity_accuracy"] == 0.0


def test_long_orders_are_outside_the_floor_block(tmp_path: Path) -> None:
    row = sample_row(1)
    n = 6
    row["clips"] = [{"start": k, "end": k + 1, "caption": f"step {k}"} for k in range(n)]
    row["clip_order"] = [3, 5, 0, 1, 4, 2]
    row["valid_orders"] = [list(range(n))]
    benchmark = Worlds(write_folder(tmp_path, [sample_row(0), row]), tasks=["order"])
    wrong_if_long = replies(benchmark, order=lambda s: right_reply(s) if len(s.target) == 3 else "no idea")
    scores = benchmark.score(benchmark.predictions(wrong_if_long))
    assert scores.strict["order"]["accuracy"] == 50.0
    assert scores.strict["order"]["accuracy n=3..5"] == 100.0
    assert scores.strict["order"]["scores_per_step"] == {"3": 100.0, "6": 0.0}
    assert scores.unparsed == 0.5
    assert scores.chance["order"]["accuracy"] == pytest.approx(100 * (1 / 6 + 1 / math.factorial(6)) / 2)


def test_scored_answers_stand_beside_written_ones(folder: Path) -> None:
    benchmark = Worlds(folder)
    rows = replies(
        benchmark,
        order=lambda s: {"reply": "?", "order": list(s.target)},
        ask=lambda s: {"reply": "F", "option": s.target if s.meta["type"] == "CW" else (s.target + 1) % 5},
        ground=lambda s: {"reply": "", "spans": [[s.target[0].start, s.target[0].end, 0.5], [0, 1, 0.1]]},
    )
    scores = benchmark.score(benchmark.predictions(rows))
    strict = scores.strict
    assert strict["order"]["accuracy"] == strict["ask"]["accuracy"] == strict["ground"]["mIoU"] == 0
    assert scores.scored is not None
    assert set(scores.scored) == {"order", "ask", "ground"}
    assert scores.scored["order"]["accuracy"] == 100.0
    assert scores.scored["ask"]["per_type"] == {"CW": 100.0, "TN": 0.0}
    assert scores.scored["ask"]["positions"]["true"] == {"A": 2, "B": 1, "C": 7, "D": 1, "E": 1}
    assert sum(scores.scored["ask"]["positions"]["chosen"].values()) == 12
    assert sum(scores.strict["ask"]["positions"]["chosen"].values()) == 0
    best = benchmark.by_group(benchmark.predictions(rows))["collisions", "test"]
    assert best["order"].figures["accuracy"] == best["ground"].figures["R@1 IoU=0.7"] == 100.0
    assert best["events"].figures["F1 IoU=0.5"] == 100.0


def test_missing_answers_are_wrong_under_strict_and_absent_under_official(folder: Path) -> None:
    benchmark = Worlds(folder)
    half = [row for n, row in enumerate(replies(benchmark)) if "00000" in row["id"] and n % 2]
    scores = benchmark.score(benchmark.predictions([*half, {"id": "collisions-test-000000/events", "error": "model"}]))
    assert scores.coverage == pytest.approx(len(half) / len(benchmark))
    assert scores.official["ask"]["accuracy"] == 100.0
    assert scores.strict["ask"]["accuracy"] < 100.0
    assert scores.official["ask"]["count"] < scores.strict["ask"]["count"] == 12


def test_events_are_scored_by_place_and_by_name(folder: Path) -> None:
    benchmark = Worlds(folder, tasks=["events"])
    said = "1 - 3: the red ball hits the blue box\n3 - 5: green can tips over\n0 - 1: something"
    scores = benchmark.score(benchmark.predictions(replies(benchmark, events=said)))
    figures = scores.strict["events"]
    assert figures["precision IoU=0.5"] == pytest.approx(200 / 3)
    assert figures["recall IoU=0.5"] == pytest.approx(200 / 3)
    assert figures["named F1 IoU=0.5"] == pytest.approx(100 / 3)
    assert scores.chance["events"]["parts"] == 3
    assert scores.intervals["events"]["F1 IoU=0.5"] == pytest.approx([200 / 3, 200 / 3])


def test_worlds_and_splits_are_told_apart_where_there_are_several(tmp_path: Path) -> None:
    one = write_folder(tmp_path / "1", [sample_row(n) for n in range(2)])
    two = write_folder(tmp_path / "2", [sample_row(n, "mechanisms", "composition") for n in range(4)])
    benchmark = Worlds([one, two], tasks=["ask"])
    rows = replies(benchmark, ask=lambda s: right_reply(s) if s.meta["world"] == "collisions" else "F")
    scores = benchmark.score(benchmark.predictions(rows))
    assert scores.strict["groups"]["collisions/test"]["ask"]["accuracy"] == 100.0
    assert scores.strict["groups"]["mechanisms/composition"]["ask"]["accuracy"] == 0.0
    assert scores.strict["ask"]["accuracy"] == pytest.approx(100 / 3)
    assert scores.chance["groups"]["collisions/test"]["ask"]["accuracy"] == 20.0
    assert set(benchmark.by_group([])) == {("collisions", "test"), ("mechanisms", "composition")}


def test_whether_a_reply_is_right(folder: Path) -> None:
    benchmark = Worlds(folder)
    samples = by_id(benchmark)
    order, ground = samples["collisions-test-000000/order"], samples["collisions-test-000000/ground/a"]
    assert benchmark.is_right(Prediction(order, right_reply(order))) is True
    assert benchmark.is_right(Prediction(order, "Correct order: 1, 2, 3")) is False
    assert benchmark.is_right(Prediction(order, "no idea")) is None
    assert benchmark.is_right(Prediction(ground, right_reply(ground))) is None


# ---- windows without looking ------------------------------------------------------------------------------------

moments = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), min_size=1, max_size=8)


@pytest.mark.parity
@given(moments)
def test_overlaps_equal_the_metric(pairs: list[tuple[int, int]]) -> None:
    targets = [Span(a / 50, (a + d) / 50) for a, d in pairs]
    windows = [Span(0, 1), Span(0.2, 0.3), Span(0.5, 0.9)]
    table = overlaps(shares(targets, [1.0] * len(targets)), np.array([[w.start, w.end] for w in windows]))
    for i, target in enumerate(targets):
        assert table[i].tolist() == pytest.approx([span_iou(target, window) for window in windows])


def test_no_window_of_all_videos_does_better_than_the_constant_one() -> None:
    rng = random.Random(3)
    targets = [Span(start, start + rng.uniform(1, 3)) for start in (rng.uniform(0, 7) for _ in range(300))]
    relative = shares(targets, [10.0] * 300)
    best = constant_window(relative)
    for _ in range(50):
        low, high = sorted(rng.sample(range(STEPS + 1), 2))
        window = Span(10 * low / STEPS, 10 * high / STEPS)
        ious = [span_iou(window, target) for target in targets]
        assert 100 * sum(ious) / 300 <= best["mIoU"] + 1e-6
        assert 100 * sum(iou >= 0.5 for iou in ious) / 300 <= best["R@1 IoU=0.5"] + 1e-6
    drawn = random_window(relative)
    assert all(drawn[name] < best[name] for name in ("mIoU", "R@1 IoU=0.3", "R@1 IoU=0.5", "R@1 IoU=0.7"))
    assert drawn == random_window(relative)
    assert drawn != random_window(relative, seed=1)


def test_the_window_that_all_targets_share_is_found() -> None:
    found = constant_window(shares([Span(2, 5), Span(4, 10)], [10.0, 20.0]))
    assert found["window"] == [0.2, 0.5]
    assert found["R@1 IoU=0.7"] == found["mIoU"] == pytest.approx(100.0)
