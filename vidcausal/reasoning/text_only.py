"""The reasoner alone: a question and its options in words, no video. What it gets right, no video was needed for.

For ``order`` the reasoner is given the annotation's own descriptions of the clips, as RRD's second stage gets them from
a recognizer: how well it orders once everything was recognized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vidcausal.errors import ConfigError
from vidcausal.parsing import parse_choice
from vidcausal.protocols import Recognizer, Scoring, TextChat, VideoChat
from vidcausal.reasoning.options import choose
from vidcausal.reasoning.ordering import Method
from vidcausal.reasoning.prompts import fill
from vidcausal.reasoning.rrd import RRD
from vidcausal.reasoning.tasks import answer_fields
from vidcausal.reasoning.transcript import Transcript, name_of
from vidcausal.types import Media, Recognition, Reply, Sample
from vidcausal.video.footage import Footage


class TextOnly:
    """One call without frames; options are scored by likelihood besides, orders by pairs.

    Args:
        model: a text chat, or a video chat, which is asked without frames.
        reasoner: asked in place of ``model``, which may then be one that only recognizes.
        score: score options and orders by likelihood besides generating.
        ordering: how pairs of descriptions are scored, see
            :func:`~vidcausal.reasoning.ordering.pairwise_log_odds`.
        max_new_tokens: limit of the reply.

    Raises:
        ConfigError: neither chats.
    """

    name = "text"

    def __init__(
        self,
        model: Recognizer | TextChat | VideoChat,
        reasoner: TextChat | None = None,
        *,
        score: bool = True,
        ordering: Method = "sequence",
        max_new_tokens: int = 256,
    ) -> None:
        chosen = model if reasoner is None else reasoner
        if not isinstance(chosen, TextChat):
            raise ConfigError(
                f"strategy text asks in words, and {name_of(chosen)} does not chat; name a reasoner, for example "
                "reasoner=smollm2-135m-instruct"
            )
        self._model = chosen
        self._scorer = chosen if score and isinstance(chosen, Scoring) else None
        self._max_new_tokens = max_new_tokens
        self._orders = RRD(
            _Unseeing(), chosen, score=score, ordering=ordering, records="oracle", max_new_tokens=max_new_tokens
        )

    def prepare(self, samples: Sequence[Sample[Any]]) -> None:
        """Nothing to prepare."""

    def shown(self, sample: Sample[Any]) -> Sample[Any]:
        """The sample without its video, so that no file is opened or needed."""
        return replace(sample, media=Media(videos=()))

    def answer(self, sample: Sample[Any], footage: Footage) -> Reply:
        """Answer one sample; the footage is not looked at.

        Raises:
            ConfigError: a task that cannot be asked in words, or an order without descriptions of its clips.
        """
        if sample.task == "ask":
            return self._ask(sample)
        if sample.task == "order":
            if not sample.meta.get("oracle_records"):
                raise ConfigError(
                    f"strategy text orders the annotation's descriptions, and sample {sample.id!r} has none; use rrd"
                )
            return self._orders.answer(sample, Footage.empty())
        raise ConfigError(f"strategy text answers questions and orders; {sample.task!r} needs a video (use direct)")

    def _ask(self, sample: Sample[Any]) -> Reply:
        transcript = Transcript(self._max_new_tokens)
        prompt = ask_prompt(sample, self._model)
        text = transcript.chat("ask", self._model, prompt)
        option: int | None = None
        scores: tuple[float, ...] = ()
        if sample.options:
            option = parse_choice(text, len(sample.options), sample.options)
            if self._scorer is not None:
                option, scores = choose(transcript, self._scorer, prompt, sample.options)
        return Reply(text, tuple(transcript.steps), option=option, option_scores=scores, notes=tuple(transcript.notes))


def ask_prompt(sample: Sample[Any], model: object = None) -> str:
    """The question as published where it holds its options, else with its options and how to reply."""
    if sample.options and all(option in sample.question for option in sample.options):
        return sample.question
    return fill("text_ask", model, **answer_fields(sample))


class _Unseeing:
    """Stands where a recognizer would: the records are given."""

    name = "annotation"
    fingerprint = "annotation"

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        raise ConfigError("strategy text recognizes nothing")
