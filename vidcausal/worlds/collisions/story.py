"""What happens on the shelves of a seed, and how the narrator says it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vidcausal.worlds.collisions.model import (
    HOP_TICKS,
    IDLE_SLOTS,
    LATEST_ENTRY,
    PACES,
    SIZE,
    End,
    Lane,
    Machine,
    Step,
    with_do,
)
from vidcausal.worlds.scm import TICK, Values
from vidcausal.worlds.story import COLORS, Split, Story, StoryClip, StoryEvent

SHAPES = ("ball", "box", "cone", "can", "ring")
MATERIALS = ("matte", "shiny")
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "ring"),
        ("orange", "can"),
        ("yellow", "box"),
        ("green", "ball"),
        ("cyan", "cone"),
        ("blue", "can"),
        ("purple", "ball"),
        ("pink", "box"),
    }
)
"""Color-shape pairs that only the split ``composition`` shows."""
LONGEST_CHAIN, HELD_OUT_CHAIN = 5, 6
"""Events of the longest chain of ``train``, and of the chains that only ``composition`` shows."""
ROWS = ("top", "middle", "bottom")
FLOORS = (0.30, 0.62, 0.94)
"""Where toys stand on the three shelves: ``y`` of their bottom."""
GOAL = "follow the chain reaction from its start to its end"
SHORTEST, LONGEST = 40, 64
"""Ticks of a video."""
FEWEST_TOYS, MOST_TOYS, MOST_EVENTS = 3, 6, 7

_ALLOWED = {color: tuple(shape for shape in SHAPES if (color, shape) not in HELD_OUT) for color in COLORS}
_UNSEEN = {color: tuple(shape for shape in SHAPES if (color, shape) in HELD_OUT) for color in COLORS}
_SIDES = {True: ("left", "right"), False: ("right", "left")}
_SALIENCY = {"enter": 2, "hit": 3, "fall": 3, "exit": 1, "wall": 2, "block": 1}
_NOTICE = (-1, 0, 0, 1)
_OPEN_ENDS: tuple[End, ...] = ("exit", "wall")


@dataclass(frozen=True)
class Cast:
    """All eight colors in a random order, a shape and a material for each; the first ones play, the rest do not."""

    colors: tuple[str, ...]
    shapes: dict[str, str]
    materials: dict[str, str]
    present: int

    def name(self, color: str) -> str:
        """For example ``red ball``."""
        return f"{color} {self.shapes[color]}"

    @property
    def playing(self) -> tuple[str, ...]:
        """Colors of the toys of this story."""
        return self.colors[: self.present]

    @property
    def absent(self) -> tuple[str, ...]:
        """Colors of toys that might have played: for wrong options."""
        return self.colors[self.present :]


@dataclass(frozen=True)
class Chain:
    """Shelves that one chain reaction needs: resting toys on each, and how the last one ends."""

    resting: tuple[int, ...]
    end: End = "exit"

    @property
    def events(self) -> int:
        """Entering, hits, falls, end."""
        return 1 + sum(self.resting) + len(self.resting)


CHAINS = (
    Chain((1,)),
    Chain((1,), "wall"),
    Chain((2,)),
    Chain((2,)),
    Chain((1, 0)),
    Chain((0, 1)),
    Chain((0, 1), "wall"),
    Chain((1, 1)),
    Chain((1, 1)),
    Chain((1, 1), "wall"),
    Chain((0, 2)),
)
"""Chain reactions of ``train``: 3 to 5 events."""
LONG_CHAINS = (Chain((2, 1)), Chain((1, 2)), Chain((2, 1), "wall"))
"""Chain reactions of 6 events: only in ``composition``."""
EXTRAS = ("none", "pass", "pair", "backup", "backup", "pair")
"""What else goes on: a toy that passes through, a second pair of toys, a second runner for the same target."""


@dataclass(frozen=True)
class Plan:
    """Shelves with toys on them. ``chain`` lists the variables of the chain reaction, first to last."""

    lanes: tuple[Lane, ...]
    machine: Machine
    cast: Cast
    chain: tuple[str, ...]


def draw_plan(rng: random.Random, split: Split, resting: int) -> Plan:
    """Shelves and toys, ``resting`` of which stand there at first."""
    while True:
        chains = LONG_CHAINS if split == "composition" and resting >= 3 else CHAINS
        chain, extra, end = rng.choice(chains), rng.choice(EXTRAS), rng.choice(_OPEN_ENDS)
        free = 3 - len(chain.resting)
        used = sum(chain.resting) + (extra == "pair")
        events = chain.events + {"none": 0, "pass": 2, "pair": 3, "backup": 2}[extra]
        rows = free - (extra in ("pass", "pair"))
        entering = 1 + (extra != "none")
        idle = resting - used
        toys = resting + entering
        if rows < 0 or not 0 <= idle <= 3 * rows or events > MOST_EVENTS or not FEWEST_TOYS <= toys <= MOST_TOYS:
            continue
        cast = _draw_cast(rng, split, toys)
        lanes, names = _lanes(rng, cast.playing, chain, extra, end, idle)
        if split == "composition" and not any((c, cast.shapes[c]) in HELD_OUT for c in cast.playing):
            continue
        return Plan(lanes, Machine(lanes), cast, names)


def _draw_cast(rng: random.Random, split: Split, present: int) -> Cast:
    colors = list(COLORS)
    rng.shuffle(colors)
    shapes, materials = {}, {}
    for color in colors:
        new = split == "composition" and rng.random() < 0.6
        shapes[color] = rng.choice((_UNSEEN if new else _ALLOWED)[color])
        materials[color] = rng.choice(MATERIALS)
    return Cast(tuple(colors), shapes, materials, present)


def _lanes(
    rng: random.Random, toys: Sequence[str], chain: Chain, extra: str, end: End, idle: int
) -> tuple[tuple[Lane, ...], tuple[str, ...]]:
    """Toys onto shelves, top to bottom; and the names of the chain's variables."""
    todo = list(toys)
    first = rng.randint(0, 3 - len(chain.resting))
    right = rng.random() < 0.5
    spare = [row for row in range(3) if not first <= row < first + len(chain.resting)]
    rng.shuffle(spare)
    lanes: dict[int, Lane] = {}
    runner, entering = todo.pop(), True
    names = [f"enter({runner})"]
    backup = extra == "backup"
    for index, count in enumerate(chain.resting):
        row, last = first + index, index == len(chain.resting) - 1
        resting = tuple(todo.pop() for _ in range(count))
        second = (todo.pop(),) if backup and count else ()
        backup = backup and not second
        came = (runner, *second) if entering else second
        kind: End = chain.end if last else "fall"
        lanes[row] = lane = Lane(row, right, (runner, *second), came, resting, end=kind)
        pushed = (runner, *resting)
        names += [f"hit({a}, {b})" for a, b in zip(pushed, pushed[1:], strict=False)]
        runner, entering, right = lane.last or runner, False, not right
        ends = {"fall": f"fall({runner}, {row + 1})", "wall": f"stop({runner}, wall)", "exit": f"exit({runner})"}
        names.append(ends[kind])
    if extra in ("pass", "pair"):
        row, alone = spare.pop(), (todo.pop(),)
        target = (todo.pop(),) if extra == "pair" else ()
        lanes[row] = Lane(row, rng.random() < 0.5, alone, alone, target, end=end)
    for place, row in enumerate(spare):
        share = idle if place == len(spare) - 1 else min(3, max(idle - 3, round(idle / 2)))
        lanes[row] = Lane(row, rng.random() < 0.5, idle=tuple(todo.pop() for _ in range(share)))
        idle -= share
    return tuple(lanes[row] for row in range(3)), tuple(names)


