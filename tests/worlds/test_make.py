from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vidcausal.errors import ConfigError, DataError, OutputError, RunFolderError, UnknownNameError, VidcausalError
from vidcausal.video.audio import read_waveform
from vidcausal.video.decode import open_video
from vidcausal.worlds import _pool, make
from vidcausal.worlds._folder import WorldFolder, story_seeds
from vidcausal.worlds.annotations import annotate, read_annotations, shuffled, to_line
from vidcausal.worlds.make import MakingInterrupted, make_world
from vidcausal.worlds.registry import create_world

HERE = Path(__file__).parent


def small(out, n=3, **more):
    """The least that can be made: tests that need the videos of VCRBench ask for its format."""
    return make_world("tiny", n, out, **{"size": 64, "jobs": 1, "formats": ["nextqa"], "progress": False, **more})


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- what is made -----------------------------------------------------------------------------------------------


def test_a_folder_is_complete(tiny_folder):
    manifest = json.loads((tiny_folder / "world.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["counts"]["samples"] == 6
    rows = read_annotations(tiny_folder)
    assert [row["id"] for row in rows] == [f"tiny-test-{seed:06d}" for seed in range(6)]
    assert manifest["counts"]["events"] == sum(len(row["events"]) for row in rows)
    assert sorted(p.name for p in (tiny_folder / "videos").iterdir()) == [f"{row['id']}.mp4" for row in rows]
    assert not list(tiny_folder.rglob(".*")), "nothing temporary is left"


def test_videos_are_what_the_annotation_says(tiny_folder):
    world = create_world("tiny")
    for row in read_annotations(tiny_folder)[:2]:
        with open_video(tiny_folder / row["video"]) as video:
            info = video.info
            frames = video.read(info.pts_seconds.tolist()).data.numpy()
        assert (info.codec, info.width, info.height, info.has_audio) == ("h264", row["size"], row["size"], True)
        assert info.duration == pytest.approx(row["duration"])
        assert info.num_frames == row["duration"] * row["fps"]
        story = world.tell(row["seed"], "test")
        expected = world.render(story, info.pts_seconds.tolist(), row["size"]).transpose(0, 3, 1, 2)
        assert np.abs(frames.astype(int) - expected).mean() < 4


def test_events_are_heard_in_the_video(tiny_folder):
    row = read_annotations(tiny_folder)[0]
    sound = read_waveform(tiny_folder / row["video"])
    for event in row["events"]:
        at = round(event["start"] * sound.sample_rate)
        after = np.abs(sound.samples[at : at + 1600]).max()
        before = np.abs(sound.samples[at - 3200 : at - 1600]).max()
        assert after > 0.2 > 4 * before


def test_an_annotation_has_the_graph_with_what_happened(tiny_folder):
    world = create_world("tiny")
    for row in read_annotations(tiny_folder):
        story = world.tell(row["seed"], "test")
        values = story.model.run(story.noise)
        assert {node["id"]: node["value"] for node in row["graph"]["nodes"]} == values
        assert [tuple(edge) for edge in row["graph"]["edges"]] == story.model.edges()
        starts = {event["id"]: event["start"] for event in row["events"] + row["unseen"]}
        seconds = {node["id"]: node["seconds"] for node in row["graph"]["nodes"]}
        assert {name: seconds[name] for name in starts} == starts
        assert all(event["end"] <= row["duration"] for event in row["events"])


def test_actual_causes_are_those_of_the_model(tiny_folder):
    for row in read_annotations(tiny_folder):
        shown = [event["id"] for event in row["events"]]
        expected = {name: [[before] for before in shown[:k]] for k, name in enumerate(shown) if k}
        assert row["actual_causes"] == expected


def test_the_same_arguments_give_the_same_bytes(tiny_folder, tmp_path):
    """In one process as in two, videos of VCRBench included."""
    small(tmp_path, 6, size=96, formats=None)
    one, two = content(tmp_path), content(tiny_folder)
    assert one == two
    assert len([name for name in one if name.endswith(".mp4")]) == 6 + 5


def test_different_seeds_share_no_sample():
    ranges = [story_seeds({"seed": seed, "n": 10**6}) for seed in range(4)]
    assert all(a.stop == b.start for a, b in zip(ranges, ranges[1:], strict=False))


def test_another_split_and_rate(tmp_path):
    small(tmp_path, 1, seed=2, split="composition", fps=5, formats=["nextqa"])
    (row,) = read_annotations(tmp_path)
    assert row["id"] == "tiny-composition-2000000"
    assert row["fps"] == 5
    assert isinstance(row["fps"], int)
    assert open_video(tmp_path / row["video"]).info.num_frames == np.ceil(row["duration"] * 5)
    assert sorted(p.name for p in (tmp_path / "formats").iterdir()) == ["nextqa"]


def test_how_clips_are_shuffled():
    rng = create_world("tiny").random(0, "test", "shuffle")
    counts = {}
    for _ in range(6000):
        order = tuple(shuffled(3, "uniform", rng))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    # 1000 expected, standard deviation 29
    assert all(abs(count - 1000) < 150 for count in counts.values())
    kept = {tuple(shuffled(3, "vcrbench", rng)) for _ in range(300)}
    assert kept == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)}
    assert len({tuple(shuffled(2, "vcrbench", rng)) for _ in range(100)}) == 2
    assert shuffled(0, "vcrbench", rng) == []


