from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.score_file import score_file
from vidcausal.benchmarks.text.cladder import CLadder, parse_official
from vidcausal.benchmarks.text.cold import COLD
from vidcausal.benchmarks.text.ecare import ECARE
from vidcausal.errors import DataError


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


# ---- e-CARE ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ecare(tmp_path: Path) -> Path:
    rows = [
        {
            "index": f"dev-{n}",
            "premise": f"p{n}",
            "ask-for": ask,
            "hypothesis1": "x",
            "hypothesis2": "y",
            "label": label,
        }
        for n, (ask, label) in enumerate([("cause", 0), ("effect", 1), ("cause", 1), ("effect", 0)])
    ]
    return write(tmp_path / "dev.jsonl", "\n".join(map(json.dumps, rows)))


def test_ecare_official_submission_divides_by_the_file(ecare: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "prediction.json", {"dev-0": 0, "dev-1": True, "dev-2": "1"})
    scores = score_file("ecare", path, ecare)
    assert scores.official == {"accuracy": 0.5}  # true equals 1, "1" does not
    assert scores.strict["accuracy"] == 50.0
    assert scores.strict["by asks for"] == {"cause": 50.0, "effect": 50.0}


def test_ecare_unknown_index_stops_the_script(ecare: Path, tmp_path: Path) -> None:
    scores = score_file("ecare", write(tmp_path / "p.json", {"dev-0": 0, "train-7": 1}), ecare)
    assert scores.official == {}
    assert any("KeyError, 'train-7'" in note for note in scores.notes)
    assert scores.strict["accuracy"] == 25.0


