"""How the world procedures looks: sprites as outlines, parts that come to be seen, and the hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vidcausal.worlds.canvas import RGB, STATES, Box, Draw, darker, lighter
from vidcausal.worlds.procedures.devices import DEVICES
from vidcausal.worlds.procedures.outlines import INKS, Outline, outlines

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

BACKGROUND: RGB = (238, 226, 200)
UPRIGHT = 8 / (STATES - 1)
"""State of a tool that is not turned."""
Points = list[tuple[float, float]]

PIPS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.5, 0.5),),
    ((0.27, 0.27), (0.73, 0.73)),
    ((0.22, 0.22), (0.5, 0.5), (0.78, 0.78)),
    ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),
    ((0.24, 0.24), (0.76, 0.24), (0.5, 0.5), (0.24, 0.76), (0.76, 0.76)),
)


def _points(shape: Outline) -> Points:
    name, numbers = shape[0], shape[2:]
    if name == "r":
        x0, y0, x1, y1 = numbers
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if name == "e":
        x0, y0, x1, y1 = numbers
        turns = [2 * math.pi * k / 24 for k in range(24)]
        return [((x0 + x1 + (x1 - x0) * math.cos(a)) / 2, (y0 + y1 + (y1 - y0) * math.sin(a)) / 2) for a in turns]
    if name == "l":
        return _stroke(*numbers)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _stroke(x0: float, y0: float, x1: float, y1: float, thick: float) -> Points:
    long = math.hypot(x1 - x0, y1 - y0) or 1.0
    across, down = -(y1 - y0) / long * thick / 2, (x1 - x0) / long * thick / 2
    return [(x0 + across, y0 + down), (x1 + across, y1 + down), (x1 - across, y1 - down), (x0 - across, y0 - down)]


def _ink(name: str, rgb: RGB) -> RGB:
    if name == "M":
        return rgb
    if name == "D":
        return darker(rgb, 0.4)
    if name == "L":
        return lighter(rgb, 0.5)
    return INKS[name]


def _fill(pen: ImageDraw, box: Box, points: Points, ink: RGB) -> None:
    _, _, right, bottom = box
    if len(set(points)) > 2:
        pen.polygon([(x * right, y * bottom) for x, y in points], fill=(*ink, 255))


def _turned(points: Points, angle: float) -> Points:
    c, s = math.cos(angle), math.sin(angle)
    return [(0.5 + c * (x - 0.5) - s * (y - 0.5), 0.5 + s * (x - 0.5) + c * (y - 0.5)) for x, y in points]


def draw_tool(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A tool or an ingredient, turned by up to half a turn either way; :data:`UPRIGHT` is not turned."""
    angle = (state - UPRIGHT) * math.pi
    for shape in outlines(variant):
        _fill(pen, box, _turned(_points(shape), angle), _ink(shape[1], rgb))


def _reveal(points: Points, how: str, state: float) -> Points:
    if how == "fill":
        return [(x, max(y, 1 - state)) for x, y in points]
    if how == "wipe":
        return [(min(x, state), y) for x, y in points]
    if how == "grow":
        return [(0.5 + (x - 0.5) * state, 0.5 + (y - 0.5) * state) for x, y in points]
    return points


