"""moment_detr's mAP of moments and of highlights, written down query by query: slow, obvious, to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RANGES = {"short": (0, 10), "middle": (10, 30), "long": (30, 150), "full": (0, 1e9)}
LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}


def window_precision(truths: Any, found: Any) -> Any:
    """Average precision of one query's windows at ten overlaps."""
    hits, taken = np.zeros((10, len(found))), np.zeros((10, len(truths)), bool)
    for i, (a, b, _) in enumerate(sorted(found, key=lambda w: -w[2])):
        shared = np.clip(np.minimum(b, truths[:, 1]) - np.maximum(a, truths[:, 0]), 0, None)
        ious = shared / (b - a + truths[:, 1] - truths[:, 0] - shared)
        for t, least in enumerate(np.linspace(0.5, 0.95, 10).round(2)):
            free = [j for j in ious.argsort(kind="stable")[::-1] if ious[j] >= least and not taken[t, j]]
            if free:
                taken[t, free[0]] = hits[t, i] = True
    recall, precision = np.cumsum(hits, 1) / len(truths), np.cumsum(hits, 1) / np.arange(1, len(found) + 1)
    return (np.diff(recall, prepend=0.0) * np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]).sum(1)


def clip_precision(liked: Any, scores: Any) -> float:
    """Average precision of one query's clips by one rater."""
    if liked.all() or not liked.any():
        return float(liked.all())
    steps = [(liked[scores >= s].sum(), liked[scores >= s].mean()) for s in np.unique(scores)[::-1]]
    found = [i for i, (hits, _) in enumerate(steps) if hits > (steps[i - 1][0] if i else 0)]
    return float(np.mean([max(p for _, p in steps[i:]) for i in found]))


def literal_figures(predictions: Path, annotations: Path) -> dict[str, float]:
    """The mAP figures of ``brief``, files read included."""
    rows = {row["qid"]: row for row in map(json.loads, predictions.read_text().splitlines())}
    truths = [json.loads(line) for line in annotations.read_text().splitlines()]
    figures: dict[str, Any] = {}
    for name, (low, high) in RANGES.items():
        windows = {t["qid"]: [w for w in t["relevant_windows"] if low < w[1] - w[0] <= high] for t in truths}
        figures[f"MR-{name}-mAP"] = [
            window_precision(np.array(own), rows[qid]["pred_relevant_windows"]) for qid, own in windows.items() if own
        ]
    for name, least in LEVELS.items():
        figures[f"HL-min-{name}-mAP"] = []
        for truth in truths:
            clips = np.zeros((int(truth["duration"] / 2), 3))
            clips[truth["relevant_clip_ids"]] = truth["saliency_scores"]
            scores = np.array([*rows[truth["qid"]]["pred_saliency_scores"], *[0.0] * len(clips)][: len(clips)])
            figures[f"HL-min-{name}-mAP"].append([clip_precision(own >= least, scores) for own in clips.T])
    return {name: round(100 * float(np.mean(own)), 2) for name, own in figures.items()}
