from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vidcausal import _demo_worlds, cli, demo
from vidcausal.demo import MARKER, asset, bundled_questions, pieces, run_demo, shuffled, video_questions
from vidcausal.errors import MissingMediaError, MissingWeightsError, OutputError, UnreadableMediaError, WeightsError
from vidcausal.types import Event, EventRecord, OptionScore, Recognition, Span
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch
from vidcausal.video.probe import probe
from vidcausal.video.procedure import CAPTIONS, write_shuffled_procedure
from vidcausal.worlds import WORLDS, create_world

NO_TEXTS = {"goal": "", "query": "", "question": ""}


class KnowsTheSteps:
    """Sees the captions of a drawn procedure in playing order, and prefers what comes first in ``CAPTIONS``."""

    name = "knows"
    fingerprint = "knows"
    caveat = "It knows five steps and nothing else."

    def __init__(self, shown: Sequence[str]) -> None:
        self.shown = list(shown)

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        if footage.clips:
            spans = [(clip.span, clip.number) for clip in footage.clips]
        else:
            third = footage.duration / 3
            spans = [(Span(i * third, (i + 1) * third), None) for i in range(3)]
        words = zip(spans, self.shown, strict=False)
        return Recognition(tuple(EventRecord(s.start, s.end, text, n, confidence=0.5) for (s, n), text in words))

    def ground(self, footage: Footage, query: str) -> list[Span]:
        return [Span(0.0, footage.duration / 2, 0.9)]

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        return "Correct order: 1, 2, 3"

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        return [OptionScore(-float(len(option)), 1) for option in options]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shuffled_procedure(tmp_path_factory.mktemp("demo") / "drawn.mp4", 3, size=(90, 160), fps=8).path


def test_bundled_clips_are_there_with_their_licenses() -> None:
    for name, words in (("bottles", "Creative Commons Attribution 4.0"), ("city", "CC0")):
        assert asset(f"{name}.mp4").stat().st_size < 1_000_000
        assert words in asset(f"{name}.LICENSE.txt").read_text()


def test_bundled_questions_are_answerable_and_do_not_give_the_order_away(tmp_path: Path) -> None:
    questions = bundled_questions(tmp_path)
    assert {q["task"] for q in questions} == {"order", "events", "ground", "ask"}
    assert all(Path(q["video"]).is_file() for q in questions)
    order = questions[0]
    assert sorted(order["candidates"]) == order["candidates"] != list(CAPTIONS)
    assert order["answer"] not in ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_shuffle_never_leaves_everything_in_place(count: int, seed: int) -> None:
    assert sorted(shuffled(count, seed)) == list(range(count))
    assert shuffled(count, seed) != list(range(count))
    assert shuffled(count, seed) == shuffled(count, seed)


def test_pieces_are_the_longest_events_in_time_order_and_short() -> None:
    events = [Event(Span(t, t + d), "") for t, d in ((0, 0.5), (1, 9), (10, 2), (12, 3), (15, 1), (16, 5), (21, 4))]
    spans = pieces(events, most=4)
    assert [round(span.start) for span in spans] == [4, 12, 16, 21]
    assert all(0.8 <= span.duration <= 4.0 + 1e-9 for span in spans)


def test_a_video_of_the_users_becomes_an_order_task_whose_truth_is_known(drawn: Path, tmp_path: Path) -> None:
    events = [Event(Span(1, 3.5), "a", 0.2), Event(Span(5, 7), "b", 0.9), Event(Span(9, 11), "c", 0.1)]
    questions = {q["id"]: q for q in video_questions(drawn, events, tmp_path, NO_TEXTS)}
    assert set(questions) == {"events", "order", "moment", "answer"}
    assert questions["moment"]["query"] == "b"
    assert sorted(questions["order"]["answer"]) == [1, 2, 3]
    assert Path(questions["order"]["video"]).stat().st_size > 0


def test_a_very_short_video_has_no_order_task(drawn: Path, tmp_path: Path) -> None:
    questions = video_questions(drawn, [Event(Span(0, 1.0), "a", 0.5)], tmp_path, NO_TEXTS)
    assert "order" not in {q["id"] for q in questions}


