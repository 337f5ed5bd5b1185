"""The causal model of a procedure, its timetable, and the story that follows from the values of the variables.

The hand works by a timetable: every action has its time, shifted by noise. A step succeeds at its time only if the
steps that it needs are done by then. A device at the top starts when the button under it has been pressed.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidcausal.worlds.procedures.devices import DEVICES
from vidcausal.worlds.procedures.goals import GOALS, HELD_OUT_GOALS, Goal, needs, valid_orders
from vidcausal.worlds.procedures.steps import STEPS
from vidcausal.worlds.scm import SCM, TICK, Mechanism, Value, Values, Variable, after, first_of
from vidcausal.worlds.story import COLORS, Split, Story, StoryClip, StoryEvent

HELD_OUT_PAIRS: Mapping[str, str] = {
    "bell": "red",
    "flag": "orange",
    "torch": "yellow",
    "drum": "green",
    "balloon": "cyan",
    "umbrella": "purple",
}
"""Device to the color that it has in ``composition`` only."""
PLACES = ("far left", "left", "middle", "right", "far right")
COUNTED = ("tokens", "die")
NUM_STATIONS = 3
PRESS_TICKS = 5
DEVICE_TICKS = 7
DEVICE_DELAY = 1
COUNT_TICKS = 6
SHORTEST, LONGEST = 40, 64
TRUNCATED_SHARE = 0.25
TWICE_SHARE = 0.3
_JITTER = ((0, 0.5), (1, 0.5))

DEVICE_WORDS: Mapping[str, tuple[str, str]] = {
    "bell": ("rings", "ring"),
    "flag": ("goes up", "go up"),
    "torch": ("lights up", "light up"),
    "drum": ("plays", "play"),
    "balloon": ("grows", "grow"),
    "umbrella": ("opens", "open"),
}
"""Device to what it does, and to the bare verb."""


@dataclass(frozen=True, slots=True)
class Station:
    """A device at the top and its button at the bottom, both of one color at one of five places."""

    device: str
    color: str
    place: int

    @property
    def button(self) -> str:
        """The variable of the press."""
        return f"press_{self.color}"

    @property
    def again(self) -> str:
        """The variable of a second press of the same button, which finds the device started."""
        return f"press_{self.color}_again"


@dataclass(frozen=True, slots=True)
class Action:
    """One action of the hand in the timetable: its variable, what it is, its tick and how many ticks it takes."""

    variable: str
    kind: str
    what: str
    tick: int
    ticks: int


@dataclass(frozen=True)
class Plan:
    """What was drawn for one story before anything happens.

    ``color`` is that of the goal's thing, ``counted`` the number of tokens or dots, ``shown`` that of the ticks
    shown.
    """

    goal: Goal
    color: str
    stations: tuple[Station, ...]
    actions: tuple[Action, ...]
    counted: int
    shown: int

    @property
    def steps(self) -> tuple[str, ...]:
        """The goal's steps in the order of the timetable."""
        return tuple(action.what for action in self.actions if action.kind == "step")


def variable_of(step: str) -> str:
    """The name of a step's variable."""
    return "step_" + step.replace(" ", "_")


