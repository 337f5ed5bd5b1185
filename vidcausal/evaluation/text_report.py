"""How far the words alone go: benchmarks asked without video (``strategy=text``), one table in Markdown and JSON.

Questions are drawn with a fixed seed; every benchmark is a run folder, so that the same command goes on where it was
stopped. ``written`` is read from the reply, ``scored`` is chosen by likelihood; chance and the best constant answer are
of the very questions that were asked. Orders are of the annotation's own descriptions of the clips.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.choice import ChoiceBenchmark, video_of
from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.cache import write_atomic, write_json
from vidcausal.errors import ConfigError
from vidcausal.evaluation import build, runner
from vidcausal.evaluation.machine import command, machine, versions
from vidcausal.metrics.ordering import exact_match, position_hits
from vidcausal.metrics.statistics import bootstrap_interval, wilson_interval
from vidcausal.parsing import parse_choice
from vidcausal.protocols import Benchmark
from vidcausal.types import Prediction, Sample, Scores

BENCHMARKS = ("nextqa", "copa", "ecare", "bbh_causal_judgement", "crosstask")
FOLDERS = {"bbh_causal_judgement": "bbh", "copa": "causalprobe"}
"""Where the data folder of a benchmark has another name."""

_KEPT = ("n", "seed", "dtype", "device", "max_new_tokens", "order_tokens")


@dataclass(frozen=True)
class Setup:
    """What is asked.

    Attributes:
        out: folder for runs and the table.
        data: folder with a folder for each benchmark.
        model: a language model or its name.
        benchmarks: their names (``ecare=500`` asks so many of this one), or benchmarks.
        n: questions of each; 0 asks all.
        seed: of the drawing.
        dtype: for a model given by name.
        device: for a model given by name.
        max_new_tokens: limit of a reply to a question.
        order_tokens: limit of a reply that lists an order.
        progress: a bar on stderr; None shows it on a terminal only.
    """

    out: Path
    data: Path = Path("data")
    model: Any = "qwen2.5-coder-0.5b-instruct"
    benchmarks: tuple[str | Benchmark[Any], ...] = BENCHMARKS
    n: int = 150
    seed: int = 0
    dtype: str = "auto"
    device: str = "cpu"
    max_new_tokens: int = 16
    order_tokens: int = 48
    progress: bool | None = None


@dataclass(frozen=True)
class Row:
    """One figure of one benchmark, in percent, with 95 % intervals; ``None`` where the model scores nothing."""

    benchmark: str
    figure: str
    n: int
    of: int
    written: float
    written_interval: tuple[float, float]
    scored: float | None
    scored_interval: tuple[float, float] | None
    unread: float
    chance: float
    constant: float | None
    seconds: float
    errors: int = 0


@dataclass(frozen=True)
class TextReport:
    """The table and where it was written."""

    rows: tuple[Row, ...]
    text: str
    path: Path


def text_report(setup: Setup) -> TextReport:
    """Ask, and write ``text_only.md`` and ``text_only.json``.

    Raises:
        UnknownNameError: no such benchmark or model.
        ConfigError: a number of questions that is none.
        DataError: a benchmark's file is missing.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    drawn = [_drawn(setup, one) for one in setup.benchmarks]
    model = setup.model
    if isinstance(model, str):
        model = build.create_reasoner(model, device=setup.device, dtype=setup.dtype)
    rows: list[Row] = []
    for benchmark in drawn:
        tokens = setup.order_tokens if benchmark.task == "order" else setup.max_new_tokens
        strategy = build.create_strategy("text", model=model, max_new_tokens=tokens)
        result = runner.run(
            strategy,
            benchmark,
            policy=build.create_policy("uniform-8"),
            output_dir=setup.out / benchmark.name,
            identity={"strategy": build.describe(strategy), "seed": setup.seed},
            seed=setup.seed,
            progress=setup.progress,
        )
        rows += rows_of(benchmark, result.samples, result.rows)
        _write(setup, model, rows)
    return TextReport(tuple(rows), _write(setup, model, rows), setup.out / "text_only.md")