def test_annotations_are_plain_json_with_rounded_times():
    world = create_world("tiny")
    line = to_line(annotate(world, world.tell(3, "test"), size=64, fps=8))
    assert line == to_line(annotate(create_world("tiny"), world.tell(3, "test"), size=64, fps=8))
    assert json.loads(line)["clip_order"] == json.loads(line.decode())["clip_order"]
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1


def test_reading_annotations_of_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="worlds make"):
        read_annotations(tmp_path)
    (tmp_path / "annotations.jsonl").write_bytes(b'{"id": "a"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_annotations(tmp_path)


# ---- stopped and started again ----------------------------------------------------------------------------------

DRIVER = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from vidcausal import cli
from vidcausal.worlds.registry import WORLDS
WORLDS["tiny"] = "tiny_world:Tiny"
sys.exit(cli.main(["worlds", "make", "--world", "tiny", "--size", "64", "--jobs", "2", *sys.argv[1:]]))
"""
MANY = 9


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    small(folder, MANY)
    return content(folder)


def started(out):
    """A process that is making :data:`MANY` samples and has two of them."""
    command = [sys.executable, "-c", DRIVER, "--n", str(MANY), "--out", str(out), "--format", "nextqa"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("videos/[!.]*.mp4"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return process


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_making_goes_on(tmp_path, uninterrupted, number):
    process = started(tmp_path)
    os.kill(process.pid, number)
    at = time.monotonic()
    _, said = process.communicate(timeout=60)  # workers hold the pipe, so this also waits for them
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert time.monotonic() - at < 5
        assert f"of {MANY} videos" in said
        assert "Traceback" not in said
        assert not list(tmp_path.rglob(".*"))
    have = len(list(tmp_path.glob("videos/[!.]*.mp4")))
    assert 2 <= have < MANY
    assert json.loads((tmp_path / "world.json").read_text())["status"] == "in progress"
    read_annotations(tmp_path)
    assert small(tmp_path, MANY, jobs=2).made_now == MANY - have
    assert content(tmp_path) == uninterrupted


def test_a_torn_line_and_lost_videos_are_made_again(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    before = content(tmp_path)
    lines = before["annotations.jsonl"].splitlines(keepends=True)
    (tmp_path / "annotations.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:50])
    (tmp_path / "videos/tiny-test-000001.mp4").unlink()
    (tmp_path / "videos/.tiny-test-000001.mp4.abc.mp4").write_bytes(b"half")
    (tmp_path / "formats/vcrbench/videos/video_2.mp4").unlink()
    assert small(tmp_path, 6, size=96, formats=None).made_now == 1
    assert content(tmp_path) == before


def test_a_finished_folder_is_left_as_it_is(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.mp4")}
    (tmp_path / "notes.txt").write_text("mine")
    assert small(tmp_path, 6, size=96, formats=None).made_now == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.mp4")} == before
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_annotations_of_another_version_are_not_continued(tmp_path):
    small(tmp_path, 1)
    path = tmp_path / "annotations.jsonl"
    path.write_bytes(path.read_bytes().replace(b"light all lamps", b"light each lamp"))
    with pytest.raises(RunFolderError, match="another version of the world"):
        small(tmp_path, 1)
    assert b"light each lamp" in path.read_bytes()
    small(tmp_path, 1, force=True)
    assert b"light each lamp" not in path.read_bytes()


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    import vidcausal.video.edit as edit

    real, calls = edit.write_frames, []

    def full(frames, path, *args, **more):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(frames, path, *args, **more)

    monkeypatch.setattr(edit, "write_frames", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        small(tmp_path, 3)
    assert "tiny-test-000002.mp4" in str(caught.value)
    assert "goes on" in str(caught.value)
    assert len(read_annotations(tmp_path)) == 2
    monkeypatch.undo()
    assert small(tmp_path, 3).made_now == 1


def test_ffmpeg_on_a_full_disk_names_the_file(tmp_path, monkeypatch):
    import vidcausal.video.edit as edit

    def full(*args, **more):
        raise OutputError("ffmpeg cannot write its output: No space left on device")

    monkeypatch.setattr(edit, "write_frames", full)
    with pytest.raises(OutputError, match="tiny-test-000000.mp4.*No space left"):
        small(tmp_path, 1)


def test_an_encoder_that_hides_a_full_disk_leaves_no_video(tmp_path, monkeypatch):
    """ffmpeg 5 ends with 0 when the disk is full, after a line on stderr and with half a file."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in file:*.mp4) made="${word#file:}";; esac; done\n'
        'echo half > "$made"\n'
        'echo "Error closing file $made: No space left on device" >&2\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("vidcausal.video.ffmpeg.executable", lambda encoder=None: str(program))
    with pytest.raises(OutputError, match="tiny-test-000000.mp4.*No space left"):
        small(tmp_path / "w", 1)
    assert not list((tmp_path / "w/videos").iterdir())


# ---- whose folder it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"size": 96}, "size is 96, was 64"),
        ({"fps": 4}, "fps is 4, was 8"),
        ({"seed": 1}, "seed is 1, was 0"),
        ({"split": "train"}, "split is 'train', was 'test'"),
        ({"sampling": "vcrbench"}, "sampling is 'vcrbench'"),
        ({"n": 3}, "n is 3, was 2"),
    ],
)
def test_other_settings_are_refused(tmp_path, changed, named):
    folder = tmp_path / "w"
    WorldFolder(folder, make._settings("tiny", 2, 0, "test", 64, 8, "uniform", ["nextqa"])).close()
    (folder / "videos").mkdir()
    (folder / "videos/tiny-test-000000.mp4").write_bytes(b"finished")
    before = content(folder)
    with pytest.raises(RunFolderError, match="other settings") as caught:
        small(folder, **{"n": 2, **changed})
    assert named in str(caught.value)
    assert content(folder) == before