def draw_part(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A part of the workpiece; ``variant`` is how it comes to be seen and its name, ``state`` how much of it is."""
    how, _, name = variant.partition(":")
    for shape in outlines(name):
        _fill(pen, box, _reveal(_points(shape), how, state), _ink(shape[1], rgb))


def draw_device(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A device at the top: at rest at state 0, as it ends at state 1."""
    for shape in DEVICES[variant](state):
        _fill(pen, box, _points(shape), _ink(shape[1], rgb))


def draw_button(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A button on its base: up at state 0; pressed and lit at state 1."""
    _fill(pen, box, _points(("r", "black", 0.0, 0.68, 1.0, 1.0)), INKS["black"])
    top = 0.08 + 0.38 * state
    dome: Outline = ("p", "M", 0.06, 0.72, 0.12, top + 0.1, 0.3, top, 0.7, top, 0.88, top + 0.1, 0.94, 0.72)
    _fill(pen, box, _points(dome), rgb)
    if state > 0.5:
        _fill(pen, box, _points(("r", "white", 0.12, 0.76, 0.88, 0.94)), INKS["white"])


def draw_hand(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A fist with an arm to the right (``side``) or a finger that points up (``up``)."""
    skin, sleeve = INKS["skin"], INKS["sleeve"]
    if variant == "side":
        _fill(pen, box, _points(("r", "", 0.38, 0.14, 1.0, 0.86)), sleeve)
        _fill(pen, box, _points(("e", "", 0.0, 0.0, 0.44, 1.0)), skin)
        _fill(pen, box, _points(("l", "", 0.04, 0.36, 0.26, 0.36, 0.06)), darker(skin, 0.3))
        _fill(pen, box, _points(("l", "", 0.02, 0.6, 0.26, 0.6, 0.06)), darker(skin, 0.3))
    else:
        _fill(pen, box, _points(("r", "", 0.34, 0.0, 0.66, 0.5)), skin)
        _fill(pen, box, _points(("e", "", 0.06, 0.3, 0.94, 0.86)), skin)
        _fill(pen, box, _points(("r", "", 0.12, 0.76, 0.88, 1.0)), sleeve)


def draw_tokens(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A tall tray with ``state * 5`` black tokens in it, from the bottom up."""
    _fill(pen, box, _points(("r", "", 0.0, 0.0, 1.0, 1.0)), INKS["white"])
    for at in range(round(state * 5)):
        low = 0.98 - at * 0.196
        _fill(pen, box, _points(("e", "", 0.1, low - 0.15, 0.9, low)), INKS["black"])


def draw_die(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    """A die: blank, or with the dots that ``variant`` counts, turned by ``state`` of a turn."""
    angle = state * 2 * math.pi
    _fill(pen, box, _turned([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)], angle), INKS["white"])
    for x, y in PIPS[int(variant) - 1] if variant else ():
        dot: Outline = ("e", "", x - 0.13, y - 0.13, x + 0.13, y + 0.13)
        _fill(pen, box, _turned(_points(dot), angle), INKS["black"])


SPRITES: Mapping[str, Draw] = {
    "tool": draw_tool,
    "part": draw_part,
    "device": draw_device,
    "button": draw_button,
    "hand": draw_hand,
    "tokens": draw_tokens,
    "die": draw_die,
}


def moved(motion: str, phase: float) -> tuple[float, float, float]:
    """How far a tool is from where it works (shares of the side) and its state, at ``phase`` of the work in [0, 1]."""
    return _MOTIONS[motion](phase)


def _wave(phase: float, times: float) -> float:
    return math.sin(2 * math.pi * times * phase)


def _turn(degrees: float) -> float:
    return min(max(UPRIGHT + degrees / 180.0, 0.0), 1.0)


_MOTIONS: Mapping[str, Callable[[float], tuple[float, float, float]]] = {
    "pour": lambda p: (0.08, -0.2 + 0.02 * _wave(p, 2), _turn(-70 * min(1.0, p * 4, (1 - p) * 6 + 0.3))),
    "dip": lambda p: (0.0, -0.1 - 0.1 * _wave(p, 2), UPRIGHT),
    "drop": lambda p: (0.0, -0.3 * (1 - p), UPRIGHT),
    "place": lambda p: (0.34 * (1 - p), -0.06 * (1 - p), UPRIGHT),
    "stir": lambda p: (0.09 * _wave(p, 2), 0.05 * _wave(p + 0.125, 2), _turn(24 * _wave(p, 2))),
    "shake": lambda p: (0.04 * _wave(p, 3), -0.06 * abs(_wave(p, 1.5)), _turn(22 * _wave(p, 3))),
    "rub": lambda p: (0.13 * _wave(p, 2), 0.0, UPRIGHT),
    "sweep": lambda p: (-0.2 + 0.4 * p, 0.0, UPRIGHT),
    "write": lambda p: (-0.12 + 0.24 * p, 0.09 * _wave(p, 3), UPRIGHT),
    "light": lambda p: (0.12 * (1 - p), 0.08 * (1 - p), UPRIGHT),
    "hold": lambda p: (0.03 * _wave(p, 3), 0.0, UPRIGHT),
    "buzz": lambda p: (0.0, -0.08 + 0.1 * p + 0.02 * _wave(p, 5), UPRIGHT),
    "turn": lambda p: (0.0, 0.0, _turn(80 * _wave(p, 1.5))),
    "hammer": lambda p: (0.06, -0.1 * abs(_wave(p, 1.5)), _turn(-10 + 60 * abs(_wave(p, 1.5)))),
    "lift": lambda p: (0.0, 0.14 * (1 - p), UPRIGHT),
    "pull": lambda p: (0.0 + 0.3 * p, 0.04 * p, _turn(60 * p)),
    "pump": lambda p: (0.0, -0.1 * abs(_wave(p, 1.5)), UPRIGHT),
    "fold": lambda p: (0.0, 0.12 * p, _turn(-70 + 70 * p)),
    "knot": lambda p: (0.1 * _wave(p, 1.5), -0.08 * _wave(p, 1), _turn(50 * _wave(p, 1))),
    "snip": lambda p: (-0.05 + 0.1 * p, 0.0, _turn(25 * _wave(p, 2.5))),
}
