"""How well moments were found: overlap of time spans, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from vidcausal.types import Span


def span_iou(a: Span, b: Span) -> float:
    """Length shared / length covered by either, in [0, 1]; two points are 1 when equal, else 0."""
    shared = min(a.end, b.end) - max(a.start, b.start)
    covered = a.duration + b.duration - max(shared, 0.0)
    if covered <= 0:
        return float(a.start == b.start)
    return max(shared, 0.0) / covered


def best_iou(span: Span | None, truths: Sequence[Span]) -> float:
    """Overlap of the span with the truth it fits best; 0 without a span."""
    return 0.0 if span is None else max((span_iou(span, truth) for truth in truths), default=0.0)


def event_f1(found: Sequence[Span], truths: Sequence[Span], threshold: float) -> float:
    """F1 of found events, each matched with at most one truth of at least this IoU, best overlaps first."""
    if not found or not truths:
        return float(not found and not truths)
    pairs = sorted(((span_iou(f, t), i, j) for i, f in enumerate(found) for j, t in enumerate(truths)), reverse=True)
    used_found: set[int] = set()
    used_truths: set[int] = set()
    for iou, i, j in pairs:
        if iou >= threshold and i not in used_found and j not in used_truths:
            used_found.add(i)
            used_truths.add(j)
    return 2 * len(used_found) / (len(found) + len(truths))


def iop(found: Span, truth: Span) -> float:
    """Length shared / length of the found span, in [0, 1]; a found span without length has 0."""
    shared = min(found.end, truth.end) - max(found.start, truth.start)
    return max(shared, 0.0) / found.duration if found.duration > 0 else 0.0


def set_iou(first: Sequence[Span], second: Sequence[Span]) -> float:
    """Intersection over union of two sets of spans, each taken as the time that it covers; 0 where nothing is."""
    a, b = _covered(first), _covered(second)
    shared = sum(max(0.0, min(x[1], y[1]) - max(x[0], y[0])) for x in a for y in b)
    union = sum(end - start for start, end in (*a, *b)) - shared
    return shared / union if union > 0 else 0.0


def _covered(spans: Sequence[Span]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span.end))
        else:
            joined.append((span.start, span.end))
    return joined