def test_another_world_is_refused(tmp_path):
    settings = make._settings("collisions", 3, 0, "test", 64, 8, "uniform", ["nextqa"])
    WorldFolder(tmp_path, settings).close()
    with pytest.raises(RunFolderError, match="holds the world 'collisions'"):
        small(tmp_path)


def test_files_of_others_are_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="not empty.*thesis.tex"):
        small(tmp_path)
    assert content(tmp_path) == {"thesis.tex": b"mine"}
    small(tmp_path, 1, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("name", ["annotations.jsonl", "videos/a.mp4", "formats/nextqa/test.csv"])
def test_force_does_not_touch_what_others_wrote(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="--force does not touch it"):
        small(tmp_path, force=True)
    assert content(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("text", ["{}", "[1]", "not json", '{"made_by": "somebody", "settings": {}}'])
def test_a_manifest_of_others_is_not_touched(tmp_path, text):
    (tmp_path / "world.json").write_text(text)
    for force in (False, True):
        with pytest.raises(OutputError, match="was not written by"):
            small(tmp_path, force=force)
    assert content(tmp_path) == {"world.json": text.encode()}


def test_force_removes_what_an_earlier_making_wrote_and_nothing_else(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "videos/holiday.mp4").write_bytes(b"mine")
    (tmp_path / "formats/vcrbench/videos/video_9.mp4").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="videos.*in the way"):
        small(tmp_path, 1, formats=["nextqa"], force=True)
    kept = ["formats/vcrbench/videos/video_9.mp4", "notes.txt", "videos/holiday.mp4"]
    assert sorted(content(tmp_path)) == kept
    shutil.rmtree(tmp_path / "videos")
    shutil.rmtree(tmp_path / "formats")
    small(tmp_path, 1, formats=["nextqa"], force=True)
    assert "notes.txt" in content(tmp_path)


def test_force_makes_other_settings(tmp_path):
    small(tmp_path, 1, formats=["nextgqa"])
    assert small(tmp_path, 1, seed=1, formats=[], force=True).made_now == 1
    assert sorted(content(tmp_path)) == ["annotations.jsonl", "videos/tiny-test-1000000.mp4", "world.json"]


def test_two_at_once_in_one_folder(tmp_path):
    folder = WorldFolder(tmp_path, make._settings("tiny", 3, 0, "test", 64, 8, "uniform", ["nextqa"]))
    with pytest.raises(RunFolderError, match="another process"):
        small(tmp_path)
    folder.close()
    WorldFolder(tmp_path, folder.settings).close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write.*file/w"):
        small(tmp_path / "file" / "w")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be 1 to 1000000 samples, got 0"),
        ({"n": -3}, "got -3"),
        ({"n": 10**6 + 1}, "with another seed"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"size": 0}, "size must be"),
        ({"size": 225}, "even number"),
        ({"size": 10_000}, "720"),
        ({"fps": 0}, "fps must be"),
        ({"fps": float("nan")}, "fps must be"),
        ({"fps": 1000}, "fps must be"),
        ({"jobs": 0}, "jobs must be"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        small(tmp_path / "w", **arguments)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ({"world": "tinny"}, "'tiny'"),
        ({"split": "tset"}, "'test'"),
        ({"sampling": "vcrbank"}, "'vcrbench'"),
        ({"formats": ["nextqa", "charades"]}, "'charades_sta'"),
    ],
)
def test_names_that_do_not_exist(tmp_path, arguments, near):
    given = {"world": "tiny", "n": 1, "out": tmp_path / "w", **arguments}
    with pytest.raises(UnknownNameError, match=near):
        make_world(**given)
    assert not (tmp_path / "w").exists()


