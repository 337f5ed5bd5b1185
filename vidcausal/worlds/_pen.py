"""Drawing for the contact sheet: Pillow with coordinates in pixels of the finished picture.

Everything is drawn twice as large and made smaller at the end, which smooths lines that Pillow draws with steps.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

RGB = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
_SCALE = 2
INK: RGB = (38, 42, 50)
SOFT: RGB = (120, 125, 135)
PALE: RGB = (214, 216, 221)
PAPER: RGB = (250, 249, 246)
WHITE: RGB = (255, 255, 255)


@functools.lru_cache(maxsize=64)
def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size * _SCALE)


class Pen:
    """A page of ``width`` by ``height`` pixels."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self.page = Image.new("RGB", (width * _SCALE, height * _SCALE), PAPER)
        self._draw = ImageDraw.Draw(self.page)

    def finished(self) -> Image:
        """The page at its final size."""
        from PIL import Image

        width, height = self.page.size
        return self.page.resize((width // _SCALE, height // _SCALE), Image.Resampling.LANCZOS)

    def text(self, at: Point, words: str, size: float = 15, color: RGB = INK, anchor: str = "lm") -> None:
        """Words at a point; ``anchor`` is Pillow's."""
        x, y = _scaled(at)
        self._draw.text((x, y), words, fill=color, font=_font(size), anchor=anchor)

    def box(
        self, box: Box, fill: RGB | None = None, edge: RGB | None = None, width: float = 1, round_: float = 0
    ) -> None:
        """A rectangle, with rounded corners where ``round_`` is not 0."""
        self._draw.rounded_rectangle(
            _scaled(box), round_ * _SCALE, fill=fill, outline=edge, width=round(width * _SCALE) if edge else 0
        )

    def line(self, points: Sequence[Point], color: RGB = INK, width: float = 1) -> None:
        """A line through points."""
        flat = [value for point in points for value in _scaled(point)]
        self._draw.line(flat, fill=color, width=max(1, round(width * _SCALE)), joint="curve")

    def dashes(self, start: Point, end: Point, color: RGB = SOFT, width: float = 1, dash: float = 4) -> None:
        """A dashed straight line."""
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        for k in range(0, int(length / dash) + 1, 2):
            a, b = min(1.0, k * dash / length), min(1.0, (k + 1) * dash / length)
            self.line([_between(start, end, a), _between(start, end, b)], color, width)

    def dashed_box(self, box: Box, color: RGB, width: float = 1) -> None:
        """The edge of a rectangle in dashes."""
        left, top, right, bottom = box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        for start, end in zip(corners, corners[1:], strict=False):
            self.dashes(start, end, color, width)

    def polygon(self, points: Sequence[Point], fill: RGB) -> None:
        """A filled shape."""
        self._draw.polygon([value for point in points for value in _scaled(point)], fill=fill)

    def curve(self, points: Sequence[Point], color: RGB, width: float) -> None:
        """A smooth line through points that goes left to right and is level at each of them; ends in an arrow."""
        drawn: list[Point] = []
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            for k in range(17):
                t = k / 16
                drawn.append((x0 + (x1 - x0) * t, y0 + (y1 - y0) * t * t * (3 - 2 * t)))
        x, y = points[-1]
        drawn = [point for point in drawn if point[0] < x - 6] + [(x - 6, y)]
        self.line(drawn, color, width)
        self.polygon([(x, y), (x - 9, y - 4.5), (x - 9, y + 4.5)], color)

    def picture(self, at: Point, pixels: NDArray[np.uint8], side: float) -> None:
        """A square picture with its upper left corner at a point."""
        from PIL import Image

        large = round(side * _SCALE)
        image = Image.fromarray(pixels).resize((large, large), Image.Resampling.LANCZOS)
        x, y = _scaled(at)
        self.page.paste(image, (round(x), round(y)))

    def check(self, at: Point, color: RGB, size: float = 12) -> None:
        """A check mark around a point."""
        x, y = at
        half = size / 2
        self.line([(x - half, y), (x - half / 4, y + half * 0.8), (x + half, y - half * 0.9)], color, 2.4)


def wide(words: str, size: float) -> float:
    """Width of words in pixels."""
    return float(_font(size).getlength(words)) / _SCALE


def wrapped(words: str, size: float, width: float, most: int = 3) -> list[str]:
    """Words in lines of at most ``width`` pixels; what does not fit ``most`` lines is cut."""
    lines = [""]
    for word in words.split():
        joined = f"{lines[-1]} {word}".strip()
        if not lines[-1] or wide(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    lines = [*lines[: most - 1], " ".join(lines[most - 1 :])] if len(lines) > most else lines
    return [fitted(line, size, width) for line in lines]


def fitted(words: str, size: float, width: float) -> str:
    """One line, cut to ``width`` pixels with an ellipsis."""
    if wide(words, size) <= width:
        return words
    while words and wide(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words.rstrip()}…"


def _scaled(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(value * _SCALE for value in values)


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
