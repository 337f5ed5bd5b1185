"""From the annotated steps of a video to a question about their order; the same question in every process.

1. Steps are sorted by their start. Neighbors that say the same become one step; a step that is said at several places
   is left out everywhere, since nothing tells its occurrences apart; so is a step that begins before the one before it
   has ended.
2. Of the allowed numbers of steps that the video has enough for, one is drawn, and a stretch of so many steps in a
   row.
3. The stretch is shuffled: ``uniform`` over all orders, ``vcrbench`` over all but the true order and its reversal,
   which VCRBench never asks for either.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from vidcausal.cache import seed_of

Policy = Literal["uniform", "vcrbench"]
POLICIES: tuple[Policy, ...] = ("uniform", "vcrbench")


class TimedStep(NamedTuple):
    """An annotated step, in seconds of its video."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Procedure:
    """What one video shows: a goal and the steps towards it."""

    id: str
    video: str
    goal: str
    steps: tuple[TimedStep, ...]


class Shuffled(NamedTuple):
    """``clips[k - 1]`` is shown as Clip k; ``order`` are the clip numbers from the first step to the last."""

    clips: tuple[TimedStep, ...]
    order: tuple[int, ...]


def usable_steps(steps: Sequence[TimedStep]) -> list[TimedStep]:
    """The steps that have one place in the order (rule 1)."""
    joined: list[TimedStep] = []
    for step in sorted(step for step in steps if _is_step(step)):
        if joined and _same(joined[-1]) == _same(step):
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, step.end))
        else:
            joined.append(step)
    said = Counter(map(_same, joined))
    kept: list[TimedStep] = []
    for step in joined:
        if said[_same(step)] == 1 and (not kept or step.start >= kept[-1].end):
            kept.append(step)
    return kept


def _is_step(step: TimedStep) -> bool:
    return bool(step.text.strip()) and math.isfinite(step.start) and math.isfinite(step.end) and step.end > step.start


def _same(step: TimedStep) -> str:
    return " ".join(step.text.lower().split()).rstrip(".")


def draw(procedure: Procedure, lengths: Sequence[int], policy: Policy, seed: int) -> Shuffled | None:
    """The question about a video (rules 2 and 3); None where it has too few steps.

    It depends on the procedure's id, its steps and the arguments, on nothing else.
    """
    steps = usable_steps(procedure.steps)
    allowed = [n for n in sorted(set(lengths)) if n <= len(steps)]
    if not allowed:
        return None
    random = Random(seed_of("ordering", procedure.id, str(seed)))
    n = random.choice(allowed)
    first = random.randrange(len(steps) - n + 1)
    shown = list(range(n))
    random.shuffle(shown)
    while policy == "vcrbench" and n > 2 and shown in (list(range(n)), list(range(n))[::-1]):
        random.shuffle(shown)
    clips = tuple(steps[first + place] for place in shown)
    return Shuffled(clips, tuple(shown.index(place) + 1 for place in range(n)))
