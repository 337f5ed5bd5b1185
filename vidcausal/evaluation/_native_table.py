"""What the native model reached, as rows: task by world and split, every mode beside chance and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vidcausal.benchmarks.worlds import TaskResult
from vidcausal.types import Task

Key = tuple[str, str]
"""World and split."""
ByMode = Mapping[str, Mapping[Key, Mapping[Task, TaskResult]]]
Hits = Mapping[str, tuple[int, int]]
"""Right answers and questions by type of question; ``""`` is all types together."""
Blind = Mapping[Key, Hits]
"""What the trained blind model got right, by world and split."""

ALL = "all"
"""All worlds together."""
FLOORS = {
    ("order", "accuracy n=3..5"): 60.0,
    ("ground", "R@1 IoU=0.5"): 60.0,
    ("ground", "mIoU"): 55.0,
    ("ask", "accuracy"): 70.0,
    ("events", "F1 IoU=0.5"): 60.0,
}
"""What has to be reached, in percent. An order must also be better than the direct answer of the same model, and each
type of question :data:`OVER_BLIND` points better than chance and than every blind model."""
OVER_BLIND = 15.0
_FIGURES: dict[Task, tuple[str, ...]] = {
    "order": ("accuracy n=3..5", "valid_accuracy n=3..5", "accuracy", "step_accuracy"),
    "ground": ("R@1 IoU=0.5", "mIoU", "R@1 IoU=0.3", "R@1 IoU=0.7"),
    "ask": ("accuracy",),
    "events": ("F1 IoU=0.5", "named F1 IoU=0.5", "precision IoU=0.5", "recall IoU=0.5", "F1 IoU=0.3", "F1 IoU=0.7"),
}
_NO_FLOOR = ("blind",)


@dataclass(frozen=True)
class Row:
    """One figure of one task in one world and split.

    ``modes`` has value and interval of each mode; ``beside`` what is scored without looking; ``floor`` is the value to
    be reached and ``reached`` says which modes did.
    """

    task: str
    figure: str
    world: str
    split: str
    count: int
    modes: dict[str, dict[str, Any]]
    beside: dict[str, float] = field(default_factory=dict)
    floor: float | None = None
    reached: dict[str, bool] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dict."""
        return asdict(self)


def table(modes: ByMode, blind: Blind) -> list[Row]:
    """Rows by task, figure, split and world, all worlds together last.

    Args:
        modes: results by mode, then world and split, then task.
        blind: what a blind model that was trained on the worlds' questions scores.
    """
    groups, hits = _with_all(modes), _hits_with_all(blind)
    keys = list(dict.fromkeys(key for groups_of_mode in groups.values() for key in groups_of_mode))
    rows: list[Row] = []
    for task in _FIGURES:
        for key in sorted(keys, key=lambda k: (k[1] != "test", k[1], k[0] == ALL, k[0])):
            found = {mode: of[key][task] for mode, of in groups.items() if task in of.get(key, {})}
            if found:
                rows += _rows(task, key, found, hits.get(key, {}))
    return rows


def _hits_with_all(blind: Blind) -> dict[Key, Hits]:
    joined = dict(blind)
    for split in dict.fromkeys(split for _, split in blind):
        of_split = [hits for (_, own), hits in blind.items() if own == split]
        kinds = dict.fromkeys(kind for hits in of_split for kind in hits)
        pairs = {kind: [hits[kind] for hits in of_split if kind in hits] for kind in kinds}
        joined[ALL, split] = {kind: (sum(r for r, _ in own), sum(n for _, n in own)) for kind, own in pairs.items()}
    return joined


def _with_all(modes: ByMode) -> dict[str, dict[Key, Mapping[Task, TaskResult]]]:
    """The results, and for every split those of all worlds together where there are several."""
    joined: dict[str, dict[Key, Mapping[Task, TaskResult]]] = {}
    for mode, groups in modes.items():
        joined[mode] = dict(groups)
        for split in dict.fromkeys(split for _, split in groups):
            of_split = [results for (_, own), results in groups.items() if own == split]
            if len(of_split) > 1:
                joined[mode][ALL, split] = {
                    task: _join([results[task] for results in of_split if task in results])
                    for task in _FIGURES
                    if any(task in results for results in of_split)
                }
    return joined


def _join(results: Sequence[TaskResult]) -> TaskResult:
    samples = [sample for result in results for sample in result.samples]
    answers = [answer for result in results for answer in result.answers]
    return TaskResult(results[0].task, samples, answers, sum(result.unparsed for result in results))


# ---- one task in one world --------------------------------------------------------------------------------------


