"""Things drawn for the rendered procedure: lemons, a glass, a jug, a knife, a spoon, ice. Coordinates are 640 x 360.

Everything is made of polygons through a :class:`Pen`, whose transformations move and turn a whole thing at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, ...]
Point = tuple[float, float]

RIND: Color = (250, 212, 30)
PITH: Color = (255, 250, 225)
FLESH: Color = (252, 226, 92)
JUICE: Color = (248, 214, 48)
LEMONADE: Color = (250, 232, 128)
WATER: Color = (150, 205, 238)
STEEL: Color = (205, 212, 220)
SKIN: Color = (236, 188, 150)


def mix(a: Color, b: Color, share: float) -> Color:
    """Color between ``a`` (share 0) and ``b`` (share 1)."""
    return tuple(round(p + (q - p) * share) for p, q in zip(a[:3], b[:3], strict=True))


@dataclass(frozen=True)
class Pen:
    """Draws polygons after moving, turning and scaling them; colors may have an alpha value."""

    draw: ImageDraw
    matrix: tuple[float, float, float, float, float, float] = (1, 0, 0, 0, 1, 0)

    def at(self, x: float, y: float, turn: float = 0.0, zoom: float = 1.0) -> Pen:
        """A pen whose origin is at (x, y), turned clockwise by ``turn`` degrees."""
        a, b, c, d, e, f = self.matrix
        cos, sin = zoom * math.cos(math.radians(turn)), zoom * math.sin(math.radians(turn))
        return Pen(
            self.draw,
            (
                a * cos + b * sin,
                b * cos - a * sin,
                a * x + b * y + c,
                d * cos + e * sin,
                e * cos - d * sin,
                d * x + e * y + f,
            ),
        )

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Pixel coordinates of ``points``."""
        a, b, c, d, e, f = self.matrix
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    def scale(self) -> float:
        """Pixels in one unit."""
        return math.hypot(self.matrix[0], self.matrix[3])

    def shape(self, points: Sequence[Point], fill: Color | None, edge: Color | None = None, width: float = 1.5) -> None:
        """A filled polygon, with an edge if a color for it is given."""
        placed = self.place(points)
        if fill is not None:
            self.draw.polygon(placed, fill=fill)
        if edge is not None:
            self.draw.line([*placed, placed[0]], fill=edge, width=max(1, round(width * self.scale())), joint="curve")

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        """A line through ``points`` with round ends."""
        placed = self.place(points)
        thick = max(1, round(width * self.scale()))
        self.draw.line(placed, fill=color, width=thick, joint="curve")
        for x, y in (placed[0], placed[-1]):
            self.draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=color)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Color | None,
        edge: Color | None = None,
        width: float = 1.5,
    ) -> None:
        """An ellipse."""
        self.shape(arc(x, y, rx, ry, 0, 360), fill, edge, width)

    def ball(self, x: float, y: float, rx: float, ry: float, color: Color, *, steps: int = 10) -> None:
        """An ellipse lit from the upper left."""
        dark, light = mix(color, (90, 50, 0), 0.28), mix(color, (255, 255, 255), 0.55)
        for k in range(steps):
            share = k / (steps - 1)
            tone = mix(dark, color, share * 2) if share < 0.5 else mix(color, light, (share - 0.5) * 1.6)
            size = 1 - 0.82 * share
            self.oval(x - 0.26 * rx * share, y - 0.34 * ry * share, rx * size, ry * size, tone)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, count: int = 44) -> list[Point]:
    """Points along an ellipse, degrees clockwise from the right."""
    angles = (math.radians(start + (end - start) * k / count) for k in range(count + 1))
    return [(x + rx * math.cos(t), y + ry * math.sin(t)) for t in angles]


def shadow(pen: Pen, x: float, y: float, rx: float, ry: float) -> None:
    """A soft contact shadow on the table."""
    for k in range(6):
        pen.oval(x, y, rx * (1.16 - 0.08 * k), ry * (1.16 - 0.08 * k), (40, 22, 8, 20))


