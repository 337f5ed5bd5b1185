"""Your own questions about your own videos, in one JSON list or a JSONL file.

A question is an object::

    {"id": "eggs", "task": "order", "video": "eggs.mp4", "goal": "Make scrambled eggs",
     "clips": [[1.0, 4.4], [5.4, 13.2]], "answer": [2, 1]}
    {"id": "m1", "task": "ground", "video": "kitchen.mp4", "query": "pours milk", "answer": [[12.5, 16.0]]}
    {"id": "q1", "task": "ask", "video": "kitchen.mp4", "question": "Why did it spill?",
     "options": ["it was full", "it fell"], "answer": 1}
    {"id": "e1", "task": "events", "video": "kitchen.mp4", "answer": [[0, 3, "cuts an onion"], [3, 8, "fries it"]]}

``video`` may be ``videos``, a list of files that are the numbered clips of an ``order`` question. Paths are relative to
``video_root``, by default the file's folder. ``answer`` may be left out (the question is then asked, not scored): for
``order`` the clip numbers first to last, counted from 1; for ``ground`` spans in seconds; for ``ask`` with options the
index counted from 0, a letter or the option's text, without options a text or a list of accepted texts; for ``events``
spans with or without captions. Optional: ``candidates`` (captions that a matching recognizer may choose from) and
``subtitles``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks._questions_score import score_task
from vidcausal.benchmarks.joining import expected_samples, is_answered, join, latest_by_id
from vidcausal.benchmarks.rows import read_json, read_rows
from vidcausal.errors import DataError
from vidcausal.types import TASKS, Media, Prediction, Sample, Scores, Span, Task

_MEDIA_KEYS = ("video", "videos", "clips", "subtitles")
_KEYS = frozenset(["id", "qid", "task", "question", "goal", "query", "options", "answer", "candidates", *_MEDIA_KEYS])


class UserQuestions:
    """A user's own questions, with exact scores per task where answers are given.

    Args:
        annotations: the JSON or JSONL file described in this module.
        data_dir: where ``questions.json`` or ``questions.jsonl`` is, when ``annotations`` is not given.
        video_root: folder of the videos; the file's own folder by default.
    """

    name = "questions"
    stops_on_malformed_lines = False

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
    ) -> None:
        self._path = _find(annotations, data_dir)
        self._root = Path(video_root) if video_root is not None else self._path.parent
        self._loaded: tuple[Sample[Any], ...] | None = None

    @property
    def _samples(self) -> tuple[Sample[Any], ...]:
        if self._loaded is None:
            self._loaded = read_questions(self._path, self._root)
        return self._loaded

    def samples(self) -> Iterator[Sample[Any]]:
        """Every question in the order of the file.

        Raises:
            DataError: the file is missing or malformed; the message names the question.
        """
        yield from self._samples

    def __len__(self) -> int:
        return len(self._samples)

    def predictions(self, rows: Iterable[Mapping[str, Any]]) -> list[Prediction[Any]]:
        """Rows of ``predictions.jsonl`` or ``{"id", "reply"}`` joined with the questions."""
        return join(rows, self._samples, self.name)

    def score(self, predictions: Sequence[Prediction[Any]], *, expected: int | None = None) -> Scores:
        """Scores per task over the questions that have an answer; ``official`` is empty, there is no such scorer.

        ``strict`` reads the reply's text, ``scored`` the order, option or spans that were scored by the model.
        """
        notes: list[str] = []
        latest = latest_by_id(predictions, notes)
        asked = expected_samples(self._samples, latest, expected)
        truths = [sample for sample in asked if sample.target is not None]
        if len(truths) < len(asked):
            notes.append(f"{len(asked) - len(truths)} questions have no answer and are not scored")
        by_task = {task: [s for s in truths if s.task == task] for task in TASKS}
        results = {task: score_task(task, group, latest) for task, group in by_task.items() if group}
        answered = sum(is_answered(sample, latest) for sample in truths)
        unparsed = sum(result.unparsed for result in results.values())
        scored: dict[str, Any] = {task: result.scored for task, result in results.items() if result.scored is not None}
        return Scores(
            benchmark=self.name,
            official={},
            strict={task: result.strict for task, result in results.items()},
            count=len(truths),
            coverage=answered / len(truths) if truths else 0.0,
            unparsed=unparsed / answered if answered else 0.0,
            chance={task: result.chance for task, result in results.items() if result.chance},
            intervals={task: result.intervals for task, result in results.items() if result.intervals},
            scored=scored or None,
            notes=tuple(notes),
        )


def _find(annotations: str | Path | None, data_dir: str | Path | None) -> Path:
    if annotations is not None:
        return Path(annotations)
    if data_dir is not None:
        places = [Path(data_dir) / name for name in ("questions.json", "questions.jsonl")]
        return next((place for place in places if place.is_file()), places[0])
    raise DataError("questions needs annotations=FILE.json (or .jsonl); the format is in docs/benchmarks/questions.md")


# ---- reading ----------------------------------------------------------------------------------------------------


def read_questions(path: Path, video_root: Path) -> tuple[Sample[Any], ...]:
    """The samples of a question file.

    Raises:
        DataError: missing or malformed; the message names the question and what is allowed.
    """
    value = _values(path)
    samples = tuple(_sample(row, f"{path}, question {number}", video_root) for number, row in enumerate(value, start=1))
    if twice := [identity for identity, count in Counter(s.id for s in samples).items() if count > 1]:
        raise DataError(f"{path} has the id {twice[0]!r} more than once; ids must be unique")
    return samples


def _values(path: Path) -> Sequence[Any]:
    if path.suffix == ".jsonl":
        rows = read_rows(path, needs_reply=False)
        if rows.bad:
            raise DataError(f"{path}, {rows.bad[0]}")
        return rows.rows
    value = read_json(path)
    if not isinstance(value, list) or not value:
        raise DataError(f"{path} must be a non-empty JSON list of questions, got {type(value).__name__}")
    return value


def _sample(row: Any, where: str, root: Path) -> Sample[Any]:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: must be an object, got {type(row).__name__}")
    if unknown := sorted(set(row) - _KEYS):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(_KEYS))}")
    task = _task(row.get("task"), where)
    identity = row.get("id", row.get("qid"))
    if identity is None:
        raise DataError(f'{where}: a question needs an "id"')
    goal = str(row.get("goal") or row.get("query") or "")
    question = str(row.get("question") or "")
    if task == "ask" and not question or task == "ground" and not (goal or question):
        raise DataError(f"{where}: task {task} needs {'question' if task == 'ask' else 'query'}")
    options = tuple(map(str, _list(row, "options", where)))
    media = _media(row, where, root)
    return Sample(
        id=str(identity),
        task=task,
        question=question or goal,
        media=media,
        target=_target(row.get("answer"), task, options, where),
        goal=goal or (question if task != "ask" else ""),
        options=options,
        candidates=tuple(map(str, _list(row, "candidates", where))),
    )


def _task(value: Any, where: str) -> Task:
    for task in TASKS:
        if value == task:
            return task
    raise DataError(f"{where}: task must be one of {', '.join(TASKS)}, got {value!r}")


def _list(row: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = row.get(key) or []
    if not isinstance(value, list):
        raise DataError(f"{where}: {key!r} must be a list, got {type(value).__name__}")
    return value


def _media(row: Mapping[str, Any], where: str, root: Path) -> Media:
    videos = _list(row, "videos", where) or [row.get("video")]
    if not all(isinstance(video, str) and video for video in videos):
        raise DataError(f'{where}: needs "video": "FILE" or "videos": ["FILE", ...]')
    clips = _list(row, "clips", where)
    subtitles = row.get("subtitles")
    return Media(
        videos=tuple(str(root / video) for video in videos),
        clip_spans=tuple(_span(clip, where) for clip in clips),
        subtitles=str(root / str(subtitles)) if subtitles else None,
    )


def _span(value: Any, where: str) -> Span:
    if isinstance(value, Mapping):
        value = [value.get("start"), value.get("end")]
    try:
        return Span(float(value[0]), float(value[1]))
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{where}: a span is [start, end] in seconds with start <= end, got {value!r}") from error


def _target(answer: Any, task: Task, options: tuple[str, ...], where: str) -> Any:
    if answer is None:
        return None
    if task == "order":
        if not isinstance(answer, list) or sorted(map(str, answer)) != sorted(map(str, range(1, len(answer) + 1))):
            raise DataError(f"{where}: the answer must be a permutation of the clip numbers 1..n, got {answer!r}")
        return tuple(map(int, answer))
    if task in ("ground", "events"):
        if isinstance(answer, list) and len(answer) == 2 and not any(isinstance(a, (list, Mapping)) for a in answer):
            answer = [answer]
        if not isinstance(answer, list) or not answer:
            raise DataError(f"{where}: the answer must be a list of [start, end] in seconds, got {answer!r}")
        return tuple(_span(value, where) for value in answer)
    if options:
        return _option(answer, options, where)
    accepted = answer if isinstance(answer, list) else [answer]
    return tuple(map(str, accepted))


def _option(answer: Any, options: tuple[str, ...], where: str) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    if isinstance(answer, str):
        if answer in options:
            return options.index(answer)
        letters = [chr(ord("A") + i) for i in range(len(options))]
        if answer.strip().upper() in letters:
            return letters.index(answer.strip().upper())
    raise DataError(
        f"{where}: the answer must be an index 0..{len(options) - 1}, a letter or one of the options, got {answer!r}"
    )