def _rows(task: Task, key: Key, found: Mapping[str, TaskResult], blind: Hits) -> Iterator[Row]:
    any_result = next(iter(found.values()))
    for figure in _FIGURES[task]:
        if figure in any_result.figures:
            modes = {mode: _value(result, figure) for mode, result in found.items()}
            count = any_result.figures["count n=3..5" if figure.endswith("n=3..5") else "count"]
            beside = _beside(task, figure, any_result.chance)
            if task == "ask" and "" in blind:
                beside["trained blind"] = 100 * blind[""][0] / blind[""][1]
            floor = FLOORS.get((task, figure))
            reached = _reached(modes, floor, than_direct=task == "order")
            yield Row(task, figure, *key, count, modes, beside, floor, reached)
    if task == "ask":
        yield from _type_rows(key, found, any_result, blind)


def _value(result: TaskResult, figure: str) -> dict[str, Any]:
    return {"value": result.figures[figure], "interval": result.intervals.get(figure)}


def _beside(task: Task, figure: str, chance: Mapping[str, Any]) -> dict[str, float]:
    if task == "ground":
        names = {"constant window": "constant_window", "random window": "random_window"}
        return {name: chance[f"{key} {figure}"] for name, key in names.items()}
    beside = {"chance": chance[figure]} if figure in chance else {}
    if figure.startswith("accuracy") and (ceiling := chance.get(f"among_valid_{figure}")) is not None:
        beside["one of the valid orders"] = ceiling
    return {"equal parts": beside["chance"]} if task == "events" and beside else beside


def _reached(modes: Mapping[str, Mapping[str, Any]], floor: float | None, *, than_direct: bool) -> dict[str, bool]:
    if floor is None:
        return {}
    direct = modes["direct"]["value"] if than_direct and "direct" in modes else float("-inf")
    judged = [mode for mode in modes if mode not in _NO_FLOOR and not (than_direct and mode == "direct")]
    return {mode: modes[mode]["value"] >= floor and modes[mode]["value"] > direct for mode in judged}


def _type_rows(key: Key, found: Mapping[str, TaskResult], any_result: TaskResult, blind: Hits) -> Iterator[Row]:
    for kind, count in any_result.figures["count_per_type"].items():
        modes = {
            mode: {"value": r.figures["per_type"][kind], "interval": r.intervals["per_type"][kind]}
            for mode, r in found.items()
        }
        beside = {"chance": any_result.chance["per_type"][kind]}
        if kind in blind:
            beside["trained blind"] = 100 * blind[kind][0] / blind[kind][1]
        gray = [modes[mode]["value"] for mode in _NO_FLOOR if mode in modes]
        floor = max([*beside.values(), *gray]) + OVER_BLIND
        yield Row("ask", kind, *key, count, modes, beside, floor, _reached(modes, floor, than_direct=False))


# ---- as Markdown ------------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row], modes: Sequence[str]) -> str:
    """The rows as Markdown: what had to be reached, then one table a task; percentages with 95 % intervals."""
    parts = [_summary(rows, modes)]
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        shown = [mode for mode in modes if any(mode in row.modes for row in own)]
        beside = list(dict.fromkeys(name for row in own for name in row.beside))
        heads = ["split", "world", "figure", "n", *shown, *beside, "floor", "reached"]
        lines = [f"## {task}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for row in own:
            cells = [row.split, row.world, row.figure, str(row.count)]
            cells += [_cell(row.modes.get(mode)) for mode in shown]
            cells += [_number(row.beside.get(name)) for name in beside]
            cells += [_number(row.floor), _verdict(row)]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _summary(rows: Sequence[Row], modes: Sequence[str]) -> str:
    """All worlds together (or the one there is): figures with a floor, and how many question types reached theirs."""
    judged = [row for row in rows if row.floor is not None]
    shown = [mode for mode in modes if mode not in _NO_FLOOR]
    lines = ["## What had to be reached", "", f"| split | world | figure | {' | '.join(shown)} | floor | reached |"]
    lines.append("|" + "---|" * (5 + len(shown)))
    for split, world in dict.fromkeys((row.split, row.world) for row in judged):
        if world != ALL and (ALL, split) in {(row.world, row.split) for row in judged}:
            continue
        own = [row for row in judged if (row.split, row.world) == (split, world)]
        named = [row for row in own if (row.task, row.figure) in FLOORS]
        for row in named:
            cells = [split, world, f"{row.task}: {row.figure}", *(_cell(row.modes.get(mode)) for mode in shown)]
            lines.append("| " + " | ".join([*cells, _number(row.floor), _verdict(row)]) + " |")
        if types := [row for row in own if row not in named]:
            counts = [f"{sum(row.reached.get(mode, False) for row in types)} of {len(types)}" for mode in shown]
            over = f"blind + {OVER_BLIND:g}"
            verdict = ", ".join(f"{m} {'yes' if all(t.reached.get(m) for t in types) else 'no'}" for m in shown)
            lines.append("| " + " | ".join([split, world, "ask: types", *counts, over, verdict]) + " |")
    return "\n".join(lines)


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None or value["value"] is None:
        return ""
    interval = value["interval"]
    return f"{value['value']:.1f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _verdict(row: Row) -> str:
    return ", ".join(f"{mode} {'yes' if reached else 'no'}" for mode, reached in row.reached.items())
