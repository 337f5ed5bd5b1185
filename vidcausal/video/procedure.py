"""A procedure that the package draws itself: making lemonade in five steps, the same for the same seed.

It is the bundled input for event ordering: :func:`write_shuffled_procedure` writes a video of shuffled steps, each
behind a "Clip k" card, whose true order is known.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import ConfigError
from vidcausal.types import Span
from vidcausal.video import _props as props
from vidcausal.video._props import Color, Content, Pen, mix
from vidcausal.video.edit import CARD_SECONDS, title_card, write_frames

GOAL = "Make Lemonade"
CAPTIONS = (
    "cut a lemon in half with a knife",
    "squeeze the lemon juice into the glass",
    "pour water from the jug into the glass",
    "add a spoon of sugar and stir",
    "add ice cubes, a straw and a slice of lemon",
)
"""What happens in each step, in the true order."""

_OVERSAMPLE = 2
_TABLE = 236.0


@dataclass(frozen=True)
class ShuffledProcedure:
    """A written video of shuffled steps and what is true about it."""

    path: Path
    goal: str
    order: tuple[int, ...]
    """Clip numbers in the order that reaches the goal."""
    clips: tuple[Span, ...]
    """Span of clip 1, 2 … in the video, title cards left out."""
    captions: tuple[str, ...]
    """What happens in clip 1, 2 …"""


@dataclass(frozen=True)
class _Look:
    """What the seed changes: colors, places, lengths."""

    wall: Color
    tile: Color
    table: Color
    board: Color
    straw: Color
    shift: float
    glass_x: float
    seconds: tuple[float, ...]
    phase: float


def _look(seed: int) -> _Look:
    chance = random.Random(f"lemonade {seed}")
    wall = chance.choice(((206, 226, 222), (236, 224, 204), (214, 222, 236), (226, 218, 228), (220, 230, 208)))
    table = chance.choice(((176, 124, 78), (150, 104, 66), (196, 150, 104), (132, 96, 70)))
    return _Look(
        wall=wall,
        tile=mix(wall, (255, 255, 255), 0.45),
        table=table,
        board=chance.choice(((222, 184, 132), (206, 160, 108), (232, 204, 160))),
        straw=chance.choice(((220, 60, 70), (46, 134, 193), (46, 160, 92), (230, 120, 40))),
        shift=chance.uniform(-16, 16),
        glass_x=chance.uniform(-14, 14),
        seconds=tuple(round(chance.uniform(2.8, 3.6), 2) for _ in CAPTIONS),
        phase=chance.uniform(0, 6),
    )


def render_procedure(
    seed: int, order: Sequence[int], size: tuple[int, int] = (360, 640), fps: float = 15.0
) -> tuple[NDArray[np.uint8], tuple[Span, ...], tuple[str, ...], str]:
    """Draw the steps ``order`` (0-based positions in :data:`CAPTIONS`), one after the other.

    Args:
        seed: changes colors, places and lengths; the same seed gives the same pixels.
        order: which steps, in which order; ``range(5)`` is the procedure itself.
        size: height and width of the frames; 16:9 shows the whole scene.
        fps: frames a second.

    Returns:
        Frames uint8 ``[t, 3, h, w]``, the span of each shown step, its caption, and the goal.

    Raises:
        ConfigError: an unknown step, or a size or rate that is not positive.
    """
    if not order or any(not 0 <= step < len(CAPTIONS) for step in order):
        raise ConfigError(f"steps must be numbers from 0 to {len(CAPTIONS) - 1}, got {list(order)}")
    if min(size) < 16 or fps <= 0:
        raise ConfigError(f"size must be at least 16 x 16 and fps positive, got size={size}, fps={fps}")
    look = _look(seed)
    scene = _Scene(look, size)
    pictures: list[NDArray[np.uint8]] = []
    spans: list[Span] = []
    for step in order:
        count = max(2, round(look.seconds[step] * fps))
        spans.append(Span(len(pictures) / fps, (len(pictures) + count) / fps))
        pictures += [scene.picture(step, k / (count - 1)) for k in range(count)]
    frames = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
    return frames, tuple(spans), tuple(CAPTIONS[step] for step in order), GOAL


def write_shuffled_procedure(
    path: str | Path, seed: int = 0, *, size: tuple[int, int] = (360, 640), fps: float = 15.0
) -> ShuffledProcedure:
    """Write the steps in a shuffled order, each behind a "Clip k" card, as an H.264 mp4.

    The shuffle is never the true order and never its reverse.

    Raises:
        OutputError: the file cannot be written.
    """
    steps = list(range(len(CAPTIONS)))
    chance = random.Random(f"shuffle {seed}")
    shown = list(steps)
    while shown in (steps, steps[::-1]):
        chance.shuffle(shown)
    frames, spans, captions, goal = render_procedure(seed, shown, size, fps)
    card_frames = round(CARD_SECONDS * fps)
    parts: list[NDArray[np.uint8]] = []
    clips: list[Span] = []
    at = 0
    for number, span in enumerate(spans, 1):
        card = title_card(f"Clip {number}", size).transpose(2, 0, 1)
        first, last = round(span.start * fps), round(span.end * fps)
        parts += [np.broadcast_to(card, (card_frames, *card.shape)), frames[first:last]]
        at += card_frames
        clips.append(Span(at / fps, (at + last - first) / fps))
        at += last - first
    target = write_frames(np.concatenate(parts), path, fps)
    order = tuple(shown.index(step) + 1 for step in steps)
    return ShuffledProcedure(target, goal, order, tuple(clips), captions)


def _ease(t: float, start: float = 0.0, end: float = 1.0) -> float:
    """0 before ``start``, 1 after ``end``, smooth between."""
    x = min(max((t - start) / (end - start), 0.0), 1.0)
    return x * x * (3 - 2 * x)


class _Scene:
    """Draws any moment of any step into a picture of one size."""

    def __init__(self, look: _Look, size: tuple[int, int]) -> None:
        from PIL import Image, ImageDraw

        self.look = look
        self._size = size
        height, width = size
        self._unit = _OVERSAMPLE * height / 360
        self._left = 320 - 180 * width / height
        self._back = Image.new("RGB", (width * _OVERSAMPLE, height * _OVERSAMPLE))
        self._background(self._pen(ImageDraw.Draw(self._back, "RGBA")))

    def _pen(self, draw: object) -> Pen:
        unit = self._unit
        return Pen(draw, (unit, 0, -self._left * unit, 0, unit, 0))  # type: ignore[arg-type]

    def picture(self, step: int, t: float) -> NDArray[np.uint8]:
        """RGB ``[h, w, 3]`` of ``step`` at ``t`` in [0, 1]."""
        from PIL import ImageDraw

        image = self._back.copy()
        _STEPS[step](self._pen(ImageDraw.Draw(image, "RGBA")).at(self.look.shift, 0), t, self.look)
        return np.asarray(image.reduce(_OVERSAMPLE))

    def _background(self, pen: Pen) -> None:
        look = self.look
        for k in range(24):
            pen.shape(_box(-400, 10 * k, 1040, 10 * k + 11), mix(look.wall, (255, 255, 255), 0.35 * k / 24))
        for column in range(-6, 18):
            for row in range(4):
                x, y = 62 * column + 31 * (row % 2), 8 + 58 * row
                pen.shape(_box(x + 2, y + 2, x + 60, y + 56), (*look.tile, 70))
        for k in range(13):
            edge = _TABLE + 10 * k
            pen.shape(
                _box(-400, edge, 1040, edge + 11), mix(mix(look.table, (255, 240, 220), 0.12), (40, 20, 8), 0.02 * k)
            )
        pen.shape(_box(-400, _TABLE - 3, 1040, _TABLE + 2), mix(look.table, (255, 255, 255), 0.28))
        chance = random.Random(f"grain {look.phase}")
        for _ in range(46):
            left, high = chance.uniform(-300, 900), chance.uniform(_TABLE + 8, 356)
            wide, bend = chance.uniform(60, 220), chance.uniform(-3, 3)
            grain = [(left, high), (left + wide / 2, high + bend), (left + wide, high)]
            pen.line(grain, (*mix(look.table, (50, 25, 5), 0.55), 60), 1.2)


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cut(pen: Pen, t: float, look: _Look) -> None:
    """A knife comes down on a lemon, and the halves fall open."""
    pen = pen.at(-148, -126, 0, 1.38)
    props.board(pen.at(320, 292), look.board)
    props.shadow(pen, 178, 300, 52, 9)
    props.lemon(pen.at(176, 276, -12), zoom=0.92)
    down = _ease(t, 0.1, 0.42) if t < 0.5 else 1 - _ease(t, 0.55, 0.8)
    saw = 10 * math.sin(26 * t) * _ease(t, 0.25, 0.32) * (1 - _ease(t, 0.42, 0.5))
    apart = _ease(t, 0.5, 0.8)
    props.shadow(pen, 330, 316, 62 + 50 * apart, 11)
    if apart <= 0.02:
        props.lemon(pen.at(330, 282), zoom=1.3)
    else:
        props.lemon_half(pen.at(330 - 56 * apart, 286, -14 * apart), zoom=1.25, flat=0.45 + 0.5 * apart)
        props.lemon_half(pen.at(330 + 56 * apart, 290, 14 * apart), zoom=1.25, flat=0.45 + 0.5 * apart)
    props.knife(pen.at(296 + saw + 90 * apart, 176 + 112 * down - 16 * apart, 4 - 6 * down))


def _squeeze(pen: Pen, t: float, look: _Look) -> None:
    """A hand presses half a lemon over the glass; drops fall and juice gathers."""
    tight = 0.5 + 0.5 * math.sin(14 * t - 1.2)
    x = 320 + look.glass_x
    props.lemon_half(pen.at(148, 314, -8), zoom=1.0, flat=0.6)
    level = 0.04 + 0.15 * _ease(t, 0.1, 1.0)
    props.glass(pen.at(x, 330), Content(level, props.JUICE, wave=8 * t))
    surface = 330 - 10 - (props.GLASS_HEIGHT - 34) * level
    for k in range(7):
        fall = (1.7 * t + k / 7 + 0.06 * math.sin(5 * k)) % 1.0
        y = 116 + (surface - 116) * fall * fall
        props.drop(pen.at(x - 7 + 5 * math.sin(2.6 * k), y), 4.4, (*props.JUICE, 245))
    if tight > 0.4:
        pen.line([(x - 3, 112), (x - 4, 116 + 60 * tight)], (*props.JUICE, 230), 4)
    press = pen.at(x, 84 + 3 * tight)
    props.lemon_half(press.at(-6, 4, 186), zoom=1.12 - 0.05 * tight, flat=0.62 - 0.16 * tight)
    props.hand(press.at(8, -14, 4 * tight), tight=tight)


def _pour(pen: Pen, t: float, look: _Look) -> None:
    """A jug tilts, water runs into the glass and the level rises."""
    x = 290 + look.glass_x
    tilt = _ease(t, 0.0, 0.22) * (1 - _ease(t, 0.9, 1.0))
    poured = _ease(t, 0.18, 0.92)
    level = 0.19 + 0.6 * poured
    flows = 0.17 < t < 0.93
    surface = 330 - 10 - (props.GLASS_HEIGHT - 34) * level
    color = mix(props.JUICE, props.LEMONADE, min(1.0, 1.6 * poured))
    lip_x, lip_y = x + 26, 98.0
    props.glass(pen.at(x, 330), Content(level, color, wave=12 * t if flows else 0.0))
    if flows:
        sway = 1.5 * math.sin(30 * t)
        stream = [(lip_x - 4, lip_y), (lip_x - 15 + sway, lip_y + 34), (lip_x - 20 + sway, surface)]
        pen.line(stream, (*props.WATER, 225), 12)
        pen.line([(px - 2, py) for px, py in stream], (235, 247, 255, 210), 4)
        pen.oval(lip_x - 20, surface, 19 + 3 * math.sin(24 * t), 5.5, (255, 255, 255, 200))
        for k in range(4):
            hop = (2.4 * t + k / 4) % 1.0
            spread = (k - 1.5) * 15 * hop
            props.drop(pen.at(lip_x - 20 + spread, surface - 30 * hop * (1 - hop) * 2), 2.4, (*props.WATER, 230))
    away = 1 - _ease(t, 0.0, 0.18) + _ease(t, 0.93, 1.0)
    props.jug(pen.at(lip_x + 80 * away, lip_y + 70 * away, -62 * tilt, 1.12), 0.86 - 0.5 * poured)


def _sweeten(pen: Pen, t: float, look: _Look) -> None:
    """A spoon of sugar is tipped into the glass, then it stirs."""
    x = 300 + look.glass_x
    jar = pen.at(474, 322)
    props.sugar_jar(jar)
    _label(jar)
    tip = _ease(t, 0.22, 0.38)
    gone = _ease(t, 0.24, 0.5)
    stirring = _ease(t, 0.58, 0.66)
    fallen = _ease(t, 0.34, 0.56) * (1 - _ease(t, 0.66, 0.95))
    content = Content(0.79, props.LEMONADE, sugar=fallen, wave=22 * t if stirring > 0 else 0.0)
    bowl_x = x + 96 - 84 * _ease(t, 0.0, 0.2)
    if stirring > 0:
        swing = math.sin(24 * t)
        props.spoon(pen.at(x + 4 + 16 * swing, 150 + 130 * stirring, -76 + 7 * swing, 1.05), 0.0)
        props.glass(pen.at(x, 330), content)
        for k in range(5):
            angle = 22 * t + 1.26 * k
            pen.oval(x + 30 * math.cos(angle), 250 + 34 * math.sin(1.7 * angle), 2, 2, (255, 255, 255, 170))
        return
    props.glass(pen.at(x, 330), content)
    if 0.24 < t < 0.6:
        chance = random.Random(f"grains {round(t * 1000)}")
        for _ in range(70):
            fall = chance.random()
            y = 142 + (206 - 142) * fall
            pen.oval(bowl_x - 26 + chance.uniform(-9, 9) * (0.5 + fall), y, 1.6, 1.6, (255, 255, 255))
    rise = 40 * _ease(t, 0.5, 0.58)
    props.spoon(pen.at(bowl_x, 124 - rise, -34 * tip, 1.25), 1.0 - gone)


def _label(jar: Pen) -> None:
    """The word on the jar."""
    from PIL import ImageFont

    font = ImageFont.load_default(15 * jar.scale())
    jar.draw.text(jar.place([(0, -43)])[0], "SUGAR", fill=(255, 255, 255), font=font, anchor="mm")


_RESTING = ((-20.0, 128.0, -9.0), (19.0, 134.0, 13.0), (-3.0, 98.0, 4.0), (23.0, 101.0, -14.0))


def _serve(pen: Pen, t: float, look: _Look) -> None:
    """Ice cubes fall in one after the other, then a straw and a slice of lemon follow."""
    x = 320 + look.glass_x
    glass_pen = pen.at(x, 330)
    resting, falling = [], []
    for k, (cx, depth, turn) in enumerate(_RESTING):
        start = 0.05 + 0.13 * k
        fall = min(max((t - start) / 0.14, 0.0), 1.0)
        if fall >= 1:
            bob = 2 * math.sin(9 * t + 2 * k)
            resting.append((cx, depth + bob, turn + bob))
        elif fall > 0 or k < 4:
            height = depth + (330 - depth - 20) * (1 - fall * fall)
            if fall > 0:
                falling.append((cx, height, turn + 90 * (1 - fall)))
    splash = max((1 - abs(t - (0.19 + 0.13 * k)) / 0.06 for k in range(4)), default=0.0)
    content = Content(
        0.79 + 0.025 * len(resting),
        props.LEMONADE,
        cubes=tuple(resting),
        straw=_ease(t, 0.62, 0.78),
        straw_color=look.straw,
        slice_in=_ease(t, 0.8, 0.93),
        wave=14 * t if t < 0.7 else 0.0,
    )
    props.glass(glass_pen, content)
    for cx, height, turn in falling:
        props.ice_cube(glass_pen.at(cx * 0.6, -height, turn))
    if splash > 0:
        for k in range(7):
            angle = math.radians(200 + 23 * k)
            far = 26 + 26 * splash
            props.drop(glass_pen.at(far * math.cos(angle), -150 + 1.3 * far * math.sin(angle)), 3.2, props.LEMONADE)
    props.lemon_half(pen.at(150, 316, -10), zoom=0.95, flat=0.55)
    if t < 0.66:
        for k, (dx, dy) in enumerate(((0, 0), (34, 8), (14, -24))):
            props.ice_cube(pen.at(474 + dx, 312 + dy, 9 * k - 8))


_STEPS: tuple[Callable[[Pen, float, _Look], None], ...] = (_cut, _squeeze, _pour, _sweeten, _serve)