# ---- the processes ----------------------------------------------------------------------------------------------


def _half(task):
    if task == 5:
        raise ConfigError("five")
    if task == 6:
        raise KeyError("six")
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task / 2


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_every_task_is_done_once(jobs):
    done = dict(_pool.run(_half, [1, 2, 3, 4, 8, 9], jobs))
    assert done == {task: task / 2 for task in (1, 2, 3, 4, 8, 9)}
    assert list(_pool.run(_half, [], jobs)) == []


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [(5, ConfigError, "five"), (6, RuntimeError, "KeyError: 'six'"), (7, VidcausalError, "died.*-9.*--jobs")],
)
def test_what_happens_in_a_process_is_told(task, kind, message):
    with pytest.raises(kind, match=f"(?s){message}"):
        list(_pool.run(_half, [1, 2, task, 3, 4], 2))


def test_processes_end_with_the_iterator():
    def slow(task):
        time.sleep(0.0 if task == 0 else 60.0)
        return os.getpid()

    results = _pool.run(slow, [0, 1, 2, 3], 2)
    _, process = next(results)
    at = time.monotonic()
    results.close()
    assert time.monotonic() - at < 3
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(tmp_path, monkeypatch, number):
    monkeypatch.setattr(make, "_write_samples", lambda *args: signal.raise_signal(number))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(MakingInterrupted, match="0 of 3 videos.*the same command goes on"):
        small(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
