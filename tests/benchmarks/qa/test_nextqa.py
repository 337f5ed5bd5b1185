"""NExT-QA and IntentQA: the tables as published, the official score with its quirks, the sane score beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.nextqa import NextQA
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError

TYPES = ("CW", "CH", "TN", "TP", "TC", "DC", "DL", "DO")
COLUMNS = ("video", "frame_count", "width", "height", "question", "answer", "qid", "type", "a0", "a1", "a2", "a3", "a4")
OPTIONS = ("sits down", "a dog, barking", "three", "in the kitchen", "to reach it")


def table(path: Path, types: tuple[str, ...] = TYPES, video: str = "video") -> Path:
    """One question of each type; the right answer of question i is i modulo 5."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([video if column == "video" else column for column in COLUMNS])
        for number, kind in enumerate(types):
            writer.writerow((4010 + number // 2, 300, 640, 480, f"why {number}", number % 5, number, kind, *OPTIONS))
    return path


def ids(types: tuple[str, ...] = TYPES) -> list[str]:
    return [f"{4010 + number // 2}_{number}" for number in range(len(types))]


def results(path: Path, right: set[int], types: tuple[str, ...] = TYPES, **changes: Any) -> Path:
    """A result file in the official form, right in the questions of these numbers."""
    entries = {
        identity: {"prediction": number % 5 if number in right else (number + 1) % 5, "answer": number % 5}
        for number, identity in enumerate(ids(types))
    }
    path.write_text(json.dumps(entries | changes), encoding="utf-8")
    return path


def test_questions_as_published(tmp_path: Path) -> None:
    (tmp_path / "4010.mp4").write_bytes(b"")
    samples = list(NextQA(table(tmp_path / "val.csv")).samples())
    assert [sample.id for sample in samples] == ids()
    first = samples[0]
    assert first.task == "ask"
    assert first.options == OPTIONS
    assert first.target == 0
    assert first.question == (
        "why 0\nA. sits down\nB. a dog, barking\nC. three\nD. in the kitchen\nE. to reach it\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert first.meta["groups"] == {"type": "Why", "family": "Acc_C"}
    assert first.media.videos == (str(tmp_path / "4010.mp4"),)
    assert samples[3].meta["groups"] == {"type": "Bef&Aft", "family": "Acc_T"}
    assert len(NextQA(tmp_path / "val.csv").missing_videos()) == 3


def test_videos_in_the_folders_of_the_official_download(tmp_path: Path) -> None:
    (tmp_path / "map_vid_vidorID.json").write_text('{"4010": "1164/4010", "4011": "0001/4011"}', encoding="utf-8")
    video = tmp_path / "NExTVideo" / "1164" / "4010.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"")
    bench = NextQA(table(tmp_path / "val.csv"), video_root=tmp_path / "NExTVideo")
    samples = list(bench.samples())
    assert samples[0].media.videos == (str(video),)
    assert samples[2].media.videos == (str(tmp_path / "NExTVideo" / "4011.mp4"),)


def test_official_headings_merge_previous_into_next(tmp_path: Path) -> None:
    # Right: CW (0), TN (2), DC (5); wrong: CH, TP, TC, DL, DO.
    scores = score_file("nextqa", results(tmp_path / "r.json", {0, 2, 5}), table(tmp_path / "val.csv"))
    assert scores.official == {
        "Why": 100.0,
        "How": 0.0,
        "Bef&Aft": 50.0,
        "When": 0.0,
        "Cnt": 100.0,
        "Loc": 0.0,
        "Other": 0.0,
        "Acc_C": 50.0,
        "Acc_T": 33.33,
        "Acc_D": 33.33,
        "Acc": 37.5,
    }
    assert scores.strict["accuracy"] == 37.5
    assert scores.strict["by type"]["Bef&Aft"] == 50.0
    assert scores.chance["accuracy"] == pytest.approx(20.0)
    assert scores.strict["positions"]["right"] == {"A": 2, "B": 2, "C": 2, "D": 1, "E": 1}


def test_the_answer_of_the_result_file_counts_under_official(tmp_path: Path) -> None:
    changed = {ids()[0]: {"prediction": 4, "answer": 4}, ids()[1]: {"prediction": None, "answer": None}}
    path = results(tmp_path / "r.json", set(), **changed)
    scores = score_file("nextqa", path, table(tmp_path / "val.csv"))
    assert scores.official["Acc"] == 25.0
    assert scores.strict["accuracy"] == 0.0
    assert any("2 predictions carry another answer" in note for note in scores.notes)


def test_official_compares_what_stands_there(tmp_path: Path) -> None:
    entry = {"prediction": "0", "answer": 0}
    scores = score_file("nextqa", results(tmp_path / "r.json", set(), **{ids()[0]: entry}), table(tmp_path / "val.csv"))
    assert scores.official["Why"] == 0.0
    assert scores.strict["by type"]["Why"] == 100.0


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "KeyError '4010_0' (no prediction of this question)"),
        ({"prediction": 1}, "KeyError 'answer'"),
        ({"answer": 1}, "KeyError 'prediction'"),
        (3, "TypeError"),
    ],
)
def test_where_the_official_scorer_stops(tmp_path: Path, entry: Any, reason: str) -> None:
    path = results(tmp_path / "r.json", {0, 1, 2, 3})
    entries = json.loads(path.read_text())
    if entry is None:
        del entries[ids()[0]]
    else:
        entries[ids()[0]] = entry
    path.write_text(json.dumps(entries), encoding="utf-8")
    scores = score_file("nextqa", path, table(tmp_path / "val.csv"))
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: ") and reason in note for note in scores.notes)
    assert scores.strict["accuracy"] == 37.5
    with pytest.raises(DataError, match="official scorer stops"):
        score_file("nextqa", path, table(tmp_path / "val.csv"), "official")


