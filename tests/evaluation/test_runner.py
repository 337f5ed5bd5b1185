from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vidcausal.errors import DataError, MissingWeightsError, OutputError, RunFolderError
from vidcausal.evaluation import results
from vidcausal.evaluation.run_folder import RunFolder
from vidcausal.evaluation.runner import RunInterrupted, plain, run
from vidcausal.types import Media
from vidcausal.video.sampling import Uniform

DRIVER = Path(__file__).with_name("tiny_run.py")


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_run", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def video(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_video(tmp_path_factory.mktemp("media") / "tiny.mp4")


def rows(folder: Path, drop: tuple[str, ...] = ("seconds", "decode")) -> list[dict[str, Any]]:
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in drop} for line in lines]


def test_killed_at_five_points_and_resumed_gives_the_same_predictions(
    tiny: ModuleType, video: Path, tmp_path: Path
) -> None:
    whole = tiny.tiny_run(video, tmp_path / "whole")
    points = ["1", "9", "23", "40", "55"]
    command = [sys.executable, str(DRIVER), str(video), str(tmp_path / "killed"), *points]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert done.returncode == 0, done.stderr
    assert [int(seen) >= int(point) for seen, point in zip(done.stdout.split(), points, strict=True)] == [True] * 5
    killed = rows(tmp_path / "killed", drop=("seconds", "decode", "steps"))
    assert killed == rows(tmp_path / "whole", drop=("seconds", "decode", "steps"))
    assert len({row["id"] for row in killed}) == len(killed) == 60
    assert len(list((tmp_path / "killed" / "media").glob("*.json"))) == 60
    assert not list((tmp_path / "killed").rglob(".*.json.*")), "a torn temporary file is left"
    again = tiny.tiny_run(video, tmp_path / "killed")
    assert again.answered_now == 0
    assert again.scores == whole.scores


def test_a_torn_last_line_is_cut_off_and_answered_again(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    tiny.tiny_run(video, tmp_path, count=4)
    file = tmp_path / "predictions.jsonl"
    expected = rows(tmp_path)
    file.write_bytes(file.read_bytes()[:-25])
    assert tiny.tiny_run(video, tmp_path, count=4).answered_now == 1
    assert rows(tmp_path) == expected


def test_a_whole_last_line_without_its_newline_is_kept(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    tiny.tiny_run(video, tmp_path, count=3)
    file = tmp_path / "predictions.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    assert tiny.tiny_run(video, tmp_path, count=4).answered_now == 1
    assert [row["id"] for row in rows(tmp_path)] == ["q0", "q1", "q2", "q3"]


def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "predictions.jsonl").write_text('{"id": "a"}\n{"id": \n{"id": "b"}\n')
    with pytest.raises(DataError, match="line 2"):
        RunFolder(tmp_path, {})
    (tmp_path / "predictions.jsonl").write_text('{"id": "a"}\n{"id": "a"}\n{"id": "b"}\n')
    with pytest.raises(DataError, match="repeats the id 'a'"):
        RunFolder(tmp_path, {})


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"a": 1}), pytest.raises(RunFolderError, match="another process"):
        RunFolder(tmp_path, {"a": 1})
    RunFolder(tmp_path, {"a": 1}).close()


def test_another_configuration_is_refused_and_the_keys_are_named(tmp_path: Path) -> None:
    RunFolder(tmp_path, {"strategy": "rrd", "frames": {"num_frames": 32}, "size": 224}).close()
    with pytest.raises(RunFolderError) as caught:
        RunFolder(tmp_path, {"strategy": "direct", "frames": {"num_frames": 16}, "size": 224})
    message = str(caught.value)
    assert 'strategy is "direct", was "rrd"' in message
    assert "frames.num_frames is 16, was 32" in message
    assert "size" not in message
    RunFolder(tmp_path, {"strategy": "rrd", "frames": {"num_frames": 32}, "size": 224}).close()


