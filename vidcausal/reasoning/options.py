"""Choosing among given options by likelihood: an answer that cannot be malformed.

The text of each option is scored, never its letter, so neither letters nor positions can attract the model. The score
is the mean log-likelihood per token after the question, minus the same after a neutral prompt without question
(pointwise mutual information): what the question adds to how likely the option's words are anyway. Without that
subtraction short and common phrases win.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vidcausal.protocols import Scoring
from vidcausal.reasoning.prompts import load, own
from vidcausal.reasoning.transcript import Transcript
from vidcausal.video.frames import FrameBatch


class Choice(NamedTuple):
    """0-based number of the best option (the first on ties) and every option's score."""

    option: int
    scores: tuple[float, ...]


def choose(
    transcript: Transcript,
    scorer: Scoring,
    prompt: str,
    options: Sequence[str],
    frames: FrameBatch | None = None,
) -> Choice:
    """The option whose words gain most from ``prompt`` (and ``frames``)."""
    asked = transcript.score("score_options", scorer, prompt, options, frames)
    prompt_without = own(scorer, "neutral")
    if prompt_without == "":  # a model that needs no such comparison
        scores = tuple(score.mean for score in asked)
        return Choice(max(range(len(scores)), key=lambda i: (scores[i], -i)), scores)
    without = load("neutral") if prompt_without is None else prompt_without
    neutral = transcript.score("score_options_without_question", scorer, without, options)
    scores = tuple(with_q.mean - without.mean for with_q, without in zip(asked, neutral, strict=True))
    return Choice(max(range(len(scores)), key=lambda i: (scores[i], -i)), scores)


def lettered(options: Sequence[str]) -> str:
    """Options as lines "A. text", for a prompt; empty without options."""
    return "\n".join(f"{chr(ord('A') + i)}. {option}" for i, option in enumerate(options))
