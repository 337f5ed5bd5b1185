"""MECD on its own files. Nobody recorded outputs: the sums of the authors' evaluation are done again with tensors."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.causal.mecd import MECD
from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


def test_the_files_are_what_they_are_said_to_be(annotations: Path) -> None:
    folder = annotations / "mecd"
    assert [len(MECD(folder / f"{name}.json")) for name in ("test", "test_complete", "train", "train_mecd_plus")] == [
        299,
        299,
        806,
        331,
    ]
    for sample in MECD(folder / "test_complete.json").samples():
        assert sample.meta["graph"][0] == sample.meta["relation"]


def test_the_truth_as_answer_is_right(annotations: Path, tmp_path: Path) -> None:
    truth = annotations / "mecd/test_complete.json"
    scores = score_file("mecd", truth, truth)
    assert scores.official["Relation_acc"] == 100.0
    assert scores.official["F1_score"] == 1.0
    # One string is a digit short; the truth is as short, so that it compares with itself.
    assert scores.official["complete_acc"] == 100.0
    assert scores.strict["exact"] == 100.0
    assert scores.chance["best constant accuracy"] == pytest.approx(100 * 732 / 1270)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sums_are_those_of_tensors(annotations: Path, tmp_path: Path, seed: int) -> None:
    truth = annotations / "mecd/test_complete.json"
    draw = random.Random(seed)
    rows, reference = [], _Reference()
    for sample in MECD(truth).samples():
        n = len(sample.meta["events"])
        logits = [[[draw.choice((0.0, 0.5, 1.0)) for _ in range(2)] for _ in range(k)] for k in range(n - 1, 0, -1)]
        reference.add(logits, sample.meta["relation"], sample.meta["graph"])
        parts = ["".join("0" if a > b else "1" for a, b in part) for part in logits]
        rows.append({"name": sample.id, "pred": ",".join(parts)})
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    official = score_file("mecd", path, truth).official
    assert {key: official[key] for key in reference.figures()} == reference.figures()


class _Reference:
    """The counting of ``eval_epoch`` with torch, one video after the other."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}

    def add(
        self, logits: list[list[list[float]]], relation: tuple[int, ...], graph: tuple[tuple[int, ...], ...]
    ) -> None:
        import torch

        chosen = [torch.tensor([0 if a > b else 1 for a, b in part]) for part in logits]
        truth = torch.tensor(relation)
        same = chosen[0].eq(truth)
        for key, value in {
            "right": same.sum(),
            "all": truth.size(0),
            "right 0": same.logical_and(truth.eq(0)).sum(),
            "all 0": truth.eq(0).sum(),
            "right 1": same.logical_and(truth.eq(1)).sum(),
            "all 1": truth.eq(1).sum(),
            "said 1": chosen[0].eq(1).sum(),
        }.items():
            self.sums[key] = self.sums.get(key, 0) + int(value)
        for part, whole in zip(chosen[1:], graph[1:], strict=True):
            self.sums["whole"] = self.sums.get("whole", 0) + int(part.eq(torch.tensor(whole)).sum())
            self.sums["whole all"] = self.sums.get("whole all", 0) + len(whole)

    def figures(self) -> dict[str, Any]:
        s = self.sums
        recall, precision = s["right 1"] / s["all 1"], s["right 1"] / s["said 1"]
        return {
            "Relation_acc": round(100 * s["right"] / s["all"], 3),
            "relation0_acc": round(100 * s["right 0"] / s["all 0"], 3),
            "relation1_acc(Recall)": round(100 * recall, 3),
            "Percision": round(100 * precision, 3),
            "F1_score": round(2 * precision * recall / (precision + recall), 3),
            "0_ratio": round(100 * s["all 0"] / s["all"], 3),
            "complete_acc": round(100 * s["whole"] / s["whole all"], 3),
        }
