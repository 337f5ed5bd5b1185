"""The devices at the top of the picture, as outlines that depend on how far they have gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from vidcausal.worlds.procedures.outlines import Outline


def _bell(state: float) -> tuple[Outline, ...]:
    lean = 0.16 * math.sin(state * 6 * math.pi)
    body = ("p", "M", 0.4 + lean, 0.1, 0.6 + lean, 0.1, 0.78, 0.6, 0.92, 0.78, 0.08, 0.78, 0.22, 0.6)
    clapper = ("e", "black", 0.38 - 2 * lean, 0.74, 0.62 - 2 * lean, 0.98)
    rays = tuple(("l", "black", x, 0.2, x, 0.5, 0.07) for x in (0.04, 0.96)) if 0.0 < state < 1.0 else ()
    return (("r", "black", 0.3, 0.0, 0.7, 0.1), clapper, body, *rays)


def _flag(state: float) -> tuple[Outline, ...]:
    top = 0.62 - 0.6 * state
    return (
        ("r", "black", 0.08, 0.0, 0.18, 1.0),
        ("p", "M", 0.18, top, 1.0, top + 0.04, 0.8, top + 0.19, 1.0, top + 0.34, 0.18, top + 0.38),
    )


def _torch(state: float) -> tuple[Outline, ...]:
    beam = (
        (
            "p",
            "spark",
            0.5 - 0.5 * state,
            0.42 - 0.42 * state,
            0.5 + 0.5 * state,
            0.42 - 0.42 * state,
            0.68,
            0.46,
            0.32,
            0.46,
        ),
    )
    return ((*beam,) if state > 0 else ()) + (
        ("r", "M", 0.36, 0.55, 0.64, 1.0),
        ("p", "M", 0.26, 0.42, 0.74, 0.42, 0.64, 0.58, 0.36, 0.58),
        ("r", "black", 0.44, 0.66, 0.56, 0.78),
    )


def _drum(state: float) -> tuple[Outline, ...]:
    lift = 0.3 * abs(math.cos(state * 3 * math.pi))
    rays = tuple(("l", "black", x, 0.0, x, 0.3, 0.08) for x in (0.06, 0.3)) if 0.0 < state < 1.0 else ()
    body = (
        ("r", "M", 0.06, 0.5, 0.94, 0.95),
        ("e", "white", 0.06, 0.4, 0.94, 0.62),
        ("l", "white", 0.1, 0.66, 0.5, 0.94, 0.05),
        ("l", "white", 0.5, 0.94, 0.9, 0.66, 0.05),
    )
    stick = ("l", "brown", 1.0, 0.26 - lift / 2, 0.5, 0.5 - lift, 0.14)
    return (*body, stick, *rays)


def _balloon(state: float) -> tuple[Outline, ...]:
    wide, high = 0.22 + 0.27 * state, 0.22 + 0.5 * state
    return (
        ("l", "black", 0.5, 0.8, 0.5, 1.0, 0.06),
        ("e", "M", 0.5 - wide, 0.82 - high - 0.02, 0.5 + wide, 0.84),
        ("r", "black", 0.38, 0.92, 0.62, 1.0),
    )


def _umbrella(state: float) -> tuple[Outline, ...]:
    wide, low = 0.14 + 0.36 * state, 0.84 - 0.29 * state
    top = (
        "p",
        "M",
        0.5,
        0.0,
        0.5 + 0.75 * wide,
        0.18,
        0.5 + wide,
        low,
        0.5,
        low - 0.08 * state,
        0.5 - wide,
        low,
        0.5 - 0.75 * wide,
        0.18,
    )
    return (("l", "black", 0.5, 0.1, 0.5, 0.98, 0.07), ("r", "black", 0.5, 0.9, 0.7, 0.98), top)


DEVICES: Mapping[str, Callable[[float], tuple[Outline, ...]]] = {
    "bell": _bell,
    "flag": _flag,
    "torch": _torch,
    "drum": _drum,
    "balloon": _balloon,
    "umbrella": _umbrella,
}
"""Outlines of the devices as functions of how far they have gone, 0 to 1."""
