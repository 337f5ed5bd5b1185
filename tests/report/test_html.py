from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vidcausal.errors import DataError
from vidcausal.report.html import write_report

JPEG = "/9j/4AAQSkZJRgABAQ=="
SUMMARY = {
    "benchmark": "vcrbench",
    "model": "scripted",
    "strategy": "rrd",
    "count": 3,
    "official": {"avg_accuracy": 50.0, "scores_per_class": {"Make Tea": 50.0}},
    "strict": {"accuracy": 33.333333},
    "intervals": {"accuracy": [0.0, 66.7]},
    "chance": {"accuracy": 16.7},
    "num_errors": 1,
    "errors": {"missing": 1},
    "config": {"seed": 0, "model": {"name": "scripted"}},
}
RECORDS = [
    {"start": 0.0, "end": 2.0, "caption": "pour <b>water</b>", "clip": 1, "speech": "", "confidence": 0.5},
    {"start": 2.0, "end": 4.0, "caption": "boil the kettle", "clip": 2, "speech": "hello", "confidence": None},
]
ROWS = [
    {"id": "a", "reply": "Correct order: 2, 1", "records": RECORDS, "order": [1, 2], "written_order": [2, 1]},
    {"id": "b", "reply": "B", "option": 1, "option_scores": [-2.0, -1.0], "error": None},
    {"id": "c", "reply": "", "error": {"code": "missing", "message": "no file x.mp4"}},
]
CLIPS = [{"number": 1, "start": 0.0, "end": 2.0}, {"number": 2, "start": 2.0, "end": 4.0}]
MEDIA = [
    {
        "id": "a",
        "duration": 4.0,
        "clips": CLIPS,
        "frames": [{"seconds": 0.5, "jpeg": JPEG}, {"seconds": 2.5, "jpeg": JPEG}],
        "sample": {"task": "order", "goal": "Make Tea", "question": "Order the clips", "target": [2, 1]},
    },
    {
        "id": "b",
        "duration": 4.0,
        "clips": [],
        "frames": [],
        "sample": {"task": "ask", "question": "Why?", "options": ["one", "two"], "target": 0},
    },
]


def write_run(folder: Path, rows: list[dict[str, object]] = ROWS) -> None:
    (folder / "media").mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(SUMMARY))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i, media in enumerate(MEDIA):
        (folder / "media" / f"{i:05d}.json").write_text(json.dumps(media))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    write_run(tmp_path / "run")
    parsed = Page()
    parsed.feed(write_report(tmp_path / "run").read_text())
    return parsed


def test_the_page_shows_scores_order_options_and_errors(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    for expected in ("avg accuracy 50", "scores per class / Make Tea", "0 to 66.7", "1 × missing", "no file x.mp4"):
        assert expected in text
    classes = [attrs.get("class") or "" for tag, attrs in page.tags if tag == "div"]
    assert sum(c.startswith("tile right") for c in classes) == 2  # the written order is the true one
    assert sum(c.startswith("tile wrong") for c in classes) == 2  # the scored one is not
    assert any(c.startswith("option chosen") for c in classes)


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_models_say(page: Page) -> None:
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe"}]
    sources = [attrs["src"] for _, attrs in page.tags if "src" in attrs]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources if source)
    assert "pour <b>water</b>" in "".join(page.text)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with (tmp_path / "run" / "predictions.jsonl").open("a") as out:
        out.write('{"id": "torn')
    assert "torn" not in write_report(tmp_path / "run").read_text()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a run"):
        write_report(tmp_path)
