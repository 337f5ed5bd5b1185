"""TempCompass against what its evaluation scripts printed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]

CHECKOUT = "VIDCAUSAL_TEMPCOMPASS"
CASES = [
    (model, task) for model in ("video-llava", "gemini") for task in ("multi-choice", "yes_no", "caption_matching")
]


@pytest.mark.parametrize(("model", "task"), CASES)
def test_recorded_figures(
    golden: Callable[[str], Any],
    annotations: Path,
    shared_data: Path,
    compared: Callable[..., None],
    model: str,
    task: str,
) -> None:
    case = next(c for c in golden("tempcompass")["cases"] if (c["model"], c["task"]) == (model, task))
    predictions = shared_data / "golden" / case["pred"]
    if not predictions.is_file():
        checkout = os.environ.get(CHECKOUT)
        if not checkout:
            pytest.skip(f"predictions of {model} are in llyx97/TempCompass only; {CHECKOUT} names a checkout")
        predictions = Path(checkout) / "predictions" / model / f"{task}.json"
    official = score_file("tempcompass", predictions, annotations / "tempcompass" / f"{task}.json").official
    assert {name: official[name] for name in case["aspects"]} == case["aspects"]
    assert {name: official[name] for name in case["sub"]} == case["sub"]
    assert f"Match Success Rate={official['Match Success Rate']}" == case["match_rate"]
    assert set(official) == {*case["aspects"], *case["sub"], "Match Success Rate"}
    compared("tempcompass", len(case["aspects"]) + len(case["sub"]) + 1)


def test_the_published_line(golden: Callable[[str], Any], annotations: Path, shared_data: Path) -> None:
    published = golden("tempcompass")["published_in_readme"]["video-llava multi-choice"]
    path = shared_data / "golden" / "tempcompass_video-llava_multi-choice.json"
    scores = score_file("tempcompass", path, annotations / "tempcompass" / "multi-choice.json")
    assert {name: scores.official[name] for name in published} == published
    assert scores.coverage == 1.0
    assert scores.count == 1580


def test_a_folder_of_predictions_of_all_kinds(
    golden: Callable[[str], Any], annotations: Path, shared_data: Path, tmp_path: Path
) -> None:
    cases = [case for case in golden("tempcompass")["cases"] if case["model"] == "video-llava"]
    for case in cases:
        (tmp_path / f"{case['task']}.json").write_bytes((shared_data / "golden" / case["pred"]).read_bytes())
    scores = score_file("tempcompass", tmp_path, annotations / "tempcompass")
    assert {task: figures["avg"] for task, figures in scores.official.items()} == {
        case["task"]: case["aspects"]["avg"] for case in cases
    }
    assert scores.coverage == 1.0
    assert scores.count == 5536