def test_the_demo_writes_a_report_for_a_video_of_the_users(drawn: Path, tmp_path: Path) -> None:
    model = KnowsTheSteps(CAPTIONS)
    texts = {"query": "pour water", "question": "Which drink?", "options": ["tea", "lemonade"]}
    result = run_demo(drawn, tmp_path / "out", model=model, progress=False, **texts)
    assert result["num_errors"] == 0
    answers = {a["id"]: a for a in result["answers"]}
    assert [e["caption"] for e in answers["events"]["events"]] == list(CAPTIONS[:3])
    assert answers["answer"]["option"] in texts["options"]
    assert answers["moment"]["spans"][0][2] == pytest.approx(0.9)
    assert sorted(answers["order"]["order"]) == sorted(answers["order"]["true"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 4
    assert model.caveat in page
    assert json.loads((tmp_path / "out" / "report.json").read_text())["num_errors"] == 0
    again = run_demo(drawn, tmp_path / "out", model=model, progress=False, **texts)
    assert again["answers"] == result["answers"]


def test_a_video_that_cannot_be_used_leaves_the_earlier_report(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "report.html").write_text("yesterday")
    (tmp_path / "notes.mp4").write_text("no video")
    for wrong, error in (("absent.mp4", MissingMediaError), ("notes.mp4", UnreadableMediaError)):
        with pytest.raises(error):
            run_demo(tmp_path / wrong, tmp_path, model="no-model-is-loaded")
    assert (tmp_path / "report.html").read_text() == "yesterday"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(OutputError, match="no earlier demo"):
        run_demo(None, tmp_path, model=KnowsTheSteps(CAPTIONS))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    assert not (tmp_path / MARKER).exists()


# ---- which model looks ------------------------------------------------------------------------------------------

Creates = Callable[..., list[tuple[str, bool]]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Creates:
    """Say which models are on this machine; returns what was asked for, with whether it might be fetched."""

    def those(*names: str, error: Exception | None = None) -> list[tuple[str, bool]]:
        asked: list[tuple[str, bool]] = []

        def create(name: str, *, device: str = "cpu", download: bool = False) -> KnowsTheSteps:
            asked.append((name, download))
            if name not in names:
                raise error or MissingWeightsError(f"no weights of {name}")
            made = KnowsTheSteps(CAPTIONS)
            made.name = name
            return made

        monkeypatch.setattr(demo.api, "create_model", create)
        return asked

    monkeypatch.setattr(_demo_worlds, "VIDEO_SIZE", 64)
    return those


def test_without_anything_the_native_model_looks_at_a_drawn_video_of_each_world(
    here: Creates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = here("native-small")
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    assert asked == [("native-small", False), ("embedded", False)]  # nothing is fetched
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "native-small on drawn videos"
    assert lines[1] == KnowsTheSteps.caveat
    assert lines[2] == _demo_worlds.RULE
    assert sum(line.startswith(("events ", "order ", "ground ", "ask ")) for line in lines) == 21
    assert sum(line.strip().startswith("true: ") for line in lines) == 3
    assert lines[-1].startswith("The part on real clips was left out; the embedded model")
    assert lines[-1].endswith("vidcausal demo --download")
    page = (tmp_path / "report.html").read_text()
    assert page.index(KnowsTheSteps.caveat) < page.index("held-out split") < page.index("<h2>Scores</h2>")
    assert "vidcausal demo --download" in page
    assert page.count("data:image/jpeg") >= 3 * 7 * 4
    assert not (tmp_path / "real").exists()


def test_every_answer_stands_beside_the_truth(here: Creates, tmp_path: Path) -> None:
    here("native-small")
    found = run_demo(None, tmp_path, progress=False)
    assert found["num_errors"] == 0
    counts = Counter((answer["video"], answer["task"]) for answer in found["answers"])
    each = {"events": 1, "order": 1, "ground": 2, "ask": 3}
    assert counts == {(world, task): number for world in WORLDS for task, number in each.items()}
    for world in WORLDS:
        told = create_world(world)
        story = told.tell(0, "test")
        mine = {task: [a for a in found["answers"] if (a["video"], a["task"]) == (world, task)] for task in each}
        assert [event["caption"] for event in mine["events"][0]["true"]] == [event.caption for event in story.events]
        assert sorted(mine["order"][0]["true"]) == list(range(1, len(story.clips) + 1))
        wordings = [event.wordings for event in story.events if event.caption not in _twice(story)][:2]
        for answer, words in zip(mine["ground"], wordings, strict=True):
            assert answer["query"] in words
            assert len(answer["true"]) == 1
        first = told.questions(story)[:3]
        assert [answer["question"] for answer in mine["ask"]] == [question.text for question in first]
        assert [answer["true"] for answer in mine["ask"]] == [q.options[q.answer] for q in first]
        video = probe(tmp_path / "inputs" / world / "videos" / f"{world}-test-000000.mp4")
        assert video.has_audio
        assert video.duration == pytest.approx(story.duration, abs=0.25)
    page = (tmp_path / "report.html").read_text()
    assert "true events</summary>" in page


def _twice(story: Any) -> set[str]:
    counts = Counter(event.caption for event in story.events)
    return {caption for caption, count in counts.items() if count > 1}


def test_where_the_embedded_model_is_here_real_clips_follow(
    here: Creates, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here("native-small", "embedded")
    question = {"id": "q", "task": "ask", "video": str(drawn), "question": "Which?", "options": ["tea", "milk"]}
    monkeypatch.setattr(demo, "bundled_questions", lambda inputs, seed: [question | {"answer": 1}])
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.index("native-small on drawn videos") < out.index("embedded on the bundled clips")
    assert out.count(KnowsTheSteps.caveat) == 2
    assert "Which? tea; true: milk" in out
    assert "left out" not in out
    assert (tmp_path / "real" / "report.html").is_file()
    assert 'href="real/report.html"' in (tmp_path / "report.html").read_text()
    (tmp_path / "real" / "old.txt").touch()
    here("native-small")
    run_demo(None, tmp_path, progress=False)
    assert not (tmp_path / "real").exists()


@pytest.mark.parametrize(
    ("arguments", "present", "asked"),
    [
        ([], [], [("native-small", False)]),
        (["--download"], ["native-small"], [("native-small", False), ("embedded", True)]),
        (["--model", "embedded"], [], [("embedded", True)]),
        (["--model", "embedded", "--offline"], [], [("embedded", False)]),
        (["--reasoner", "big"], [], [("embedded", True)]),
        (["{video}"], [], [("embedded", False), ("native-small", False)]),
        (["{video}", "--download"], [], [("embedded", True)]),
        (["{video}", "--model", "other"], [], [("other", True)]),
    ],
)
def test_what_is_absent_is_fetched_only_where_that_was_asked_for(
    here: Creates,
    drawn: Path,
    tmp_path: Path,
    arguments: list[str],
    present: list[str],
    asked: list[tuple[str, bool]],
) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "report.html").write_text("yesterday")
    loaded = here(*present)
    given = [argument.format(video=drawn) for argument in arguments]
    assert cli.main(["demo", *given, "--out", str(tmp_path)]) == 1
    assert loaded == asked
    assert (tmp_path / "report.html").read_text() == "yesterday"


def test_download_and_offline_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--download", "--offline"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_video_of_the_users_falls_to_the_native_model_with_its_caveat(
    here: Creates, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("native-small")
    assert cli.main(["demo", str(drawn), "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"native-small on {drawn.name}", KnowsTheSteps.caveat]
    assert lines[-1].startswith("The embedded model, which is made for real video, is not on this machine")
    assert lines[-1].endswith("vidcausal demo VIDEO --download")
    page = (tmp_path / "report.html").read_text()
    assert KnowsTheSteps.caveat in page
    assert "frames middles-16" in page


def test_a_video_of_the_users_is_for_the_embedded_model_where_it_is_here(
    here: Creates, drawn: Path, tmp_path: Path
) -> None:
    asked = here("native-small", "embedded")
    found = run_demo(drawn, tmp_path, progress=False)
    assert asked == [("embedded", False)]
    assert (found["model"], found["note"]) == ("embedded", "")
    assert "frames fps-2" in (tmp_path / "report.html").read_text()


def test_weights_that_are_damaged_are_said_to_be(here: Creates, drawn: Path, tmp_path: Path) -> None:
    here("native-small", error=WeightsError("a file is cut off"))
    assert "cannot be used (a file is cut off)" in run_demo(drawn, tmp_path, progress=False)["note"]


@pytest.mark.skipif(
    not (asset("native-small") / "vidcausal.json").is_file(), reason="native-small is not in vidcausal/assets yet"
)
def test_the_shipped_model_does_the_demo_offline(tmp_path: Path) -> None:
    found = run_demo(None, tmp_path, model="native-small", download=False, progress=False)
    assert found["num_errors"] == 0
    assert all(answer["events"] for answer in found["answers"] if answer["task"] == "events")
    assert "drawn worlds" in found["caveat"]
    assert found["caveat"] in (tmp_path / "report.html").read_text().replace("&#39;", "'")


@pytest.mark.skipif((asset("native-small") / "vidcausal.json").is_file(), reason="native-small is in vidcausal/assets")
def test_without_the_shipped_model_the_demo_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="no native model at 'native-small'"):
        run_demo(None, tmp_path)
