"""TVSum's annotations: the official .mat (HDF5), QD-DETR's .jsonl, and scores by two seconds as .json."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.rows import read_json, read_rows
from vidcausal.errors import DataError, MissingDependencyError

CLIP_SECONDS = 2.0


@dataclass(frozen=True)
class Rated:
    """A video with the importance (1 to 5) that each annotator gave to each clip of two seconds."""

    video: str
    title: str
    domain: str
    importance: tuple[tuple[float, ...], ...]
    """``[annotator][clip]``"""

    @property
    def clips(self) -> int:
        """How many clips of two seconds there are."""
        return len(self.importance[0])


def read_rated(path: Path) -> list[Rated]:
    """The videos of a file, in its order.

    Raises:
        DataError: missing, malformed, or another file.
        MissingDependencyError: the .mat is read with h5py, which is not installed.
    """
    if path.suffix == ".mat":
        return _mat(path)
    if path.suffix == ".jsonl":
        return [_row(row, path) for row in read_rows(path, needs_reply=False).rows]
    value = read_json(path)
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path} must be an object of videos with user_importance_2s, got {type(value).__name__}")
    return [_object(str(video), entry, path) for video, entry in value.items()]


def _row(row: Mapping[str, Any], path: Path) -> Rated:
    video = str(row.get("vid", row.get("qid", "")))
    label = row.get("label")
    if not isinstance(label, list):
        keys = ", ".join(sorted(map(str, row)))
        raise DataError(f"{path}: video {video!r} needs a list of labels (clips by annotators), got the keys {keys}")
    table = _table(label, f"{path}: video {video!r}")
    return Rated(video, str(row.get("query", "")), str(row.get("domain", "")), tuple(zip(*table, strict=True)))


def _object(video: str, entry: Any, path: Path) -> Rated:
    rated = entry.get("user_importance_2s") if isinstance(entry, Mapping) else None
    if not isinstance(rated, list):
        raise DataError(f"{path}: video {video!r} needs user_importance_2s, a list for each annotator")
    table = _table(rated, f"{path}: video {video!r}")
    return Rated(video, str(entry.get("title", "")), str(entry.get("category", "")), tuple(table))


def _table(rows: Sequence[Any], where: str) -> list[tuple[float, ...]]:
    lengths = {len(row) if isinstance(row, list) else 0 for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"{where} needs lists of one length, at least one number each")
    for row in rows:
        for value in row:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise DataError(f"{where} has {value!r} where a number belongs")
    return [tuple(float(value) for value in row) for row in rows]


def _mat(path: Path) -> list[Rated]:
    if not path.is_file():
        raise DataError(f"{path} does not exist; give the path of ydata-tvsum50.mat, or of a .jsonl")
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise MissingDependencyError(f"{path} is read with h5py: pip install h5py (or use a .jsonl)") from error
    try:
        with h5py.File(path) as file:
            return list(_mat_videos(file))
    except (OSError, KeyError) as error:
        raise DataError(f"{path} is not TVSum's file (ydata-tvsum50.mat, HDF5): {error}") from error


def _mat_videos(file: Any) -> Iterator[Rated]:
    table = file["tvsum50"]
    for number in range(table["video"].shape[0]):
        fields = {name: file[table[name][number, 0]][()] for name in ("video", "title", "category", "user_anno")}
        seconds = float(file[table["length"][number, 0]][0, 0])
        frames = fields["user_anno"].shape[1]
        step = CLIP_SECONDS * frames / seconds
        middles = [int((clip + 0.5) * step) for clip in range(int(frames / step))]
        picked = [tuple(float(rated[frame]) for frame in middles) for rated in fields["user_anno"]]
        words = {name: "".join(map(chr, fields[name].ravel())) for name in ("video", "title", "category")}
        yield Rated(words["video"], words["title"], words["category"], tuple(picked))
