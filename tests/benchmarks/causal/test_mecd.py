"""MECD: forms of answers, the two published ways to count, and the sane one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.causal._mecd_answers import given_parts, published_parts, read_parts
from vidcausal.benchmarks.causal.mecd import MECD
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError


def video(events: int, relation: str, whole: str | None = None) -> dict[str, Any]:
    about: dict[str, Any] = {
        "duration": 10.0,
        "sentences": [f"Event {i} happens." for i in range(events)],
        "timestamps": [[i, i + 1] for i in range(events)],
        "relation": [relation],
    }
    return about | ({} if whole is None else {"all_relation": whole})


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    entries = [{"v_a": video(4, "011", "011,10,1")}, {"v_b": video(3, "10", "10,0")}]
    return write(tmp_path / "test_complete.json", entries)


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def scored(truth: Path, rows: Any, **more: Any) -> Any:
    return score_file("mecd", write(truth.parent / "p.json", rows), truth, **more)


# ---- forms of answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([0, 1, 1], ((0, 1, 1),)),
        (["0", "1"], ((0, 1),)),
        (["011"], ((0, 1, 1),)),
        ("011", ((0, 1, 1),)),
        ("0, 1, 1", ((0, 1, 1),)),
        ("011,10,1", ((0, 1, 1), (1, 0), (1,))),
        ([[0, 1], [1]], ((0, 1), (1,))),
        ([0.0, 1.0], ((0, 1),)),
        ([0, 2], None),
        ([0, float("nan")], None),
        ([], None),
        ("the second", None),
        (None, None),
        (7, None),
    ],
)
def test_digits_in_every_form(value: Any, expected: Any) -> None:
    assert given_parts(value) == expected


@pytest.mark.parametrize(
    ("text", "published", "sane"),
    [
        ("The probability output should be [0, 1, 1].", ((0, 1, 1),), ((0, 1, 1),)),
        ("First [1, 1, 1], no: [0, 1, 1]", ((1, 1, 1),), ((0, 1, 1),)),
        ("[0, 1]", None, None),  # two items or fewer are asked for again, as published
        ("0, 1, 1", ((0, 1, 1),), ((0, 1, 1),)),
        ("Answer: 0, 1, 1", None, ((0, 1, 1),)),
        ("It is 011 then", None, ((0, 1, 1),)),
        ("[0.5, 1, 1]", ((0, 1, 1),), None),
        ("Events 2 and 3 cause it", None, None),
        ("[1, 1, 1, 1]", ((1, 1, 1, 1),), None),
    ],
)
def test_lists_out_of_text(text: str, published: Any, sane: Any) -> None:
    assert published_parts(text) == published
    assert read_parts(text, (3,)) == sane


def test_a_whole_graph_out_of_text() -> None:
    text = "For event 4: [0, 1, 1]\nfor event 3: [1, 0]\nfor event 2: [1]"
    assert read_parts(text, (3, 2, 1)) == ((0, 1, 1), (1, 0), (1,))
    assert read_parts("[[0,1,1],[1,0],[1]]", (3, 2, 1)) == ((0, 1, 1), (1, 0), (1,))
    assert read_parts("[0, 1, 1]", (3, 2, 1)) is None
    assert read_parts("011,10,1", (3,)) == ((0, 1, 1),)


# ---- official ---------------------------------------------------------------------------------------------------


def test_figures_of_the_authors_evaluation(truth: Path) -> None:
    rows = [{"name": "v_a", "pred": "001,11,1"}, {"name": "v_b", "pred": "11,0"}]
    scores = scored(truth, rows)
    # right: 0.1 of v_a (positions 0 and 2), first of v_b; claimed: 1 + 2; causal: 2 + 1
    assert scores.official == {
        "Accuracy": 3 / 5,
        "Accuracy(w false)": 3 / 5,
        "False Number": 0,
        "Relation_acc": 60.0,
        "relation0_acc": 50.0,
        "relation1_acc(Recall)": 66.667,
        "Percision": 66.667,
        "F1_score": 0.667,
        "0_ratio": 40.0,
        "complete_acc": 75.0,
    }


def test_tied_logits_count_as_causal(truth: Path) -> None:
    rows = [
        {"name": "v_a", "logits": [[0.2, 0.1], [0.5, 0.5], [0.1, 0.9]]},
        {"name": "v_b", "logits": [[0.0, 0.0], [3, 1]]},
    ]
    scores = scored(truth, rows)
    assert scores.official["Relation_acc"] == 100.0
    assert scores.strict["exact"] == 100.0
    assert any("no complete_acc" in note for note in scores.notes)


def test_a_wrong_length_leaves_the_video_out_of_one_and_stops_the_other(truth: Path) -> None:
    scores = scored(truth, [{"name": "v_a", "pred": [0, 1]}, {"name": "v_b", "pred": [1, 0]}])
    assert scores.official == {"Accuracy": 1.0, "Accuracy(w false)": 1.0, "False Number": 0}
    assert any("RuntimeError, 2 relations of v_a where there are 3" in note for note in scores.notes)
    assert scores.strict["accuracy"] == 40.0


def test_a_list_of_length_one_is_stretched(truth: Path) -> None:
    scores = scored(truth, [{"name": "v_a", "pred": [1]}, {"name": "v_b", "pred": [1, 0]}])
    assert scores.official["Relation_acc"] == 80.0
    assert scores.official["Percision"] == 150.0  # three right ones out of two that were claimed


def test_nothing_causal_stops_the_precision(truth: Path) -> None:
    scores = scored(truth, [{"name": "v_a", "pred": [0, 0, 0]}, {"name": "v_b", "pred": [0, 0]}])
    assert scores.official["Accuracy"] == 0.4
    assert "Percision" not in scores.official
    assert any("no causal relation was predicted" in note for note in scores.notes)


def test_missing_videos_shrink_the_official_denominator_only(truth: Path) -> None:
    scores = scored(truth, [{"name": "v_b", "pred": [1, 0]}])
    assert scores.official["Accuracy"] == 1.0
    assert scores.strict["accuracy"] == 40.0
    assert scores.strict["recall"] == pytest.approx(100 / 3)
    assert scores.coverage == 0.5


def test_an_unknown_video_stops_the_official_scorer(truth: Path) -> None:
    scores = scored(truth, [{"name": "v_b", "pred": [1, 0]}, {"name": "v_z", "pred": [1, 0]}])
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: no video 'v_z'") for note in scores.notes)


# ---- strict -----------------------------------------------------------------------------------------------------


def test_strict_figures(truth: Path) -> None:
    scores = scored(truth, [{"id": "v_a", "reply": "I say [0, 0, 1]."}, {"id": "v_b", "reply": "no idea"}])
    assert scores.strict["accuracy"] == 40.0
    assert scores.strict["precision"] == 100.0
    assert scores.strict["recall"] == pytest.approx(100 / 3)
    assert scores.strict["exact"] == 0.0
    assert scores.strict["shd"] == 1.5
    assert scores.strict["by events"] == {"3": 0.0, "4": pytest.approx(200 / 3)}
    assert scores.unparsed == 0.5
    assert scores.chance["best constant accuracy"] == 60.0
    low, high = scores.intervals["accuracy"]
    assert low <= scores.strict["accuracy"] <= high


def test_the_complete_graph(truth: Path) -> None:
    bench = MECD(truth, graph=True)
    first = next(bench.samples())
    assert first.target == ((0, 1, 1), (1, 0), (1,))
    assert "The lengths of the lists are [3, 2, 1]:" in first.question
    rows = [{"id": "v_a", "reply": "[0, 1, 1], [1, 1], [1]"}, {"id": "v_b", "reply": "[1, 0], [0]"}]
    scores = bench.score(bench.predictions(rows))
    assert scores.strict["shd"] == 0.5
    assert scores.strict["accuracy"] == pytest.approx(100 * 8 / 9)


def test_a_malformed_string_of_the_annotation_is_not_scored(tmp_path: Path) -> None:
    path = write(tmp_path / "test_complete.json", [{"v_a": video(4, "101", "101,0,0")}])
    bench = MECD(path, graph=True)
    scores = bench.score(bench.predictions([{"id": "v_a", "reply": "[1, 0, 1], [1, 1], [0]"}]))
    assert scores.strict["accuracy"] == 100.0
    official = scored(path, [{"name": "v_a", "pred": "101,01,0"}]).official
    assert official["complete_acc"] == 100.0  # one of the two is right, out of one digit; and the last


def test_question_and_media(truth: Path) -> None:
    sample = next(MECD(truth).samples())
    assert sample.question.endswith("Event 3 happens.The probability output should be (length should be 3):")
    assert "Text description of 4 events:Event 0 happens,Event 1 happens," in sample.question
    assert Path(sample.media.videos[0]).name == "v_a.mp4"
    assert sample.target == ((0, 1, 1),)


# ---- files ------------------------------------------------------------------------------------------------------


def test_the_other_forms_of_files(truth: Path) -> None:
    as_annotation = scored(truth, [{"v_a": video(4, "011")}, {"v_b": video(3, "10")}])
    assert as_annotation.official["Relation_acc"] == 100.0
    text = truth.parent / "gpt4.txt"
    text.write_text("Video ID: v_a\nOutput: [0, 1, 1]\n\nVideo ID: v_b\nOutput: [1, 0]\n\n", encoding="utf-8")
    scores = score_file("mecd", text, truth)
    assert scores.strict["exact"] == 100.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("{}", "must be a JSON list"),
        ("[]", "holds no question"),
        ('[{"a": 1, "b": 2}]', "must be one video"),
        ('[{"v_a": {"sentences": ["x"], "relation": [""]}}]', "two or more texts"),
        ('[{"v_a": {"sentences": ["x", "y"], "relation": [NaN]}}]', '"relation" must be 1 digits'),
        ('[{"v_a": {"sentences": ["x", "y"], "relation": "01"}}]', '"relation" must be 1 digits'),
    ],
)
def test_bad_annotations(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "test.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(MECD(path).samples())


def test_bad_predictions(truth: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        score_file("mecd", truth.parent / "none.json", truth)
    with pytest.raises(DataError, match="cannot be read"):
        score_file("mecd", truth.parent / "none.txt", truth)
    for content in ("", "[]", "[1]", '[{"id": NaN, "pred": [1]}]', '[{"id": "v_a"}]', '[{"id": "v_a", "logits": [1]}]'):
        path = truth.parent / "bad.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="holds no answer"):
            score_file("mecd", path, truth)
    with pytest.raises(DataError, match="none of the 1 predictions belongs to mecd"):
        scored(truth, [{"id": "q7", "reply": "A"}])


def test_the_graph_needs_the_complete_file(tmp_path: Path) -> None:
    path = write(tmp_path / "test.json", [{"v_a": video(3, "10")}])
    with pytest.raises(DataError, match="use test_complete.json"):
        list(MECD(path, graph=True).samples())
