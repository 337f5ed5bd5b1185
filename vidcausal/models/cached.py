"""Recognition that is done once: records on disk by footage, recognizer, goal and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcausal.cache import DiskCache, digest
from vidcausal.protocols import Recognizer
from vidcausal.types import Recognition
from vidcausal.video.footage import Footage

_ABILITIES = ("chat", "score_options", "ground", "events", "attention")
_TRAITS = ("prompts", "caveat")


class CachedRecognizer:
    """A recognizer that remembers; what else the wrapped one can do (chat, ground …) is passed through.

    A hit touches neither ``footage.frames`` nor the weights: nothing is decoded.

    Args:
        recognizer: the recognizer to ask on a miss.
        cache: where records are kept.
    """

    def __new__(cls, recognizer: Recognizer, cache: DiskCache) -> CachedRecognizer:
        """An instance that has exactly the abilities of ``recognizer``, so that ``isinstance`` with a protocol is true
        only for what it can do.
        """
        able = {name: _passed_on(name) for name in _ABILITIES if callable(getattr(recognizer, name, None))}
        able |= {name: getattr(recognizer, name) for name in _TRAITS if hasattr(recognizer, name)}
        return super().__new__(type(cls.__name__, (cls,), able) if able else cls)

    def __init__(self, recognizer: Recognizer, cache: DiskCache) -> None:
        self.recognizer = recognizer
        self.cache = cache

    @property
    def name(self) -> str:
        """The wrapped recognizer's name."""
        return self.recognizer.name

    @property
    def fingerprint(self) -> str:
        """The wrapped recognizer's fingerprint."""
        return self.recognizer.fingerprint

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        """The remembered records, else the wrapped recognizer's."""
        key = digest("records 1", footage.key, self.fingerprint, goal, *candidates)
        if (known := Recognition.from_json(self.cache.get_json("records", key))) is not None:
            return known
        recognition = self.recognizer.recognize(footage, goal=goal, candidates=candidates)
        self.cache.put_json("records", key, recognition.to_json())
        return recognition


def _passed_on(name: str) -> Any:
    def method(self: CachedRecognizer, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.recognizer, name)(*args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"The wrapped recognizer's ``{name}``."
    return method
