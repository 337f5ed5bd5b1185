"""How lmms-eval reads one moment out of a reply about Charades-STA, bug for bug (75571cfe, ``tasks/charades_sta``).

The first kind of place that is found anywhere wins: clock times as a range, numbers as a range, two clock times, the
first number of two sentences. "to" is a dash wherever it stands, a dot does not end a sentence, and sentences that name
a start or an end are looked at alone. A reversed moment is turned round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Moment = tuple[float, float]

THRESHOLDS = (0.3, 0.5, 0.7)
_EXAMPLE = "a specific example is : 20.8 - 30.0 seconds"
_KEYWORDS = ("starts", "ends", "happens in", "start time", "end time", "start", "end", "happen")
_CLOCK = r"\b(\d{1,2}:\d{2}(?::\d{2})?)"
_CLOCK_RANGE = re.compile(_CLOCK + r"\s*[–-]\s*(\d{1,2}:\d{2}(?::\d{2})?)\b")
_NUMBER_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*[–-]\s*(\d+(?:\.\d+)?)")
_CLOCK_ALONE = re.compile(_CLOCK + r"\b")
_NUMBER = re.compile(r"\b(\d+(?:\.\d+)?)\b")
_LOOSE_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*s?\s*[–-]\s*(\d+(?:\.\d+)?)\s*s?")


def charades_times(reply: str) -> list[Moment]:
    """The first moment, or none."""
    cleaned = reply.lower().replace(_EXAMPLE, "").replace("to", "-")
    sentences = re.split(r"[!?\n]", cleaned)
    sentences = [s for s in sentences if any(word in s for word in _KEYWORDS)] or sentences
    found = (
        _first_range(sentences, _CLOCK_RANGE)
        or _first_range(sentences, _NUMBER_RANGE)
        or _pair([_seconds(clock) for s in sentences for clock in _CLOCK_ALONE.findall(s)])
        or _pair([float(numbers[0]) for s in sentences if (numbers := _NUMBER.findall(s))])
        or _first_range(sentences, _LOOSE_RANGE)
    )
    return [(start, end) if end > start else (end, start) for start, end in found]


def _first_range(sentences: Sequence[str], pattern: re.Pattern[str]) -> list[Moment]:
    match = next((match for s in sentences if (match := pattern.search(s))), None)
    return [] if match is None else [(_seconds(match[1]), _seconds(match[2]))]


def _pair(times: Sequence[float]) -> list[Moment]:
    return [(times[0], times[1])] if len(times) > 1 else []


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total


def charades_figures(replies: Mapping[str, str], truths: Mapping[str, Moment]) -> dict[str, float]:
    """``IOU@3``, ``IOU@5``, ``IOU@7`` and ``mIOU`` in percent of the replies; the "IoU" divides by the hull of both."""
    overlaps = [_overlap(truths[key], charades_times(reply)) for key, reply in replies.items()]
    total = len(overlaps)
    figures = {
        f"IOU@{int(limit * 10)}": sum(o >= limit for o in overlaps) * 100 / total if total else 0
        for limit in THRESHOLDS
    }
    return {**figures, "mIOU": sum(overlaps) * 100 / total if total else 0}


def _overlap(truth: Moment, found: Sequence[Moment]) -> float:
    if not found:
        return 0.0
    (start, end), (first, last) = truth, found[0]
    hull = max(end, last) - min(start, first)
    return 0.0 if hull <= 0 else max(min(end, last) - max(start, first), 0) / hull