def test_ecare_replies_in_words(ecare: Path, tmp_path: Path) -> None:
    rows = [
        {"id": "dev-0", "reply": "A. x"},
        {"id": "dev-1", "reply": "The answer is (A)"},
        {"id": "dev-2", "reply": "?"},
    ]
    scores = score_file("ecare", write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, rows))), ecare)
    assert scores.official == {"accuracy": 0.25}
    assert scores.unparsed == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "one JSON object a line"),
        ('{"index": "dev-0", "premise": NaN, "ask-for": "cause", "hypothesis1": "x", "hypothesis2": "y"}', "premise"),
        ('{"index": "d", "premise": "p", "ask-for": "why", "hypothesis1": "x", "hypothesis2": "y"}', "cause or effect"),
        (
            '{"index": "d", "premise": "p", "ask-for": "cause", "hypothesis1": "x", "hypothesis2": "y", "label": 2}',
            "0 or 1",
        ),
        ("", "no question"),
    ],
)
def test_wrong_ecare_files(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(ECARE(write(tmp_path / "dev.jsonl", content)).samples())


def test_empty_ecare_submission(ecare: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prediction"):
        score_file("ecare", write(tmp_path / "p.json", "{}"), ecare)


# ---- CLadder --------------------------------------------------------------------------------------------------


@pytest.fixture
def cladder(tmp_path: Path) -> Path:
    rows = [
        {
            "question_id": n,
            "given_info": "30% of husbands set the alarm. ",
            "question": "Is it likely?",
            "answer": answer,
            "meta": {"query_type": "ate" if rung == 2 else "ett", "rung": rung, "graph_id": "chain", "model_id": n % 2},
        }
        for n, (answer, rung) in enumerate([("yes", 2), ("no", 2), ("yes", 3)], start=1)
    ]
    return write(tmp_path / "test-generate-easy.json", rows)


@pytest.mark.parametrize(
    ("reply", "norm"),
    [
        ("Yes, because", 1),
        ('"No"', 0),
        ("Not necessarily", 0),
        ("None", 0),
        ("None of these", -1),
        ("neither one", -1),
        ("As a language model", -1),
        ("The answer is yes", -1),
        ("yesterday", 1),
    ],
)
def test_cladder_reads_the_beginning_only(reply: str, norm: int) -> None:
    assert parse_official(reply) == norm


def test_cladder_scores_and_groups(cladder: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "out.csv", 'question_id,pred\n1,"Yes, so"\n2,Nothing\n3,"The answer is yes"\n')
    scores = score_file("cladder", table, cladder)
    assert scores.official == {
        "score": 66.67,
        "query_type": {"ate": 100.0, "ett": 0.0},
        "rung": {"2": 100.0, "3": 0.0},
        "phenomenon": {"chain": 66.67},
    }
    assert scores.strict["accuracy"] == pytest.approx(200 / 3)  # "Nothing" is no answer, "The answer is yes" is one


def test_cladder_background_comes_from_the_models_file(cladder: Path, tmp_path: Path) -> None:
    assert next(CLadder(cladder).samples()).question.startswith("30% of husbands set the alarm. Is it likely?\n\nStart")
    models = [{"model_id": 0, "background": "B0."}, {"model_id": 1, "background": "B1.", "nonsense": True}]
    write(tmp_path / "test-model-meta.json", models)
    first, second, _ = CLadder(cladder).samples()
    assert first.question.startswith("B1. 30% of husbands")
    assert (first.meta["groups"]["sensical"], second.meta["groups"]["sensical"]) == (0, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("{}", "list"),
        ("[7]", "given_info"),
        ('[{"given_info": "", "question": "q", "answer": NaN}]', "yes or no"),
    ],
)
def test_wrong_cladder_files(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(CLadder(write(tmp_path / "x.json", content)).samples())


# ---- COLD -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    folder = tmp_path / "cold"
    folder.mkdir()
    header = "Unnamed: 0,premise,choice1,choice2,label,question\n"
    write(folder / "baking a cake.csv", f'{header}17,bake.,eat.,"mix, stir.",1,cause\n18,mix.,pour.,buy.,0,effect\n')
    write(folder / "planting a tree.csv", f"{header}17,dig.,plant.,buy seeds.,0,effect\n")
    return folder


def result(prompt: str, right: str, token: str, a: float, b: float) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "correct_choice": right,
        "generated_argmax_token": token,
        "choice_A_logit_value": a,
        "choice_B_logit_value": b,
    }


def test_cold_published_results(cold: Path, tmp_path: Path) -> None:
    second = COLD(cold, template=2)
    samples = list(second.samples())
    assert [s.id for s in samples] == ["baking a cake/17", "baking a cake/18", "planting a tree/17"]
    assert samples[0].question == (
        "Consider the activity of 'baking a cake'. Which of the following events (given as options A or B) is a "
        "plausible cause of the event 'bake.'?\nA. eat.\nB. mix, stir.\nAnswer:"
    )
    rows = [
        result(samples[0].question, "B", " B", 1.0, 1.0),  # a tie is B
        result(samples[1].question, "A", "The", 0.0, 2.0),  # neither: half a point
        result(samples[2].question, "A", " BA", 3.0, 2.0),  # an A anywhere comes first
    ]
    path = write(tmp_path / "evaluated.json", {str(n): row for n, row in enumerate(rows, start=1)})
    scores = score_file("cold", path, cold)
    official = dict(scores.official)
    assert set(official.pop("activities")) == {"baking a cake", "planting a tree"}
    assert official == {
        "total": 3,
        "correct_argmax_based_count": 2,
        "no_option_in_argmax_count": 1,
        "correct_logit_based_count": 2,
        "accuracy": 2 / 3,
        "success_rate": 2.5 / 3,
        "total_per_class": {"B": 1, "A": 2},
        "correct_per_class": {"B": 1, "A": 1},
        "accuracy_per_class": {"B": 1.0, "A": 0.5},
    }
    assert scores.scored is not None
    assert scores.scored["accuracy"] == pytest.approx(200 / 3)


def test_cold_replies_in_words_have_no_official_score(cold: Path, tmp_path: Path) -> None:
    rows = [{"id": "baking a cake/17", "reply": "B. mix, stir."}, {"id": "baking a cake/18", "reply": "Answer: B"}]
    scores = score_file("cold", write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, rows))), cold)
    assert scores.official == {}
    assert scores.strict["by activity"] == {"baking a cake": 50.0, "planting a tree": 0.0}
    assert any("logits" in note for note in scores.notes)


def test_cold_bad_rows_are_named(cold: Path, tmp_path: Path) -> None:
    good = result(next(COLD(cold).samples()).question, "B", " B", 0.0, 1.0)
    bad = [{**good, "choice_A_logit_value": "high"}, {**good, "correct_choice": "C"}]
    scores = score_file("cold", write(tmp_path / "p.json", [*bad, good]), cold, policy="strict")
    assert scores.strict["accuracy"] == pytest.approx(100 / 3)
    assert any("2 malformed" in note for note in scores.notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "columns"),
        ("premise,choice1,choice2,label,question\na,b,c,nan,cause\n", "label"),
        ("premise,choice1,choice2,label,question\na,b,c,0,why\n", "cause or an effect"),
        ("premise,choice1,choice2,label,question\na,b,c,0\n", "columns are needed"),
        ("[]", "columns"),
        ("premise,choice1,choice2,label,question\n", "no question"),
    ],
)
def test_wrong_cold_files(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        list(COLD(write(tmp_path / "x.csv", content)).samples())


def test_cold_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list(COLD(tmp_path / "x.csv").samples())
    with pytest.raises(DataError, match=r"no \.csv"):
        list(COLD(tmp_path).samples())
    with pytest.raises(DataError, match="1 to 5"):
        COLD(template=6)
