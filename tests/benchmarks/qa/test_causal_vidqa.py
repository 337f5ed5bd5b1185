"""Causal-VidQA: folders as published, blocks of six under official, keys under strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.causal_vidqa import TYPES, CausalVidQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

VIDEOS = ("aaa_000001", "bbb_000002")
GROUPS = ("descriptive", "explanatory", "predictive", "counterfactual")


def folder(root: Path, answers: dict[str, int] | None = None) -> Path:
    """Two videos; every right answer is option 1."""
    for video in VIDEOS:
        place = root / "QA" / video
        place.mkdir(parents=True)
        text: dict[str, Any] = {
            group: {"question": f"{group} of [person_1]?", "answer": [f"{group} {i}" for i in range(5)]}
            for group in GROUPS
        }
        for group in GROUPS[2:]:
            text[group]["reason"] = [f"reason {i}" for i in range(5)]
        right = {group: {"answer": 1, "reason": 1} for group in GROUPS} if answers is None else answers
        (place / "text.json").write_text(json.dumps(text), encoding="utf-8")
        (place / "answer.json").write_text(json.dumps(right), encoding="utf-8")
    return root / "QA"


def keys() -> list[str]:
    return [f"{video}_{kind}" for video in VIDEOS for kind in range(6)]


def results(path: Path, wrong: set[str] = frozenset(), order: list[str] | None = None) -> Path:  # type: ignore[assignment]
    """A result file in the official form, right but for some keys."""
    entries = {key: {"prediction": 3 if key in wrong else 1, "answer": 1} for key in (order or keys())}
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_questions_as_published(tmp_path: Path) -> None:
    bench = CausalVidQA(folder(tmp_path))
    samples = list(bench.samples())
    assert [sample.id for sample in samples] == keys()
    reason = samples[3]
    assert reason.goal == "predictive of [person_1]?"
    assert reason.options == tuple(f"reason {i}" for i in range(5))
    assert reason.meta["groups"] == {"type": "Predictive-Reason"}
    assert reason.media.videos[0].endswith("aaa_000001.mp4")
    assert [sample.id for sample in CausalVidQA(data_dir=tmp_path).samples()] == keys()


def test_a_split(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (tmp_path / "test.txt").write_text("bbb_000002\n", encoding="utf-8")
    assert {s.meta["video"] for s in CausalVidQA(root, split=tmp_path / "test.txt").samples()} == {"bbb_000002"}
    (tmp_path / "test.json").write_text('["bbb_000002", "nobody"]', encoding="utf-8")
    with pytest.raises(DataError, match="names 'nobody'"):
        len(CausalVidQA(root, split=tmp_path / "test.json"))
    with pytest.raises(DataError, match="is a pickle"):
        len(CausalVidQA(root, split=tmp_path / "test.pkl"))
    with pytest.raises(DataError, match="holds no id"):
        len(CausalVidQA(root, split=tmp_path / "nothing.txt"))


def test_both_parts_must_be_right(tmp_path: Path) -> None:
    wrong = {"aaa_000001_0", "aaa_000001_3", "bbb_000002_4", "bbb_000002_5"}
    scores = score_file("causal_vidqa", results(tmp_path / "r.json", wrong), folder(tmp_path))
    assert scores.official == {
        "Description": 50.0,
        "Explaination": 100.0,
        "Predictive-Answer": 100.0,
        "Predictive-Reason": 50.0,
        "Counterfactual-Answer": 50.0,
        "Counterfactual-Reason": 50.0,
        "Predictive": 50.0,
        "Counterfactual": 50.0,
        "Acc": 62.5,
    }
    for name in ("Predictive", "Counterfactual", "Acc"):
        assert scores.strict[name] == scores.official[name]
        low, high = scores.intervals[name]
        assert low <= scores.strict[name] <= high
    assert scores.strict["by type"] == {name: scores.official[name] for name in TYPES}
    assert scores.chance["Acc"] == pytest.approx((20 + 20 + 4 + 4) / 4)


def test_a_result_file_is_enough(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {"aaa_000001_1"})
    scores = score_file("causal_vidqa", path, path)
    assert scores.official["Explaination"] == 50.0
    assert scores.strict["Acc"] == 87.5


def test_a_missing_row_shifts_the_official_blocks(tmp_path: Path) -> None:
    # Without the first row the block is E, PA, PR, CA, CR, D: the parts that are joined are PR+CA and CR+D.
    order = keys()[1:]
    wrong = {"aaa_000001_2"}
    scores = score_file("causal_vidqa", results(tmp_path / "r.json", wrong, order), folder(tmp_path))
    assert scores.official["Predictive-Answer"] == 0.0
    assert scores.official["Predictive"] == 100.0
    assert scores.official["Acc"] == 75.0  # places 0 and 1 of the block, and both joined ones
    assert any("5 entries behind the last whole block" in note for note in scores.notes)
    assert scores.strict["Predictive"] == 50.0
    assert scores.strict["Acc"] == pytest.approx(100 * 6 / 8)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (keys()[:5], "ZeroDivisionError"),
        ([*keys()[:5], "aaa_000001_8"], "IndexError"),
        ([*keys()[:5], "aaa_000001_x"], "ValueError"),
        ([*keys()[:5], "ccc_0"], "ZeroDivisionError: no whole block of six has the type Counterfactual-Reason"),
    ],
)
def test_where_the_official_scorer_stops(tmp_path: Path, order: list[str], reason: str) -> None:
    scores = score_file("causal_vidqa", results(tmp_path / "r.json", set(), order), folder(tmp_path))
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: ") and reason in note for note in scores.notes)


def test_an_entry_without_an_answer_stops_it(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json")
    entries = json.loads(path.read_text())
    del entries["aaa_000001_0"]["answer"]
    path.write_text(json.dumps(entries), encoding="utf-8")
    scores = score_file("causal_vidqa", path, folder(tmp_path))
    assert any("must hold answer and prediction" in note for note in scores.notes)
    assert scores.strict["Acc"] == 100.0


def test_replies_in_words(tmp_path: Path) -> None:
    rows = [{"id": key, "reply": "The answer is B."} for key in keys()]
    rows[0]["reply"] = "no idea"
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    scores = score_file("causal_vidqa", path, folder(tmp_path))
    assert scores.official["Description"] == 50.0
    assert scores.strict["Acc"] == scores.official["Acc"] == 87.5


def test_bad_annotations(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / VIDEOS[0] / "answer.json").write_text('{"descriptive": {"answer": 7}}', encoding="utf-8")
    with pytest.raises(DataError, match="from 0 to 4, got 7"):
        len(CausalVidQA(root))
    (root / VIDEOS[0] / "answer.json").write_text('{"descriptive": {"answer": 1}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"text\.json, explanatory: needs question and answer"):
        len(CausalVidQA(root))
    (root / VIDEOS[0] / "text.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"text\.json, descriptive"):
        len(CausalVidQA(root))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no question"):
        len(CausalVidQA(tmp_path / "empty"))
    for content, message in (("", "is not JSON"), ("[]", "must be a folder"), ('{"a": 1}', "is not a question of")):
        (tmp_path / "r.json").write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            len(CausalVidQA(tmp_path / "r.json"))
    with pytest.raises(DataError, match="does not exist"):
        len(CausalVidQA(tmp_path / "nothing.json"))
