"""Two runs sample by sample: the counts, the p-values, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import vidcausal as vc
from vidcausal.errors import ConfigError, DataError, UnknownNameError
from vidcausal.evaluation.compare import Graded, compare, load_graded, values_of
from vidcausal.evaluation.grades import Grade, grade, spans_of
from vidcausal.metrics.statistics import mcnemar, paired_bootstrap
from vidcausal.types import Media, Prediction, Sample, Span


def graded(values: Mapping[str, bool | float | None], name: str = "a", benchmark: str = "b", per: int = 2) -> Graded:
    """A run of questions; booleans are right and wrong, numbers are IoUs; ``per`` questions share a video."""
    grades = {}
    for n, (identity, value) in enumerate(values.items()):
        video = f"v{n // per}"
        if value is None:
            grades[identity] = Grade("ask", video, None, None)
        elif isinstance(value, bool):
            grades[identity] = Grade("ask", video, value, float(value))
        else:
            grades[identity] = Grade("ground", video, value >= 0.5, value)
    return Graded(Path(name), benchmark, grades, dict.fromkeys(values, f"{name} says"), {"model": name})


def answers(bits: str) -> dict[str, bool | float | None]:
    return {f"q{n}": bit == "1" for n, bit in enumerate(bits)}


def test_counts_p_values_and_flips() -> None:
    first, second = "1111100000110010", "1110111110010011"
    found = compare(graded(answers(first)), graded(answers(second), "b"))
    (part,) = found.parts
    assert (part.task, part.figure, part.count) == ("ask", "accuracy", 16)
    pairs = list(zip(first, second, strict=True))
    assert (part.both, part.only_first) == (pairs.count(("1", "1")), pairs.count(("1", "0")))
    assert (part.only_second, part.neither) == (pairs.count(("0", "1")), pairs.count(("0", "0")))
    assert part.first == pytest.approx(100 * first.count("1") / 16)
    assert part.second == pytest.approx(100 * second.count("1") / 16)
    assert part.mcnemar_p == mcnemar(part.only_first or 0, part.only_second or 0)
    expected = paired_bootstrap([*map(int, first)], [*map(int, second)], clusters=[n // 2 for n in range(16)])
    assert part.difference == pytest.approx(100 * expected.difference)
    assert part.interval == pytest.approx((100 * expected.low, 100 * expected.high))
    assert part.bootstrap_p == expected.p_value
    flipped = {flip.id: flip.to for flip in found.flips}
    assert flipped == {f"q{n}": "first" if one == "1" else "second" for n, (one, two) in enumerate(pairs) if one != two}
    assert {flip.first_reply for flip in found.flips} == {"a says"}
    assert {flip.second_reply for flip in found.flips} == {"b says"}


def test_the_other_way_round_is_the_mirror() -> None:
    one, two = graded(answers("110100101")), graded(answers("011101100"), "b")
    there, back = compare(one, two).parts[0], compare(two, one).parts[0]
    assert there.difference == pytest.approx(-back.difference)
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    assert there.mcnemar_p == back.mcnemar_p


def test_a_run_against_itself() -> None:
    part = compare(graded(answers("1100")), graded(answers("1100"), "b")).parts[0]
    assert (part.difference, part.interval) == (0.0, (0.0, 0.0))
    assert part.mcnemar_p == part.bootstrap_p == 1.0


def test_videos_are_drawn_not_questions() -> None:
    """Ten questions about one video that all flip together are one observation."""
    values = (answers("0" * 10 + "1" * 10), answers("1" * 10 + "1" * 10))
    together = compare(graded(values[0], per=10), graded(values[1], "b", per=10)).parts[0]
    alone = compare(graded(values[0], per=1), graded(values[1], "b", per=1)).parts[0]
    width = [part.interval[1] - part.interval[0] for part in (together, alone)]
    assert width[0] > 1.5 * width[1]


def test_moments_are_compared_by_overlap_and_by_half_of_it() -> None:
    one = graded({"m0": 0.6, "m1": 0.2, "q0": True, "q1": False})
    two = graded({"m0": 0.4, "m1": 0.7, "q0": True, "q1": True}, "b")
    found = compare(one, two)
    parts = {part.task: part for part in found.parts}
    assert set(parts) == {"all", "ground", "ask"}
    assert parts["ground"].difference == pytest.approx(100 * ((0.4 + 0.7) / 2 - (0.6 + 0.2) / 2))
    assert (parts["ground"].only_first, parts["ground"].only_second) == (1, 1)
    assert (parts["all"].both, parts["all"].only_first, parts["all"].only_second) == (1, 1, 2)
    assert any("IoU" in note for note in found.notes)


def test_questions_of_one_run_only_are_left_out_and_told() -> None:
    found = compare(graded(answers("1010")), graded({**answers("11"), "else": True}, "b"))
    assert found.parts[0].count == 2
    assert any(note.startswith("2 questions of a") for note in found.notes)
    assert any(note.startswith("1 questions of b") for note in found.notes)


def test_questions_without_right_and_wrong_are_told() -> None:
    found = compare(graded({"q0": True, "open": None}), graded({"q0": False, "open": None}, "b"))
    assert found.parts[0].count == 1
    assert any("no right and wrong" in note for note in found.notes)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="a is a run of b and c one of other"):
        compare(graded(answers("1")), graded(answers("1"), "c", "other"))
    with pytest.raises(DataError, match="no question of b is in both"):
        compare(graded(answers("1")), graded({"else": True}, "c"))


def test_what_was_scored_by_likelihood_is_compared_beside_what_was_said() -> None:
    def answered(*pairs: tuple[bool, bool | None]) -> Graded:
        grades = {f"q{n}": Grade("ask", f"v{n}", said, float(said), scored) for n, (said, scored) in enumerate(pairs)}
        return Graded(Path("run"), "b", grades, {}, {})

    first = answered((False, True), (True, True), (False, False), (True, None))
    second = answered((False, False), (True, True), (True, True), (False, True))
    said, scored = compare(first, second).parts
    assert (said.figure, scored.figure) == ("accuracy", "accuracy, scored by likelihood")
    assert (said.only_first, said.only_second) == (1, 1)
    assert (scored.both, scored.only_first, scored.only_second, scored.neither) == (1, 1, 2, 0)
    assert scored.first == pytest.approx(50.0), "what was not scored is wrong"
    assert values_of(first, "ask", scored.figure)[0] == [1.0, 1.0, 0.0, 0.0]
    assert values_of(first, "ask", said.figure)[0] == [0.0, 1.0, 0.0, 1.0]
    without = compare(first, graded(answers("0101"), "b")).parts
    assert [part.figure for part in without] == ["accuracy"], "a run that scored nothing has nothing to compare"


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.json"
    rows = [
        {
            "id": f"q{n}",
            "task": "ask",
            "videos": ["v.mp4"],
            "question": "?",
            "options": ["x", "y", "z"],
            "answer": n % 3,
        }
        for n in range(6)
    ]
    file.write_text(json.dumps(rows))
    return file


def predictions(folder: Path, letters: str, name: str = "predictions.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("".join(json.dumps({"id": f"q{n}", "reply": a}) + "\n" for n, a in enumerate(letters)))
    return file


def test_files_of_predictions_with_the_benchmark_named(tmp_path: Path, questions: Path) -> None:
    first = predictions(tmp_path, "ABCABC", "first.jsonl")
    second = predictions(tmp_path, "ABBBBB", "second.jsonl")
    found = vc.diff(first, second, benchmark="questions", annotations=questions)
    (part,) = found.parts
    assert (part.both, part.only_first, part.only_second, part.neither) == (3, 3, 0, 0)
    assert [flip.id for flip in found.flips] == ["q2", "q3", "q5"]
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(DataError, match="name the benchmark"):
        vc.diff(first, second)
    with pytest.raises(ConfigError, match="name it too"):
        vc.diff(first, second, annotations=questions)
    with pytest.raises(UnknownNameError):
        vc.diff(first, second, benchmark="question")
    with pytest.raises(DataError, match="does not exist"):
        vc.diff(first, tmp_path / "absent", benchmark="questions", annotations=questions)


def run_folder(folder: Path, values: Mapping[str, Any], **summary: Any) -> Path:
    predictions(folder, "AB")
    rows = {identity: Grade("ask", "v", value, float(value)).to_json() for identity, value in values.items()}
    content = {"benchmark": "questions", "model": "m", "grades": rows, **summary}
    (folder / "report.json").write_text(json.dumps(content))
    return folder


def test_folders_of_runs_and_their_files(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "one", {"q0": True, "q1": False})
    two = run_folder(tmp_path / "two", {"q0": False, "q1": False}, model="n")
    found = vc.diff(one, two)
    assert (found.first["model"], found.second["model"]) == ("m", "n")
    assert [(flip.id, flip.to, flip.first_reply) for flip in found.flips] == [("q0", "first", "A")]
    assert vc.diff(one / "predictions.jsonl", two / "predictions.jsonl").parts == found.parts


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"benchmark": "b"}', '{"benchmark": "b", "grades": {"q": 3}}'])
def test_reports_that_cannot_be_compared(tmp_path: Path, report: str) -> None:
    folder = run_folder(tmp_path / "run", {"q0": True})
    (folder / "report.json").write_text(report)
    with pytest.raises(DataError, match=r"report\.json does not say.*run the same evaluation again"):
        load_graded(folder)
    (folder / "report.json").unlink()
    with pytest.raises(DataError, match="not a run with a report"):
        load_graded(folder)


# ---- grades -----------------------------------------------------------------------------------------------------


class Letters:
    """Right is what says the target's letter."""

    name = "letters"

    def is_right(self, prediction: Prediction[Any]) -> bool | None:
        target = prediction.sample.target
        return (
            None
            if prediction.reply == "?"
            else prediction.reply == ("ABC"[target] if isinstance(target, int) else target)
        )


