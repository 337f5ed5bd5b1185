"""OVO-Bench against what its scorer printed for five models; their results are in its repository only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.ovobench import OvoBench
from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]

CHECKOUT = "VIDCAUSAL_OVOBENCH"
MODELS = ("GPT", "Gemini", "LongVU", "FlashVStream", "LLaVA_Video")


@pytest.mark.parametrize("model", MODELS)
def test_recorded_figures(
    golden: Callable[[str], Any], annotations: Path, compared: Callable[..., None], model: str
) -> None:
    checkout = os.environ.get(CHECKOUT)
    if not checkout:
        pytest.skip(f"results of {model} are in JoeLeelyf/OVO-Bench only; {CHECKOUT} names a checkout")
    recorded = golden("ovobench")["recorded"]
    assert set(recorded) == set(MODELS)
    results = Path(checkout) / "results" / model
    scores = score_file("ovobench", results, annotations / "ovobench" / "ovo_bench_new.json")
    assert scores.official == recorded[model]
    compared("ovobench", len(recorded[model]))


def test_right_answers_in_the_official_words_are_all_right(annotations: Path, tmp_path: Path) -> None:
    path = annotations / "ovobench" / "ovo_bench_new.json"
    rows = tmp_path / "right.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        for sample in OvoBench(path).samples():
            truth = sample.meta["truth"]
            reply = sample.options[sample.target or 0] if sample.meta["groups"]["task"] in ("SSR", "CRR") else truth
            file.write(json.dumps({"id": sample.id, "reply": str(reply)}) + "\n")
    scores = score_file("ovobench", rows, path)
    assert set(scores.official.values()) == {100.0}
    assert scores.strict["accuracy"] == 100.0
    assert scores.count == 3035
