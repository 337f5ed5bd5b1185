"""Two runs over the same questions: what one got right and the other did not, and whether that may be luck."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.benchmarks.rows import read_rows
from vidcausal.errors import DataError
from vidcausal.evaluation.grades import FIGURES, Grade, grades
from vidcausal.metrics.statistics import mcnemar, paired_bootstrap

ALL = "all"
SCORED = "accuracy, scored by likelihood"
PREDICTIONS, REPORT = "predictions.jsonl", "report.json"


@dataclass(frozen=True)
class Graded:
    """A run, sample by sample."""

    path: Path
    benchmark: str
    grades: Mapping[str, Grade]
    replies: Mapping[str, str]
    about: Mapping[str, str]
    """``model``, ``strategy`` and ``frames``, where the run says them."""


@dataclass(frozen=True)
class Part:
    """The comparison over one task, or over all.

    Attributes:
        task: its name; ``all`` for several together.
        figure: what is averaged: ``accuracy`` of what the replies say, :data:`SCORED`, or one of
            :data:`~vidcausal.evaluation.grades.FIGURES`.
        count: samples in both runs.
        first: the figure of the first run, in percent.
        second: of the second.
        difference: ``second - first`` in percentage points.
        interval: 95 %, by paired bootstrap over videos.
        bootstrap_p: two-sided p-value of no difference, of the same bootstrap.
        both: how many samples both got right; None for a task without right and wrong, as are the next four.
        only_first: how many the first alone got right.
        only_second: how many the second alone got right.
        neither: how many neither got right.
        mcnemar_p: exact two-sided p-value of McNemar's test over the samples that one alone got right.
    """

    task: str
    figure: str
    count: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    bootstrap_p: float
    both: int | None = None
    only_first: int | None = None
    only_second: int | None = None
    neither: int | None = None
    mcnemar_p: float | None = None


@dataclass(frozen=True)
class Flip:
    """A sample that one run alone got right; ``to`` is ``first`` or ``second``, whichever did."""

    id: str
    task: str
    video: str
    to: str
    first_reply: str
    second_reply: str


@dataclass(frozen=True)
class Difference:
    """What :func:`vidcausal.diff` returns."""

    benchmark: str
    first: Mapping[str, str]
    second: Mapping[str, str]
    parts: tuple[Part, ...]
    flips: tuple[Flip, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dict."""
        return asdict(self)


# ---- reading runs ---------------------------------------------------------------------------------------------


