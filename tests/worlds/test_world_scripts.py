from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_the_blind_check_prints_every_type_and_does_not_judge_a_few_questions(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    small = ["--train", "60", "--test", "30", "--epochs", "1", "--json", str(out)]
    done = run("check_worlds.py", "--blind", "--world", "mechanisms", *small)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())["mechanisms"]
    assert {row["verdict"] for row in report["types"].values()} == {"too few"}
    for kind, row in report["types"].items():
        assert f"\n{kind} " in done.stdout
        assert sum(row["positions"]) == row["n"]
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert sum(row["n"] for row in report["types"].values()) == report["test_questions"]
    assert "not judged" in done.stdout


def test_the_blind_check_wants_to_be_told_what_to_check() -> None:
    done = run("check_worlds.py")
    assert done.returncode == 2
    assert "--blind" in done.stderr
    done = run("check_worlds.py", "--blind", "--train", "3")
    assert done.returncode == 2
    assert "--train must be 50 or more" in done.stderr


def test_the_bench_compares_with_pillow_and_fails_below_the_floor(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    small = ["--world", "collisions", "--samples", "4", "--rounds", "1", "--json", str(out)]
    done = run("bench_worlds.py", *small, "--floor", "0")
    assert done.returncode == 0, done.stderr
    row = json.loads(out.read_text())["collisions"]
    assert set(row["per_second"]) == {"tell", "tell and render", "with questions", "peer: Pillow"}
    assert row["per_second"]["tell"] > row["per_second"]["tell and render"]
    assert "kept by all" in done.stdout
    done = run("bench_worlds.py", *small, "--floor", "1e9")
    assert done.returncode == 1
    assert "MISSED by collisions" in done.stdout
