"""Step ordering on CrossTask (CVPR 2019): 18 tasks, steps annotated in 2,750 videos. VCRBench's clips come from here.

Our own protocol, see :mod:`vidcausal.benchmarks.ordering._draw`.

Files: the folder ``crosstask_release`` with
``tasks_primary.txt`` (blocks of id, name, address, number of steps, the steps with commas between them), ``annotations/
TASK_VIDEO.csv`` (number of the step from 1, start, end) and ``videos_val.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from vidcausal.benchmarks.ordering._draw import Procedure, TimedStep
from vidcausal.benchmarks.ordering._order import OrderingBenchmark, seconds
from vidcausal.errors import ConfigError, DataError

Split = Literal["val", "train", "all"]
_TASKS, _VAL, _FOLDER = "tasks_primary.txt", "videos_val.csv", "annotations"
_BLOCK = 5
"""Lines of a task; an empty one parts it from the next."""


class CrossTask(OrderingBenchmark):
    """Steps of the 18 primary tasks.

    Args:
        annotations: the folder ``crosstask_release``, or the one around it.
        data_dir: folder with ``crosstask_release``, or with ``crosstask/crosstask_release``.
        video_root: folder of the videos, named by their YouTube ids.
        split: ``val`` (``videos_val.csv``), ``train`` (the others) or ``all``.
        more: see :class:`~vidcausal.benchmarks.ordering._order.OrderingBenchmark`.

    Raises:
        ConfigError: no such split.
    """

    name = "crosstask"
    files = ("crosstask_release",)
    source = "github.com/DmZhukov/CrossTask (crosstask_release.zip)"

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        split: Split = "val",
        **more: Any,
    ) -> None:
        if split not in get_args(Split):
            raise ConfigError(f"split must be one of {', '.join(get_args(Split))}, got {split!r}")
        super().__init__(annotations, data_dir, video_root, **more)
        self._split = split

    def procedures(self, path: Path) -> Iterator[Procedure]:
        """The videos with a file in ``annotations``, by name."""
        root = next((r for r in (path, path / "crosstask_release", path.parent) if (r / _TASKS).is_file()), None)
        if root is None:
            raise DataError(f"{path} is not CrossTask's folder: it has no {_TASKS} (and no folder crosstask_release)")
        tasks = _tasks(root / _TASKS)
        held_out = _videos(root / _VAL) if self._split != "all" else set()
        for file in sorted((root / _FOLDER).glob("*_*.csv")):
            task, _, video = file.stem.partition("_")
            if task not in tasks or (self._split != "all" and ((task, video) in held_out) != (self._split == "val")):
                continue
            goal, steps = tasks[task]
            yield Procedure(file.stem, video, goal, tuple(_steps(file, steps)))


def _tasks(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Name and steps of each task."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    blocks = [lines[i : i + _BLOCK] for i in range(0, len(lines), _BLOCK + 1) if lines[i]]
    tasks = {}
    for block in blocks:
        steps = [step.strip() for step in block[-1].split(",")]
        if len(block) < _BLOCK or block[3] != str(len(steps)):
            raise DataError(f"{path}: the task {block[0]!r} needs five lines, the fourth the number of its steps")
        tasks[block[0]] = (block[1], steps)
    return tasks


def _videos(path: Path) -> set[tuple[str, str]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist; split=all needs no {_VAL}")
    with path.open(encoding="utf-8", newline="") as file:
        return {(row[0], row[1]) for row in csv.reader(file) if len(row) > 1}


def _steps(path: Path, names: Sequence[str]) -> Iterator[TimedStep]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            where = f"{path}, line {number}"
            if not row:
                continue
            if len(row) != 3 or not row[0].isdigit() or not 1 <= int(row[0]) <= len(names):
                raise DataError(f"{where}: needs the number of a step (1 to {len(names)}), start and end, got {row}")
            yield TimedStep(seconds(row[1], where), seconds(row[2], where), names[int(row[0]) - 1])
