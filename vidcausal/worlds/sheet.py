"""One sample as a picture: frames, timeline with sound and events, causal graph, questions and their right options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidcausal.cache import make_folder, write_atomic
from vidcausal.errors import ConfigError, OutputError, UnknownNameError
from vidcausal.worlds._graph import Layout, layout
from vidcausal.worlds._pen import INK, PALE, PAPER, RGB, SOFT, WHITE, Pen, fitted, wide, wrapped
from vidcausal.worlds.annotations import Annotation, annotate
from vidcausal.worlds.canvas import darker, lighter
from vidcausal.worlds.registry import create_world
from vidcausal.worlds.sound import waveform
from vidcausal.worlds.story import COLORS, SPLITS, Story

if TYPE_CHECKING:
    from PIL.Image import Image

    from vidcausal.worlds.world import World

WIDTH, MARGIN = 1600, 40
FRAMES = 8
_INNER = WIDTH - 2 * MARGIN
_LANE = 34
_ROW = 74
_COLUMNS = 3
_OPTION = 23
_RIGHT: RGB = (28, 128, 62)
_BACKUP: tuple[RGB, ...] = ((96, 125, 160), (176, 128, 88), (110, 150, 120), (150, 110, 150), (140, 140, 100))
_SOFTWARE = "vidcausal worlds show"


def save_sheet(
    world: str, seed: int = 0, split: str = "test", out: str | Path | None = None, *, force: bool = False
) -> dict[str, Any]:
    """Draw one sample into a PNG file.

    Args:
        world: its name.
        seed: the story.
        split: train, validation, test or composition.
        out: the file; by default the sample's id and ``.png`` in the current folder.
        force: write over a file that is not such a picture; such pictures are always written over.

    Returns:
        The path of the picture and the sample's annotation.

    Raises:
        UnknownNameError: no such world or split.
        ConfigError: a negative seed, or a file that does not end in ``.png``.
        OutputError: the file cannot be written, or is there and not ours.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    maker = create_world(world)
    path = Path(out) if out is not None else Path(f"{world}-{split}-{seed:06d}.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"the picture is a PNG file, so --out must end in .png, got {path}")
    if path.exists() and not force and not _ours(path):
        raise OutputError(f"{path} is there and was not written by {_SOFTWARE}; choose another --out, or --force")
    make_folder(path.parent)
    story = maker.tell(seed, split)
    annotation = annotate(maker, story, size=224, fps=8)
    write_atomic(path, _png(draw_sheet(maker, story, annotation)))
    return {"picture": str(path), "annotation": annotation}


def _ours(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _SOFTWARE
    except (OSError, UnidentifiedImageError):
        return False


def _png(picture: Image) -> bytes:
    import io

    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", _SOFTWARE)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=info, optimize=True)
    return out.getvalue()


def draw_sheet(world: World, story: Story, annotation: Annotation) -> Image:
    """The contact sheet of one sample, :data:`WIDTH` pixels wide."""
    sheet = _Sheet(world, story, annotation)
    # The height is known once everything has been drawn, so it is drawn twice; the first page is thrown away.
    height = sheet.draw(Pen(WIDTH, 32))
    pen = Pen(WIDTH, math.ceil(height))
    sheet.draw(pen)
    return pen.finished()


@dataclass
class _Sheet:
    world: World
    story: Story
    sample: Annotation
    colors: dict[str, RGB] = field(init=False)

    def __post_init__(self) -> None:
        events = [*self.sample["events"], *self.sample["unseen"]]
        self.colors = {event["id"]: _color(event["caption"], number) for number, event in enumerate(events)}

    def draw(self, pen: Pen) -> float:
        """Draw everything and return the height that it took."""
        y = self._head(pen, MARGIN)
        y = self._frames(pen, y)
        y = self._timeline(pen, y)
        y = self._graph(pen, y + 30)
        return self._questions(pen, y + 26) + MARGIN - 10

    def _x(self, seconds: float) -> float:
        return MARGIN + _INNER * seconds / float(self.sample["duration"])

    # ---- what is seen and heard ---------------------------------------------------------------------------------

    def _head(self, pen: Pen, y: float) -> float:
        pen.text((MARGIN, y + 12), self.sample["id"], 27)
        facts = f"{self.sample['duration']:g} s · {len(self.sample['events'])} events"
        pen.text((WIDTH - MARGIN, y + 14), facts, 17, SOFT, "rm")
        about = self.sample["goal"] or self.world.summary
        pen.text((MARGIN, y + 44), fitted(about, 17, _INNER), 17, SOFT)
        return y + 70

    def _frames(self, pen: Pen, y: float) -> float:
        """Frames in the middle of equal parts of the video, right above their times on the axis."""
        part = _INNER / FRAMES
        times = [float(self.sample["duration"]) * (k + 0.5) / FRAMES for k in range(FRAMES)]
        side = part - 8
        for time, pixels in zip(times, self.world.render(self.story, times, 2 * round(side)), strict=True):
            left = self._x(time) - side / 2
            pen.picture((left, y), pixels, side)
            pen.box((left, y, left + side, y + side), None, PALE, 1)
            pen.text((self._x(time), y + side + 13), f"{time:.1f} s", 13, SOFT, "mm")
        return y + side + 30

    def _timeline(self, pen: Pen, y: float) -> float:
        lanes = len(self.sample["events"])
        about = "loudness; events with the saliency from three annotators (columns, 0 to 4)"
        y = _title(pen, y + 6, "timeline", f"{about}; clips in their true order" if self.sample["clips"] else about)
        bottom = y + 60 + lanes * _LANE + (46 if self.sample["clips"] else 0)
        self._axis(pen, y, bottom)
        y = self._sound(pen, y + 8)
        for event in self.sample["events"]:
            self._bar(pen, event, y)
            y += _LANE
        if self.sample["clips"]:
            y = self._clips(pen, y + 4)
        for event in self.sample["unseen"]:
            words = f"not shown: {event['caption']}, {event['start']:g} to {event['end']:g} s"
            pen.text((WIDTH - MARGIN - 16, y + 14), words, 14, SOFT, "rm")
            pen.polygon(_arrow(WIDTH - MARGIN - 8, y + 14), self.colors[event["id"]])
            y += 24
        return y + 6

    def _axis(self, pen: Pen, top: float, bottom: float) -> None:
        for second in range(math.floor(self.sample["duration"]) + 1):
            x = self._x(second)
            pen.line([(x, top), (x, bottom)], PALE, 1 if second % 5 == 0 else 0.5)
            if second < self.sample["duration"] - 0.3:
                pen.text((x + 4, bottom - 7), f"{second}", 11, SOFT)

    def _sound(self, pen: Pen, y: float) -> float:
        """Loudness of the sound track, a column for every second pixel."""
        track = np.abs(waveform(self.world.sounds(self.story), float(self.sample["duration"])))
        columns = np.array_split(track, _INNER // 2)
        middle = y + 18
        pen.line([(MARGIN, middle), (WIDTH - MARGIN, middle)], PALE, 1)
        for number, part in enumerate(columns):
            loud = float(part.max(initial=0.0)) * 18
            if loud > 0.4:
                x = MARGIN + 2 * number + 1
                pen.line([(x, middle - loud), (x, middle + loud)], (120, 150, 190), 1.2)
        return y + 44

    def _bar(self, pen: Pen, event: dict[str, Any], y: float) -> None:
        color = self.colors[event["id"]]
        left, right = self._x(event["start"]), self._x(event["end"])
        pen.box((left, y + 4, right, y + _LANE - 6), color, darker(color, 0.25), 1, 5)
        # Three annotators: a column each, as high as what they gave out of four.
        for number, score in enumerate(event["saliency"]):
            x = right - 30 + 8 * number
            pen.box((x, y + 8, x + 5, y + _LANE - 10), lighter(color, 0.55))
            high = (_LANE - 18) * score / 4
            pen.box((x, y + _LANE - 10 - high, x + 5, y + _LANE - 10), darker(color, 0.6))
        room = wide(event["caption"], 15) + 10
        middle = y + _LANE / 2 - 1
        if right + room < WIDTH - MARGIN:
            pen.text((right + 8, middle), event["caption"], 15)
        else:
            pen.text((left - 8, middle), event["caption"], 15, anchor="rm")

    def _clips(self, pen: Pen, y: float) -> float:
        """Clips in their true order, with the number under which each is shown."""
        order = self.sample["clip_order"]
        for number, clip in enumerate(self.sample["clips"]):
            left, right = self._x(clip["start"]) + 1, self._x(clip["end"]) - 1
            pen.box((left, y + 4, right, y + 26), WHITE, SOFT, 1, 4)
            label = f"{number + 1}. shown as clip {order.index(number) + 1}"
            pen.text(((left + right) / 2, y + 15), fitted(label, 13, right - left - 6), 13, INK, "mm")
        return y + 48

    # ---- why ----------------------------------------------------------------------------------------------------

    def _graph(self, pen: Pen, y: float) -> float:
        nodes = {node["id"]: node for node in self.sample["graph"]["nodes"]}
        edges = [(parent, child) for parent, child in self.sample["graph"]["edges"]]
        y = _title(pen, y, "causal graph", "what each variable was; dashed: never happened")
        plan = layout(list(nodes), edges)
        middle = y + plan.num_rows * _ROW / 2
        pitch = min(_INNER / max(plan.num_layers, 1), 250)
        width = min(pitch - 26, 170)
        for (parent, child), route in plan.routes.items():
            strong = all(_happened(nodes[name]) for name in (parent, child))
            points = self._route(route, plan, pitch, width, middle)
            pen.curve(points, (95, 102, 115) if strong else PALE, 1.6 if strong else 1.2)
        for name, node in nodes.items():
            layer, row = plan.places[name]
            center = MARGIN + pitch * (layer + 0.5) + self._shift(plan, pitch), middle + row * _ROW
            self._node(pen, node, center, width)
        y += plan.num_rows * _ROW + 8
        return self._why(pen, y)

    def _shift(self, plan: Layout, pitch: float) -> float:
        return (_INNER - pitch * plan.num_layers) / 2

    def _route(
        self, route: Sequence[tuple[int, float]], plan: Layout, pitch: float, width: float, middle: float
    ) -> list[tuple[float, float]]:
        shift = MARGIN + self._shift(plan, pitch)
        points = []
        for number, (layer, row) in enumerate(route):
            x, y = shift + pitch * (layer + 0.5), middle + row * _ROW
            if number > 0:
                points.append((x - width / 2, y))
            if number < len(route) - 1:
                points.append((x + width / 2, y))
        return points

    def _node(self, pen: Pen, node: dict[str, Any], center: tuple[float, float], width: float) -> None:
        x, y = center
        box = (x - width / 2, y - 27, x + width / 2, y + 27)
        color = self.colors.get(node["id"])
        if _happened(node):
            fill = lighter(color, 0.72) if color else WHITE
            pen.box(box, fill, darker(color, 0.1) if color else SOFT, 1.4, 7)
        else:
            pen.box(box, PAPER)
            pen.dashed_box(box, SOFT)
        lines = wrapped(_spoken(node["id"]), 13, width - 10, 2)
        top = y - 6 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            pen.text((x, top + 15 * number - 2), line, 13, INK, "mm")
        pen.text((x, y + 17), fitted(_value(node), 12, width - 8), 12, SOFT, "mm")

    def _why(self, pen: Pen, y: float) -> float:
        """Halpern-Pearl causes of the last shown event that has some."""
        causes = self.sample["actual_causes"]
        last = next((event for event in reversed(self.sample["events"]) if causes.get(event["id"])), None)
        if last is None:
            return y
        found = "; ".join(" and ".join(map(_spoken, cause)) for cause in causes[last["id"]])
        for line in wrapped(f"actual causes of “{last['caption']}”: {found}", 15, _INNER):
            pen.text((MARGIN, y + 10), line, 15, INK)
            y += 21
        return y

    # ---- what is asked ------------------------------------------------------------------------------------------

    def _questions(self, pen: Pen, y: float) -> float:
        y = _title(pen, y, "questions", "the right option has a check mark")
        pitch = _INNER / _COLUMNS
        asked = self.sample["questions"]
        for first in range(0, len(asked), _COLUMNS):
            row = asked[first : first + _COLUMNS]
            stems = [wrapped(question["question"], 15, pitch - 80) for question in row]
            tall = max(map(len, stems))
            for number, (question, lines) in enumerate(zip(row, stems, strict=True)):
                self._question(pen, question, lines, tall, (MARGIN + pitch * number, y), pitch)
            y += 20 * tall + _OPTION * max(len(question["options"]) for question in row) + 34
        return y

    def _question(
        self, pen: Pen, question: dict[str, Any], lines: Sequence[str], tall: int, at: tuple[float, float], pitch: float
    ) -> None:
        x, y = at
        pen.box((x, y, x + 38, y + 22), INK, None, 0, 5)
        pen.text((x + 19, y + 11), question["type"], 13, WHITE, "mm")
        for number, line in enumerate(lines):
            pen.text((x + 48, y + 11 + 20 * number), line, 15)
        y += 20 * tall + 7
        for number, option in enumerate(question["options"]):
            right = number == question["answer"]
            middle = y + _OPTION * (number + 0.5)
            if right:
                pen.box((x + 20, middle - 11, x + pitch - 24, middle + 11), (222, 240, 226), None, 0, 5)
                pen.check((x + 32, middle), _RIGHT)
            words = fitted(option, 14, pitch - 80)
            pen.text((x + 48, middle), words, 14, _RIGHT if right else SOFT)


def _title(pen: Pen, y: float, words: str, about: str) -> float:
    pen.line([(MARGIN, y), (WIDTH - MARGIN, y)], PALE, 1)
    pen.text((MARGIN, y + 22), words, 19)
    pen.text((MARGIN + wide(words, 19) + 14, y + 23), about, 14, SOFT)
    return y + 46


def _color(caption: str, number: int) -> RGB:
    """The last color that the caption names, mostly that of what changes; where there is none, one by turns."""
    named = [COLORS[word] for word in caption.split() if word in COLORS]
    return named[-1] if named else _BACKUP[number % len(_BACKUP)]


def _spoken(variable: str) -> str:
    return variable.replace("_", " ")


def _happened(node: dict[str, Any]) -> bool:
    return node["value"] is not None and node["value"] is not False


def _value(node: dict[str, Any]) -> str:
    if node["seconds"] is not None:
        return f"{node['seconds']:g} s"
    if node["kind"] == "time":
        return "never"
    return (
        {True: "yes", False: "no"}.get(node["value"], str(node["value"]))
        if node["kind"] == "truth"
        else str(node["value"])
    )


def _arrow(x: float, y: float) -> list[tuple[float, float]]:
    return [(x, y - 5), (x + 8, y), (x, y + 5)]
