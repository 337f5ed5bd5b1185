"""The parsers of lmms-eval's lineage against what they returned when they were run."""

from __future__ import annotations

from collections.abc import Callable
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