def graded_one(task: str, target: Any, reply: str = "", error: str | None = None, **extra: Any) -> Grade:
    sample: Sample[Any] = Sample("s", task, "?", Media(("v.mp4",)), target=target)  # type: ignore[arg-type]
    return grade(Letters(), sample, Prediction(sample, reply, error, extra))  # type: ignore[arg-type]


def test_answers_are_right_or_wrong() -> None:
    assert graded_one("ask", 1, "B").right is True
    for wrong in (graded_one("ask", 1, "A"), graded_one("ask", 1, "?"), graded_one("ask", 1, "B", "no_reply")):
        assert (wrong.right, wrong.value) == (False, 0.0)
    sample: Sample[int] = Sample("s", "ask", "?", Media(("v.mp4",)), target=1)
    assert grade(Letters(), sample, None).right is False  # type: ignore[arg-type]


def test_options_and_orders_that_were_scored() -> None:
    def scored(task: str, target: Any, **extra: Any) -> bool | None:
        sample: Sample[Any] = Sample("s", task, "?", Media(("v.mp4",)), target=target, options=("x", "y"))  # type: ignore[arg-type]
        return grade(Letters(), sample, Prediction(sample, "?", None, extra)).scored  # type: ignore[arg-type]

    assert scored("ask", 1, option=1) is True
    assert scored("ask", 1, option=0) is False
    assert scored("ask", "y", option=1) is True
    assert scored("ask", "y", option=0) is False
    assert scored("ask", "Z", option=0) is None, "a target that is no option cannot be compared"
    for nothing in (None, True, float("nan"), "1"):
        assert scored("ask", 1, option=nothing) is None


