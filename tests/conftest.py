"""Where tests find data and weights, and the one place where they are skipped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

# The models of the tests are tiny: more threads cost more than they bring, most of all while they spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED_DATA = Path(os.environ.get("VIDCAUSAL_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run tests marked slow")
    parser.addoption("--run-network", action="store_true", help="run tests marked network")


def _cuda_missing() -> bool:
    import torch

    return not torch.cuda.is_available()


def _missing_weights(names: tuple[str, ...]) -> list[str]:
    from vidcausal.errors import VidcausalError
    from vidcausal.models.weights.resolver import resolve

    missing = []
    for name in names:
        try:
            resolve(name)
        except VidcausalError:
            missing.append(name)
    return missing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    require_gpu = os.environ.get("VIDCAUSAL_REQUIRE_GPU") == "1"
    for item in items:
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --run-slow"))
        if "network" in item.keywords and not config.getoption("--run-network"):
            item.add_marker(pytest.mark.skip(reason="downloads: run with --run-network"))
        if "gpu" in item.keywords and not require_gpu and _cuda_missing():
            item.add_marker(pytest.mark.skip(reason="no CUDA device; VIDCAUSAL_REQUIRE_GPU=1 makes this a failure"))
        marker = item.get_closest_marker("weights")
        missing = _missing_weights(marker.args) if marker else []
        if missing:
            item.add_marker(
                pytest.mark.skip(reason=f"weights not here: vidcausal models --get {' --get '.join(missing)}")
            )


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA}; set VIDCAUSAL_TEST_DATA")
    return SHARED_DATA


def _write_gray_video(path: Path, levels: Iterable[int]) -> Path:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in levels:
            picture = np.full((48, 64, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def write_gray_video() -> Callable[[Path, Iterable[int]], Path]:
    """Writes a video of 64 x 48 pixels, ten frames a second, each frame of one gray level."""
    return _write_gray_video


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, here and in child processes, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rng_state() -> Iterator[None]:
    import torch

    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)
