"""COPA and CausalProbe, whose options have numbers, and the scorer of CausalProbe-2024 that both share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.text.causalprobe import CausalProbe
from vidcausal.benchmarks.text.copa import COPA
from vidcausal.errors import DataError

COPA_ROWS = [
    {"id": "1", "asks-for": "cause", "context": "A shadow.", "choice_0": "Sun.", "choice_1": "Grass.", "answer": 0},
    {"id": "2", "asks-for": "effect", "context": "It rained.", "choice_0": "Dry.", "choice_1": "Wet.", "answer": 1},
    {"id": "501", "asks-for": "effect", "context": "He fell.", "choice_0": "Pain.", "choice_1": "Joy.", "answer": 0},
    {"id": "502", "asks-for": "cause", "context": "She sang.", "choice_0": "Sad.", "choice_1": "Glad.", "answer": 1},
]  # fmt: skip
COPA_XML = """<?xml version="1.0"?>
<copa-corpus version="1.0">
<item id="1" asks-for="cause" most-plausible-alternative="1"><p>A shadow.</p><a1>Sun.</a1><a2>Grass.</a2></item>
<item id="2" asks-for="effect" most-plausible-alternative="2"><p>It rained.</p><a1>Dry.</a1><a2>Wet.</a2></item>
</copa-corpus>"""
PROBE = {"context": "News.", "question": "Why?"} | {
    f"choice_{n}": text for n, text in enumerate(["a one", "b two", "c three", "d four"], start=1)
}


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def copa(tmp_path: Path) -> Path:
    return write(tmp_path / "copa.json", COPA_ROWS)


def test_copa_in_its_three_forms(copa: Path, tmp_path: Path) -> None:
    samples = list(COPA(copa).samples())
    assert samples[0].question == (
        "Premise: A shadow.\nQuestion: What is the cause?\nAnswer Choices:\n0. Sun.\n1. Grass.\n"
        "Pick one choice and do not explain. Answer:"
    )
    assert [s.target for s in samples] == [0, 1, 0, 1]
    assert [s.meta["groups"]["split"] for s in samples] == ["dev", "dev", "test", "test"]
    from_xml = list(COPA(write(tmp_path / "copa-dev.xml", COPA_XML)).samples())
    assert [(s.id, s.question, s.target) for s in from_xml] == [(s.id, s.question, s.target) for s in samples[:2]]
    glue = {"premise": "It rained.", "choice1": "Dry.", "choice2": "Wet.", "question": "effect", "label": 1, "idx": 0}
    (sample,) = COPA(write(tmp_path / "val.jsonl", json.dumps(glue))).samples()
    assert (sample.id, sample.question, sample.target) == ("0", samples[1].question, 1)


def test_official_takes_the_first_digit_and_divides_by_valid_replies(copa: Path, tmp_path: Path) -> None:
    replies = ["0. Sun.", "In 2019 it got wet: 1", "neither", "1"]
    rows = [{**row, "output": reply, "metric_result": True} for row, reply in zip(COPA_ROWS, replies, strict=True)]
    path = write(tmp_path / "result_model.json", "\n".join(map(json.dumps, rows)))  # lines in a .json file
    scores = score_file("copa", path, copa)
    # valid: 0 of 0 right, 2 of 1 wrong, 1 of 1 right. sklearn 1.7: precision_score([0,1,1],[0,2,1],average="weighted")
    wanted = {"Exact Match": 0.6667, "All Exact Match": 0.5, "Precision": 1.0, "Recall": 0.6667, "F1 Score": 0.7778}
    assert scores.official == {**wanted, "invalid": 1}
    assert scores.strict["accuracy"] == 75.0  # "wet" is the text of one option only


def test_official_uses_the_truth_of_the_row(copa: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "label": 1, "answer": 0, "output": "1"}]  # a later name wins
    assert score_file("copa", write(tmp_path / "r.json", rows), copa).official["Exact Match"] == 1.0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": "1", "output": "none"}, "no reply has a digit"),
        ({"id": "1", "output": "x²"}, "invalid literal"),
        ({"id": "1", "answer": [0, 1], "output": "1"}, "invalid literal"),
    ],
)
def test_where_the_published_script_stops(row: dict[str, Any], why: str, copa: Path, tmp_path: Path) -> None:
    scores = score_file("copa", write(tmp_path / "r.json", [row]), copa)
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: ") and why in note for note in scores.notes)


def test_superglue_submission_and_own_rows(copa: Path, tmp_path: Path) -> None:
    rows = [{"idx": 1, "label": 0}, {"idx": 2, "label": 1}]
    assert (
        score_file("copa", write(tmp_path / "s.jsonl", "\n".join(map(json.dumps, rows))), copa).strict["accuracy"] == 50
    )
    own = [{"id": "1", "reply": "0"}, {"id": "2", "reply": "The answer is 1."}, {"id": "501", "error": {"code": "x"}}]
    scores = score_file("copa", write(tmp_path / "own.jsonl", "\n".join(map(json.dumps, own))), copa)
    assert scores.strict["accuracy"] == 50.0
    assert scores.strict["by asks for"] == {"cause": 50.0, "effect": 50.0}
    assert scores.official["All Exact Match"] == 1.0  # of the rows that are there


def test_causalprobe_prompt_numbers_and_impossible_answers(tmp_path: Path) -> None:
    rows = [{"id": 1, **PROBE, "answer": 3}, {"id": 2, **PROBE, "answer": 5}]
    path = write(tmp_path / "CausalProbe-E.json", rows)
    samples = list(CausalProbe(path).samples())
    assert samples[0].question == (
        "Context: News.\nQuestion: Why?\nAnswer Choices:\n1. a one\n2. b two\n3.c three\n4.d four\n"
        "Pick one choice and do not explain. Answer:"
    )
    assert [s.target for s in samples] == [2, None]
    assert next(CausalProbe(path, context=False).samples()).question.startswith("Question: Why?")
    replies = [{"id": "1", "reply": "3"}, {"id": "2", "reply": "5"}]
    scores = score_file("causalprobe", write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, replies))), path)
    assert scores.official["Exact Match"] == 1.0
    assert scores.count == 1
    assert scores.strict["accuracy"] == 100.0


def test_causalnet_counts_from_zero(tmp_path: Path) -> None:
    row = {"index": "n-0", "context": "c", "ask-for": "cause", "label": 1}
    row |= {"choice_id0": "x", "choice_id1": "y", "choice_id2": "z"}
    path = write(tmp_path / "causalnet.json", [row])
    scores = score_file("causalprobe", write(tmp_path / "p.json", [{**row, "output": "1. y"}]), path)
    assert scores.official["Exact Match"] == 1.0
    assert scores.strict == {
        "accuracy": 100.0,
        "by asks for": {"cause": 100.0},
        "positions": scores.strict["positions"],
    }


def test_several_right_answers_cannot_be_scored(tmp_path: Path) -> None:
    path = write(tmp_path / "CausalProbe-M.json", [{"id": 1, **PROBE, "answer": [1, 3]}])
    with pytest.raises(DataError, match="no answers to score against"):
        score_file("causalprobe", write(tmp_path / "p.json", [{"id": "1", "reply": "1"}]), path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no question"),
        ("[1]", "object"),
        ('[{"id": "1", "asks-for": "cause", "context": NaN, "choice_0": "a", "choice_1": "b"}]', "needs the texts"),
        ('[{"id": "1", "asks-for": "why", "context": "c", "choice_0": "a", "choice_1": "b"}]', "cause or an effect"),
        ('[{"id": "1", "asks-for": "cause", "context": "c", "choice_0": "a", "choice_1": "b", "answer": 2}]', "0 or 1"),
        ('{"index": "dev-0", "premise": "p", "ask-for": "cause", "hypothesis1": "a", "hypothesis2": "b"}', "ecare"),
    ],
)
def test_wrong_copa_files(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(COPA(write(tmp_path / "copa.json", content)).samples())


@pytest.mark.parametrize("content", ["<copa", '<!DOCTYPE x [<!ENTITY a "b">]><copa-corpus/>', "<copa-corpus/>"])
def test_wrong_xml(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        list(COPA(write(tmp_path / "copa.xml", content)).samples())


@pytest.mark.parametrize(
    ("content", "says"), [("{}", "JSON list"), ("[{}]", "choice_1"), (json.dumps(COPA_ROWS), "copa"), ("x", "not JSON")]
)
def test_wrong_causalprobe_files(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(CausalProbe(write(tmp_path / "x.json", content)).samples())