def draw_noise(rng: random.Random, plan: Plan) -> tuple[dict[str, Any], int] | None:
    """Noise under which the story can be followed, and the tick after the last event; None after too many tries.

    Events begin at least two ticks apart, runners come in the order in which the shelves expect them, and everything
    fits into the longest video.
    """
    machine = plan.machine
    entries = [name for name, step in machine.steps.items() if step.kind == "enter" and name != plan.chain[0]]
    noise: dict[str, Any] = dict.fromkeys(machine.steps)
    for attempt in range(24):
        if attempt % 8 == 0:
            for lane in plan.lanes:
                for toy in (*lane.entering, *lane.resting):
                    noise[f"pace({toy})"] = rng.choice(_PACES)
        noise[plan.chain[0]] = 3
        for name in entries:
            noise[name] = rng.randint(1, 34)
        values = machine.model.run(noise)
        last = _followed(plan, values)
        if last is not None:
            earliest = min(noise[name] for name in (plan.chain[0], *entries))
            return _shifted(rng, noise, (plan.chain[0], *entries), earliest, last)
    return None


_PACES = tuple(PACES)


def _shifted(
    rng: random.Random, noise: dict[str, Any], entries: Sequence[str], earliest: int, last: int
) -> tuple[dict[str, Any], int]:
    """The same story begun earlier or later, within the longest video."""
    latest = max(noise[name] for name in entries)
    shift = rng.randint(1 - earliest, min(LONGEST - 2 - last, LATEST_ENTRY - latest, 12))
    for name in entries:
        noise[name] += shift
    return noise, last + shift


