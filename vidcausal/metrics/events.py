"""How well the events of a video were found: where they are, and whether they are called what they are.

Events are matched one to one, best overlaps first (as COCO and most dense-captioning scorers do): of all pairs whose
overlap reaches the threshold, the pair that overlaps most is matched and both are taken, then the next. Ties go to the
earlier found event, then to the earlier true one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vidcausal.metrics.grounding import span_iou
from vidcausal.types import Event, Span

_NOT_A_WORD = re.compile(r"[^\w\s]")


class TrueEvent(NamedTuple):
    """An annotated event: its span in seconds and every wording that names it."""

    span: Span
    wordings: tuple[str, ...]


class EventCounts(NamedTuple):
    """How many events were found, how many there are, and how many of both are matched."""

    found: int
    true: int
    matched: int

    @property
    def precision(self) -> float:
        """Share of the found events that are matched, in [0, 1]; 1 where nothing was found and nothing is there."""
        return self.matched / self.found if self.found else float(not self.true)

    @property
    def recall(self) -> float:
        """Share of the true events that are matched, in [0, 1]; 1 where nothing is there and nothing was found."""
        return self.matched / self.true if self.true else float(not self.found)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]; 1 where both are empty."""
        both = self.found + self.true
        return 2 * self.matched / both if both else 1.0


def same_words(a: str, b: str) -> bool:
    """Equal but for case, punctuation and blanks."""
    return _words(a) == _words(b)


def _words(text: str) -> str:
    return " ".join(_NOT_A_WORD.sub(" ", text.lower()).split())


def match_events(
    found: Sequence[Event], truths: Sequence[TrueEvent], threshold: float, *, named: bool = False
) -> list[tuple[int, int]]:
    """Pairs ``(found index, true index)``, best overlaps first, every index at most once.

    Args:
        found: what a model says, in any order.
        truths: what is annotated.
        threshold: least intersection over union of a pair, in (0, 1].
        named: only pairs whose caption is one of the true event's wordings (see :func:`same_words`).

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    pairs = [
        (-iou, i, j)
        for i, event in enumerate(found)
        for j, truth in enumerate(truths)
        if (iou := span_iou(event.span, truth.span)) >= threshold and (not named or _names(event, truth))
    ]
    matched: list[tuple[int, int]] = []
    taken_found: set[int] = set()
    taken_true: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in taken_found and j not in taken_true:
            taken_found.add(i)
            taken_true.add(j)
            matched.append((i, j))
    return matched


def _names(event: Event, truth: TrueEvent) -> bool:
    return any(same_words(event.caption, wording) for wording in truth.wordings)


def count_events(
    found: Sequence[Event], truths: Sequence[TrueEvent], threshold: float, *, named: bool = False
) -> EventCounts:
    """Counts of one video; see :func:`match_events` for the arguments."""
    return EventCounts(len(found), len(truths), len(match_events(found, truths, threshold, named=named)))


def pooled(counts: Iterable[EventCounts]) -> EventCounts:
    """Counts of several videos added up, so that every event weighs the same wherever it is."""
    columns = list(zip(*counts, strict=True)) or [(), (), ()]
    return EventCounts(*(sum(column) for column in columns))
