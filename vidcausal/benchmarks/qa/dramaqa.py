"""DramaQA: questions of four levels about the Korean series "Another Miss Oh", five options (arXiv 2005.03356).

Official scorer: liveseongho/DramaQA@09470a8c infer.py, on ``answers.json`` (``{"qid": 3}``): ``test_accuracy_diff1`` to
``4`` by ``q_level_logic``, and ``test_accuracy`` over all, as shares. A missing question stops it (AssertionError); a
level without a question is not reported; unknown ids are not looked at.

The annotation is given out on request (dramaqa.snu.ac.kr).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.qa._multiple import (
    NumberedChoices,
    OfficialStops,
    answered_by_id,
    option_index,
    question_rows,
    texts,
)
from vidcausal.types import Prediction, Sample


class DramaQA(NumberedChoices):
    """DramaQA's questions from ``AnotherMissOhQA_val_set.json`` or the test set, with or without answers.

    ``vid`` names a shot (``AnotherMissOh14_001_0078``) or a scene (``AnotherMissOh14_001_0000``); videos are looked up
    by it.
    """

    name = "dramaqa"
    files = ("AnotherMissOhQA_val_set.json", "AnotherMissOhQA_test_set_with_gt.json", "AnotherMissOhQA_test_set.json")
    source = "dramaqa.snu.ac.kr/Download (on request)"
    groupings = ("level", "memory", "video type")
    id_keys = ("qid",)
    choice_keys = ("correct_idx", "prediction", "answer")

    def load(self, path: Path) -> Iterator[Sample[int]]:
        for where, row in question_rows(path, ("qid", "que", "answers", "vid", "q_level_logic")):
            options = texts(row["answers"], where, "answers")
            right = row.get("correct_idx")
            yield self.ask(
                row["qid"],
                str(row["que"]),
                options,
                None if right is None else option_index(right, len(options), where),
                self.video(str(row["vid"])),
                video=str(row["vid"]),
                groups={
                    "level": row["q_level_logic"],
                    "memory": row.get("q_level_mem"),
                    "video type": row.get("videoType"),
                },
                shots=row.get("shot_contained"),
            )

    def figures(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        given = answered_by_id(predictions)
        hits: dict[str, list[float]] = {}
        for sample in self._samples:
            if sample.id not in given:
                raise OfficialStops(f"AssertionError: key {sample.id!r} is missing")
            if sample.target is None:
                raise OfficialStops(f"KeyError 'correct_idx' in question {sample.id!r}")
            level = str(sample.meta["groups"]["level"])
            hits.setdefault(level, []).append(float(self.chosen(given[sample.id]) == sample.target))
        found = {f"test_accuracy_diff{level}": sum(own) / len(own) for level, own in sorted(hits.items())}
        return found | {"test_accuracy": sum(map(sum, hits.values())) / sum(map(len, hits.values()))}
