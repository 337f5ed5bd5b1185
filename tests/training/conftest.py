from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidcausal.config.compose import compose


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A configuration of toy sizes by overrides; its folder is ``tmp_path/<name>``."""

    def config(*overrides: str, name: str = "run") -> dict[str, Any]:
        return compose("train", ["experiment=native_tiny", f"output_dir={tmp_path / name}", *overrides])

    return config


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)
