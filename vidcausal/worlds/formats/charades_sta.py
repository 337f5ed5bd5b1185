"""Charades-STA: ``VID start end##sentence`` lines, and the table of videos that gives their lengths.

The official sentences are written by several people; here the narrator's wordings take turns from event to event.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic
from vidcausal.worlds.annotations import Annotation
from vidcausal.worlds.formats import table

SUMMARY = "charades_sta_test.txt, a sentence a line, and Charades_v1_test.csv with the lengths"
FILES = ("charades_sta_test.txt", "Charades_v1_test.csv")
COLUMNS = (
    *("id", "subject", "scene", "quality", "relevance", "verified"),
    *("script", "objects", "descriptions", "actions", "length"),
)
"""Of the official table. Charades' action classes do not exist here, so ``actions`` and ``objects`` are empty."""


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """One line an event; lines of the table end as in the official file, with CR and LF."""
    lines = [
        f"{sample['id']} {event['start']:.2f} {event['end']:.2f}##{sentence(sample, number)}."
        for sample in annotations
        for number, event in enumerate(sample["events"])
    ]
    write_atomic(folder / FILES[0], "".join(f"{line}\n" for line in lines).encode())
    write_atomic(folder / FILES[1], table(COLUMNS, map(_row, annotations), "\r\n"))
    return {"videos": len(annotations), "sentences": len(lines)}


def sentence(sample: Annotation, number: int) -> str:
    """The wording of event ``number``: they take turns, so that all occur and the same folder gets the same ones."""
    wordings: list[str] = sample["events"][number]["wordings"]
    turn: int = sample["seed"] + number
    return wordings[turn % len(wordings)]


def _row(sample: Annotation) -> dict[str, Any]:
    captions = [event["caption"] for event in sample["events"]]
    return {
        "id": sample["id"],
        "subject": sample["world"],
        "scene": sample["world"],
        "quality": 7,
        "relevance": 7,
        "verified": "Yes",
        "script": sample["goal"],
        "objects": "",
        "descriptions": ";".join(captions),
        "actions": "",
        "length": f"{sample['duration']:.2f}",
    }