@functools.lru_cache(maxsize=4096)
def parents_of(goal: Goal, steps: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The steps among ``steps`` that must be done right before each of them."""
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        needed = needs(goal, step) & set(steps)
        further = {other for before in needed for other in needs(goal, before)}
        found[step] = tuple(other for other in steps if other in needed and other not in further)
    return found


def draw_plan(rng: random.Random, split: Split) -> Plan:
    """Goal, colors, places, order and timetable of a story."""
    goal = rng.choice(HELD_OUT_GOALS if split == "composition" else GOALS)
    steps = tuple(step for step in goal.steps if step not in goal.optional or rng.random() < 0.65)
    order = rng.choice(valid_orders(goal, steps))
    color, stations = _stations(rng, split)
    counted = rng.randint(1, 5)
    truncated = rng.random() < TRUNCATED_SHARE
    todo = _insert(rng, order, stations, truncated)
    last = stations[0].button if truncated else ""
    actions, shown = _timetable(rng, todo, len(order), last)
    if shown > LONGEST:
        actions, shown = _timetable(rng, todo, len(order), last, brief=True)
    return Plan(goal, color, stations, actions, counted, shown)


def _stations(rng: random.Random, split: Split) -> tuple[str, tuple[Station, ...]]:
    devices = rng.sample(tuple(DEVICES), NUM_STATIONS)
    places = rng.sample(range(len(PLACES)), NUM_STATIONS)
    colors = rng.sample(tuple(COLORS), NUM_STATIONS + 1)
    if split == "composition":
        # At the button that is always pressed every color is as likely as every other, so those without a held-out
        # pair come too; then the pair is at the device that never starts.
        free = [color for color in COLORS if color not in HELD_OUT_PAIRS.values()]
        at = -1 if rng.random() < len(free) / len(COLORS) else 0
        first = rng.choice(free) if at else ""
        pair = HELD_OUT_PAIRS[devices[at]]
        others = [color for color in colors if color not in (first, pair)]
        colors = [first, others[0], pair, others[1]] if first else [pair, *others[:NUM_STATIONS]]
    while split != "composition" and any(
        HELD_OUT_PAIRS[device] == color for device, color in zip(devices, colors, strict=False)
    ):
        colors = rng.sample(tuple(COLORS), NUM_STATIONS + 1)
    trio = zip(devices, colors, places, strict=False)
    return colors[-1], tuple(Station(device, color, place) for device, color, place in trio)


def _insert(
    rng: random.Random, order: Sequence[str], stations: Sequence[Station], truncated: bool
) -> list[tuple[str, str]]:
    """The hand's actions: the steps, with presses and perhaps something to count in gaps of their own."""
    count = len(order)
    presses = 2 if count <= 3 else 1 if count >= 5 else rng.choice((1, 2))
    extra = rng.random() < 0.6 and (count == 3 or (presses == 1 and count <= 6))
    twice = presses == 2 and not truncated and rng.random() < TWICE_SHARE
    gaps = list(range(count + 1))
    chosen: dict[int, tuple[str, str]] = {}
    # A video that ends early ends at the first station's press, after three steps at least.
    first = rng.choice([gap for gap in gaps if gap >= 3]) if truncated else rng.choice(gaps)
    chosen[first] = ("press", stations[0].button)
    free = [gap for gap in gaps if gap != first and (not truncated or gap < first)]
    rng.shuffle(free)
    if twice:
        other = free.pop()
        chosen[min(first, other)] = ("press", stations[0].button)
        chosen[max(first, other)] = ("press", stations[0].again)
    elif presses == 2:
        chosen[free.pop()] = ("press", stations[1].button)
    if extra and free:
        chosen[free.pop()] = ("count", rng.choice(COUNTED))
    todo: list[tuple[str, str]] = []
    for gap in gaps:
        todo += [chosen[gap]] if gap in chosen else []
        todo += [("step", order[gap])] if gap < count else []
    return todo


def _timetable(
    rng: random.Random, todo: Sequence[tuple[str, str]], steps: int, last: str, *, brief: bool = False
) -> tuple[tuple[Action, ...], int]:
    """Ticks of the actions, and how many ticks are shown; ``last`` is the press at which a video ends early."""
    brief = brief or steps > 5
    lengths = (6,) if brief else (6, 7) if steps == 5 else (6, 7, 8, 9)
    pauses = (0,) if brief else (0, 1) if steps == 5 else (0, 1, 2)
    tick = 1 if brief else rng.randint(1, 3)
    actions: list[Action] = []
    shown = done = 0
    for kind, what in todo:
        ticks = rng.choice(lengths) if kind == "step" else PRESS_TICKS if kind == "press" else COUNT_TICKS
        actions.append(Action(variable_of(what) if kind == "step" else what, kind, what, tick, ticks))
        done = tick + 1 + ticks
        # The device has begun for half a second before the hand goes on.
        tick = done + (3 if kind == "press" else rng.choice(pauses))
        if what == last:
            shown = done
    shown = shown or done + (DEVICE_DELAY + DEVICE_TICKS if todo[-1][0] == "press" else 1)
    late = max(0, SHORTEST - shown)
    if late:
        actions = [Action(a.variable, a.kind, a.what, a.tick + late, a.ticks) for a in actions]
    return tuple(actions), shown + late


def build(plan: Plan) -> SCM:
    """The structural causal model of a plan: one time variable for every action and every device."""
    parents = parents_of(plan.goal, plan.steps)
    ticks = {action.variable: action.ticks for action in plan.actions}
    variables: list[Variable] = []
    for action in plan.actions:
        before = tuple(variable_of(step) for step in parents[action.what]) if action.kind == "step" else ()
        lengths = tuple(ticks[name] for name in before)
        variables.append(Variable(action.variable, _on_time(action.tick, before, lengths), before, _JITTER))
    for station in plan.stations:
        variables += _started(station, ticks)
    return SCM(variables)


def _started(station: Station, ticks: Mapping[str, int]) -> list[Variable]:
    """The variables of a device: with a button pressed twice, the first start pre-empts the second."""
    device, first, second = station.device, f"{station.device}_first", f"{station.device}_second"
    if station.again not in ticks:
        pressed = (station.button,) if station.button in ticks else ()
        return [Variable(device, _set_off(pressed), pressed)]

    def in_time(values: Values, noise: Value) -> int | None:
        start = after(values[station.again], delay=PRESS_TICKS + DEVICE_DELAY)
        earlier = values[first] is not None and start is not None and values[first] <= start
        return None if earlier else start

    return [
        Variable(first, _set_off((station.button,)), (station.button,)),
        Variable(second, in_time, (station.again, first)),
        Variable(device, lambda values, noise: first_of(values[first], values[second]), (first, second)),
    ]


def _on_time(tick: int, before: tuple[str, ...], lengths: tuple[int, ...]) -> Mechanism:
    """At its time in the timetable, if all that it needs is done by then."""

    def mechanism(values: Values, noise: Value) -> int | None:
        start: int = tick + noise
        for name, length in zip(before, lengths, strict=True):
            if values[name] is None or values[name] + length > start:
                return None
        return start

    return mechanism


def _set_off(pressed: tuple[str, ...]) -> Mechanism:
    """Right after its button has been pressed."""

    def mechanism(values: Values, noise: Value) -> int | None:
        return after(values[pressed[0]], delay=PRESS_TICKS + DEVICE_DELAY) if pressed else None

    return mechanism


def step_words(step: str, vessel: str, article: str = "") -> tuple[str, str]:
    """Noun and rest of a step's words, with ``article`` before the nouns."""
    words = STEPS[step]
    return (
        words.noun.replace("{vessel}", vessel),
        words.rest.replace("@", article).replace("{vessel}", vessel),
    )


def with_articles(step: str, vessel: str) -> str:
    """A step in a sentence: ``the hand pours the water into the cup``."""
    noun, rest = step_words(step, vessel, "the ")
    return f"the hand {STEPS[step].verb} the {noun} {rest}"


@functools.lru_cache(maxsize=4096)
def _step_wordings(step: str, vessel: str) -> tuple[str, ...]:
    words = STEPS[step]
    noun, rest = step_words(step, vessel)
    _, full = step_words(step, vessel, "the ")
    are = "are" if noun.endswith("s") else "is"
    return (
        f"hand {words.verb} {noun} {rest}",
        with_articles(step, vessel),
        f"the {noun} {are} {words.participle} {full}",
        f"a hand {words.verb} {noun} {full}",
    )


def _action_wordings(plan: Plan, action: Action) -> tuple[str, ...]:
    if action.kind == "step":
        return _step_wordings(action.what, plan.goal.vessel)
    if action.kind == "press":
        color, _, again = action.what.removeprefix("press_").partition("_")
        again = again and " again"
        return (
            f"hand presses {color} button{again}",
            f"the hand presses the {color} button{again}",
            f"the {color} button is pressed{again}",
        )
    if action.what == "die":
        return ("hand rolls die", "the hand rolls the die", "the die is rolled by the hand")
    return ("hand lays tokens in tray", "the hand lays tokens in the tray", "tokens are laid in the tray")


def _device_wordings(station: Station) -> tuple[str, ...]:
    does, bare = DEVICE_WORDS[station.device]
    name = f"{station.color} {station.device}"
    return (f"{name} {does}", f"the {name} {does}", f"the {name} starts to {bare}")


_SALIENCY = {"step": 2.2, "press": 1.4, "count": 1.6, "device": 3.0}


def _saliency(rng: random.Random, kind: str) -> tuple[int, int, int]:
    base = _SALIENCY[kind]
    first, second, third = (min(4, max(0, int(base + 2 * rng.random() - 0.5))) for _ in range(3))
    return first, second, third


def events_of(plan: Plan, model: SCM, values: Values, rng: random.Random) -> list[StoryEvent]:
    """All that happens, shown or not, by start."""
    events: list[StoryEvent] = []
    for action in plan.actions:
        saliency = _saliency(rng, action.kind)
        start = values[action.variable]
        if start is not None:
            causes = tuple(name for name in model.variables[action.variable].parents if values[name] is not None)
            span = start * TICK, (start + action.ticks) * TICK
            words = _action_wordings(plan, action)
            events.append(StoryEvent(action.variable, action.kind, *span, words, saliency, causes))
    for station in plan.stations:
        saliency = _saliency(rng, "device")
        start = values[station.device]
        if start is not None:
            span = start * TICK, (start + DEVICE_TICKS) * TICK
            pressed = start - DEVICE_DELAY - PRESS_TICKS
            causes = tuple(name for name in (station.button, station.again) if values.get(name) == pressed)
            events.append(StoryEvent(station.device, "device", *span, _device_wordings(station), saliency, causes))
    events.sort(key=lambda event: event.start)
    return events


def compose(
    world: str,
    seed: int,
    split: Split,
    plan: Plan,
    model: SCM,
    noise: Values,
    values: Values,
    rng: random.Random,
    show: Any,
) -> Story:
    """The story of a plan in which the variables have ``values``."""
    events = events_of(plan, model, values, rng)
    duration = plan.shown * TICK
    shown = tuple(event for event in events if event.end <= duration)
    clips, orders = _clips(plan, shown)
    return Story(
        world,
        seed,
        split,
        duration,
        shown,
        model,
        noise,
        goal=plan.goal.name,
        clips=clips,
        valid_orders=orders,
        unseen=tuple(event for event in events if event.end > duration),
        params={"plan": plan, "values": values, "show": show},
    )


def _clips(plan: Plan, shown: Sequence[StoryEvent]) -> tuple[tuple[StoryClip, ...], tuple[tuple[int, ...], ...]]:
    """One clip for each step that is shown, and every order of them that the goal allows."""
    steps = [event for event in shown if event.kind == "step"]
    if len(steps) < 3:
        return (), ()
    clips = tuple(StoryClip(event.start, event.end, event.caption) for event in steps)
    names = {action.variable: action.what for action in plan.actions}
    return clips, _orders(plan.goal, tuple(names[event.id] for event in steps))


@functools.lru_cache(maxsize=4096)
def _orders(goal: Goal, steps: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(steps.index(step) for step in order) for order in valid_orders(goal, steps))
