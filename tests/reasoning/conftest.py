"""Small models for the tests of strategies: each answers by rule, and remembers what it was asked.

Tests reach them through the fixture ``fakes``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import torch

from vidcausal.types import Event, EventRecord, OptionScore, Recognition, Sample, Span
from vidcausal.types import Media as MediaType
from vidcausal.video.footage import Clip, Footage
from vidcausal.video.frames import FrameBatch


def footage(num_clips: int = 3, seconds: float = 2.0) -> Footage:
    """Clips of ``seconds`` after title cards of one second, two frames a second."""
    length = num_clips * (seconds + 1.0) if num_clips else 6.0
    times = torch.arange(0, length, 0.5, dtype=torch.float64)
    frames = FrameBatch(torch.zeros(len(times), 3, 4, 4, dtype=torch.uint8), times)
    clips = [
        Clip(k + 1, Span(k * (seconds + 1.0) + 1.0, (k + 1) * (seconds + 1.0)), "clip.mp4") for k in range(num_clips)
    ]
    return Footage.from_frames(frames, clips=clips, duration=length)


def sample(task: str, **values: object) -> Sample[object]:
    defaults: dict[str, object] = {"id": "s", "question": "", "media": MediaType(("x.mp4",))}
    return Sample(task=task, **{**defaults, **values})  # type: ignore[arg-type]


class Texts:
    """A text-only chat."""

    name = "texts"

    def __init__(self, reply: str | Callable[[str], str]) -> None:
        self.reply = reply
        self.asked: list[str] = []

    def chat(self, prompt: str, *, max_new_tokens: int = 512) -> str:
        self.asked.append(prompt)
        return self.reply(prompt) if callable(self.reply) else self.reply


class Videos:
    """A video chat."""

    name = "videos"

    def __init__(self, reply: str | Callable[[str], str]) -> None:
        self.reply = reply
        self.asked: list[tuple[str, FrameBatch | None]] = []

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        self.asked.append((prompt, frames))
        return self.reply(prompt) if callable(self.reply) else self.reply


class ScoringTexts(Texts):
    """A text chat that prefers a given text: the more of its words an option holds, the likelier."""

    def __init__(self, reply: str | Callable[[str], str], likes: Callable[[str, str], float]) -> None:
        super().__init__(reply)
        self.likes = likes

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        return [OptionScore(self.likes(prompt, option), max(1, len(option.split()))) for option in options]


class ScoringVideos(Videos):
    def __init__(self, reply: str, likes: Callable[[str, str], float]) -> None:
        super().__init__(reply)
        self.likes = likes

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        return [OptionScore(self.likes(prompt, option), max(1, len(option.split()))) for option in options]


class Sees:
    """A recognizer that knows its captions."""

    name = "sees"
    fingerprint = "f"

    def __init__(self, captions: Sequence[str]) -> None:
        self.captions = captions

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        spans = [clip.span for clip in footage.clips] or [Span(i, i + 1.0) for i in range(len(self.captions))]
        return Recognition(
            tuple(
                EventRecord(span.start, span.end, caption, clip=k if footage.clips else None, source="sees")
                for k, (span, caption) in enumerate(zip(spans, self.captions, strict=False), start=1)
            )
        )


class Grounds(Sees):
    """A recognizer that also finds moments."""

    def ground(self, footage: Footage, query: str) -> list[Span]:
        return [Span(1.0, 2.0, 0.9), Span(4.0, 5.0, 0.1)]


class Captions(Videos):
    """A video chat with dense captions of its own."""

    def events(self, frames: FrameBatch) -> list[Event]:
        return [Event(Span(0.0, 1.0), "starts", 0.5), Event(Span(1.0, 2.0), "ends", 0.25)]


@pytest.fixture
def fakes() -> SimpleNamespace:
    known = (footage, sample, Texts, Videos, ScoringTexts, ScoringVideos, Sees, Grounds, Captions)
    return SimpleNamespace(**{thing.__name__: thing for thing in known})
