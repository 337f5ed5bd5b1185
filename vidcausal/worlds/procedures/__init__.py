"""The world procedures: a hand reaches goals by steps with preconditions, and presses buttons that start devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidcausal.worlds.canvas import RGB
from vidcausal.worlds.procedures.goals import GOALS, HELD_OUT_GOALS, Goal
from vidcausal.worlds.procedures.look import BACKGROUND, SPRITES
from vidcausal.worlds.procedures.model import HELD_OUT_PAIRS, Plan, build, compose, draw_plan
from vidcausal.worlds.procedures.questions import ask
from vidcausal.worlds.procedures.scenes import Show, prepare, things_at
from vidcausal.worlds.procedures.steps import STEPS, Step
from vidcausal.worlds.story import Question, Sound, Split, Story, Thing
from vidcausal.worlds.world import World

__all__ = ["GOALS", "HELD_OUT_GOALS", "HELD_OUT_PAIRS", "STEPS", "Goal", "Procedures", "Step"]

_MOTION_SOUNDS: Mapping[str, str] = {
    "pour": "pour",
    "dip": "tick",
    "drop": "thud",
    "place": "thud",
    "stir": "tick",
    "shake": "tick",
    "rub": "creak",
    "sweep": "whoosh",
    "write": "creak",
    "light": "whoosh",
    "hold": "buzz",
    "buzz": "buzz",
    "turn": "creak",
    "hammer": "thud",
    "lift": "creak",
    "pull": "creak",
    "pump": "whoosh",
    "fold": "whoosh",
    "knot": "whoosh",
    "snip": "click",
}
_DEVICE_SOUNDS: Mapping[str, str] = {
    "bell": "chime",
    "flag": "whoosh",
    "torch": "buzz",
    "drum": "thud",
    "balloon": "whoosh",
    "umbrella": "creak",
}


class Procedures(World):
    """Goals reached by steps whose preconditions are a partial order."""

    name = "procedures"
    summary = "a hand reaches goals by steps with preconditions, and buttons start devices"
    sprites = SPRITES

    def tell(self, seed: int, split: Split = "train") -> Story:
        rng = self.random(seed, split)
        plan = draw_plan(rng, split)
        model = build(plan)
        noise = model.sample_noise(rng)
        return self._story(seed, split, plan, model, noise, model.run(noise))

    def counterfactual(self, story: Story, do: Mapping[str, Any]) -> Story:
        """The same story, noise and all, with the variables in ``do`` set from outside; it can be rendered, too.

        Raises:
            KeyError: ``do`` names a variable that the story's model does not have.
        """
        values = story.model.run(story.noise, do)
        return self._story(story.seed, story.split, story.params["plan"], story.model, story.noise, values)

    def _story(
        self, seed: int, split: Split, plan: Plan, model: Any, noise: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Story:
        rng = self.random(seed, split, "saliency")
        show = prepare(plan, values)
        return compose(self.name, seed, split, plan, model, noise, values, rng, show)

    def questions(self, story: Story) -> tuple[Question, ...]:
        return ask(story, self.random(story.seed, story.split, "questions"))

    def stage(self, story: Story) -> tuple[RGB, Sequence[Thing]]:
        show: Show = story.params["show"]
        return BACKGROUND, show.fixed

    def scene(self, story: Story, time: float) -> Sequence[Thing]:
        return things_at(story.params["show"], story.params["plan"], time)

    def sounds(self, story: Story) -> Sequence[Sound]:
        plan: Plan = story.params["plan"]
        what = {action.variable: action.what for action in plan.actions}
        sounds: list[Sound] = []
        for event in (*story.events, *story.unseen):
            if event.start >= story.duration:
                continue
            long = min(event.end, story.duration) - event.start
            if event.kind == "step":
                motion = STEPS[what[event.id]].motion
                pitch = (list(STEPS).index(what[event.id]) + 0.5) / len(STEPS)
                late = 0.8 * long if motion in ("drop", "place") else 0.15 * long
                sounds.append(Sound(event.start + late, _MOTION_SOUNDS[motion], pitch, min(0.7 * long, long - late)))
            elif event.kind == "device":
                pitch = (list(_DEVICE_SOUNDS).index(event.id) + 0.5) / len(_DEVICE_SOUNDS)
                sounds.append(Sound(event.start, _DEVICE_SOUNDS[event.id], pitch, min(1.0, long)))
            else:
                sounds.append(Sound(event.start + 0.4 * long, "click" if event.kind == "press" else "tick", 0.5, 0.2))
        return sorted(sounds, key=lambda sound: sound.time)