def _drawn(setup: Setup, one: str | Benchmark[Any]) -> Drawn:
    if not isinstance(one, str):
        return Drawn(one, setup.n, setup.seed)
    name, _, wanted = one.partition("=")
    if wanted and not wanted.isdecimal():
        raise ConfigError(f"write NAME or NAME=N with N a whole number, got {one!r}")
    folder = setup.data / FOLDERS.get(name, name)
    benchmark = create_benchmark(name, data_dir=folder if folder.is_dir() else setup.data)
    return Drawn(benchmark, int(wanted) if wanted else setup.n, setup.seed)


def _write(setup: Setup, model: Any, rows: Sequence[Row]) -> str:
    text = markdown(rows, str(getattr(model, "name", "model")))
    write_atomic(setup.out / "text_only.md", text.encode())
    content = {
        "model": build.describe(model),
        "settings": {
            key: getattr(setup, key) for key in ("n", "seed", "dtype", "device", "max_new_tokens", "order_tokens")
        },
        "rows": [asdict(row) for row in rows],
        "command": command(),
        "versions": versions(),
        "machine": machine(),
    }
    write_json(setup.out / "text_only.json", runner.plain(content), indent=1)
    return text


class Drawn:
    """``n`` questions of a benchmark, drawn with a seed, in the benchmark's order; those that have an answer.

    A larger ``n`` with the same seed holds the questions of a smaller one, so that a run can be extended. An order is
    asked only where the annotation describes its clips.
    """

    def __init__(self, benchmark: Benchmark[Any], n: int, seed: int) -> None:
        self.name = benchmark.name
        self.inner = benchmark
        self._n, self._seed = n, seed

    @cached_property
    def _known(self) -> list[Sample[Any]]:
        return [
            sample
            for sample in self.inner.samples()
            if sample.target is not None
            and (sample.task == "ask" or (sample.task == "order" and sample.meta.get("oracle_records")))
        ]

    def __len__(self) -> int:
        return len(self._known)

    @property
    def task(self) -> str:
        """What its questions ask; "ask" where there is none."""
        return self._known[0].task if self._known else "ask"

    def samples(self) -> Iterator[Sample[Any]]:
        """The drawn ones."""
        if 0 < self._n < len(self._known):
            shuffled = random.Random(self._seed).sample(range(len(self._known)), len(self._known))
            yield from (self._known[index] for index in sorted(shuffled[: self._n]))
        else:
            yield from self._known

    def predictions(self, rows: Iterable[Mapping[str, Any]]) -> list[Prediction[Any]]:
        """As the whole benchmark joins them."""
        return self.inner.predictions(rows)

    def score(self, predictions: Sequence[Prediction[Any]], *, expected: int | None = None) -> Scores:
        """As the whole benchmark scores so many of its questions."""
        return self.inner.score(predictions, expected=expected)


# ---- figures ----------------------------------------------------------------------------------------------------


