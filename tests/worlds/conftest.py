"""The tiny world, known by name, and a folder made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def tiny_world() -> Iterator[str]:
    """Registers the tiny world for all tests here and gives its name."""
    from vidcausal.worlds.registry import WORLDS

    sys.path.insert(0, str(HERE))
    WORLDS["tiny"] = "tiny_world:Tiny"
    yield "tiny"
    del WORLDS["tiny"]
    sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples of the tiny world at 96 pixels; not to be changed."""
    from vidcausal.worlds.make import make_world

    folder = tmp_path_factory.mktemp("worlds") / "tiny"
    make_world("tiny", 6, folder, size=96, jobs=2, progress=False)
    return folder
