"""What the tests of all worlds share: stories of each split, a fingerprint of a sample, and frames of a story."""

from __future__ import annotations

import functools
import hashlib
import sys
from typing import Any

import numpy as np

from vidcausal.worlds import create_world
from vidcausal.worlds.story import SPLITS, Question, Split, Story, StoryEvent
from vidcausal.worlds.world import World

COUNT = 100
"""Stories of each split that are looked at; most tests need no pixels."""
FPS = 16


@functools.cache
def world(name: str) -> World:
    return create_world(name)


@functools.cache
def stories(name: str, split: Split = "train", count: int = COUNT) -> tuple[Story, ...]:
    return tuple(world(name).tell(seed, split) for seed in range(count))


@functools.cache
def every(name: str) -> tuple[Story, ...]:
    return tuple(story for split in SPLITS for story in stories(name, split))


@functools.cache
def asked(name: str, split: Split = "train", count: int = 4 * COUNT) -> tuple[tuple[Question, ...], ...]:
    return tuple(world(name).questions(story) for story in stories(name, split, count))


def whole(story: Story) -> tuple[StoryEvent, ...]:
    """Shown and unseen events."""
    return (*story.events, *story.unseen)


def grid(story: Story) -> list[float]:
    return [k / FPS for k in range(round(story.duration * FPS) + 1)]


def frames(name: str, story: Story, times: list[float]) -> np.ndarray:
    return world(name).render(story, times)


def fingerprint(name: str, split: Split, seed: int) -> str:
    """A hash of everything that a sample shows and says."""
    made = create_world(name)
    story = made.tell(seed, split)
    parts: list[Any] = [story.world, story.seed, story.split, story.duration, story.events, story.unseen, story.goal]
    parts += [story.clips, story.valid_orders, story.noise, story.model.edges(), story.model.run(story.noise)]
    parts += [made.questions(story), made.sounds(story), made.stage(story)]
    parts += [[made.causes(story, event.id) for event in story.events]]
    pixels = made.render(story, grid(story)[::12])
    return hashlib.sha256(repr(parts).encode() + pixels.tobytes()).hexdigest()


if __name__ == "__main__":
    for line in sys.argv[1:]:
        kind, part, number = line.split("/")
        sys.stdout.write(fingerprint(kind, part, int(number)) + "\n")  # type: ignore[arg-type]
