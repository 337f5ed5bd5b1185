"""VCRBench against what its own scorer printed, and the strict score beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.vcrbench import VCRBench, official_prompt, parse_official
from vidcausal.errors import ConfigError, DataError, UnknownNameError

QUESTION = (
    "The given video consists of multiple short clips, each showing a different segment needed to complete the task: "
    "Bake a Cake. \nThese clips are randomly shuffled, and your job is to arrange them in the correct order to "
    "complete the task: Bake a Cake. \nThe clip numbers are mentioned at the beginning of each clip as Clip 1, Clip 2, "
    "and so on.\nIn order to solve this task, first, you should identify the activity that is performed in each clip, "
    "and then use your reasoning and common sense to arrange these clips to successfully complete the task.\n\n"
    "The final output should be in this format:\n\nCorrect order: <mention the Clip numbers separated by a comma>"
)

# What the published parser reads, for three clips: [0, 0, 0] is "nothing".
VECTORS = [
    ("Correct order: Clip 2, Clip 1, Clip 3.", [2, 1, 3]),
    ("Correct order: [2,1,3]", [2, 1, 3]),
    ("2,1,3", [2, 1, 3]),
    ("02, 01, 03", [2, 1, 3]),
    ("２, １, ３", [2, 1, 3]),
    ("Correct order: 2->1->3", [0, 0, 0]),
    ("Clip 2\nClip 1\nClip 3", [0, 0, 0]),
    ("1. Clip 2\n2. Clip 1\n3. Clip 3", [0, 0, 0]),
    ("Clip 2, Clip 1 and Clip 3", [0, 0, 0]),
    ("Clip 2, Clip 1, and Clip 3", [2, 1, 3]),
    ("The video has Clip 1, Clip 2, Clip 3. Correct order: 3, 2, 1", [1, 2, 3]),
    ("Order is 3, 1, 2! Wait, no. Correct order: 2, 1, 3", [3, 1, 2]),
    ("The 3 clips, in order: Clip 2, Clip 1, Clip 3", [0, 0, 0]),
    ("Correct order: Clip 2: pour 1 cup, Clip 1: stir, Clip 3: serve", [2, 1, 3]),
    ("Correct order: 2, 1, 3, 3", [0, 0, 0]),
    ("213", [0, 0, 0]),
    ("2. 1. 3.", [0, 0, 0]),
    ("", [0, 0, 0]),
    ("Correct order: Clip 2,\nClip 1, Clip 3", [0, 0, 0]),
    ("1: 2, 2: 1, 3: 3", [1, 2, 3]),
    ("Clip 2， Clip 1， Clip 3", [0, 0, 0]),
    ("**Correct order:** *Clip 2*, Clip 1, Clip 3", [2, 1, 3]),
    ("9" * 5000 + ", 2, 1, 3", [2, 1, 3]),  # Python does not convert that many digits; the part is skipped
]


@pytest.mark.parametrize(("text", "expected"), VECTORS)
def test_official_parser(text: str, expected: list[int]) -> None:
    assert parse_official(text, 3) == expected


def test_prompt_is_the_published_one() -> None:
    assert official_prompt("Bake a Cake") == QUESTION


@pytest.mark.golden
@pytest.mark.data
def test_recorded_results_and_replies(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = json.loads((shared_data / "golden/vcrbench.json").read_text())
    compared = 0
    for case in golden["cases"]:
        scores = score_file("vcrbench", shared_data / "annotations" / case["input"])
        assert scores.official == case["expected_from_repo"]
        assert list(scores.official["scores_per_class"]) == list(case["expected_from_repo"]["scores_per_class"])
        assert list(scores.official["scores_per_step"]) == list(case["expected_from_repo"]["scores_per_step"])
        assert scores.count == 365
        assert scores.coverage == 1.0
        assert scores.unparsed == 0.0
        rows = json.loads((shared_data / "annotations" / case["with_pred_order"]).read_text())
        for row in rows:
            assert parse_official(row["pred"], len(row["answer"])) == row["pred_order"]
            assert official_prompt(row["question"].split("complete the task: ")[1].split(".")[0]) == row["question"]
        compared += 1 + len(rows)
    for case in golden["parse_edge_cases"]:
        assert parse_official(case["pred"], len(case["answer"])) == case["pred_order_official"], case["pred"]
        compared += 1
    with capsys.disabled():
        sys.stdout.write(f"\nvcrbench: {compared} recorded outputs of the official scorer compared, all equal\n")


@pytest.mark.golden
@pytest.mark.data
def test_recorded_edge_summary(shared_data: Path, tmp_path: Path) -> None:
    golden = json.loads((shared_data / "golden/vcrbench.json").read_text())
    rows = [
        {"qid": str(i), "goal": "Make Banana Ice Cream", "answer": case["answer"], "pred": case["pred"]}
        for i, case in enumerate(golden["parse_edge_cases"])
    ]
    scores = score_file("vcrbench", write(tmp_path / "edge.json", rows))
    assert scores.official == golden["parse_edge_summary"]


@pytest.mark.data
def test_known_baselines_are_in_the_score(shared_data: Path) -> None:
    scores = score_file("vcrbench", shared_data / "annotations/vcrbench/response_1.json")
    assert round(scores.chance["accuracy"], 3) == 7.147
    assert round(scores.chance["step_accuracy"], 3) == 23.609
    assert round(scores.chance["best_constant_accuracy"], 2) == 14.25
    assert scores.chance["identity_accuracy"] == 0.0
    low, high = scores.intervals["accuracy"]
    assert low < scores.strict["accuracy"] < high


@pytest.mark.data
def test_identity_answers_get_step_credit_only(shared_data: Path, tmp_path: Path) -> None:
    annotations = shared_data / "annotations/vcrbench/response_1.json"
    rows = [
        {"id": s.id, "reply": "Correct order: " + ", ".join(map(str, range(1, len(s.target or ()) + 1)))}
        for s in VCRBench(annotations).samples()
    ]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert (scores.official["avg_accuracy"], scores.official["avg_step_accuracy"]) == (0.0, 17.72)
    assert scores.strict["identity_rate"] == 100.0


# ---- a small benchmark of our own -----------------------------------------------------------------------------------

TRUTHS: list[dict[str, Any]] = [
    {"qid": "1", "goal": "Bake", "video_file": "video_1.mp4", "ground_truth": [1, 0, 2]},
    {"qid": "2", "goal": "Bake", "video_file": "video_2.mp4", "ground_truth": [2, 0, 1]},
    {"qid": "3", "goal": "Fry", "video_file": "video_3.mp4", "ground_truth": [3, 1, 0, 2]},
]


def write(path: Path, rows: list[Any]) -> Path:
    text = "\n".join(json.dumps(row) for row in rows) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    return write(tmp_path / "data.json", TRUTHS)


def test_samples_have_the_published_question_and_one_based_answers(annotations: Path) -> None:
    video = annotations.parent / "videos" / "video_1.mp4"
    video.parent.mkdir()
    video.touch()
    bench = VCRBench(annotations)
    first, _, third = bench.samples()
    assert (first.id, first.task, first.goal, first.target) == ("1", "order", "Bake", (2, 1, 3))
    assert first.question == official_prompt("Bake")
    assert third.target == (4, 2, 1, 3)
    assert first.media.videos == (str(video),)
    assert [Path(path).name for path in bench.missing_videos()] == ["video_2.mp4", "video_3.mp4"]
    assert len(VCRBench(data_dir=annotations.parent)) == 3


def test_three_forms_of_predictions_score_the_same(annotations: Path, tmp_path: Path) -> None:
    replies = {"1": "Clip 2, Clip 1, Clip 3", "2": "3, 1, 2", "3": "1, 2, 3, 4"}
    ours = [{"id": i, "reply": r, "steps": [], "records": [], "order": None, "error": None} for i, r in replies.items()]
    plain = [{"id": i, "reply": r} for i, r in replies.items()]
    official = [
        {"qid": t["qid"], "pred": [replies[t["qid"]]], "answer": [g + 1 for g in t["ground_truth"]]} for t in TRUTHS
    ]
    results = [
        score_file("vcrbench", write(tmp_path / name, rows), annotations)
        for name, rows in (("a.jsonl", ours), ("b.jsonl", plain), ("c.json", official), ("d.jsonl", official))
    ]
    assert all(result == results[0] for result in results)
    assert results[0].official == {
        "avg_accuracy": 66.67,
        "avg_step_accuracy": 70.0,
        "weighted_avg_accuracy": 50.0,
        "scores_per_class": {"Bake": 100.0, "Fry": 0.0},
        "scores_per_step": {"3": 100.0, "4": 0.0},
    }
    assert results[0].strict["accuracy"] == pytest.approx(200 / 3)


def test_missing_rows_shrink_the_official_denominator_only(annotations: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": "1", "reply": "2, 1, 3"}])
    scores = score_file("vcrbench", path, annotations)
    assert scores.official["avg_accuracy"] == 100.0
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.coverage == pytest.approx(1 / 3)
    limited = score_file("vcrbench", path, annotations, expected=1)
    assert limited.strict["accuracy"] == 100.0
    assert limited.count == 1


def test_failed_samples_are_wrong_under_strict_and_absent_under_official(annotations: Path, tmp_path: Path) -> None:
    rows = [
        {"id": "1", "reply": "2, 1, 3", "error": None},
        {"id": "2", "reply": "", "error": {"code": "missing", "message": "no such file"}},
    ]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert scores.official["avg_accuracy"] == 100.0
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.coverage == pytest.approx(1 / 3)
    assert any("missing 1" in note for note in scores.notes)


def test_unreadable_for_official_is_not_unreadable_for_strict(annotations: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "reply": "Correct order: 2 -> 1 -> 3"}, {"id": "2", "reply": "no idea"}]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert scores.official["avg_accuracy"] == 0.0
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.unparsed == 0.5
    assert scores.strict["invalid_rate"] == 50.0


def test_duplicates_count_twice_officially_and_the_last_strictly(annotations: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "reply": "2, 1, 3"}, {"id": "1", "reply": "1, 2, 3"}]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert scores.official["avg_accuracy"] == 50.0
    assert scores.strict["accuracy"] == 0.0
    assert any("repeat an id" in note for note in scores.notes)


def test_orders_scored_by_likelihood_are_kept_apart(annotations: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "reply": "?", "order": [2, 1, 3]}, {"id": "2", "reply": "3, 1, 2", "order": [1, 1, 1]}]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert scores.scored is not None
    assert scores.scored["accuracy"] == pytest.approx(100 / 3)
    assert scores.scored["kendall_tau"] == 1.0
    rows = [{"id": "1", "reply": "?", "order": ["2", "1", "3"]}]
    digits = score_file("vcrbench", write(tmp_path / "d.jsonl", rows), annotations)
    assert digits.scored is not None
    assert digits.scored["accuracy"] == pytest.approx(100 / 3)


def test_malformed_lines_are_named_go_on_strictly_and_stop_the_official_score(
    annotations: Path, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "1", "reply": "2, 1, 3"}\n{"id": "2", "reply": \n[1]\n{"id": "3"}\n{"reply": "1"}\n')
    scores = score_file("vcrbench", path, annotations)
    assert scores.official == {}
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    note = next(note for note in scores.notes if "malformed" in note)
    assert all(f"line {number}" in note for number in (2, 3, 4, 5))
    with pytest.raises(DataError, match="line 2"):
        score_file("vcrbench", path, annotations, policy="official")
    assert score_file("vcrbench", path, annotations, policy="strict").strict["accuracy"] == pytest.approx(100 / 3)


def test_a_data_folder_without_the_benchmark_leaves_rows_with_their_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDCAUSAL_DATA", str(tmp_path / "other"))
    path = write(tmp_path / "p.jsonl", [{"id": "1", "reply": "2, 1", "answer": [2, 1], "question": QUESTION}])
    scores = score_file("vcrbench", path)
    assert scores.strict["accuracy"] == 100.0
    assert any("no annotations" in note for note in scores.notes)
    path = write(tmp_path / "q.jsonl", [{"id": "1", "reply": "2, 1"}])
    with pytest.raises(DataError, match="other has no data.json"):
        score_file("vcrbench", path)


def test_a_row_with_two_ids_goes_by_its_own(tmp_path: Path) -> None:
    rows = [{"id": "a", "qid": 7, "reply": "2, 1", "answer": [2, 1], "question": QUESTION}]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows))
    assert scores.strict["accuracy"] == 100.0


def test_unknown_ids(annotations: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "reply": "2, 1, 3"}, {"id": "77", "reply": "1, 2, 3"}]
    scores = score_file("vcrbench", write(tmp_path / "p.jsonl", rows), annotations)
    assert scores.official == {}
    assert any("KeyError '77'" in note for note in scores.notes)
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    with pytest.raises(DataError, match="none of the 1 predictions belongs to vcrbench"):
        score_file("vcrbench", write(tmp_path / "q.jsonl", rows[1:]), annotations)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no prediction"),
        ("[]", "line 1"),
        ('{"id": true, "reply": "x"}', "line 1"),
        ("\xff", "UTF-8"),
    ],
)
def test_bad_prediction_files(annotations: Path, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        score_file("vcrbench", path, annotations)
    with pytest.raises(DataError, match="does not exist"):
        score_file("vcrbench", tmp_path / "none.jsonl", annotations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ground_truth": [0, 0, 1]}, "permutation"),
        ({"ground_truth": "0,1"}, "whole numbers"),
        ({"ground_truth": [1, 0, 2], "answer": [1, 2, 3]}, "but answer is"),
        ({"video_file": "../secret.mp4"}, "inside the video folder"),
        ({"clips": [{"start": 3, "end": 1}]}, "clip 1"),
        ({"qid": "2"}, "twice"),
    ],
)
def test_bad_annotations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "data.json", [{**TRUTHS[0], **change}, *TRUTHS[1:]])
    with pytest.raises(DataError, match=message):
        list(VCRBench(path).samples())


def test_without_annotations_the_message_says_where_they_come_from(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": "1", "reply": "2, 1, 3"}])
    with pytest.raises(DataError, match="annotations=FILE"):
        score_file("vcrbench", path)


@pytest.mark.data
def test_question_files_with_clips(shared_data: Path) -> None:
    bench = VCRBench(shared_data / "vcr_style/questions.json", oracle_captions=True)
    first = next(bench.samples())
    assert first.id == "real-eggs"
    assert first.target == (2, 5, 6, 4, 1, 3)
    assert first.question == official_prompt("Make Scrambled Eggs")
    assert len(first.media.clip_spans) == 6
    assert first.media.clip_spans[0].start == 1.0
    assert list(first.candidates) == sorted(first.candidates)
    assert len(first.candidates) == 6
    assert bench.missing_videos() == []
    assert next(VCRBench(shared_data / "vcr_style/questions.json").samples()).candidates == ()


def test_a_misspelt_name_or_argument_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'vcrbench'"):
        create_benchmark("vcrbnech")
    with pytest.raises(ConfigError, match="benchmark.annotation is not known"):
        create_benchmark("vcrbench", annotation="x")
    with pytest.raises(ConfigError, match="policy"):
        score_file("vcrbench", "x.json", policy="lenient")


def test_scoring_loads_no_torch() -> None:
    code = "import sys, vidcausal.benchmarks.score_file, vidcausal.benchmarks.vcrbench, vidcausal.benchmarks.questions;"
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules, 'vidcausal.protocols' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.split() == ["False", "False"]
