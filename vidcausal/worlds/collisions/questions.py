"""Questions about the shelves, of all ten types.

The options of a question are one phrase filled with five toys (or colors, shapes, places, numbers). Roles are dealt to
toys without regard to color and shape, so every toy that the question does not name is as likely to be right as any
other; see :mod:`vidcausal.worlds.choices`.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vidcausal.worlds.choices import question
from vidcausal.worlds.collisions.model import Step
from vidcausal.worlds.collisions.story import ROWS, SHAPES, Path, Plan
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import COLORS, Question, Story, StoryEvent

NUMBERS = ("one", "two", "three", "four", "five")
PLACES = tuple(f"{row} {side}" for row in ROWS for side in ("left", "right"))
T = TypeVar("T")
_LEAST_OVERLAP = 3 * TICK


@dataclass(frozen=True, slots=True)
class Clause:
    """A way to say an event in the past tense; ``names`` are the toys in it."""

    text: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Focus:
    """An event as an option: ``{}`` in ``text`` is the toy that another one could be put for."""

    toy: str
    text: str


class Asker:
    """What the questions about one story have in common."""

    def __init__(self, story: Story, rng: random.Random) -> None:
        self.story, self.rng = story, rng
        self.plan: Plan = story.params["plan"]
        self.cast = self.plan.cast
        self.steps = self.plan.machine.steps
        self.shown = story.events

    def step(self, event: StoryEvent) -> Step:
        """What an event shows."""
        step: Step = self.steps[event.id]
        return step

    def the(self, toy: str) -> str:
        """For example ``the red ball``."""
        return f"the {self.cast.name(toy)}"

    def pick(
        self,
        type: str,
        stems: Sequence[str],
        focus: Focus,
        named: Iterable[str],
        spans: Sequence[tuple[float, float]],
        never: Iterable[str] = (),
    ) -> list[Question]:
        """A question whose options differ in the toy.

        Toys that the question has ``named`` are no options, nor are those of ``never``, which would be right as well.
        """
        out = {*named, *never}
        if focus.toy in out:
            return []
        present = [focus.text.format(self.the(toy)) for toy in self.cast.playing if toy not in out]
        absent = [focus.text.format(self.the(toy)) for toy in self.cast.absent]
        made = question(self.rng, type, stems, focus.text.format(self.the(focus.toy)), present, absent, spans)
        return [made] if made else []

    def clauses(self, event: StoryEvent) -> list[Clause]:
        """Ways to say an event in a question."""
        step = self.step(event)
        toy, one = self.the(step.mover), frozenset({step.mover})
        if step.kind == "hit" and step.target is not None:
            other = self.the(step.target)
            return [
                Clause(f"{toy} hit {other}", frozenset({step.mover, step.target})),
                Clause(f"{toy} hit another toy", one),
                Clause(f"{other} was hit", frozenset({step.target})),
            ]
        return [Clause(f"{toy} {_PAST[step.kind]}", one)]

    def focuses(self, event: StoryEvent) -> list[Focus]:
        """Ways to put an event as an option."""
        step = self.step(event)
        if step.kind == "hit" and step.target is not None:
            return [Focus(step.target, "{} was hit"), Focus(step.mover, "{} hit another toy")]
        return [Focus(step.mover, "{} " + _PAST[step.kind])]


_PAST = {"enter": "came in", "fall": "fell down", "exit": "left", "wall": "stopped", "block": "stopped"}
_FUTURE = {
    "fall": "{} will fall down",
    "exit": "{} will leave",
    "wall": "{} will stop",
    "block": "{} will stop",
    "hit": "{} will be hit",
}


def questions_of(story: Story, rng: random.Random) -> tuple[Question, ...]:
    """At most one question of each type, in the order of :data:`vidcausal.worlds.story.QUESTION_TYPES`."""
    asker = Asker(story, rng)
    return tuple(made for ask in _ASKED for made in ask(asker)[:1])


def _shuffled(rng: random.Random, values: Iterable[T]) -> list[T]:
    found = list(values)
    rng.shuffle(found)
    return found


def _why(asker: Asker) -> list[Question]:
    for event in _shuffled(asker.rng, asker.shown):
        step = asker.step(event)
        if step.kind == "hit" and step.target is not None:
            toy = asker.the(step.target)
            stems = [
                f"why did {toy} start to move?",
                f"why did {toy} hop?",
                f"what was the reason that {toy} began to run?",
            ]
            focus = Focus(step.mover, "{} hit it")
        elif step.kind == "block" and step.target is not None:
            toy = asker.the(step.mover)
            stems = [f"why did {toy} stop?", f"why did {toy} not get any further?", f"why did {toy} come to rest?"]
            focus = Focus(step.target, "{} was in its way")
        else:
            continue
        named = [name for name in (step.mover, step.target) if name != focus.toy]
        return asker.pick("CW", stems, focus, named, [_span(event)])
    return []


def _how(asker: Asker) -> list[Question]:
    ways: list[Callable[[], list[Question]]] = []
    hits = {asker.step(event).mover: event for event in asker.shown if event.kind == "hit"}
    for first in hits.values():
        middle = asker.step(first).target or ""
        if middle in hits:
            ways.append(functools.partial(_by_way, asker, first, hits[middle]))
    pushed = {asker.step(event).target: event for event in hits.values()}
    for event in asker.shown:
        if event.kind in ("fall", "exit") and asker.step(event).mover in pushed:
            push = pushed[asker.step(event).mover]
            ways.append(functools.partial(_pushed, asker, event, push))
    return next((made for way in _shuffled(asker.rng, ways) if (made := way())), [])


def _by_way(asker: Asker, first: StoryEvent, second: StoryEvent) -> list[Question]:
    start, middle, end = asker.step(first).mover, asker.step(second).mover, asker.step(second).target or ""
    a, b = asker.the(start), asker.the(end)
    stems = [
        f"how did {a} set {b} in motion?",
        f"how did {a} make {b} move?",
        f"how did the push get from {a} to {b}?",
    ]
    spans = [_span(first), _span(second)]
    return asker.pick("CH", stems, Focus(middle, "by way of {}"), (start, end), spans)


def _pushed(asker: Asker, event: StoryEvent, push: StoryEvent) -> list[Question]:
    toy = asker.step(event).mover
    name = asker.the(toy)
    if event.kind == "fall":
        stems = [
            f"how did {name} get to the shelf below?",
            f"how did {name} come to fall down?",
            f"how was {name} brought down?",
        ]
    else:
        stems = [f"how did {name} get out?", f"how did {name} come to leave?", f"how was {name} sent away?"]
    return asker.pick("CH", stems, Focus(asker.step(push).mover, "pushed by {}"), {toy}, [_span(push)])


def _next(asker: Asker) -> list[Question]:
    return _neighbor(asker, "TN")


def _previous(asker: Asker) -> list[Question]:
    return _neighbor(asker, "TP")


_STEMS = {
    "TN": (
        "what happened right after {}?",
        "what was the next thing to happen after {}?",
        "what came next once {}?",
    ),
    "TP": (
        "what happened right before {}?",
        "what was the last thing to happen before {}?",
        "what came just before {}?",
    ),
    "TC": (
        "what else happened while {}?",
        "what happened at the same time as {}?",
        "what went on elsewhere while {}?",
    ),
}


def _neighbor(asker: Asker, type: str) -> list[Question]:
    pairs = list(zip(asker.shown, asker.shown[1:], strict=False))
    for before, after in _shuffled(asker.rng, pairs):
        told, asked = (before, after) if type == "TN" else (after, before)
        # What is asked for must not be mistaken for something that goes on beside it.
        rest = [event for event in (*asker.shown, *asker.story.unseen) if event is not asked]
        if any(_overlap(asked, event) > 0 for event in rest):
            continue
        if made := _ask(asker, type, told, asked):
            return made
    return []


def _meanwhile(asker: Asker) -> list[Question]:
    pairs = [(a, b) for a in asker.shown for b in asker.shown if a is not b and _overlap(a, b) >= _LEAST_OVERLAP]
    for told, asked in _shuffled(asker.rng, pairs):
        others = [event for event in (*asker.shown, *asker.story.unseen) if event not in (told, asked)]
        if any(_overlap(told, event) > 0 for event in others):
            continue
        if made := _ask(asker, "TC", told, asked):
            return made
    return []


def _ask(asker: Asker, type: str, told: StoryEvent, asked: StoryEvent) -> list[Question]:
    ways = [
        (clause, focus)
        for clause in asker.clauses(told)
        for focus in asker.focuses(asked)
        if focus.toy not in clause.names
    ]
    if not ways:
        return []
    clause, focus = asker.rng.choice(ways)
    stems = [stem.format(clause.text) for stem in _STEMS[type]]
    return asker.pick(type, stems, focus, clause.names, [_span(asked)])


def _count(asker: Asker) -> list[Question]:
    standing = sum(not path.hidden for path in asker.story.params["paths"])
    stems = (
        "how many toys stood on the shelves at first?",
        "how many toys were on the shelves when the video began?",
        "how many toys are there at the very start?",
    )
    made = question(asker.rng, "DC", stems, NUMBERS[standing - 1], NUMBERS, spans=[(0.0, 1.0)])
    return [made] if made else []


def _where(asker: Asker) -> list[Question]:
    rows: dict[int, list[tuple[Path, int]]] = {0: [], 1: [], 2: []}
    row_of = {toy: lane.row for lane in asker.plan.lanes for toy in (*lane.entering, *lane.resting, *lane.idle)}
    seen = {asker.step(event).mover: event for event in asker.shown if event.kind == "enter"}
    for path in asker.story.params["paths"]:
        if abs(path.x - 0.5) > 0.1 and not (path.hidden and path.color not in seen):
            rows[row_of[path.color]].append((path, int(path.x > 0.5)))
    if not all(rows.values()):
        return []
    row = asker.rng.randrange(3)
    path, side = asker.rng.choice(rows[row])
    toy = asker.the(path.color)
    stems = (
        f"where was {toy} first seen?",
        f"where did {toy} first show up?",
        f"in which place was {toy} to be seen first?",
    )
    spans = [_span(seen[path.color])] if path.hidden else [(0.0, 1.0)]
    made = question(asker.rng, "DL", stems, PLACES[2 * row + side], (), PLACES, spans=spans)
    return [made] if made else []


def _what(asker: Asker) -> list[Question]:
    hits = [event for event in asker.shown if event.kind == "hit"]
    if not hits:
        return []
    event = asker.rng.choice(hits)
    step = asker.step(event)
    named, asked, clause = asker.rng.choice(
        (
            (step.mover, step.target or "", "that {} hit"),
            (step.target or "", step.mover, "that hit {}"),
        )
    )
    clause = clause.format(asker.the(named))
    kind, right = asker.rng.choice((("color", asked), ("shape", asker.cast.shapes[asked])))
    stems = (
        f"what {kind} was the toy {clause}?",
        f"which {kind} did the toy {clause} have?",
        f"of what {kind} was the toy {clause}?",
    )
    if kind == "color":
        present = [toy for toy in asker.cast.playing if toy != named]
        made = question(asker.rng, "DO", stems, right, present, [c for c in COLORS if c != named], spans=[_span(event)])
    else:
        made = question(asker.rng, "DO", stems, right, SHAPES, spans=[_span(event)])
    return [made] if made else []


def _otherwise(asker: Asker) -> list[Question]:
    story = asker.story
    if any(event.kind == "enter" for event in story.unseen):
        return []
    entries = _shuffled(asker.rng, [event for event in asker.shown if event.kind == "enter"])
    found = [made for event in entries for made in _without(asker, event)]
    return [asker.rng.choice(found)] if found else []


def _without(asker: Asker, event: StoryEvent) -> Iterator[Question]:
    """What the model says had one toy not come in."""
    story, toy = asker.story, asker.step(event).mover
    instead = story.model.run(story.noise, {event.id: None})
    name = asker.the(toy)
    absence = asker.rng.choice((f"if {name} had not come in?", f"without {name}?", f"had {name} stayed away?"))
    shown = {target: _span(e) for e in asker.shown if e.kind == "hit" and (target := asker.step(e).target)}
    later = {target for e in story.unseen if e.kind == "hit" and (target := asker.step(e).target)}
    hits = [step for id, step in asker.steps.items() if step.kind == "hit" and instead[id] is not None]
    still = {step.target for step in hits if step.target}
    if lost := [one for one in asker.cast.playing if one in shown and one not in still]:
        right = asker.rng.choice(lost)
        stems = [f"which toy that was hit would not have been hit {absence}"]
        never = ({*shown, *later} - still) - {right}
        yield from asker.pick("CF", stems, Focus(right, "{}"), (toy,), [shown[right]], never)
    if kept := [one for one in asker.cast.playing if one in shown and one in still]:
        right = asker.rng.choice(kept)
        stems = [f"which toy would still have been hit {absence}"]
        yield from asker.pick("CF", stems, Focus(right, "{}"), (toy,), [shown[right]], still - {right})
    for step in hits:
        # A backup: it hits what something else has hit in fact.
        if step.target in shown and story.params["values"][step.name] is None:
            stems = [f"which toy would have hit {asker.the(step.target)} {absence}"]
            spans = [shown[step.target]]
            yield from asker.pick("CF", stems, Focus(step.mover, "{}"), (toy, step.target), spans)


def _predict(asker: Asker) -> list[Question]:
    story = asker.story
    begun = [event for event in story.unseen if event.start < story.duration]
    if len(begun) != 1 or any(event.end <= begun[0].end for event in story.unseen if event is not begun[0]):
        return []
    step = asker.step(begun[0])
    toy = step.target if step.kind == "hit" else step.mover
    stems = ["what will happen next?", "what is going to happen next?", "what would come next if the video went on?"]
    span = (begun[0].start, story.duration)
    return asker.pick("PR", stems, Focus(toy or "", _FUTURE[step.kind]), (), [span])


def _span(event: StoryEvent) -> tuple[float, float]:
    return event.start, event.end


def _overlap(one: StoryEvent, other: StoryEvent) -> float:
    return min(one.end, other.end) - max(one.start, other.start)


_ASKED: tuple[Callable[[Asker], list[Question]], ...] = (
    _why,
    _how,
    _next,
    _meanwhile,
    _previous,
    _count,
    _where,
    _what,
    _otherwise,
    _predict,
)