def test_a_set_without_a_type_divides_by_zero(tmp_path: Path) -> None:
    types = ("CW", "CH", "TN")
    scores = score_file(
        "nextqa", results(tmp_path / "r.json", {0}, types), table(tmp_path / "val.csv", types), policy="both"
    )
    assert scores.official == {}
    assert "the official scorer stops: ZeroDivisionError: no question of type When" in scores.notes


def test_intentqa_leaves_empty_types_and_unknown_types_out(tmp_path: Path) -> None:
    types = ("CW", "CH", "TP", "XX")
    annotations = table(tmp_path / "val.csv", types, video="video_id")
    scores = score_file("intentqa", results(tmp_path / "r.json", {0, 2, 3}, types), annotations)
    assert scores.official == {
        "Why": 100.0,
        "How": 0.0,
        "Bef&Aft": 100.0,
        "Acc_C": 50.0,
        "Acc_T": 100.0,
        "Acc": 66.67,
    }
    assert scores.strict["accuracy"] == 75.0
    assert scores.count == 4


def test_replies_in_words_and_options_by_likelihood(tmp_path: Path) -> None:
    rows = [
        {"id": identity, "reply": f"The answer is ({'ABCDE'[n % 5]}).", "option": 0} for n, identity in enumerate(ids())
    ]
    rows[1]["reply"] = "I cannot tell."
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scores = score_file("nextqa", path, table(tmp_path / "val.csv"))
    assert scores.official["Acc"] == scores.strict["accuracy"] == 87.5
    assert scores.unparsed == 0.125
    assert scores.scored is not None
    assert scores.scored["accuracy"] == 25.0
    assert any("exact_match 0.8750 over the 8 replies, with the 1 that" in note for note in scores.notes)


def test_bad_lines_and_unknown_ids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "4010_0", "reply": "A"}\n{"id": \n{"id": "nobody", "reply": "B"}\n', encoding="utf-8")
    scores = score_file("nextqa", path, table(tmp_path / "val.csv"))
    assert scores.official == {}
    assert scores.strict["accuracy"] == 12.5
    assert any("line 2: not JSON" in note for note in scores.notes)
    assert any("1 predictions have an unknown id" in note for note in scores.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column video"),
        ("video,question\n1,why\n", "has no column answer"),
        ("[1, 2]", "has no column"),
        (",".join(COLUMNS) + "\n", "holds no question"),
        (",".join(COLUMNS) + "\n1,2,3,4,why,NaN,0,CW,a,b,c,d,e\n", "line 2: the answer must be a whole number from 0"),
        (",".join(COLUMNS) + "\n1,2,3,4,why,5,0,CW,a,b,c,d,e\n", "from 0 to 4, got '5'"),
        (",".join(COLUMNS) + "\n1,2,3,4,why,1,0,CW,a,b\n", "line 2: no value for a2, a3, a4"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "val.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        len(NextQA(path))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        len(NextQA(tmp_path / "nothing.csv"))
    with pytest.raises(DataError, match=r"needs its questions.*val\.csv"):
        len(NextQA(data_dir=tmp_path))
    table(tmp_path / "val.csv")
    assert len(NextQA(data_dir=tmp_path)) == len(TYPES)


@pytest.mark.parametrize("content", ["", "[]", "{}", '"text"', "3"])
def test_files_without_predictions(tmp_path: Path, content: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("nextqa", path, table(tmp_path / "val.csv"))


def test_predictions_of_another_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "vlep.jsonl"
    path.write_text('{"example_id": 1, "pred_ans": 0}\n', encoding="utf-8")
    with pytest.raises(DataError, match="VLEP"):
        score_file("nextqa", path, table(tmp_path / "val.csv"))


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {0}, **{ids()[1]: {"prediction": float("nan"), "answer": 1}})
    scores = score_file("nextqa", path, table(tmp_path / "val.csv"))
    assert scores.official["Acc"] == 12.5
    assert any("NaN" in note for note in scores.notes)
