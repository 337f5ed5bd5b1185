from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.text.ecare import ECARE
from vidcausal.errors import ConfigError
from vidcausal.evaluation.text_report import Drawn, Setup, text_report
from vidcausal.types import EventRecord, Media, OptionScore, Prediction, Sample, Scores
from vidcausal.video.frames import FrameBatch


class Knows:
    """Always writes B; finds the options that hold "right" likely, and steps in the order of their numbers."""

    name = "knows"
    fingerprint = "knows"

    def chat(self, prompt: str, *, max_new_tokens: int = 512) -> str:
        return "Correct order: 1, 2, 3" if "clip numbers" in prompt else "B"

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        asked = "Premise" in prompt or "order" in prompt
        return [OptionScore(-1.0 if asked and self._likes(option) else -4.0, 1) for option in options]

    def _likes(self, option: str) -> bool:
        steps = [line[-1] for line in option.splitlines()]
        return "right" in option or (len(steps) == 2 and steps[0] < steps[1])


class Steps:
    """Orders of three clips; the descriptions end with the true place. Every third has no descriptions."""

    name = "steps"

    def samples(self) -> Iterator[Sample[tuple[int, ...]]]:
        for n in range(9):
            records = tuple(EventRecord(0, 0, f"step {place}", clip=k + 1) for k, place in enumerate((2, 1, 3)))
            meta: dict[str, Any] = {"oracle_records": records if n % 3 else ()}
            yield Sample(f"s{n}", "order", "q", Media(("absent.mp4",)), (2, 1, 3), goal="bake", meta=meta)

    def predictions(self, rows: Any) -> list[Prediction[Any]]:
        known = {sample.id: sample for sample in self.samples()}
        return [Prediction(known[row["id"]], row["reply"]) for row in rows]

    def score(self, predictions: Sequence[Prediction[Any]], *, expected: int | None = None) -> Scores:
        return Scores("steps", {}, {}, len(predictions), 1.0, 0.0, {})


@pytest.fixture
def ecare(tmp_path: Path) -> ECARE:
    rows: list[Mapping[str, Any]] = []
    for n in range(40):
        options = {f"hypothesis{k + 1}": f"{'right' if k == n % 4 // 3 else 'wrong'} {n} {k}" for k in range(2)}
        rows.append({"index": f"dev-{n}", "premise": "p", "ask-for": "cause", **options, "label": n % 4 // 3})
    path = tmp_path / "dev.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return ECARE(path)


def test_drawing_is_repeatable_ordered_and_leaves_out_what_cannot_be_asked(ecare: ECARE) -> None:
    first, again, other = (Drawn(ecare, 10, seed) for seed in (0, 0, 1))
    ids = [sample.id for sample in first.samples()]
    assert ids == [sample.id for sample in again.samples()]
    assert ids != [sample.id for sample in other.samples()]
    assert ids == sorted(ids, key=lambda identity: int(identity[4:]))
    assert set(ids) < {sample.id for sample in Drawn(ecare, 20, 0).samples()}
    assert len(list(Drawn(ecare, 0, 0).samples())) == 40
    assert [sample.id for sample in Drawn(Steps(), 0, 0).samples()] == ["s1", "s2", "s4", "s5", "s7", "s8"]


def test_the_table_has_written_and_scored_answers_beside_chance(ecare: ECARE, tmp_path: Path) -> None:
    setup = Setup(tmp_path / "out", model=Knows(), benchmarks=(ecare, Steps()), n=0, progress=False)
    report = text_report(setup)
    ask, exact, place = report.rows
    assert (ask.n, ask.of, ask.written, ask.scored) == (40, 40, 25.0, 100.0)
    assert (ask.chance, ask.constant, ask.unread) == (50.0, 75.0, 0.0)
    assert ask.written_interval[0] < 25.0 < ask.written_interval[1]
    assert ask.scored_interval is not None
    assert 85.0 < ask.scored_interval[0] < 95.0  # 40 of 40 right is not certainly 100 %
    assert (exact.n, exact.of, exact.written, exact.scored) == (6, 6, 0.0, 100.0)
    assert (place.written, place.scored) == (pytest.approx(100 / 3), 100.0)
    assert (exact.chance, place.chance) == (pytest.approx(100 / 6), pytest.approx(100 / 3))
    written = json.loads((tmp_path / "out" / "text_only.json").read_text())
    assert [row["benchmark"] for row in written["rows"]] == ["ecare", "steps", "steps"]
    assert {"command", "machine", "versions"} <= set(written)
    assert "| ecare | accuracy | 40 of 40 | 25.0" in report.path.read_text()


def test_it_goes_on_where_it_stopped_and_can_be_extended(ecare: ECARE, tmp_path: Path) -> None:
    setup = Setup(tmp_path / "out", model=Knows(), benchmarks=(ecare,), n=12, progress=False)
    first = text_report(setup)
    file = tmp_path / "out" / "ecare" / "predictions.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]))
    again = text_report(setup)
    assert len(file.read_text().splitlines()) == 12
    assert first.rows[0].written == again.rows[0].written
    by_name = dataclasses.replace(setup, data=ecare.annotations_path.parent, benchmarks=("ecare=20",))
    assert text_report(by_name).rows[0].n == 20
    assert len(file.read_text().splitlines()) == 20
    with pytest.raises(ConfigError, match="NAME=N"):
        text_report(dataclasses.replace(setup, benchmarks=("ecare=all",)))
