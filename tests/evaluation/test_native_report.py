from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from vidcausal.benchmarks.worlds import Worlds
from vidcausal.errors import RunFolderError, UnknownNameError
from vidcausal.evaluation._native_table import FLOORS, OVER_BLIND, markdown, table
from vidcausal.evaluation.native_report import Setup, gray, native_report
from vidcausal.models.scripted import Scripted
from vidcausal.types import Event, EventRecord, Recognition, Span
from vidcausal.video.footage import Clip, Footage
from vidcausal.video.frames import FrameBatch
from vidcausal.worlds.story import Question

WORLD = "collisions"


class Knows(Scripted):
    """Is right when it sees something and knows the annotations; says the wrong thing about gray frames."""

    caveat = "It has read the answers."

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda prompt, frames: self._said(prompt, frames), name="knows")
        self._folder = folder

    @property
    def fingerprint(self) -> str:
        return "knows 1"

    def _samples(self) -> list[Any]:
        return list(Worlds(self._folder, ground_per_video=None).samples())

    def _said(self, prompt: str, frames: FrameBatch | None) -> str:
        for sample in self._samples():
            if sample.task == "order" and (prompt == sample.question or f"task: {sample.goal}." in prompt):
                return "Correct order: " + ", ".join(map(str, range(1, len(sample.target) + 1)))
        return "A"

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> Any:
        seen = frames is None or bool(frames.data.float().std() > 0)
        right = [s.options[s.target] for s in self._samples() if s.task == "ask" and s.question in prompt]
        self._scores = lambda p, option: float(seen and option in right)
        return super().score_options(prompt, options, frames)

    def events(self, frames: FrameBatch) -> list[Event]:
        if not frames.data.float().std() > 0:
            return [Event(Span(0.0, 0.1), "nothing")]
        return [Event(Span(1.0, 2.0), "red ball hits blue box")]

    def ground(self, footage: Footage, query: str) -> list[Span]:
        found = [s.target[0] for s in self._samples() if s.task == "ground" and s.goal == query]
        return found if footage.frames.data.float().std() > 0 else [Span(0.0, 0.1)]

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        if footage.clips:
            records = [EventRecord(c.span.start, c.span.end, f"step {c.number}", clip=c.number) for c in footage.clips]
            return Recognition(tuple(records))
        return Recognition((EventRecord(1.0, 2.0, "red ball hits blue box"),))


def setup(out: Path, **changes: Any) -> Setup:
    given = {"worlds": (WORLD,), "splits": ("test",), "n": 3, "video_size": 32, "size": 32, "jobs": 1, "cache": None}
    return Setup(out, Knows(out / "data" / f"{WORLD}-test"), **{**given, "progress": False, **changes})


def always_first(world: str) -> Any:
    def answers(questions: Sequence[Question]) -> list[int]:
        assert all(len(question.options) == 5 for question in questions)
        return [0] * len(questions)

    return answers


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return native_report(setup(tmp_path_factory.mktemp("native"), trained_blind=always_first))


def row(report: Any, task: str, figure: str) -> Any:
    return next(r for r in report.rows if (r.task, r.figure) == (task, figure))


def test_every_mode_is_run_and_stands_beside_what_guessing_is_worth(report: Any) -> None:
    found = row(report, "ground", "R@1 IoU=0.5")
    assert found.modes["direct"]["value"] == found.modes["rrd"]["value"] == 100.0
    assert found.modes["blind"]["value"] == 0.0
    assert found.reached == {"rrd": True, "direct": True}
    assert set(found.beside) == {"constant window", "random window"}
    asked = row(report, "ask", "accuracy")
    assert asked.modes["direct"]["value"] > asked.modes["blind"]["value"]
    assert asked.beside["chance"] == pytest.approx(20.0)
    samples = list(Worlds(report.path.parent / "data" / f"{WORLD}-test", tasks=["ask"]).samples())
    first = 100 * sum(s.target == 0 for s in samples) / len(samples)
    assert asked.beside["trained blind"] == pytest.approx(first)
    types = {s.meta["type"] for s in samples}
    assert types == {r.figure for r in report.rows if r.task == "ask"} - {"accuracy"}
    kind = row(report, "ask", min(types))
    assert kind.floor == max([*kind.beside.values(), kind.modes["blind"]["value"]]) + OVER_BLIND
    assert row(report, "events", "F1 IoU=0.5").beside["equal parts"] >= 0.0


