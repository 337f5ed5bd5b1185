"""How long whole scoring takes against a literal second implementation of one part of it, moment_detr's mAP.

``python scripts/bench_scoring.py ANNOTATIONS GOLDEN``: folders with qvhighlights/, nextqa/ and with qvh_*.jsonl.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from vidcausal.benchmarks.score_file import score_file

RANGES = {"short": (0, 10), "middle": (10, 30), "long": (30, 150), "full": (0, 1e9)}


def _window_ap(truths, found):
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


def _literal(predictions, annotations):
    rows = {r["qid"]: r["pred_relevant_windows"] for r in map(json.loads, predictions.open())}
    truths, brief = list(map(json.loads, annotations.open())), {}
    for name, (low, high) in RANGES.items():
        windows = {t["qid"]: [w for w in t["relevant_windows"] if low < w[1] - w[0] <= high] for t in truths}
        precisions = [_window_ap(np.array(own), rows[qid]) for qid, own in windows.items() if own]
        brief[f"MR-{name}-mAP"] = round(100 * float(np.mean(precisions)), 2)
    return brief


def _timed(function, *arguments):
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def _main(annotations, golden):
    queries, ratios = annotations / "qvhighlights" / "highlight_val_release.jsonl", []
    for path in sorted(golden.glob("qvh_*.jsonl")):
        expected, slow = _timed(_literal, path, queries)
        scores, fast = _timed(score_file, "qvhighlights", path, queries)
        assert expected == {key: scores.official["brief"][key] for key in expected}, expected
        ratios.append(fast / slow)
        print(f"{path.name}: all figures {fast:.2f} s CPU, literal mAP alone {slow:.2f} s, ratio {fast / slow:.2f}")
    nextqa = _timed(score_file, "nextqa", golden / "nextqa_HGA_val.json", annotations / "nextqa" / "val.csv")
    print(f"NExT-QA val: {nextqa[1]:.2f} s CPU")
    return int(max(ratios) > 1.0)


if __name__ == "__main__":
    sys.exit(_main(*map(Path, sys.argv[1:3])))
