"""What MSVD-QA and MSRVTT-QA share: one JSON list of questions with answers, and accuracy by exact match.

Two official forms are read: the authors' (``id``, ``video_id``, ``question``, ``answer`` in ``test_qa.json``), and the
pair of files that Video-ChatGPT and later models use (``test_q.json`` with ``video_name``, ``question``,
``question_id``; ``test_a.json`` with ``answer``, ``question_id``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.qa._open_answers import SHORT_ANSWER, OpenAnswerBenchmark
from vidcausal.benchmarks.rows import read_json
from vidcausal.errors import DataError
from vidcausal.types import Media, Prediction, Sample

KINDS = ("what", "who", "how", "when", "where")
"""First words by which the papers report accuracies."""


class PairsBenchmark(OpenAnswerBenchmark):
    """Questions of the two sets of Xu et al. (ACM MM 2017); a subclass names its files and videos."""

    files = ("test_qa.json", "test_a.json", "val_qa.json", "val_a.json")
    video_names: ClassVar[str]
    """Name of the video file of a numbered video, with ``{}`` for the number."""

    def load(self, path: Path) -> Iterable[Sample[str]]:
        """The questions of a file, in its order; the other file of a pair is looked up beside it."""
        if path.is_dir():
            path = next((path / name for name in self.file_names() if (path / name).is_file()), path)
        found: dict[str, Media] = {}
        for number, row in enumerate(_merged(path), start=1):
            yield self._sample(row, f"{path}, entry {number}", found)

    def _sample(self, row: Mapping[str, Any], where: str, found: dict[str, Media]) -> Sample[str]:
        identity = row.get("question_id", row.get("id"))
        answer, text = row.get("answer"), row.get("question", "")
        if isinstance(identity, bool) or not isinstance(identity, (str, int)) or not isinstance(text, str):
            raise DataError(f'{where}: needs "id" (or "question_id") and "question", as in {self.files[0]}')
        if answer is not None and not isinstance(answer, str):
            raise DataError(f"{where}: the answer must be a text, got {answer!r}")
        video = self._video(row)
        if video not in found:
            found[video] = self.media(video) if video else Media(videos=())
        first = text.split(maxsplit=1)[0].lower() if text.strip() else ""
        asked = text.strip().rstrip("?").strip()
        return Sample(
            id=str(identity),
            task="ask",
            question=f"{asked.capitalize()}? {SHORT_ANSWER}" if asked else "",
            media=found[video],
            target=answer,
            meta={"video": video, "asked": text, "groups": {"type": first if first in KINDS else "other"}},
        )

    def _video(self, row: Mapping[str, Any]) -> str:
        if (name := row.get("video_name", row.get("video"))) is not None:
            return str(name)
        number = row.get("video_id")
        return self.video_names.format(number) if isinstance(number, int) else str(number or "")

    def official(self, predictions: Sequence[Prediction[str]], notes: list[str]) -> dict[str, Any]:
        """``acc`` over all questions, with the five decimals of the log line."""
        if unknown := [p.sample.id for p in predictions if p.error == UNKNOWN_ID]:
            notes.append(f"the official scorer stops: no question {unknown[0]!r} to compare with")
            return {}
        right = sum(p.error is None and p.extra["raw"] == p.sample.target for p in predictions)
        return {"acc": float(f"{right / len(self):.5f}")}


def _merged(path: Path) -> list[dict[str, Any]]:
    rows = _read(path)
    for mine, others in (("_a.json", "_q.json"), ("_q.json", "_a.json")):
        other = path.with_name(path.name.removesuffix(mine) + others)
        if path.name.endswith(mine) and other.is_file():
            more = {row.get("question_id"): row for row in _read(other)}
            return [{**more.get(row.get("question_id"), {}), **row} for row in rows]
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} must be a non-empty JSON list of objects with questions and answers")
    return rows
