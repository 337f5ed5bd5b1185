"""TempCompass with a handful of questions: the published rules, and the sane score beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.tempcompass import ASPECTS, TempCompass, rate
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError

KINDS = {
    "v1": {"action": "fine-grained action", "direction": "object motion", "speed": "absolute speed"},
    "v2": {"action": "coarse-grained action", "direction": "camera motion", "speed": "relative speed"},
    "v3": {"attribute_change": "color & light change"},
    "v4": {"attribute_change": "size & shape change"},
    "v5": {"attribute_change": "combined change"},
    "v6": {"attribute_change": "other change"},
}
YES_NO = {
    "v1": {aspect: [{"question": f"Is it {aspect}?", "answer": "yes"}] for aspect in ("action", "direction", "speed")},
    "v2": {aspect: [{"question": f"Is it {aspect}?", "answer": "no"}] for aspect in ("action", "direction", "speed")},
    **{f"v{i}": {"attribute_change": [{"question": "Does it grow?", "answer": "yes"}]} for i in (3, 4, 5, 6)},
    "v7": {"order": [{"question": "Is it first?", "answer": "no"}]},
}
CHOICES = {"v1": {"action": [{"question": "What?\nA. runs\nB. walks\nC. sits", "answer": "B. walks"}]}}
CAPTIONS = {
    "v1": {
        "action": [
            {"question": "Which?\nCaption A: He runs.\nCaption B: He walks.", "answer": "Caption B: He walks."},
            {"question": "Which?\nOption 1: He runs.\nOption 2: He walks.", "answer": "Option 1: He runs."},
        ]
    }
}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    there = tmp_path / "tempcompass"
    there.mkdir()
    aspects = {v: {a: {"type": kind} for a, kind in found.items()} for v, found in KINDS.items()}
    write(there / "meta_info.json", {v: {"eval_dim": {a: e.get(a) for a in ASPECTS}} for v, e in aspects.items()})
    write(there / "yes_no.json", YES_NO)
    write(there / "multi-choice.json", CHOICES)
    write(there / "caption_matching.json", CAPTIONS)
    return there


def predicted(questions: dict[str, Any], replies: dict[str, Any] | str, key: str = "prediction") -> dict[str, Any]:
    """The official predictions file: one reply for all, or by video."""
    return {
        v: {
            a: [{**q, key: replies if isinstance(replies, str) else replies[v]} for q in rows]
            for a, rows in aspects.items()
        }
        for v, aspects in questions.items()
    }


def test_samples_have_options_targets_and_published_prompts(folder: Path) -> None:
    bench = TempCompass(folder)
    by_id = {sample.id: sample for sample in bench.samples()}
    choice = by_id["multi-choice/v1/action/0"]
    assert choice.question == "What?\nA. runs\nB. walks\nC. sits\nPlease directly give the best option:"
    assert (choice.options, choice.target) == (("runs", "walks", "sits"), 1)
    assert choice.meta["groups"] == {
        "task": "multi-choice",
        "aspect": "action",
        "fine-grained aspect": "fine-grained action",
    }
    assert Path(choice.media.videos[0]).name == "v1.mp4"
    assert by_id["yes_no/v2/speed/0"].target == 1
    assert by_id["caption_matching/v1/action/1"].options == ("He runs.", "He walks.")
    assert len(TempCompass(data_dir=folder.parent, task="yes_no")) == 11
    assert len(TempCompass(data_dir=folder.parent)) == 14
    assert len(TempCompass(folder / "meta_info.json")) == 14


def test_official_yes_no(folder: Path, tmp_path: Path) -> None:
    replies = dict.fromkeys(YES_NO, "Yes.</s>") | {"v2": "Not at all", "v3": None, "v7": "maybe"}
    path = write(tmp_path / "p.json", predicted(YES_NO, replies))
    scores = score_file("tempcompass", path, folder / "yes_no.json")
    assert scores.official["action"] == 100.0
    assert scores.official["attribute_change"] == 75.0
    assert scores.official["color & light change"] == 0.0
    assert scores.official["order"] == 0.0
    assert scores.official["avg"] == 81.8
    assert scores.official["Match Success Rate"] == 81.8
    assert scores.strict["accuracy"] == pytest.approx(100 * 6 / 11)  # "Not at all" is no sane "no"
    assert scores.coverage == pytest.approx(10 / 11)
    assert scores.chance["accuracy"] == 50.0
    response = write(tmp_path / "r.json", predicted(YES_NO, replies, key="response"))
    assert score_file("tempcompass", response, folder / "yes_no.json").official == scores.official


def test_rows_of_our_own_score_like_the_official_file(folder: Path, tmp_path: Path) -> None:
    official = write(tmp_path / "p.json", predicted(YES_NO, "yes"))
    rows = [{"id": s.id, "reply": "yes"} for s in TempCompass(folder / "yes_no.json").samples()]
    ours = tmp_path / "p.jsonl"
    ours.write_text("\n".join(map(json.dumps, rows)))
    assert score_file("tempcompass", ours, folder) == score_file("tempcompass", official, folder)


def test_an_aspect_without_questions_stops_the_official_scorer(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", predicted(CHOICES, "B"))
    scores = score_file("tempcompass", path, folder / "multi-choice.json")
    assert scores.official == {}
    assert any(note.startswith("the official scorer stops: ZeroDivisionError") for note in scores.notes)
    assert scores.strict["accuracy"] == 100.0
    with pytest.raises(DataError, match="ZeroDivisionError"):
        score_file("tempcompass", path, folder, policy="official")


def test_without_meta_info_there_are_no_fine_aspects(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "deep"
    alone.mkdir(parents=True)
    questions = write(alone / "yes_no.json", YES_NO)
    scores = score_file("tempcompass", write(tmp_path / "p.json", predicted(YES_NO, "no")), questions)
    assert scores.official["avg"] == 36.4
    assert "object motion" not in scores.official
    assert any("meta_info.json" in note for note in scores.notes)


@pytest.mark.parametrize(
    ("reply", "official", "strict"),
    [
        ("B", 1, True),
        ("B. walks", 1, True),
        ("B) walks", 1, True),
        ("B.", 1, True),
        ("A", 0, False),
        ("(B)", None, True),
        ("b", None, True),
        ("walks", None, True),
        ("The answer is B.", None, True),
        ("AB", None, None),
        ("", None, None),
    ],
)
def test_multi_choice_rules(folder: Path, reply: str, official: int | None, strict: bool | None) -> None:
    question = CHOICES["v1"]["action"][0]
    assert rate("multi-choice", {**question, "reply": reply}) == official
    bench = TempCompass(folder / "multi-choice.json")
    option = bench.parse(next(bench.samples()), reply)
    assert (None if option is None else option == 1) == strict


@pytest.mark.parametrize(
    ("number", "reply", "official", "strict"),
    [
        (0, "Caption B: He walks.", 1, 1),
        (0, "Caption B", 1, 1),
        (0, "Caption B.", 1, 1),
        (0, "B", 1, 1),
        (0, "He walks.", 1, 1),
        (0, "(B) He walks.", 1, 1),
        (0, "Caption A", 0, 0),
        (0, "caption b", None, 1),
        (0, "The answer is B", None, 1),
        (0, "Neither", None, None),
        (1, "1", 1, 0),
        (1, "Option 1", 1, 0),
        (1, "2.", 0, 1),
        (1, "He walks.", 0, 1),
        (1, "Option 1 or Option 2", None, None),
    ],
)
def test_caption_rules(folder: Path, number: int, reply: str, official: int | None, strict: int | None) -> None:
    question = CAPTIONS["v1"]["action"][number]
    assert rate("caption_matching", {**question, "reply": reply}) == official
    bench = TempCompass(folder / "caption_matching.json")
    assert bench.parse(list(bench.samples())[number], reply) == strict


def test_captions_are_left_out_and_not_asked(folder: Path, tmp_path: Path) -> None:
    asked = {"question": "Pick one.\nInformation A: {'action': 'runs'}\nGenerated Caption:", "answer": "A. runs"}
    captioning = {"v1": {"action": [{**asked, "prediction": "He runs."}]}}
    one = tmp_path / "one"
    one.mkdir()
    write(one / "yes_no.json", predicted(YES_NO, "yes"))
    alone = score_file("tempcompass", one, folder)
    write(one / "captioning.json", captioning)
    assert score_file("tempcompass", one, folder) == alone
    with pytest.raises(DataError, match="judged by a language model only"):
        list(TempCompass(write(tmp_path / "captioning.json", captioning)).samples())


def test_bad_files(folder: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "p.json", predicted(YES_NO, "yes"))
    with pytest.raises(DataError, match="does not exist"):
        score_file("tempcompass", tmp_path / "none.json", folder)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("tempcompass", write(tmp_path / "e.json", []), folder)
    with pytest.raises(DataError, match="must be an object of videos"):
        score_file("tempcompass", good, write(tmp_path / "list.json", [1]))
    broken = {"v1": {"action": [{"question": "Is it?", "answer": float("nan")}]}}
    with pytest.raises(DataError, match="answer must be text, got nan"):
        score_file("tempcompass", good, write(tmp_path / "nan.json", broken))
    wrong = {"v1": {"action": [{"question": "What?\nA. a\nB. b", "answer": "C. c"}]}}
    with pytest.raises(DataError, match="none of the options"):
        score_file("tempcompass", good, write(tmp_path / "w.json", wrong))
    with pytest.raises(DataError, match="none of the 1 predictions belongs to tempcompass"):
        score_file("tempcompass", write(tmp_path / "u.json", {"x": {"action": [{"prediction": "yes"}]}}), folder)
    with pytest.raises(ConfigError, match="task must be one of"):
        TempCompass(folder, task="captioning")


def test_a_reply_that_is_no_text_stops_the_official_scorer(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", predicted(YES_NO, dict.fromkeys(YES_NO, "yes") | {"v1": float("nan")}))
    scores = score_file("tempcompass", path, folder / "yes_no.json")
    assert scores.official == {}
    assert any("AttributeError" in note for note in scores.notes)
    assert scores.strict["accuracy"] == pytest.approx(100 * 4 / 11)
