"""Phrases for steps, events and scenes, in our own words: what an event may be called when nobody gave candidates."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def phrase_bank() -> tuple[str, ...]:
    """Every phrase of the ``*.txt`` files beside this module, sorted by file name, without repetitions."""
    folder = files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".txt"))
    lines = [line.strip() for name in names for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
