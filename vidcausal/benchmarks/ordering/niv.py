"""Step ordering on NIV (CVPR 2016, narrated instruction videos): 5 tasks, 45 held-out videos.

Our own protocol, see :mod:`vidcausal.benchmarks.ordering._draw`.

File: SCHEMA's ``niv_valid.json`` (or ``niv_train.json``),
``{video: {task, steps: [{action, start, end}]}}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.ordering._draw import Procedure, TimedStep
from vidcausal.benchmarks.ordering._order import OrderingBenchmark, seconds
from vidcausal.benchmarks.rows import read_json
from vidcausal.errors import DataError


class Niv(OrderingBenchmark):
    """Coffee, tire, CPR, jump-starting a car, repotting.

    Args:
        annotations: ``niv_valid.json`` or ``niv_train.json``.
        data_dir: folder with one of them, or with ``niv/``.
        video_root: folder of the videos.
        more: see :class:`~vidcausal.benchmarks.ordering._order.OrderingBenchmark`.
    """

    name = "niv"
    files = ("niv_valid.json", "niv_train.json")
    source = "github.com/WenliangGuo/SCHEMA (dataset/niv)"

    def procedures(self, path: Path) -> Iterator[Procedure]:
        """Every video of the file."""
        value = read_json(path)
        if not isinstance(value, dict):
            raise DataError(f"{path} must be an object of videos with task and steps, got {type(value).__name__}")
        for video, entry in value.items():
            if not isinstance(entry, Mapping) or not isinstance(entry.get("steps"), list) or "task" not in entry:
                raise DataError(f"{path}: video {video!r} needs a task and a list of steps")
            steps = tuple(_step(step, f"{path}: video {video!r}") for step in entry["steps"])
            yield Procedure(str(video), str(video), str(entry["task"]), steps)


def _step(step: Any, where: str) -> TimedStep:
    if not isinstance(step, Mapping) or not {"action", "start", "end"} <= set(step):
        raise DataError(f"{where} has a step without action, start and end: {step!r}")
    return TimedStep(seconds(step["start"], where), seconds(step["end"], where), str(step["action"]))