def lemon(pen: Pen, *, zoom: float = 1.0) -> None:
    """A whole lemon, lying, centered at the origin."""
    pen = pen.at(0, 0, 0, zoom)
    tip = mix(RIND, (120, 80, 0), 0.25)
    pen.shape([(-44, -9), (-58, -4), (-60, 2), (-56, 7), (-42, 11)], tip)
    pen.shape([(44, -11), (57, -6), (61, 0), (57, 6), (44, 12)], tip)
    pen.ball(0, 0, 50, 34, RIND, steps=16)
    for k in range(26):
        angle, far = 2.4 * k, 0.9 * math.sqrt((k + 0.5) / 26)
        x, y = 44 * far * math.cos(angle), 29 * far * math.sin(angle)
        pen.oval(x, y, 1.1, 0.9, (205, 160, 0, 90))
    pen.oval(-17, -15, 10, 5, (255, 255, 245, 150))


def lemon_half(pen: Pen, *, zoom: float = 1.0, flat: float = 1.0) -> None:
    """The cut face of a lemon, centered at the origin; ``flat`` < 1 sees it from the side."""
    pen = pen.at(0, 0, 0, zoom)
    pen.oval(0, 5, 36, 36 * flat + 5, mix(RIND, (120, 80, 0), 0.22))
    pen.oval(0, 0, 36, 36 * flat, RIND)
    pen.oval(0, 0, 32, 32 * flat, PITH)
    for k in range(9):
        middle = math.radians(40 * k + 12)
        wedge = [(5 * math.cos(middle), 5 * flat * math.sin(middle))]
        for turn, far in ((-15, 26), (-9, 29), (0, 30), (9, 29), (15, 26)):
            angle = middle + math.radians(turn)
            wedge.append((far * math.cos(angle), far * flat * math.sin(angle)))
        pen.shape(wedge, FLESH, (240, 200, 60), 0.8)
        x, y = 19 * math.cos(middle - 0.1), 19 * flat * math.sin(middle - 0.1)
        pen.oval(x, y, 2.6, 1.8 * flat, (255, 250, 205, 190))
    pen.oval(0, 0, 4, 4 * flat, PITH)


def board(pen: Pen, color: Color) -> None:
    """A wooden cutting board, centered at the origin."""
    shadow(pen, 0, 36, 210, 20)
    side = mix(color, (60, 30, 5), 0.45)
    pen.shape([(-190, -30), (190, -30), (214, 30), (214, 42), (-214, 42), (-214, 30)], side)
    pen.shape([(-190, -30), (190, -30), (214, 30), (-214, 30)], color)
    for k in range(5):
        y = -20 + 10 * k
        wide = 192 + 4 * k
        pen.line(
            [(-wide, y), (-wide / 3, y + 2), (wide / 3, y - 2), (wide, y + 1)], mix(color, (90, 50, 10), 0.16), 1.2
        )
    pen.oval(180, 0, 9, 5, mix(color, (50, 25, 5), 0.6))


def knife(pen: Pen) -> None:
    """A kitchen knife pointing left, edge down, its tip at the origin."""
    pen.shape([(0, 0), (26, -22), (60, -30), (150, -32), (150, 2), (20, 4)], STEEL, (120, 130, 140), 1.2)
    pen.shape([(10, 1), (30, -5), (150, -7), (150, 2), (20, 4)], (238, 243, 248))
    pen.shape([(150, -34), (162, -34), (162, 3), (150, 3)], (90, 95, 102))
    pen.shape([(162, -33), (250, -30), (262, -22), (262, -8), (250, 0), (162, 2)], (72, 44, 30), (45, 26, 16), 1.2)
    for x in (182, 208, 234):
        pen.oval(x, -15, 3.4, 3.4, (205, 205, 200))


def hand(pen: Pen, *, tight: float) -> None:
    """A right hand closed around something at the origin, arm to the upper right; ``tight`` in [0, 1]."""
    dark, light = mix(SKIN, (120, 60, 30), 0.35), mix(SKIN, (255, 255, 255), 0.25)
    pen.shape([(112, -93), (150, -120), (186, -82), (144, -48)], (58, 102, 168))
    pen.shape([(28, -34), (112, -93), (144, -48), (54, 24)], SKIN)
    pen.oval(26, -8, 38, 34, SKIN, dark, 1.2)
    for k in range(4):
        y = -24 + 15 * k
        reach = -34 + 5 * abs(k - 1.4) + 7 * tight
        pen.line([(26, y - 2), (-6, y - 6 + 2 * k), (reach, y + 4)], dark, 17)
        pen.line([(26, y - 2), (-6, y - 6 + 2 * k), (reach, y + 4)], SKIN, 14.6)
        pen.line([(reach + 1, y + 3), (reach + 5, y + 1)], light, 7)


