"""VQA-Causal and VCR-Causal: direction of connectives, tables of the published scripts, the sane score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidcausal.benchmarks.causal.vcr_causal import VCRCausal
from vidcausal.benchmarks.causal.vqa_causal import BACKWARD, FORWARD, VQACausal, connected, sentence_position
from vidcausal.benchmarks.choice import letter
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "vqa_causal.csv"
    path.write_text(
        "image_id,sentence,reverse_sentence\n"
        "42,The cup fell is due to the cat jumped.,The cat jumped is due to the cup fell.\n"
        "42,The floor is wet is caused by the cup fell.,The cup fell is caused by the floor is wet.\n"
        "7,The lights are due to cars.,The cars is due to the lights.\n",
        encoding="utf-8",
    )
    return path


def scores_of(table: Path, text: str, name: str = "scores.csv") -> Path:
    path = table.parent / name
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_twelve_connectives_five_of_them_forward() -> None:
    assert (len(BACKWARD), len(FORWARD)) == (7, 5)
    assert connected("It rains is due to clouds, is caused by wind.", "cause") == "It rains cause clouds, cause wind."
    assert connected("It rains is due to clouds.", "original") == "It rains is due to clouds."


def test_half_of_the_sentences_come_first() -> None:
    places = [sentence_position(number) for number in range(2000)]
    assert 900 < sum(places) < 1100
    assert places == [sentence_position(number) for number in range(2000)]


def test_the_reverse_is_right_with_a_forward_connective(table: Path) -> None:
    for connective in ("original", *BACKWARD):
        for sample in VQACausal(table, connective=connective).samples():
            assert sample.target == sample.meta["sentence"]
            assert sample.meta["groups"] == {"direction": "effect to cause"}
    for connective in FORWARD:
        first, second, third = VQACausal(table, connective=connective).samples()
        for sample in (first, second):
            assert sample.target == 1 - sample.meta["sentence"]
            assert sample.meta["groups"] == {"direction": "cause to effect"}
        assert third.target is None  # only its reverse has words to replace: both would be true
    first = next(VQACausal(table, connective="lead to").samples())
    assert first.options[first.meta["sentence"]] == "The cup fell lead to the cat jumped."


def test_pictures_are_found_by_their_number(table: Path) -> None:
    (table.parent / "images").mkdir()
    there = table.parent / "images" / "COCO_val2014_000000000007.jpg"
    there.write_bytes(b"x")
    first, _, third = VQACausal(table).samples()
    assert Path(first.media.videos[0]) == table.parent / "COCO_val2014_000000000042.jpg"
    assert Path(third.media.videos[0]) == there


def test_similarities_as_published_a_tie_is_right(table: Path) -> None:
    path = scores_of(table, "image_id,score,reverse_score,max_id\n42,0.3,0.3,0\n42,0.2,0.4,1\n7,0.5,0.1,0\n")
    scores = score_file("vqa_causal", path, table)
    assert scores.official == {"total": 3, "max_id 0": 2 / 3, "max_id 1": 1 / 3}
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.unparsed == pytest.approx(1 / 3)
    assert scores.scored is not None
    assert scores.scored["accuracy"] == pytest.approx(100 / 3)


def test_raw_and_direction_aware_differ_with_a_forward_connective(table: Path) -> None:
    bench = VQACausal(table, connective="cause")
    path = scores_of(table, "image_id,score,reverse_score\n42,0.9,0.3\n42,0.9,0.4\n7,0.5,0.1\n")
    scores = bench.score(bench.predictions(bench.read_submission(path).rows))
    assert scores.official["max_id 0"] == 1.0
    assert scores.strict["accuracy"] == 0.0
    assert scores.count == 2


def test_yes_and_no_as_published(table: Path) -> None:
    path = scores_of(
        table,
        "image_id,score_yes,score_no,score_yes_reverse,score_no_reverse\n"
        "42,0.8,0.1,0.6,0.3\n"  # yes, and more so than for the reverse
        "42,0.3,0.6,0.1,0.7\n"  # no, but less so than for the reverse
        "7,0.5,0.5,0.1,0.9\n",  # neither
    )
    scores = score_file("vqa_causal", path, table)
    assert scores.official == {
        "Total entries": 3,
        "Entries meeting condition": 2,
        "Percentage meeting condition": 66.67,
    }


def test_missing_rows_shrink_the_official_denominator(table: Path) -> None:
    scores = score_file("vqa_causal", scores_of(table, "image_id,score,reverse_score\n7,0.5,0.1\n"), table)
    assert scores.official["max_id 0"] == 1.0
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert scores.coverage == pytest.approx(1 / 3)


def test_replies_of_a_chat_model(table: Path) -> None:
    samples = list(VQACausal(table).samples())
    rows = [{"id": s.id, "reply": letter(s.target if s.id != "1" else 1 - s.target)} for s in samples]
    path = table.parent / "p.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    scores = score_file("vqa_causal", path, table)
    assert scores.official["max_id 0"] == pytest.approx(2 / 3)
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)
    assert scores.chance["accuracy"] == 50.0


def test_vcr_names_pictures_by_path(tmp_path: Path) -> None:
    path = tmp_path / "vcr_causal.csv"
    path.write_text(
        "movie,image_id,sentence,reverse_sentence\nm,m/1@0.jpg,A is due to B.,B is due to A.\n", encoding="utf-8"
    )
    (sample,) = VCRCausal(path).samples()
    assert Path(sample.media.videos[0]) == tmp_path / "m/1@0.jpg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no column"),
        ("a,b\n1,2\n", "no column image_id"),
        ("image_id,sentence,reverse_sentence\n", "holds no question"),
        ("image_id,sentence,reverse_sentence\nNaN,a,b\n", "image_id must be a number"),
        ("image_id,sentence,reverse_sentence\n7,a\n", "no value for reverse_sentence"),
    ],
)
def test_bad_annotations(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vqa_causal.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(VQACausal(path).samples())


def test_bad_scores(table: Path) -> None:
    with pytest.raises(DataError):
        score_file("vqa_causal", table.parent / "none.csv", table)
    with pytest.raises(DataError, match="needs the columns score and reverse_score"):
        score_file("vqa_causal", scores_of(table, "image_id,score\n7,1\n"), table)
    with pytest.raises(DataError, match="must be a number, got 'high'"):
        score_file("vqa_causal", scores_of(table, "image_id,score,reverse_score\n7,high,1\n"), table)
    with pytest.raises(DataError, match="holds no scores"):
        score_file("vqa_causal", scores_of(table, "image_id,score,reverse_score\n"), table)
    with pytest.raises(DataError, match="none of the 1 predictions belongs to vqa_causal"):
        score_file("vqa_causal", scores_of(table, "image_id,score,reverse_score\n9,1,0\n"), table)
    with pytest.raises(ConfigError, match="connective must be one of"):
        VQACausal(table, connective="implies")
    unknown = score_file("vqa_causal", scores_of(table, "image_id,score,reverse_score\n7,1,0\n7,0,1\n"), table)
    assert unknown.official["total"] == 2
    assert any("unknown id" in note for note in unknown.notes)
