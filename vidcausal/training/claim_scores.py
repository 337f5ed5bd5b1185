"""Held-out stories straight from the renderer, put to a VideoLM many at a time.

A video's questions, moments and events stand behind it in one packed row (:mod:`vidcausal.training.packing`), so each
video is read once and every likelihood comes from one forward pass; what is scored is what
:class:`~vidcausal.models.native.NativeModel` scores. The projector is given whole videos, so one that cannot be
streamed is measured too.

Letters: b videos, t frames, s tokens of a row, d width, v vocabulary, n shown times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcausal.metrics.events import TrueEvent, count_events
from vidcausal.metrics.grounding import span_iou
from vidcausal.models import native_text as text
from vidcausal.models.native import EVENT_TOKENS, STARTS
from vidcausal.models.native_clock import Clock, told_frames
from vidcausal.models.video_lm import VideoLM
from vidcausal.training.attention import additive
from vidcausal.training.packing import VIDEO, Row, pack
from vidcausal.types import Span
from vidcausal.video.frames import FrameBatch
from vidcausal.worlds import create_world
from vidcausal.worlds.story import Question, Split, Story

MEASURES: dict[str, str] = {
    "R@1": "moments found with IoU of at least 0.5",
    "mIoU": "mean overlap of the moment found with the true one",
    "QA": "questions whose likeliest option is right",
    "words": "words of captions that are right, given all tokens before",
    "lines": "event lines (both times and the caption) right in every token, given all tokens before",
    "events F1": "written events matched with true ones at IoU 0.5",
    "named F1": "the same, only with a caption that is one of the true event's wordings",
}
THRESHOLD = 0.5

Tally = dict[str, list[list[float]]]
"""By measure, for each video ``[sum, out of]``."""


@dataclass(frozen=True)
class Exam:
    """A held-out story with what is asked about it. ``moments`` are wordings with the true spans in seconds."""

    story: Story
    questions: tuple[Question, ...]
    moments: tuple[tuple[str, Span], ...]

    @property
    def name(self) -> str:
        """World, split and seed."""
        return f"{self.story.world}-{self.story.split}-{self.story.seed}"


def draw_exams(worlds: Sequence[str], count: int, *, split: Split, first: int, moments: int) -> list[Exam]:
    """``count`` stories, the worlds in turn; what is asked depends on nothing but the story's seed.

    Args:
        worlds: names.
        count: stories in all.
        split: any but ``train`` shares no story with training.
        first: seed of the first story.
        moments: moments asked for in each video, of those whose caption is unique in it.
    """
    exams = []
    for number in range(count):
        world = create_world(worlds[number % len(worlds)])
        seed = first + number // len(worlds)
        story, rng = world.tell(seed, split), world.random(seed, split, "claims")
        captions = [event.caption for event in story.events]
        unique = [event for event in story.events if captions.count(event.caption) == 1]
        chosen = rng.sample(unique, min(moments, len(unique)))
        asked = tuple((rng.choice(event.wordings), Span(event.start, event.end)) for event in chosen)
        exams.append(Exam(story, world.questions(story), asked))
    return exams


def shown(story: Story, frames: int, size: int) -> FrameBatch:
    """``frames`` frames of a story, each in the middle of its equal part of the video."""
    times = [(number + 0.5) * story.duration / frames for number in range(frames)]
    pixels = torch.from_numpy(create_world(story.world).render(story, times, size)).permute(0, 3, 1, 2).contiguous()
    return FrameBatch(pixels, torch.tensor(times, dtype=torch.float64))


# ---- rows -------------------------------------------------------------------------------------------------------


class _Places(NamedTuple):
    """Where in the row the parts of an answer stand; ``tail`` is the place after which the answer begins."""

    tail: int
    start: int
    ids: tuple[int, ...]

    @property
    def sources(self) -> list[int]:
        """The places after which the tokens are predicted."""
        return [self.tail, *range(self.start, self.start + len(self.ids) - 1)]


class _Sheet(NamedTuple):
    """One row and where everything asked in it stands."""

    row: Row
    describe: _Places
    options: tuple[tuple[_Places, ...], ...]
    moments: tuple[tuple[_Places, ...], ...]
    """For each moment and each told time a branch of this one token, as the start."""
    clock: Clock


class Examiner:
    """Asks a VideoLM with the native tokenizer.

    Args:
        core: the model, on its device, in eval mode.
        batch: videos at a time.
    """

    def __init__(self, core: VideoLM, *, batch: int = 8) -> None:
        self.core, self.batch = core, batch
        self.device = next(core.projector.parameters()).device
        self.newline = self._ids("\n")[0]

    @torch.no_grad()
    def ask(self, exams: Sequence[Exam], frames: Sequence[FrameBatch], *, write: bool) -> Tally:
        """What is right in each video; all videos with the same number of frames.

        Args:
            exams: the stories.
            frames: what is shown of each.
            write: let the model write its events too (slower: token by token).
        """
        rows: list[dict[str, tuple[float, float]]] = []
        for first in range(0, len(exams), self.batch):
            part = slice(first, first + self.batch)
            rows += self._asked(exams[part], frames[part], write)
        names = [name for name in MEASURES if name in rows[0]]
        return {name: [list(row[name]) for row in rows] for name in names}

    def _asked(
        self, exams: Sequence[Exam], frames: Sequence[FrameBatch], write: bool
    ) -> list[dict[str, tuple[float, float]]]:
        told = [told_frames(batch) for batch in frames]
        times = [[round(time, 1) for time in clock.shown] for _, clock in told]
        tokens = self._tokens([batch for batch, _ in told])
        sheets = [self._sheet(exam, clock) for exam, (_, clock) in zip(exams, told, strict=True)]
        hidden = self._read(sheets, tokens)
        written = self._written(times, tokens) if write else [None] * len(exams)
        found = []
        for number, (exam, sheet) in enumerate(zip(exams, sheets, strict=True)):
            logs = _Logs(self.core.language, hidden[number])
            row = {**self._moments(exam, sheet, logs), **self._options(exam, sheet, logs)}
            row |= _described(sheet, logs, self.newline)
            if (reply := written[number]) is not None:
                row |= _events(exam, sheet.clock.real_text(reply))
            found.append(row)
        return found

    # ---- reading -------------------------------------------------------------------------------------------------

    def _tokens(self, frames: Sequence[FrameBatch]) -> Tensor:
        """Projected tokens ``[b, t * q, d]``."""
        features = torch.stack([self.core.encoder.encode(batch) for batch in frames])
        times = torch.stack([batch.pts_seconds for batch in frames]).to(self.device)
        own = next(self.core.projector.parameters()).dtype
        projected: Tensor = self.core.projector.project(features.to(own), times).tokens
        return projected

    def _read(self, sheets: Sequence[_Sheet], tokens: Tensor) -> Tensor:
        """Hidden states ``[b, s, d]`` of the packed rows."""
        packed = pack([sheet.row for sheet in sheets])
        embeddings = torch.cat(
            [self.core.embed(ids.tolist(), video[None]) for ids, video in zip(packed.ids, tokens, strict=True)]
        )
        hidden: Tensor = self.core.language.model(
            inputs_embeds=embeddings,
            attention_mask=additive(packed.mask.to(self.device), embeddings.dtype),
            position_ids=packed.positions.to(self.device),
            use_cache=False,
        ).last_hidden_state
        return hidden

    def _sheet(self, exam: Exam, clock: Clock) -> _Sheet:
        row, end = Row(), 0
        times = [round(time, 1) for time in clock.shown]

        def add(ids: Sequence[int], parent: int | None) -> tuple[int, int]:
            nonlocal end
            start, end = end, end + len(ids)
            return row.add(ids, answer=len(ids), parent=parent), start

        add(self._root(times), None)
        lines = text.event_lines((clock.nearest(e.start), clock.nearest(e.end), e.caption) for e in exam.story.events)
        add(self._ids(f"\n{text.DESCRIBE}\n"), 0)
        describe = self._under(add, lines, 1, end - 1)
        options = []
        for question in exam.questions:
            branch, _ = add(self._ids(f"\n{question.text}\n"), 0)
            tail = end - 1
            options.append(tuple(self._under(add, option, branch, tail) for option in question.options))
        moments = []
        for query, _ in exam.moments:
            branch, _ = add(self._ids(f"\nwhen {query}\n"), 0)
            tail = end - 1
            words = [text.TIME_FORMAT.format(time) for time in sorted(set(times))]
            moments.append(tuple(self._under(add, word, branch, tail) for word in words))
        return _Sheet(row, describe, tuple(options), tuple(moments), clock)

    def _under(self, add: Any, words: str, parent: int, tail: int) -> _Places:
        ids = self._ids(words)
        _, start = add(ids, parent)
        return _Places(tail, start, ids)

    def _root(self, times: Sequence[float]) -> list[int]:
        each = self.core.projector.tokens_per_frame(self.core.encoder.num_patches)
        ids = [self.core.tokenizer.bos_token_id]
        for time in times:
            ids += [*self._ids(text.TIME_FORMAT.format(time)), *[VIDEO] * (each or 0)]
        return ids

    def _ids(self, words: str) -> tuple[int, ...]:
        return tuple(self.core.tokenizer(words, add_special_tokens=False)["input_ids"])

    # ---- judging -------------------------------------------------------------------------------------------------

    def _moments(self, exam: Exam, sheet: _Sheet, logs: _Logs) -> dict[str, tuple[float, float]]:
        ious = []
        for (_, truth), starts in zip(exam.moments, sheet.moments, strict=True):
            words = [places.ids[0] for places in starts]
            seconds = [float(self.core.tokenizer.convert_ids_to_tokens(word)) for word in words]
            first = logs.after(starts[0].tail)[words].double().numpy()
            best = np.argsort(-first, kind="stable")[:STARTS]
            ends = logs.after_all([starts[i].start for i in best])[:, words].double().numpy()
            span = best_moment(seconds, best, first[best][:, None] + ends)
            ious.append(span_iou(Span(sheet.clock.answered(span.start), sheet.clock.answered(span.end)), truth))
        asked = float(len(ious))
        return {"R@1": (float(sum(iou >= THRESHOLD for iou in ious)), asked), "mIoU": (sum(ious), asked)}

    def _options(self, exam: Exam, sheet: _Sheet, logs: _Logs) -> dict[str, tuple[float, float]]:
        right = 0
        for question, options in zip(exam.questions, sheet.options, strict=True):
            scores = [logs.likelihood(places) / len(places.ids) for places in options]
            right += max(range(len(scores)), key=lambda i: (scores[i], -i)) == question.answer
        return {"QA": (float(right), float(len(exam.questions)))}

    # ---- writing -------------------------------------------------------------------------------------------------

    def _written(self, times: Sequence[Sequence[float]], tokens: Tensor) -> list[str]:
        """Greedy lists of events, all videos a token at a time: their rows have the same length."""
        prompt = self._ids(f"\n{text.DESCRIBE}\n")
        start = [
            self.core.embed([*self._root(seconds), *prompt], video[None])
            for seconds, video in zip(times, tokens, strict=True)
        ]
        output = self.core.language(inputs_embeds=torch.cat(start), use_cache=True, logits_to_keep=1)
        stop, written = int(self.core.tokenizer.eos_token_id), list[Tensor]()
        ended = torch.zeros(len(times), dtype=torch.bool, device=self.device)
        while len(written) < EVENT_TOKENS:
            chosen = output.logits[:, -1].argmax(-1).masked_fill(ended, stop)
            ended |= chosen == stop
            if bool(ended.all()):
                break
            written.append(chosen)
            if len(written) < EVENT_TOKENS:
                output = self.core.language(
                    inputs_embeds=self.core.language.get_input_embeddings()(chosen)[:, None],
                    past_key_values=output.past_key_values,
                    use_cache=True,
                )
        if not written:
            return [""] * len(times)
        rows = torch.stack(written, dim=1).tolist()
        kept = [row[: row.index(stop)] if stop in row else row for row in rows]
        return [str(self.core.tokenizer.decode(row, skip_special_tokens=True)) for row in kept]


class _Logs:
    """Log-probabilities of the next token after any place of one row, ``hidden`` being ``[s, d]``."""

    def __init__(self, language: Any, hidden: Tensor) -> None:
        self._language, self._hidden = language, hidden

    def after_all(self, places: Sequence[int]) -> Tensor:
        """``[places, v]`` on the CPU."""
        logits: Tensor = self._language.lm_head(self._hidden[list(places)]).float()
        return logits.log_softmax(-1).cpu()

    def after(self, place: int) -> Tensor:
        """``[v]`` on the CPU."""
        return self.after_all([place])[0]

    def likelihood(self, places: _Places) -> float:
        """Sum over the tokens of an answer."""
        return float(self.after_all(places.sources).gather(1, torch.tensor(places.ids)[:, None]).sum())


def best_moment(seconds: Sequence[float], starts: NDArray[np.int64], logs: NDArray[np.float64]) -> Span:
    """The moment with the largest expected overlap, as :meth:`NativeModel.ground` chooses it.

    Args:
        seconds: the shown times, ascending, ``[n]``.
        starts: indices of the times that are looked at as starts, ``[k]``.
        logs: log-probability of each start with each end, ``[k, n]``.
    """
    edges = np.array(seconds)
    pairs = [(k, j) for k, i in enumerate(starts) for j in range(int(i), len(edges))]
    low = np.array([edges[starts[k]] for k, _ in pairs])
    high = np.array([edges[j] for _, j in pairs])
    chances = np.array([logs[pair] for pair in pairs])
    chances = np.exp(chances - chances.max())
    shared = np.clip(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0.0, None)
    union = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    np.fill_diagonal(overlap, 1.0)  # equal moments, also without length
    expected = overlap @ (chances / chances.sum())
    ranked = min(range(len(pairs)), key=lambda p: (-expected[p], low[p], high[p]))
    return Span(float(low[ranked]), float(high[ranked]))


def _described(sheet: _Sheet, logs: _Logs, newline: int) -> dict[str, tuple[float, float]]:
    places = sheet.describe
    hits = (logs.after_all(places.sources).argmax(-1).numpy() == np.array(places.ids)).tolist()
    words = [0, 0]
    lines, whole, place = [], True, 0
    for token, hit in zip(places.ids, hits, strict=True):
        whole, place = whole and hit, place + 1
        if token == newline:
            lines.append(whole)
            whole, place = True, 0
        elif place > 2:  # behind start and end
            words = [words[0] + hit, words[1] + 1]
    return {"words": (float(words[0]), float(words[1])), "lines": (float(sum(lines)), float(len(lines)))}


def _events(exam: Exam, reply: str) -> dict[str, tuple[float, float]]:
    truths = [TrueEvent(Span(event.start, event.end), event.wordings) for event in exam.story.events]
    found = text.read_events(reply)
    counted = {}
    for name, named in (("events F1", False), ("named F1", True)):
        counts = count_events(found, truths, THRESHOLD, named=named)
        counted[name] = (2.0 * counts.matched, float(counts.found + counts.true))
    return counted
