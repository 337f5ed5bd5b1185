"""NExT-GQA: questions of NExT-QA with the moments that show the answer.

As in the official files only causal and temporal questions are here (CW, CH, TN, TC, TP), the table's first column is
``video_id`` and its ``answer`` is the text of the right option.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import write_atomic, write_json
from vidcausal.worlds.annotations import Annotation
from vidcausal.worlds.formats import table
from vidcausal.worlds.formats.nextqa import COLUMNS as NEXTQA_COLUMNS
from vidcausal.worlds.formats.nextqa import OPTIONS, question_rows

SUMMARY = "test.csv (causal and temporal questions) and gsub_test.json (moments that show the answers)"
FILES = ("test.csv", "gsub_test.json")
COLUMNS = ("video_id", *NEXTQA_COLUMNS[1:])
TYPES = ("CW", "CH", "TN", "TC", "TP")


def write(annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
    """The table and the moments; questions without a moment are left out of both."""
    rows: list[dict[str, Any]] = []
    moments: dict[str, Any] = {}
    for sample in annotations:
        grounded = {q["qid"]: q["spans"] for q in sample["questions"] if q["type"] in TYPES and q["spans"]}
        if not grounded:
            continue
        rows += [_row(row) for row in question_rows(sample) if row["qid"] in grounded]
        location = {str(qid): spans for qid, spans in grounded.items()}
        moments[sample["id"]] = {"duration": sample["duration"], "location": location, "fps": sample["fps"]}
    write_atomic(folder / FILES[0], table(COLUMNS, rows))
    write_json(folder / FILES[1], moments)
    return {"videos": len(moments), "questions": len(rows)}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    text = row[OPTIONS[row["answer"]]]
    return {"video_id": row["video"], **{key: row[key] for key in COLUMNS[1:]}, "answer": text}
