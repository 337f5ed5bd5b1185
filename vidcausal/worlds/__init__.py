"""Procedural causal worlds: a structural causal model, told as a video with sound, events and questions."""

from __future__ import annotations

from vidcausal.worlds.registry import WORLDS, create_world

__all__ = ["WORLDS", "create_world"]
