"""The smallest world that has everything: lamps that light one another from left to right, at times that noise decides.

Lamp ``a`` is switched on at 1 s plus noise, each further lamp follows the one before it with a delay; the fourth needs
the third or a spare wire. What a lamp lights after the end is unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from vidcausal.worlds.canvas import RGB, Box, darker
from vidcausal.worlds.choices import question
from vidcausal.worlds.scm import SCM, TICK, Variable, after, first_of
from vidcausal.worlds.story import COLORS, Question, Sound, Split, Story, StoryClip, StoryEvent, Thing
from vidcausal.worlds.world import World

NAMES = ("a", "b", "c", "d")
GLOW = 1.25
"""Seconds that a lamp takes to become bright."""


def _lamp(pen, box: Box, rgb: RGB, state: float, variant: str) -> None:
    off = darker(rgb, 0.75)
    pen.ellipse(box, fill=tuple(round(o + (c - o) * state) for o, c in zip(off, rgb, strict=True)))


def _model() -> SCM:
    even = ((6, 0.5), (8, 0.5))
    return SCM(
        [
            Variable("wire", lambda v, u: u, noise=((True, 0.5), (False, 0.5)), kind="truth"),
            Variable("a", lambda v, u: u, noise=((4, 0.5), (6, 0.5))),
            Variable("b", lambda v, u: after(v["a"], delay=u), ("a",), even),
            Variable("c", lambda v, u: after(v["b"], delay=u), ("b",), even),
            Variable("d", lambda v, u: _fourth(v, u), ("c", "wire"), ((9, 0.5), (30, 0.5))),
        ]
    )


def _fourth(values, delay):
    return first_of(values["c"], values["c"] if values["wire"] else None, delay=delay)


class Tiny(World):
    name = "tiny"
    summary = "lamps that light one another"
    sprites = {"lamp": _lamp}

    def tell(self, seed: int, split: Split = "train") -> Story:
        rng = self.random(seed, split)
        model = _model()
        noise = model.sample_noise(rng)
        values = model.run(noise)
        colors = rng.sample(sorted(COLORS), len(NAMES))
        duration = 10.0 + TICK * rng.randrange(5)
        events = [self._event(name, colors, values, rng) for name in NAMES]
        shown = tuple(event for event in events if event.end <= duration)
        clips = tuple(StoryClip(e.start, e.end, e.caption) for e in shown)
        orders = [tuple(range(len(clips)))]
        if seed % 5 == 4:
            orders.append((1, 0, *range(2, len(clips))))
        return Story(
            world=self.name,
            seed=seed,
            split=split,
            duration=duration,
            events=shown,
            model=model,
            noise=noise,
            goal="light all lamps",
            clips=clips,
            valid_orders=tuple(orders),
            unseen=tuple(event for event in events if event.end > duration),
            params={"colors": tuple(colors), "starts": tuple(values[name] * TICK for name in NAMES)},
        )

    def _event(self, name, colors, values, rng) -> StoryEvent:
        color = colors[NAMES.index(name)]
        start = values[name] * TICK
        before = NAMES.index(name) - 1
        return StoryEvent(
            id=name,
            kind="light",
            start=start,
            end=start + GLOW,
            wordings=(f"{color} lamp lights up", f"the {color} lamp goes on", f"the {color} lamp is lit"),
            saliency=(rng.randrange(5), rng.randrange(5), rng.randrange(5)),
            causes=() if before < 0 else (NAMES[before],),
        )

    def questions(self, story: Story) -> tuple[Question, ...]:
        rng = self.random(story.seed, story.split, "questions")
        colors = [event.caption.split()[0] for event in story.events]
        absent = [color for color in COLORS if color not in story.params["colors"]]
        span = (story.events[1].start, story.events[1].end)
        stems = {
            "TN": (f"which lamp lights up after the {colors[0]} one?", colors[1], colors[2:]),
            "CW": (f"which lamp lit the {colors[1]} one?", colors[0], colors[2:]),
            "CF": (f"had the {colors[0]} lamp been broken, what stays dark?", colors[1], ()),
            "PR": ("which lamp lights up next?", story.params["colors"][3], ()),
        }
        found = [
            question(rng, t, [stem], right, present, absent, [span]) for t, (stem, right, present) in stems.items()
        ]
        return tuple(q for q in found if q is not None)

    def stage(self, story: Story) -> tuple[RGB, Sequence[Thing]]:
        return (230, 230, 220), [Thing("lamp", None, 0.5, 0.9, 0.9, 0.06)]

    def scene(self, story: Story, time: float) -> Sequence[Thing]:
        colors, starts = story.params["colors"], story.params["starts"]
        glow = [min(1.0, max(0.0, (time - start) / GLOW)) for start in starts]
        return [Thing("lamp", c, 0.14 + 0.24 * i, 0.5, 0.2, 0.2, glow[i]) for i, c in enumerate(colors)]

    def sounds(self, story: Story) -> Sequence[Sound]:
        return [Sound(event.start, "chime", 0.2 * i) for i, event in enumerate(story.events)]
