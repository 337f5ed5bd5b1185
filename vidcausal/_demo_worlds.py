"""The demo's drawn videos: one story of each world, made on the spot, and what is asked about it.

Nothing is picked for how well a model does: it is the first story (seed 0) of each world's split ``test``, which
training never sees, and of its moments and questions the first ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.worlds import Worlds
from vidcausal.types import Sample
from vidcausal.worlds import WORLDS
from vidcausal.worlds.make import make_world
from vidcausal.worlds.story import Split

SPLIT: Split = "test"
SEED = 0
VIDEO_SIZE, FPS = 256, 8
"""Side of the videos in pixels, and frames a second."""
MOMENTS, QUESTIONS = 2, 3
"""So many moments are looked for in each video, and so many questions, each of another type, are asked about it."""
LOOK: dict[str, Any] = {"frames": "middles-16", "size": 128}
"""How the native model looks at a video: as many frames as in training; it makes them smaller itself."""
RULE = (
    "Each video is the first story (seed 0) of a world's held-out split; its first two moments and its first three "
    "questions of different types are asked for. Nothing was picked for how well the model does."
)


def make_videos(inputs: Path) -> list[Path]:
    """A folder for each world with one video, its sound and what is true of it, as ``vidcausal worlds make`` writes it.

    Raises:
        OutputError: ``inputs`` cannot be written.
    """
    folders = [inputs / world for world in WORLDS]
    for world, folder in zip(WORLDS, folders, strict=True):
        given = {"seed": SEED, "split": SPLIT, "size": VIDEO_SIZE, "fps": FPS, "formats": ()}
        make_world(world, 1, folder, **given, jobs=1, progress=False)  # type: ignore[arg-type]
    return folders


class FirstOfEach(Worlds):
    """All events, the order, the first moments and the first questions of different types of each video.

    Args:
        folders: made by :func:`make_videos`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__([str(folder) for folder in folders], ground_per_video=None, ask_per_video=None)

    def _load(self) -> tuple[Sample[Any], ...]:
        return tuple(_first(super()._load()))


def _first(samples: Iterable[Sample[Any]]) -> Iterable[Sample[Any]]:
    most = {"ground": MOMENTS, "ask": QUESTIONS}
    seen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for sample in samples:
        kinds = seen[str(sample.meta["video"]), sample.task]
        kind = str(sample.meta.get("type", sample.id))
        if kind not in kinds and len(kinds) < most.get(sample.task, 1):
            kinds.append(kind)
            yield sample


def as_question(sample: Sample[Any]) -> dict[str, Any]:
    """A sample in the form of the demo's other questions, with the truth."""
    out: dict[str, Any] = {"id": sample.id, "task": sample.task, "video": sample.media.videos[0]}
    out["called"] = sample.meta["world"]
    truth: Any = sample.target
    if sample.task == "events":
        records = sample.meta["oracle_records"]
        return out | {"true_events": [{"start": r.start, "end": r.end, "caption": r.caption} for r in records]}
    if sample.task == "order":
        valid = [list(order) for order in sample.meta["valid_orders"]]
        return out | {"goal": sample.goal, "answer": list(truth), "valid": valid}
    if sample.task == "ground":
        return out | {"query": sample.goal, "answer": [[span.start, span.end] for span in truth]}
    return out | {"question": sample.question, "options": list(sample.options), "answer": truth}
