"""What a world is, and what all worlds share: rendering, causes, seeds."""

from __future__ import annotations

import abc
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.worlds.canvas import RGB, Draw, Painter
from vidcausal.worlds.causes import actual_causes
from vidcausal.worlds.scm import happened
from vidcausal.worlds.story import Question, Sound, Split, Story, Thing


class World(abc.ABC):
    """A structural causal model with a renderer and a narrator.

    A subclass has a ``name``, its ``sprites``, and the methods below. Everything is a function of world, split and
    seed: the same three give the same story, pixels, sound and words on every machine.
    """

    name: str
    summary: str
    sprites: Mapping[str, Draw]

    def __init__(self) -> None:
        self.painter = Painter(self.sprites)

    def random(self, seed: int, split: Split, what: str = "story") -> random.Random:
        """The random numbers of one seed; ``what`` keeps streams apart that must not disturb one another."""
        return random.Random(f"{self.name}/{split}/{seed}/{what}")

    @abc.abstractmethod
    def tell(self, seed: int, split: Split = "train") -> Story:
        """The story of a seed: cheap, no pixels, no questions."""

    @abc.abstractmethod
    def questions(self, story: Story) -> tuple[Question, ...]:
        """Questions about a story, each of another type where the story allows it."""

    @abc.abstractmethod
    def stage(self, story: Story) -> tuple[RGB, Sequence[Thing]]:
        """Background color and the things that never change in this story."""

    @abc.abstractmethod
    def scene(self, story: Story, time: float) -> Sequence[Thing]:
        """What else is to be seen at ``time`` seconds, back to front."""

    @abc.abstractmethod
    def sounds(self, story: Story) -> Sequence[Sound]:
        """What is to be heard, in time order."""

    def render(self, story: Story, times: Sequence[float], size: int = 64) -> NDArray[np.uint8]:
        """RGB frames ``[t, size, size, 3]`` at ``times`` in seconds."""
        color, static = self.stage(story)
        return self.painter.paint(self.painter.backdrop(color, static, size), [self.scene(story, t) for t in times])

    def causes(self, story: Story, event: str, *, largest: int = 2) -> list[tuple[str, ...]]:
        """The Halpern-Pearl causes of an event of ``story`` among the events that happened; see :mod:`causes`."""
        told = {told.id for told in (*story.events, *story.unseen)}
        values = story.model.run(story.noise)
        candidates = [name for name in story.model.ancestors(event) if name in told and happened(values[name])]
        return actual_causes(story.model, story.noise, event, candidates=candidates, largest=largest)

    def without(self, story: Story, **do: Any) -> dict[str, Any]:
        """Values of all variables had the variables in ``do`` been as given: the exact counterfactual."""
        return story.model.run(story.noise, do)
