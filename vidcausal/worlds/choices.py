"""Five options that give nothing away without the video.

The rule all worlds follow: the five options of a question are one template filled with five values that could change
places. If the world draws the values so that, given the question's words, each of the five is equally likely to be the
right one, then whoever has not seen the video can only guess. So the wrong values must be drawn from the same
distribution as the right one, none of them may be named in the question, and nothing else may differ.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from vidcausal.worlds.story import Question

NUM_OPTIONS = 5


def choose(
    rng: random.Random, right: str, present: Sequence[str], absent: Sequence[str], *, count: int = NUM_OPTIONS
) -> tuple[tuple[str, ...], int] | None:
    """Shuffled options and the index of ``right``; None where there are too few.

    Args:
        rng: random numbers.
        right: the right option.
        present: wrong options that the same video shows: taken first.
        absent: wrong options that it does not show: taken where the first do not suffice.
        count: how many options.
    """
    here = [text for text in dict.fromkeys(present) if text != right]
    away = [text for text in dict.fromkeys(absent) if text != right and text not in here]
    rng.shuffle(here)
    rng.shuffle(away)
    wrong = (here + away)[: count - 1]
    if len(wrong) < count - 1:
        return None
    options = [right, *wrong]
    rng.shuffle(options)
    return tuple(options), options.index(right)


def question(
    rng: random.Random,
    type: str,  # the name NExT-QA gives it
    texts: Sequence[str],
    right: str,
    present: Sequence[str],
    absent: Sequence[str] = (),
    spans: Sequence[tuple[float, float]] = (),
) -> Question | None:
    """A question in one of the wordings ``texts``; None where there are too few options."""
    chosen = choose(rng, right, present, absent)
    if chosen is None:
        return None
    options, answer = chosen
    return Question(type, rng.choice(list(texts)), options, answer, tuple(spans))
