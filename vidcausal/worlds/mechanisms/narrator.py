"""What is said about the panel: captions of events, and clauses that questions are made of."""

from __future__ import annotations

from collections.abc import Sequence

from vidcausal.worlds.mechanisms.model import Device

GOAL = "a chain reaction from its start to its end"

_TENSES: dict[str, tuple[str, str, str, str, str]] = {
    # verb: does, do, is done (passive), does by itself, did by itself
    "light": ("lights", "light", "lit", "lights up", "lit up"),
    "open": ("opens", "open", "opened", "opens", "opened"),
    "topple": ("topples", "topple", "toppled", "falls over", "fell over"),
    "fill": ("fills", "fill", "filled", "fills up", "filled up"),
    "start": ("starts", "start", "started", "starts to turn", "turned"),
    "ring": ("rings", "ring", "rung", "rings", "rang"),
    "tip": ("tips", "tip", "tipped", "tips over", "tipped over"),
}
_INFINITIVES = {
    "light": "light up",
    "open": "open",
    "topple": "fall over",
    "fill": "fill up",
    "start": "turn",
    "ring": "ring",
    "tip": "tip over",
}
_PARTICIPLES = {
    "light": "lit up",
    "open": "opened",
    "topple": "fallen over",
    "fill": "filled up",
    "start": "turned",
    "ring": "rung",
    "tip": "tipped over",
}
_GERUNDS = {
    "light": "lighting up",
    "open": "opening",
    "topple": "falling over",
    "fill": "filling up",
    "start": "turning",
    "ring": "ringing",
    "tip": "tipping over",
}


def verb(device: Device) -> str:
    """The verb of the device's event."""
    return device.event.split(" ", 1)[0]


def wordings(device: Device, causes: Sequence[Device]) -> tuple[str, ...]:
    """All ways to say that ``device`` acted because of ``causes``, the canonical one first."""
    name = device.name
    if device.by_hand:
        does, done = ("presses", "pressed") if device.kind == "button" else ("pulls", "pulled")
        return (
            f"hand {does} {name}",
            f"the hand {does} the {name}",
            f"a hand comes in and {does} the {name}",
            f"the {name} is {done} by the hand",
        )
    does, do, done, alone, _ = _TENSES[verb(device)]
    if not causes:
        return (f"{name} {alone}", f"the {name} {alone}", f"the {name} {alone} by itself")
    if len(causes) == 1:
        cause = causes[0].name
        return (
            f"{cause} {does} {name}",
            f"the {cause} {does} the {name}",
            f"the {name} is {done} by the {cause}",
            f"the {name} {alone} because of the {cause}",
        )
    one, two = causes[0].color, causes[1].color
    return (
        f"{one} and {two} {do} {name}",
        f"the {causes[0].name} and the {causes[1].name} {do} the {name}",
        f"the {name} is {done} by {one} and {two}",
        f"the {name} {alone} because of {one} and {two}",
    )


def past(device: Device) -> str:
    """``the blue lamp lit up``."""
    if device.by_hand:
        return f"the hand {'pressed' if device.kind == 'button' else 'pulled'} the {device.name}"
    return f"the {device.name} {_TENSES[verb(device)][4]}"


def progressive(device: Device) -> str:
    """``the blue lamp was lighting up``."""
    if device.by_hand:
        return f"the hand was {'pressing' if device.kind == 'button' else 'pulling'} the {device.name}"
    return f"the {device.name} was {_GERUNDS[verb(device)]}"


def unreal(device: Device) -> str:
    """``the blue lamp had not lit up``."""
    if device.by_hand:
        return f"the hand had not {'pressed' if device.kind == 'button' else 'pulled'} the {device.name}"
    return f"the {device.name} had not {_PARTICIPLES[verb(device)]}"


def infinitive(device: Device) -> str:
    """``the blue lamp light up``, for a device that no hand works."""
    return f"the {device.name} {_INFINITIVES[verb(device)]}"


def sets_off(device: Device) -> tuple[str, str]:
    """``("light", "lit")``: what another device does to this one, and what is done to it."""
    tenses = _TENSES[verb(device)]
    return tenses[1], tenses[2]


def to_infinitive(device: Device) -> str:
    """``the blue lamp to light up``, for a device that no hand works."""
    return f"the {device.name} to {_INFINITIVES[verb(device)]}"


SALIENCY = {"press": 2, "pull": 2, "light": 3, "open": 2, "topple": 3, "fill": 2, "start": 2, "ring": 3, "tip": 1}
"""What an annotator gives an event by its verb before noise, 0 to 4."""
