"""TVQA+: questions about The Big Bang Theory, with the moment that answers them, five options (arXiv 1904.11574).

Official scorer: jayleicn/TVQAplus@d2dc7211 eval/eval_tvqa_plus.py, on ``{"ts_answer": {"qid": [[start, end], answer]},
"bbox": …}``. ``official`` has its temporal and answer figures as shares (0 to 1): ``qa_acc``, ``miou``, ``R@0.10`` to
``R@0.90``, ``ans_span_joint_acc@.5`` (its ASA). Quirks, kept there:

* Its IoU divides by the hull of both spans; two equal points have 0, and the annotation has points.
* Only predicted questions are counted; an unknown one stops it.
* Answers are compared as arrays: a single one that is a text (``"2"``) makes all of them wrong.
* Thresholds come from ``arange(0.1, 1, 0.1)``, so ``R@0.30`` needs 0.30000000000000004.

Its ``overall_map`` of boxes is not computed: it needs the vocabulary ``word2idx.json`` of the repository and predicted
boxes; a note says so. As shipped it runs under Python 2 only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidcausal.benchmarks.joining import UNKNOWN_ID, expected_samples, is_answered, latest_by_id
from vidcausal.benchmarks.qa._multiple import (
    NOTHING,
    NumberedChoices,
    OfficialStops,
    answered_by_id,
    is_submitted,
    option_index,
    question_rows,
    span_of,
    submitted,
    whole,
)
from vidcausal.errors import DataError
from vidcausal.metrics.statistics import bootstrap_interval
from vidcausal.parsing import parse_spans
from vidcausal.types import Prediction, Sample, Scores, Span

_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_THRESHOLDS = np.arange(0.1, 1, 0.1)
_ASA = "ans_span_joint_acc@.5"


class TVQAPlus(NumberedChoices):
    """TVQA+ from ``tvqa_plus_val.json``; whole clips are shown, since the moment is to be found.

    A reply in words may hold the moment ("B, 12.3 - 20.1 s"); rows of ``predictions.jsonl`` have it in ``spans``.
    """

    name = "tvqa_plus"
    files = ("tvqa_plus_val.json", "tvqa/tvqa_plus_val.json")
    source = "github.com/jayleicn/TVQAplus, eval/data; videos: tvqa.cs.unc.edu"
    id_keys = ("qid",)
    choice_keys = ("answer_idx", "answer", "prediction")

    def load(self, path: Path) -> Iterator[Sample[int]]:
        for where, row in question_rows(path, ("qid", "q", "answer_idx", "ts", "vid_name", *_OPTIONS)):
            options = tuple(str(row[key]).strip() for key in _OPTIONS)
            span = span_of(row["ts"], where)
            yield self.ask(
                row["qid"],
                str(row["q"]).strip(),
                options,
                option_index(row["answer_idx"], len(options), where),
                self.video(str(row["vid_name"])),
                video=str(row["vid_name"]),
                span=(span.start, span.end),
            )

    def unfold(self, submission: Mapping[str, Any]) -> Iterable[Any]:
        answers = submission.get("ts_answer", submission)
        if not isinstance(answers, Mapping):
            raise DataError(f"ts_answer must be an object from ids to [[start, end], answer], got {answers!r:.80}")
        for identity, entry in answers.items():
            pair = isinstance(entry, list) and len(entry) == 2
            yield (
                submitted(identity, entry[1], entry, spans=[entry[0]]) if pair else submitted(identity, NOTHING, entry)
            )

    # ---- official ------------------------------------------------------------------------------------------------

    def figures(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        ious, chosen, answers = [], [], []
        for identity, prediction in sorted(answered_by_id(predictions, unknown=True).items()):
            if prediction.error == UNKNOWN_ID:
                raise OfficialStops(f"KeyError: no question {identity!r}")
            ious.append(_hull_iou(_official_span(prediction), prediction.sample.meta["span"]))
            chosen.append(self.chosen(prediction))
            answers.append(prediction.sample.target)
        if not ious:
            raise OfficialStops("no prediction to divide by")
        notes.append(
            "overall_map (boxes) of the official scorer is not computed: it needs predicted boxes and word2idx"
        )
        return _temporal(np.array(ious), _equal(chosen, answers))

    # ---- strict --------------------------------------------------------------------------------------------------

    def score(self, predictions: Sequence[Prediction[int]], *, expected: int | None = None) -> Scores:
        scores = super().score(predictions, expected=expected)
        latest = latest_by_id(predictions, [])
        samples = expected_samples(self._samples, latest, expected)
        answered = [latest[sample.id] if is_answered(sample, latest) else None for sample in samples]
        spans = [None if prediction is None else _span(prediction) for prediction in answered]
        ious = np.array([_iou(span, sample.meta["span"]) for span, sample in zip(spans, samples, strict=True)])
        right = np.array([p is not None and bool(self.is_right(p)) for p in answered])
        videos = [sample.meta["video"] for sample in samples]
        figures = {name: 100 * share for name, share in _temporal(ious, right).items() if name != "qa_acc"}
        intervals = {
            name: [100 * end for end in bootstrap_interval(values, clusters=videos)]
            for name, values in (("miou", ious), (_ASA, (right & (ious >= 0.5)).astype(float)))
        }
        notes = list(scores.notes)
        if lacking := sum(p is not None and span is None for p, span in zip(answered, spans, strict=True)):
            notes.append(
                f"{lacking} predictions have no span, or one that is reversed or not finite: IoU 0 under strict"
            )
        return dataclasses.replace(
            scores, strict=scores.strict | figures, intervals=scores.intervals | intervals, notes=tuple(notes)
        )


def _temporal(ious: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> dict[str, float]:
    figures = {f"R@{threshold:.2f}": float(1.0 * np.sum(ious >= threshold) / len(ious)) for threshold in _THRESHOLDS}
    figures["miou"] = float(1.0 * np.sum(ious) / len(ious))
    figures[_ASA] = float(1.0 * np.sum(right * (ious >= 0.5)) / len(right))
    figures["qa_acc"] = float(1.0 * np.sum(right) / len(right))
    return figures


def _equal(chosen: Sequence[Any], answers: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Compared as two arrays, as the scorer does: one text among the numbers makes all of them texts."""
    try:
        return np.asarray(np.array(chosen) == np.array(answers))
    except ValueError as error:
        raise OfficialStops(f"ValueError: the answers are no row of numbers ({error})") from error