def test_an_order_has_to_be_better_than_the_direct_answer(report: Any) -> None:
    found = row(report, "order", "accuracy n=3..5")
    assert found.floor == FLOORS["order", "accuracy n=3..5"]
    assert set(found.reached) == {"rrd"}
    benchmark = Worlds(report.path.parent / "data" / f"{WORLD}-test", tasks=["order"])
    right = [{"id": s.id, "reply": "Correct order: " + ", ".join(map(str, s.target))} for s in benchmark.samples()]
    good, bad = (benchmark.by_group(benchmark.predictions(rows)) for rows in (right, []))
    for direct, reached in ((bad, True), (good, False)):
        judged = table({"rrd": good, "direct": direct}, {})
        assert next(r for r in judged if r.figure == "accuracy n=3..5").reached == {"rrd": reached}


def test_what_was_written(report: Any) -> None:
    text = report.path.read_text()
    assert text == report.text
    assert "It has read the answers." in text
    assert "| test | collisions | ground: R@1 IoU=0.5 | 100.0" in text
    written = json.loads(report.path.with_suffix(".json").read_text())
    assert len(written["rows"]) == len(report.rows)
    assert written["settings"]["n"] == 3
    assert set(written["seconds"]) == {"rrd", "direct", "blind", "all"}
    runs = report.path.parent / "runs"
    assert {path.name for path in runs.iterdir()} == {"rrd", "direct", "blind"}
    tasks = [json.loads(line)["id"].split("/")[1] for line in (runs / "rrd/collisions-test/predictions.jsonl").open()]
    assert "ground" not in tasks, "a model that grounds by itself does so once, under direct"


def test_the_same_command_again_asks_nothing(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    again = setup(report.path.parent, trained_blind=lambda world: pytest.fail("it has answered"))
    monkeypatch.setattr(Knows, "ground", lambda *given: pytest.fail("it was asked"))
    monkeypatch.setattr(Knows, "events", lambda *given: pytest.fail("it was asked"))
    assert native_report(again).rows == report.rows
    with pytest.raises(RunFolderError, match="other settings"):
        native_report(setup(report.path.parent, n=4))
    with pytest.raises(RunFolderError, match="another configuration"):
        native_report(setup(report.path.parent, frames="uniform-8"))


def test_an_unknown_mode_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="mode"):
        native_report(setup(tmp_path, modes=("rdr",)))
    assert list(tmp_path.iterdir()) == []


def test_gray_footage_has_the_times_and_clips_and_nothing_to_see() -> None:
    data = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)
    frames = FrameBatch(data, torch.arange(4, dtype=torch.float64), key="real")
    real = Footage.from_frames(frames, clips=[Clip(1, Span(0, 2), "a"), Clip(2, Span(2, 4), "a")], duration=4.0)
    blind = gray(real)
    assert blind.frames.data.unique().tolist() == [128]
    assert blind.frames.pts_seconds.tolist() == frames.pts_seconds.tolist()
    assert (blind.clips, blind.duration) == (real.clips, real.duration)
    assert blind.key != real.key
    assert len(blind.clip_frames(2)) == 2


def test_all_worlds_together_pool_their_samples(report: Any) -> None:
    folder = report.path.parent / "data" / f"{WORLD}-test"
    benchmark = Worlds(folder, tasks=["ask"])
    right = [{"id": s.id, "reply": "ABCDE"[s.target]} for s in benchmark.samples()]
    good = benchmark.by_group(benchmark.predictions(right))[WORLD, "test"]
    bad = benchmark.by_group([])[WORLD, "test"]
    one, two = (WORLD, "test"), ("mechanisms", "test")
    hits = {"": (1, 4)}
    rows = table({"direct": {one: good, two: bad}}, {one: hits, two: {"": (2, 4)}})
    pooled = next(r for r in rows if (r.world, r.figure) == ("all", "accuracy"))
    assert pooled.modes["direct"]["value"] == 50.0
    assert pooled.count == 2 * len(benchmark)
    assert pooled.beside["trained blind"] == pytest.approx(100 * 3 / 8)
    text = markdown(rows, ["direct"])
    assert "| test | all | ask: accuracy | 50.0" in text
    assert "| test | collisions | ask: accuracy" not in text.split("## ask")[0]
