"""BBH causal judgement: Codex' released outputs, answer-only and reasoned, against what was recorded from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.rows import read_json
from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.text.bbh import parse_official

pytestmark = [pytest.mark.golden, pytest.mark.data]

NAME = "bbh_causal_judgement"


@pytest.mark.parametrize("kind", ["direct", "cot"])
def test_released_outputs_score_as_recorded(
    kind: str, annotations: Path, golden: Callable[[str], Any], compared: Callable[..., None]
) -> None:
    wanted = golden(NAME)["codex"][kind]
    outputs = annotations / "bbh" / f"codex_{kind}_causal_judgement.json"
    scores = score_file(NAME, outputs, annotations / "bbh" / "causal_judgement.json")
    assert scores.official["accuracy"] == wanted["accuracy"]
    assert scores.official["n"] == wanted["n"]
    assert scores.coverage == 1.0  # every output found its question
    compared(NAME, 2)


@pytest.mark.parametrize("kind", ["direct", "cot"])
def test_every_reply_is_read_as_recorded(
    kind: str, annotations: Path, golden: Callable[[str], Any], compared: Callable[..., None]
) -> None:
    wanted = golden(NAME)["codex"][kind]["rows"]
    outputs = read_json(annotations / "bbh" / f"codex_{kind}_causal_judgement.json")["outputs"]
    read = [parse_official(row["prediction"]) for row in outputs]
    assert [answer if answer in ("Yes", "No") else None for answer in read] == [row["pred"] for row in wanted]
    assert [row["target"] for row in outputs] == [row["target"] for row in wanted]
    compared(NAME, len(wanted))


def test_rows_in_the_order_of_the_file_need_no_input(
    annotations: Path, golden: Callable[[str], Any], tmp_path: Path
) -> None:
    import json

    rows = golden(NAME)["codex"]["direct"]["rows"]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    scores = score_file(NAME, path, annotations / "bbh" / "causal_judgement.json")
    assert scores.official["accuracy"] == 63.64
    assert scores.strict["accuracy"] == pytest.approx(100 * 119 / 187)
