from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

import vidcausal as vc
from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.errors import (
    ConfigError,
    MissingMediaError,
    ModelError,
    NoClipsError,
    UnknownNameError,
    UnreadableMediaError,
)
from vidcausal.evaluation import build
from vidcausal.models.scripted import Scripted
from vidcausal.types import EventRecord, Recognition, Span


@pytest.fixture(scope="module")
def clips(
    tmp_path_factory: pytest.TempPathFactory, write_gray_video: Callable[[Path, Iterable[int]], Path]
) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [write_gray_video(folder / f"{k}.mp4", range(40 + 60 * k, 60 + 60 * k, 2)) for k in range(3)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))


class Brightness:
    """Recognizes how bright each clip is, and how often it was asked."""

    name = "brightness"
    fingerprint = "brightness-1"

    def __init__(self) -> None:
        self.asked = 0

    def recognize(self, footage: vc.Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        self.asked += 1
        if not footage.clips:
            return Recognition((EventRecord(0.0, footage.duration, "one event", confidence=0.5),))
        return Recognition(
            tuple(
                EventRecord(c.span.start, c.span.end, f"level {level:.0f}", clip=c.number, confidence=level / 255)
                for c in footage.clips
                for level in [float(footage.clip_frames(c.number).data.float().mean())]
            )
        )


def reasoner(reply: str) -> Scripted:
    return Scripted({"": reply})


def test_files_are_ordered_by_the_names_they_were_given(clips: list[Path]) -> None:
    strategy = vc.create_strategy("rrd", model=Brightness(), reasoner=reasoner("Correct order: 3, 1, 2"), score=False)
    found = vc.order(clips, goal="Get brighter", strategy=strategy, cache=False)
    assert found.ids == (str(clips[2]), str(clips[0]), str(clips[1]))
    assert [record.clip for record in found.records] == [1, 2, 3]
    assert found.scores[str(clips[0])] < found.scores[str(clips[2])]


def test_the_clips_of_one_file_are_numbered(clips: list[Path]) -> None:
    strategy = vc.create_strategy("rrd", model=Brightness(), reasoner=reasoner("Correct order: 2, 1"), score=False)
    found = vc.order(str(clips[0]), "goal", strategy=strategy, spans=[(0.0, 0.5), (0.5, 1.0)])
    assert found.ids == ("2", "1")


def test_a_reply_without_an_order_is_an_error_and_not_a_guess(clips: list[Path]) -> None:
    strategy = vc.create_strategy("rrd", model=Brightness(), reasoner=reasoner("I cannot say."), score=False)
    with pytest.raises(ModelError, match="I cannot say"):
        vc.order(clips, "goal", strategy=strategy)


def test_moments_come_back_as_spans(clips: list[Path]) -> None:
    spans = vc.ground(clips[0], "it gets brighter", model=reasoner("From 0.2 to 0.6 seconds."))
    assert [(round(s.start, 2), round(s.end, 2)) for s in spans] == [(0.2, 0.6)]


def test_a_question_is_answered_in_words_or_by_an_option(clips: list[Path]) -> None:
    assert vc.ask(clips[0], "What happens?", model=reasoner("It gets brighter.")).text == "It gets brighter."
    model = Scripted(
        {"": "B"}, scores=lambda prompt, option: -1.0 if "What happens" in prompt and "ark" in option else -9.0
    )
    found = vc.ask(clips[0], "What happens?", ["brighter", "darker"], model=model)
    assert found.option == 1
    assert set(found.scores) == {"brighter", "darker"}


def test_events_of_a_recognizer_and_of_a_chat(clips: list[Path]) -> None:
    (event,) = vc.events(clips[0], model=Brightness())
    assert (event.caption, event.score) == ("one event", 0.5)
    assert event.span.duration == pytest.approx(1.0, abs=0.05)
    found = vc.events(clips[0], model=reasoner("0.0 - 0.4: dark\n0.4 - 1.0: bright"))
    assert [(e.caption, round(e.span.end, 1)) for e in found] == [("dark", 0.4), ("bright", 1.0)]


def test_recognition_is_done_once(clips: list[Path]) -> None:
    model = Brightness()
    first = vc.events(clips[0], model=model)
    assert vc.events(clips[0], model=model) == first
    assert model.asked == 1
    vc.events(clips[0], model=model, cache=False)
    vc.events(clips[1], model=model)
    assert model.asked == 3


def test_arguments_that_make_no_sense_are_refused(clips: list[Path]) -> None:
    model = reasoner("x")
    with pytest.raises(ConfigError, match="query is empty"):
        vc.ground(clips[0], " ", model=model)
    with pytest.raises(ConfigError, match="at least two"):
        vc.ask(clips[0], "Q?", ["only one"], model=model)
    with pytest.raises(ConfigError, match="same file"):
        vc.order([clips[0], clips[0]], "g", model=model)
    with pytest.raises(NoClipsError, match="one clip only"):
        vc.order(clips[0], "g", model=model, spans=[(0, 1)])
    with pytest.raises(ConfigError, match="has its model already"):
        vc.ask(clips[0], "Q?", model=model, strategy=vc.create_strategy("direct", model=model))
    with pytest.raises(TypeError, match="framse"):
        vc.ask(clips[0], "Q?", model=model, framse="fps-1")  # type: ignore[call-arg]


def test_a_file_that_is_no_video_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    for call in (lambda file: vc.events(file, model="no-model"), lambda file: vc.ask(file, "Q?", model="no-model")):
        with pytest.raises(MissingMediaError):
            call(tmp_path / "absent.mp4")
        with pytest.raises(UnreadableMediaError):
            call(tmp_path / "notes.mp4")


@pytest.mark.parametrize(
    ("create", "name", "suggestion"),
    [
        (vc.create_model, "scripted-randon", "scripted-random"),
        (vc.create_strategy, "rdr", "rrd"),
        (create_benchmark, "vcrbanch", "vcrbench"),
        (build.create_policy, "uniform32", "uniform-32"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(create: object, name: str, suggestion: str) -> None:
    assert callable(create)
    with pytest.raises(UnknownNameError, match=f"Did you mean '{suggestion}'"):
        create(name)


def test_names_outside_the_presets_are_taken_apart() -> None:
    node = build.model_node("openai:http://127.0.0.1:8000/v1#some/model")
    assert (node["base_url"], node["model"]) == ("http://127.0.0.1:8000/v1", "some/model")
    assert build.model_node("hf:a/b")["source"] == "a/b"
    assert build.model_node("hf:a/b", text_only=True)["_target_"].endswith("language_model")
    assert vc.create_model("openai:http://127.0.0.1:8000/v1#some/model").name
    for wrong in ("hf:", "openai:", "openai:http://host/v1", "openai:ftp://host#m"):
        with pytest.raises(ConfigError):
            build.model_node(wrong)


def test_an_argument_that_a_builder_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.sead is not known \(did you mean model\.seed\?\)"):
        vc.create_model("scripted-random", sead=3)
    with pytest.raises(ConfigError, match=r"strategy\.recogniton"):
        vc.create_strategy("rrd", model=reasoner("x"), recogniton="iterative")


@pytest.mark.parametrize("name", vc.list_strategies())
def test_every_strategy_can_be_built_from_a_model_alone(name: str) -> None:
    assert vc.create_strategy(name, model=reasoner("x")).name


def test_what_there_is() -> None:
    assert "embedded" in vc.list_models()
    assert {"direct", "rrd"} <= set(vc.list_strategies())
    assert {"vcrbench", "questions"} <= set(vc.list_benchmarks())


def write_questions(folder: Path, clips: list[Path]) -> Path:
    file = folder / "questions.jsonl"
    order = {"id": "o", "task": "order", "videos": [str(c) for c in clips], "goal": "g", "answer": [3, 1, 2]}
    ask = {"id": "a", "task": "ask", "video": str(clips[0]), "question": "Q?", "options": ["x", "y"], "answer": 0}
    lost = {
        "id": "m",
        "task": "ask",
        "video": str(folder / "absent.mp4"),
        "question": "Q?",
        "options": ["x", "y"],
        "answer": 0,
    }
    file.write_text("".join(json.dumps(row) + "\n" for row in (order, ask, lost)))
    return file


def test_an_evaluation_gives_scores_a_report_and_a_page(clips: list[Path], tmp_path: Path) -> None:
    file = write_questions(tmp_path, clips)
    model = Scripted({"Correct order": "Correct order: 3, 1, 2", "": "A"})
    strategy = vc.create_strategy("rrd", model=model, score=False)
    settings = {"annotations": file, "frames": "uniform-8", "output_dir": tmp_path / "run", "progress": False}
    report = vc.evaluate(strategy, "questions", **settings)  # type: ignore[arg-type]
    assert report.strict["order"]["accuracy"] == 100.0
    assert report.strict["ask"]["accuracy"] == 50.0
    assert (report.num_samples, report.num_errors, dict(report.errors)) == (3, 1, {"missing": 1})
    assert dict(report.lost) == {"right": 2, "decode": 1}
    assert report.path == tmp_path / "run" / "report.json"
    assert report.html is not None
    page = report.html.read_text()
    assert "data:image/jpeg;base64," in page
    written = json.loads(report.path.read_text())
    assert written["strict"] == report.strict
    assert written["decode"]["decoded"] == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert rows[0]["order"] == rows[0]["written_order"] == [3, 1, 2]
    again = vc.score(tmp_path / "run" / "predictions.jsonl", "questions", annotations=file)
    assert again.strict == report.strict
    other = vc.create_strategy("rrd", model=Scripted({"": "A"}), score=False)
    with pytest.raises(vc.VidcausalError, match="another configuration"):
        vc.evaluate(other, "questions", **settings)  # type: ignore[arg-type]
    vc.evaluate(strategy, "questions", **settings)  # type: ignore[arg-type]


def test_description_tells_settings_apart_and_not_states() -> None:
    model = reasoner("x")
    strategy = vc.create_strategy("rrd", model=model)
    before = build.describe(strategy)
    model.chat("anything")
    assert build.describe(strategy) == before
    assert build.describe(vc.create_strategy("rrd", model=reasoner("y"))) != before
    assert build.describe(vc.create_strategy("rrd", model=model, ordering="question")) != before
    assert build.model_of(strategy) is not None


def test_values_are_plain_types() -> None:
    assert isinstance(vc.ground.__doc__, str)
    assert Span(0.0, 1.0).duration == 1.0
