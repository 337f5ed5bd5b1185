"""VCRBench: shuffled clips behind "Clip k" cards; in which order did they happen?

``ground_truth[i]`` is the number, counted from 0, of the clip that belongs in position ``i``: the inverse of the order
in which the clips are shown. Its scorer knows one right order a question, so only samples whose clips have exactly one
are written. ``clips.jsonl`` has the same questions with the spans and captions of the clips beside the answer, for
scores with known clips and for ceilings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic, write_json
from vidcausal.types import Span
from vidcausal.worlds.annotations import Annotation

SUMMARY = "data.json (qid, goal, video_file, ground_truth), clips.jsonl and videos/video_k.mp4 with title cards"
FILES = ("data.json", "clips.jsonl")
CARD_SECONDS = 1.0


@dataclass(frozen=True)
class Question:
    """Question ``number`` (from 1): its clips in the order in which they are shown, and the right order."""

    number: int
    source: str
    goal: str
    spans: tuple[tuple[float, float], ...]
    captions: tuple[str, ...]
    ground_truth: tuple[int, ...]
    size: int
    fps: float

    @property
    def video_file(self) -> str:
        """Name of its video in ``videos/``."""
        return f"video_{self.number}.mp4"

    @property
    def shown(self) -> list[tuple[float, float]]:
        """Spans of the clips in the question's own video, cards left out."""
        spans, at = [], 0
        for start, end in self.spans:
            at += round(CARD_SECONDS * self.fps)
            count = max(1, int((end - start) * self.fps + 0.5))
            spans.append((round(at / self.fps, 3), round((at + count) / self.fps, 3)))
            at += count
        return spans


def questions(annotations: Sequence[Annotation]) -> list[Question]:
    """Those samples that have clips with exactly one right order, numbered from 1."""
    usable = [sample for sample in annotations if sample["clips"] and len(sample["valid_orders"]) == 1]
    return [_question(number, sample) for number, sample in enumerate(usable, start=1)]


def write_video(question: Question, root: Path, folder: Path) -> None:
    """Cut the clips out of the sample's video and join them behind their cards.

    Args:
        question: which clips.
        root: has the folder of the samples' videos.
        folder: of this format.
    """
    from vidcausal.video.edit import Piece, join_clips

    pieces = [Piece(str(root / question.source), Span(start, end)) for start, end in question.spans]
    join_clips(
        pieces,
        folder / "videos" / question.video_file,
        size=(question.size, question.size),
        fps=question.fps,
        card_seconds=CARD_SECONDS,
        threads=1,
    )


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """The questions; their videos are written before, one by one."""
    found = questions(annotations)
    rows = [_row(question) for question in found]
    write_json(folder / FILES[0], rows, indent=1)
    lines = [json.dumps(row | {"clips": _clips(q)}, ensure_ascii=False) for row, q in zip(rows, found, strict=True)]
    write_atomic(folder / FILES[1], "".join(f"{line}\n" for line in lines).encode())
    with_clips = sum(bool(sample["clips"]) for sample in annotations)
    return {"questions": len(found), "left_out": with_clips - len(found)}


def _question(number: int, sample: Annotation) -> Question:
    clips, order = sample["clips"], sample["clip_order"]
    shown = [clips[index] for index in order]
    true_order = sample["valid_orders"][0]
    return Question(
        number=number,
        source=sample["video"],
        goal=sample["goal"],
        spans=tuple((clip["start"], clip["end"]) for clip in shown),
        captions=tuple(clip["caption"] for clip in shown),
        ground_truth=tuple(order.index(index) for index in true_order),
        size=sample["size"],
        fps=sample["fps"],
    )


def _row(question: Question) -> dict[str, Any]:
    return {
        "qid": str(question.number),
        "goal": question.goal,
        "video_file": question.video_file,
        "ground_truth": list(question.ground_truth),
    }


def _clips(question: Question) -> list[dict[str, Any]]:
    shown = zip(question.shown, question.captions, strict=True)
    return [
        {"clip": number, "start": start, "end": end, "caption": caption}
        for number, ((start, end), caption) in enumerate(shown, start=1)
    ]