def _followed(plan: Plan, values: Values) -> int | None:
    """The tick in which the last event ends, where a viewer can follow the story."""
    spans = plan.machine.spans(values)
    starts = [start for start, _ in spans.values()]
    if any(after - before < 2 for before, after in zip(starts, starts[1:], strict=False)):
        return None
    if any(name not in spans for name in plan.chain):
        return None
    last = max(end for _, end in spans.values())
    if last - starts[0] > LONGEST - 4:
        return None
    for lane in plan.lanes:
        if len(lane.runners) > 1:
            first, second = lane.runners
            comes = f"enter({second})" if second in lane.entering else f"fall({second}, {lane.row})"
            if spans[comes][0] < values[f"hit({first}, {lane.resting[0]})"]:
                return None
    return last


def cut_short(rng: random.Random, plan: Plan, spans: dict[str, tuple[int, int]]) -> int | None:
    """A tick in which exactly one event is visibly under way and at least three are over; None where there is none."""
    choices = []
    for name, (start, end) in spans.items():
        step = plan.machine.steps[name]
        if step.kind == "enter":
            continue
        over = sum(last <= start for _, last in spans.values())
        latest = end - (HOP_TICKS if step.kind == "hit" else 1) - 1
        ticks = [
            tick
            for tick in range(max(start + 3, SHORTEST), min(latest, LONGEST) + 1)
            if over >= 3 and sum(a < tick < b for a, b in spans.values()) == 1
        ]
        if ticks:
            choices.append(ticks)
    return rng.choice(rng.choice(choices)) if choices else None


def events_of(plan: Plan, values: Values, rng: random.Random) -> list[StoryEvent]:
    """Every step that happens under ``values`` as an event, in the order of starts."""
    steps, model = plan.machine.steps, plan.machine.model
    spans = plan.machine.spans(values)
    events = []
    for name, (start, end) in spans.items():
        step = steps[name]
        base = _SALIENCY[step.kind]
        first, second, third = (min(4, max(0, base + rng.choice(_NOTICE))) for _ in range(3))
        causes = tuple(
            parent for parent in model.variables[name].parents if parent in spans and spans[parent][0] < start
        )
        seconds = start * TICK, end * TICK
        events.append(StoryEvent(name, step.kind, *seconds, say(plan, step), (first, second, third), causes))
    return events


def say(plan: Plan, step: Step) -> tuple[str, ...]:
    """The narrator's wordings of a step, the headline first."""
    cast = plan.cast
    toy = cast.name(step.mover)
    rich = f"{cast.materials[step.mover]} {toy}"
    start, end = _SIDES[plan.lanes[step.row].right]
    if step.kind == "enter":
        return (
            f"{toy} enters from {start}",
            f"the {toy} comes in from the {start}",
            f"a {rich} rolls in on the {ROWS[step.row]} shelf",
            f"from the {start} comes the {toy}",
        )
    if step.kind == "fall":
        row = ROWS[step.row + 1]
        return (
            f"{toy} falls to {row} shelf",
            f"the {toy} drops to the {row} shelf",
            f"the {rich} runs off the {ROWS[step.row]} shelf and falls down",
            f"down to the {row} shelf falls the {toy}",
        )
    if step.kind == "exit":
        return (
            f"{toy} leaves to {end}",
            f"the {toy} rolls out on the {end}",
            f"the {rich} leaves the {ROWS[step.row]} shelf",
            f"out on the {end} goes the {toy}",
        )
    if step.kind == "wall":
        return (
            f"{toy} stops at wall",
            f"the {toy} runs up to the wall and stops",
            f"the {rich} comes to rest at the wall",
            f"the wall stops the {toy}",
        )
    other = cast.name(step.target or "")
    if step.kind == "block":
        return (
            f"{toy} stops behind {other}",
            f"the {toy} runs up to the {other} and stops",
            f"the {rich} comes to rest behind the {other}",
            f"the {other} stops the {toy}",
        )
    return (
        f"{toy} hits {other}",
        f"the {toy} runs into the {other}",
        f"the {other} is hit by the {toy}",
        f"the {rich} bumps into the {other}",
    )


def clips_of(plan: Plan, events: Sequence[StoryEvent], duration: float) -> tuple[StoryClip, ...]:
    """One clip for each event of the chain reaction; none where fewer than three of them are shown."""
    by_name = {event.id: event for event in events}
    chain = [by_name[name] for name in plan.chain if name in by_name][:5]
    if len(chain) < 3:
        return ()
    clips: list[StoryClip] = []
    for event, after in zip(chain, [*chain[1:], None], strict=True):
        stop = min(event.end + TICK, duration if after is None else after.start)
        clips.append(StoryClip(max(event.start - TICK, 0.0, clips[-1].end if clips else 0.0), stop, event.caption))
    return tuple(clips)


