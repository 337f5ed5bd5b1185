from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcausal.errors import (
    ConfigError,
    DamagedMediaError,
    DecodeError,
    EmptyMediaError,
    MediaLimitError,
    MissingDependencyError,
    MissingMediaError,
    UnknownNameError,
)
from vidcausal.types import Span
from vidcausal.video import _pyav, decode
from vidcausal.video.decode import MediaLimits, backends, open_video, output_size
from vidcausal.video.request import RawFrames, ReadRequest
from vidcausal.video.sampling import KeepAll, NearestKeyframe, Uniform

from .conftest import number_of

REPOSITORY = Path(__file__).resolve().parents[2]


def test_sample_gives_frames_with_their_times(videos: Path) -> None:
    with open_video(videos / "shifted.mkv") as video:
        batch = video.sample(Uniform(7), size=(32, 48))
    assert batch.data.shape == (7, 3, 32, 48)
    assert batch.pts_seconds.dtype == torch.float64
    assert batch.pts_seconds.tolist() == pytest.approx([0, 1, 2, 3, 3.9, 4.9, 5.9], abs=0.11)
    assert batch.missing_seconds == ()
    assert not batch.damaged
    assert batch.backend.startswith("pyav ")
    assert not video.cpu_fallback


def test_read_takes_any_times(videos: Path) -> None:
    batch = open_video(videos / "plain.mp4").read([5.95, 0.0, 1.04, 1.0])
    assert [number_of(p) for p in batch.data.numpy()] == [0, 10, 59]
    assert batch.requested_seconds is not None
    assert batch.requested_seconds.tolist() == [0.0, 1.0, 1.04, 5.95]


def test_spans(videos: Path) -> None:
    batch = open_video(videos / "plain.mp4").sample(KeepAll(100), span=Span(2.0, 2.5))
    assert [number_of(p) for p in batch.data.numpy()] == [20, 21, 22, 23, 24]


def test_sizes(videos: Path) -> None:
    info = open_video(videos / "plain.mp4").info
    assert output_size(info, None) == (64, 96)
    assert output_size(info, 32) == (32, 48)
    assert output_size(info, (10, 20)) == (10, 20)
    assert output_size(replace(info, width=64, height=96), 32) == (48, 32)
    wrong: list[Any] = [0, -3, (0, 4), (1, 2, 3), "32", 2.5, True]
    for size in wrong:
        with pytest.raises(ConfigError, match="size must be"):
            output_size(info, size)


def test_keys_name_content_plan_size_span_and_backend(videos: Path, tmp_path: Path) -> None:
    video = open_video(videos / "plain.mp4")
    key = video.plan_key(Uniform(4), 32)
    assert video.sample(Uniform(4), size=32).key == key
    shutil.copy(videos / "plain.mp4", tmp_path / "moved.mp4")
    assert open_video(tmp_path / "moved.mp4").plan_key(Uniform(4), 32) == key
    others = {
        video.plan_key(Uniform(5), 32),
        video.plan_key(Uniform(4), 33),
        video.plan_key(Uniform(4), 32, Span(0, 1)),
        video.plan_key(NearestKeyframe(Uniform(4)), 32),
        open_video(videos / "nob.mp4").plan_key(Uniform(4), 32),
    }
    assert len(others | {key}) == 6


def test_open_is_lazy_but_refuses_at_once(videos: Path, tmp_path: Path) -> None:
    assert "info" not in vars(open_video(videos / "plain.mp4"))
    with pytest.raises(MissingMediaError):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(UnknownNameError, match="pyav"):
        open_video(videos / "plain.mp4", backend="pyva")
    with pytest.raises(UnknownNameError):
        open_video(videos / "plain.mp4", device="gpu")
    with pytest.raises(ConfigError):
        open_video(videos / "plain.mp4", threads=-1)


