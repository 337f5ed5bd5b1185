"""How long whole scoring of QVHighlights val takes against a literal second implementation of its mAP figures alone.

``python scripts/bench_scoring.py ANNOTATIONS GOLDEN``: the folders with qvhighlights/ and nextqa/, and with the
recorded submissions qvh_*.jsonl and nextqa_HGA_val.json. CPU seconds, files read included. Fails when ours is slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _literal_qvhighlights import literal_figures

from vidcausal.benchmarks.score_file import score_file


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def _main(annotations: Path, golden: Path) -> int:
    queries = annotations / "qvhighlights" / "highlight_val_release.jsonl"
    ratios = []
    for path in sorted(golden.glob("qvh_*.jsonl")):
        expected, slow = _timed(literal_figures, path, queries)
        scores, fast = _timed(score_file, "qvhighlights", path, queries)
        different = {key: value for key, value in expected.items() if scores.official["brief"][key] != value}
        ratios.append(fast / slow)
        print(f"{path.name}: ours {fast:.2f} s, literal {slow:.2f} s, ratio {ratios[-1]:.2f}, differ: {different or 0}")
    nextqa = _timed(score_file, "nextqa", golden / "nextqa_HGA_val.json", annotations / "nextqa" / "val.csv")
    print(f"NExT-QA val: {nextqa[1]:.2f} s")
    return int(not ratios or max(ratios) > 1.0)


if __name__ == "__main__":
    sys.exit(_main(*map(Path, sys.argv[1:3])))
