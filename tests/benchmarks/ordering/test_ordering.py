from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError
from vidcausal.types import Sample


def _write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def _crosstask(folder: Path) -> Path:
    root = folder / "crosstask_release"
    blocks = "7\nMake Tea\nhttp://x\n4\nboil water,add tea,pour milk,stir\n\n9\nFix It\nhttp://x\n3\na b,c d,e f\n"
    _write(root / "tasks_primary.txt", blocks)
    _write(root / "videos_val.csv", "7,one_A-b,https://x\n9,two,https://x\n")
    _write(root / "annotations/7_one_A-b.csv", "1,1.0,2.0\n2,3.0,4.5\n3,5,6\n4,7,8\n")
    _write(root / "annotations/9_two.csv", "1,1,2\n2,3,4\n3,5,6\n")
    _write(root / "annotations/9_three.csv", "1,1,2\n2,3,4\n3,5,6\n")
    return root


def _coin(folder: Path) -> Path:
    steps = [{"id": "1", "segment": [i, i + 0.5], "label": f"step {i}"} for i in range(4)]
    entry = {"class": "PutOnHairExtensions", "annotation": steps, "subset": "testing"}
    return _write(folder / "coin_valid.json", [{"abc": entry}, {"xyz": {**entry, "subset": "training"}}])


def _niv(folder: Path) -> Path:
    steps = [{"action": f"step {i}", "action_id": i, "start": i, "end": i + 0.5} for i in range(3)]
    return _write(folder / "niv_valid.json", {"cpr_1": {"task": "CPR", "task_id": 1, "steps": steps}})


def _hirest(folder: Path) -> Path:
    steps = [{"index": i, "heading": f"step {i}", "absolute_bounds": [i, i + 1]} for i in range(3)]
    videos = {"abc.mp4": {"steps": steps, "v_duration": 9.0}, "none.mp4": {"steps": []}}
    return _write(folder / "all_data_val.json", {"Make Tea": videos})


def _youcook2(folder: Path) -> Path:
    video = {"duration": 50, "timestamps": [[0, 5], [6, 9], [10, 12]], "sentences": ["cut", "fry", "serve"]}
    return _write(folder / "yc2_val.json", {"v_abc": video})


WRITERS = {"crosstask": _crosstask, "coin": _coin, "niv": _niv, "hirest": _hirest, "youcook2_order": _youcook2}
FIRST = {
    "crosstask": ("7_one_A-b", "Make Tea", 2),
    "coin": ("abc", "Put On Hair Extensions", 1),
    "niv": ("cpr_1", "CPR", 1),
    "hirest": ("abc", "Make Tea", 1),
    "youcook2_order": ("abc", "Cook the Dish", 1),
}


def _samples(name: str, folder: Path, **arguments: Any) -> list[Sample[Any]]:
    return list(create_benchmark(name, annotations=WRITERS[name](folder), **arguments).samples())


@pytest.mark.parametrize("name", WRITERS)
def test_the_official_file_becomes_questions(name: str, tmp_path: Path) -> None:
    samples = _samples(name, tmp_path)
    first = samples[0]
    assert (first.id.split("/")[0], first.goal, len(samples)) == FIRST[name]
    assert first.media.videos == ()
    records = first.meta["oracle_records"]
    assert [r.clip for r in records] == list(range(1, len(first.target) + 1))
    assert all(f"Clip {r.clip}: {r.caption}" in first.question for r in records)
    assert all(a.end == b.start for a, b in zip(records, records[1:], strict=False))
    assert first.question.endswith("Correct order: <mention the Clip numbers separated by a comma>")
    assert "{" not in first.question


def test_the_target_puts_the_steps_in_the_order_of_the_video(tmp_path: Path) -> None:
    for sample in _samples("crosstask", tmp_path, split="all"):
        texts = [sample.meta["oracle_records"][clip - 1].caption for clip in sample.target]
        known = ["boil water", "add tea", "pour milk", "stir"] if sample.goal == "Make Tea" else ["a b", "c d", "e f"]
        assert texts == [step for step in known if step in texts]


@pytest.mark.parametrize(("split", "ids"), [("val", {"7_one_A-b", "9_two"}), ("train", {"9_three"})])
def test_splits_of_crosstask(split: str, ids: set[str], tmp_path: Path) -> None:
    assert {s.id.split("/")[0] for s in _samples("crosstask", tmp_path, split=split)} == ids


def test_crosstask_is_found_from_the_folder_around_it_and_in_data_dir(tmp_path: Path) -> None:
    _crosstask(tmp_path / "crosstask")
    assert len(create_benchmark("crosstask", annotations=tmp_path / "crosstask")) == 2  # type: ignore[arg-type]
    assert len(create_benchmark("crosstask", data_dir=tmp_path)) == 2  # type: ignore[arg-type]


def test_clips_are_stretches_of_the_video_in_shuffled_order(tmp_path: Path) -> None:
    _write(tmp_path / "videos/cpr_1.mp4", "x")
    (sample,) = _samples("niv", tmp_path, show="clips", video_root=tmp_path)
    assert sample.media.videos == (str(tmp_path / "videos/cpr_1.mp4"),) * 3
    starts = [sample.media.clip_spans[clip - 1].start for clip in sample.target]
    assert starts == [0, 1, 2]
    assert "step 0" not in sample.question
    assert "Clip 1 to Clip 3" in sample.question


def test_missing_videos_are_listed_once(tmp_path: Path) -> None:
    bench = create_benchmark("niv", annotations=_niv(tmp_path), show="clips")
    assert bench.missing_videos() == [str(tmp_path / "cpr_1.mp4")]  # type: ignore[attr-defined]