def test_an_order_that_was_scored() -> None:
    class Orders:
        name = "orders"

        def is_right(self, prediction: Prediction[Any]) -> bool | None:
            return False

    sample: Sample[Any] = Sample("s", "order", "?", Media(("v.mp4",)), target=(2, 1, 3))
    for order, expected in (
        ([2, 1, 3], True),
        (["2", "1", "3"], True),
        ([1, 2, 3], False),
        ([2, 1], None),
        (None, None),
    ):
        found = grade(Orders(), sample, Prediction(sample, "", None, {"order": order}))  # type: ignore[arg-type]
        assert found.scored is expected


@pytest.mark.parametrize(
    "target", [[[2.0, 6.0]], [2.0, 6.0], (Span(2.0, 6.0),), Span(2.0, 6.0), ((2, 6), (20, 30)), [[2.0, 6.0, 1.0]]]
)
def test_moments_in_every_form_of_a_target(target: Any) -> None:
    assert graded_one("ground", target, spans=[[2.0, 4.0, 0.9], [2.0, 6.0, 0.1]]).value == pytest.approx(0.5)
    assert graded_one("ground", target, "from 2.0 to 5.0 s").value == pytest.approx(0.75)
    assert graded_one("ground", target, "I see nothing").value == 0.0
    assert graded_one("ground", target, spans=[[float("nan"), 4.0]]).right is False
    assert graded_one("ground", target, spans=[[6.0, 2.0]]).value == 0.0


def test_events_have_a_figure_and_no_right_and_wrong() -> None:
    found = graded_one("events", [[0.0, 2.0], [3.0, 5.0]], "0.0 - 2.0: a\n7.0 - 8.0: b")
    assert (found.right, found.value) == (None, pytest.approx(0.5))
    assert graded_one("events", [], "0.0 - 2.0: a") == Grade("events", "v.mp4", None, None)


def test_spans_of_what_is_no_span() -> None:
    for value in (None, 3, "text", [], [[]], [[1]], [["a", "b"]], {"start": 1}, [True, False], [1.0, 2.0, 3.0, 4.0]):
        assert spans_of(value) == []


def test_a_grade_survives_json() -> None:
    for one in (Grade("ask", "v", True, 1.0), Grade("events", "v", None, 0.25), Grade("ask", "v", None, None)):
        assert Grade.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert [field.name for field in dataclasses.fields(Grade)] == list(Grade("a", "v", None, None).to_json())