@dataclass
class Content:
    """What is in the glass: how full (0 to 1), the liquid's color, cubes as (x, depth, turn), a straw, a slice."""

    level: float = 0.0
    color: Color = JUICE
    cubes: Sequence[tuple[float, float, float]] = field(default_factory=tuple)
    straw: float = 0.0
    """How far the straw is in, 0 to 1."""
    straw_color: Color = (220, 60, 70)
    slice_in: float = 0.0
    """How far the lemon slice is on the rim, 0 to 1."""
    sugar: float = 0.0
    """Sugar on the ground, 0 to 1."""
    wave: float = 0.0
    """Phase of the surface's movement; 0 is still."""


GLASS_TOP, GLASS_HEIGHT, GLASS_FOOT = 58.0, 176.0, 44.0


def glass(pen: Pen, content: Content) -> None:
    """A tall glass that stands on the origin."""
    shadow(pen, 6, 0, 64, 12)
    wall, edge = (232, 244, 250, 70), (150, 172, 186)
    top, height, foot = GLASS_TOP, GLASS_HEIGHT, GLASS_FOOT
    pen.shape([(-top, -height), *arc(0, -height, top, 13, 180, 360), *arc(0, -4, foot, 9, 0, 180)], wall)
    if content.straw > 0:
        _straw(pen, content)
    if content.level > 0.01:
        _liquid(pen, content)
    if content.sugar > 0:
        pen.shape(
            [(-foot + 5, -9), (-foot / 2, -9 - 9 * content.sugar), (foot / 3, -9 - 13 * content.sugar), (foot - 5, -9),
             *arc(0, -8, foot - 5, 6, 0, 180)],
            (255, 255, 255, 225),
        )  # fmt: skip
    for x, depth, turn in content.cubes:
        ice_cube(pen.at(x, -depth, turn))
    pen.line([(-top, -height), (-foot, -4), *reversed(arc(0, -4, foot, 9, 0, 180)), (top, -height)], edge, 1.8)
    pen.oval(0, -4, foot, 9, (225, 240, 248, 90), edge, 1.5)
    pen.shape([(-top + 11, -height + 16), (-top + 20, -height + 16), (-foot + 13, -22), (-foot + 8, -22)],
              (255, 255, 255, 130))  # fmt: skip
    pen.shape([(top - 14, -height + 22), (top - 10, -height + 22), (foot - 8, -40), (foot - 10, -40)],
              (255, 255, 255, 100))  # fmt: skip
    pen.shape(arc(0, -height, top, 13, 0, 360), (255, 255, 255, 36), (170, 190, 202), 2.0)
    if content.slice_in > 0:
        lemon_half(pen.at(-top + 2, -height - 2 - 150 * (1 - content.slice_in), -16), zoom=1.0)


def _liquid(pen: Pen, content: Content) -> None:
    top_y = -10 - (GLASS_HEIGHT - 34) * content.level
    wide = GLASS_FOOT + (GLASS_TOP - GLASS_FOOT) * (-top_y / GLASS_HEIGHT) - 4
    low = GLASS_FOOT - 4
    deep, pale = mix(content.color, (170, 110, 0), 0.18), mix(content.color, (255, 255, 255), 0.45)
    lift = 2.2 * math.sin(content.wave) if content.wave else 0.0
    sides = [(-wide, top_y + lift), (-low, -8), *reversed(arc(0, -8, low, 7, 0, 180)), (low, -8), (wide, top_y - lift)]
    pen.shape(sides, (*content.color[:3], 225))
    pen.shape([(wide * 0.45, top_y), (wide, top_y - lift), (low, -8), (low * 0.5, -4)], (*deep, 70))
    pen.shape(arc(0, top_y, wide, 10, 0, 360), (*pale, 235), (*deep, 160), 1.2)


def _straw(pen: Pen, content: Content) -> None:
    tube = pen.at(14, -30 - 150 * (1 - content.straw), 14)
    tube.line([(0, 0), (0, -206)], (250, 250, 248), 11)
    for k in range(9):
        y = -8 - 23 * k
        tube.shape([(-5.5, y), (5.5, y - 7), (5.5, y - 17), (-5.5, y - 10)], content.straw_color)
    tube.line([(-3.4, -4), (-3.4, -204)], (255, 255, 255, 120), 1.6)


