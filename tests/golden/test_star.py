"""STAR's rule against recorded figures of two released runs over the 7,098 validation questions.

The recorded runs are not in the shared data, their counts follow from the figures: for each type one number of hits
alone gives the recorded accuracy. Runs with these counts must give every figure, in each form that is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]
TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")


def _hits(n: int, accuracy: float) -> int:
    possible = [hits for hits in range(n + 1) if round(100 * hits / n, 2) == accuracy]
    assert len(possible) == 1
    return possible[0]


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("run", ["star_val_7098_preds_noText.jsonl", "star_val_7098_preds16_noText.jsonl"])
def test_recorded_figures(
    golden: Callable[[str], Any], compared: Callable[[str, int], None], tmp_path: Path, run: str
) -> None:
    recorded = golden("star")["recorded"][run]
    rows = []
    for kind in TYPES:
        right = _hits(recorded[kind]["n"], recorded[kind]["acc"])
        for number in range(recorded[kind]["n"]):
            truth = number % 4
            chosen = truth if number < right else (truth + 1) % 4
            rows.append({"question_id": f"{kind}_T1_{number}", "pred_ans_idx": chosen, "true_index": truth})
    path = _lines(tmp_path / run, rows)
    leaderboard = {
        kind: [{"question_id": r["question_id"], "answer": r["pred_ans_idx"]} for r in rows if kind in r["question_id"]]
        for kind in TYPES
    }
    (tmp_path / "leaderboard.json").write_text(json.dumps(leaderboard), encoding="utf-8")
    for predictions in (path, tmp_path / "leaderboard.json"):
        scores = score_file("star", predictions, path)
        assert scores.official == recorded
        assert scores.coverage == 1.0
    compared("star", 2 * len(TYPES) + 1)


def test_the_released_rows_with_text_are_scored(annotations: Path) -> None:
    path = annotations / "star" / "star_val_617_with_text_preds.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    scores = score_file("star", path, path)
    for kind in TYPES:
        own = [row["pred_ans_idx"] == row["true_index"] for row in rows if row["category"] == kind]
        assert scores.official[kind] == {"n": len(own), "acc": round(100 * sum(own) / len(own), 2)}
        assert scores.strict["by type"][kind] == pytest.approx(100 * sum(own) / len(own))
