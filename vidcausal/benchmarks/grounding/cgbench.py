"""CG-Bench, clue grounding: find the intervals that hold what a question asks for (arXiv 2412.12075).

Official scorer: SiLVR@0f3dcddd eval/cgbench.py ``eval_cgbench_miou`` over a folder of ``INDEX.json`` with a
``response``, INDEX being the position of the question in ``cgbench.json`` (or ``cgbench_mini.json``), which is the id
here. Quirks, kept under ``official``:

* The whole response must be a Python list of intervals; otherwise the intervals of the file *before* are scored again
  (in the order of the folder; here: of the predictions), and an unreadable first one stops the scorer.
* Overlapping and touching intervals are joined in both lists, then intersection over union of the joined sets; 0 where
  nothing is covered. Reversed intervals have a negative length.
* The mean is over the predicted questions only (``num_evaluated`` of ``num_total``).

``strict`` reads intervals in any wording, cuts them to the video and counts a missing reply as 0.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidcausal.benchmarks.grounding._moments import (
    ROW_ERRORS,
    Found,
    Measured,
    MomentBenchmark,
    Samples,
    Spans,
    moment_figures,
    percent_interval,
    seconds,
    spans_of,
)
from vidcausal.benchmarks.grounding._submissions import SUBMISSION, given_windows, read_entries, read_rows_of_moments
from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.rows import BadLine, Rows, read_json
from vidcausal.errors import DataError
from vidcausal.metrics.grounding import set_iou
from vidcausal.types import Prediction, Sample, Span

QUESTION = (
    "Your task is to determine in which intervals the 'clue intervals' exist that contain visual information needed to "
    "answer the question.\nHere is the question.\n{question}\n\nOnly output the answer in the following format:\n"
    "[[start1, end1], [start2, end2], ...]\nIn this output format, each 'start' and 'end' represents the beginning and "
    "end of an interval in seconds (integer) where relevant clues can be found.\nYou must provide at least one "
    "interval and at most five intervals.\nHere is one example output.\n[[5, 7]]\nHere is another example output.\n"
    "[[200, 207], [209, 213], [214, 220]]"
)
_LONGEST_REPLY = 100_000
_UNREADABLE = object()


class CGBench(MomentBenchmark):
    """Questions about long videos with the intervals of their clues."""

    name = "cgbench"
    files = ("cgbench_mini.json", "cgbench.json")
    source = "huggingface.co/datasets/CG-Bench/CG-Bench"

    def load(self, path: Path) -> Iterable[Sample[Spans]]:
        """The questions of ``cgbench.json`` or ``cgbench_mini.json``.

        Raises:
            DataError: a question that is not of this form.
        """
        rows = read_json(path)
        if not isinstance(rows, list):
            raise DataError(f"{path} must be a list of questions like cgbench.json, got {type(rows).__name__}")
        for index, row in enumerate(rows):
            try:
                yield self._sample(index, row)
            except ROW_ERRORS as error:
                raise DataError(
                    f"{path}, question {index} is not one of CG-Bench ({type(error).__name__}: {error})"
                ) from error

    def _sample(self, index: int, row: Mapping[str, Any]) -> Sample[Spans]:
        question, video = str(row["question"]).strip(), str(row["video_uid"])
        clues = [[float(edge) for edge in clue] for clue in row["clue_intervals"]]
        return Sample(
            id=str(index),
            task="ground",
            question=QUESTION.format(question=question),
            media=self.media(video),
            target=tuple(Span(clue[0], clue[1]) for clue in clues),
            goal=question,
            meta={"video": video, "duration": seconds(row["duration"]), "clues": clues, "qid": row.get("qid")},
        )

    def read_submission(self, path: Path) -> Rows:
        """Our rows; a list or lines with ``id`` and ``response``; or SiLVR's folder of ``INDEX.json``.

        Raises:
            DataError: nothing of that kind is there.
        """
        if path.is_dir():
            files = sorted((p for p in path.glob("*.json") if p.stem.isdecimal()), key=lambda p: int(p.stem))
            values: list[tuple[int, Any]] = [(n, {"id": p.stem, **_object(p)}) for n, p in enumerate(files, start=1)]
            bad: list[BadLine] = []
        else:
            form, values, bad = read_entries(path)
            if form == "mapping" or not any(isinstance(v, dict) and "response" in v for _, v in values):
                return read_rows_of_moments(path)
        rows = [
            {**v, "reply": v["response"]} for _, v in values if isinstance(v, dict) and "response" in v and "id" in v
        ]
        bad += [
            BadLine(n, 'needs "id" and "response"') for n, v in values if not isinstance(v, dict) or "response" not in v
        ]
        if not rows:
            raise DataError(f"{path} holds no file like 0.json with a response")
        return Rows(path, tuple(rows), tuple(sorted(bad)))

    def official(self, predictions: Sequence[Prediction[Spans]], notes: list[str]) -> dict[str, Any]:
        """``miou`` in percent over the predicted questions."""
        ious: list[float] = []
        parsed: Any = None
        kept = 0
        for p in predictions:
            if p.error == UNKNOWN_ID:
                notes.append(f"the official scorer stops: KeyError {p.sample.id!r} (no such question)")
                return {}
            if p.error is not None:
                continue
            try:
                response = _response(p)
                if response is _UNREADABLE and not ious:
                    notes.append("the official scorer stops: UnboundLocalError (the first response is no list)")
                    return {}
                kept += response is _UNREADABLE
                parsed = parsed if response is _UNREADABLE else response
                ious.append(published_iou(p.sample.meta["clues"], parsed))
            except ROW_ERRORS as error:
                notes.append(f"the official scorer stops: {type(error).__name__}: {error} (question {p.sample.id!r})")
                return {}
        if not ious:
            notes.append("the official scorer stops: ZeroDivisionError (no prediction)")
            return {}
        if kept:
            notes.append(f"official: {kept} responses are no lists; the one before is scored in their place")
        return {"miou": sum(ious) / len(ious) * 100, "num_evaluated": len(ious), "num_total": len(self._samples)}

    def _measured(self, truths: Samples, found: Found, latest: Mapping[str, Prediction[Spans]]) -> Measured:
        ious = np.array([set_iou(own, spans_of(sample)) for own, sample in zip(found, truths, strict=True)])
        figures = moment_figures(truths, found)
        del figures["mIoU"]  # of the first interval alone, which is not what is asked for
        return {"mIoU": 100 * float(ious.mean()), **figures}, {"mIoU": percent_interval(truths, ious)}


def published_iou(clues: Sequence[Sequence[float]], intervals: Any) -> float:
    """Intersection over union of two lists of intervals as published.

    Raises:
        AttributeError, IndexError, TypeError, ValueError: ``intervals`` is no list of pairs of numbers.
    """
    if not isinstance(intervals, list):
        raise AttributeError(f"{type(intervals).__name__!r} object has no attribute 'sort'")
    first, second = _joined(clues), _joined(intervals)
    lengths = sum(end - start for start, end in first) + sum(end - start for start, end in second)
    shared = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in first for b in second)
    union = lengths - shared
    return shared / union if union > 0 else 0.0


def _joined(intervals: Sequence[Any]) -> list[list[float]]:
    joined: list[list[float]] = []
    for interval in sorted(intervals, key=lambda pair: pair[0]):
        if joined and interval[0] <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], interval[1])
        else:
            joined.append(list(interval))
    return joined


def _response(prediction: Prediction[Any]) -> Any:
    submission = prediction.extra.get(SUBMISSION)
    if submission is not None:
        return [list(window[:2]) for window in given_windows(submission)]
    if len(prediction.reply) > _LONGEST_REPLY:  # a list of five intervals is short; a parser should not be a trap
        return _UNREADABLE
    try:
        return ast.literal_eval(prediction.reply)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return _UNREADABLE


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    return value if isinstance(value, dict) else {}
