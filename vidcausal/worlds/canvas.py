"""Things to pixels, at any size: sprites are drawn once with Pillow, four times too large, and pasted with numpy.

Letters: t frames, s side in pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcausal.worlds.story import COLORS, Thing

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float, float]
RGB = tuple[int, int, int]
Draw = Callable[["ImageDraw", Box, RGB, float, str], None]
"""``draw(pen, (left, top, right, bottom), rgb, state, variant)``; the picture is transparent at first."""

STATES = 16
"""Steps that ``Thing.state`` is rounded to, so that few pictures are drawn."""
GRAY: RGB = (120, 120, 126)
_OVERSAMPLING = 4


class Painter:
    """Draws the things of one world.

    Args:
        sprites: how each kind of thing is drawn.
    """

    def __init__(self, sprites: Mapping[str, Draw]) -> None:
        self.sprites = dict(sprites)
        self._sprite = functools.lru_cache(maxsize=20_000)(self._drawn)

    def backdrop(self, color: RGB, things: Sequence[Thing], size: int) -> NDArray[np.uint8]:
        """A plain color with the things that never change, ``[s, s, 3]``."""
        picture = np.empty((size, size, 3), np.uint8)
        picture[:] = color
        self._paste(picture, things)
        return picture

    def paint(self, backdrop: NDArray[np.uint8], scenes: Sequence[Sequence[Thing]]) -> NDArray[np.uint8]:
        """One frame a scene over the backdrop, later things over earlier ones: ``[t, s, s, 3]``."""
        frames = np.empty((len(scenes), *backdrop.shape), np.uint8)
        frames[:] = backdrop
        for frame, things in zip(frames, scenes, strict=True):
            self._paste(frame, things)
        return frames

    def _paste(self, picture: NDArray[np.uint8], things: Sequence[Thing]) -> None:
        size = picture.shape[0]
        for thing in things:
            wide, high = max(1, round(thing.width * size)), max(1, round(thing.height * size))
            state = round(thing.state * (STATES - 1))
            color, rest = self._sprite(thing.kind, thing.color, wide, high, state, thing.variant)
            left, top = round(thing.x * size - wide / 2), round(thing.y * size - high / 2)
            x0, y0 = max(left, 0), max(top, 0)
            x1, y1 = min(left + wide, size), min(top + high, size)
            if x0 >= x1 or y0 >= y1:
                continue
            window = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
            place = picture[y0:y1, x0:x1]
            # color is premultiplied by alpha * 255, rest is 255 - alpha: whole numbers, the same on every machine.
            place[:] = (color[window] + place * rest[window]) // 255

    def _drawn(
        self, kind: str, color: str | None, wide: int, high: int, state: int, variant: str
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        from PIL import Image, ImageDraw

        scale = _OVERSAMPLING
        image = Image.new("RGBA", (wide * scale, high * scale), (0, 0, 0, 0))
        rgb = GRAY if color is None else COLORS[color]
        box = (0.0, 0.0, wide * scale - 1.0, high * scale - 1.0)
        self.sprites[kind](ImageDraw.Draw(image), box, rgb, state / (STATES - 1), variant)
        large = np.asarray(image).astype(np.uint32).reshape(high, scale, wide, scale, 4)
        alpha = large[..., 3:]
        area = scale * scale
        shade = ((large[..., :3] * alpha).sum((1, 3)) // area).astype(np.uint16)
        return shade, (255 - alpha.sum((1, 3)) // area).astype(np.uint16)


def darker(rgb: RGB, by: float = 0.5) -> RGB:
    """``rgb`` toward black; ``by`` = 1 is black."""
    return tuple(round(value * (1 - by)) for value in rgb)  # type: ignore[return-value]


def lighter(rgb: RGB, by: float = 0.5) -> RGB:
    """``rgb`` toward white; ``by`` = 1 is white."""
    return tuple(round(value + (255 - value) * by) for value in rgb)  # type: ignore[return-value]
