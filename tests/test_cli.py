from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vidcausal import cli

MODEL = ["--model", "scripted-identity", "--strategy", "rrd"]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.mp4`` and ``b.mp4``, and files that are no videos."""
    import av
    import numpy as np

    folder = tmp_path_factory.mktemp("media")
    for name, base in (("a.mp4", 30), ("b.mp4", 130)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for n in range(10):
                picture = np.full((48, 64, 3), base + 8 * n, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    with av.open(str(folder / "audio.m4a"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is not a video\n" * 50)
    whole = (folder / "a.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: whole.rindex(b"moov") - 4])
    return folder


@pytest.fixture
def questions(media: Path, tmp_path: Path) -> Path:
    file = tmp_path / "questions.json"
    rows = [
        {
            "id": f"o{n}",
            "task": "order",
            "videos": [str(media / "a.mp4"), str(media / "b.mp4")],
            "goal": "g",
            "answer": a,
        }
        for n, a in enumerate([[1, 2], [2, 1]])
    ]
    file.write_text(json.dumps(rows))
    return file


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIDCAUSAL_WEIGHTS", raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit code and error of a command that fails; its one line on stderr and its JSON must agree."""
    code, out, err = run(capsys, *arguments)
    assert out == ""
    line = err.strip().splitlines()[-1]
    assert line.startswith("error: "), err
    assert "Traceback" not in err
    again, out, _ = run(capsys, *arguments, "--json")
    error: dict[str, str] = json.loads(out)["error"]
    assert set(error) == {"code", "message"}
    assert again == code
    assert re.sub(r"0x[0-9a-f]+", "", error["message"]) == re.sub(r"0x[0-9a-f]+", "", line.removeprefix("error: "))
    return code, error


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("absent.mp4", "missing"),
        ("empty.mp4", "empty"),
        ("text.mp4", "unreadable"),
        ("audio.m4a", "no_video"),
        ("truncated.mp4", "unreadable"),
    ],
)
def test_a_file_that_is_no_video(capsys: pytest.CaptureFixture[str], media: Path, name: str, code: str) -> None:
    exit_code, error = failure(capsys, "ask", str(media / name), "What?", "--model", "scripted-identity")
    assert (exit_code, error["code"]) == (1, code)
    assert name in error["message"]


def test_the_five_bad_files_have_five_messages(capsys: pytest.CaptureFixture[str], media: Path) -> None:
    names = ("absent.mp4", "empty.mp4", "text.mp4", "audio.m4a", "truncated.mp4")
    messages = {
        failure(capsys, "ask", str(media / name), "What?", "--model", "scripted-identity")[1]["message"].replace(
            name, ""
        )
        for name in names
    }
    assert len(messages) >= 4, "a truncated file and a text file may share a message, no others"


@pytest.mark.parametrize("source", ["https://example.org/a.mp4", "rtsp://example.org/live", "concat:a.mp4|b.mp4"])
def test_a_url_is_refused(capsys: pytest.CaptureFixture[str], source: str) -> None:
    exit_code, error = failure(capsys, "ask", source, "What?", "--model", "scripted-identity")
    assert (exit_code, error["code"]) == (1, "forbidden")


