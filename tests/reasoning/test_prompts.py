from __future__ import annotations

import re
from pathlib import Path

import pytest

import vidcausal.reasoning
from vidcausal.errors import ConfigError, UnknownNameError
from vidcausal.parsing import parse_events, parse_spans
from vidcausal.reasoning import prompts


def test_every_prompt_fills_and_none_is_left_over() -> None:
    code = "\n".join(path.read_text() for path in Path(vidcausal.reasoning.__file__).parent.glob("*.py"))
    for name in prompts.available():
        values = {field: f"<{field}>" for field in prompts.fields(name)}
        filled = prompts.fill(name, **values)
        assert filled == filled.strip()
        assert not re.search(r"\{\w*\}", filled)
        assert all(value in filled for value in values.values())
        assert f'"{name.removesuffix("_video")}"' in code, f"{name} is used nowhere"


def test_both_stages_ask_for_the_line_the_official_parser_reads() -> None:
    for name in ("rrd_reason_order", "rrd_reason_order_video", "direct_order"):
        assert "Correct order:" in prompts.load(name)


def test_braces_in_values_stay() -> None:
    assert "{goal} {0} {" in prompts.fill("pair_sequence", goal="{goal} {0} {")


def test_missing_and_superfluous_values_are_named() -> None:
    with pytest.raises(ConfigError, match="needs a value for goal"):
        prompts.fill("pair_sequence")
    with pytest.raises(ConfigError, match="has no field colour"):
        prompts.fill("pair_sequence", goal="x", colour="red")
    with pytest.raises(UnknownNameError, match="Did you mean 'rrd_count'"):
        prompts.load("rrd_cuont")


def test_answers_in_the_asked_for_form_are_read() -> None:
    asked = prompts.fill("direct_ground", query="q", duration="9").splitlines()[-1]
    assert len(parse_spans(asked.replace("<start>", "1.5").replace("<end>", "3"))) == 1
    asked = prompts.fill("direct_events", duration="9").splitlines()[-1]
    line = asked.replace("<start>", "1.5").replace("<end>", "3").replace("<one", "one")
    assert len(parse_events(line)) == 1