def test_a_gpu_that_is_not_there_is_told(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    video = open_video(videos / "plain.mp4", device="cuda")
    assert video.cpu_fallback
    assert "no CUDA device" in str(video.cpu_fallback)
    assert video.sample(Uniform(2)).data.device.type == "cpu"


def test_backends_say_why_not(monkeypatch: pytest.MonkeyPatch, videos: Path) -> None:
    found = backends()
    assert found["pyav"] is None
    assert set(found) == set(decode.BACKENDS)
    monkeypatch.setattr(decode.load_backend("torchcodec"), "unavailable", lambda device: "not installed here")
    with pytest.raises(MissingDependencyError, match="not installed here"):
        open_video(videos / "plain.mp4", backend="torchcodec")


class Fake:
    """A backend that fails, or returns frames at times that were not asked for."""

    def __init__(self, shift: float | None) -> None:
        self.shift = shift

    def version(self) -> str:
        return "1"

    def unavailable(self, device: str) -> str | None:
        return None

    def read_frames(self, request: ReadRequest) -> RawFrames:
        if self.shift is None:
            raise DecodeError("it broke")
        raw = _pyav.read_frames(request)
        return replace(raw, pts_seconds=tuple(t + self.shift for t in raw.pts_seconds))


def use(monkeypatch: pytest.MonkeyPatch, first: Fake, others: bool = True) -> None:
    """``first`` answers to the name pyav; the real reader to torchcodec."""
    table: dict[str, Any] = {"pyav": first, "torchcodec": _pyav if others else Fake(None)}
    monkeypatch.setattr(decode, "load_backend", lambda name: table[name])


@pytest.mark.parametrize("shift", [None, 0.06, -0.3])
def test_a_wrong_backend_is_replaced_once_and_told(
    videos: Path, monkeypatch: pytest.MonkeyPatch, shift: float | None
) -> None:
    use(monkeypatch, Fake(shift))
    video = open_video(videos / "plain.mp4")
    batch = video.sample(Uniform(6))
    assert batch.backend.startswith("torchcodec")
    assert [number_of(p) for p in batch.data.numpy()] == [0, 12, 24, 35, 47, 59]
    assert "torchcodec was used" in str(video.cpu_fallback)


def test_small_differences_of_clocks_are_the_same_frame(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Fake(0.01))
    batch = open_video(videos / "plain.mp4").sample(Uniform(3))
    assert batch.backend == "pyav 1"
    assert batch.pts_seconds.tolist() == open_video(videos / "plain.mp4").info.pts_seconds[[0, 30, 59]].tolist()


def test_there_is_one_fallback_and_none_for_a_named_backend(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Fake(None), others=False)
    with pytest.raises(DecodeError, match="it broke"):
        open_video(videos / "plain.mp4").sample(Uniform(2))
    use(monkeypatch, Fake(0.06))
    with pytest.raises(DecodeError, match="asked for"):
        open_video(videos / "plain.mp4", backend="pyav").sample(Uniform(6))


def test_damage_is_flagged_and_strict_raises(videos: Path, tmp_path: Path) -> None:
    whole = (videos / "nob.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) - 1200])
    video = open_video(tmp_path / "half.mp4")
    batch = video.sample(Uniform(8))
    assert batch.damaged
    assert len(batch) + len(batch.missing_seconds) == 8
    with pytest.raises(DamagedMediaError, match=r"of 6\.0 s are there"):
        video.sample(Uniform(8), strict=True)
    assert len(open_video(videos / "nob.mp4").sample(Uniform(8), strict=True)) == 8


def test_nothing_decodable_is_an_error(videos: Path, tmp_path: Path) -> None:
    data = bytearray((videos / "nob.mp4").read_bytes())
    at = data.index(b"mdat") + 4
    data[at:] = bytes(len(data) - at)
    (tmp_path / "zeros.mp4").write_bytes(data)
    with pytest.raises(EmptyMediaError, match="none of the"):
        open_video(tmp_path / "zeros.mp4").sample(Uniform(4))


def test_a_read_that_would_not_fit_is_refused(videos: Path) -> None:
    video = open_video(videos / "plain.mp4", limits=MediaLimits(max_output_bytes=10_000))
    with pytest.raises(MediaLimitError, match="fewer frames"):
        video.sample(Uniform(4))


@pytest.mark.data
def test_recorded_damage(shared_data: Path) -> None:
    folder = shared_data / "adversarial"
    expected = {"bitflip_few.mp4": 16, "zeroed_mid.mp4": 11, "trunc_fast_half.mp4": 15, "trunc_half.mkv": 16}
    for name, delivered in expected.items():
        batch = open_video(folder / name).sample(Uniform(16))
        assert len(batch) == delivered, name
        assert batch.damaged, name
    assert not open_video(folder / "cfr.ts").sample(Uniform(16)).damaged


@pytest.mark.data
def test_memory_does_not_grow_with_reads(shared_data: Path) -> None:
    import resource

    def used() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    path = shared_data / "adversarial" / "cfr_bf3.mp4"
    for _ in range(5):
        open_video(path).sample(Uniform(8), size=(48, 64))
    before = used()
    for _ in range(40):
        open_video(path).sample(Uniform(8), size=(48, 64))
    assert used() - before < 20 * 1024


def fuzz(folder: Path, mutations: int, seed: int) -> str:
    command = [sys.executable, "scripts/bench_decode.py", "--fuzz", str(mutations), "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--adversarial", str(folder)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mutated_files_give_frames_or_typed_errors(videos: Path, tmp_path: Path) -> None:
    names = {"fast.mp4": "nob.mp4", "cfr.mkv": "plain.mkv", "cfr.ts": "plain.ts", "frag.mp4": "plain.mp4"}
    for name, source in {**names, "vp9.webm": "vp9.webm", "opengop.mp4": "open.mp4"}.items():
        shutil.copy(videos / source, tmp_path / name)
    assert "0 untyped, 0 hang, 0 crash" in fuzz(tmp_path, 42, 7)


@pytest.mark.data
@pytest.mark.slow
def test_three_hundred_mutations(shared_data: Path) -> None:
    assert "0 untyped, 0 hang, 0 crash" in fuzz(shared_data / "adversarial", 300, 1)


@pytest.mark.data
@pytest.mark.slow
def test_correctness_table(shared_data: Path) -> None:
    command = [sys.executable, "scripts/bench_decode.py", "--correctness"]
    folder = str(shared_data / "adversarial")
    done = subprocess.run(
        [*command, "--adversarial", folder], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout


@pytest.mark.gpu
def test_frames_stay_on_the_gpu(videos: Path) -> None:
    video = open_video(videos / "plain.mp4", device="cuda", backend="auto")
    batch = video.sample(KeepAll(60))
    assert batch.data.is_cuda
    reference = open_video(videos / "plain.mp4").sample(KeepAll(60))
    assert np.abs(batch.data.cpu().int().numpy() - reference.data.int().numpy()).mean() < 2
