"""VLEP against the published result of its sample submission, the way ``vidcausal score`` goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


def test_recorded_figures(
    golden: Callable[[str], Any], annotations: Path, compared: Callable[[str, int], None]
) -> None:
    recorded = golden("vlep")
    scores = score_file("vlep", annotations / recorded["pred"], annotations / recorded["gt"])
    assert scores.official == recorded["recorded"] == recorded["expected_from_repo"]
    assert any("pre_ans" in note and "KeyError" in note for note in scores.notes)
    compared("vlep", 1)


def test_the_key_that_the_shipped_script_reads_gives_the_same(
    golden: Callable[[str], Any], annotations: Path, tmp_path: Path
) -> None:
    recorded = golden("vlep")
    lines = (annotations / recorded["pred"]).read_text(encoding="utf-8").splitlines()
    rows = [{"example_id": row["example_id"], "pre_ans": row["pred_ans"]} for row in map(json.loads, lines)]
    path = tmp_path / "pre_ans.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scores = score_file("vlep", path, annotations / recorded["gt"])
    assert scores.official == recorded["recorded"]
    assert scores.notes == ()
