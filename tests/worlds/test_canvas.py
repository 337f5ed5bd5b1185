from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vidcausal.worlds.canvas import GRAY, RGB, STATES, Box, Painter, darker, lighter
from vidcausal.worlds.story import COLORS, Thing

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen


def block(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(box, fill=rgb)


def disk(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.ellipse(box, fill=rgb)


def glass(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(box, fill=(*rgb, 100))


def gauge(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    pen.rectangle((left, bottom - state * (bottom - top), right, bottom), fill=rgb)


def striped(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(box, fill=rgb if variant == "plain" else (0, 0, 0))


SPRITES = {"block": block, "disk": disk, "glass": glass, "gauge": gauge, "striped": striped}
WHITE: RGB = (255, 255, 255)


def painted(*things: Thing, size: int = 64, color: RGB = WHITE) -> np.ndarray:
    painter = Painter(SPRITES)
    return painter.paint(painter.backdrop(color, (), size), [things])[0]


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_thing_covers_its_box_and_nothing_else(size: int) -> None:
    frame = painted(Thing("block", "red", 0.5, 0.25, 0.25, 0.125), size=size)
    inside = np.zeros((size, size), bool)
    inside[size * 3 // 16 : size * 5 // 16, size * 3 // 8 : size * 5 // 8] = True
    assert (frame[inside] == COLORS["red"]).all()
    assert (frame[~inside] == 255).all()


def test_what_is_past_the_edge_is_cut_off() -> None:
    frame = painted(Thing("block", "blue", 0.0, 1.0, 0.25, 0.25))
    assert (frame[56:, :8] == COLORS["blue"]).all()
    assert (frame[:56] == 255).all()
    assert (frame[:, 8:] == 255).all()
    for x, y in [(-0.2, 0.5), (1.2, 0.5), (0.5, -0.2), (0.5, 1.2), (-0.125, 0.5)]:
        assert (painted(Thing("block", "blue", x, y, 0.25, 0.25)) == 255).all()


def test_later_things_are_in_front() -> None:
    red, blue = Thing("block", "red", 0.5, 0.5, 0.5, 0.5), Thing("block", "blue", 0.5, 0.5, 0.25, 0.25)
    assert tuple(painted(red, blue)[32, 32]) == COLORS["blue"]
    assert tuple(painted(blue, red)[32, 32]) == COLORS["red"]
    assert tuple(painted(red, blue)[18, 18]) == COLORS["red"]


def test_state_variant_and_no_color_reach_the_sprite() -> None:
    half = painted(Thing("gauge", "green", 0.5, 0.5, 0.5, 0.5, state=0.5))
    full = painted(Thing("gauge", "green", 0.5, 0.5, 0.5, 0.5, state=1.0))
    assert tuple(half[44, 32]) == COLORS["green"]
    assert tuple(half[20, 32]) == WHITE
    assert tuple(full[20, 32]) == COLORS["green"]
    assert tuple(painted(Thing("striped", "pink", 0.5, 0.5, 0.5, 0.5, variant="dark"))[32, 32]) == (0, 0, 0)
    assert tuple(painted(Thing("block", None, 0.5, 0.5, 0.5, 0.5))[32, 32]) == GRAY


def test_states_are_rounded_to_a_few_pictures() -> None:
    painter = Painter(SPRITES)
    backdrop = painter.backdrop(WHITE, (), 64)
    scenes = [[Thing("gauge", "red", 0.5, 0.5, 0.5, 0.5, state=k / 400)] for k in range(401)]
    frames = painter.paint(backdrop, scenes)
    assert len({frame.tobytes() for frame in frames}) == STATES
    assert painter._sprite.cache_info().misses == STATES


def by_pillow(size: int, things: list[Thing]) -> np.ndarray:
    """The same picture drawn as a whole by Pillow's own compositing, four times too large, then averaged."""
    image = Image.new("RGBA", (size * 4, size * 4), (*WHITE, 255))
    for thing in things:
        wide, high = max(1, round(thing.width * size)), max(1, round(thing.height * size))
        sprite = Image.new("RGBA", (wide * 4, high * 4), (0, 0, 0, 0))
        rgb = GRAY if thing.color is None else COLORS[thing.color]
        box = (0.0, 0.0, wide * 4 - 1.0, high * 4 - 1.0)
        SPRITES[thing.kind](ImageDraw.Draw(sprite), box, rgb, thing.state, thing.variant)
        left, top = round(thing.x * size - wide / 2), round(thing.y * size - high / 2)
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        layer.paste(sprite, (left * 4, top * 4))
        image = Image.alpha_composite(image, layer)
    large = np.asarray(image, np.float64)[..., :3]
    return large.reshape(size, 4, size, 4, 3).mean((1, 3))


one_thing = st.builds(
    Thing,
    st.sampled_from(["block", "disk", "glass"]),
    st.sampled_from([None, *COLORS]),
    st.floats(-0.1, 1.1),
    st.floats(-0.1, 1.1),
    st.floats(0.01, 0.6),
    st.floats(0.01, 0.6),
)


@settings(max_examples=80, deadline=None)
@given(thing=one_thing, size=st.sampled_from([32, 64, 96]))
def test_a_thing_looks_as_pillow_draws_it(thing: Thing, size: int) -> None:
    difference = np.abs(painted(thing, size=size).astype(float) - by_pillow(size, [thing]))
    assert difference.max() <= 3  # whole numbers are rounded down three times


@settings(max_examples=40, deadline=None)
@given(things=st.lists(one_thing.filter(lambda thing: thing.kind != "disk"), min_size=2, max_size=5))
def test_several_things_look_as_pillow_draws_them(things: list[Thing]) -> None:
    difference = np.abs(painted(*things).astype(float) - by_pillow(64, things))
    assert difference.max() <= 4 + 2 * len(things)


def test_painting_changes_neither_backdrop_nor_what_was_painted() -> None:
    painter = Painter(SPRITES)
    still = [Thing("disk", "yellow", 0.3, 0.3, 0.3, 0.3)]
    backdrop = painter.backdrop((10, 20, 30), still, 64)
    before = backdrop.copy()
    scenes = [[Thing("glass", "cyan", 0.3 + k / 20, 0.3, 0.3, 0.3)] for k in range(5)]
    first = painter.paint(backdrop, scenes)
    kept = first.copy()
    again = painter.paint(backdrop, scenes)
    assert first.shape == (5, 64, 64, 3)
    assert first.dtype == np.uint8
    assert (backdrop == before).all()
    assert (first == kept).all()
    assert (first == again).all()
    assert (Painter(SPRITES).paint(backdrop, scenes) == first).all()
    assert painter.paint(backdrop, []).shape == (0, 64, 64, 3)


def test_the_brightest_and_darkest_colors_do_not_wrap_around() -> None:
    def half_seen(pen: Pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
        pen.rectangle(box, fill=(255, 255, 255, int(state * 255)))

    painter = Painter({"veil": half_seen})
    for k in range(STATES):
        veil = [[Thing("veil", None, 0.5, 0.5, 1.0, 1.0, state=k / (STATES - 1))]]
        white = painter.paint(painter.backdrop(WHITE, (), 32), veil)
        black = painter.paint(painter.backdrop((0, 0, 0), (), 32), veil)
        assert white.min() >= 253
        assert abs(int(black.max()) - 255 * k // (STATES - 1)) <= 2


def test_shades() -> None:
    assert darker((200, 100, 0)) == (100, 50, 0)
    assert darker((200, 100, 0), 1) == (0, 0, 0)
    assert lighter((200, 100, 0), 1) == (255, 255, 255)
    assert lighter((55, 155, 255), 0.5) == (155, 205, 255)
