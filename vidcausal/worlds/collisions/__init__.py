"""The world ``collisions``: wind-up toys on three shelves run, hit one another, fall, leave and come to rest."""

from __future__ import annotations

from collections.abc import Sequence

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.canvas import RGB
from vidcausal.worlds.collisions.look import BACKGROUND, SPRITES, scene_things, sounds_of, stage_things
from vidcausal.worlds.collisions.questions import questions_of
from vidcausal.worlds.collisions.story import HELD_OUT, HELD_OUT_CHAIN, LONGEST_CHAIN, counterfactual_story, tell
from vidcausal.worlds.scm import Values
from vidcausal.worlds.story import Question, Sound, Split, Story, Thing
from vidcausal.worlds.world import World

__all__ = ["HELD_OUT", "HELD_OUT_CHAIN", "LONGEST_CHAIN", "Collisions"]


class Collisions(World):
    """Toys of five shapes and eight colors on three shelves.

    ``Story.params`` holds the ``plan`` (shelves, toys, causal model), the ``values`` of the variables, and the
    ``paths`` of the toys that the painter follows.
    """

    name = "collisions"
    summary = "wind-up toys on three shelves run, hit one another, fall to the next shelf, leave or come to rest"
    sprites = SPRITES

    def tell(self, seed: int, split: Split = "train") -> Story:
        return tell(seed, split, self.random(seed, split))

    def counterfactual(self, story: Story, do: Values) -> Story:
        """The story had the variables of ``do`` been as given: the same noise, and a video of its own.

        It is as long as ``story``, or longer where what happens instead takes longer.

        Raises:
            UnknownNameError: ``do`` names a variable that the story's model does not have.
        """
        for name in do:
            if name not in story.model.variables:
                raise UnknownNameError("variable", name, story.model.variables)
        return counterfactual_story(story, do, self.random(story.seed, story.split, "counterfactual"))

    def questions(self, story: Story) -> tuple[Question, ...]:
        return questions_of(story, self.random(story.seed, story.split, "questions"))

    def stage(self, story: Story) -> tuple[RGB, Sequence[Thing]]:
        return BACKGROUND, stage_things(story.params["plan"].lanes)

    def scene(self, story: Story, time: float) -> Sequence[Thing]:
        return scene_things(story.params["paths"], time)

    def sounds(self, story: Story) -> Sequence[Sound]:
        return sounds_of(story)