def _hull_iou(predicted: Sequence[float], true: Sequence[float]) -> float:
    intersection = max(0, min(predicted[1], true[1]) - max(predicted[0], true[0]))
    union = max(predicted[1], true[1]) - min(predicted[0], true[0])
    return 0 if union == 0 else 1.0 * intersection / union


def _official_span(prediction: Prediction[int]) -> Sequence[float]:
    """The span as it was submitted; a reply in words that names none has the empty one at the start."""
    if is_submitted(prediction):
        entry = whole(prediction)
        value = entry[0] if isinstance(entry, list) and len(entry) > 1 else entry
        numbers = isinstance(value, list) and len(value) >= 2 and all(_is_number(v) for v in value[:2])
        if not numbers:
            raise OfficialStops(f"TypeError: the span of {prediction.sample.id!r} is {value!r}")
        return [float(value[0]), float(value[1])]
    span = _span(prediction)
    return [0.0, 0.0] if span is None else [span.start, span.end]


def _span(prediction: Prediction[int]) -> Span | None:
    """The first span of an answer, structured or in words; None where there is none that runs forward."""
    given = prediction.extra.get("spans")
    if isinstance(given, (list, tuple)) and given:
        first = given[0]
        pair = list(first[:2]) if isinstance(first, (list, tuple)) else []
        good = len(pair) == 2 and all(_is_number(v) and math.isfinite(v) for v in pair) and pair[0] <= pair[1]
        return Span(float(pair[0]), float(pair[1])) if good else None
    return next(iter(parse_spans(prediction.reply)), None)


def _iou(span: Span | None, true: Sequence[float]) -> float:
    return 0.0 if span is None else float(_hull_iou([span.start, span.end], true))


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return isinstance(value, float) or abs(value) < 10**300  # larger whole numbers are no floats
