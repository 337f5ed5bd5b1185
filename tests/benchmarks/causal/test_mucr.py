"""MuCR: the four levels, shuffled the same way everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.causal.mucr import MuCR
from vidcausal.benchmarks.choice import letter
from vidcausal.errors import ConfigError, DataError


def record(number: int, links: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "caption_0": "a",
        "caption_1": "b",
        "link_id": links,
        "cue": "broken glass",
        "false_cue": ["rain", "a dog", "smoke"],
        "style": "comic",
        "label": "human" if number % 2 else "animal",
        "causal_reason": ["the ball broke the window", "he threw it", "glass breaks"],
        "image_0": f"c{number}.png",
        "image_1": f"e{number}.png",
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows = [record(1, "[2,3,4]"), record(2, [1, 3, 4]), record(3, '["1", "2", "4"]'), record(4, "[1, 2, 3]")]
    path = tmp_path / "mucr.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_pictures_of_four_pairs(records: Path) -> None:
    for level, given, sought in (("effect", "c", "e"), ("cause", "e", "c")):
        for sample in MuCR(records, level=level).samples():
            names = [Path(video).name for video in sample.media.videos]
            assert names[0] == f"{given}{sample.id}.png"
            assert sorted(names[1:]) == [f"{sought}{n}.png" for n in range(1, 5)]
            assert names[1 + (sample.target or 0)] == f"{sought}{sample.id}.png"
            assert sample.options[0] == "second picture"
    assert [s.target for s in MuCR(records).samples()] == [s.target for s in MuCR(records).samples()]


def test_phrases(records: Path) -> None:
    bench = MuCR(records, level="cue")
    samples = list(bench.samples())
    assert all(s.options[s.target or 0] == "broken glass" for s in samples)
    assert len({s.target for s in samples}) > 1
    rows = [{"id": s.id, "reply": letter(s.target or 0)} for s in samples[:3]]
    scores = bench.score(bench.predictions(rows))
    assert scores.strict["accuracy"] == 75.0
    assert scores.strict["by label"] == {"animal": 50.0, "human": 100.0}
    assert scores.official == {}
    assert any("no published scorer" in note for note in scores.notes)


def test_explanations(records: Path) -> None:
    bench = MuCR(records, level="explanation")
    rows = [
        {"id": "1", "reply": "The ball broke the window."},
        {"id": "2", "reply": "glass"},
        {"id": "3", "reply": "..."},
    ]
    scores = bench.score(bench.predictions(rows))
    assert 25.0 < scores.strict["rouge_l"] < 50.0
    assert scores.unparsed == pytest.approx(1 / 3)
    assert scores.coverage == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"link_id": "[9]"}, "names '9', which is no record"),
        ({"link_id": float("nan")}, "link_id must be a list"),
        ({"link_id": [1, 1, 1, 1]}, "at most three"),
        ({"image_0": None}, "image_0 must be a text"),
    ],
)
def test_bad_records(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "mucr.jsonl"
    path.write_text(json.dumps(record(1, [1]) | change) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(MuCR(path).samples())


def test_bad_files(tmp_path: Path, records: Path) -> None:
    for content in ("", "[]", "3", '[{"id": 1}]', "{nope"):
        path = tmp_path / "bad.jsonl"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError):
            list(MuCR(path).samples())
    with pytest.raises(DataError):
        list(MuCR(tmp_path / "none.jsonl").samples())
    with pytest.raises(ConfigError, match="level must be one of"):
        MuCR(records, level="C2E")
