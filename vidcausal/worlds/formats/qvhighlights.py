"""QVHighlights: a query a line, with windows and saliency on a grid of two-second clips.

As in the official files, windows are unions of whole clips, ``duration`` is a multiple of two (rounded up here), and
three annotators give each relevant clip 0 to 4. Exact spans are in the other formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic
from vidcausal.worlds.annotations import Annotation

SUMMARY = "highlight_val_release.jsonl: queries with windows, clips of two seconds and saliency"
FILES = ("highlight_val_release.jsonl",)
CLIP_SECONDS = 2


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """One line an event."""
    rows = [_row(sample, number) for sample in annotations for number in range(len(sample["events"]))]
    write_atomic(folder / FILES[0], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return {"videos": len(annotations), "queries": len(rows)}


def relevant_clips(start: float, end: float) -> list[int]:
    """Clips of which an event covers half or that hold half of it; at least the one with most of it."""
    first, last = int(start // CLIP_SECONDS), max(math.ceil(end / CLIP_SECONDS) - 1, int(start // CLIP_SECONDS))
    clips = range(first, last + 1)
    shared = {k: min(end, (k + 1) * CLIP_SECONDS) - max(start, k * CLIP_SECONDS) for k in clips}
    enough = min(CLIP_SECONDS, end - start) / 2
    return [k for k in clips if shared[k] >= enough] or [max(clips, key=lambda k: shared[k])]


def _row(sample: Annotation, number: int) -> dict[str, Any]:
    event = sample["events"][number]
    clips = relevant_clips(event["start"], event["end"])
    return {
        "qid": sample["seed"] * 100 + number,
        "query": event["caption"],
        "duration": CLIP_SECONDS * math.ceil(sample["duration"] / CLIP_SECONDS),
        "vid": sample["id"],
        "relevant_clip_ids": clips,
        "saliency_scores": [event["saliency"] for _ in clips],
        "relevant_windows": [[clips[0] * CLIP_SECONDS, (clips[-1] + 1) * CLIP_SECONDS]],
    }
