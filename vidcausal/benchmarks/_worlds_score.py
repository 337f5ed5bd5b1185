"""Scores of the worlds, one scorer a task. A scorer reads answers, and measures answers however they were had.

All figures are percentages except Kendall's tau and Spearman's correlation. An answer that is None (missing or
unreadable) is wrong.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vidcausal.benchmarks._worlds_windows import THRESHOLDS, constant_window, random_window, shares
from vidcausal.benchmarks.joining import is_answered
from vidcausal.metrics.events import EventCounts, TrueEvent, count_events, pooled
from vidcausal.metrics.grounding import best_iou
from vidcausal.metrics.ordering import chance as order_chance
from vidcausal.metrics.ordering import exact_match, position_hits, strict_scores
from vidcausal.metrics.statistics import bootstrap_interval
from vidcausal.parsing import parse_choice, parse_events, parse_order, parse_spans
from vidcausal.types import Event, Prediction, Sample, Span, Task

Samples = Sequence[Sample[Any]]
Answers = Sequence[Any]
Latest = Mapping[str, Prediction[Any]]
Figures = dict[str, Any]
FLOOR_LENGTHS = (3, 5)
"""Orders of so many clips, both ends included, make the block ``n=3..5``."""


@dataclass(frozen=True)
class TaskResult:
    """One task over one set of samples: each part is worked out when it is first asked for."""

    task: Task
    samples: Samples
    answers: Answers
    unparsed: int = 0
    """Answered samples without a readable answer."""

    @cached_property
    def figures(self) -> Figures:
        """What the answers score."""
        return {"count": len(self.samples), **SCORERS[self.task].figures(self.samples, self.answers)}

    @cached_property
    def chance(self) -> Figures:
        """What is scored without looking."""
        return SCORERS[self.task].chance(self.samples)

    @cached_property
    def intervals(self) -> Figures:
        """95 % intervals of the figures, by bootstrap over videos."""
        return SCORERS[self.task].intervals(self.samples, self.answers)


@dataclass(frozen=True)
class Scorer:
    """How a task is read and measured.

    Attributes:
        read: the answer in a reply's text; None where there is none.
        given: the answer that was scored by likelihood or found directly, from the row's own fields; None without one.
        figures: from samples and answers.
        chance: what is scored without looking, from the samples alone.
        intervals: 95 % by bootstrap over videos, from samples and answers.
    """

    read: Callable[[Sample[Any], str], Any]
    given: Callable[[Sample[Any], Mapping[str, Any]], Any]
    figures: Callable[[Samples, Answers], Figures]
    chance: Callable[[Samples], Figures]
    intervals: Callable[[Samples, Answers], Figures]


def answers_of(task: Task, samples: Samples, latest: Latest, *, scored: bool = False) -> list[Any]:
    """One answer a sample, None where it is missing or cannot be read."""
    scorer = SCORERS[task]
    if scored:
        return [scorer.given(s, latest[s.id].extra) if is_answered(s, latest) else None for s in samples]
    return [scorer.read(s, latest[s.id].reply) if is_answered(s, latest) else None for s in samples]


def _truth(sample: Sample[Any]) -> Any:
    """The answer; every sample of a world has one."""
    return sample.target


def _videos(samples: Samples) -> list[str]:
    return [str(sample.meta["video"]) for sample in samples]


def _between(samples: Samples, values: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    low, high = bootstrap_interval(values, weights=weights, clusters=_videos(samples))
    return [100 * low, 100 * high]


def _percent(values: Sequence[float]) -> float:
    return 100 * math.fsum(values) / len(values)


def _grouped(keys: Sequence[Any], values: Sequence[float]) -> dict[str, list[float]]:
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for key, value in sorted(zip(keys, values, strict=True), key=lambda pair: str(pair[0])):
        groups[str(key)].append(value)
    return dict(groups)


# ---- order ------------------------------------------------------------------------------------------------------


def _given_order(sample: Sample[Any], extra: Mapping[str, Any]) -> tuple[int, ...] | None:
    order = extra.get("order")
    if not isinstance(order, (list, tuple)) or sorted(map(str, order)) != sorted(map(str, _truth(sample))):
        return None
    return tuple(map(int, order))


def _valid(sample: Sample[Any], order: tuple[int, ...] | None) -> float:
    return float(order is not None and order in sample.meta["valid_orders"])


def _in_floor(sample: Sample[Any]) -> bool:
    return FLOOR_LENGTHS[0] <= len(_truth(sample)) <= FLOOR_LENGTHS[1]


def _order_figures(samples: Samples, orders: Answers) -> Figures:
    all_of = strict_scores([_truth(s) for s in samples], orders, [s.goal for s in samples])
    wanted = ("accuracy", "step_accuracy", "kendall_tau", "spearman", "identity_rate", "scores_per_step")
    figures = {key: all_of[key] for key in wanted}
    figures["valid_accuracy"] = _percent([_valid(s, o) for s, o in zip(samples, orders, strict=True)])
    block = [(s, o) for s, o in zip(samples, orders, strict=True) if _in_floor(s)]
    if block:
        figures["accuracy n=3..5"] = _percent([float(exact_match(_truth(s), o)) for s, o in block])
        figures["valid_accuracy n=3..5"] = _percent([_valid(s, o) for s, o in block])
        figures["count n=3..5"] = len(block)
    return figures


def _order_chance(samples: Samples) -> Figures:
    """Of a random order, exactly; of always 1, 2, 3 …; of the most frequent order of each length.

    ``among_valid_accuracy`` is what someone scores who knows which orders are valid and takes any of them.
    """
    known = order_chance([_truth(s) for s in samples])
    kept = ("accuracy", "step_accuracy", "identity_accuracy", "best_constant_accuracy", "best_constant_answers")
    figures = {key: known[key] for key in kept}
    figures["valid_accuracy"] = _percent([_valid_chance(s) for s in samples])
    figures["among_valid_accuracy"] = _percent([1 / len(s.meta["valid_orders"]) for s in samples])
    block = [s for s in samples if _in_floor(s)]
    if block:
        inside = order_chance([_truth(s) for s in block])
        figures["accuracy n=3..5"] = inside["accuracy"]
        figures["best_constant_accuracy n=3..5"] = inside["best_constant_accuracy"]
        figures["valid_accuracy n=3..5"] = _percent([_valid_chance(s) for s in block])
        figures["among_valid_accuracy n=3..5"] = _percent([1 / len(s.meta["valid_orders"]) for s in block])
    figures["per_n"] = {n: {key: row[key] for key in ("count", "accuracy")} for n, row in known["per_n"].items()}
    return figures


def _valid_chance(sample: Sample[Any]) -> float:
    return len(sample.meta["valid_orders"]) / math.factorial(len(_truth(sample)))


def _order_intervals(samples: Samples, orders: Answers) -> Figures:
    exact = [float(exact_match(_truth(s), o)) for s, o in zip(samples, orders, strict=True)]
    valid = [_valid(s, o) for s, o in zip(samples, orders, strict=True)]
    hits = [float(sum(position_hits(_truth(s), o))) for s, o in zip(samples, orders, strict=True)]
    intervals = {
        "accuracy": _between(samples, exact),
        "valid_accuracy": _between(samples, valid),
        "step_accuracy": _between(samples, hits, [float(len(_truth(s))) for s in samples]),
    }
    block = [n for n, sample in enumerate(samples) if _in_floor(sample)]
    if block:
        inside = [samples[n] for n in block]
        intervals["accuracy n=3..5"] = _between(inside, [exact[n] for n in block])
        intervals["valid_accuracy n=3..5"] = _between(inside, [valid[n] for n in block])
    return intervals


# ---- ground -----------------------------------------------------------------------------------------------------


def _read_span(sample: Sample[Any], reply: str) -> Span | None:
    return next(iter(parse_spans(reply)), None)


def _given_span(sample: Sample[Any], extra: Mapping[str, Any]) -> Span | None:
    try:
        return Span(float(extra["spans"][0][0]), float(extra["spans"][0][1]))
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _ious(samples: Samples, spans: Answers) -> list[float]:
    return [best_iou(span, _truth(sample)) for span, sample in zip(spans, samples, strict=True)]


def _ground_figures(samples: Samples, spans: Answers) -> Figures:
    ious = _ious(samples, spans)
    recalls = {f"R@1 IoU={t}": _percent([float(iou >= t) for iou in ious]) for t in THRESHOLDS}
    return {**recalls, "mIoU": _percent(ious)}


def _ground_chance(samples: Samples) -> Figures:
    targets = shares([_truth(s)[0] for s in samples], [float(s.meta["duration"]) for s in samples])
    ways = {"constant_window": constant_window(targets), "random_window": random_window(targets)}
    return {f"{way} {name}": value for way, figures in ways.items() for name, value in figures.items()}


def _ground_intervals(samples: Samples, spans: Answers) -> Figures:
    ious = _ious(samples, spans)
    recalls = {f"R@1 IoU={t}": _between(samples, [float(iou >= t) for iou in ious]) for t in THRESHOLDS}
    return {**recalls, "mIoU": _between(samples, ious)}


# ---- ask --------------------------------------------------------------------------------------------------------


def _read_option(sample: Sample[Any], reply: str) -> int | None:
    return parse_choice(reply, len(sample.options), sample.options)


def _given_option(sample: Sample[Any], extra: Mapping[str, Any]) -> int | None:
    option = extra.get("option")
    return option if isinstance(option, int) and not isinstance(option, bool) else None


def _hits(samples: Samples, options: Answers) -> list[float]:
    return [float(option == _truth(sample)) for option, sample in zip(options, samples, strict=True)]


def _types(samples: Samples) -> list[str]:
    return [str(sample.meta["type"]) for sample in samples]


def _ask_figures(samples: Samples, options: Answers) -> Figures:
    hits = _hits(samples, options)
    by_type = _grouped(_types(samples), hits)
    return {
        "accuracy": _percent(hits),
        "per_type": {name: _percent(values) for name, values in by_type.items()},
        "count_per_type": {name: len(values) for name, values in by_type.items()},
        "positions": {"chosen": _letters(samples, options), "true": _letters(samples, [_truth(s) for s in samples])},
    }


def _letters(samples: Samples, options: Answers) -> dict[str, int]:
    """How often each position was taken."""
    counts = Counter(option for option in options if option is not None)
    most = max(len(sample.options) for sample in samples)
    return {chr(ord("A") + position): counts[position] for position in range(most)}


def _ask_chance(samples: Samples) -> Figures:
    """Of a random option; of always the same position, the best one, chosen with the answers known."""
    guesses = [1 / len(sample.options) for sample in samples]
    positions = Counter(_truth(sample) for sample in samples)
    return {
        "accuracy": _percent(guesses),
        "best_position_accuracy": 100 * max(positions.values()) / len(samples),
        "per_type": {name: _percent(values) for name, values in _grouped(_types(samples), guesses).items()},
    }


def _ask_intervals(samples: Samples, options: Answers) -> Figures:
    hits, types = _hits(samples, options), _types(samples)
    per_type = {}
    for name in sorted(set(types)):
        own = [n for n, other in enumerate(types) if other == name]
        per_type[name] = _between([samples[n] for n in own], [hits[n] for n in own])
    return {"accuracy": _between(samples, hits), "per_type": per_type}


# ---- events -----------------------------------------------------------------------------------------------------


def _read_events(sample: Sample[Any], reply: str) -> tuple[Event, ...] | None:
    return parse_events(reply) or None


def _no_given_events(sample: Sample[Any], extra: Mapping[str, Any]) -> None:
    return None


def true_events(sample: Sample[Any]) -> list[TrueEvent]:
    """The annotated events of a sample of the task ``events``."""
    return [TrueEvent(span, words) for span, words in zip(_truth(sample), sample.meta["wordings"], strict=True)]


def _counts(samples: Samples, found: Answers, threshold: float, named: bool) -> list[EventCounts]:
    return [
        count_events(events or (), true_events(sample), threshold, named=named)
        for sample, events in zip(samples, found, strict=True)
    ]


def _event_figures(samples: Samples, found: Answers) -> Figures:
    figures: Figures = {}
    for prefix, named in (("", False), ("named ", True)):
        for threshold in (0.5, 0.3, 0.7):
            total = pooled(_counts(samples, found, threshold, named))
            figures[f"{prefix}F1 IoU={threshold}"] = 100 * total.f1
            figures[f"{prefix}precision IoU={threshold}"] = 100 * total.precision
            figures[f"{prefix}recall IoU={threshold}"] = 100 * total.recall
    return figures


def _event_chance(samples: Samples) -> Figures:
    """Of cutting every video into equal parts, as many as its videos have events on average."""
    parts = max(1, round(sum(len(_truth(s)) for s in samples) / len(samples)))
    figures = _event_figures(samples, [_even(float(s.meta["duration"]), parts) for s in samples])
    return {"parts": parts, **{key: value for key, value in figures.items() if not key.startswith("named")}}


def _even(duration: float, parts: int) -> list[Event]:
    return [Event(Span(duration * k / parts, duration * (k + 1) / parts), "") for k in range(parts)]


def _event_intervals(samples: Samples, found: Answers) -> Figures:
    intervals = {}
    for prefix, named in (("", False), ("named ", True)):
        for threshold in (0.5, 0.3, 0.7):
            counts = _counts(samples, found, threshold, named)
            sizes = [float(c.found + c.true) for c in counts]
            if sum(sizes):
                twice = [2.0 * c.matched for c in counts]
                intervals[f"{prefix}F1 IoU={threshold}"] = _between(samples, twice, sizes)
    return intervals


SCORERS: dict[Task, Scorer] = {
    "order": Scorer(
        lambda sample, reply: parse_order(reply, len(_truth(sample))),
        _given_order,
        _order_figures,
        _order_chance,
        _order_intervals,
    ),
    "ground": Scorer(_read_span, _given_span, _ground_figures, _ground_chance, _ground_intervals),
    "ask": Scorer(_read_option, _given_option, _ask_figures, _ask_chance, _ask_intervals),
    "events": Scorer(_read_events, _no_given_events, _event_figures, _event_chance, _event_intervals),
}
