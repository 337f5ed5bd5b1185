"""Recorded outputs of official scorers: where they are, and how many were compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_COMPARED: Counter[str] = Counter()


@pytest.fixture
def annotations(shared_data: Path) -> Path:
    """Folder of the official annotation files, one folder a benchmark."""
    return shared_data / "annotations"


@pytest.fixture
def golden(shared_data: Path) -> Callable[[str], Any]:
    """The JSON value of a file of recorded outputs, by its name without suffix."""
    return lambda name: json.loads((shared_data / "golden" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def compared() -> Callable[[str, int], None]:
    """Counts outputs that were compared with recorded ones, by benchmark; printed when the tests are over."""

    def count(benchmark: str, number: int = 1) -> None:
        _COMPARED[benchmark] += number

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _COMPARED:
        each = ", ".join(f"{name} {number}" for name, number in sorted(_COMPARED.items()))
        terminalreporter.write_line(f"{sum(_COMPARED.values())} recorded outputs of official scorers compared: {each}")
