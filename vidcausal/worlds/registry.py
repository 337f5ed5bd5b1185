"""The worlds by name."""

from __future__ import annotations

import importlib

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.world import World

WORLDS: dict[str, str] = {
    "collisions": "vidcausal.worlds.collisions:Collisions",
    "mechanisms": "vidcausal.worlds.mechanisms:Mechanisms",
    "procedures": "vidcausal.worlds.procedures:Procedures",
}
"""Name of a world to its class, which is imported when it is asked for."""


def create_world(name: str) -> World:
    """A world by name.

    Raises:
        UnknownNameError: there is no such world.
    """
    if name not in WORLDS:
        raise UnknownNameError("world", name, WORLDS)
    module, _, attribute = WORLDS[name].partition(":")
    world: World = getattr(importlib.import_module(module), attribute)()
    return world
