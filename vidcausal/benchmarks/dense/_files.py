"""Dense captioning files: annotations as ActivityNet and TimeSuite write them, submissions as the scorers read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.rows import BadLine, Rows, read_json, read_rows
from vidcausal.errors import DataError
from vidcausal.metrics.dense import TimedCaption
from vidcausal.types import Event, Span

SUBMISSION_FIELDS = ("results", "version", "external_data")
"""What densevid_eval wants to see in a submission."""

NOWHERE = Span(1e12, 1e12)
"""Where an event is put whose times are reversed, not finite or after the end: found, and matched with nothing."""


@dataclass(frozen=True)
class Annotated:
    """One video of one set of annotations."""

    video: str
    duration: float | None
    events: tuple[TimedCaption, ...]


@dataclass(frozen=True)
class AnnotationFile:
    """One set of annotations; ``coco`` tells the form that TimeChat's scorer reads."""

    path: Path
    videos: dict[str, Annotated]
    coco: bool


# ---- annotations ------------------------------------------------------------------------------------------------


def annotation_paths(path: Path, sets: Sequence[str]) -> list[Path]:
    """The files of ``path``: itself, several with commas between them, or those of ``sets`` in a folder.

    Raises:
        DataError: a folder without one of them.
    """
    if path.is_dir():
        there = [path / name for name in sets if (path / name).is_file()]
        if not there:
            raise DataError(f"{path} has none of the files {', '.join(sets)}")
        return there
    if "," in str(path) and not path.exists():
        return [Path(part.strip()) for part in str(path).split(",") if part.strip()]
    return [path]


def read_annotations(path: Path) -> AnnotationFile:
    """Events by video, from ``{video: {duration, timestamps, sentences}}`` or ``{"annotations": [{image_id, …}]}``.

    Raises:
        DataError: missing, malformed (the message names the video), or a file of another benchmark.
    """
    if path.suffix in (".jsonl", ".csv", ".txt"):
        raise DataError(
            f"{path} is not a dense captioning file (those are .json); a .jsonl with qid and relevant_windows belongs "
            "to moment retrieval"
        )
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        found = [_coco(entry, path) for entry in value["annotations"]]
        return AnnotationFile(path, {each.video: each for each in found}, coco=True)
    if not isinstance(value, dict) or not value:
        raise DataError(
            f"{path} must be a JSON object of videos with duration, timestamps and sentences, or one with a list of "
            f"annotations; got {type(value).__name__}{' without entries' if value in ({}, []) else ''}"
        )
    videos = {str(video): _plain(str(video), entry, path) for video, entry in value.items()}
    return AnnotationFile(path, videos, coco=False)


def _plain(video: str, entry: Any, path: Path) -> Annotated:
    if not isinstance(entry, Mapping) or not {"timestamps", "sentences"} <= set(entry):
        keys = ", ".join(map(str, list(entry)[:6])) if isinstance(entry, (Mapping, list)) else type(entry).__name__
        raise DataError(f"{path}: video {video!r} needs timestamps and sentences, got {keys or 'nothing'}")
    events = _events(video, entry["timestamps"], entry["sentences"], path)
    return Annotated(video, _duration(entry.get("duration")), events)


def _coco(entry: Any, path: Path) -> Annotated:
    if not isinstance(entry, Mapping) or not {"image_id", "segments"} <= set(entry):
        hint = " (with caption and timestamp it is a file of moment retrieval)" if "timestamp" in entry else ""
        raise DataError(f"{path}: an annotation needs image_id and segments{hint}")
    video = str(entry["image_id"]).split("/")[-1]
    if "pure_cap" in entry:
        captions = str(entry["pure_cap"]).split(". ")
    else:
        captions = [c.strip(" ") for c in str(entry.get("caption", "")).split(".") if len(c) > 5]
    return Annotated(
        video, _duration(entry.get("duration")), _events(video, entry["segments"], [c + "." for c in captions], path)
    )


