from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from vidcausal.cache import DiskCache
from vidcausal.models.cached import CachedRecognizer
from vidcausal.protocols import Grounder, Recognizer, Scoring, VideoChat
from vidcausal.types import EventRecord, Recognition, Span, Step
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch


class Counting:
    name = "counting"

    def __init__(self, fingerprint: str = "one") -> None:
        self.fingerprint = fingerprint
        self.calls = 0

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        self.calls += 1
        end = float(footage.frames.pts_seconds[-1])
        record = EventRecord(0.1234567, end, f"{goal} {list(candidates)}", clip=2, speech="hi", confidence=0.5)
        return Recognition((record,), (Step("s", "p", "r", 0.25),), ("clip 3 was left out",))


class Able(Counting):
    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        return f"{prompt} {max_new_tokens}"

    def ground(self, footage: Footage, query: str) -> list[Span]:
        return [Span(0, 1, 0.5)]


class KeyOnly:
    """Footage whose frames must not be touched."""

    def __init__(self, footage: Footage) -> None:
        self.key = footage.key

    @property
    def frames(self) -> FrameBatch:
        raise AssertionError("a hit must not decode")


@pytest.fixture
def footage() -> Footage:
    return Footage.from_frames(FrameBatch(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.arange(3.0).double()))


def test_second_run_is_equal_and_decodes_nothing(tmp_path: Path, footage: Footage) -> None:
    inner = Counting()
    first = CachedRecognizer(inner, DiskCache(tmp_path)).recognize(footage, goal="g", candidates=["a", "b"])
    again = CachedRecognizer(inner, DiskCache(tmp_path)).recognize(KeyOnly(footage), goal="g", candidates=["a", "b"])  # type: ignore[arg-type]
    assert again == first
    assert inner.calls == 1


def test_goal_candidates_and_fingerprint_are_part_of_the_key(tmp_path: Path, footage: Footage) -> None:
    inner = Counting()
    cached = CachedRecognizer(inner, DiskCache(tmp_path))
    cached.recognize(footage, goal="g", candidates=["a"])
    cached.recognize(footage, goal="", candidates=["g", "a"])
    cached.recognize(footage, goal="g")
    CachedRecognizer(other := Counting("two"), DiskCache(tmp_path)).recognize(footage, goal="g")
    assert (inner.calls, other.calls) == (3, 1)


def test_a_damaged_or_foreign_entry_is_done_again(tmp_path: Path, footage: Footage) -> None:
    inner = Counting()
    CachedRecognizer(inner, DiskCache(tmp_path)).recognize(footage)
    (entry,) = tmp_path.rglob("*.json")
    for content in ("{", "[]", '{"records": [{"unknown": 1}], "steps": []}'):
        entry.write_text(content)
        CachedRecognizer(inner, DiskCache(tmp_path)).recognize(footage)
    assert inner.calls == 4


def test_abilities_are_those_of_the_wrapped_recognizer(tmp_path: Path) -> None:
    plain, able = (CachedRecognizer(r, DiskCache(tmp_path)) for r in (Counting(), Able()))
    for cached in (plain, able):
        assert isinstance(cached, CachedRecognizer)
        assert isinstance(cached, Recognizer)
        assert not isinstance(cached, Scoring)
    assert isinstance(able, VideoChat)
    assert isinstance(able, Grounder)
    assert not isinstance(plain, VideoChat)
    assert not isinstance(plain, Grounder)
    assert able.chat("hello", max_new_tokens=3) == "hello 3"  # type: ignore[attr-defined]
    assert (able.name, able.fingerprint) == ("counting", "one")
