"""How the shelves and toys look and sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidcausal.worlds.canvas import RGB, Box, Draw, darker, lighter
from vidcausal.worlds.collisions.model import LANDING, SIZE, Lane
from vidcausal.worlds.collisions.story import FLOORS, Path
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import Sound, Story, Thing

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

BACKGROUND: RGB = (26, 32, 48)
WOOD: RGB = (172, 128, 84)
STONE: RGB = (150, 152, 160)
SHELF_HEIGHT = 0.045
WALL_WIDTH, WALL_HEIGHT = 0.09, 0.22
HOP_HEIGHT = 0.06


def _finish(pen: ImageDraw, box: Box, rgb: RGB, variant: str) -> None:
    """A shiny toy has a highlight."""
    if variant == "shiny":
        left, top, right, bottom = box
        w, h = right - left, bottom - top
        spot = (left + 0.27 * w, top + 0.22 * h, left + 0.50 * w, top + 0.45 * h)
        pen.ellipse(spot, fill=(255, 255, 255, 255))


def _ball(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.ellipse(box, fill=(*rgb, 255))
    _finish(pen, box, rgb, variant)


def _box(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    inset = 0.04 * (right - left)
    pen.rectangle((left + inset, top + 2 * inset, right - inset, bottom), fill=(*rgb, 255))
    _finish(pen, box, rgb, variant)


def _cone(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    middle = (left + right) / 2
    pen.polygon([(middle, top), (right, bottom), (left, bottom)], fill=(*rgb, 255))
    w, h = right - left, bottom - top
    _finish(pen, (left + 0.12 * w, top + 0.3 * h, right + 0.12 * w, bottom + 0.3 * h), rgb, variant)


def _can(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    body = (left + 0.17 * w, top, right - 0.17 * w, bottom)
    pen.rounded_rectangle(body, radius=0.12 * w, fill=(*rgb, 255))
    pen.rectangle((body[0], top + 0.56 * h, body[2], top + 0.74 * h), fill=(*lighter(rgb, 0.75), 255))
    _finish(pen, box, rgb, variant)


def _ring(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    pen.ellipse(box, fill=(*rgb, 255))
    pen.ellipse((left + 0.29 * w, top + 0.29 * h, right - 0.29 * w, bottom - 0.29 * h), fill=(0, 0, 0, 0))
    if variant == "shiny":
        pen.ellipse((left + 0.14 * w, top + 0.1 * h, left + 0.34 * w, top + 0.3 * h), fill=(255, 255, 255, 255))


def _spark(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    x, y, r = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    points = []
    for index in range(16):
        angle, reach = index * math.pi / 8, r if index % 2 == 0 else 0.45 * r
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    pen.polygon(points, fill=(255, 250, 215, 255))


def _shelf(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    left, top, right, bottom = box
    pen.rectangle(box, fill=(*WOOD, 255))
    pen.rectangle((left, top + 0.6 * (bottom - top), right, bottom), fill=(*darker(WOOD, 0.35), 255))


def _wall(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(box, fill=(*STONE, 255))


SPRITES: dict[str, Draw] = {
    "ball": _ball,
    "box": _box,
    "cone": _cone,
    "can": _can,
    "ring": _ring,
    "spark": _spark,
    "shelf": _shelf,
    "wall": _wall,
}


def stage_things(lanes: Sequence[Lane]) -> list[Thing]:
    """Shelves and walls."""
    things = []
    for lane in lanes:
        # Where toys fall, the shelf ends before the place at which they come down.
        long = LANDING - SIZE / 2 - 0.005 if lane.end == "fall" and lane.runners else 1.0
        y = FLOORS[lane.row] + SHELF_HEIGHT / 2
        things.append(Thing("shelf", None, lane.across(long / 2), y, long, SHELF_HEIGHT))
        if lane.end == "wall" and lane.runners:
            x = lane.across(1 - WALL_WIDTH / 2)
            things.append(Thing("wall", None, x, FLOORS[lane.row] - WALL_HEIGHT / 2, WALL_WIDTH, WALL_HEIGHT))
    return things


def scene_things(paths: Sequence[Path], time: float) -> list[Thing]:
    """The toys at ``time`` seconds, and a spark where one is being hit."""
    things = []
    sparks = []
    for path in paths:
        x, y = path.x, path.y
        hidden = path.hidden
        for start, end, x0, y0, x1, y1, how in path.legs:
            if time <= start:
                break
            hidden = False
            if time >= end:
                x, y = x1, y1
                continue
            share = (time - start) / (end - start)
            if how == "hop":
                # A parabola: up and down again.
                x, y = x0, y0 - 4 * HOP_HEIGHT * share * (1 - share)
                sparks.append(Thing("spark", None, x0, y0 - 0.62 * SIZE, 0.12, 0.12))
            elif how == "fall":
                x, y = x0, y0 + (y1 - y0) * share * share
            else:
                x, y = x0 + (x1 - x0) * share, y0
        if not hidden and -SIZE < 2 * x < 2 + SIZE:
            things.append(Thing(path.shape, path.color, x, y, SIZE, SIZE, 0.0, path.material))
    return things + sparks


_NOISES = {
    "enter": ("whoosh", 0.6, 0.6),
    "hit": ("click", 0.7, 0.2),
    "fall": ("thud", 0.4, 0.4),
    "exit": ("whoosh", 0.3, 0.6),
    "wall": ("thud", 0.7, 0.3),
    "block": ("click", 0.2, 0.2),
}


def sounds_of(story: Story) -> list[Sound]:
    """A sound for each event, at the moment that it stands for: contact, landing, coming in, going out."""
    plan, values = story.params["plan"], story.params["values"]
    found = []
    for name, (start, end) in plan.machine.spans(values).items():
        kind = plan.machine.steps[name].kind
        sound, pitch, seconds = _NOISES[kind]
        tick = {"enter": start, "hit": values[name], "exit": end - 2}.get(kind, end)
        if tick * TICK < story.duration:
            found.append(Sound(tick * TICK, sound, pitch, seconds))
    return sorted(found, key=lambda sound: (sound.time, sound.kind))
