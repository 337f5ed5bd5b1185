"""What each sample of a run is worth by itself, so that two runs can be compared sample by sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidcausal.benchmarks.choice import video_of
from vidcausal.benchmarks.joining import scored_order
from vidcausal.metrics.grounding import best_iou, event_f1
from vidcausal.parsing import parse_events, parse_spans
from vidcausal.protocols import Benchmark
from vidcausal.types import Prediction, Sample, Span

RIGHT_IOU = 0.5
"""A moment that overlaps a true one by so much is counted as right."""
FIGURES = {"ground": "IoU of the first moment", "events": f"events F1 IoU={RIGHT_IOU}"}
"""What the value of a sample is, where it is more than right or wrong."""


@dataclass(frozen=True)
class Grade:
    """One sample.

    Attributes:
        task: of the sample.
        video: what the samples of one video share.
        right: an order or answer that is right, a moment with an IoU of :data:`RIGHT_IOU`; None where a task has no
            right and wrong (events, open-ended questions without a judge).
        value: in [0, 1]: 1 or 0 for right and wrong, or the figure of :data:`FIGURES`; None where there is none.
        scored: whether the option or order that was chosen by likelihood is right; None where none was.
    """

    task: str
    video: str
    right: bool | None
    value: float | None
    scored: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dict, for ``report.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Grade:
        """The inverse of :meth:`to_json`."""
        return cls(str(row["task"]), str(row["video"]), row["right"], row["value"], row.get("scored"))


def grades(
    benchmark: Benchmark[Any], samples: Iterable[Sample[Any]], predictions: Iterable[Prediction[Any]]
) -> dict[str, Grade]:
    """The grade of each sample by id; samples without a prediction, and failed ones, are wrong.

    Samples whose true answer is not known are left out.
    """
    latest = {prediction.sample.id: prediction for prediction in predictions}
    return {
        sample.id: grade(benchmark, sample, latest.get(sample.id)) for sample in samples if sample.target is not None
    }


def grade(benchmark: Benchmark[Any], sample: Sample[Any], prediction: Prediction[Any] | None) -> Grade:
    """One sample; ``prediction`` is None where there is none."""
    shared = video_of(sample)
    video = ", ".join(map(str, shared)) if isinstance(shared, tuple) else str(shared)
    answered = prediction is not None and prediction.error is None
    if sample.task in FIGURES:
        value = _overlap(sample, prediction) if prediction is not None and answered else 0.0
        if value is None:
            return Grade(sample.task, video, None, None)
        return Grade(sample.task, video, value >= RIGHT_IOU if sample.task == "ground" else None, value)
    judged = judge(benchmark, prediction) if prediction is not None and answered else (False, True)
    scored = _scored(sample, prediction) if prediction is not None and answered else None
    if judged is None:
        return Grade(sample.task, video, None, None, scored)
    return Grade(sample.task, video, judged[0], float(judged[0]), scored)


def _scored(sample: Sample[Any], prediction: Prediction[Any]) -> bool | None:
    if sample.task == "order":
        order = scored_order(sample, {sample.id: prediction})
        return None if order is None else list(order) == list(sample.target or ())
    option, target = prediction.extra.get("option"), sample.target
    if isinstance(target, str) and target in sample.options:  # a few benchmarks keep the words of the right option
        target = sample.options.index(target)
    numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in (option, target))
    return option == target if numbers and sample.options else None


def judge(benchmark: Benchmark[Any], prediction: Prediction[Any]) -> tuple[bool, bool] | None:
    """Whether an answer is right, and whether it could be read; None for a task without right and wrong.

    A benchmark that can tell by itself (``is_right``) is asked, for scoring thousands of answers one by one is slow.
    """
    if prediction.sample.task not in ("order", "ask"):
        return None
    if (is_right := getattr(benchmark, "is_right", None)) is not None:
        right = is_right(prediction)
        return bool(right), right is not None
    scores = benchmark.score([prediction], expected=1)
    strict = scores.strict.get(prediction.sample.task, scores.strict)
    return (strict["accuracy"] > 0, not scores.unparsed) if "accuracy" in strict else None


# ---- moments and events ---------------------------------------------------------------------------------------


def _overlap(sample: Sample[Any], prediction: Prediction[Any]) -> float | None:
    truths = spans_of(sample.target)
    if not truths:
        return None
    if sample.task == "events":
        return event_f1([event.span for event in parse_events(prediction.reply)], truths, RIGHT_IOU)
    found = spans_of(prediction.extra.get("spans")) or list(parse_spans(prediction.reply))
    return best_iou(found[0] if found else None, truths)


def spans_of(value: Any) -> list[Span]:
    """The usable moments of a target or of a row: one or several, as spans or as ``[start, end, score?]``."""
    if isinstance(value, Span):
        return [value]
    if not isinstance(value, (list, tuple)):
        return []
    if len(value) in (2, 3) and all(
        isinstance(part, (int, float)) and not isinstance(part, bool) for part in value[:2]
    ):
        span = _span(value)
        return [] if span is None else [span]
    return [span for part in value for span in spans_of(part)]


def _span(pair: Sequence[Any]) -> Span | None:
    start, end = float(pair[0]), float(pair[1])
    return Span(start, end) if math.isfinite(start) and math.isfinite(end) and start <= end else None
