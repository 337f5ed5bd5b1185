"""Backends that may be absent say so in one line; what they return is checked by its time."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch

from vidcausal.errors import DecodeError
from vidcausal.video import _pynvvideocodec, _torchcodec
from vidcausal.video.decode import BACKENDS, backends, open_video
from vidcausal.video.edit import write_frames
from vidcausal.video.probe import probe
from vidcausal.video.request import ReadRequest


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = np.broadcast_to((8 + 8 * np.arange(20)).astype(np.uint8)[:, None, None, None], (20, 3, 48, 64)).copy()
    return write_frames(frames, tmp_path_factory.mktemp("optional") / "a.mp4", 10)


def test_every_backend_says_yes_or_one_line():
    found = backends()
    assert set(found) == set(BACKENDS)
    assert found["pyav"] is None
    assert all(reason is None or (reason and "\n" not in reason) for reason in found.values())
    assert "GPU" in str(_pynvvideocodec.unavailable("cpu"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "FFmpeg version 8:\nlibavutil.so.60: cannot open shared object file: No such file",
            "FFmpeg's shared libraries",
        ),
        ("Could not load\nlibcudart.so.13: cannot open shared object file", "libcudart.so.13"),
        ("", "unknown"),
    ],
)
def test_torchcodec_import_errors_become_one_line(text, reason):
    assert reason in _torchcodec._reason(text)
    assert "\n" not in _torchcodec._reason(text)


class Decoder:
    """Stands for torchcodec's: frames 0.1 s apart, ``late`` of them too late."""

    late = 0

    def __init__(self, path, **options):
        assert options["seek_mode"] == "exact"

    def get_frames_played_at(self, seconds):
        index = [min(int(t * 10) + self.late, 19) for t in seconds]
        data = torch.stack([torch.full((3, 48, 64), 8 + 8 * i, dtype=torch.uint8) for i in index])
        return types.SimpleNamespace(data=data, pts_seconds=torch.tensor([i / 10 for i in index], dtype=torch.float64))


@pytest.fixture
def fake(monkeypatch):
    package, decoders = types.ModuleType("torchcodec"), types.ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = type("VideoDecoder", (Decoder,), {})
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return decoders.VideoDecoder


def test_torchcodec_frames_are_matched_by_time(fake, clip):
    raw = _torchcodec.read_frames(ReadRequest(probe(clip), (0, 7, 19), size=(24, 32)))
    assert raw.pts_seconds == pytest.approx([0.0, 0.7, 1.9])
    assert raw.data.shape == (3, 3, 24, 32)
    assert [int(f.float().mean()) for f in raw.data] == [8, 64, 160]


def test_frames_of_another_time_are_an_error(fake, clip):
    fake.late = 4
    with pytest.raises(DecodeError, match="others were asked for"):
        _torchcodec.read_frames(ReadRequest(probe(clip), (0, 7)))


def test_one_bad_frame_does_not_lose_the_others(fake, clip):
    original = fake.get_frames_played_at

    def sometimes(self, seconds):
        raise RuntimeError("bad packet")

    def single(self, t):
        if 0.65 < t < 0.75:
            raise RuntimeError("bad packet")
        batch = original(self, [t])
        return types.SimpleNamespace(data=batch.data[0], pts_seconds=float(batch.pts_seconds[0]))

    fake.get_frames_played_at, fake.get_frame_played_at = sometimes, single
    raw = _torchcodec.read_frames(ReadRequest(probe(clip), (0, 7, 19)))
    assert raw.pts_seconds == pytest.approx([0.0, 1.9])


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="torchcodec is not installed")
def test_the_real_torchcodec_agrees_with_pyav(clip):
    if reason := _torchcodec.unavailable("cpu"):
        pytest.skip(reason)
    exact = open_video(clip, backend="pyav").read([0.0, 0.7, 1.9])
    other = open_video(clip, backend="torchcodec").read([0.0, 0.7, 1.9])
    assert torch.equal(exact.pts_seconds, other.pts_seconds)
    assert float((exact.data.float() - other.data.float()).abs().mean()) < 1


@pytest.mark.gpu
@pytest.mark.parametrize("module", [_torchcodec, _pynvvideocodec], ids=["torchcodec", "pynvvideocodec"])
def test_gpu_frames_stay_on_the_gpu_and_agree_with_the_cpu(module, clip):
    if reason := module.unavailable("cuda"):
        pytest.skip(reason)
    info = probe(clip)
    raw = module.read_frames(ReadRequest(info, (0, 7, 19), device="cuda"))
    exact = open_video(clip, backend="pyav").read([0.0, 0.7, 1.9])
    assert raw.data.device.type == "cuda"
    assert float((exact.data.float() - raw.data.cpu().float()).abs().mean()) < 2


def test_planar_frames_are_turned_upright():
    planes = torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(12, 6)
    upright = _pynvvideocodec._upright(planes, 90, None)
    assert upright.shape == (3, 6, 4)
    assert torch.equal(upright[0], torch.rot90(planes[:4], -1))
    assert _pynvvideocodec._upright(planes, 0, (2, 3)).shape == (3, 2, 3)
