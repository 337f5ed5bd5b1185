"""What is known about a sample, as one JSON object: the first of all formats, which the others are derived from.

::

    {"id": "procedures-test-000007", "world": …, "split": …, "seed": 7,
     "video": "videos/procedures-test-000007.mp4", "duration": 12.5, "fps": 8, "size": 224, "goal": …,
     "events": [{"id", "kind", "start", "end", "caption", "wordings", "saliency", "causes"}],
     "unseen": [events that would come after the video],
     "graph": {"nodes": [{"id", "kind", "value", "seconds"}], "edges": [[cause, effect]]},
     "actual_causes": {event: [[variables of one Halpern-Pearl cause]]},
     "questions": [{"qid", "type", "question", "options", "answer", "spans"}],
     "clips": [{"start", "end", "caption"}], "clip_order": [1, 2, 0], "valid_orders": [[0, 1, 2]]}

Seconds count from the first frame. ``clips`` stand in their true order; ``clip_order[k]`` is the index of the clip that
is shown as "Clip k + 1", and ``valid_orders`` holds every right order of ``clips``. A node's ``value`` is what the
variable was: whole ticks for a time (``seconds`` has it in seconds), true or false, or a category.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from vidcausal.errors import DataError
from vidcausal.worlds.scm import TICK, Values
from vidcausal.worlds.story import Question, Story, StoryEvent
from vidcausal.worlds.world import World

Annotation = dict[str, Any]
Sampling = Literal["uniform", "vcrbench"]
SAMPLINGS: tuple[Sampling, ...] = ("uniform", "vcrbench")
"""How clips are shuffled: all orders alike, or, as in VCRBench, never the true order and never its reversal."""
FILE = "annotations.jsonl"


def sample_id(world: str, split: str, seed: int) -> str:
    """``"procedures-test-000007"``."""
    return f"{world}-{split}-{seed:06d}"


def video_path(identity: str) -> str:
    """Where the video of a sample is, relative to the folder."""
    return f"videos/{identity}.mp4"


def annotate(world: World, story: Story, *, size: int, fps: float, sampling: Sampling = "uniform") -> Annotation:
    """Everything about one sample, as plain JSON values in a fixed order.

    Args:
        world: that told the story.
        story: the sample.
        size: side of its video in pixels.
        fps: frames a second of its video.
        sampling: how its clips are shuffled.
    """
    values = story.model.run(story.noise)
    identity = sample_id(story.world, story.split, story.seed)
    orders = story.valid_orders or ((tuple(range(len(story.clips))),) if story.clips else ())
    return {
        "id": identity,
        "world": story.world,
        "split": story.split,
        "seed": story.seed,
        "video": video_path(identity),
        "duration": _seconds(story.duration),
        "fps": fps,
        "size": size,
        "goal": story.goal,
        "events": [_event(event) for event in story.events],
        "unseen": [_event(event) for event in story.unseen],
        "graph": _graph(story, values),
        "actual_causes": {
            event.id: [list(cause) for cause in world.causes(story, event.id)] for event in story.events if event.causes
        },
        "questions": [_question(number, question) for number, question in enumerate(world.questions(story))],
        "clips": [
            {"start": _seconds(clip.start), "end": _seconds(clip.end), "caption": clip.caption} for clip in story.clips
        ],
        "clip_order": shuffled(len(story.clips), sampling, world.random(story.seed, story.split, "clip order")),
        "valid_orders": [list(order) for order in orders],
    }


def shuffled(count: int, sampling: Sampling, rng: random.Random) -> list[int]:
    """An order of ``count`` clips, each allowed one equally likely; see :data:`SAMPLINGS`."""
    order = list(range(count))
    # Two clips have no order that is neither the true one nor its reversal.
    excluded = (order, order[::-1]) if sampling == "vcrbench" and count > 2 else ()
    while True:
        drawn = list(order)
        rng.shuffle(drawn)
        if drawn not in excluded:
            return drawn


def to_line(annotation: Mapping[str, Any]) -> bytes:
    """One line of ``annotations.jsonl``: the same object gives the same bytes."""
    text = json.dumps(annotation, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def read_annotations(folder: str | Path) -> list[Annotation]:
    """The annotations of a folder that ``vidcausal worlds make`` wrote, in the order of their seeds.

    A folder whose making was stopped gives those of its finished samples.

    Raises:
        DataError: there are none, or a line is not an annotation.
    """
    path = Path(folder) / FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(
            f"no annotations in {folder} ({error.strerror or error}); vidcausal worlds make --out {folder} writes them"
        ) from error
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
            _ = row["id"], row["video"], row["events"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"line {number} of {path} is not an annotation ({error!r}); make the folder anew"
            ) from error
        found.append(row)
    return found


def _event(event: StoryEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "start": _seconds(event.start),
        "end": _seconds(event.end),
        "caption": event.caption,
        "wordings": list(event.wordings),
        "saliency": list(event.saliency),
        "causes": list(event.causes),
    }


def _graph(story: Story, values: Values) -> dict[str, Any]:
    nodes = []
    for name, variable in story.model.variables.items():
        value = values[name]
        timed = variable.kind == "time" and value is not None
        seconds = _seconds(value * TICK) if timed else None
        nodes.append({"id": name, "kind": variable.kind, "value": value, "seconds": seconds})
    return {"nodes": nodes, "edges": [list(edge) for edge in story.model.edges()]}


def _question(number: int, question: Question) -> dict[str, Any]:
    return {
        "qid": number,
        "type": question.type,
        "question": question.text,
        "options": list(question.options),
        "answer": question.answer,
        "spans": [[_seconds(start), _seconds(end)] for start, end in question.spans],
    }


def _seconds(value: float) -> float:
    return round(float(value), 3)