def tell(seed: int, split: Split, rng: random.Random) -> Story:
    """The story of a seed."""
    # Drawn once and kept whatever else has to be drawn again: each number of toys is equally frequent.
    resting = rng.randint(1, 5)
    while True:
        plan = draw_plan(rng, split, resting)
        drawn = draw_noise(rng, plan)
        if drawn is not None:
            break
    noise, last = drawn
    values = plan.machine.model.run(noise)
    ticks = cut_short(rng, plan, plan.machine.spans(values)) if rng.random() < CUT_SHARE else None
    if ticks is None:
        ticks = min(max(last + rng.randint(2, 6), SHORTEST), LONGEST)
    return story_of(plan, values, noise, seed, split, ticks * TICK, rng)


CUT_SHARE = 0.55
"""Share of stories that are cut short where that is possible."""


def story_of(
    plan: Plan, values: Values, noise: Values, seed: int, split: Split, duration: float, rng: random.Random
) -> Story:
    """The story that the values of the variables tell."""
    events = events_of(plan, values, rng)
    shown = tuple(event for event in events if event.end <= duration)
    clips = clips_of(plan, shown, duration)
    return Story(
        world="collisions",
        seed=seed,
        split=split,
        duration=duration,
        events=shown,
        model=plan.machine.model,
        noise=noise,
        goal=GOAL if clips else "",
        clips=clips,
        valid_orders=(tuple(range(len(clips))),) if clips else (),
        unseen=tuple(event for event in events if event.end > duration),
        params={"plan": plan, "values": values, "paths": paths_of(plan, values)},
    )


def counterfactual_story(story: Story, do: Values, rng: random.Random) -> Story:
    """What would have been to be seen under ``do``: the same noise, the same shelves, other values."""
    plan: Plan = story.params["plan"]
    values = story.model.run(story.noise, do)
    last = max((end for _, end in plan.machine.spans(values).values()), default=0) * TICK
    other = story_of(plan, values, story.noise, story.seed, story.split, max(story.duration, last + 2 * TICK), rng)
    return replace(other, model=with_do(story.model, do))


Leg = tuple[float, float, float, float, float, float, str]
"""``(start, end, x0, y0, x1, y1, how)``: seconds, shares; how is ``run``, ``fall`` or ``hop``."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where one toy is: legs in time order. Before the first it is where that begins, or not there (``hidden``)."""

    color: str
    shape: str
    material: str
    hidden: bool
    x: float
    y: float
    legs: tuple[Leg, ...]


def paths_of(plan: Plan, values: Values) -> tuple[Path, ...]:
    """What :func:`look.scene` reads: every toy's way through the video."""
    legs: dict[str, list[Leg]] = {color: [] for color in plan.cast.playing}
    for name, (start, end) in plan.machine.spans(values).items():
        step = plan.machine.steps[name]
        lane, y = plan.lanes[step.row], FLOORS[step.row] - SIZE / 2
        begin, stop = start * TICK, end * TICK
        run = step.run_ticks(plan.machine.pace(values, step)) * TICK
        x0, x1 = lane.across(step.u0), lane.across(step.u1)
        legs[step.mover].append((begin, begin + run, x0, y, x1, y, "run"))
        if step.kind == "fall":
            below = FLOORS[step.row + 1] - SIZE / 2
            legs[step.mover].append((begin + run, stop, x1, y, x1, below, "fall"))
        elif step.kind == "hit" and step.target is not None:
            x = lane.across(step.u1 + SIZE)
            legs[step.target].append((begin + run, stop, x, y, x, y, "hop"))
    places = _places(plan)
    paths = []
    for color in plan.cast.playing:
        x, y, hidden = places[color]
        way = tuple(sorted(legs[color]))
        paths.append(Path(color, plan.cast.shapes[color], plan.cast.materials[color], hidden, x, y, way))
    return tuple(paths)


def _places(plan: Plan) -> dict[str, tuple[float, float, bool]]:
    """Where each toy is first: ``x, y``, and whether it is out of sight until it comes in."""
    places = {}
    for lane in plan.lanes:
        y = FLOORS[lane.row] - SIZE / 2
        for color in lane.entering:
            places[color] = lane.across(-SIZE / 2), y, True
        for slots, colors in ((lane.slots, lane.resting), (IDLE_SLOTS.get(len(lane.idle), ()), lane.idle)):
            for color, u in zip(colors, slots, strict=True):
                places[color] = lane.across(u), y, False
    return places
