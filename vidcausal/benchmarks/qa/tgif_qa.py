"""TGIF-QA, FrameQA: questions about animated GIFs that one frame answers, with one-word answers (arXiv 1704.04497).

Official file: YunseokJANG/tgif-qa dataset/Test_frameqa_question.csv, which is separated by tabs. The other three tasks
of TGIF-QA (count, action, transition) are not open-ended and are not read here. Official scorer: none that stands
alone; code/gifqa/models/frameqa_base.py counts the predicted class of the answer word, exact match.

The file has traces of a global replacement ("FRAMEQA" inside words such as "fiFRAMEQAlace"); questions are handed on
as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.qa._open_answers import SHORT_ANSWER, OpenAnswerBenchmark
from vidcausal.errors import DataError
from vidcausal.types import Prediction, Sample

KINDS = ("object", "number", "color", "location")
_COLUMNS = ("gif_name", "question", "answer", "type", "vid_id")


class TGIFQA(OpenAnswerBenchmark):
    """The FrameQA questions; the id is the column ``vid_id`` (``FRAMEQA1159``), the video ``gif_name.gif``."""

    name = "tgif_qa"
    files = ("Test_frameqa_question.csv", "Train_frameqa_question.csv")
    source = "github.com/YunseokJANG/tgif-qa, folder dataset"

    def load(self, path: Path) -> Iterable[Sample[str]]:
        """One question a line, in the order of the file."""
        for number, row in enumerate(_table(path), start=2):
            kind = row["type"]
            if kind not in ("0", "1", "2", "3"):
                raise DataError(f"{path}, line {number}: type must be 0, 1, 2 or 3, got {kind!r}")
            asked = row["question"].strip().removesuffix("?").strip().removesuffix(".").strip()
            yield Sample(
                id=row["vid_id"],
                task="ask",
                question=f"{asked.capitalize()}? {SHORT_ANSWER}",
                media=self.media(f"{row['gif_name']}.gif"),
                target=row["answer"],
                meta={"video": row["gif_name"], "asked": row["question"], "groups": {"type": KINDS[int(kind)]}},
            )

    def submission_keys(self) -> tuple[Sequence[str], Sequence[str]]:
        """``vid_id`` names the question in the official file."""
        ids, answers = super().submission_keys()
        return (*ids, "vid_id"), answers

    def official(self, predictions: Sequence[Prediction[str]], notes: list[str]) -> dict[str, Any]:
        """``acc``: share of all questions whose word is the answer."""
        if unknown := [p.sample.id for p in predictions if p.error == UNKNOWN_ID]:
            notes.append(f"the official scorer stops: no question {unknown[0]!r} to compare with")
            return {}
        return {"acc": sum(p.error is None and p.extra["raw"] == p.sample.target for p in predictions) / len(self)}


def _table(path: Path) -> list[Mapping[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, start=2):
        if missing := [column for column in _COLUMNS if not isinstance(row.get(column), str)]:
            raise DataError(
                f"{path}, line {number}: no {missing[0]!r}; the FrameQA file of TGIF-QA has the columns "
                "gif_name, question, answer, type, vid_id, key, description, separated by tabs"
            )
    return [dict(row) for row in rows]
