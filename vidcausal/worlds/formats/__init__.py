"""The official formats of benchmarks, written from annotations so that the loaders of the real files read them.

A module a format. Each has ``SUMMARY`` (one line), ``FILES`` (what it writes, relative to its folder, videos left out)
and ``write(annotations, folder)``, which returns what it counted.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.annotations import Annotation

FORMATS: dict[str, str] = {
    "vcrbench": "vidcausal.worlds.formats.vcrbench",
    "charades_sta": "vidcausal.worlds.formats.charades_sta",
    "qvhighlights": "vidcausal.worlds.formats.qvhighlights",
    "activitynet_captions": "vidcausal.worlds.formats.activitynet_captions",
    "nextqa": "vidcausal.worlds.formats.nextqa",
    "nextgqa": "vidcausal.worlds.formats.nextgqa",
}
"""Name of a format, which is also its folder, to its module."""


class Format(Protocol):
    """What the module of a format has."""

    SUMMARY: str
    FILES: tuple[str, ...]

    def write(self, annotations: Sequence[Annotation], folder: Path) -> dict[str, int]:
        """Write the files of the format into ``folder`` and count what is in them."""


def load_format(name: str) -> Format:
    """The module of a format.

    Raises:
        UnknownNameError: there is no such format.
    """
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return cast(Format, importlib.import_module(FORMATS[name]))


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], line_end: str = "\n") -> bytes:
    """CSV with a head, as UTF-8."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def frame_count(annotation: Annotation) -> int:
    """Frames of a sample's video: the last one is shown at or before the end of the story."""
    duration, fps = float(annotation["duration"]), float(annotation["fps"])
    return max(1, math.ceil(duration * fps - 1e-9))