def test_captions_are_handed_out_sorted_and_only_when_asked_for(tmp_path: Path) -> None:
    assert _samples("niv", tmp_path)[0].candidates == ()
    assert _samples("niv", tmp_path, oracle_captions=True)[0].candidates == ("step 0", "step 1", "step 2")


def test_scores_of_replies(tmp_path: Path) -> None:
    path = _crosstask(tmp_path)
    first, second = create_benchmark("crosstask", annotations=path).samples()
    reversed_order = tuple(reversed(second.target))
    rows = [
        {"id": first.id, "reply": "Correct order: " + ", ".join(f"Clip {n}" for n in first.target)},
        {
            "id": second.id,
            "reply": "I think Correct order: " + ", ".join(map(str, reversed_order)),
            "order": second.target,
        },
    ]
    scores = score_file("crosstask", _write(tmp_path / "p.json", rows), path)
    assert scores.official == {}
    assert scores.strict["accuracy"] == 50
    assert scores.strict["kendall_tau"] == 0
    assert scores.strict["scores_per_class"] == {first.goal: 100, second.goal: 0}
    assert scores.scored is not None
    assert scores.coverage == 1
    assert set(scores.chance["per_n"]) == {str(len(first.target)), str(len(second.target))}
    assert any("our own protocol" in note for note in scores.notes)
    with pytest.raises(DataError, match="no official scorer"):
        score_file("crosstask", tmp_path / "p.json", path, "official")


def test_one_answer_is_judged_like_all_of_them(tmp_path: Path) -> None:
    bench = create_benchmark("niv", annotations=_niv(tmp_path))
    (sample,) = bench.samples()
    replies = {", ".join(map(str, sample.target)): True, ", ".join(map(str, sample.target[::-1])): False, "none": None}
    for reply, right in replies.items():
        (prediction,) = bench.predictions([{"id": sample.id, "reply": f"Correct order: {reply}"}])
        assert bench.is_right(prediction) is right  # type: ignore[attr-defined]


def test_missing_and_unreadable_answers_are_wrong(tmp_path: Path) -> None:
    path = _crosstask(tmp_path)
    first, _ = create_benchmark("crosstask", annotations=path).samples()
    scores = score_file(
        "crosstask", _write(tmp_path / "p.jsonl", json.dumps({"id": first.id, "reply": "no idea"})), path
    )
    assert (scores.strict["accuracy"], scores.coverage, scores.unparsed, scores.count) == (0, 0.5, 1, 2)


def test_answers_to_another_draw_are_not_taken(tmp_path: Path) -> None:
    path = _coin(tmp_path)
    own, *others = (next(create_benchmark("coin", annotations=path, seed=n).samples()) for n in range(9))
    other = next(sample for sample in others if sample.question != own.question)
    row = {"id": other.id, "reply": "Correct order: 1, 2, 3"}
    with pytest.raises(DataError, match="none of the 1 predictions"):
        score_file("coin", _write(tmp_path / "p.json", [row]), path)


@pytest.mark.parametrize(
    "wrong", [{"show": "pictures"}, {"policy": "random"}, {"lengths": []}, {"lengths": [1]}, {"lengths": ["3"]}]
)
def test_arguments_out_of_range(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        create_benchmark("niv", annotations=_niv(tmp_path), **wrong)
    with pytest.raises(ConfigError, match="split"):
        create_benchmark("crosstask", split="dev")


@pytest.mark.parametrize("name", [n for n in WRITERS if n != "crosstask"])
@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "[]", '"text"', '{"a": 1}', '{"a": {"steps": [1], "task": "x"}}', "{"]
)
def test_files_that_are_none(name: str, content: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "wrong.json", content)
    with pytest.raises(DataError, match="wrong.json"):
        list(create_benchmark(name, annotations=path).samples())
    with pytest.raises(DataError, match="does not exist"):
        list(create_benchmark(name, annotations=tmp_path / "none.json").samples())


@pytest.mark.parametrize("line", ["x,1,2", "5,1,2", "0,1,2", "1,a,2", "1,2", "1,2,3,4"])
def test_a_step_of_crosstask_that_cannot_be_read_is_named(line: str, tmp_path: Path) -> None:
    root = _crosstask(tmp_path)
    _write(root / "annotations/7_one_A-b.csv", f"1,1,2\n{line}\n")
    with pytest.raises(DataError, match=r"7_one_A-b.csv, line 2"):
        list(create_benchmark("crosstask", annotations=root).samples())


def test_folders_that_are_not_crosstask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks_primary.txt"):
        list(create_benchmark("crosstask", annotations=tmp_path).samples())
    root = _crosstask(tmp_path)
    _write(root / "tasks_primary.txt", "7\nMake Tea\nhttp://x\n3\nonly,two\n")
    with pytest.raises(DataError, match="number of its steps"):
        list(create_benchmark("crosstask", annotations=root).samples())
    again = _crosstask(tmp_path / "again")
    (again / "videos_val.csv").unlink()
    with pytest.raises(DataError, match=r"videos_val.csv"):
        list(create_benchmark("crosstask", annotations=again).samples())


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count"), [("crosstask", 263), ("coin", 1285), ("niv", 41), ("hirest", 73), ("youcook2_order", 457)]
)
def test_the_published_files(name: str, count: int, shared_data: Path) -> None:
    bench = create_benchmark(name, data_dir=shared_data / "annotations", policy="vcrbench")
    samples = list(bench.samples())
    assert len(samples) == count
    assert all(3 <= len(s.target) <= 7 for s in samples)
    assert len({s.id for s in samples}) == count
    ends = [(list(s.target) == sorted(s.target)) or (list(s.target) == sorted(s.target, reverse=True)) for s in samples]
    assert not any(ends)
