"""The panel in pictures: sprites of devices, hands, plates, wires and gate marks, and where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidcausal.worlds.canvas import RGB, Box, Draw, darker, lighter
from vidcausal.worlds.mechanisms.model import Device
from vidcausal.worlds.story import Thing

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

BACKGROUND: RGB = (22, 26, 38)
PLATE: RGB = (48, 54, 72)
WIRE: RGB = (150, 158, 176)
STEEL: RGB = (128, 134, 148)
SHINE: RGB = (255, 250, 214)
SKIN: RGB = (255, 226, 196)

COLUMNS = (0.165, 0.5, 0.835)
ROWS = (0.265, 0.735)
PLACES = ("top left", "top middle", "top right", "bottom left", "bottom middle", "bottom right")
SIDE = 0.23
PLATE_SIDE = 0.25
HAND_WIDE, HAND_HIGH = 0.16, 0.24
_LINE = 0.03
_DETOUR = 0.19
_MARGIN = 0.04


def center(place: int) -> tuple[float, float]:
    """Where the place ``0..5`` is, row by row."""
    return COLUMNS[place % 3], ROWS[place // 3]


def device_thing(device: Device, state: float) -> Thing:
    """The device as it looks in ``state``."""
    x, y = center(device.place)
    return Thing(device.kind, device.color, x, y, SIDE, SIDE, state)


def hand_thing(place: int, reach: float) -> Thing:
    """The hand on its way to a device: ``reach`` 0 is just outside the picture, 1 touches."""
    x, y = center(place)
    if y < 0.5:
        return Thing("hand", None, x, reach * (y - 0.01) - HAND_HIGH / 2, HAND_WIDE, HAND_HIGH, 0.0, "down")
    return Thing("hand", None, x, 1 - reach * (1 - y - 0.01) + HAND_HIGH / 2, HAND_WIDE, HAND_HIGH, 0.0, "up")


def plate_thing(place: int) -> Thing:
    """The plate that a device stands on."""
    x, y = center(place)
    return Thing("plate", None, x, y, PLATE_SIDE, PLATE_SIDE)


def gate_thing(place: int, gate: str) -> Thing:
    """The mark of a device that has two triggers: a full square needs both, a ring needs either."""
    x, y = center(place)
    return Thing("gate", None, x - PLATE_SIDE / 2, y - PLATE_SIDE / 2, 0.08, 0.08, 0.0, gate)


def _wire(source: int, target: int) -> Thing:
    (x0, y0), (x1, y1) = center(source), center(target)
    left, right = min(x0, x1), max(x0, x1)
    top, bottom = min(y0, y1), max(y0, y1)
    if y0 == y1 and right - left > 0.5:  # around the device in between, at the outer side
        way = "arch" if y0 < 0.5 else "sag"
        top, bottom = (top - _DETOUR, bottom) if y0 < 0.5 else (top, bottom + _DETOUR)
    elif (x1 - x0) * (y1 - y0) >= 0:
        way = "fall"
    else:
        way = "rise"
    forward = x1 > x0 or (x1 == x0 and y1 > y0)
    wide, high = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    variant = f"{way} {wide:.4f} {'forward' if forward else 'back'}"
    return Thing("wire", None, (left + right) / 2, (top + bottom) / 2, wide, high, 0.0, variant)


WIRES = {(a, b): _wire(a, b) for a in range(6) for b in range(6) if a != b}
"""The wire from one place to another, with an arrow in the middle."""


def static_things(devices: Sequence[Device], still: Sequence[Device]) -> tuple[Thing, ...]:
    """All that never changes: wires, plates, gate marks, and the devices ``still`` that do not act."""
    things = [WIRES[devices[i].place, device.place] for device in devices for i in device.triggers]
    things += [plate_thing(device.place) for device in devices]
    things += [gate_thing(device.place, device.gate) for device in devices if device.gate]
    things += [device_thing(device, 0.0) for device in still]
    return tuple(things)


def _at(box: Box, x: float, y: float) -> tuple[float, float]:
    left, top, right, bottom = box
    return left + x * (right - left), top + y * (bottom - top)


def _part(box: Box, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    return (*_at(box, x0, y0), *_at(box, x1, y1))


def _wide(box: Box, share: float) -> int:
    return max(1, round(share * (box[2] - box[0])))


def _turned(
    box: Box, points: Sequence[tuple[float, float]], angle: float, x: float, y: float
) -> list[tuple[float, float]]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [_at(box, x + px * cos - py * sin, y + px * sin + py * cos) for px, py in points]


def _plate(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rounded_rectangle(box, radius=_wide(box, 0.12), fill=(*PLATE, 255))


def _gate(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    if variant == "all":
        pen.rectangle(box, fill=(255, 255, 255, 255))
    else:
        pen.ellipse(box, fill=(*BACKGROUND, 255), outline=(255, 255, 255, 255), width=_wide(box, 0.22))


def _wire_sprite(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    way, share, direction = variant.split(" ")
    unit = (box[2] - box[0] + 1) / float(share)
    edge, width = _MARGIN * unit, max(1, round(_LINE * unit))
    left, top, right, bottom = box[0] + edge, box[1] + edge, box[2] - edge, box[3] - edge
    if way in ("arch", "sag"):
        near, far = (bottom, top) if way == "arch" else (top, bottom)
        points = [(left, near), (left, far), (right, far), (right, near)]
    elif way == "fall":
        points = [(left, top), (right, bottom)]
    else:
        points = [(left, bottom), (right, top)]
    color = (*WIRE, 255)
    pen.line(points, fill=color, width=width, joint="curve")
    (ax, ay), (bx, by) = points[(len(points) - 1) // 2], points[len(points) // 2]
    angle = math.atan2(by - ay, bx - ax) + (math.pi if direction == "back" else 0)
    # Nearer to the end where there is room, so that the arrows of wires that cross stay apart.
    part = 0.62 if len(points) == 2 and bottom - top > edge else 0.5
    part = 1 - part if direction == "back" else part
    mx, my, size = ax + part * (bx - ax), ay + part * (by - ay), 0.042 * unit
    tip = [(size, 0.0), (-size * 0.8, -size), (-size * 0.8, size)]
    cos, sin = math.cos(angle), math.sin(angle)
    pen.polygon([(mx + x * cos - y * sin, my + x * sin + y * cos) for x, y in tip], fill=(235, 238, 245, 255))


def _hand(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    if variant == "up":
        box = (box[0], box[3], box[2], box[1])

    def block(x0: float, y0: float, x1: float, y1: float, radius: float, color: RGB) -> None:
        ax, ay, bx, by = _part(box, x0, y0, x1, y1)
        pen.rounded_rectangle((ax, min(ay, by), bx, max(ay, by)), radius=_wide(box, radius), fill=(*color, 255))

    block(0.16, 0.0, 0.84, 0.2, 0.02, (70, 110, 190))  # the sleeve
    block(0.1, 0.16, 0.9, 0.62, 0.16, SKIN)
    block(0.34, 0.45, 0.66, 1.0, 0.16, SKIN)
    for x in (0.1, 0.36, 0.62):
        block(x + 0.06, 0.52, x + 0.2, 0.6, 0.04, darker(SKIN, 0.25))


def _button(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(_part(box, 0.02, 0.62, 0.98, 0.96), fill=(*STEEL, 255))
    top = 0.12 + 0.34 * state
    pen.rounded_rectangle(_part(box, 0.16, top, 0.84, 0.66), radius=_wide(box, 0.14), fill=(*rgb, 255))
    if state > 0.5:
        pen.rectangle(_part(box, 0.1, 0.72, 0.9, 0.86), fill=(*SHINE, 255))


def _lever(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    angle = math.radians(-34 + 68 * state)
    pen.polygon(_turned(box, [(-0.1, 0), (0.1, 0), (0.1, -0.5), (-0.1, -0.5)], angle, 0.5, 0.86), fill=(*rgb, 255))
    x, y = 0.5 + 0.46 * math.sin(angle), 0.74 - 0.46 * math.cos(angle)
    pen.ellipse(_part(box, x - 0.25, y - 0.25, x + 0.25, y + 0.25), fill=(*rgb, 255))
    pen.pieslice(_part(box, 0.1, 0.66, 0.9, 1.3), 180, 360, fill=(*STEEL, 255))


def _lamp(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    if state > 0:
        glow = (*SHINE, round(40 + 215 * state))
        pen.polygon([_at(box, x, y) for x, y in ((0.24, 0.5), (0.76, 0.5), (1.0, 1.0), (0.0, 1.0))], fill=glow)
    bulb = tuple(round(40 + (value - 40) * state) for value in SHINE)
    pen.ellipse(_part(box, 0.34, 0.38, 0.66, 0.7), fill=(*bulb, 255))
    pen.polygon([_at(box, x, y) for x, y in ((0.3, 0.06), (0.7, 0.06), (0.98, 0.52), (0.02, 0.52))], fill=(*rgb, 255))


def _door(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(_part(box, 0.06, 0.0, 0.94, 1.0), fill=(*darker(rgb, 0.35), 255))
    pen.rectangle(_part(box, 0.18, 0.12, 0.82, 1.0), fill=(*SHINE, 255))
    right = 0.82 - 0.5 * state
    pen.rectangle(_part(box, 0.18, 0.12, right, 1.0), fill=(*rgb, 255))
    knob = right - 0.14
    pen.ellipse(_part(box, knob, 0.5, knob + 0.1, 0.6), fill=(255, 255, 255, 255))


def _dominoes(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    count = 4
    for i in range(count):
        part = min(max(state * count - i, 0.0), 1.0)
        angle = math.radians(66 if i < count - 1 else 74) * part
        foot = 0.06 + 0.2 * i
        shade = rgb if i % 2 == 0 else lighter(rgb, 0.3)
        corners = [(-0.12, 0.0), (0.0, 0.0), (0.0, -0.78), (-0.12, -0.78)]
        scale = 1.0 if i < count - 1 else 1 - 0.5 * part  # the last one would leave the picture
        points = [(x, y * scale) for x, y in corners]
        pen.polygon(_turned(box, points, angle, foot + 0.12, 0.9), fill=(*shade, 255))
    pen.rectangle(_part(box, 0.0, 0.9, 1.0, 1.0), fill=(*STEEL, 255))


def _tank(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.rectangle(_part(box, 0.06, 0.14, 0.94, 1.0), fill=(*rgb, 255))
    pen.rectangle(_part(box, 0.2, 0.14, 0.8, 0.88), fill=(14, 16, 24, 255))
    if state > 0:
        pen.rectangle(_part(box, 0.2, 0.88 - 0.66 * state, 0.8, 0.88), fill=(*lighter(rgb, 0.45), 255))
    pen.rectangle(_part(box, 0.42, 0.0, 0.58, 0.22), fill=(*STEEL, 255))


def _fan(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    pen.ellipse(_part(box, 0.0, 0.0, 1.0, 1.0), outline=(*STEEL, 255), width=_wide(box, 0.05))
    turn = math.radians(45 + 5 * 90 * state - 45 * state)  # several blades past, and it rests between two
    for blade in range(4):
        angle = turn + blade * math.pi / 2
        points = [(0.0, -0.08), (0.44, -0.2), (0.46, 0.12), (0.0, 0.08)]
        pen.polygon(_turned(box, points, angle, 0.5, 0.5), fill=(*rgb, 255))
    hub = tuple(round(60 + (value - 60) * state) for value in SHINE)
    pen.ellipse(_part(box, 0.36, 0.36, 0.64, 0.64), fill=(*hub, 255))


def _bell(pen: ImageDraw, box: Box, rgb: RGB, state: float, variant: str) -> None:
    angle = math.radians(27) * math.sin(2.25 * 2 * math.pi * state)  # swings twice and hangs to one side
    half = [(0.1, 0.06), (0.19, 0.3), (0.22, 0.54), (0.32, 0.68)]
    outline = [*half, *((-x, y) for x, y in reversed(half))]
    clapper = _turned(box, [(0.0, 0.76)], angle * 1.4, 0.5, 0.06)[0]
    radius = 0.09 * (box[2] - box[0])
    pen.ellipse(
        (clapper[0] - radius, clapper[1] - radius, clapper[0] + radius, clapper[1] + radius), fill=(255, 255, 255, 255)
    )
    pen.polygon(_turned(box, outline, angle, 0.5, 0.06), fill=(*rgb, 255))
    pen.rectangle(_part(box, 0.1, 0.0, 0.9, 0.12), fill=(*STEEL, 255))


SPRITES: dict[str, Draw] = {
    "plate": _plate,
    "gate": _gate,
    "wire": _wire_sprite,
    "hand": _hand,
    "button": _button,
    "lever": _lever,
    "lamp": _lamp,
    "door": _door,
    "domino row": _dominoes,
    "tank": _tank,
    "fan": _fan,
    "bell": _bell,
}
