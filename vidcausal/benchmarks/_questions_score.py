"""Scores of a user's questions, one function a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vidcausal.benchmarks.joining import is_answered, scored_order
from vidcausal.metrics.grounding import best_iou, event_f1
from vidcausal.metrics.ordering import chance, strict_scores
from vidcausal.metrics.statistics import bootstrap_interval
from vidcausal.parsing import normalize_answer, parse_choice, parse_events, parse_order, parse_spans
from vidcausal.types import Prediction, Sample, Span, Task

Samples = Sequence[Sample[Any]]
Latest = Mapping[str, Prediction[Any]]
_THRESHOLDS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class TaskResult:
    """What one task contributes to :class:`vidcausal.types.Scores`."""

    strict: dict[str, Any]
    unparsed: int
    scored: dict[str, Any] | None = None
    chance: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, Any] = field(default_factory=dict)


def _truth(sample: Sample[Any]) -> Any:
    """The answer; questions without one are not scored."""
    return sample.target


def score_task(task: Task, samples: Samples, latest: Latest) -> TaskResult:
    """Scores of one task's questions, in percent; missing and unreadable replies are wrong."""
    scorers: dict[Task, Callable[[Samples, Latest], TaskResult]] = {
        "order": _order,
        "ground": _ground,
        "ask": _ask,
        "events": _events,
    }
    return scorers[task](samples, latest)


def _order(samples: Samples, latest: Latest) -> TaskResult:
    def metrics(orders: Sequence[tuple[int, ...] | None]) -> dict[str, Any]:
        scores = strict_scores([_truth(s) for s in samples], orders, [s.goal for s in samples])
        wanted = ("accuracy", "step_accuracy", "kendall_tau", "spearman", "identity_rate")
        return {"count": len(samples), **{key: scores[key] for key in wanted}}

    read = [parse_order(latest[s.id].reply, len(_truth(s))) if is_answered(s, latest) else None for s in samples]
    scored = [scored_order(s, latest) for s in samples]
    hits = [float(order == _truth(s)) for order, s in zip(read, samples, strict=True)]
    return TaskResult(
        strict=metrics(read),
        unparsed=_unread(samples, latest, read),
        scored=metrics(scored) if any(scored) else None,
        chance=chance([_truth(s) for s in samples]),
        intervals={"accuracy": _interval(hits, samples)},
    )


def _ground(samples: Samples, latest: Latest) -> TaskResult:
    def metrics(spans: Sequence[Span | None]) -> dict[str, Any]:
        ious = [best_iou(span, _truth(s)) for span, s in zip(spans, samples, strict=True)]
        recalls = {f"R@1 IoU={t}": 100 * sum(iou >= t for iou in ious) / len(ious) for t in _THRESHOLDS}
        return {"count": len(samples), **recalls, "mIoU": 100 * sum(ious) / len(ious)}

    read = [_first_span(latest[s.id].reply) if is_answered(s, latest) else None for s in samples]
    scored = [_given_span(s, latest) for s in samples]
    ious = [best_iou(span, _truth(s)) for span, s in zip(read, samples, strict=True)]
    return TaskResult(
        strict=metrics(read),
        unparsed=_unread(samples, latest, read),
        scored=metrics(scored) if any(scored) else None,
        intervals={"mIoU": _interval(ious, samples)},
    )


def _first_span(reply: str) -> Span | None:
    spans = parse_spans(reply)
    return spans[0] if spans else None


def _given_span(sample: Sample[Any], latest: Latest) -> Span | None:
    spans = latest[sample.id].extra.get("spans") if sample.id in latest else None
    try:
        return Span(float(spans[0][0]), float(spans[0][1])) if spans else None
    except (TypeError, ValueError, IndexError):
        return None


def _ask(samples: Samples, latest: Latest) -> TaskResult:
    read = [_reads_right(s, latest[s.id].reply) if is_answered(s, latest) else None for s in samples]
    with_options = [s for s in samples if s.options]
    options = [latest[s.id].extra.get("option") if s.id in latest else None for s in with_options]
    hits = [float(right or False) for right in read]
    strict = {"count": len(samples), "accuracy": 100 * sum(hits) / len(hits)}
    guess = [1 / len(s.options) if s.options else 0.0 for s in samples]
    scored = None
    if any(option is not None for option in options):
        right = sum(option == _truth(s) for option, s in zip(options, with_options, strict=True))
        scored = {"count": len(with_options), "accuracy": 100 * right / len(with_options)}
    return TaskResult(
        strict=strict,
        unparsed=_unread(samples, latest, read),
        scored=scored,
        chance={"accuracy": 100 * sum(guess) / len(guess)},
        intervals={"accuracy": _interval(hits, samples)},
    )


def _reads_right(sample: Sample[Any], reply: str) -> bool | None:
    if sample.options:
        choice = parse_choice(reply, len(sample.options), sample.options)
        return None if choice is None else choice == _truth(sample)
    said = normalize_answer(reply)
    return None if not said else said in {normalize_answer(accepted) for accepted in _truth(sample)}


def _events(samples: Samples, latest: Latest) -> TaskResult:
    read = [_event_spans(latest[s.id].reply) if is_answered(s, latest) else None for s in samples]
    f1 = [event_f1(spans or (), _truth(s), 0.5) for spans, s in zip(read, samples, strict=True)]
    return TaskResult(
        strict={"count": len(samples), "F1 IoU=0.5": 100 * sum(f1) / len(f1)},
        unparsed=_unread(samples, latest, read),
        intervals={"F1 IoU=0.5": _interval(f1, samples)},
    )


def _event_spans(reply: str) -> tuple[Span, ...] | None:
    return tuple(event.span for event in parse_events(reply)) or None


def _unread(samples: Samples, latest: Latest, read: Sequence[Any]) -> int:
    return sum(is_answered(s, latest) and value is None for s, value in zip(samples, read, strict=True))


def _interval(values: Sequence[float], samples: Samples) -> list[float]:
    low, high = bootstrap_interval(list(values), clusters=[s.media.videos for s in samples])
    return [100 * low, 100 * high]
