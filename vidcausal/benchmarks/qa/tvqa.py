"""TVQA: questions about clips of six TV shows, with subtitles, five options (arXiv 1809.01696).

Published score: jayleicn/TVQA@dfb0e5fe test.py prints ``accuracy`` (a share, four decimals) over the validation
questions that were predicted (``qid2preds_valid.json``, ``{"qid": 3}``); a missing question shrinks the denominator, an
unknown one stops it. The public test file has no answers: it is scored on the authors' server.

What is published here is the test file alone; ``tvqa_val.jsonl`` (from tvqa.cs.unc.edu) has the same rows with
``answer_idx`` and can be scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.qa._multiple import (
    NumberedChoices,
    OfficialStops,
    answered_by_id,
    is_submitted,
    only,
    option_index,
    question_rows,
    span_of,
    whole_or_stop,
)
from vidcausal.types import Prediction, Sample, Span

_OPTIONS = ("a0", "a1", "a2", "a3", "a4")


class TVQA(NumberedChoices):
    """TVQA's questions.

    Args:
        annotations: ``tvqa_val.jsonl`` or ``tvqa_test_public.jsonl``.
        data_dir: where they are looked for.
        video_root: folder of the clips, by ``vid_name``.
        localized: show only the annotated stretch (``ts``), as some systems do.
    """

    name = "tvqa"
    files = ("tvqa_val.jsonl", "tvqa_test_public.jsonl")
    source = "tvqa.cs.unc.edu (tvqa_val.jsonl); the test file without answers: github.com/jayleicn/TVQA, data"
    groupings = ("show",)

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        localized: bool = False,
    ) -> None:
        super().__init__(annotations, data_dir, video_root)
        self._localized = localized

    def load(self, path: Path) -> Iterator[Sample[int]]:
        for where, row in question_rows(path, ("qid", "q", "vid_name", *_OPTIONS)):
            options = tuple(str(row[key]).strip() for key in _OPTIONS)
            right = row.get("answer_idx")
            span = _span(row.get("ts"), where)
            media = self.video(str(row["vid_name"]))
            yield self.ask(
                row["qid"],
                str(row["q"]).strip(),
                options,
                None if right is None else option_index(right, len(options), where),
                only(media, [span]) if self._localized and span is not None else media,
                video=str(row["vid_name"]),
                groups={"show": row.get("show_name")},
                span=None if span is None else [span.start, span.end],
            )

    def figures(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        hits = []
        for identity, prediction in answered_by_id(predictions, unknown=True).items():
            if prediction.error == UNKNOWN_ID:
                raise OfficialStops(f"KeyError {identity!r} (no such question)")
            choice = self.chosen(prediction)
            number = whole_or_stop(choice, f"the prediction of {identity}") if is_submitted(prediction) else choice
            hits.append(number == prediction.sample.target)
        if not hits:
            raise OfficialStops("ZeroDivisionError: no prediction")
        return {"accuracy": float(f"{sum(hits) / float(len(hits)):.4f}")}


def _span(value: Any, where: str) -> Span | None:
    """The stretch of ``"48.62-60.02"`` or ``[48.62, 60.02]``; three published rows have ``"NaN-NaN"``: None."""
    if value is None:
        return None
    pair = value.split("-") if isinstance(value, str) else value
    if isinstance(value, str) and any(part.strip().lower() == "nan" for part in pair):
        return None
    span = span_of(pair, where)
    return span if math.isfinite(span.end) else None
