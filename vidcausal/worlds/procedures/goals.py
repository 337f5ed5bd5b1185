"""The goals and their partial orders, as data."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vidcausal.worlds.procedures.steps import Place


@dataclass(frozen=True, eq=False)
class Goal:
    """A goal and its partial order.

    ``before`` maps a step to those that must be done before it; ``optional`` steps may be left out; ``thing`` is the
    colored thing of the goal, ``parts`` what stands on the table at first.
    """

    name: str
    vessel: str
    steps: tuple[str, ...]
    before: Mapping[str, tuple[str, ...]]
    thing: str
    parts: tuple[Place, ...] = ()
    optional: tuple[str, ...] = ()


def _vessel(sprite: str) -> tuple[Place, ...]:
    return ((sprite, 0.5, 0.62, 0.38, 0.34, "pop"),)


def _chain(
    name: str, vessel: str, thing: str, parts: tuple[Place, ...], *steps: str, optional: tuple[str, ...] = ()
) -> Goal:
    """A goal whose steps have but one order."""
    return _goal(name, vessel, thing, parts, *[(step,) for step in steps], optional=optional)


def _goal(
    name: str,
    vessel: str,
    thing: str,
    parts: tuple[Place, ...],
    *levels: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Goal:
    """A goal in levels: every step of one needs all steps of the level before it; those of one level change places."""
    before: dict[str, tuple[str, ...]] = {}
    for at, level in enumerate(levels):
        for step in level:
            before[step] = levels[at - 1] if at else ()
    return Goal(name, vessel, tuple(before), before, thing, parts, optional)


_SHEET: tuple[Place, ...] = (("sheet", 0.5, 0.58, 0.36, 0.38, "pop"),)
_BOARD: tuple[Place, ...] = (("board", 0.5, 0.62, 0.46, 0.28, "pop"),)
_PLATE: tuple[Place, ...] = (("plate", 0.5, 0.74, 0.5, 0.12, "pop"),)
_LEMON: tuple[Place, ...] = (("lemon", 0.24, 0.68, 0.18, 0.16, "pop"),)
_CART: tuple[Place, ...] = (
    ("cart", 0.5, 0.5, 0.5, 0.24, "pop"),
    ("flat tire", 0.5, 0.66, 0.34, 0.28, "pop"),
    ("bolt", 0.5, 0.64, 0.12, 0.12, "pop"),
)
_FRAME: tuple[Place, ...] = (("picture", 0.3, 0.64, 0.24, 0.24, "pop"),)

GOALS: tuple[Goal, ...] = (
    _goal("make tea", "cup", "cup", _vessel("cup"), ("water",), ("tea bag", "sugar"), ("stir",), optional=("sugar",)),
    _chain(
        "make cocoa", "cup", "cup", _vessel("cup"), "cocoa", "milk", "stir", "marshmallows", optional=("marshmallows",)
    ),
    _chain(
        "make lemonade",
        "glass",
        "glass",
        _vessel("glass") + _LEMON,
        "cut lemon",
        "squeeze",
        "water",
        "ice",
        "straw",
        optional=("ice",),
    ),
    _chain("cook soup", "pot", "pot", _vessel("pot"), "water", "burner", "carrots", "salt", "stir", optional=("salt",)),
    _goal(
        "bake cake",
        "bowl",
        "bowl",
        _vessel("bowl"),
        ("flour", "egg"),
        ("stir",),
        ("bake",),
        ("frost",),
        ("cherry",),
        optional=("cherry",),
    ),
    _goal(
        "build sandwich",
        "plate",
        "plate",
        _PLATE,
        ("bread",),
        ("butter",),
        ("cheese", "tomato"),
        ("lid bread",),
        optional=("butter",),
    ),
    _chain("wrap gift", "box", "box", _vessel("box"), "teddy", "lid", "wrap", "ribbon"),
    _chain("mail letter", "paper", "paper", _SHEET, "write", "fold", "envelope", "stamp", "mail", optional=("mail",)),
    _chain("paint sign", "sign", "sign", _BOARD, "sand", "paint", "dry", "star", optional=("dry",)),
    _chain("hang picture", "picture", "picture", _FRAME, "measure", "nail", "picture"),
    _chain(
        "repair wheel",
        "cart",
        "cart",
        _CART,
        "unscrew",
        "pull wheel",
        "new wheel",
        "tighten",
        "pump",
        optional=("pump",),
    ),
    _chain("plant seed", "planter", "planter", _vessel("planter"), "soil", "poke", "seed", "rake", "can"),
    _chain("light candle", "holder", "holder", (("holder", 0.5, 0.7, 0.36, 0.16, "pop"),), "candle", "match", "light"),
    _chain("build tower", "cube", "cube", (), "cube", "cylinder", "bridge", "cone", optional=("cone",)),
    _chain("sew pearl", "cloth", "cloth", (("cloth", 0.5, 0.62, 0.44, 0.3, "pop"),), "thread", "sew", "snip"),
    _chain(
        "wash shirt",
        "shirt",
        "shirt",
        (("shirt", 0.5, 0.62, 0.46, 0.36, "pop"), ("stain", 0.5, 0.64, 0.14, 0.14, "pop")),
        "soap",
        "rinse",
        "iron",
        "fold shirt",
    ),
    _chain("mount hook", "board", "board", (("painted", 0.5, 0.62, 0.46, 0.28, "pop"),), "saw", "drill", "screw"),
)
"""Goals of train, validation and test: 3 to 6 steps."""

HELD_OUT_GOALS: tuple[Goal, ...] = (
    _goal(
        "make iced milk tea",
        "glass",
        "glass",
        _vessel("glass"),
        ("water",),
        ("tea bag",),
        ("milk", "sugar"),
        ("stir",),
        ("ice",),
        ("straw",),
    ),
    _chain(
        "bake birthday cake",
        "bowl",
        "bowl",
        _vessel("bowl"),
        "egg",
        "stir",
        "bake",
        "frost",
        "candle",
        "match",
        "light",
    ),
    _chain("make wall sign", "board", "board", _BOARD, "saw", "sand", "paint", "dry", "drill", "nail", "hang"),
    _chain("send gift card", "card", "card", _SHEET, "write", "star", "fold", "envelope", "stamp", "mail"),
)
"""Goals of ``composition``: known steps in new company, up to 7 of them."""


@functools.lru_cache(maxsize=4096)
def valid_orders(goal: Goal, steps: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Every order of ``steps`` that the goal's partial order allows; what a left-out step needed is needed still."""
    needed = {step: needs(goal, step) & set(steps) for step in steps}
    return tuple(_extensions(steps, needed, ()))


def needs(goal: Goal, step: str) -> set[str]:
    """All steps that must be done before ``step``, not only those right before it."""
    found: set[str] = set()
    todo = list(goal.before[step])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += goal.before[other]
    return found


def _extensions(
    steps: tuple[str, ...], needed: Mapping[str, set[str]], done: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    if len(done) == len(steps):
        yield done
    for step in steps:
        if step not in done and needed[step] <= set(done):
            yield from _extensions(steps, needed, (*done, step))
