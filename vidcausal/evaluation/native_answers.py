"""What a native model says about fixed stories: a fingerprint of its behavior, for tests of shipped weights."""

from __future__ import annotations

from typing import Any

import torch

from vidcausal.models.native import NativeModel
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch
from vidcausal.worlds.registry import WORLDS, create_world
from vidcausal.worlds.story import Split, Story
from vidcausal.worlds.world import World

FRAMES, SIZE = 16, 64


def shown(world: World, story: Story, *, frames: int = FRAMES, size: int = SIZE) -> FrameBatch:
    """A story straight from the renderer, at the middles of ``frames`` equal parts."""
    times = [(number + 0.5) * story.duration / frames for number in range(frames)]
    pixels = torch.from_numpy(world.render(story, times, size)).permute(0, 3, 1, 2).contiguous()
    key = f"{story.world}-{story.split}-{story.seed} {frames} x {size}"
    return FrameBatch(pixels, torch.tensor(times, dtype=torch.float64), key=key)


def answers(model: NativeModel, count: int = 20, split: Split = "test") -> list[dict[str, Any]]:
    """Events, one moment and one answered question of each of ``count`` stories, dealt to the worlds in turn.

    Each row has world, seed, the events as text, query with the span found, question with the log-likelihoods of its
    options, and which option is right.
    """
    rows = []
    names = list(WORLDS)
    for number in range(count):
        world, seed = create_world(names[number % len(names)]), number // len(names)
        story = world.tell(seed, split)
        frames = shown(world, story)
        found = model.ground(Footage.from_frames(frames, duration=story.duration), story.events[0].caption)[0]
        question = world.questions(story)[0]
        scores = model.score_options(question.text, question.options, frames)
        rows.append(
            {
                "world": world.name,
                "seed": seed,
                "events": [f"{e.span.start:.1f} {e.span.end:.1f} {e.caption}" for e in model.events(frames)],
                "query": story.events[0].caption,
                "span": [round(found.start, 2), round(found.end, 2)],
                "question": question.text,
                "log_likelihoods": [round(score.log_likelihood, 3) for score in scores],
                "answer": question.answer,
            }
        )
    return rows
