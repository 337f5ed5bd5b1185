"""Sane parsers of the two answers that text benchmarks ask for beside letters: yes or no, and numbered options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vidcausal.parsing import MAX_CUES, parse_choice, plain
from vidcausal.types import Media, Sample

YES_NO = ("Yes", "No")

_CUE = re.compile(r"\banswer\b(?:\s+is)?\s*:?\s*", re.IGNORECASE)
_SAID = re.compile(r"[\s\"'(\[]*(?:(yes)\b|no\b(?=\s*(?:[^\w\s]|\n|$)))", re.IGNORECASE)
"""Yes, or a No that stands alone: "no one" and "no reason" are not an answer."""
_NUMBER = re.compile(
    r"[\s\"'(\[]*(?:option\s*|choice\s*)?#?(\d{1,2})(?=[\s).,:;\]}!?\"']|$)(?!\.\d)(?!\s+[a-z])", re.IGNORECASE
)


def parse_yes_no(text: str) -> int | None:
    """0 for yes, 1 for no, None where the reply says neither clearly.

    Reads the word after the last "answer is"/"Answer:", else the reply's first word, else a last line that is the
    word alone, else a letter (A is yes).
    """
    cleaned = plain(text).strip()
    places = [cue.end() for cue in _CUE.finditer(cleaned)][: -MAX_CUES - 1 : -1]
    lines = [line for line in cleaned.splitlines() if line.strip()]
    stretches = [*(cleaned[place:] for place in places), cleaned]
    if lines and len(lines[-1].split()) <= 2:
        stretches.append(lines[-1].removeprefix("So,").removeprefix("so,"))
    for stretch in stretches:
        if match := _SAID.match(stretch):
            return 0 if match[1] else 1
    return parse_choice(cleaned, len(YES_NO))


def parse_number(text: str, first: int, options: Sequence[str]) -> int | None:
    """The 0-based option that a reply chooses among options numbered from ``first``; None where it is not clear.

    Reads the number after the last "answer is"/"Answer:", else a number at the beginning, else a letter or the
    option's own text as :func:`~vidcausal.parsing.parse_choice` does.
    """
    cleaned = plain(text).strip()
    places = [cue.end() for cue in _CUE.finditer(cleaned)][: -MAX_CUES - 1 : -1]
    for stretch in [*(cleaned[place:] for place in places), cleaned]:
        if match := _NUMBER.match(stretch):
            index = int(match[1]) - first
            return index if 0 <= index < len(options) else None
    return parse_choice(cleaned, len(options), options)


def text_sample(
    identity: str,
    question: str,
    options: Sequence[str],
    target: int | None,
    groups: Mapping[str, Any],
    **meta: Any,
) -> Sample[int]:
    """A question that is about no video."""
    return Sample(
        id=identity,
        task="ask",
        question=question,
        media=Media(videos=()),
        target=target,
        options=tuple(options),
        meta={"groups": dict(groups), **meta},
    )
