"""What ``score_file`` says of bad files, on a small multiple-choice benchmark."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks import score_file as module
from vidcausal.benchmarks.choice import ChoiceBenchmark
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError
from vidcausal.types import Prediction, Sample


class Small(ChoiceBenchmark):
    """A csv of id, video, question and three options; the official score is the share of rows that say the letter."""

    name = "small"
    files = ("small.csv",)
    source = "nowhere"
    groupings = ("type",)

    def load(self, path: Path) -> Iterable[Sample[int]]:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield Sample(
                    row["id"],
                    "ask",
                    row["question"],
                    self.media(row["video"]),
                    target=int(row["right"]),
                    options=(row["a"], row["b"], row["c"]),
                    meta={"video": row["video"], "groups": {"type": row["type"]}},
                )

    def official(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        hits = [p.reply == "ABC"[p.sample.target or 0] for p in predictions]
        return {"acc": sum(hits) / len(hits), "worst": float("nan")}


@pytest.fixture
def annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "create_benchmark", lambda name, **given: Small(**given))
    file = tmp_path / "small.csv"
    lines = [f"{n},v{n // 2},why?,{n % 3},{'ab'[n % 2]},x,y,z" for n in range(6)]
    file.write_text("\n".join(["id,video,question,right,type,a,b,c", *lines]) + "\n")
    return file


def write(tmp_path: Path, *lines: Any) -> Path:
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def test_two_policies_with_their_denominators(tmp_path: Path, annotations: Path) -> None:
    rows = [{"id": str(n), "reply": "ABC"[n % 3]} for n in range(4)]
    scores = score_file("small", write(tmp_path, *rows), annotations)
    assert scores.official["acc"] == 1.0
    assert scores.strict["accuracy"] == pytest.approx(100 * 4 / 6)
    assert scores.coverage == pytest.approx(4 / 6)
    assert scores.strict["by type"] == {"a": pytest.approx(200 / 3), "b": pytest.approx(200 / 3)}


def test_malformed_lines_unknown_ids_and_duplicates_are_told(tmp_path: Path, annotations: Path) -> None:
    file = write(
        tmp_path,
        {"id": "0", "reply": "A"},
        '{"id": "1", "reply"',
        {"id": "99", "reply": "A"},
        {"id": "0", "reply": "B"},
        [1, 2],
    )
    scores = score_file("small", file, annotations)
    said = "\n".join(scores.notes)
    assert "line 2: not JSON" in said
    assert "line 5: a row must be an object" in said
    assert "unknown id" in said
    assert "repeat an id" in said
    assert scores.official == {}, "the official scorer dies on a line that is not JSON"
    assert scores.strict["accuracy"] == 0.0, "the last answer to question 0 is wrong"
    with pytest.raises(DataError, match="the official scorer stops: 2 malformed lines"):
        score_file("small", file, annotations, "official")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_told(tmp_path: Path, annotations: Path, number: str) -> None:
    file = write(tmp_path, '{"id": "0", "reply": "A"}', f'{{"id": "1", "reply": "B", "spans": [[0.5, {number}]]}}')
    notes = score_file("small", file, annotations).notes
    assert any("1 predictions hold a number that is NaN or infinite ('1')" in note for note in notes)
    words = write(tmp_path, {"id": "0", "reply": "NaN is not a number, 1e999 is too large"})
    assert not any("infinite" in note for note in score_file("small", words, annotations).notes)


def test_nan_as_an_option_is_no_answer(tmp_path: Path, annotations: Path) -> None:
    file = write(tmp_path, '{"id": "0", "reply": "A", "option": NaN}', {"id": "1", "reply": "B", "option": 1})
    scores = score_file("small", file, annotations)
    assert scores.scored is not None
    assert scores.scored["accuracy"] == pytest.approx(100 / 6)


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "3", "null", "not json"])
def test_a_file_without_predictions(tmp_path: Path, annotations: Path, content: str) -> None:
    for name in ("predictions.jsonl", "predictions.json"):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            score_file("small", tmp_path / name, annotations)
    with pytest.raises(DataError, match="does not exist"):
        score_file("small", tmp_path / "absent.jsonl", annotations)


def test_predictions_of_another_benchmark_are_recognized(tmp_path: Path, annotations: Path) -> None:
    file = write(tmp_path, {"qid": 2579, "query": "q", "vid": "v", "pred_relevant_windows": [[0, 2, 0.9]]})
    with pytest.raises(DataError, match=r"predictions\.jsonl looks like a QVHighlights file .*predictions of"):
        score_file("small", file, annotations)


def test_annotations_of_another_benchmark_are_recognized(tmp_path: Path, annotations: Path) -> None:
    other = tmp_path / "val.csv"
    other.write_text("video,question,answer,qid,type,a0,a1,a2,a3,a4\n1,q,0,3,CW,a,b,c,d,e\n")
    file = write(tmp_path, {"id": "0", "reply": "A"})
    with pytest.raises(DataError, match=r"not a file of small .*val\.csv looks like a NExT-QA file") as caught:
        score_file("small", file, other)
    assert str(caught.value).count("looks like") == 1


@pytest.mark.parametrize(
    "content", [b"", b"id\n0\n", b"\xff\xfe\x00\x01", b"id,video,question,right,type,a,b,c\n0,v,?,x,t,1,2,3\n"]
)
def test_annotations_that_cannot_be_used(tmp_path: Path, annotations: Path, content: bytes) -> None:
    annotations.write_bytes(content)
    with pytest.raises(DataError, match=r"small\.csv"):
        score_file("small", write(tmp_path, {"id": "0", "reply": "A"}), annotations)
    with pytest.raises(DataError):
        score_file("small", write(tmp_path, {"id": "0", "reply": "A"}), tmp_path / "absent.csv")


def test_an_unknown_policy(tmp_path: Path, annotations: Path) -> None:
    with pytest.raises(ConfigError, match="both, official, strict"):
        score_file("small", write(tmp_path, {"id": "0", "reply": "A"}), annotations, "lenient")
