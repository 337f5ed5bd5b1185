from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from vidcausal.demo import MARKER, asset, bundled_questions, pieces, run_demo, shuffled, video_questions
from vidcausal.errors import MissingMediaError, OutputError, UnreadableMediaError
from vidcausal.types import Event, EventRecord, OptionScore, Recognition, Span
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch
from vidcausal.video.procedure import CAPTIONS, write_shuffled_procedure

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
