"""The goals, as data: what each step is called, how it looks, and which steps must be done before it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Place = tuple[str, float, float, float, float, str]
"""A part of the workpiece: sprite, center x and y, width, height (shares of the side), and how it comes to be seen
(``fill`` from below, ``wipe`` from the left, ``grow`` from its middle, ``pop`` at once when it is put down)."""

INSIDE = (0.5, 0.63, 0.26, 0.24)
TOP = (0.5, 0.5, 0.28, 0.13)


@dataclass(frozen=True)
class Step:
    """One action of the hand.

    ``verb``, ``participle``, ``noun`` and ``rest`` are its words, ``@`` standing before a noun that may have an
    article and ``{vessel}`` for the goal's vessel. ``tool`` is the sprite that moves as ``motion`` says; ``adds`` are
    the parts that stay, ``drops`` the parts that it takes away.
    """

    verb: str
    participle: str
    noun: str
    rest: str
    tool: str
    motion: str
    adds: tuple[Place, ...] = ()
    drops: tuple[str, ...] = ()
    at: tuple[float, float] = (0.5, 0.5)
    size: float = 0.32


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


def _inside(sprite: str, how: str = "fill") -> tuple[Place, ...]:
    return ((sprite, *INSIDE, how),)


def _top(sprite: str) -> tuple[Place, ...]:
    return ((sprite, *TOP, "pop"),)


def _flat(sprite: str, y: float, high: float = 0.1, wide: float = 0.34, how: str = "pop") -> tuple[Place, ...]:
    return ((sprite, 0.5, y, wide, high, how),)


STEPS: dict[str, Step] = {
    # Drinks and food.
    "water": Step("pours", "poured", "water", "into @{vessel}", "jug", "pour", _inside("water")),
    "milk": Step("pours", "poured", "milk", "into @{vessel}", "carton", "pour", _inside("milk")),
    "tea bag": Step("dips", "dipped", "tea bag", "in @{vessel}", "teabag", "dip", _inside("tea"), at=(0.5, 0.46)),
    "sugar": Step(
        "drops", "dropped", "sugar", "in @{vessel}", "sugar", "drop", (("sugar", 0.44, 0.5, 0.14, 0.12, "pop"),)
    ),
    "stir": Step(
        "stirs",
        "stirred",
        "{vessel}",
        "with @spoon",
        "spoon",
        "stir",
        (("swirl", *INSIDE, "grow"),),
        at=(0.5, 0.44),
        size=0.36,
    ),
    "cocoa": Step(
        "spoons",
        "spooned",
        "cocoa",
        "into @{vessel}",
        "cocoa",
        "pour",
        (("cocoa heap", 0.5, 0.69, 0.26, 0.12, "fill"),),
    ),
    "marshmallows": Step(
        "drops", "dropped", "marshmallows", "in @{vessel}", "marshmallows", "drop", _top("marshmallows")
    ),
    "cut lemon": Step(
        "cuts",
        "cut",
        "lemon",
        "with @knife",
        "knife",
        "rub",
        (("lemon halves", 0.24, 0.68, 0.2, 0.18, "pop"),),
        ("lemon",),
        at=(0.3, 0.56),
    ),
    "squeeze": Step(
        "squeezes",
        "squeezed",
        "lemon",
        "over @{vessel}",
        "squeezed lemon",
        "shake",
        _inside("juice"),
        ("lemon halves",),
        at=(0.5, 0.38),
    ),
    "ice": Step("drops", "dropped", "ice", "in @{vessel}", "ice", "drop", _top("ice")),
    "straw": Step(
        "puts",
        "put",
        "straw",
        "in @{vessel}",
        "straw",
        "place",
        (("straw", 0.58, 0.46, 0.3, 0.38, "pop"),),
        at=(0.58, 0.46),
        size=0.36,
    ),
    "burner": Step(
        "lights",
        "lit",
        "fire",
        "under @{vessel}",
        "lighter",
        "light",
        (("fire", 0.5, 0.79, 0.34, 0.12, "grow"),),
        at=(0.6, 0.7),
        size=0.26,
    ),
    "carrots": Step("drops", "dropped", "carrots", "in @{vessel}", "carrots", "drop", _top("carrots")),
    "salt": Step(
        "shakes",
        "shaken",
        "salt",
        "over @{vessel}",
        "salt",
        "shake",
        _inside("specks", "pop"),
        at=(0.5, 0.38),
        size=0.26,
    ),
    "egg": Step(
        "cracks",
        "cracked",
        "egg",
        "over @{vessel}",
        "egg",
        "shake",
        (("yolk", 0.44, 0.64, 0.14, 0.16, "grow"),),
        at=(0.5, 0.38),
    ),
    "flour": Step(
        "pours", "poured", "flour", "into @{vessel}", "flour", "pour", (("flour heap", 0.56, 0.68, 0.18, 0.14, "fill"),)
    ),
    "bake": Step(
        "puts",
        "put",
        "dough",
        "in @oven",
        "oven",
        "place",
        (("cake", 0.5, 0.58, 0.34, 0.2, "grow"),),
        ("yolk", "flour heap", "swirl"),
        at=(0.5, 0.46),
        size=0.42,
    ),
    "frost": Step(
        "spreads",
        "spread",
        "cream",
        "on @cake",
        "cream",
        "sweep",
        (("frosting", 0.5, 0.5, 0.36, 0.1, "wipe"),),
        at=(0.5, 0.4),
    ),
    "cherry": Step(
        "puts",
        "put",
        "cherry",
        "on @cake",
        "cherry",
        "drop",
        (("cherry", 0.5, 0.42, 0.14, 0.14, "pop"),),
        at=(0.5, 0.42),
        size=0.2,
    ),
    "bread": Step("lays", "laid", "bread", "on @plate", "bread", "place", _flat("bread", 0.66, 0.12), at=(0.5, 0.66)),
    "butter": Step(
        "spreads",
        "spread",
        "butter",
        "on @bread",
        "butter knife",
        "sweep",
        _flat("butter", 0.61, 0.06, how="wipe"),
        at=(0.5, 0.5),
    ),
    "cheese": Step(
        "lays", "laid", "cheese", "on @bread", "cheese", "place", _flat("cheese", 0.56, 0.08, 0.38), at=(0.5, 0.56)
    ),
    "tomato": Step(
        "lays", "laid", "tomato", "on @bread", "tomato", "place", _flat("tomato", 0.53, 0.08, 0.34), at=(0.5, 0.54)
    ),
    "lid bread": Step(
        "covers",
        "covered",
        "sandwich",
        "with @bread",
        "top bread",
        "drop",
        _flat("top bread", 0.46, 0.14, 0.36),
        at=(0.5, 0.46),
    ),
    # Paper and boxes.
    "teddy": Step(
        "puts",
        "put",
        "teddy",
        "in @box",
        "teddy",
        "drop",
        (("teddy ears", 0.5, 0.46, 0.22, 0.14, "pop"),),
        at=(0.5, 0.46),
    ),
    "lid": Step(
        "closes",
        "closed",
        "box",
        "with @lid",
        "lid",
        "drop",
        (("lid", 0.5, 0.47, 0.42, 0.1, "pop"),),
        ("teddy ears",),
        at=(0.5, 0.47),
        size=0.4,
    ),
    "wrap": Step(
        "wraps",
        "wrapped",
        "{vessel}",
        "in @paper",
        "paper roll",
        "sweep",
        (("wrapping", 0.5, 0.63, 0.3, 0.26, "wipe"),),
        at=(0.5, 0.55),
    ),
    "ribbon": Step(
        "ties",
        "tied",
        "ribbon",
        "around @{vessel}",
        "ribbon",
        "knot",
        (("bow", 0.5, 0.56, 0.34, 0.42, "grow"),),
        at=(0.5, 0.5),
    ),
    "write": Step(
        "writes",
        "written",
        "letter",
        "with @pen",
        "pen",
        "write",
        (("writing", 0.5, 0.57, 0.26, 0.3, "wipe"),),
        at=(0.5, 0.5),
    ),
    "fold": Step(
        "folds",
        "folded",
        "letter",
        "in @middle",
        "flap",
        "fold",
        (("folded", 0.5, 0.66, 0.36, 0.2, "pop"),),
        ("sheet", "writing"),
        at=(0.5, 0.5),
        size=0.34,
    ),
    "envelope": Step(
        "puts",
        "put",
        "letter",
        "in @envelope",
        "letter",
        "drop",
        (("envelope", 0.5, 0.6, 0.46, 0.3, "grow"),),
        ("folded",),
        at=(0.5, 0.5),
    ),
    "stamp": Step(
        "sticks",
        "stuck",
        "stamp",
        "on @envelope",
        "stamp",
        "place",
        (("stamp", 0.63, 0.54, 0.16, 0.16, "pop"),),
        at=(0.63, 0.54),
        size=0.22,
    ),
    "mail": Step(
        "drops",
        "dropped",
        "envelope",
        "in @mailbox",
        "small envelope",
        "drop",
        (("mailbox", 0.5, 0.58, 0.4, 0.42, "grow"),),
        ("envelope", "stamp", "bow"),
        at=(0.5, 0.42),
    ),
    # Wood and walls.
    "saw": Step(
        "saws",
        "sawn",
        "{vessel}",
        "with @saw",
        "saw",
        "rub",
        (("cut end", 0.68, 0.62, 0.1, 0.3, "pop"),),
        at=(0.56, 0.5),
        size=0.36,
    ),
    "sand": Step(
        "sands",
        "sanded",
        "{vessel}",
        "with @sandpaper",
        "sandpaper",
        "rub",
        (("shine", 0.42, 0.62, 0.2, 0.2, "wipe"),),
        at=(0.48, 0.58),
        size=0.26,
    ),
    "paint": Step(
        "paints",
        "painted",
        "{vessel}",
        "with @brush",
        "brush",
        "sweep",
        (("painted", 0.5, 0.62, 0.46, 0.28, "wipe"),),
        ("shine",),
        at=(0.5, 0.52),
    ),
    "dry": Step(
        "dries",
        "dried",
        "{vessel}",
        "with @dryer",
        "dryer",
        "hold",
        (("gloss", 0.5, 0.57, 0.36, 0.1, "wipe"),),
        at=(0.6, 0.42),
    ),
    "star": Step(
        "draws",
        "drawn",
        "star",
        "on @{vessel}",
        "star pen",
        "write",
        (("star", 0.5, 0.62, 0.24, 0.24, "grow"),),
        ("gloss",),
        at=(0.5, 0.5),
    ),
    "drill": Step(
        "drills",
        "drilled",
        "{vessel}",
        "with @drill",
        "drill",
        "buzz",
        (("hole", 0.36, 0.6, 0.1, 0.1, "grow"),),
        at=(0.42, 0.46),
    ),
    "screw": Step(
        "turns",
        "turned",
        "screw",
        "into @{vessel}",
        "screwdriver",
        "turn",
        (("screw", 0.36, 0.58, 0.13, 0.16, "grow"),),
        at=(0.4, 0.44),
    ),
    "measure": Step(
        "measures",
        "measured",
        "wall",
        "with @ruler",
        "ruler",
        "hold",
        (("mark", 0.5, 0.4, 0.12, 0.12, "pop"),),
        at=(0.5, 0.44),
        size=0.44,
    ),
    "nail": Step(
        "hammers",
        "hammered",
        "nail",
        "into @wall",
        "hammer",
        "hammer",
        (("nail", 0.5, 0.38, 0.1, 0.16, "grow"),),
        ("mark",),
        at=(0.52, 0.36),
    ),
    "hang": Step(
        "hangs",
        "hung",
        "{vessel}",
        "on @nail",
        "rope",
        "lift",
        (("hook rope", 0.5, 0.42, 0.34, 0.16, "pop"),),
        at=(0.5, 0.44),
    ),
    "picture": Step(
        "hangs",
        "hung",
        "picture",
        "on @nail",
        "picture",
        "place",
        (("hook rope", 0.5, 0.4, 0.26, 0.14, "pop"), ("picture", 0.5, 0.58, 0.36, 0.3, "pop")),
        ("picture",),
        at=(0.5, 0.58),
        size=0.36,
    ),
    # Wheels, plants, candles, towers, cloth.
    "unscrew": Step(
        "loosens",
        "loosened",
        "bolt",
        "with @wrench",
        "wrench",
        "turn",
        (("loose bolt", 0.28, 0.74, 0.1, 0.1, "pop"),),
        ("bolt",),
        at=(0.5, 0.56),
        size=0.34,
    ),
    "pull wheel": Step(
        "pulls", "pulled", "flat tire", "off @cart", "flat tire", "pull", (), ("flat tire",), at=(0.5, 0.66), size=0.34
    ),
    "new wheel": Step(
        "puts",
        "put",
        "new tire",
        "on @cart",
        "tire",
        "place",
        (("tire", 0.5, 0.64, 0.34, 0.32, "pop"),),
        at=(0.5, 0.64),
        size=0.34,
    ),
    "tighten": Step(
        "tightens",
        "tightened",
        "bolt",
        "with @key",
        "bolt key",
        "turn",
        (("bolt", 0.5, 0.64, 0.12, 0.12, "grow"),),
        ("loose bolt",),
        at=(0.5, 0.54),
    ),
    "pump": Step(
        "pumps",
        "pumped",
        "air",
        "into @tire",
        "pump",
        "pump",
        (("air", 0.5, 0.64, 0.42, 0.4, "grow"),),
        at=(0.5, 0.44),
        size=0.36,
    ),
    "soil": Step("shovels", "shoveled", "soil", "into @planter", "shovel", "pour", _inside("soil")),
    "poke": Step(
        "pokes",
        "poked",
        "hole",
        "in @soil",
        "stick",
        "dip",
        (("dark hole", 0.5, 0.53, 0.14, 0.08, "grow"),),
        at=(0.5, 0.42),
    ),
    "seed": Step(
        "drops",
        "dropped",
        "seed",
        "in @hole",
        "seed",
        "drop",
        (("seed", 0.5, 0.52, 0.1, 0.08, "pop"),),
        at=(0.5, 0.5),
        size=0.24,
    ),
    "rake": Step(
        "covers",
        "covered",
        "seed",
        "with @rake",
        "rake",
        "sweep",
        (("soil mound", 0.5, 0.5, 0.28, 0.08, "wipe"),),
        ("dark hole", "seed"),
        at=(0.5, 0.44),
    ),
    "can": Step(
        "waters", "watered", "soil", "with @can", "watering can", "pour", (("sprout", 0.5, 0.41, 0.22, 0.2, "grow"),)
    ),
    "candle": Step(
        "sets",
        "set",
        "candle",
        "on @{vessel}",
        "candle",
        "drop",
        (("candle", 0.5, 0.47, 0.14, 0.3, "pop"),),
        at=(0.5, 0.47),
        size=0.32,
    ),
    "match": Step(
        "strikes",
        "struck",
        "match",
        "on @matchbox",
        "match",
        "rub",
        (("matchbox", 0.28, 0.7, 0.2, 0.14, "pop"),),
        at=(0.32, 0.58),
    ),
    "light": Step(
        "lights",
        "lit",
        "candle",
        "with @match",
        "burning match",
        "light",
        (("flame", 0.5, 0.29, 0.14, 0.14, "grow"),),
        at=(0.58, 0.38),
    ),
    "cube": Step(
        "sets",
        "set",
        "cube",
        "on @table",
        "cube",
        "place",
        (("cube", 0.5, 0.7, 0.2, 0.18, "pop"),),
        at=(0.5, 0.7),
        size=0.24,
    ),
    "cylinder": Step(
        "stacks",
        "stacked",
        "can",
        "on @cube",
        "cylinder",
        "drop",
        (("cylinder", 0.5, 0.54, 0.16, 0.15, "pop"),),
        at=(0.5, 0.54),
        size=0.24,
    ),
    "bridge": Step(
        "stacks",
        "stacked",
        "arch",
        "on @can",
        "arch",
        "drop",
        (("arch", 0.5, 0.42, 0.24, 0.12, "pop"),),
        at=(0.5, 0.42),
        size=0.26,
    ),
    "cone": Step(
        "stacks",
        "stacked",
        "cone",
        "on @arch",
        "cone",
        "drop",
        (("cone", 0.5, 0.31, 0.16, 0.13, "pop"),),
        at=(0.5, 0.32),
        size=0.24,
    ),
    "thread": Step(
        "threads",
        "threaded",
        "needle",
        "over @cloth",
        "needle",
        "hold",
        (("thread", 0.34, 0.44, 0.26, 0.2, "wipe"),),
        at=(0.46, 0.44),
        size=0.36,
    ),
    "sew": Step(
        "sews",
        "sewn",
        "pearl",
        "on @cloth",
        "sewing",
        "buzz",
        (("pearl", 0.5, 0.6, 0.18, 0.18, "grow"),),
        at=(0.5, 0.46),
    ),
    "snip": Step(
        "cuts", "cut", "thread", "with @scissors", "scissors", "snip", (), ("thread",), at=(0.4, 0.48), size=0.34
    ),
    "soap": Step(
        "rubs",
        "rubbed",
        "shirt",
        "with @soap",
        "soap",
        "rub",
        (("foam", 0.5, 0.62, 0.3, 0.2, "grow"),),
        ("stain",),
        at=(0.5, 0.56),
        size=0.26,
    ),
    "rinse": Step(
        "rinses",
        "rinsed",
        "shirt",
        "with @hose",
        "hose",
        "hold",
        (("drops", 0.5, 0.62, 0.3, 0.22, "pop"),),
        ("foam",),
        at=(0.58, 0.42),
    ),
    "iron": Step(
        "irons",
        "ironed",
        "shirt",
        "with @iron",
        "iron",
        "rub",
        (("crease", 0.5, 0.62, 0.06, 0.24, "wipe"),),
        ("drops",),
        at=(0.5, 0.54),
    ),
    "fold shirt": Step(
        "folds",
        "folded",
        "shirt",
        "on @table",
        "sleeve flap",
        "fold",
        (("shirt pile", 0.5, 0.68, 0.36, 0.18, "pop"),),
        ("shirt", "crease"),
        at=(0.5, 0.52),
        size=0.32,
    ),
}


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
