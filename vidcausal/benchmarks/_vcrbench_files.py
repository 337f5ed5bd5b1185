"""Reading VCRBench's ground truth: official ``data.json`` and response files, question files with clips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vidcausal.benchmarks.rows import read_json, read_rows, row_id
from vidcausal.errors import DataError
from vidcausal.types import EventRecord, Span

UNKNOWN_GOAL = "unknown"
"""The class of questions whose goal neither the annotations nor the question's text give."""

_GOAL = re.compile(r"complete the task: (.*?)\.", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One question: ``answer[i]`` is the 1-based number of the clip that belongs in position ``i``."""

    id: str
    goal: str
    answer: tuple[int, ...]
    video_file: str
    question: str = ""
    clips: tuple[EventRecord, ...] = ()

    @property
    def clip_spans(self) -> tuple[Span, ...]:
        """Spans of the clips without their title cards, in clip order; empty where the file has none."""
        return tuple(Span(clip.start, clip.end) for clip in self.clips)


def goal_of(question: str) -> str:
    """The goal in an official question: what follows "complete the task: " up to the next full stop."""
    match = _GOAL.search(question)
    return match[1].strip() if match else UNKNOWN_GOAL


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Every question of an annotation file, in its order.

    Raises:
        DataError: the file is missing or malformed; the message names the question.
    """
    value: Any = read_rows(path, needs_reply=False).rows if path.suffix == ".jsonl" else read_json(path)
    if not isinstance(value, (list, tuple)) or not value:
        raise DataError(f"{path} must be a non-empty list of questions, got {type(value).__name__}")
    return entries_of(value, str(path))


def entries_of(rows: Sequence[Any], where: str, *, first_wins: bool = False) -> tuple[Entry, ...]:
    """Questions out of rows; ``first_wins`` keeps the first of rows with one id instead of refusing them.

    Raises:
        DataError: a row is malformed, or an id occurs twice.
    """
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows, start=1):
        entry = _entry(row, f"{where}, question {number}")
        if entry.id in entries and not first_wins:
            raise DataError(f"{where} has question {entry.id!r} twice; ids must be unique")
        entries.setdefault(entry.id, entry)
    return tuple(entries.values())


def _entry(row: Any, where: str) -> Entry:
    if not isinstance(row, Mapping) or ("qid" not in row and "id" not in row):
        raise DataError(f'{where}: a question needs "qid", got {str(row)[:80]}')
    question = str(row.get("question", ""))
    return Entry(
        id=row_id(row),
        goal=str(row["goal"]) if row.get("goal") else goal_of(question),
        answer=_answer(row, where),
        video_file=_relative(str(row.get("video_file", "")), where),
        question=question,
        clips=_clips(row.get("clips", ()), where),
    )


def _answer(row: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """Official ground truth counts from 0, answers in response files count from 1."""
    readings = []
    for key, shift in (("ground_truth", 1), ("answer", 0)):
        if key not in row:
            continue
        value = row[key]
        if not isinstance(value, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            raise DataError(f"{where}: {key!r} must be a list of whole numbers, got {str(value)[:80]}")
        readings.append(tuple(v + shift for v in value))
    if not readings:
        raise DataError(f'{where}: a question needs "ground_truth" (0-based) or "answer" (1-based), got {sorted(row)}')
    if len(set(readings)) > 1:
        raise DataError(f"{where}: ground_truth + 1 is {list(readings[0])} but answer is {list(readings[1])}")
    if sorted(readings[0]) != list(range(1, len(readings[0]) + 1)):
        raise DataError(f"{where}: the true order must be a permutation of 1..n, got {list(readings[0])}")
    return readings[0]


def _relative(video_file: str, where: str) -> str:
    path = PurePosixPath(video_file)
    if path.is_absolute() or ".." in path.parts or ":" in video_file:
        raise DataError(f"{where}: video_file must be a path inside the video folder, got {video_file!r}")
    return video_file


def _clips(value: Any, where: str) -> tuple[EventRecord, ...]:
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{where}: clips must be a list, got {type(value).__name__}")
    records = []
    for number, clip in enumerate(value, start=1):
        try:
            records.append(
                EventRecord(
                    start=float(clip["start"]),
                    end=float(clip["end"]),
                    caption=str(clip.get("caption", "")),
                    clip=int(clip.get("clip", number)),
                    source="annotation",
                )
            )
            Span(records[-1].start, records[-1].end)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}, clip {number}: needs numbers start <= end, got {clip} ({error!r})") from error
    records.sort(key=lambda record: record.clip or 0)
    if [record.clip for record in records] != list(range(1, len(records) + 1)):
        raise DataError(f"{where}: clips must be numbered 1..n, got {[record.clip for record in records]}")
    return tuple(records)
