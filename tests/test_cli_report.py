"""``score``, ``report diff``, ``audit`` and ``data check`` as people and programs see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal import cli
from vidcausal.cli_report import MOST_FLIPS, diff_text, finite, score_text, scores_json

SCORES: dict[str, Any] = {
    "benchmark": "small",
    "official": {"acc": 66.6667, "acc_C": float("nan"), "curve": [1.0, 2.0]},
    "strict": {
        "accuracy": 66.6667,
        "by type": {"C": 50.0, "T": 100.0},
        "positions": {"right": {"A": 2, "B": 1}, "chosen": {"A": 3, "B": 0}},
    },
    "count": 3,
    "coverage": 1.0,
    "unparsed": 0.25,
    "chance": {"accuracy": 50.0, "best constant answer": "A", "best constant accuracy": 66.6667},
    "intervals": {"accuracy": [20.0, 100.0], "by type": {"C": [0.0, 100.0]}},
    "scored": None,
    "notes": ("a note",),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def strict_json(text: str) -> Any:
    """JSON as the standard has it: NaN and Infinity are refused."""

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_figures_that_are_no_numbers_are_null_and_named() -> None:
    value = scores_json(SCORES)
    strict_json(json.dumps(value))
    assert value["official"]["acc_C"] is None
    assert value["official"]["acc"] == 66.6667
    assert value["notes"] == ["a note", "1 figures are not finite numbers and are null: official / acc_C"]
    assert scores_json({**SCORES, "official": {}})["notes"] == ["a note"]
    assert finite({"a": [1.0, float("inf")], "b": ("x", True, None, 3)}) == {
        "a": [1.0, None],
        "b": ["x", True, None, 3],
    }


def test_scores_are_aligned_and_complete() -> None:
    lines = score_text(scores_json(SCORES)).splitlines()
    assert lines[0] == "small: 3 questions, coverage 100.0 %, unparsed 25.0 %"
    rows = {line.split("  ")[1].strip(): line for line in lines if line.startswith("  ")}
    assert rows["acc"].endswith("    66.67")
    assert rows["acc_C"].endswith("-")
    assert "[20.00, 100.00]" in rows["accuracy"] or "[20.00, 100.00]" in "\n".join(lines)
    assert "[0.00, 100.00]" in rows["by type / C"]
    assert "curve" not in "\n".join(lines)
    header = next(line for line in lines if line.startswith("strict"))
    accuracy = next(line for line in lines if line.startswith("  accuracy") and "[" in line)
    assert header.index("value") + len("value") == accuracy.index("66.67") + len("66.67")
    assert header.index("chance") + len("chance") == accuracy.rindex("50.00") + len("50.00")
    assert any(line.split() == ["best", "constant", "answer", "A"] for line in lines)
    letters = next(line for line in lines if line.startswith("positions"))
    chosen = next(line for line in lines if line.startswith("  chosen"))
    assert letters.index("A") == chosen.index("3")
    assert lines[-2:] == ["note: a note", "note: 1 figures are not finite numbers and are null: official / acc_C"]


def test_long_breakdowns_are_cut() -> None:
    many = {**SCORES, "official": {f"figure {n}": float(n) for n in range(100)}}
    lines = score_text(scores_json(many)).splitlines()
    assert sum(line.startswith("  figure") for line in lines) == 40
    assert "  … and 60 more in --json" in lines


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
        for n in range(30)
    ]
    file.write_text(json.dumps(rows))
    return file


def predictions(file: Path, letters: str) -> str:
    file.write_text("".join(json.dumps({"id": f"q{n}", "reply": a}) + "\n" for n, a in enumerate(letters)))
    return str(file)


def test_the_score_of_a_file_is_valid_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, questions: Path) -> None:
    file = predictions(tmp_path / "p.jsonl", "ABC" * 10)
    code, out, _ = run(capsys, "score", "questions", file, "--annotations", str(questions), "--json")
    value = strict_json(out)
    assert code == 0
    assert value["count"] == 30
    assert set(value) >= {"official", "strict", "chance", "intervals", "coverage", "unparsed", "notes"}


def test_a_difference_from_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, questions: Path
) -> None:
    first = predictions(tmp_path / "a.jsonl", "ABC" * 10)
    second = predictions(tmp_path / "b.jsonl", "A" * 30)
    named = ["--benchmark", "questions", "--annotations", str(questions)]
    code, out, _ = run(capsys, "report", "diff", first, second, *named, "--json")
    value = strict_json(out)
    assert code == 0
    (part,) = value["parts"]
    assert (part["both"], part["only_first"], part["only_second"], part["neither"]) == (10, 20, 0, 0)
    assert len(value["flips"]) == 20
    code, out, _ = run(capsys, "report", "diff", first, second, *named)
    assert "both right 10   only A 20   only B 0   neither 0" in out
    assert "B - A -66.67 points" in out
    assert "only A is right: 20" in out
    assert f"… and {20 - MOST_FLIPS} more in --json" in out
    assert "only B is right" not in out
    assert out.strip() == diff_text(value).strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report"], "diff"),
        (["report", "diff", "a"], "B"),
        (["report", "diff", "absent", "absent"], "does not exist"),
        (["report", "dif", "a", "b"], "did you mean 'diff'"),
        (["report", "diff", ".", ".", "--annotations", "x"], "name it too"),
        (["audit"], "KEY=VALUE"),
        (["audit", "benchmark=worlds", "modle=x"], "'model'"),
        (["audit", "limit=3"], "choose a benchmark"),
        (["data", "check", "vcrbenhc"], "'vcrbench'"),
        (["data", "check", "vcrbench"], "--data-dir"),
        (["score", "vcrbench", "absent.jsonl"], "absent.jsonl"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.delenv("VIDCAUSAL_DATA", raising=False)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert message in err
    code, out, _ = run(capsys, *arguments, "--json")
    assert set(strict_json(out)["error"]) == {"code", "message"}


def test_the_data_folder_of_the_machine_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VIDCAUSAL_DATA", str(tmp_path))
    code, out, _ = run(capsys, "data", "check", "vcrbench", "--json")
    value = strict_json(out)
    assert (code, value["ok"]) == (1, False)
    assert {row["status"] for row in value["files"]} == {"absent"}
    assert value["license"].startswith("code and recorded responses: MIT")
    assert any("huggingface.co" in source for source in value["sources"])
    assert "5d616a391f" in value["scorer"]