def rows_of(benchmark: Drawn, samples: Sequence[Sample[Any]], rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for questions; two for orders: exact, and clips in their place."""
    by_id = {row["id"]: row for row in rows}
    answers = [by_id[sample.id] for sample in samples]
    common: dict[str, Any] = {
        "benchmark": benchmark.name,
        "n": len(samples),
        "of": len(benchmark),
        "seconds": round(sum(step["seconds"] for row in answers for step in row["steps"]), 1),
        "errors": sum(row["error"] is not None for row in answers),
    }
    if samples[0].task == "order":
        return _order_rows(samples, answers, common)
    return [_ask_row(benchmark.inner, samples, answers, common)]


def _ask_row(
    benchmark: Benchmark[Any],
    samples: Sequence[Sample[Any]],
    answers: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
) -> Row:
    read = [_read(benchmark, sample, row["reply"]) for sample, row in zip(samples, answers, strict=True)]
    scored = [row["option"] if row["option_scores"] else None for row in answers]
    best = max(Counter(sample.target for sample in samples).values())
    return _row(
        samples,
        "accuracy",
        [float(option == sample.target) for option, sample in zip(read, samples, strict=True)],
        [float(option == sample.target) for option, sample in zip(scored, samples, strict=True)],
        any(option is not None for option in scored),
        unread=sum(option is None for option in read),
        chance=sum(1 / len(sample.options) for sample in samples) / len(samples),
        constant=best / len(samples),
        common=common,
    )


def _read(benchmark: Benchmark[Any], sample: Sample[Any], reply: str) -> int | None:
    if isinstance(benchmark, ChoiceBenchmark):
        return benchmark.parse(sample, reply)
    return parse_choice(reply, len(sample.options), sample.options)


def _order_rows(
    samples: Sequence[Sample[Any]], answers: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> list[Row]:
    """``order`` of a row is the scored one where pairs were scored, else the written one."""
    written = [row.get("written_order") for row in answers]
    was_scored = [any(step["name"].startswith("score_pair") for step in row["steps"]) for row in answers]
    scored = [row["order"] if there else None for row, there in zip(answers, was_scored, strict=True)]
    figures: dict[str, tuple[Callable[[Any, Any], float], Callable[[int], float]]] = {
        "exact order": (exact_match, lambda n: 1 / math.factorial(n)),
        "clips in place": (_in_place, lambda n: 1 / n),
    }
    return [
        _row(
            samples,
            name,
            [float(figure(sample.target, order)) for sample, order in zip(samples, written, strict=True)],
            [float(figure(sample.target, order)) for sample, order in zip(samples, scored, strict=True)],
            any(was_scored),
            unread=sum(order is None for order in written),
            chance=sum(guess(len(sample.target or ())) for sample in samples) / len(samples),
            constant=None,
            common=common,
        )
        for name, (figure, guess) in figures.items()
    ]


def _in_place(answer: Sequence[int], order: Sequence[int] | None) -> float:
    hits = position_hits(answer, order)
    return sum(hits) / len(hits)


def _row(
    samples: Sequence[Sample[Any]],
    figure: str,
    written: Sequence[float],
    scored: Sequence[float],
    has_scores: bool,
    *,
    unread: int,
    chance: float,
    constant: float | None,
    common: Mapping[str, Any],
) -> Row:
    clusters = [video_of(sample) for sample in samples]

    def interval(values: Sequence[float]) -> tuple[float, float]:
        low, high = bootstrap_interval(values, clusters=clusters)
        if low == high:  # all alike: a bootstrap has no width, which few questions do not deserve
            low, high = wilson_interval(round(sum(values)), len(values))
        return 100 * low, 100 * high

    return Row(
        figure=figure,
        written=100 * sum(written) / len(written),
        written_interval=interval(written),
        scored=100 * sum(scored) / len(scored) if has_scores else None,
        scored_interval=interval(scored) if has_scores else None,
        unread=100 * unread / len(samples),
        chance=100 * chance,
        constant=None if constant is None else 100 * constant,
        **common,
    )


def markdown(rows: Sequence[Row], model: str) -> str:
    """The table with a sentence on what its columns are."""
    lines = [
        f"# {model} without video\n",
        "Percent, with 95 % intervals (bootstrap over videos, or over questions without one; Wilson's where all are "
        "alike). `written` is read from the reply, `scored` is chosen by likelihood; `constant` is the best fixed "
        "option of these questions. Orders are of the annotation's own descriptions of the clips. Seconds are of the "
        "model's calls.\n",
        "| benchmark | figure | n of | written | scored | unread | chance | constant | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.benchmark,
            row.figure,
            f"{row.n} of {row.of}" + (f" ({row.errors} failed)" if row.errors else ""),
            _with_interval(row.written, row.written_interval),
            _with_interval(row.scored, row.scored_interval),
            f"{row.unread:.1f}",
            f"{row.chance:.1f}",
            "–" if row.constant is None else f"{row.constant:.1f}",
            f"{row.seconds:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "–"
    return f"{value:.1f} ({interval[0]:.1f} – {interval[1]:.1f})"
