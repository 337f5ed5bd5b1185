from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vidcausal import cli
from vidcausal.worlds.formats import FORMATS
from vidcausal.worlds.registry import WORLDS


def run(capsys, *arguments):
    code = cli.main(["worlds", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def failure(capsys, *arguments):
    """Exit code and error of a command that fails; its line on stderr and its JSON agree."""
    code, out, err = run(capsys, *arguments)
    assert out == ""
    assert "Traceback" not in err
    again, out, _ = run(capsys, *arguments, "--json")
    error = json.loads(out)["error"]
    assert again == code
    assert err.strip().splitlines()[-1] == f"error: {error['message']}"
    return code, error


def test_list(capsys):
    code, out, _ = run(capsys, "list", "--json")
    found = json.loads(out)
    assert code == 0
    assert [row["name"] for row in found["worlds"]] == list(WORLDS)
    assert [row["name"] for row in found["formats"]] == list(FORMATS)
    assert found["splits"] == ["train", "validation", "test", "composition"]
    code, out, _ = run(capsys, "list")
    assert all(f"{name} " in out for name in [*WORLDS, *FORMATS])


def test_make(capsys, tmp_path):
    out = str(tmp_path / "w")
    arguments = ["make", "--world", "tiny", "--n", "2", "--out", out, "--size", "64", "--jobs", "1"]
    arguments += ["--format", "nextqa", "--format", "vcrbench", "--sampling", "vcrbench", "--seed", "3"]
    code, text, err = run(capsys, *arguments, "--json")
    found = json.loads(text)
    assert (code, err) == (0, "")
    assert found["counts"]["samples"] == found["made_now"] == 2
    assert found["formats"] == ["vcrbench", "nextqa"]
    assert found["sampling"] == "vcrbench"
    code, text, _ = run(capsys, *arguments)
    assert code == 0
    assert "2 videos" in text
    assert "0 made now" in text
    assert text.strip().endswith(out)
    code, error = failure(capsys, *arguments, "--fps", "4")
    assert (code, error["code"]) == (2, "run_folder")
    assert "fps is 4, was 8" in error["message"]
    code, _, err = run(capsys, *arguments, "--fps", "4", "--force")
    assert code == 0


def test_the_bar_is_on_stderr(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    arguments = ["make", "--world", "tiny", "--n", "1", "--out", str(tmp_path), "--size", "64", "--format", "nextqa"]
    code, out, err = run(capsys, *arguments)
    assert code == 0
    assert "1/1" in err
    assert "%" not in out


def test_show(capsys, tmp_path):
    picture = tmp_path / "a.png"
    code, out, _ = run(capsys, "show", "--world", "tiny", "--seed", "2", "--split", "train", "--out", str(picture))
    assert (code, out.strip()) == (0, str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, _ = run(capsys, "show", "--world", "tiny", "--out", str(picture), "--json")
    found = json.loads(out)
    assert found["annotation"]["id"] == "tiny-test-000000"


def test_show_without_a_file_writes_here(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "show", "--world", "tiny")[:2] == (0, "tiny-test-000000.png\n")
    assert (tmp_path / "tiny-test-000000.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["make", "--world", "procedrues", "--n", "1"], "unknown_name", "'procedures'"),
        (["make", "--world", "tiny", "--n", "0"], "config", "got 0"),
        (["make", "--world", "tiny", "--n", "many"], "config", "invalid int value: 'many'"),
        (["make", "--world", "tiny", "--n", "1", "--split", "tests"], "unknown_name", "'test'"),
        (["make", "--world", "tiny", "--n", "1", "--format", "nextq"], "unknown_name", "'nextqa'"),
        (["make", "--world", "tiny", "--n", "1", "--size", "99"], "config", "even"),
        (["make", "--world", "tiny"], "config", "--n"),
        (["show", "--world", "tinny"], "unknown_name", "'tiny'"),
        (["show", "--world", "tiny", "--seed", "-2"], "config", "got -2"),
    ],
)
def test_bad_usage(capsys, tmp_path, arguments, code, said):
    out = tmp_path / "w.png"
    exit_code, error = failure(capsys, *arguments, "--out", str(out))
    assert (exit_code, error["code"]) == (2, code)
    assert said in error["message"]
    assert not out.exists()


def test_files_of_others(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    code, error = failure(capsys, "make", "--world", "tiny", "--n", "1", "--out", str(tmp_path))
    assert (code, error["code"]) == (2, "output")
    assert "thesis.tex" in error["message"]


@pytest.mark.parametrize("arguments", [["--help"], ["make", "--help"], ["show", "--help"], ["list", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys\nfrom vidcausal import cli\n"
        f"try: cli.main(['worlds', *{arguments!r}])\nexcept SystemExit: pass\n"
        "print([name for name in ('numpy', 'torch', 'PIL', 'av', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "usage: vidcausal worlds" in done.stdout
    assert done.stdout.strip().endswith("[]")
