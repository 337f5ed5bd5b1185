"""ActivityNet-QA against what its own scorer printed, the way ``vidcausal score`` goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


def test_recorded_figures(
    golden: Callable[[str], Any], annotations: Path, compared: Callable[[str, int], None]
) -> None:
    recorded = golden("activitynet_qa")
    scores = score_file("activitynet_qa", annotations / recorded["pred"], annotations / recorded["gt"])
    assert scores.official == recorded["recorded"]
    assert scores.count == 18000
    assert scores.coverage == 1.0
    assert any("makes 0.5055" in note for note in scores.notes)
    compared("activitynet_qa", len(recorded["recorded"]))


def test_the_questions_file_names_the_same_questions(annotations: Path, golden: Callable[[str], Any]) -> None:
    recorded = golden("activitynet_qa")
    folder = annotations / "activitynet_qa"
    by_questions = score_file("activitynet_qa", annotations / recorded["pred"], folder / "val_q.json")
    assert by_questions.official == recorded["recorded"]
