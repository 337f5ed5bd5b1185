"""Questions about a procedure that nobody can answer who only knows the procedure.

What is asked for are colors, devices, places and numbers: all drawn independently of the goal and of its steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidcausal.worlds.choices import question
from vidcausal.worlds.procedures.model import DEVICE_WORDS, HELD_OUT_PAIRS, PLACES, Plan, Station, with_articles
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import COLORS, Question, Story, StoryEvent

LEAST_OVERLAP = 0.75
"""Seconds that two events share at least to be said to happen at the same time."""
NUMBERS = ("one", "two", "three", "four", "five")


@dataclass(frozen=True)
class _Asked:
    """What the questions of one story need."""

    rng: random.Random
    story: Story
    plan: Plan
    shown: dict[str, StoryEvent]

    def span(self, *ids: str) -> list[tuple[float, float]]:
        return [(self.shown[name].start, self.shown[name].end) for name in ids]

    def seen(self) -> list[Station]:
        """Stations whose device was seen to start."""
        return [station for station in self.plan.stations if station.device in self.shown]

    def twice(self, station: Station) -> bool:
        """Whether its button was pressed a second time."""
        return station.again in self.shown

    def fits(self, device: str, color: str) -> bool:
        """Whether the two can be together at all in this split."""
        return self.story.split == "composition" or HELD_OUT_PAIRS[device] != color

    def ask_color(
        self, type: str, texts: Sequence[str], form: str, right: str, spans: Sequence[tuple[float, float]], of: str = ""
    ) -> Question | None:
        """A question whose options are colors; those that the device ``of`` cannot have are left out."""
        here = [self.plan.color, *[station.color for station in self.plan.stations]]
        fit = [color for color in COLORS if not of or self.fits(of, color)]
        present = [form.format(color) for color in here if color in fit]
        return question(self.rng, type, texts, form.format(right), present, [form.format(c) for c in fit], spans)

    def ask_device(
        self,
        type: str,
        texts: Sequence[str],
        right: str,
        spans: Sequence[tuple[float, float]],
        of: str = "",
        does: bool = True,
    ) -> Question | None:
        """A question whose options are devices; those that cannot have the color ``of`` are left out."""

        def says(device: str) -> str:
            return f"the {device} {DEVICE_WORDS[device][0]}" if does else f"the {device}"

        fit = [device for device in DEVICE_WORDS if not of or self.fits(device, of)]
        present = [says(station.device) for station in self.plan.stations if station.device in fit]
        return question(self.rng, type, texts, says(right), present, [says(device) for device in fit], spans)

    def ask_place(
        self, type: str, texts: Sequence[str], form: str, right: int, spans: Sequence[tuple[float, float]]
    ) -> Question | None:
        options = [form.format(place) for place in PLACES]
        return question(self.rng, type, texts, options[right], options, (), spans)


def ask(story: Story, rng: random.Random) -> tuple[Question, ...]:
    """One question of every type that the story has an answer for."""
    plan: Plan = story.params["plan"]
    asked = _Asked(rng, story, plan, {event.id: event for event in story.events})
    found = [make(asked) for make in _MAKERS]
    return tuple(one for one in found if one is not None)


def _why(a: _Asked) -> Question | None:
    if not (stations := a.seen()):
        return None
    one = a.rng.choice(stations)
    bare = DEVICE_WORDS[one.device][1]
    texts = (
        f"why does the {one.device} {bare}?",
        f"what makes the {one.device} {bare}?",
        f"what is the cause that the {one.device} {DEVICE_WORDS[one.device][0]}?",
    )
    form = "the hand presses the {} button"
    return a.ask_color("CW", texts, form, one.color, a.span(one.button, one.device), one.device)


def _how(a: _Asked) -> Question | None:
    if not (stations := a.seen()):
        return None
    one = a.rng.choice(stations)
    bare = DEVICE_WORDS[one.device][1]
    texts = (
        f"how does the hand make the {one.device} {bare}?",
        f"how is the {one.device} made to {bare}?",
        f"by which button does the hand make the {one.device} {bare}?",
    )
    return a.ask_place("CH", texts, "by the {} button", one.place, a.span(one.button))


def _neighbor(a: _Asked, by: int) -> tuple[str, str] | None:
    """A step and the color of the button that was pressed right after (1) or right before (-1) it."""
    acts = [event for event in a.story.events if event.kind != "device"]
    pairs = [
        (event.id, acts[at + by].id)
        for at, event in enumerate(acts)
        if event.kind == "step" and 0 <= at + by < len(acts) and acts[at + by].kind == "press"
    ]
    return a.rng.choice(pairs) if pairs else None


def _said(a: _Asked, step: str) -> str:
    what = next(action.what for action in a.plan.actions if action.variable == step)
    return with_articles(what, a.plan.goal.vessel)


def _color(press: str) -> str:
    return press.removeprefix("press_").partition("_")[0]


def _next(a: _Asked) -> Question | None:
    stations = [station for station in a.seen() if not a.twice(station)]
    pair = _neighbor(a, 1)
    if stations and (pair is None or a.rng.random() < 0.4):
        one = a.rng.choice(stations)
        texts = (
            f"what happens right after the hand presses the {one.color} button?",
            f"what comes next after the hand presses the {one.color} button?",
            f"the hand presses the {one.color} button and what happens next?",
        )
        return a.ask_device("TN", texts, one.device, a.span(one.button, one.device), one.color)
    if pair is None:
        return None
    said = _said(a, pair[0])
    texts = (
        f"which button does the hand press right after {said}?",
        f"what does the hand press next after {said}?",
        f"{said} and which button comes next?",
    )
    return a.ask_color("TN", texts, "the {} button", _color(pair[1]), a.span(*pair))


def _previous(a: _Asked) -> Question | None:
    if (pair := _neighbor(a, -1)) is None:
        return None
    said = _said(a, pair[0])
    texts = (
        f"which button does the hand press right before {said}?",
        f"what does the hand press last before {said}?",
        f"before {said} which button comes last?",
    )
    return a.ask_color("TP", texts, "the {} button", _color(pair[1]), a.span(*pair))


def _meanwhile(a: _Asked) -> Question | None:
    pairs = []
    for station in a.seen():
        device = a.shown[station.device]
        for event in a.story.events:
            overlap = min(event.end, device.end) - max(event.start, device.start)
            if event.kind == "step" and overlap >= LEAST_OVERLAP:
                pairs.append((event.id, station.device))
    if not pairs:
        return None
    step, name = a.rng.choice(pairs)
    said = _said(a, step)
    texts = (
        f"what happens while {said}?",
        f"what else happens while {said}?",
        f"while {said} what happens at the same time?",
    )
    return a.ask_device("TC", texts, name, a.span(step, name))


def _count(a: _Asked) -> Question | None:
    kind = next((event.id for event in a.story.events if event.kind == "count"), None)
    if kind is None:
        return None
    right = NUMBERS[a.plan.counted - 1]
    if kind == "die":
        texts: tuple[str, ...] = (
            "how many dots does the die show?",
            "which number does the hand roll?",
            "how many dots are on the die in the end?",
        )
    else:
        texts = (
            "how many tokens does the hand lay in the tray?",
            "how many tokens are in the tray in the end?",
            "which number of tokens does the hand lay in the tray?",
        )
    return question(a.rng, "DC", texts, right, NUMBERS, (), a.span(kind))


def _where(a: _Asked) -> Question | None:
    one = a.rng.choice(a.plan.stations)
    name = a.rng.choice((one.device, f"{one.color} button", f"{one.color} {one.device}"))
    texts = (f"where is the {name}?", f"at which place is the {name}?", f"where on the table is the {name}?")
    return a.ask_place("DL", texts, "{}", one.place, [(0.0, a.story.duration)])


def _other(a: _Asked) -> Question | None:
    spans = [(0.0, a.story.duration)]
    kind = a.rng.choice(("thing", "thing", "color", "device"))
    one = a.rng.choice(a.plan.stations)
    if kind == "device":
        texts: tuple[str, ...] = (
            f"what is above the {one.color} button?",
            f"what stands over the {one.color} button?",
            f"which thing at the top belongs to the {one.color} button?",
        )
        return a.ask_device("DO", texts, one.device, spans, one.color, does=False)
    name, right = (a.plan.goal.thing, a.plan.color) if kind == "thing" else (one.device, one.color)
    texts = (f"what color is the {name}?", f"which color does the {name} have?", f"what is the color of the {name}?")
    return a.ask_color("DO", texts, "{}", right, spans, "" if kind == "thing" else one.device)


def _without(a: _Asked) -> Question | None:
    """What would not have happened, or would have all the same, had a button not been pressed: the model is run."""
    stations = a.seen()
    if not stations:
        return None
    one = a.rng.choice(stations)
    if a.twice(one):
        return _without_first(a, one)
    values = a.story.model.run(a.story.noise, {one.button: None})
    lost = [station for station in stations if values[station.device] is None]
    kept = [station for station in stations if values[station.device] is not None and a.fits(station.device, one.color)]
    pressed = f"if the hand did not press the {one.color} button"
    if len(kept) == 1 and a.rng.random() < 0.5:
        texts: tuple[str, ...] = (
            f"{pressed} what would still happen?",
            f"what would still happen {pressed}?",
            f"{pressed} what would happen all the same?",
        )
        return a.ask_device("CF", texts, kept[0].device, a.span(one.button, kept[0].device), one.color)
    if len(lost) != 1:
        return None
    texts = (
        f"{pressed} what would not happen?",
        f"what would not happen {pressed}?",
        f"{pressed} what would never happen?",
    )
    return a.ask_device("CF", texts, lost[0].device, a.span(one.button, lost[0].device), one.color)


def _without_first(a: _Asked, one: Station) -> Question | None:
    """A button that was pressed twice: the second press would have done what the first did."""
    never = a.rng.random() < 0.5
    do = dict.fromkeys((one.button, one.again) if never else (one.button,))
    happens = a.story.model.run(a.story.noise, do)[one.device] is not None
    if happens == never:
        return None
    if never:
        pressed, would = f"if the hand never pressed the {one.color} button", "would not happen"
    else:
        pressed, would = f"if the hand did not press the {one.color} button the first time", "would still happen"
    texts = (f"{pressed} what {would}?", f"what {would} {pressed}?", f"{pressed} what is it that {would}?")
    return a.ask_device("CF", texts, one.device, a.span(one.button, one.again, one.device), one.color)


def _predict(a: _Asked) -> Question | None:
    """What comes next where the video ends right after a press."""
    last = max(a.story.events, key=lambda event: event.end)
    coming = next((event for event in a.story.unseen if event.kind == "device"), None)
    if coming is None or last.id not in coming.causes or coming.start > a.story.duration + TICK:
        return None
    texts = ("what will happen next?", "what will come next?", "what will happen right after the end?")
    return a.ask_device("PR", texts, coming.id, a.span(last.id))


_MAKERS: tuple[Callable[[_Asked], Question | None], ...] = (
    _why,
    _how,
    _next,
    _meanwhile,
    _previous,
    _count,
    _where,
    _other,
    _without,
    _predict,
)
