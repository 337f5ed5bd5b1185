"""Step ordering on COIN (CVPR 2019): 180 tasks from everyday life, the 2,797 test videos.

Our own protocol, see :mod:`vidcausal.benchmarks.ordering._draw`.

Files: SCHEMA's ``coin_valid.json`` (a list of objects
with one video each) or the official ``COIN.json`` (``{"database": {video: …}}``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.ordering._draw import Procedure, TimedStep
from vidcausal.benchmarks.ordering._order import OrderingBenchmark, seconds
from vidcausal.benchmarks.rows import read_json
from vidcausal.errors import DataError

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Coin(OrderingBenchmark):
    """Videos of the subset ``testing``.

    Args:
        annotations: ``coin_valid.json`` or ``COIN.json``.
        data_dir: folder with one of them, or with ``coin/``.
        video_root: folder of the videos, named by their YouTube ids.
        more: see :class:`~vidcausal.benchmarks.ordering._order.OrderingBenchmark`.
    """

    name = "coin"
    files = ("coin_valid.json", "COIN.json")
    source = "github.com/coin-dataset/annotations (COIN.json) or github.com/WenliangGuo/SCHEMA (coin_valid.json)"

    def procedures(self, path: Path) -> Iterator[Procedure]:
        """The videos of the subset ``testing``; its class, written as words, is the goal."""
        value = read_json(path)
        if isinstance(value, dict) and isinstance(value.get("database"), dict):
            entries = list(value["database"].items())
        elif isinstance(value, list) and all(isinstance(item, dict) and len(item) == 1 for item in value):
            entries = [next(iter(item.items())) for item in value]
        else:
            raise DataError(f"{path} must be a list of objects with one video each, or an object with a database")
        for video, entry in entries:
            if not isinstance(entry, Mapping) or not isinstance(entry.get("annotation"), list):
                raise DataError(f"{path}: video {video!r} needs a list called annotation")
            if entry.get("subset", "testing") == "testing":
                goal = " ".join(_CAPITAL.split(str(entry.get("class", "")))) or "the task"
                steps = tuple(_step(step, f"{path}: video {video!r}") for step in entry["annotation"])
                yield Procedure(str(video), str(video), goal, steps)


def _step(step: Any, where: str) -> TimedStep:
    try:
        start, end = step["segment"]
        label = str(step["label"])
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where} has a step without label and segment [start, end]: {step!r}") from error
    return TimedStep(seconds(start, where), seconds(end, where), label)
