"""The parsers of lmms-eval's lineage against what they returned when they were run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa._lmms import (
    RANDOM,
    before_bracket,
    egoschema_letter,
    first_letter,
    last_pattern,
    longvideobench_letter,
    mvbench_answer,
    nextqa_letter,
    parse_answer,
    ranked,
)
from vidcausal.benchmarks.qa._suite_times import charades_figures, charades_times
from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.benchmarks.score_file import score_file

OPTIONS = {"A": "walk", "B": "run", "C": "sit down", "D": "stand up", "E": "jump"}


@pytest.fixture
def cases(golden: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = golden("lmms_eval_parsers")["cases"]
    return found


@pytest.mark.golden
@pytest.mark.data
@pytest.mark.parametrize("benchmark", ["videomme", "mlvu"])
def test_ranked_extractor(cases: dict[str, Any], compared: Callable[..., None], benchmark: str) -> None:
    own = cases[f"{benchmark}.extract_characters_regex"]
    for case in own:
        assert ranked(case["input"]) == case["output"], case
    compared("lmms_eval_parsers", len(own))


@pytest.mark.golden
@pytest.mark.data
def test_mvbench(cases: dict[str, Any], compared: Callable[..., None]) -> None:
    for case in cases["mvbench.mcq_acc"]:
        assert int(mvbench_answer(case["pred"]) == mvbench_answer(case["gold"])) == case["output"], case
    compared("lmms_eval_parsers", len(cases["mvbench.mcq_acc"]))


@pytest.mark.golden
@pytest.mark.data
def test_parsers_with_a_random_fallback(cases: dict[str, Any], compared: Callable[..., None]) -> None:
    for case in cases["nextqa.parse_multi_choice_response"]:
        assert nextqa_letter(case["input"], OPTIONS) == case["output"], case
    for case in cases["egoschema.parse_multi_choice_response"]:
        found = egoschema_letter(case["input"], OPTIONS)
        assert (found if found == RANDOM else list(found)) == case["output"], case
    both = ("nextqa.parse_multi_choice_response", "egoschema.parse_multi_choice_response")
    compared("lmms_eval_parsers", sum(len(cases[name]) for name in both))


@pytest.mark.golden
@pytest.mark.data
def test_charades(cases: dict[str, Any], compared: Callable[..., None]) -> None:
    for case in cases["charades_sta.extract_time"]:
        assert [list(moment) for moment in charades_times(case["input"])] == case["output"], case
    given = cases["charades_sta.metrics"]["input"]
    truths = dict.fromkeys(given, (0.0, 10.0))
    assert all(key.endswith("[0,10]") for key in given)
    assert charades_figures(given, truths) == cases["charades_sta.metrics"]["output"]
    compared("lmms_eval_parsers", len(cases["charades_sta.extract_time"]) + 4)


@pytest.mark.golden
@pytest.mark.data
def test_no_recorded_parser_is_left_out(cases: dict[str, Any]) -> None:
    assert set(cases) == {
        "charades_sta.extract_time",
        "charades_sta.metrics",
        "mvbench.mcq_acc",
        "videomme.extract_characters_regex",
        "mlvu.extract_characters_regex",
        "nextqa.parse_multi_choice_response",
        "egoschema.parse_multi_choice_response",
    }


# What SiLVR's rule makes of a reply, from the specification; it needs no data.
LAST_PATTERN = [
    ("A.", "A"),
    ("The answer is D.", "D"),
    ("B: the cat", "B"),
    ("(B)", "B"),
    ("**C**", ""),
    ("\\boxed{D}", ""),
    ("B) foo", ""),
    ("a", ""),
    ("D,.", ""),
    ("C\nBecause", ""),
    ("Answer\nB", "B"),
    ("NVIDIA is shown", "A"),
    ("The USA won", "A"),
    ("A man walks in and so the answer is C", "C"),
    ("A. B. C. D.", "C"),
    ("The answer is (A) because B. was wrong", "B"),
    ("I think A. or B: both", "A"),
    ("<think>A. maybe</think>B", "A"),
    ("Both A and C", "C"),
    ("API Error", ""),
]


@pytest.mark.parametrize(("reply", "letter"), LAST_PATTERN)
def test_last_pattern(reply: str, letter: str) -> None:
    assert last_pattern(reply) == letter


@pytest.mark.parametrize(
    ("reply", "older", "script", "new"),
    [
        ("Answer: B", "A", "B", "B"),
        ("The best option is C", "C", "C", "C"),
        ("The Best option: D", "B", "B", "D"),
        ("the answer is A, not B", "A", "A", "B"),
        ("정답은 C 입니다", "C", "C", "C"),
        ("答案是B", "B", "B", "B"),
        ("no capital here", "", "", ""),
        ("", "", "", ""),
    ],
)
def test_rules_of_several_ages_differ(reply: str, older: str, script: str, new: str) -> None:
    assert (first_letter(reply), parse_answer(reply), ranked(reply)) == (older, script, new)


def test_other_rules() -> None:
    assert before_bracket("(B) run") == "B"
    assert before_bracket(") run") == ""
    assert before_bracket("B") == "B"
    assert longvideobench_letter("The best option is E") == "E"
    assert longvideobench_letter("e") == RANDOM
    assert nextqa_letter("the man is about to run away", OPTIONS) == "B"
    assert nextqa_letter("B\n", OPTIONS) == RANDOM
    assert egoschema_letter("first he will run and then sit down", OPTIONS) == ("B", True)
    assert mvbench_answer("a man walks") == "A"
    assert mvbench_answer("1,000 cats?") == "1000 cats"


# ---- the recorded replies, scored as files of predictions -----------------------------------------------------------


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.golden
@pytest.mark.data
@pytest.mark.parametrize(("benchmark", "file"), [("videomme", "videomme_2700.jsonl"), ("mlvu", "4_count.json")])
def test_recorded_replies_of_the_ranked_extractor_score_as_recorded(
    cases: dict[str, Any], annotations: Path, tmp_path: Path, benchmark: str, file: str
) -> None:
    path = annotations / benchmark / file
    own = cases[f"{benchmark}.extract_characters_regex"]
    samples = list(create_benchmark(benchmark, annotations=path).samples())[: len(own)]
    rows = [{"id": s.id, "reply": case["input"]} for s, case in zip(samples, own, strict=True)]
    hits = [case["output"] == "ABCD"[s.target] for s, case in zip(samples, own, strict=True)]
    assert 0 < sum(hits) < len(hits)
    official = score_file(benchmark, _lines(tmp_path / "p.jsonl", rows), path).official
    found = official["videomme_perception_score"] if benchmark == "videomme" else official["count"]
    assert found == pytest.approx(100 * sum(hits) / len(hits))


@pytest.mark.golden
@pytest.mark.data
def test_recorded_replies_of_mvbench_score_as_recorded(
    cases: dict[str, Any], annotations: Path, tmp_path: Path
) -> None:
    path = annotations / "mvbench" / "action_sequence.json"
    own = cases["mvbench.mcq_acc"]
    samples = [s for s in create_benchmark("mvbench", annotations=path).samples() if s.target == 0][: len(own)]
    rows = [{"id": s.id, "reply": case["pred"]} for s, case in zip(samples, own, strict=True)]
    assert all(case["gold"] == "A" for case in own)
    judged = [case["output"] for case in own if case["pred"] != ""]
    official = score_file("mvbench", _lines(tmp_path / "p.jsonl", rows), path).official
    assert official["mvbench_action_sequence"] == pytest.approx(100 * sum(judged) / len(judged))
