"""The world *mechanisms*: what one device does sets off the next."""

from __future__ import annotations

from vidcausal.worlds.mechanisms.world import Mechanisms

__all__ = ["Mechanisms"]
