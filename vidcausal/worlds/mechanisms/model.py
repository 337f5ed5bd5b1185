"""What is on the panel and what sets off what: devices, wiring, and the structural causal model of both.

Each device acts once at most. Its event has two time variables: ``"light blue"`` is the tick in which the blue lamp
begins to light up and ``"light blue done"`` the one in which it shines, which is when it sets off others. A device that
either of two others can set off (an OR gate) has two more, ``"light blue via red"`` and ``"light blue via pink"``: the
tick in which that trigger acts on it, None where the other one came first. With them the second trigger is no
Halpern-Pearl cause when it comes too late (pre-emption), and the two are one cause together when they come at once
(overdetermination).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from vidcausal.worlds.scm import SCM, Value, Values, Variable, after, first_of

Gate = Literal["", "all", "any"]

VERBS: dict[str, str] = {
    "button": "press",
    "lever": "pull",
    "lamp": "light",
    "door": "open",
    "domino row": "topple",
    "tank": "fill",
    "fan": "start",
    "bell": "ring",
}
"""Kind of a device to the verb of its event; a lever that another device sets off is tipped, not pulled."""
INPUTS = ("button", "lever")
"""What a hand works."""
EFFECTS = ("lamp", "door", "domino row", "tank", "fan", "bell", "lever")
"""What another device can set off."""
HELD_OUT: dict[str, str] = {
    "red": "lamp",
    "orange": "fan",
    "yellow": "button",
    "green": "bell",
    "cyan": "lever",
    "blue": "door",
    "purple": "tank",
    "pink": "domino row",
}
"""Color to the kind that has it in the split ``composition`` only."""
LONGEST_CHAIN = 4
"""Wires in a row at most in all splits but ``composition``, which has chains of one more."""

HAND_TICKS = range(1, 56)
PRESS_TICKS = range(6, 10)
ACT_TICKS = range(6, 11)
LAGS = ((0, 0.6), (1, 0.2), (2, 0.1), (3, 0.1))
_NEVER = 0.2
HAND_NOISE: tuple[tuple[Value, float], ...] = (
    (None, _NEVER),
    *((tick, (1 - _NEVER) / len(HAND_TICKS)) for tick in HAND_TICKS),
)
_PRESS_NOISE = tuple((ticks, 1 / len(PRESS_TICKS)) for ticks in PRESS_TICKS)
_ACT_NOISE = tuple((ticks, 1 / len(ACT_TICKS)) for ticks in ACT_TICKS)


@dataclass(frozen=True, slots=True)
class Device:
    """One device: where it stands (0 to 5, row by row), what sets it off (indices of devices before it), and how.

    ``by_hand`` says that a hand works it. ``gate`` is ``all`` or ``any`` where there are two triggers.
    """

    color: str
    kind: str
    place: int
    by_hand: bool = False
    triggers: tuple[int, ...] = ()
    gate: Gate = ""

    @property
    def event(self) -> str:
        """The variable of the device's event."""
        verb = "tip" if self.kind == "lever" and not self.by_hand else VERBS[self.kind]
        return f"{verb} {self.color}"

    @property
    def done(self) -> str:
        """The variable of the tick in which the event is complete."""
        return f"{self.event} done"

    @property
    def name(self) -> str:
        """What it is called: color and kind."""
        return f"{self.color} {self.kind}"


def build_model(devices: Sequence[Device]) -> SCM:
    """The structural causal model of a panel; triggers come before what they set off."""
    variables: list[Variable] = []
    for device in devices:
        event = device.event
        if device.by_hand:
            variables.append(Variable(event, _as_drawn, noise=HAND_NOISE))
        else:
            variables += _effect(device, [devices[i] for i in device.triggers])
        ticks = _PRESS_NOISE if device.by_hand else _ACT_NOISE
        variables.append(Variable(device.done, partial(_later, event), (event,), ticks))
    return SCM(variables)


def via(device: Device, trigger: Device) -> str:
    """The variable that says when ``trigger`` acts on a ``device`` that has an OR gate."""
    return f"{device.event} via {trigger.color}"


def _effect(device: Device, triggers: Sequence[Device]) -> list[Variable]:
    event = device.event
    done = tuple(trigger.done for trigger in triggers)
    if device.gate != "any":
        return [Variable(event, partial(_all_of, done), done, LAGS)]
    ways = tuple(via(device, trigger) for trigger in triggers)
    routes = [
        Variable(way, partial(_unless_earlier, mine, tuple(d for d in done if d != mine)), done)
        for way, mine in zip(ways, done, strict=True)
    ]
    return [*routes, Variable(event, partial(_any_of, ways), ways, LAGS)]


def _as_drawn(values: Values, noise: Value) -> Value:
    return noise


def _later(name: str, values: Values, noise: Value) -> Value:
    start = values[name]
    return None if start is None else start + noise


def _all_of(names: tuple[str, ...], values: Values, noise: Value) -> Value:
    return after(*[values[name] for name in names], delay=noise) if names else None


def _any_of(names: tuple[str, ...], values: Values, noise: Value) -> Value:
    return first_of(*[values[name] for name in names], delay=noise)


def _unless_earlier(mine: str, others: tuple[str, ...], values: Values, noise: Value) -> Value:
    tick = values[mine]
    if tick is None or any(values[other] is not None and values[other] < tick for other in others):
        return None
    return tick
