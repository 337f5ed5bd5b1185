from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import vidcausal as vc
from vidcausal import cli

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def questions(tmp_path: Path, write_gray_video: Callable[[Path, Iterable[int]], Path]) -> Path:
    rows = []
    for k in range(3):
        write_gray_video(tmp_path / f"{k}.mp4", range(60 * k, 60 * k + 40, 5))
        videos = [f"{(k + j) % 3}.mp4" for j in range(k + 1)] if k else ["0.mp4", "1.mp4", "2.mp4"]
        rows.append({"id": f"q{k}", "task": "order", "videos": videos, "goal": f"goal {k}"})
        rows[-1]["answer"] = list(range(1, len(videos) + 1))
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(rows))
    return file


def predictions(folder: Path) -> list[dict[str, Any]]:
    """Rows without what a clock decides, nor whether frames were decoded or records remembered."""
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("decode")
        row.pop("seconds")
        for step in row["steps"]:
            step.pop("seconds")
    return rows


def test_the_script_the_command_and_the_library_give_the_same(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))
    overrides = ["benchmark=questions", f"benchmark.annotations={questions}", "model=scripted-random", "strategy=rrd"]
    overrides += ["frames=uniform-8", "seed=3"]
    arguments = [sys.executable, "scripts/evaluate.py", *overrides, f"output_dir={tmp_path}/script"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "11"}
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert cli.main(["evaluate", *overrides, f"output_dir={tmp_path}/command"]) == 0
    vc.evaluate(
        "rrd",
        "questions",
        model="scripted-random",
        annotations=questions,
        frames="uniform-8",
        seed=3,
        output_dir=tmp_path / "library",
    )
    ways = [tmp_path / name for name in ("script", "command", "library")]
    first, second, third = map(predictions, ways)
    assert len(first) == 3
    assert first == second == third
    reports = [json.loads((way / "report.json").read_text()) for way in ways]
    assert reports[0]["strict"] == reports[1]["strict"] == reports[2]["strict"]
    assert reports[0]["intervals"] == reports[1]["intervals"] == reports[2]["intervals"]
    assert (tmp_path / "script" / ".hydra" / "config.yaml").read_text().count("scripted") > 0


@pytest.mark.parametrize("arguments", [["benchmark=vcrbanch"], ["benchmark=vcrbench", "limti=1"]])
def test_a_mistake_in_the_script_is_one_line(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "scripts" / "evaluate.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "did you mean" in done.stderr.lower()