def _events(video: str, times: Any, captions: Any, path: Path) -> tuple[TimedCaption, ...]:
    if not isinstance(times, list) or not isinstance(captions, list) or len(times) != len(captions) or not times:
        raise DataError(f"{path}: video {video!r} needs as many spans as captions, and at least one")
    found = []
    for span, caption in zip(times, captions, strict=True):
        event = timed(span, caption)
        if isinstance(event, str) or not (math.isfinite(event.start) and math.isfinite(event.end)):
            raise DataError(f"{path}: video {video!r} has an event that cannot be read: {span!r}, {caption!r}")
        found.append(event)
    return tuple(found)


def _duration(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) and value > 0 else None


def timed(span: Any, caption: Any) -> TimedCaption | str:
    """An event, or why it is none."""
    if not isinstance(caption, str):
        return f"its caption is {type(caption).__name__}, not text"
    if not isinstance(span, (list, tuple)) or len(span) != 2:
        return f"its timestamp is {span!r}, not [start, end]"
    if not all(isinstance(t, (int, float)) and not isinstance(t, bool) for t in span):
        return f"its timestamp {span!r} holds something else than numbers"
    return TimedCaption(span[0], span[1], caption)


# ---- submissions ------------------------------------------------------------------------------------------------


def read_submission(path: Path) -> Rows:
    """Rows with ``events`` out of a submission, or rows with a ``reply``.

    Submissions are ``{"results": {video: [{"sentence", "timestamp"}]}, …}`` or ``{video: [{"caption", "timestamp"}]}``.
    A row notes the first event that cannot be used (``malformed``) and the fields a submission lacks (``lacks``).

    Raises:
        DataError: missing, empty, or another kind of file.
    """
    if path.suffix != ".json":
        return read_rows(path)
    value = read_json(path)
    if isinstance(value, list):
        return read_rows(path)
    whole = isinstance(value, dict) and isinstance(value.get("results"), dict)
    videos = value["results"] if whole else value
    if not isinstance(videos, dict) or not videos:
        raise DataError(
            f"{path} must hold predicted events: {{video: [{{caption, timestamp}}]}}, the same under results, or a "
            f"list of rows with id and reply; got {'an empty object' if videos == {} else type(videos).__name__}"
        )
    lacks = [name for name in SUBMISSION_FIELDS if name not in value] if whole else []
    good, bad = [], []
    for number, (video, events) in enumerate(videos.items(), start=1):
        if isinstance(events, list):
            good.append(_row(str(video), events, lacks))
        else:
            bad.append(BadLine(number, f"video {video!r} has {type(events).__name__} where a list of events belongs"))
    if not good:
        raise DataError(f"{path} holds no list of events; {bad[0]}")
    return Rows(path, tuple(good), tuple(bad))


def _row(video: str, entries: Sequence[Any], lacks: Sequence[str]) -> dict[str, Any]:
    events: list[TimedCaption] = []
    malformed = None
    for number, entry in enumerate(entries, start=1):
        event = _entry(entry)
        if isinstance(event, str):
            malformed = malformed or f"event {number} of {video!r} cannot be used: {event}"
        else:
            events.append(event)
    reply = "\n".join(f"{e.start} - {e.end}: {e.text}" for e in events)
    return {"id": video, "reply": reply, "events": events, "malformed": malformed, "lacks": list(lacks)}


def _entry(entry: Any) -> TimedCaption | str:
    if not isinstance(entry, Mapping):
        return f"it is {type(entry).__name__}, not an object"
    caption = entry.get("sentence", entry.get("caption"))
    return "it has no timestamp" if "timestamp" not in entry else timed(entry["timestamp"], caption)


def sane_events(events: Sequence[TimedCaption], duration: float | None) -> list[Event]:
    """The events, cut to the end of the video; those that are no stretch of it lie :data:`NOWHERE`."""
    end = math.inf if duration is None else duration
    return [Event(_sane(float(event.start), float(event.end), end), event.text) for event in events]


def _sane(start: float, end: float, last: float) -> Span:
    if not (math.isfinite(start) and math.isfinite(end)) or end < start or start > last:
        return NOWHERE
    return Span(start, min(end, last))
