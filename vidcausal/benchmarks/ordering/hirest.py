"""Step ordering on HiREST (CVPR 2023): how-to videos for 292 validation queries, 78 of them with steps.

Our own protocol, see :mod:`vidcausal.benchmarks.ordering._draw`.

File: ``all_data_val.json`` (or ``all_data_train.json``; the
test file holds no steps), ``{goal: {video: {steps: [{heading, absolute_bounds}]}}}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.ordering._draw import Procedure, TimedStep
from vidcausal.benchmarks.ordering._order import OrderingBenchmark, seconds
from vidcausal.benchmarks.rows import read_json
from vidcausal.errors import DataError


class HiREST(OrderingBenchmark):
    """Videos whose steps are annotated; the query is the goal.

    Args:
        annotations: ``all_data_val.json`` or ``all_data_train.json``.
        data_dir: folder with one of them, or with ``hirest/``.
        video_root: folder of the videos.
        more: see :class:`~vidcausal.benchmarks.ordering._order.OrderingBenchmark`.
    """

    name = "hirest"
    files = ("all_data_val.json", "all_data_train.json")
    source = "github.com/j-min/HiREST (data/splits)"

    def procedures(self, path: Path) -> Iterator[Procedure]:
        """Every video of every query."""
        value = read_json(path)
        if not isinstance(value, dict) or not all(isinstance(videos, Mapping) for videos in value.values()):
            raise DataError(f"{path} must be an object of queries, each an object of videos")
        for goal, videos in value.items():
            for video, entry in videos.items():
                if not isinstance(entry, Mapping) or not isinstance(entry.get("steps"), list):
                    raise DataError(f"{path}: video {video!r} needs a list of steps")
                steps = tuple(_step(step, f"{path}: video {video!r}") for step in entry["steps"])
                yield Procedure(str(video).removesuffix(".mp4"), str(video), str(goal), steps)


def _step(step: Any, where: str) -> TimedStep:
    try:
        start, end = step["absolute_bounds"]
        heading = str(step["heading"])
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where} has a step without heading and absolute_bounds [start, end]: {step!r}") from error
    return TimedStep(seconds(start, where), seconds(end, where), heading)