def test_a_file_outside_the_media_root_is_refused(
    capsys: pytest.CaptureFixture[str], media: Path, tmp_path: Path
) -> None:
    arguments = ["ask", str(media / "a.mp4"), "What?", "--model", "scripted-identity", "--media-root", str(tmp_path)]
    exit_code, error = failure(capsys, *arguments)
    assert (exit_code, error["code"]) == (1, "forbidden")


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["ask", "{a}", "What?", "--model", "embeded"], "'embedded'"),
        (["order", "{a}", "{b}", "--model", "scripted-identity", "--strategy", "rdr"], "'rrd'"),
        (["ask", "{a}", "What?", "--model", "scripted-identity", "--frames", "uniform-23"], "'uniform-32'"),
        (["score", "vcrbnech", "{a}"], "'vcrbench'"),
        (["data", "check", "vcrbenhc", "--data-dir", "."], "'vcrbench'"),
        (["models", "--get", "smolm2-135m-instruct"], "'smollm2-135m-instruct'"),
        (["evaluate", "benchmark=vcrbanch"], "'vcrbench'"),
        (["evaluate", "benchmark=vcrbench", "strategy=dirct"], "'direct'"),
        (["evaluate", "benchmark=vcrbench", "modle=embedded"], "'model'"),
        (["evaluate", "benchmark=vcrbench", "limti=3"], "'limit'"),
        (["evaluate", "benchmark=vcrbench", "paths.dat_dir=x"], "'paths.data_dir'"),
        (["evaluate", "benchmark=vcrbench", "benchmark.anotations=x"], "benchmark.annotations"),
        (["evaluate", "benchmark=vcrbench", "strategy.reasn=x"], "strategy.reason"),
        (["ordr", "{a}"], "'order'"),
        (["events", "{a}", "--format", "cvs"], "'csv'"),
        (["ask", "{a}", "What?", "--model", "scripted-identity", "--dtype", "float61"], "'float16'"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(
    capsys: pytest.CaptureFixture[str], media: Path, arguments: list[str], suggestion: str
) -> None:
    filled = [argument.format(a=media / "a.mp4", b=media / "b.mp4") for argument in arguments]
    exit_code, error = failure(capsys, *filled)
    assert exit_code == 2
    assert "did you mean" in error["message"].lower()
    assert suggestion in error["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ask"],
        ["score", "vcrbench", "x", "--policy", "lenient"],
        ["evaluate", "limit"],
        ["evaluate", "limit=3"],
        ["order", "{a}", "--span", "4-2", "--model", "scripted-identity"],
        ["order", "{a}", "--span", "0-inf", "--model", "scripted-identity"],
        ["order", "{a}", "--span", "nan-2", "--model", "scripted-identity"],
        ["order", "{a}", "{a}", "--model", "scripted-identity"],
        ["ask", "{a}", "What?", "--option", "yes", "--model", "scripted-identity"],
        ["ask", "{a}", "What?", "--option", "yes", "--option", " ", "--model", "scripted-identity"],
        ["demo", "{a}", "--option", "yes", "--out", "{a}.demo", "--model", "scripted-identity"],
        ["ground", "{a}", "x", "--top", "0", "--model", "scripted-identity"],
        ["ask", "{a}", "What?", "--model", "openai:no-url"],
        *(
            ["evaluate", "benchmark=questions", "model_name=scripted-identity", "output_dir={a}.run", wrong]
            for wrong in ("limit=0", "limit=-1", "size=0", "size=[3,-3]", "backend=pyva", "device=cdua", "output_dir=")
        ),
        ["data", "check", "vcrbench", "--data-dir", "{a}"],
        ["score", "vcrbench", "{a}.absent"],
    ],
)
def test_bad_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], media: Path, arguments: list[str]) -> None:
    exit_code, error = failure(capsys, *[argument.format(a=media / "a.mp4") for argument in arguments])
    assert exit_code == 2
    assert error["message"]


def test_absent_weights_give_the_line_that_gets_them(capsys: pytest.CaptureFixture[str], media: Path) -> None:
    arguments = ["order", str(media / "a.mp4"), str(media / "b.mp4"), *MODEL, "--reasoner", "smollm2-135m-instruct"]
    exit_code, error = failure(capsys, *arguments)
    assert (exit_code, error["code"]) == (1, "missing_weights")
    assert "vidcausal models --get smollm2-135m-instruct" in error["message"]


def test_one_line_gets_all_weights_that_a_model_misses(capsys: pytest.CaptureFixture[str], media: Path) -> None:
    exit_code, error = failure(capsys, "events", str(media / "a.mp4"))
    assert (exit_code, error["code"]) == (1, "missing_weights")
    for name in ("clip-vit-b16-image-int8", "all-minilm-l6-v2", "smollm2-135m-instruct"):
        assert f"--get {name}" in error["message"]