def load_graded(
    path: str | Path,
    benchmark: str | None = None,
    *,
    annotations: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Graded:
    """A run's folder, its ``predictions.jsonl``, or any file of predictions of a benchmark that is named.

    Args:
        path: the folder or file.
        benchmark: the name, for a file without a ``report.json`` beside it; it wins over what a report says.
        annotations: the ground truth of that benchmark.
        data_dir: the folder of that benchmark.

    Raises:
        DataError: no such run, no report in it, or a file that cannot be read.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    file = path / PREDICTIONS if path.is_dir() else path
    if not path.exists():
        raise DataError(f"{path} does not exist; give the folder of a run or its {PREDICTIONS}")
    if benchmark is not None:
        return _graded_now(file, benchmark, annotations, data_dir)
    report = folder / REPORT
    if file.name != PREDICTIONS or not report.is_file():
        raise DataError(
            f"{path} is not a run with a {REPORT}; give a run's folder, or name the benchmark of the predictions "
            "(--benchmark NAME --annotations FILE)"
        )
    return _graded_before(report, file)


def _graded_before(report: Path, file: Path) -> Graded:
    try:
        summary = json.loads(report.read_text(encoding="utf-8"))
        found = {identity: Grade.from_json(row) for identity, row in summary["grades"].items()}
        name = str(summary["benchmark"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{report} does not say what each sample was worth ({type(error).__name__}: {error}); run the same "
            "evaluation again: it answers nothing twice and writes the report anew"
        ) from error
    about = {key: str(summary[key]) for key in ("model", "strategy", "frames") if summary.get(key)}
    return Graded(report.parent, name, found, _replies(file), about)


def _replies(file: Path) -> dict[str, str]:
    return {str(row.get("id", row.get("qid"))): _text(row) for row in read_rows(file).rows} if file.is_file() else {}


def _text(row: Mapping[str, Any]) -> str:
    if error := row.get("error"):
        return f"({error.get('code', 'error') if isinstance(error, Mapping) else error})"
    said = row.get("reply", row.get("pred"))
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)


def _graded_now(file: Path, benchmark: str, annotations: str | Path | None, data_dir: str | Path | None) -> Graded:
    bench = create_benchmark(benchmark, annotations=annotations, data_dir=data_dir)
    rows = getattr(bench, "read_submission", read_rows)(file).rows
    predictions = bench.predictions(rows)
    asked = {prediction.sample.id for prediction in predictions}
    samples = [sample for sample in bench.samples() if sample.id in asked]
    replies = {prediction.sample.id: prediction.reply for prediction in predictions}
    return Graded(file, benchmark, grades(bench, samples, predictions), replies, {})


# ---- comparing ------------------------------------------------------------------------------------------------


def compare(first: Graded, second: Graded) -> Difference:
    """The second run against the first, over the samples that both were asked.

    Raises:
        DataError: runs of different benchmarks, or without a sample in common.
    """
    if first.benchmark != second.benchmark:
        raise DataError(
            f"{first.path} is a run of {first.benchmark} and {second.path} one of {second.benchmark}; "
            "only runs of one benchmark can be compared"
        )
    shared = [identity for identity in first.grades if identity in second.grades]
    if not shared:
        raise DataError(
            f"no question of {first.benchmark} is in both {first.path} ({len(first.grades)} questions) and "
            f"{second.path} ({len(second.grades)}); compare runs over the same questions"
        )
    pairs = {identity: (first.grades[identity], second.grades[identity]) for identity in shared}
    return Difference(
        first.benchmark,
        {"path": str(first.path), **first.about},
        {"path": str(second.path), **second.about},
        tuple(_parts(pairs)),
        tuple(_flips(pairs, first, second)),
        tuple(_notes(first, second, pairs)),
    )


Pairs = Mapping[str, tuple[Grade, Grade]]


def _parts(pairs: Pairs) -> list[Part]:
    tasks: dict[str, list[tuple[Grade, Grade]]] = {}
    for pair in pairs.values():
        tasks.setdefault(pair[0].task, []).append(pair)
    parts: list[Part] = []
    for task, own in tasks.items():
        if valued := [pair for pair in own if all(grade.value is not None for grade in pair)]:
            parts.append(_part(task, FIGURES.get(task, "accuracy"), valued))
        if all(any(pair[run].scored is not None for pair in own) for run in (0, 1)):
            parts.append(_part(task, SCORED, [(_as_scored(one), _as_scored(two)) for one, two in own]))
    judged = [pair for own in tasks.values() for pair in own if all(grade.right is not None for grade in pair)]
    if len(tasks) > 1 and judged:
        parts.insert(0, _part(ALL, "right answers", [(_as_right(one), _as_right(two)) for one, two in judged]))
    return parts


def _as_right(grade: Grade) -> Grade:
    return replace(grade, value=float(bool(grade.right)))


def _as_scored(grade: Grade) -> Grade:
    return replace(grade, right=bool(grade.scored), value=float(bool(grade.scored)))


def _part(task: str, figure: str, pairs: Sequence[tuple[Grade, Grade]]) -> Part:
    one = [float(first.value or 0.0) for first, _ in pairs]
    two = [float(second.value or 0.0) for _, second in pairs]
    found = paired_bootstrap(one, two, clusters=[first.video for first, _ in pairs])
    counts: dict[str, Any] = {}
    if all(grade.right is not None for pair in pairs for grade in pair):
        rights = [(bool(first.right), bool(second.right)) for first, second in pairs]
        only_first, only_second = rights.count((True, False)), rights.count((False, True))
        counts = {
            "both": rights.count((True, True)),
            "only_first": only_first,
            "only_second": only_second,
            "neither": rights.count((False, False)),
            "mcnemar_p": mcnemar(only_first, only_second),
        }
    return Part(
        task,
        figure,
        len(pairs),
        100 * sum(one) / len(one),
        100 * sum(two) / len(two),
        100 * found.difference,
        (100 * found.low, 100 * found.high),
        found.p_value,
        **counts,
    )


def values_of(run: Graded, task: str, figure: str) -> tuple[list[float], list[str]]:
    """What each sample of a task is worth in a figure of :class:`Part`, and its video."""
    own = [grade for grade in run.grades.values() if grade.task == task]
    if figure == SCORED:
        return [float(bool(grade.scored)) for grade in own], [grade.video for grade in own]
    kept = [(grade.value, grade.video) for grade in own if grade.value is not None]
    return [value for value, _ in kept], [video for _, video in kept]


def _flips(pairs: Pairs, first: Graded, second: Graded) -> list[Flip]:
    return [
        Flip(
            identity,
            one.task,
            one.video,
            "first" if one.right else "second",
            first.replies.get(identity, ""),
            second.replies.get(identity, ""),
        )
        for identity, (one, two) in pairs.items()
        if one.right is not None and two.right is not None and one.right != two.right
    ]


def _notes(first: Graded, second: Graded, pairs: Pairs) -> list[str]:
    notes = []
    for own, other in ((first, second), (second, first)):
        if alone := len(own.grades) - len(pairs):
            notes.append(f"{alone} questions of {own.path} are not in {other.path} and were left out")
    unscored = [pair for pair in pairs.values() if all(grade.scored is None for grade in pair)]
    if ungraded := sum(any(grade.value is None for grade in pair) for pair in unscored):
        notes.append(f"{ungraded} questions have no right and wrong and were left out")
    if any(grade.right is not None and grade.task == "ground" for pair in pairs.values() for grade in pair):
        notes.append("a moment counts as right where its IoU with a true one is 0.5 or more")
    return notes
