"""A folder of ``vidcausal worlds make`` as samples: one video after the other, all questions about it together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vidcausal.benchmarks.rows import read_json
from vidcausal.cache import seed_of
from vidcausal.errors import DataError
from vidcausal.types import EventRecord, Media, Sample, Span, Task

T = TypeVar("T")

_PROMPT = Path(__file__).with_name("prompts") / "worlds_order.txt"
_SOURCE = "annotation"


@dataclass(frozen=True)
class Choice:
    """Which questions of a video are asked: tasks, and how many of a kind (None: all)."""

    tasks: tuple[Task, ...]
    ground_per_video: int | None
    ask_per_video: int | None


def read_folder(folder: Path, choice: Choice) -> Iterator[Sample[Any]]:
    """The samples of a folder, in the order of its annotations.

    Raises:
        DataError: no such folder, an unfinished one, or a malformed line (with its number).
    """
    described = folder / "world.json"
    if not described.is_file():
        raise DataError(
            f"{folder} has no world.json; give a folder made by: vidcausal worlds make --world NAME --out {folder}"
        )
    about = read_json(described)
    if not isinstance(about, Mapping):
        raise DataError(f"{described} must be an object, got {type(about).__name__}")
    if about.get("status") != "complete":
        raise DataError(f"{folder} is not complete; finish it with the vidcausal worlds make that began it")
    for number, row in _rows(folder / "annotations.jsonl"):
        where = f"{folder / 'annotations.jsonl'}, line {number}"
        try:
            yield from _samples(row, folder, choice)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{where} is no sample of a world: {type(error).__name__}: {error}") from error


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; make the folder again") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number} is not JSON ({error}); make the folder again") from error


# ---- one video --------------------------------------------------------------------------------------------------


def _samples(row: Mapping[str, Any], folder: Path, choice: Choice) -> Iterator[Sample[Any]]:
    video = str(row["id"])
    path = str(folder / row["video"])
    meta = {
        "world": str(row["world"]),
        "split": str(row["split"]),
        "video": video,
        "duration": float(row["duration"]),
    }
    makers: dict[Task, Callable[[], Iterable[Sample[Any]]]] = {
        "events": lambda: _events(row, video, path, meta),
        "order": lambda: _order(row, video, path, meta),
        "ground": lambda: _few(_ground(row, video, path, meta), choice.ground_per_video),
        "ask": lambda: _few(_ask(row, video, path, meta), choice.ask_per_video),
    }
    for task, make in makers.items():
        if task in choice.tasks:
            yield from make()


def _few(samples: Iterable[Sample[Any]], most: int | None) -> list[Sample[Any]]:
    """At most so many, drawn by a hash of their ids: the same ones in every run."""
    every = list(samples)
    kept = {s.id for s in sorted(every, key=lambda s: seed_of("worlds few", s.id))[:most]}
    return [sample for sample in every if sample.id in kept]


def _records(row: Mapping[str, Any]) -> tuple[EventRecord, ...]:
    return tuple(
        EventRecord(float(e["start"]), float(e["end"]), str(e["caption"]), source=_SOURCE)
        for e in sorted(row["events"], key=lambda e: (e["start"], e["end"]))
    )


def _events(row: Mapping[str, Any], video: str, path: str, meta: Mapping[str, Any]) -> Iterator[Sample[Any]]:
    events = sorted(row["events"], key=lambda e: (e["start"], e["end"]))
    wordings = tuple((str(e["caption"]), *map(str, e.get("wordings") or ())) for e in events)
    yield Sample(
        id=f"{video}/events",
        task="events",
        question="",
        media=Media((path,)),
        target=tuple(Span(float(e["start"]), float(e["end"])) for e in events),
        meta={**meta, "wordings": wordings, "oracle_records": _records(row)},
    )


def _ground(row: Mapping[str, Any], video: str, path: str, meta: Mapping[str, Any]) -> Iterator[Sample[Any]]:
    events = row["events"]
    captions = [str(event["caption"]) for event in events]
    for event in events:
        identity = f"{video}/ground/{event['id']}"
        others = {str(w) for e in events if e is not event for w in (e["caption"], *(e.get("wordings") or ()))}
        wordings = [str(w) for w in (event.get("wordings") or [event["caption"]]) if str(w) not in others]
        if captions.count(str(event["caption"])) > 1 or not wordings:
            continue
        query = wordings[seed_of("worlds query", identity) % len(wordings)]
        yield Sample(
            id=identity,
            task="ground",
            question=query,
            media=Media((path,)),
            target=(Span(float(event["start"]), float(event["end"])),),
            goal=query,
            meta={**meta, "oracle_records": _records(row)},
        )


def _ask(row: Mapping[str, Any], video: str, path: str, meta: Mapping[str, Any]) -> Iterator[Sample[Any]]:
    for question in row["questions"]:
        options = tuple(map(str, question["options"]))
        answer = int(question["answer"])
        if not 0 <= answer < len(options):
            raise ValueError(f"question {question['qid']} has {len(options)} options and the answer {answer}")
        yield Sample(
            id=f"{video}/ask/{question['qid']}",
            task="ask",
            question=str(question["question"]),
            media=Media((path,)),
            target=answer,
            options=options,
            meta={**meta, "type": str(question["type"]), "oracle_records": _records(row)},
        )


def _order(row: Mapping[str, Any], video: str, path: str, meta: Mapping[str, Any]) -> Iterator[Sample[Any]]:
    clips = row.get("clips") or []
    if len(clips) < 2:
        return
    shown = [int(index) for index in row["clip_order"]]
    if sorted(shown) != list(range(len(clips))):
        raise ValueError(f"clip_order {shown} is no order of {len(clips)} clips")
    spans = tuple(Span(float(clips[i]["start"]), float(clips[i]["end"])) for i in shown)
    reel = on_one_reel(spans)
    goal = str(row["goal"])
    truth = _numbers(range(len(clips)), shown)
    records = tuple(
        EventRecord(span.start, span.end, str(clips[i]["caption"]), clip=number, source=_SOURCE)
        for number, (i, span) in enumerate(zip(shown, reel, strict=True), start=1)
    )
    yield Sample(
        id=f"{video}/order",
        task="order",
        question=order_question(goal, reel),
        # One file for each clip: only its span is shown, and the clips follow one another in the shown order, so that
        # no time tells where a clip stood in the video.
        media=Media((path,) * len(clips), spans),
        target=truth,
        goal=goal,
        meta={
            **meta,
            "valid_orders": tuple(dict.fromkeys([truth, *(_numbers(v, shown) for v in row.get("valid_orders") or ())])),
            "oracle_records": records,
        },
    )


def _numbers(order: Sequence[int], shown: Sequence[int]) -> tuple[int, ...]:
    """An order of clip indices as the 1-based numbers that the clips are shown under."""
    return tuple(shown.index(int(index)) + 1 for index in order)


def on_one_reel(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Where each clip lies when the clips follow one another without a gap, in seconds."""
    placed: list[Span] = []
    at = 0.0
    for span in spans:
        placed.append(Span(at, at + span.duration))
        at = placed[-1].end
    return tuple(placed)


def order_question(goal: str, reel: Sequence[Span]) -> str:
    """VCRBench's question, with the times of the clips where its videos have title cards."""
    layout = "\n".join(
        f"Clip {number} lasts from {span.start:.1f} to {span.end:.1f} seconds." for number, span in enumerate(reel, 1)
    )
    return _template().replace("{goal}", goal).replace("{layout}", layout)


@cache
def _template() -> str:
    return _PROMPT.read_text(encoding="utf-8").strip()
