"""ActivityNet Captions: for each video its duration, timestamps and sentences.

The official validation set has two annotators; here the second one sees the same spans and says them in other words.
Official ids begin with ``v_``; ours are the names of the video files without ``.mp4``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_json
from vidcausal.worlds.annotations import Annotation

SUMMARY = "val_1.json and val_2.json: timestamps and sentences of each video, in two wordings"
FILES = ("val_1.json", "val_2.json")


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """Two files, canonical captions in the first."""
    for turn, name in enumerate(FILES):
        write_json(folder / name, {sample["id"]: _entry(sample, turn) for sample in annotations})
    return {"videos": len(annotations), "sentences": sum(len(sample["events"]) for sample in annotations)}


def _entry(sample: Annotation, turn: int) -> dict[str, Any]:
    events = sample["events"]
    return {
        "duration": sample["duration"],
        "timestamps": [[event["start"], event["end"]] for event in events],
        "sentences": [event["wordings"][turn % len(event["wordings"])] for event in events],
    }