def test_clips_are_ordered(capsys: pytest.CaptureFixture[str], media: Path) -> None:
    a, b = str(media / "a.mp4"), str(media / "b.mp4")
    code, out, _ = run(capsys, "order", a, b, "--goal", "Get brighter", *MODEL, "--json")
    value = json.loads(out)
    assert code == 0
    assert sorted(value["ids"]) == [a, b]
    assert value["reply"] == "Correct order: Clip 1, Clip 2"
    code, out, _ = run(capsys, "order", a, b, "--goal", "Get brighter", *MODEL)
    assert out.split() == value["ids"]


def test_a_question_with_options_is_answered(capsys: pytest.CaptureFixture[str], media: Path) -> None:
    arguments = ["ask", str(media / "a.mp4"), "Which?", "--option", "the red one", "--option", "the blue one"]
    code, out, _ = run(capsys, *arguments, "--model", "scripted-identity", "--json")
    value = json.loads(out)
    assert code == 0
    assert value["letter"] in ("A", "B")
    assert value["answer"] == ["the red one", "the blue one"][value["option"]]
    assert set(value["scores"]) == {"the red one", "the blue one"}


def test_events_as_subtitles_and_as_a_table() -> None:
    rows: list[dict[str, Any]] = [
        {"start": 0.0, "end": 3661.5, "caption": "cuts --> an\nonion", "score": 0.5},
        {"start": 3662.0, "end": 3663.0, "caption": 'says "hi", twice', "score": None},
    ]
    vtt = cli._event_vtt(rows).split("\n\n")
    assert vtt[0] == "WEBVTT"
    assert vtt[1].splitlines() == ["00:00:00.000 --> 01:01:01.500", "cuts -> an onion"]
    assert cli._event_csv(rows).splitlines()[0] == "start,end,caption,score"
    assert cli._event_csv(rows).endswith('3662.0,3663.0,"says ""hi"", twice",')


def test_an_evaluation_from_the_command_line(
    capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = ["evaluate", "benchmark=questions", "model=scripted-identity", "strategy=rrd", "frames=uniform-8"]
    arguments += [f"benchmark.annotations={questions}", f"output_dir={folder}"]
    code, out, _ = run(capsys, *arguments, "--json")
    value = json.loads(out)
    assert code == 0
    assert value["strict"]["order"]["accuracy"] == 50.0
    assert value["output_dir"] == str(folder)
    for name in ("predictions.jsonl", "report.json", "report.html", "run.json", "evaluate.log", ".hydra/config.yaml"):
        assert (folder / name).stat().st_size > 0, name
    code, error = failure(capsys, *arguments, "frames=uniform-16")
    assert (code, error["code"]) == (2, "run_folder")
    assert "frames.num_frames is 16, was 8" in error["message"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0, "the refused command must have left the run as it was"
    code, error = failure(capsys, *arguments, "resume=false")
    assert (code, error["code"]) == (2, "run_folder")
    code, out, _ = run(
        capsys, "score", "questions", str(folder / "predictions.jsonl"), "--annotations", str(questions), "--json"
    )
    assert json.loads(out)["strict"] == value["strict"]


def test_an_evaluation_whose_inputs_failed_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], media: Path, questions: Path, tmp_path: Path
) -> None:
    rows = json.loads(questions.read_text())
    rows[1]["videos"][1] = str(media / "text.mp4")
    questions.write_text(json.dumps(rows))
    arguments = ["evaluate", "benchmark=questions", "model=scripted-identity", "strategy=rrd", "frames=uniform-8"]
    arguments += [f"benchmark.annotations={questions}", f"output_dir={tmp_path}/run", "--json"]
    code, out, _ = run(capsys, *arguments)
    value = json.loads(out)
    assert (code, value["num_errors"], value["errors"]) == (1, 1, {"unreadable": 1})


def test_an_output_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["evaluate", "benchmark=questions", "model=scripted-identity", f"benchmark.annotations={questions}"]
    code, error = failure(capsys, *arguments, "strategy=rrd", f"output_dir={tmp_path}/file/run")
    assert (code, error["code"]) == (2, "output")


def test_an_unexpected_error_is_one_line_and_the_traceback_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(args: Any) -> None:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr(cli, "_strategies", broken)
    code, out, err = run(capsys, "strategies")
    assert (code, out) == (1, "")
    assert err == "error: ZeroDivisionError: of all things (add -v for the traceback)\n"
    code, _, err = run(capsys, "strategies", "-v")
    assert code == 1
    assert "Traceback" in err