def test_predictions_of_an_unknown_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(RunFolderError, match=r"no run\.json"):
        RunFolder(tmp_path, {})


def test_without_resume_a_folder_with_predictions_is_refused(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    tiny.tiny_run(video, tmp_path, count=2)
    with pytest.raises(RunFolderError, match="already has 2 predictions"):
        tiny.tiny_run(video, tmp_path, count=2, resume=False)


@pytest.mark.parametrize("inside", ["file/run", "file"])
def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="choose another output_dir"):
        RunFolder(tmp_path / inside, {})


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses writes to root too")
def test_a_read_only_file_system_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="choose another output_dir"):
        RunFolder("/proc/vidcausal", {})


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path, {}) as folder:
        folder.append({"id": "a"})
        before = folder.predictions.read_bytes()
        write = os.write

        def full(handle: int, content: bytes) -> int:
            if handle != folder._file:
                return write(handle, content)
            if len(content) > 5:
                return write(handle, content[:5])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            folder.append({"id": "b"})
        monkeypatch.undo()
        assert folder.predictions.read_bytes() == before
        assert folder.done == {"a"}
        with pytest.raises(RunFolderError, match="already has a prediction for 'a'"):
            folder.append({"id": "a"})


def test_a_failing_sample_is_recorded_and_the_run_goes_on(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    done = tiny.tiny_run(video, tmp_path, count=6, missing=(2,), strategy=tiny.Draws(fail_on="q4"))
    errors = {row["id"]: row["error"] for row in done.rows if row["error"]}
    assert errors["q2"]["code"] == "missing"
    assert errors["q4"] == {"code": "unexpected", "message": "RuntimeError: the model fell over"}
    assert set(errors) == {"q2", "q4"}
    report = results.write(
        done, tiny.Questions(video, 6, (2,)), names={"benchmark": "tiny", "model": "-", "strategy": "draws"}, config={}
    )
    written = json.loads(report.path.read_text())
    assert written["num_errors"] == report.num_errors == 2
    assert written["errors"] == {"missing": 1, "unexpected": 1}
    assert written["outcomes"]["q2"] == "decode"
    assert written["outcomes"]["q4"] == "model"
    assert written["count"] == 6
    assert sum(written["lost"].values()) == 6
    assert {"vidcausal", "python", "torch"} <= set(written["versions"])
    # One video: q0 and q1 share its footage, a failure lets go of it, so q3 and q5 open it again.
    assert written["decode"]["decoded"] == 3
    assert written["strict"] == report.strict


def test_questions_about_one_video_that_follow_one_another_decode_it_once(
    tiny: ModuleType, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcausal.video.decode import Video

    other = video.with_name("other.mp4")
    other.write_bytes(video.read_bytes())

    class Two(tiny.Questions):
        def samples(self) -> Any:
            for sample in super().samples():
                path = str(other if int(sample.id[1:]) >= 4 else video)
                yield dataclasses.replace(sample, media=Media((path,)))

    opened: list[str] = []
    original = Video.read

    def read(self: Any, *args: Any, **options: Any) -> Any:
        opened.append(Path(self.path).name)
        return original(self, *args, **options)

    monkeypatch.setattr(Video, "read", read)
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))
    settings = {"policy": Uniform(3), "identity": {}, "progress": False}
    done = run(tiny.Draws(), Two(video, 7), output_dir=tmp_path / "shared", **settings)
    assert opened == ["tiny.mp4", "other.mp4"]
    assert [row["decode"].get("shared", False) for row in done.rows] == [False, True, True, True, False, True, True]
    assert [row["seconds"]["decode"] for row in done.rows if row["decode"].get("shared")] == [0.0] * 5
    assert results.decode_summary(done.rows)["frames"] == 6
    alone = [run(tiny.Draws(), Two(video, 7), output_dir=tmp_path / "alone", limit=n, **settings) for n in range(1, 8)]
    assert [row["reply"] for row in alone[-1].rows] == [row["reply"] for row in done.rows]


