"""decord runs in a child process: it may hang or die, the caller gets a typed error and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vidcausal.errors import DecodeError, DecoderCrashError, DecodeTimeoutError
from vidcausal.video import _decord
from vidcausal.video.decode import open_video
from vidcausal.video.edit import write_frames
from vidcausal.video.probe import probe
from vidcausal.video.request import ReadRequest

needs_decord = pytest.mark.skipif(_decord.unavailable("cpu") is not None, reason=str(_decord.unavailable("cpu")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    levels = (8 + 8 * np.arange(20)).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (20, 3, 48, 64)).copy()
    return write_frames(frames, tmp_path_factory.mktemp("decord") / "a.mp4", 10)


def children():
    """Ids of living and dead children of this process."""
    own = str(os.getpid())
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "stat").read_text().rsplit(")", 1)[1].split()[1] == own:
                found.add(folder.name)
        except OSError:
            continue
    return found


def with_child(monkeypatch, tmp_path, code):
    path = tmp_path / "child.py"
    path.write_text(code)
    monkeypatch.setattr(_decord, "_CHILD", path)


@needs_decord
def test_frames_are_matched_by_time_and_resized(clip):
    info = probe(clip)
    raw = _decord.read_frames(ReadRequest(info, (3, 7, 19), size=(24, 32)))
    assert raw.data.shape == (3, 3, 24, 32)
    assert raw.pts_seconds == pytest.approx([0.3, 0.7, 1.9])
    assert [round((float(f.float().mean()) - 8) / 8) for f in raw.data] == [3, 7, 19]


@needs_decord
def test_open_video_reads_with_decord(clip):
    with open_video(clip, backend="decord") as video:
        frames = video.read([0.0, 1.0])
    assert frames.backend == f"decord {_decord.version()}"
    assert round((float(frames.data[1].float().mean()) - 8) / 8) == 10


@needs_decord
@pytest.mark.data
def test_files_that_decord_reads_wrongly_are_refused(shared_data):
    for name in ("cfr.ts", "editlist2.mp4"):
        with pytest.raises(DecodeError, match="pyav"):
            _decord.read_frames(ReadRequest(probe(shared_data / "adversarial" / name), (0, 50)))


@needs_decord
def test_the_child_needs_no_torch():
    code = "import sys, decord, json, resource; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "import torch" not in Path(_decord._CHILD).read_text()


@pytest.mark.parametrize(
    "code",
    ["while True: pass", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"],
    ids=["spins", "ignores SIGTERM"],
)
def test_a_decoder_that_never_returns_is_killed(monkeypatch, tmp_path, clip, code):
    with_child(monkeypatch, tmp_path, code)
    before = children()
    started = time.monotonic()
    with pytest.raises(DecodeTimeoutError, match="killed"):
        _decord.read_frames(ReadRequest(probe(clip), (0, 1), deadline_seconds=1.0))
    assert time.monotonic() - started < 2.5
    assert children() <= before


def test_grandchildren_are_killed_too(monkeypatch, tmp_path, clip):
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        f"open({str(note)!r}, 'w').write(str(p.pid))\ntime.sleep(99)\n"
    )
    with_child(monkeypatch, tmp_path, code)
    with pytest.raises(DecodeTimeoutError):
        _decord.read_frames(ReadRequest(probe(clip), (0,), deadline_seconds=2.0))
    stat = Path(f"/proc/{note.read_text()}/stat")
    for _ in range(50):
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the decoder's own child is still running")


@pytest.mark.parametrize(
    ("code", "says"),
    [("import os; os.abort()", "SIGABRT"), ("raise SystemExit(3)", "exit code 3"), ("pass", "no answer")],
)
def test_a_decoder_that_dies_is_reported(monkeypatch, tmp_path, clip, code, says):
    with_child(monkeypatch, tmp_path, code)
    before = children()
    with pytest.raises(DecoderCrashError, match=says):
        _decord.read_frames(ReadRequest(probe(clip), (0, 1), deadline_seconds=20))
    assert children() <= before


def test_an_orphan_ends_itself(monkeypatch, tmp_path, clip):
    """The alarm that the real child sets ends it even when nobody kills it."""
    child = subprocess.Popen([sys.executable, "-c", "import signal\nsignal.alarm(1)\nwhile True: pass"])
    assert child.wait(timeout=10) < 0
    with pytest.raises(DecodeTimeoutError):
        _decord.run_child([sys.executable, "-c", "import signal\nsignal.alarm(1)\nwhile True: pass"], 10, "x.mp4")


def test_a_crash_loses_no_other_video(monkeypatch, tmp_path, clip):
    with_child(monkeypatch, tmp_path, "import os; os.abort()")
    video = open_video(clip, backend="decord") if _decord.unavailable("cpu") is None else None
    if video is not None:
        with pytest.raises(DecoderCrashError):
            video.read([0.0])
    assert len(open_video(clip, backend="pyav").read([0.0, 0.5])) == 2
