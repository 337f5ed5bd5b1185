"""The native model: our own small VideoLM, trained on procedural worlds, that ships with the package.

One checkpoint does four things by prompt: it lists events with times, finds the moment of a query, answers questions,
and orders clips. It can reason over records without a video, so it recognizes first and reasons then, or answers from
the frames at once. It knows its worlds and nothing else: ``caveat`` says so, and reports print it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from vidcausal.cache import digest
from vidcausal.errors import MissingWeightsError
from vidcausal.models import native_text as text
from vidcausal.models.native_clock import Clock, TextClock, told_frames
from vidcausal.models.video_lm import VideoLM
from vidcausal.types import Event, EventRecord, OptionScore, Recognition, Span
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch

CAVEAT = (
    "Made with the native model: small, trained on drawn worlds (collisions, mechanisms, procedures) only. It is at "
    "home in those; about other videos its words mean nothing, and it does not say so by itself."
)
FRAMES, CLIP_FRAMES, SHUFFLED_FRAMES = 16, 6, 20
"""How many frames it looks at, at most: of a video, of a clip, and of numbered clips that are to be ordered, where each
title card has a frame of its own.
"""
EVENT_TOKENS = 192
"""Longest list of events: some twenty."""
STARTS, MOMENTS, SPANS = 6, 64, 5
"""How many starts of a moment are followed up, how many pairs of start and end are weighed, how many given back."""

_CLIPS = re.compile(r"(?i)^clip 1\b")
"""How a prompt begins that is about numbered clips."""


class NativeModel:
    """A :class:`VideoLM` that speaks the language of :mod:`vidcausal.models.native_text`.

    VideoChat, Scoring, Recognizer, Grounder and EventCaptioner. Strategies ask it in its own words (``prompts``).

    It was trained with 16 frames of a video, 3 to 6 of a clip and up to 20 of shuffled clips with their title cards,
    and tells times badly from more; of more it looks at that many evenly spaced ones. It is told even times
    (:class:`~vidcausal.models.native_clock.Clock`).

    Args:
        core: the trained VideoLM with the native tokenizer.
        name: shown in reports.
    """

    prompts: Mapping[str, str] = text.PROMPTS
    caveat = CAVEAT

    def __init__(self, core: VideoLM, *, name: str = "native-small") -> None:
        self.core, self.name = core, name

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of how they are asked."""
        limits = f"{FRAMES} {CLIP_FRAMES} {SHUFFLED_FRAMES}"
        return digest(
            "native 3", self.core.fingerprint, limits, *(f"{key}={value}" for key, value in text.PROMPTS.items())
        )

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        """Greedy reply to a prompt in the model's words; times in it are seconds of the video."""
        words = text.compact(prompt)
        shown, clock = _even(_thinned(frames, _most(words)), words)
        reply = self.core.chat(clock.told_text(words), shown, max_new_tokens=max_new_tokens)
        return clock.real_text(reply)

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        """Log-likelihood of each option as the reply to a prompt; times in both are seconds of the video."""
        words = text.compact(prompt)
        shown, clock = _even(_thinned(frames, _most(words)), words)
        told = [clock.told_text(option) for option in options]
        return self.core.score_options(clock.told_text(words), told, shown)

    def events(self, frames: FrameBatch) -> list[Event]:
        """Events in time order, in seconds of the video; ``score`` is the mean probability of the words."""
        shown, clock = _even(_thinned(frames))
        dial = _Dial(self.core, clock)
        reply = self.core.generate(text.DESCRIBE, shown, max_new_tokens=EVENT_TOKENS, watch=dial.tokens)
        found = []
        for first, line, confidence in _lines(self.core, reply.ids, reply.log_probs):
            for event in text.read_events(line):
                # A line begins with its two times; between frames the model is torn, and its mean is nearer the truth.
                times = zip((first, first + 1), (event.span.start, event.span.end), strict=True)
                means = (dial.mean(reply.ids[at], reply.watched[at], own) for at, own in times)
                start, end = sorted(clock.answered(mean) for mean in means)
                found.append(Event(Span(start, end), event.caption, confidence))
        return sorted(found, key=lambda event: (event.span.start, event.span.end))

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        """One record an event; of numbered clips one record a clip, its longest event.

        Args:
            footage: frames and clips.
            goal: not used; the model says what it sees.
            candidates: captions to choose from; each clip, or each event, then gets the likeliest of them.
        """
        if not footage.clips:
            events = self.events(footage.frames)
            return Recognition(tuple(self._record(event, footage.frames, candidates) for event in events))
        records = []
        for clip in footage.clips:
            frames = _thinned(footage.clip_frames(clip.number), CLIP_FRAMES)
            events = self.events(frames)
            best = max(events, key=lambda event: event.span.duration, default=Event(Span(0.0, 0.0), ""))
            record = self._record(best, frames, candidates)
            records.append(replace(record, start=clip.span.start, end=clip.span.end, clip=clip.number))
        return Recognition(tuple(records))

    def ground(self, footage: Footage, query: str) -> list[Span]:
        """Moments of a query, best first.

        The model gives a probability to every pair of start and end; the moment given first is the one with the
        largest expected overlap (IoU) with the true one under these probabilities, not the likeliest pair.
        """
        if not len(footage.frames):
            return []
        shown, clock = _even(_thinned(footage.frames))
        dial = _Dial(self.core, clock)
        spans, chances = self._moments(f"when {query}", shown, dial)
        candidates = dial.candidates(spans)
        expected = (_overlaps(candidates, spans) * chances).sum(1)
        ranked = sorted(zip(expected.tolist(), candidates.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        return [Span(clock.answered(start), clock.answered(end), score) for score, (start, end) in ranked[:SPANS]]

    def _moments(self, prompt: str, frames: FrameBatch, dial: _Dial) -> tuple[torch.Tensor, torch.Tensor]:
        """Pairs of shown times ``[n, 2]`` with their probabilities ``[n]``, which sum to one."""
        starts = self.core.next_log_probs(prompt, [[]], frames)[0, dial.tokens].double()
        best = starts.topk(min(STARTS, len(dial.times))).indices.tolist()
        begun = [[dial.tokens[i]] for i in best]
        ends = self.core.next_log_probs(prompt, begun, frames)[:, dial.tokens].double()
        pairs = [(i, j, row) for row, i in enumerate(best) for j in range(i, len(dial.times))]
        spans = torch.tensor([(dial.times[i], dial.times[j]) for i, j, _ in pairs], dtype=torch.float64)
        chances = torch.stack([starts[i] + ends[row, j] for i, j, row in pairs]).softmax(-1)
        likely = chances.topk(min(MOMENTS, len(chances)))
        return spans[likely.indices], likely.values / likely.values.sum()

    def _record(self, event: Event, frames: FrameBatch, candidates: Sequence[str]) -> EventRecord:
        caption = event.caption
        if candidates:
            # Not by way of score_options: a tenth of a second of the video may be several tenths of the told clock.
            shown, clock = _even(_thinned(frames))
            span = text.span_text(clock.told(event.span.start), clock.told(event.span.end))
            scores = self.core.score_options(text.DESCRIBE, [f"{span} {line}" for line in candidates], shown)
            caption = candidates[max(range(len(scores)), key=lambda i: (scores[i].mean, -i))]
        return EventRecord(event.span.start, event.span.end, caption, confidence=event.score, source=self.name)


def native(
    weights: str = "native-small", *, name: str = "native-small", device: str = "cpu", dtype: str = "auto"
) -> NativeModel:
    """The native model with trained weights.

    Args:
        weights: ``native-small``, which ships with the package, or a folder that training wrote.
        name: shown in reports.
        device: where it runs.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        MissingWeightsError: there is no such folder.
        WeightsError: it holds something else.
    """
    return NativeModel(VideoLM.from_pretrained(weights_folder(weights), device=device, dtype=dtype), name=name)


def weights_folder(weights: str) -> Path:
    """The folder of shipped weights by name, or a folder by path.

    Raises:
        MissingWeightsError: neither exists.
    """
    shipped = Path(str(resources.files("vidcausal"))) / "assets" / weights
    for folder in (shipped, Path(weights).expanduser()):
        if (folder / "vidcausal.json").is_file():
            return folder
    raise MissingWeightsError(
        f"no native model at {weights!r}; shipped with the package is native-small, and scripts/train.py writes others"
    )


def _most(words: str) -> int:
    """How many frames to look at for a prompt."""
    return SHUFFLED_FRAMES if _CLIPS.search(words) else FRAMES


def _thinned(frames: Any, most: int = FRAMES) -> Any:
    """Up to ``most`` frames as they are, of more ``most`` evenly spaced ones: the middles of equal parts."""
    if frames is None or len(frames) <= most:
        return frames
    chosen = torch.tensor([(2 * part + 1) * len(frames) // (2 * most) for part in range(most)])
    key = None if frames.key is None else f"{frames.key} {most} of {len(frames)}"
    return replace(frames, data=frames.data[chosen], pts_seconds=frames.pts_seconds[chosen], key=key)


def _even(frames: Any, words: str = "") -> tuple[Any, Clock]:
    """Frames on the told clock; without frames the times in ``words`` set it."""
    return (frames, TextClock(words)) if frames is None or not len(frames) else told_frames(frames)


class _Dial:
    """The times that a model was told, as numbers and as tokens."""

    def __init__(self, core: VideoLM, clock: Clock) -> None:
        self.times = sorted({round(time, 1) for time in clock.shown})
        words = [text.TIME_FORMAT.format(time) for time in self.times]
        self.tokens: list[int] = core.tokenizer.convert_tokens_to_ids(words)

    def mean(self, token: int, chances: Sequence[float], own: float) -> float:
        """The mean of a shown time and its two neighbors, weighted by their probabilities; ``own`` where the token is
        no such time.
        """
        if token not in self.tokens:
            return own
        place = self.tokens.index(token)
        near = range(max(0, place - 1), min(len(self.times), place + 2))
        return float(sum(chances[i] * self.times[i] for i in near) / sum(chances[i] for i in near))

    def candidates(self, spans: torch.Tensor) -> torch.Tensor:
        """Spans ``[m, 2]`` worth considering: shown times and the middles between them, in the ranges of ``spans``."""
        times = torch.tensor(self.times, dtype=torch.float64)
        fine = torch.cat([times, (times[1:] + times[:-1]) / 2]).sort().values
        pairs = torch.cartesian_prod(fine, fine) if len(fine) > 1 else torch.stack([fine, fine], dim=1)
        low, high = spans.min(0).values, spans.max(0).values
        inside = (pairs >= low).all(1) & (pairs <= high).all(1) & (pairs[:, 0] <= pairs[:, 1])
        return pairs[inside]


def _overlaps(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of spans ``[m, 2]`` and ``[n, 2]``: ``[m, n]``; 1 for equal ones, also without length."""
    (s, e), (a, b) = some.T[:, :, None], others.T[:, None, :]
    shared = (torch.minimum(e, b) - torch.maximum(s, a)).clamp(min=0)
    union = torch.maximum(e, b) - torch.minimum(s, a)
    equal = (s == a) & (e == b)
    return torch.where(equal, 1.0, shared / union.clamp(min=1e-9))


def _lines(core: VideoLM, ids: Sequence[int], log_probs: Sequence[float]) -> list[tuple[int, str, float]]:
    """Lines of a reply: place of the first token, text, and the mean probability of the tokens."""
    newline = core.tokenizer.convert_tokens_to_ids(text.NEWLINE)
    lines, start = [], 0
    for place, token in enumerate([*ids, newline]):
        if token == newline:
            if place > start:
                words = str(core.tokenizer.decode(list(ids[start:place]), skip_special_tokens=True))
                lines.append((start, words, math.exp(sum(log_probs[start:place]) / (place - start))))
            start = place + 1
    return lines
