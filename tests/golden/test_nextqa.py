"""NExT-QA against what eval_mc.py printed for two released models, the way ``vidcausal score`` goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


@pytest.mark.parametrize("number", [0, 1])
def test_recorded_figures(
    golden: Callable[[str], Any],
    shared_data: Path,
    annotations: Path,
    compared: Callable[[str, int], None],
    number: int,
) -> None:
    case = golden("nextqa")["cases"][number]
    scores = score_file("nextqa", shared_data / "golden" / case["pred"], annotations / case["gt"])
    assert scores.official == case["recorded"]
    assert scores.coverage == 1.0
    assert scores.unparsed == 0.0
    assert scores.notes == ()
    # The files' answers are the table's and nothing is missing: the sane score is the same, unrounded.
    assert round(scores.strict["accuracy"], 2) == case["recorded"]["Acc"]
    for heading, figure in (scores.strict["by type"] | scores.strict["by family"]).items():
        assert round(figure, 2) == case["recorded"][heading]
    compared("nextqa", len(case["recorded"]))


def test_validation_is_loaded_and_scored_in_two_seconds(shared_data: Path, annotations: Path) -> None:
    started = time.process_time()
    score_file("nextqa", shared_data / "golden" / "nextqa_HGA_val.json", annotations / "nextqa" / "val.csv")
    assert time.process_time() - started < 2.0