def test_ctrl_c_is_exit_code_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(args: Any) -> None:
        raise KeyboardInterrupt("stopped after 3 of 6 samples; continue with …")

    monkeypatch.setattr(cli, "_strategies", stopped)
    code, _, err = run(capsys, "strategies")
    assert code == 130
    assert "continue with" in err


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m vidcausal strategies | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_a_real_run_says_how_to_continue(questions: Path, tmp_path: Path) -> None:
    row = json.loads(questions.read_text())[0]
    questions.write_text(json.dumps([{**row, "id": str(n)} for n in range(200)]))
    command = [sys.executable, "-m", "vidcausal", "evaluate", "benchmark=questions", "model=scripted-identity"]
    command += ["strategy=rrd", f"benchmark.annotations={questions}", f"output_dir={tmp_path}/run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "evaluate.log").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"output_dir={tmp_path}/run" in err


@pytest.mark.parametrize("name", ["strategies", "benchmarks", "models"])
def test_what_there_is(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = run(capsys, name, "--json")
    rows = json.loads(out)[name]
    assert code == 0
    assert all(row["name"] and row["about"] for row in rows)
    code, out, _ = run(capsys, name)
    assert all(row["name"] in out for row in rows)


def test_a_model_is_checked_without_loading_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models", "--check", "embedded", "--json")
    value = json.loads(out)
    assert code == 1, "no weights in an empty cache"
    assert {"clip-vit-b16-image-int8", "all-minilm-l6-v2"} <= set(value["missing"])
    assert value["bytes"] > 100e6


def test_the_doctor_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    findings = {row["name"]: row for row in json.loads(out)["findings"]}
    assert code == 0
    assert {"vidcausal", "torch", "torchvision", "gpu", "ffmpeg", "cache folder", "java", "decode pyav"} <= set(
        findings
    )
    assert {row["status"] for row in findings.values()} <= {"ok", "missing", "warning"}
    assert all(row["detail"] and "\n" not in row["detail"] for row in findings.values())
    assert findings["decode pyav"]["status"] == "ok"


def test_the_doctor_survives_a_broken_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidcausal.evaluation import doctor

    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    findings = {finding.name: finding for finding in doctor.examine()}
    assert findings["torchvision"].status == "warning"
    assert "pip install" in findings["torchvision"].detail
    assert findings["java"].status == "missing"


def test_a_cache_folder_that_cannot_be_written_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vidcausal.evaluation import doctor

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "file" / "cache"))
    (finding,) = doctor._cache()
    assert finding.status == "warning"
    assert "VIDCAUSAL_CACHE" in finding.detail


def test_data_is_checked_against_its_manifest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "vcrbench").mkdir()
    (tmp_path / "vcrbench" / "response_1.json").write_text("[]")
    code, out, _ = run(capsys, "data", "check", "vcrbench", "--data-dir", str(tmp_path), "--json")
    files = {row["path"]: row for row in json.loads(out)["files"]}
    assert code == 1
    assert files["response_1.json"]["status"] == "differs"
    assert "count 0, expected 365" in files["response_1.json"]["detail"]
    assert files["response_2.json"]["status"] == "absent"
    (tmp_path / "vcrbench" / "response_1.json").unlink()
    code, out, _ = run(capsys, "data", "check", "vcrbench", "--data-dir", str(tmp_path))
    assert code == 1
    assert "no file of vcrbench is in" in out
    assert "get it    https://huggingface.co/datasets/pritamqu/VCRBench" in out
    assert "license   code and recorded responses: MIT" in out
    assert "scorer    https://github.com/pritamqu/VCRBench@5d616a391f (process.py, metrics.py)" in out


@pytest.mark.data
def test_the_recorded_vcrbench_responses_are_the_official_ones(
    capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    _, out, _ = run(capsys, "data", "check", "vcrbench", "--data-dir", str(shared_data / "annotations"), "--json")
    files = {row["path"]: row["status"] for row in json.loads(out)["files"]}
    assert {files[f"response_{n}.json"] for n in (1, 2, 3)} == {"ok"}
