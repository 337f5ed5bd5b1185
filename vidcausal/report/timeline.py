"""A timeline of a video as SVG: clips, recognized events, moments found and true ones, one lane each.

Coordinates: x is time, 0..duration mapped to the drawing's width; text is clipped to its box, the full text is in the
box's ``<title>`` (a browser's tooltip).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 960
LANE_HEIGHT = 30
LABEL_WIDTH = 92
_CHARACTER_WIDTH = 6.4


@dataclass(frozen=True, slots=True)
class Box:
    """A stretch of time with a text; ``kind`` is its CSS class (clip, event, speech, found, true)."""

    start: float
    end: float
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A named row of boxes."""

    label: str
    boxes: tuple[Box, ...]


def tick_step(duration: float, most: int = 10) -> float:
    """A round number of seconds that gives at most ``most`` intervals: 1, 2 or 5 times a power of ten."""
    if duration <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(duration / most))
    return next(step for factor in (1, 2, 5, 10, 20) if duration / (step := factor * power) <= most)


def stack(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes in as few rows as possible such that none overlaps another in its row (greedy by start, optimal)."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: (b.start, b.end)):
        row = next((r for r in rows if r[-1].end <= box.start + 1e-6), None)
        if row is None:
            rows.append([box])
        else:
            row.append(box)
    return rows


def _fit(text: str, pixels: float) -> str:
    room = int(pixels / _CHARACTER_WIDTH) - 1
    if room >= len(text):
        return text
    return text[: max(room - 1, 0)].rstrip() + "…" if room >= 3 else ""


def _box_svg(box: Box, y: float, scale: float) -> str:
    x, width = LABEL_WIDTH + box.start * scale, max((box.end - box.start) * scale, 2.0)
    label = escape(_fit(box.text, width - 8))
    title = escape(f"{box.start:.2f}-{box.end:.2f} s: {box.text}")
    return (
        f'<g class="box {escape(box.kind)}"><title>{title}</title>'
        f'<rect x="{x:.1f}" y="{y + 3:.1f}" width="{width:.1f}" height="{LANE_HEIGHT - 6}" rx="4"/>'
        f'<text x="{x + 6:.1f}" y="{y + 19:.1f}">{label}</text></g>'
    )


def _axis_svg(duration: float, y: float, scale: float) -> str:
    step = tick_step(duration)
    parts = []
    for i in range(int(duration / step + 1e-6) + 1):
        x = LABEL_WIDTH + i * step * scale
        anchor = "end" if x > WIDTH - 18 else "middle"
        parts.append(f'<line class="tick" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="time" x="{x:.1f}" y="{y + 14:.1f}" text-anchor="{anchor}">{i * step:g} s</text>')
    return "".join(parts)


def timeline_svg(lanes: Sequence[Lane], duration: float) -> str:
    """The whole drawing as one ``<svg>`` element; empty lanes are left out; "" when nothing is to be drawn."""
    shown = [lane for lane in lanes if lane.boxes]
    if not shown or duration <= 0:
        return ""
    scale = (WIDTH - LABEL_WIDTH - 4) / duration
    y, body = 0.0, []
    for lane in shown:
        body.append(f'<text class="lane" x="0" y="{y + 19:.1f}">{escape(lane.label)}</text>')
        for row in stack(lane.boxes):
            body.extend(_box_svg(box, y, scale) for box in row)
            y += LANE_HEIGHT
    axis = _axis_svg(duration, y, scale)
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {y + 20:.0f}" role="img" '
        f'aria-label="timeline of {duration:.1f} seconds">{axis}{"".join(body)}</svg>'
    )
