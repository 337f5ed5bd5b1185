"""``report.json``: the scores of a run, where the points were lost, how long it took and on what it ran."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcausal.cache import write_json
from vidcausal.errors import MediaError, VidcausalError
from vidcausal.evaluation.grades import grades, judge
from vidcausal.evaluation.machine import command, machine, versions
from vidcausal.evaluation.runner import RunResult, plain
from vidcausal.protocols import Benchmark
from vidcausal.types import Sample, Scores

STAGES = ("right", "decode", "model", "parsing", "recognition", "reasoning", "wrong")
"""Where a sample ended: answered rightly, or the first stage that is known to have lost it. ``wrong`` is a wrong answer
of which it cannot be told whether the recognition or the reasoning is to blame."""


@dataclass(frozen=True)
class Report:
    """What :func:`vidcausal.evaluate` returns; all of it is in ``path`` too."""

    path: Path
    """``report.json``."""
    scores: Scores
    num_samples: int
    errors: Mapping[str, int]
    """Number of samples by error code."""
    lost: Mapping[str, int]
    """Number of samples by stage, see :data:`STAGES`."""
    seconds: Mapping[str, float]
    html: Path | None = None

    @property
    def official(self) -> dict[str, Any]:
        """Metrics as the published scorer gives them."""
        return self.scores.official

    @property
    def strict(self) -> dict[str, Any]:
        """Metrics over all ground truths; missing and unparsed answers count as wrong."""
        return self.scores.strict

    @property
    def metrics(self) -> dict[str, Any]:
        """The official metrics."""
        return self.scores.official

    @property
    def num_errors(self) -> int:
        """Samples that ended in an error."""
        return sum(self.errors.values())

    @property
    def num_unparsed(self) -> int:
        """Answered samples that the strict parser could not read."""
        return round(self.scores.unparsed * self.scores.coverage * self.scores.count) if self.scores.count else 0

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path.parent


def write(
    result: RunResult,
    benchmark: Benchmark[Any],
    *,
    names: Mapping[str, str],
    config: Mapping[str, Any],
    caveat: str = "",
) -> Report:
    """Write ``report.json`` into the run's folder.

    Args:
        result: what the runner returned.
        benchmark: the benchmark that was run; it says which answers were right.
        names: ``benchmark``, ``model``, ``strategy`` and ``frames`` as people call them.
        config: the settings, nested plain values.
        caveat: a sentence shown on top, for example what the model cannot see.

    Raises:
        OutputError: the folder cannot be written.
    """
    errors = Counter(row["error"]["code"] for row in result.rows if row.get("error"))
    stages = outcomes(result, benchmark)
    lost = {stage: count for stage in STAGES if (count := sum(1 for s in stages.values() if s == stage))}
    seconds = stage_seconds(result)
    content = {
        **names,
        **result.scores.to_json(),
        "num_samples": len(result.samples),
        "num_errors": sum(errors.values()),
        "errors": dict(sorted(errors.items())),
        "lost": lost,
        "outcomes": stages,
        "grades": {
            identity: grade.to_json()
            for identity, grade in grades(benchmark, result.samples, result.predictions).items()
        },
        "seconds": seconds,
        "decode": decode_summary(result.rows),
        "cache": result.cache,
        "answered_now": result.answered_now,
        "caveat": caveat,
        "config": config,
        "command": command(),
        "finished": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "versions": versions(),
        "machine": machine(),
    }
    path = result.folder / "report.json"
    write_json(path, plain(content), indent=1)
    return Report(path, result.scores, len(result.samples), dict(errors), lost, seconds)


# ---- where the points were lost -------------------------------------------------------------------------------


def outcomes(result: RunResult, benchmark: Benchmark[Any]) -> dict[str, str]:
    """The stage of each sample by id, see :data:`STAGES`; without samples that are neither right nor wrong."""
    rows = {row["id"]: row for row in result.rows}
    by_id = {prediction.sample.id: prediction for prediction in result.predictions}
    media = _codes(MediaError)
    stages: dict[str, str] = {}
    for sample in result.samples:
        row, prediction = rows.get(sample.id), by_id.get(sample.id)
        if row is None or prediction is None:
            continue
        if error := row.get("error"):
            stages[sample.id] = "decode" if error["code"] in media else "model"
            continue
        if (judged := judge(benchmark, prediction)) is not None:
            right, readable = judged
            lost = _blame(sample, row) if readable else "parsing"
            stages[sample.id] = "right" if right else lost
    return stages


def _codes(family: type[VidcausalError]) -> set[str]:
    return {family.code}.union(*(_codes(member) for member in family.__subclasses__()))


def _blame(sample: Sample[Any], row: Mapping[str, Any]) -> str:
    """Which stage made a readable answer wrong; the benchmark must say what happens in each clip to tell."""
    truth = {record.clip: record.caption for record in sample.meta.get("oracle_records", ())}
    said = {record["clip"]: record["caption"] for record in row["records"] if record.get("clip") is not None}
    if not truth or not said or not set(said.values()) <= set(truth.values()):
        return "wrong"
    return "reasoning" if all(said.get(clip) == caption for clip, caption in truth.items()) else "recognition"


# ---- time and decoding ----------------------------------------------------------------------------------------


def stage_seconds(result: RunResult) -> dict[str, float]:
    """Seconds over all samples: decoding, answering, each kind of model call; and this process's wall clock."""
    total: defaultdict[str, float] = defaultdict(float)
    for row in result.rows:
        for name, value in row["seconds"].items():
            total[name] += float(value)
        for step in row["steps"]:
            total[f"step {step['name']}"] += float(step["seconds"])
    seconds = {name: round(value, 3) for name, value in total.items()}
    return {**seconds, "wall clock of this process": round(result.seconds, 3)}


def decode_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Decoded footage by backend and by reason for not using the GPU, and how much was damaged.

    Questions about one video that follow one another share its footage, which counts once.
    """
    reports = [row["decode"] for row in rows if row.get("decode") and not row["decode"].get("shared")]
    return {
        "decoded": len(reports),
        "backends": dict(Counter(str(report.get("backend")) for report in reports)),
        "cpu_fallback": dict(Counter(str(r["cpu_fallback"]) for r in reports if r.get("cpu_fallback"))),
        "damaged": sum(bool(report.get("damaged")) for report in reports),
        "bad_packets": sum(int(report.get("bad_packets") or 0) for report in reports),
        "missing_frames": sum(int(report.get("missing") or 0) for report in reports),
        "frames": sum(int(report.get("num_frames") or 0) for report in reports),
    }
