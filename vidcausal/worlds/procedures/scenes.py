"""A story's things at a time: what stays after each action, and the action that is under way."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from vidcausal.worlds.procedures.look import moved
from vidcausal.worlds.procedures.model import DEVICE_TICKS, Action, Plan, Station
from vidcausal.worlds.procedures.steps import STEPS, Place, Step
from vidcausal.worlds.scm import TICK, Values
from vidcausal.worlds.story import Thing

_SLIDE = 0.14
"""Share of an action in which the hand comes, and again in which it goes."""
_AWAY = 0.95
_CARRIED = ("drop", "place")
_COLUMNS = (0.1, 0.3, 0.5, 0.7, 0.9)
_DEVICE_Y, _BUTTON_Y = 0.12, 0.9
TRAY = (0.925, 0.53, 0.13, 0.46)
DIE = (0.11, 0.53, 0.2, 0.2)


@dataclass(frozen=True, slots=True)
class Act:
    """An action that happens: its seconds, what is there before it, and once it has taken things away.

    ``down`` is how far a button is pressed already.
    """

    start: float
    end: float
    action: Action
    before: tuple[Thing, ...]
    less: tuple[Thing, ...]
    down: float = 0.0


@dataclass(frozen=True, slots=True)
class Show:
    """All that the painter needs: fixed things, actions, what stays after each, and devices with their start."""

    fixed: tuple[Thing, ...]
    acts: tuple[Act, ...]
    ends: tuple[float, ...]
    stays: tuple[tuple[Thing, ...], ...]
    devices: tuple[tuple[Station, float], ...]
    color: str
    counted: int


def part(place: Place, color: str, state: float = 1.0) -> Thing:
    """A part of the workpiece."""
    name, x, y, width, height, how = place
    return Thing("part", color, x, y, width, height, state, f"{how}:{name}")


def _device(station: Station, state: float) -> Thing:
    return Thing("device", station.color, _COLUMNS[station.place], _DEVICE_Y, 0.19, 0.22, state, station.device)


def _button(station: Station, state: float) -> Thing:
    return Thing("button", station.color, _COLUMNS[station.place], _BUTTON_Y, 0.18, 0.15, state)


def _count(what: str, number: int, state: float = 0.0) -> Thing:
    if what == "tokens":
        return Thing("tokens", None, *TRAY, number / 5)
    return Thing("die", None, *DIE, state, str(number) if number else "")


def prepare(plan: Plan, values: Values) -> Show:
    """Everything that can be known before the time is."""
    happening = [action for action in plan.actions if values[action.variable] is not None]
    happening.sort(key=lambda action: values[action.variable])
    dropped = {name for action in happening if action.kind == "step" for name in STEPS[action.what].drops}
    fixed = [part(place, plan.color) for place in plan.goal.parts if place[0] not in dropped]
    there = {place[0]: part(place, plan.color) for place in plan.goal.parts if place[0] in dropped}
    for station in plan.stations:
        if values.get(station.button) is None and values.get(station.again) is None:
            fixed.append(_button(station, 0.0))
        else:
            there[station.button] = _button(station, 0.0)
        if values[station.device] is None:
            fixed.append(_device(station, 0.0))
    there.update({action.what: _count(action.what, 0) for action in plan.actions if action.kind == "count"})
    buttons = {name: station for station in plan.stations for name in (station.button, station.again)}
    acts: list[Act] = []
    stays = [tuple(there.values())]
    for action in happening:
        before, down = stays[-1], 0.0
        if action.kind == "step":
            step = STEPS[action.what]
            for name in step.drops:
                there.pop(name, None)
            less = tuple(there.values())
            there.update({place[0]: part(place, plan.color) for place in step.adds})
        else:
            pressed = action.kind == "press"
            key = buttons[action.what].button if pressed else action.what
            less, down = tuple(thing for name, thing in there.items() if name != key), there[key].state
            there[key] = _button(buttons[key], 1.0) if pressed else _count(key, plan.counted)
        start = values[action.variable]
        acts.append(Act(start * TICK, (start + action.ticks) * TICK, action, before, less, down))
        stays.append(tuple(there.values()))
    devices = tuple(
        (station, values[station.device] * TICK) for station in plan.stations if values[station.device] is not None
    )
    ends = tuple(act.end for act in acts)
    return Show(tuple(fixed), tuple(acts), ends, tuple(stays), devices, plan.color, plan.counted)


def things_at(show: Show, plan: Plan, time: float) -> list[Thing]:
    """What is to be seen at ``time`` besides the fixed things, back to front."""
    done = bisect_right(show.ends, time)
    length = DEVICE_TICKS * TICK
    devices = [_device(station, min(max((time - start) / length, 0.0), 1.0)) for station, start in show.devices]
    if done == len(show.acts) or time <= show.acts[done].start:
        return [*show.stays[done], *devices]
    act = show.acts[done]
    phase = (time - act.start) / (act.end - act.start)
    return [*devices, *_under_way(show, plan, act, phase)]


def _under_way(show: Show, plan: Plan, act: Act, phase: float) -> list[Thing]:
    away = _AWAY * (1.0 - min(1.0, phase / _SLIDE, (1.0 - phase) / _SLIDE))
    work = min(max((phase - _SLIDE) / (1.0 - 2 * _SLIDE), 0.0), 1.0)
    if act.action.kind == "step":
        return _step(show, STEPS[act.action.what], act, work, away)
    if act.action.kind == "press":
        return _press(plan, act, work, away)
    return _counting(show, act, work, away)


def _step(show: Show, step: Step, act: Act, work: float, away: float) -> list[Thing]:
    carried = step.motion in _CARRIED
    taken = step.tool in step.drops or work >= (1.0 if carried else 0.5)
    things = list(act.less if taken else act.before)
    for place in step.adds:
        if place[5] == "pop" or carried:
            state = 1.0 if work >= (1.0 if carried else 0.5) else 0.0
        else:
            state = min(1.0, work * 1.15)
        if state > 0.0:
            things.append(part(place, show.color, state))
    dx, dy, turn = moved(step.motion, work)
    x, y = step.at[0] + dx + away, step.at[1] + dy
    if not (carried and work >= 1.0):
        things.append(Thing("tool", show.color, x, y, step.size, step.size, turn, step.tool))
    things.append(Thing("hand", None, x + 0.15 + 0.3 * step.size, y + 0.2 * step.size, 0.5, 0.16, 0.0, "side"))
    return things


def _press(plan: Plan, act: Act, work: float, away: float) -> list[Thing]:
    station = next(station for station in plan.stations if act.action.what in (station.button, station.again))
    down = min(max(work * 3 - 0.5, act.down), 1.0)
    x = _COLUMNS[station.place]
    # The finger comes from below the picture, so it is out of it after a shorter way.
    finger = Thing("hand", None, x, 0.98 - 0.04 * min(work * 3, 1.0) + 0.3 * away, 0.15, 0.26, 0.0, "up")
    return [*act.less, _button(station, down), finger]


def _counting(show: Show, act: Act, work: float, away: float) -> list[Thing]:
    if act.action.what == "tokens":
        laid = min(int(work * (show.counted + 1)), show.counted)
        hand = Thing("hand", None, 1.1 + away, TRAY[1] + 0.18 - 0.4 * work, 0.5, 0.16, 0.0, "side")
        return [*act.less, _count("tokens", laid), hand]
    number = show.counted if work > 0.6 else 0
    die = _count("die", number, work * 2 % 1.0 if work < 1.0 else 0.0)
    hand = Thing("hand", None, DIE[0] + 0.06, DIE[1] + 0.2 + 0.8 * away, 0.15, 0.26, 0.0, "up")
    return [*act.less, die, hand]
