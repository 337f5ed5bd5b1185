"""Which devices stand where, how they are wired, and when things happen: all that a seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vidcausal.worlds.mechanisms.model import (
    ACT_TICKS,
    EFFECTS,
    HAND_TICKS,
    HELD_OUT,
    INPUTS,
    LAGS,
    PRESS_TICKS,
    Device,
    Gate,
    build_model,
)
from vidcausal.worlds.scm import SCM, Value
from vidcausal.worlds.story import COLORS, Split

SHORTEST, LONGEST = 40, 64
"""Ticks that a video lasts."""
SPACING = 2
"""Ticks between the starts of any two events at least."""
TRUNCATED_SHARE = 0.42
"""Share of the stories that are to end while something happens; some of them offer no moment for it."""
MOST_DEVICES = 6
_MOST_TRIES = 200
_LAGS, _LAG_WEIGHTS = [lag for lag, _ in LAGS], [p for _, p in LAGS]
_NAMES = tuple(COLORS)


@dataclass(frozen=True, slots=True)
class Structure:
    """A wiring: one node a letter, and the nodes that trigger it.

    ``I`` is worked by a hand and ``i`` could be but is not; ``E`` follows its only trigger, ``A`` needs two, ``O``
    follows either of two. ``tied`` lets both triggers of the gate act in the same tick.
    """

    name: str
    weight: float
    letters: str
    triggers: tuple[tuple[int, ...], ...]
    tied: bool = False


STRUCTURES = (
    Structure("chain", 0.8, "IEEE", ((), (0,), (1,), (2,))),
    Structure("chain", 2.4, "IEEEE", ((), (0,), (1,), (2,), (3,))),
    Structure("chain and hand", 1.0, "IEEEI", ((), (0,), (1,), (2,), ())),
    Structure("chain and hand", 1.0, "IEEEEI", ((), (0,), (1,), (2,), (3,), ())),
    Structure("two chains", 1.2, "IEEIE", ((), (0,), (1,), (), (3,))),
    Structure("two chains", 1.0, "IEEEIE", ((), (0,), (1,), (2,), (), (4,))),
    Structure("fork", 1.4, "IEEEE", ((), (0,), (1,), (1,), (2,))),
    Structure("and", 0.7, "IIAEE", ((), (), (0, 1), (2,), (3,))),
    Structure("and", 1.0, "IEIAEE", ((), (0,), (), (1, 2), (3,), (4,))),
    Structure("pre-emption", 1.0, "IIOEE", ((), (), (0, 1), (2,), (3,))),
    Structure("pre-emption", 1.4, "IEIOEE", ((), (0,), (), (1, 2), (3,), (4,))),
    Structure("overdetermination", 0.7, "IIOEE", ((), (), (0, 1), (2,), (3,)), tied=True),
    Structure("overdetermination", 0.9, "IEIOEE", ((), (0,), (), (1, 2), (3,), (4,)), tied=True),
    Structure("blocked", 0.6, "IEEiA", ((), (0,), (1,), (), (2, 3))),
    Structure("one of two", 0.6, "IEiOE", ((), (0,), (), (1, 2), (3,))),
)
LONG_CHAIN = Structure("long chain", 8.0, "IEEEEE", ((), (0,), (1,), (2,), (3,), (4,)))
"""In ``composition`` only."""
_GATES: dict[str, Gate] = {"A": "all", "O": "any"}
_WEIGHTS = [structure.weight for structure in STRUCTURES]


@dataclass(frozen=True, slots=True)
class Plot:
    """What a seed decided.

    ``noise`` is a value for every variable of ``model``; ``ticks`` is how long the video is shown.
    """

    structure: str
    devices: tuple[Device, ...]
    model: SCM
    noise: dict[str, Value]
    ticks: int


def invent(rng: random.Random, split: Split) -> Plot:
    """The plot that random numbers give."""
    if split == "composition":
        structure = rng.choices((*STRUCTURES, LONG_CHAIN), (*_WEIGHTS, LONG_CHAIN.weight))[0]
    else:
        structure = rng.choices(STRUCTURES, _WEIGHTS)[0]
    letters, triggers = _with_idle(rng, structure)
    devices = _devices(rng, letters, triggers, split == "composition")
    model = build_model(devices)
    truncated = rng.random() < TRUNCATED_SHARE
    for _ in range(_MOST_TRIES):
        noise = _noise(rng, structure, devices, model)
        fitted = _fitted(rng, structure, devices, model, noise, truncated)
        if fitted is not None:
            return Plot(structure.name, devices, model, *fitted)
    raise AssertionError(f"no timing of {structure} fits {LONGEST} ticks")


def kind_for(rng: random.Random, color: str, kinds: Sequence[str], held_out: bool) -> str:
    """A kind for a device of this color; ``held_out`` lets the pair be one that training never shows."""
    secret = HELD_OUT[color]
    if held_out and secret in kinds and rng.random() < 0.5:
        return secret
    allowed = [kind for kind in kinds if kind != secret]
    return allowed[int(rng.random() * len(allowed))]


def _with_idle(rng: random.Random, structure: Structure) -> tuple[str, tuple[tuple[int, ...], ...]]:
    """The structure with devices that do nothing in the free places."""
    letters, triggers = structure.letters, structure.triggers
    total = MOST_DEVICES if rng.random() < 0.7 else MOST_DEVICES - 1
    while len(letters) < total:
        if letters.endswith("i") and triggers[-1] == () and len(letters) > len(structure.letters):
            letters, triggers = letters + "E", (*triggers, (len(letters) - 1,))
        else:
            letters, triggers = letters + ("i" if rng.random() < 0.5 else "E"), (*triggers, ())
    return letters, triggers


def _devices(
    rng: random.Random, letters: str, triggers: tuple[tuple[int, ...], ...], held_out: bool
) -> tuple[Device, ...]:
    while True:
        colors = rng.sample(_NAMES, len(letters))
        places = rng.sample(range(MOST_DEVICES), len(letters))
        devices = []
        for letter, color, place, wired in zip(letters, colors, places, triggers, strict=True):
            by_hand = letter in "Ii"
            kind = kind_for(rng, color, INPUTS if by_hand else EFFECTS, held_out)
            devices.append(Device(color, kind, place, by_hand, wired, _GATES.get(letter, "")))
        # What the first nodes are is seen to act, so a held-out pair among them is seen too.
        if not held_out or any(HELD_OUT[device.color] == device.kind for device in devices[:4]):
            return tuple(devices)


def _noise(rng: random.Random, structure: Structure, devices: Sequence[Device], model: SCM) -> dict[str, Value]:
    """Noise with hands that come at ticks that count from the first."""
    noise: dict[str, Value] = dict.fromkeys(model.variables)
    hands = 0
    for device, letter in zip(devices, structure.letters, strict=False):
        if letter == "I":
            noise[device.event] = 0 if hands == 0 else rng.randint(2, 20)
            hands += 1
    for i, device in enumerate(devices):
        ticks = PRESS_TICKS if device.by_hand else ACT_TICKS
        noise[device.done] = ticks[int(rng.random() * len(ticks))]
        if not device.by_hand:
            noise[device.event] = rng.choices(_LAGS, _LAG_WEIGHTS)[0] if i < len(structure.letters) else 0
    if structure.tied:
        gate = devices[structure.letters.index("O")]
        first, second = (devices[i] for i in gate.triggers)
        due = model.run(noise)[first.done]
        noise[second.event] = due - noise[second.done]
    return noise


def _fitted(
    rng: random.Random,
    structure: Structure,
    devices: Sequence[Device],
    model: SCM,
    noise: dict[str, Value],
    truncated: bool,
) -> tuple[dict[str, Value], int] | None:
    """Noise with the first hand moved to where the video needs it, and the video's ticks; None where it cannot be."""
    values = model.run(noise)
    acts = sorted((values[d.event], values[d.done], i) for i, d in enumerate(devices) if values[d.event] is not None)
    if any(later[0] - earlier[0] < SPACING for earlier, later in zip(acts, acts[1:], strict=False)):
        return None
    if structure.name == "pre-emption":
        first, second = (values[devices[i].done] for i in devices[structure.letters.index("O")].triggers)
        if abs(first - second) < SPACING:
            return None
    begin, end = acts[0][0], max(done for _, done, _ in acts)
    lead = rng.randint(2, 6)
    cut = _cut(rng, devices, acts) if truncated else None
    if cut is not None:
        lead = max(lead, SHORTEST - (cut - begin))
        ticks = lead + cut - begin
    else:
        ticks = max(SHORTEST, end - begin + lead + rng.randint(2, 7))
        lead = rng.randint(lead, max(lead, ticks - (end - begin) - 2))
    if ticks > LONGEST:
        return None
    shift = lead - begin
    moved = dict(noise)
    for device in devices:
        if device.by_hand and noise[device.event] is not None:
            moved[device.event] += shift
            if moved[device.event] not in HAND_TICKS:
                return None
    return moved, ticks


def _cut(rng: random.Random, devices: Sequence[Device], acts: Sequence[tuple[int, int, int]]) -> int | None:
    """A tick in which exactly one device is under way, after three others, and the next act follows from it."""
    choices = []
    for number in range(3, len(acts) - 1):
        start, done, i = acts[number]
        follower = acts[number + 1]
        if i not in devices[follower[2]].triggers or follower[0] < done:
            continue
        cut = start + max(3, round((done - start) * rng.uniform(0.45, 0.8)))
        if cut < done and all(act[1] <= cut for act in acts[:number]) and cut - acts[0][0] >= SHORTEST - 16:
            choices.append(cut)
    return rng.choice(choices) if choices else None