def test_a_benchmark_that_can_judge_is_asked(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    class Judges(tiny.Questions):
        def is_right(self, prediction: Any) -> bool | None:
            return {"q0": True, "q1": False}.get(prediction.sample.id)

    settings = {"policy": Uniform(3), "identity": {}, "progress": False}
    benchmark = Judges(video, 3)
    done = run(tiny.Draws(), benchmark, output_dir=tmp_path, **settings)
    assert results.outcomes(done, benchmark) == {"q0": "right", "q1": "wrong", "q2": "parsing"}


def test_errors_are_answered_again_when_asked(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    tiny.tiny_run(video, tmp_path, count=5, strategy=tiny.Draws(fail_on="q1"))
    assert tiny.tiny_run(video, tmp_path, count=5).answered_now == 0
    fixed = tiny.tiny_run(video, tmp_path, count=5, retry_errors=True)
    assert fixed.answered_now == 1
    assert [row["id"] for row in fixed.rows] == ["q0", "q1", "q2", "q3", "q4"]
    assert not any(row["error"] for row in fixed.rows)


def test_what_would_fail_every_sample_ends_the_run(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    class Weightless:
        name = "weightless"

        def answer(self, sample: Any, footage: Any) -> Any:
            raise MissingWeightsError("weights 'x' are not here")

    with pytest.raises(MissingWeightsError):
        tiny.tiny_run(video, tmp_path, count=3, strategy=Weightless())
    assert rows(tmp_path) == []


def test_a_limited_run_is_scored_over_what_ran_and_can_be_extended(
    tiny: ModuleType, video: Path, tmp_path: Path
) -> None:
    assert tiny.tiny_run(video, tmp_path, limit=3).scores.count == 3
    longer = tiny.tiny_run(video, tmp_path, limit=7)
    assert (longer.answered_now, longer.scores.count) == (4, 7)
    shorter = tiny.tiny_run(video, tmp_path, limit=2)
    assert (shorter.answered_now, shorter.scores.count, len(shorter.rows)) == (0, 2, 2)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_can_be_resumed(
    tiny: ModuleType, video: Path, tmp_path: Path, number: signal.Signals
) -> None:
    class Stops(tiny.Draws):
        def answer(self, sample: Any, footage: Any) -> Any:
            if sample.id == "q3":
                os.kill(os.getpid(), number)
                time.sleep(5)
            return super().answer(sample, footage)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunInterrupted, match="stopped after 3 of 6 samples") as caught:
        tiny.tiny_run(video, tmp_path, count=6, strategy=Stops())
    assert f"output_dir={tmp_path}" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is before
    assert tiny.tiny_run(video, tmp_path, count=6).answered_now == 3


def test_a_row_has_what_the_contract_says(tiny: ModuleType, video: Path, tmp_path: Path) -> None:
    row = tiny.tiny_run(video, tmp_path, count=1).rows[0]
    assert set(row) == {
        *("id", "reply", "steps", "records", "order", "spans", "option", "option_scores", "notes"),
        *("decode", "seconds", "error"),
    }
    assert row["decode"]["num_frames"] == 3
    assert set(row["seconds"]) == {"decode", "answer"}
    media = json.loads((tmp_path / "media" / "000.json").read_text())
    assert media["id"] == "q0"
    assert [set(frame) for frame in media["frames"]] == [{"seconds", "jpeg"}] * 3
    assert media["sample"]["target"] == 0


def test_values_that_json_does_not_know() -> None:
    import numpy as np

    value = {"a": (1, float("nan")), "b": np.float32(0.5), "c": np.arange(2), "d": {2, 1}, 3: float("inf")}
    assert plain(value) == {"a": [1, None], "b": 0.5, "c": [0, 1], "d": [1, 2], "3": None}