def ice_cube(pen: Pen, side: float = 34.0) -> None:
    """An ice cube, centered at the origin."""
    half = side / 2
    face = [(-half, -half + 4), (half - 5, -half + 4), (half - 5, half), (-half, half)]
    lid = [(-half, -half + 4), (-half + 7, -half - 5), (half + 2, -half - 5), (half - 5, -half + 4)]
    flank = [(half - 5, -half + 4), (half + 2, -half - 5), (half + 2, half - 8), (half - 5, half)]
    line = (140, 180, 205)
    pen.shape(face, (214, 236, 248, 190), line, 1.4)
    pen.shape(lid, (244, 251, 255, 225), line, 1.4)
    pen.shape(flank, (176, 212, 234, 205), line, 1.4)
    pen.line([(-half + 6, -half + 11), (-half + 6, half - 8)], (255, 255, 255, 210), 3)
    pen.line([(-2, 6), (6, -4)], (255, 255, 255, 150), 2)


def jug(pen: Pen, level: float) -> None:
    """A glass jug of water with its lip at the origin, standing when it is not turned; ``level`` 0 to 1."""
    edge = (110, 145, 170)
    pen.line([(92, 26), (138, 34), (140, 96), (96, 112)], (150, 182, 202), 13)
    pen.line([(92, 26), (138, 34), (140, 96), (96, 112)], (222, 238, 246), 8)
    body = [(0, 0), (16, 12), (10, 60), (4, 132), (14, 142), (86, 142), (96, 132), (92, 60), (90, 0)]
    pen.shape(body, (226, 242, 250, 150))
    surface = 132 - 112 * level
    left, right = 4 + (132 - surface) * 0.09, 95
    pen.shape([(left, surface), (right, surface), (95, 131), (86, 140), (14, 140), (5, 131)], (*WATER, 215))
    pen.oval((left + right) / 2, surface, (right - left) / 2, 5, (*mix(WATER, (255, 255, 255), 0.5), 235))
    pen.shape([*body], None, edge, 2)
    pen.shape([(20, 30), (28, 30), (24, 122), (16, 122)], (255, 255, 255, 130))


def spoon(pen: Pen, load: float) -> None:
    """A spoon, its bowl at the origin and its handle to the right, heaped with sugar (``load`` 0 to 1)."""
    pen.line([(24, 0), (150, -26)], (140, 148, 158), 9)
    pen.line([(24, -1), (150, -27)], STEEL, 6)
    pen.oval(0, 0, 32, 13, (150, 158, 168), (120, 128, 138), 1.2)
    pen.oval(0, -2, 28, 9, (222, 228, 234))
    if load > 0.03:
        pen.shape([(-26, -1), *arc(0, -1, 26, 24 * load, 180, 360), *arc(0, -1, 26, 8, 0, 180)], (255, 255, 255))
        pen.shape(arc(4, -2, 18, 14 * load, 200, 350), (232, 234, 240))
        for k in range(14):
            x, y = -20 + 3.1 * k, -3 - 15 * load * math.sin(0.35 + 0.19 * k) * (0.35 + 0.6 * ((k * 7) % 5) / 5)
            pen.oval(x, y, 0.9, 0.9, (196, 200, 212))


def sugar_jar(pen: Pen) -> None:
    """A jar of sugar with a label, standing on the origin."""
    shadow(pen, 4, 0, 52, 10)
    pen.shape([(-46, -8), (-46, -96), (-36, -108), (36, -108), (46, -96), (46, -8), *arc(0, -8, 46, 10, 0, 180)],
              (236, 246, 250, 170), (150, 172, 186), 1.8)  # fmt: skip
    pen.shape([(-42, -10), (-42, -76), *arc(0, -76, 42, 8, 180, 360), (42, -10), *arc(0, -10, 42, 8, 0, 180)],
              (253, 253, 255))  # fmt: skip
    pen.oval(0, -76, 42, 8, (240, 242, 248), (214, 218, 228), 1)
    pen.shape([(-34, -58), (34, -58), (34, -28), (-34, -28)], (84, 146, 198), (60, 110, 156), 1.2)


def drop(pen: Pen, size: float, color: Color) -> None:
    """A falling drop, centered at the origin."""
    pen.shape([(0, -1.9 * size), *arc(0, 0, size, size, -30, 210, 16)], color)
    pen.oval(-0.35 * size, 0, 0.25 * size, 0.35 * size, (255, 255, 255, 190))
