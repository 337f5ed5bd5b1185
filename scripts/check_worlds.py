"""Whether the questions of a world can be answered without its video: a trained blind model must be at chance.

    python scripts/check_worlds.py --blind --world collisions [--train 20000] [--test 3000] [--json out.json]

Trains a model that reads only words on the questions of `train`, tests it on `validation`, and prints for each type its
accuracy with a 95 % interval (Wilson), beside answering the most frequent position, the longest and the shortest
option. Exit status 1 when a type is further than 5 points from chance, 2 for a wrong argument. A type with so few
questions that its interval is wider than that is named and does not decide.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vidcausal.errors import VidcausalError
from vidcausal.metrics.statistics import wilson_interval
from vidcausal.worlds import WORLDS, create_world
from vidcausal.worlds.story import QUESTION_TYPES, Question, Split

POINTS = 5.0
"""Percentage points that a type may be away from chance."""
_CHUNK = 500
Task = tuple[str, Split, int, int]


def main() -> int:
    """Parse the arguments and run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blind", action="store_true", help="train and test the blind model")
    parser.add_argument("--world", action="append", choices=list(WORLDS), help="may be repeated; all by default")
    parser.add_argument("--train", type=int, default=20_000, metavar="N", help="stories of train to learn from")
    parser.add_argument("--test", type=int, default=3_000, metavar="N", help="stories of the tested split")
    parser.add_argument("--split", default="validation", choices=["validation", "test", "composition"])
    parser.add_argument("--seed", type=int, default=0, help="of the blind model")
    parser.add_argument("--epochs", type=int, default=10, help="at most; it stops where nothing improves")
    parser.add_argument("--jobs", type=int, default=1, help="processes that tell stories")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    args = parser.parse_args()
    if not args.blind:
        parser.error("name a check: --blind")
    if args.train < 50 or args.test < 1 or args.jobs < 1 or args.epochs < 1:
        parser.error("--train must be 50 or more, --test, --jobs and --epochs 1 or more")
    reports = {}
    try:
        for world in args.world or list(WORLDS):
            reports[world] = check(world, args)
            show(world, reports[world])
    except (VidcausalError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.json:
        args.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    return int(any(row["verdict"] == "LEAKS" for report in reports.values() for row in report["types"].values()))


def check(world: str, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one world."""
    import torch

    from vidcausal.training.blind import BlindSettings, train_blind

    torch.set_num_threads(1)
    start = time.perf_counter()
    train, _ = collect(world, "train", args.train, args.jobs)
    test, stories = collect(world, args.split, args.test, args.jobs)
    told = time.perf_counter()
    reader = train_blind(train, BlindSettings(seed=args.seed, epochs=args.epochs))
    answers = reader.answers(test)
    ways = baselines(train, test)
    types = {}
    for kind in QUESTION_TYPES:
        rows = [row for row, question in enumerate(test) if question.type == kind]
        if rows:
            types[kind] = figures([test[r] for r in rows], [answers[r] for r in rows])
            types[kind]["baselines"] = {name: _accuracy(test, way, rows) for name, way in ways.items()}
            types[kind]["stories"] = round(100 * stories[kind] / args.test, 1)
    return {
        "split": args.split,
        "train_questions": len(train),
        "test_questions": len(test),
        "missing": [kind for kind in QUESTION_TYPES if kind not in types],
        "overall": _accuracy(test, answers, range(len(test))),
        "types": types,
        "seconds_telling": round(told - start, 1),
        "seconds_learning": round(time.perf_counter() - told, 1),
    }


def collect(world: str, split: Split, count: int, jobs: int) -> tuple[list[Question], Counter[str]]:
    """Questions of the first ``count`` seeds in order, and in how many stories each type is asked."""
    tasks: list[Task] = [(world, split, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    if jobs == 1:
        told = [tell(task) for task in tasks]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            told = list(pool.map(tell, tasks))
    stories = [questions for chunk in told for questions in chunk]
    shares = Counter(kind for questions in stories for kind in {question.type for question in questions})
    return [question for questions in stories for question in questions], shares


def tell(task: Task) -> list[tuple[Question, ...]]:
    """The questions of each seed of a range."""
    name, split, start, stop = task
    world = create_world(name)
    return [world.questions(world.tell(seed, split)) for seed in range(start, stop)]


def baselines(train: Sequence[Question], test: Sequence[Question]) -> dict[str, list[int]]:
    """Answers that need no learning: the most frequent position of each type, the longest and the shortest option."""
    positions: dict[str, Counter[int]] = {}
    for question in train:
        positions.setdefault(question.type, Counter())[question.answer] += 1
    frequent = {kind: counts.most_common(1)[0][0] for kind, counts in positions.items()}

    def by_length(pick: Callable[..., int]) -> list[int]:
        return [pick(range(len(q.options)), key=lambda k, q=q: len(q.options[k])) for q in test]

    return {
        "position": [frequent.get(question.type, 0) for question in test],
        "longest": by_length(max),
        "shortest": by_length(min),
    }


def figures(questions: Sequence[Question], answers: Sequence[int]) -> dict[str, Any]:
    """Accuracy in percent, its interval, and what follows from them."""
    right = sum(question.answer == answer for question, answer in zip(questions, answers, strict=True))
    count = len(questions)
    low, high = (100 * bound for bound in wilson_interval(right, count))
    chance = 100 / len(questions[0].options)
    accuracy = 100 * right / count
    verdict = "LEAKS" if abs(accuracy - chance) > POINTS else "blind"
    if (high - low) / 2 > POINTS:
        verdict = "too few"
    histogram = Counter(question.answer for question in questions)
    return {
        "n": count,
        "accuracy": round(accuracy, 1),
        "interval": [round(low, 1), round(high, 1)],
        "chance": chance,
        "positions": [histogram[k] for k in range(len(questions[0].options))],
        "verdict": verdict,
    }


def show(world: str, report: dict[str, Any]) -> None:
    """A table."""
    print(
        f"{world}: blind model trained on {report['train_questions']} questions of train, tested on "
        f"{report['test_questions']} of {report['split']} ({report['seconds_telling']} s telling, "
        f"{report['seconds_learning']} s learning)"
    )
    print("type      n  blind  95 % interval  position longest shortest  stories  right answers by position  verdict")
    for kind, row in report["types"].items():
        low, high = row["interval"]
        other = "  ".join(f"{row['baselines'][way]:5.1f}%" for way in ("position", "longest", "shortest"))
        histogram = " ".join(f"{n:4d}" for n in row["positions"])
        print(
            f"{kind:4s} {row['n']:6d} {row['accuracy']:5.1f}%  {low:5.1f} to {high:5.1f}   {other}   "
            f"{row['stories']:5.1f}%   {histogram}   {row['verdict']}"
        )
    print(f"all  {report['test_questions']:6d} {report['overall']:5.1f}%")
    if report["missing"]:
        print(f"never asked: {', '.join(report['missing'])}")
    if few := [kind for kind, row in report["types"].items() if row["verdict"] == "too few"]:
        print(f"too few questions for an interval of ± {POINTS:g} points, not judged: {', '.join(few)}; raise --test")


def _accuracy(questions: Sequence[Question], answers: Sequence[int], rows: Sequence[int]) -> float:
    return round(100 * sum(questions[row].answer == answers[row] for row in rows) / max(1, len(rows)), 1)


if __name__ == "__main__":
    sys.exit(main())
