"""NExT-QA: a table of five-way questions, and where each video is.

NExT-QA has eight types of questions; counterfactual (CF) and predictive (PR) ones are not among them and stand in a
table of the same columns beside it. As in the official tables, questions have no question mark and ``answer`` is the
0-based number of the right option. ``map_vid_vidorID.json`` gives the path of a video without ``.mp4``, relative to
the folder that has ``annotations.jsonl``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic, write_json
from vidcausal.worlds.annotations import Annotation
from vidcausal.worlds.formats import frame_count, table

SUMMARY = "test.csv (eight types), test_cf_pr.csv (counterfactual, predictive), map_vid_vidorID.json"
FILES = ("test.csv", "test_cf_pr.csv", "map_vid_vidorID.json")
OPTIONS = tuple(f"a{number}" for number in range(5))
COLUMNS = ("video", "frame_count", "width", "height", "question", "answer", "qid", "type", *OPTIONS)
NOT_NEXTQA = ("CF", "PR")


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """Two tables and the map."""
    rows = [row for sample in annotations for row in question_rows(sample)]
    own = [row for row in rows if row["type"] not in NOT_NEXTQA]
    other = [row for row in rows if row["type"] in NOT_NEXTQA]
    write_atomic(folder / FILES[0], table(COLUMNS, own))
    write_atomic(folder / FILES[1], table(COLUMNS, other))
    write_json(folder / FILES[2], {sample["id"]: sample["video"].removesuffix(".mp4") for sample in annotations})
    return {"videos": len(annotations), "questions": len(own), "cf_pr_questions": len(other)}


def question_rows(sample: Annotation) -> Iterable[dict[str, Any]]:
    """The questions of a sample as rows of the table."""
    for question in sample["questions"]:
        yield {
            "video": sample["id"],
            "frame_count": frame_count(sample),
            "width": sample["size"],
            "height": sample["size"],
            "question": question["question"].rstrip("?").rstrip(),
            "answer": question["answer"],
            "qid": question["qid"],
            "type": question["type"],
            **dict(zip(OPTIONS, question["options"], strict=True)),
        }
