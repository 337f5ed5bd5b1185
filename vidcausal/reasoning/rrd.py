"""RRD, recognition-reasoning decomposition: first say what happens in each clip, then reason over the words.

Source: VCRBench (arXiv 2505.08455), pritamqu/VCRBench@5d616a39 models/qwen2_5_vl_rrd.py for the procedure; the wording
of the prompts is ours. Besides the published text answer, a reasoner that gives likelihoods also *scores* the answer:
options by what the question adds to their words, orders by pairs and the best permutation; that cannot be malformed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from vidcausal.cache import DiskCache, seed_of
from vidcausal.errors import ConfigError
from vidcausal.parsing import parse_choice, parse_spans
from vidcausal.protocols import Grounder, Recognizer, Scoring, TextChat, VideoChat
from vidcausal.reasoning.chat_recognizer import ChatRecognizer, Mode, known_clips
from vidcausal.reasoning.options import choose
from vidcausal.reasoning.ordering import METHODS, Method, best_order, pairwise_log_odds
from vidcausal.reasoning.prompts import fill
from vidcausal.reasoning.tasks import (
    answer_fields,
    clip_captions,
    clip_table,
    event_table,
    events_text,
    goal_of,
    query_of,
    read_order,
    spans_text,
)
from vidcausal.reasoning.transcript import Transcript, name_of, takes_frames
from vidcausal.types import TASKS, EventRecord, Reply, Sample, Span, Task
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch

RecordSource = Literal["recognized", "oracle", "blank", "shuffled"]
RECORD_SOURCES: tuple[RecordSource, ...] = ("recognized", "oracle", "blank", "shuffled")


class _Recognized(NamedTuple):
    """First stage: the records, and the table of clips as the published script would print it (else None)."""

    records: tuple[EventRecord, ...]
    official_table: str | None = None


class RRD:
    """Recognition, then reasoning.

    Args:
        model: a Recognizer, whose own recognition is used, or any video chat, which is asked in words
            (:class:`ChatRecognizer`). A Grounder answers ``ground`` itself.
        reasoner: a text chat; None lets the model reason. With Scoring its answers are scored too.
        recognition: ``"one_shot"`` or ``"iterative"``, for a model that is asked in words.
        reason_with_video: show the frames in the second stage too, in all tasks or in those named (the reasoner must
            take them; without a reasoner the model does it).
        score: score options and orders by likelihood besides generating.
        ordering: how pairs of clips are scored, see :func:`~vidcausal.reasoning.ordering.pairwise_log_odds`.
        records: what the reasoner is given, to measure the stages apart: ``"recognized"``; ``"oracle"``, the
            annotation's own captions; ``"blank"``, no captions; ``"shuffled"``, captions exchanged between clips.
        official_compat: the published procedure where ours differs (raw replies handed on, labels "Clip Clip k:").
        max_new_tokens: limit of every reply.
        cache: keep what a model that is asked in words said about a video (a Recognizer keeps its own records).

    Raises:
        ConfigError: models that cannot do this, or an unknown choice.
    """

    def __init__(
        self,
        model: Recognizer | VideoChat,
        reasoner: TextChat | None = None,
        *,
        recognition: Mode = "one_shot",
        reason_with_video: bool | Sequence[Task] = False,
        score: bool = True,
        ordering: Method = "sequence",
        records: RecordSource = "recognized",
        official_compat: bool = False,
        max_new_tokens: int = 512,
        cache: DiskCache | None = None,
    ) -> None:
        _check("records", records, RECORD_SOURCES)
        _check("ordering", ordering, METHODS)
        self._grounder = model if isinstance(model, Grounder) else None
        self._recognizer = _recognizer(
            model, recognition, official_compat=official_compat, max_new_tokens=max_new_tokens, cache=cache
        )
        self._with_video = _video_tasks(reason_with_video)
        self._reasoner = _reasoner(model, reasoner, bool(self._with_video))
        self._scorer = self._reasoner if score and isinstance(self._reasoner, Scoring) else None
        self._ordering: Method = ordering
        self._source: RecordSource = records
        self._official = official_compat
        self._max_new_tokens = max_new_tokens
        parts = ["rrd", "iterative" if recognition == "iterative" else "", _video_name(self._with_video)]
        self.name = "-".join(part for part in [*parts, records if records != "recognized" else ""] if part)

    def answer(self, sample: Sample[Any], footage: Footage) -> Reply:
        """Answer one sample; the reply holds every call of both stages and the records between them."""
        transcript = Transcript(self._max_new_tokens)
        tasks = {"order": self._order, "ground": self._ground, "ask": self._ask, "events": self._events}
        return tasks[sample.task](sample, footage, transcript)

    # ---- first stage --------------------------------------------------------------------------------------------

    def _recognize(self, sample: Sample[Any], footage: Footage, transcript: Transcript) -> _Recognized:
        if self._source == "oracle":
            records = tuple(sample.meta.get("oracle_records", ()))
            if not records:
                raise ConfigError(f"records=oracle, but sample {sample.id!r} has no annotated captions")
            return _Recognized(records)
        table = None
        if isinstance(self._recognizer, ChatRecognizer):
            found = self._recognizer.recognize(
                footage, goal=sample.goal, candidates=sample.candidates, numbered=sample.task == "order" or None
            )
            transcript.take_over(self._recognizer.name, found)
            records = found.records
            table = self._recognizer.official_table(found) if self._official else None
        else:
            records = transcript.recognize(self._recognizer, footage, sample)
        if self._source == "blank":
            return _Recognized(tuple(replace(record, caption="", speech="") for record in records))
        if self._source == "shuffled":
            return _Recognized(_shuffled(records, sample.id))
        return _Recognized(records, table)

    def _frames(self, sample: Sample[Any], footage: Footage) -> FrameBatch | None:
        return footage.frames if sample.task in self._with_video else None

    def _prompt(self, sample: Sample[Any], name: str, **values: object) -> str:
        return fill(f"{name}_video" if sample.task in self._with_video else name, self._reasoner, **values)

    # ---- second stage -------------------------------------------------------------------------------------------

    def _order(self, sample: Sample[Any], footage: Footage, transcript: Transcript) -> Reply:
        goal = goal_of(sample)
        records, official_table = self._recognize(sample, footage, transcript)
        labels = [record.clip for record in records if record.clip is not None]
        num_clips = len(known_clips(footage, transcript)) or max(labels, default=0)
        captions = clip_captions(records, num_clips)
        table = official_table if official_table is not None else clip_table(captions)
        prompt = self._prompt(sample, "rrd_reason_order", goal=goal, records=table)
        text = transcript.chat("reason", self._reasoner, prompt, self._frames(sample, footage))
        order = read_order(text, num_clips, transcript.notes)
        if self._scorer is not None and num_clips > 1:
            if not any(captions):
                transcript.note("no clip has a description: the scored order says nothing")
            odds = pairwise_log_odds(transcript, self._scorer, goal, captions, self._ordering)
            order = tuple(clip + 1 for clip in best_order(odds))
        return Reply(text, tuple(transcript.steps), records, order=order, notes=tuple(transcript.notes))

    def _ground(self, sample: Sample[Any], footage: Footage, transcript: Transcript) -> Reply:
        query = query_of(sample)
        if self._grounder is not None and self._source == "recognized":
            spans = transcript.ground(self._grounder, footage, query)
            return Reply(spans_text(spans), tuple(transcript.steps), spans=spans, notes=tuple(transcript.notes))
        records = self._recognize(sample, footage, transcript).records
        prompt = self._prompt(
            sample, "rrd_reason_ground", query=query, duration=f"{footage.duration:.1f}", records=event_table(records)
        )
        text = transcript.chat("reason", self._reasoner, prompt, self._frames(sample, footage))
        spans = parse_spans(text, duration=footage.duration)
        if not spans:
            transcript.note("the reply gives no span of time")
        if self._scorer is not None and any(record.caption for record in records):
            spans = (*_ranked(transcript, self._scorer, query, records), *spans)
        return Reply(text, tuple(transcript.steps), records, spans=spans, notes=tuple(transcript.notes))

    def _ask(self, sample: Sample[Any], footage: Footage, transcript: Transcript) -> Reply:
        records = self._recognize(sample, footage, transcript).records
        prompt = self._prompt(sample, "rrd_reason_ask", records=event_table(records), **answer_fields(sample))
        frames = self._frames(sample, footage)
        text = transcript.chat("reason", self._reasoner, prompt, frames)
        option: int | None = None
        scores: tuple[float, ...] = ()
        if sample.options:
            option = parse_choice(text, len(sample.options), sample.options)
            if option is None:
                transcript.note("the reply names no option, or more than one")
            if self._scorer is not None:
                option, scores = choose(transcript, self._scorer, prompt, sample.options, frames)
        return Reply(
            text, tuple(transcript.steps), records, option=option, option_scores=scores, notes=tuple(transcript.notes)
        )

    def _events(self, sample: Sample[Any], footage: Footage, transcript: Transcript) -> Reply:
        records = self._recognize(sample, footage, transcript).records
        return Reply(events_text(records), tuple(transcript.steps), records, notes=tuple(transcript.notes))


def _check(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")


def _video_tasks(chosen: bool | Sequence[Task]) -> tuple[Task, ...]:
    if isinstance(chosen, bool):
        return TASKS if chosen else ()
    for task in chosen:
        _check("reason_with_video", task, TASKS)
    return tuple(chosen)


def _video_name(tasks: Sequence[Task]) -> str:
    return "" if not tasks else "video" if set(tasks) == set(TASKS) else "-".join([*tasks, "video"])


def _recognizer(model: Recognizer | VideoChat, mode: Mode, **settings: Any) -> Recognizer:
    if isinstance(model, Recognizer):
        return model
    if takes_frames(model):
        return ChatRecognizer(model, mode, **settings)
    raise ConfigError(
        f"strategy rrd needs a model that recognizes or that can be shown frames; {name_of(model)} can do neither"
    )


def _reasoner(model: Recognizer | VideoChat, reasoner: TextChat | None, with_video: bool) -> TextChat:
    chosen = reasoner if reasoner is not None else model
    if not isinstance(chosen, TextChat):
        raise ConfigError(
            f"{model.name} recognizes but does not chat; name a reasoner, for example smollm2-135m-instruct"
        )
    if with_video and not takes_frames(chosen):
        raise ConfigError(f"reason_with_video shows frames to the reasoner, and {chosen.name} reads text only")
    return chosen


def _shuffled(records: Sequence[EventRecord], seed: str) -> tuple[EventRecord, ...]:
    """The records with captions and speech of other records, the same way for the same sample.

    A random cycle: with two records or more, none keeps its own.
    """
    places = list(range(len(records)))
    random.Random(seed_of(seed)).shuffle(places)
    following = dict(zip(places, places[1:] + places[:1], strict=True))
    source = [records[following[i]] for i in range(len(records))]
    return tuple(
        replace(record, caption=other.caption, speech=other.speech)
        for record, other in zip(records, source, strict=True)
    )


def _ranked(transcript: Transcript, scorer: Scoring, query: str, records: Sequence[EventRecord]) -> tuple[Span, ...]:
    """The records' spans, the one first whose caption gains most from the query."""
    told = [record for record in records if record.caption]
    _, scores = choose(
        transcript, scorer, fill("ground_match", scorer, query=query), [record.caption for record in told]
    )
    ranked = sorted(zip(scores, told, strict=True), key=lambda pair: -pair[0])
    return tuple(Span(record.start, record.end, score) for score, record in ranked)
