"""How well clips were put in order.

An order is a sequence of clip numbers, first to last: ``answer[i]`` is the clip that belongs in position ``i`` (it is
not a vector of ranks). ``G`` is the true order, ``P`` the predicted one. All percentages run from 0 to 100.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

Numbers = Sequence[int]


def exact_match(answer: Numbers, predicted: Numbers | None) -> bool:
    """True when every position is right; None (no readable order) is wrong."""
    return predicted is not None and list(answer) == list(predicted)


def position_hits(answer: Numbers, predicted: Numbers | None) -> list[int]:
    """1 for each position of ``answer`` that holds the right clip; all zeros if lengths differ or nothing was read."""
    if predicted is None or len(predicted) != len(answer):
        return [0] * len(answer)
    return [int(a == b) for a, b in zip(answer, predicted, strict=True)]


def kendall_tau(answer: Numbers, predicted: Numbers) -> float:
    """(agreeing pairs - disagreeing pairs) / pairs, in [-1, 1]; 1 for fewer than two clips.

    Raises:
        ValueError: the two are not orders of the same distinct clips.
    """
    place = _places(answer, predicted)
    n = len(answer)
    if n < 2:
        return 1.0
    agreeing = sum(place[answer[i]] < place[answer[j]] for i in range(n) for j in range(i + 1, n))
    pairs = n * (n - 1) // 2
    return (2 * agreeing - pairs) / pairs


def spearman(answer: Numbers, predicted: Numbers) -> float:
    """Spearman's rank correlation of the clips' positions, in [-1, 1]; 1 for fewer than two clips.

    Raises:
        ValueError: the two are not orders of the same distinct clips.
    """
    place = _places(answer, predicted)
    n = len(answer)
    if n < 2:
        return 1.0
    squares = sum((i - place[clip]) ** 2 for i, clip in enumerate(answer))
    return 1.0 - 6.0 * squares / (n * (n * n - 1))


def _places(answer: Numbers, predicted: Numbers) -> dict[int, int]:
    place = {clip: i for i, clip in enumerate(predicted)}
    if len(place) != len(predicted) or len(set(answer)) != len(answer) or set(place) != set(answer):
        raise ValueError(f"need two orders of the same distinct clips, got {list(answer)} and {list(predicted)}")
    return place


# ---- the published scorer -------------------------------------------------------------------------------------------


def official_scores(
    answers: Sequence[Numbers], predictions: Sequence[Numbers], goals: Sequence[Hashable]
) -> dict[str, Any]:
    """VCRBench's score, with its rounding (pritamqu/VCRBench metrics.py).

    ``avg_accuracy`` and ``avg_step_accuracy`` divide by the rows given, so missing rows shrink the denominator;
    steps are pooled over all positions. ``weighted_avg_accuracy`` is, despite its name, the *unweighted* mean over
    goals of accuracies that were already rounded to two decimals, and it alone is rounded by numpy (multiply, round,
    divide), which differs from Python's round on some halves.

    Raises:
        ZeroDivisionError: no rows, as the published scorer does.
    """
    by_goal: dict[Hashable, list[int]] = defaultdict(list)
    by_length: dict[int, list[int]] = defaultdict(list)
    hits: list[int] = []
    right = 0
    for answer, predicted, goal in zip(answers, predictions, goals, strict=True):
        match = int(list(answer) == list(predicted))
        right += match
        by_goal[goal].append(match)
        by_length[len(answer)].append(match)
        hits.extend(position_hits(answer, predicted))
    step_accuracy = sum(hits) / len(hits)
    per_goal = {str(goal): round(sum(m) / len(m) * 100, 2) for goal, m in by_goal.items()}
    return {
        "avg_accuracy": round(right / len(answers) * 100, 2),
        "avg_step_accuracy": round(step_accuracy * 100, 2),
        "weighted_avg_accuracy": float(round(np.average(list(per_goal.values())), 2)),
        "scores_per_class": per_goal,
        "scores_per_step": {str(n): round(sum(m) / len(m) * 100, 2) for n, m in by_length.items()},
    }


# ---- the strict score -----------------------------------------------------------------------------------------------


def strict_scores(
    answers: Sequence[Numbers], predictions: Sequence[Numbers | None], goals: Sequence[Hashable]
) -> dict[str, Any]:
    """The same quantities over *every* ground truth; None (missing or unreadable) is wrong in all positions.

    Nothing is rounded. ``kendall_tau`` and ``spearman`` are means over the answers that could be read (None when there
    are none); ``identity_rate`` is the percentage of those that merely repeat 1, 2, …, n.
    """
    if not answers:
        raise ValueError("no ground truths to score against")
    matches = [float(exact_match(a, p)) for a, p in zip(answers, predictions, strict=True)]
    hits = [sum(position_hits(a, p)) for a, p in zip(answers, predictions, strict=True)]
    read = [(a, p) for a, p in zip(answers, predictions, strict=True) if p is not None]
    return {
        "accuracy": 100 * _mean(matches),
        "step_accuracy": 100 * sum(hits) / max(1, sum(map(len, answers))),
        "goal_mean_accuracy": 100 * _mean(list(_group_means(goals, matches).values())),
        "kendall_tau": _mean([kendall_tau(a, p) for a, p in read]) if read else None,
        "spearman": _mean([spearman(a, p) for a, p in read]) if read else None,
        "identity_rate": 100 * _mean([float(is_identity(p)) for _, p in read]) if read else 0.0,
        "scores_per_class": {str(g): 100 * m for g, m in _group_means(goals, matches).items()},
        "scores_per_step": {str(n): 100 * m for n, m in _group_means([len(a) for a in answers], matches).items()},
    }


def is_identity(order: Numbers) -> bool:
    """True for 1, 2, …, n."""
    return list(order) == list(range(1, len(order) + 1))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _group_means(groups: Sequence[Hashable], values: Sequence[float]) -> dict[Hashable, float]:
    by_group: dict[Hashable, list[float]] = defaultdict(list)
    for group, value in zip(groups, values, strict=True):
        by_group[group].append(value)
    return {group: _mean(members) for group, members in by_group.items()}


# ---- what guessing would score --------------------------------------------------------------------------------------


def chance(answers: Sequence[Numbers]) -> dict[str, Any]:
    """Exact expectations, in percent, of ways to answer without looking, over these ground truths.

    ``accuracy`` and ``step_accuracy``: a uniform random permutation. ``…_excluding_identity_and_reversal``: uniform
    over the other permutations (VCRBench's ground truth never is one of those two; below three clips nothing else is
    left and the uniform value is used). ``best_constant_…``: always the most frequent true order of each length, chosen
    with the answers known (``best_constant_answers``). ``identity_…``: always 1, 2, …, n. ``per_n`` splits by length.
    """
    if not answers:
        raise ValueError("no ground truths")
    constant = best_constant(answers)
    by_length: dict[int, list[Numbers]] = defaultdict(list)
    for answer in answers:
        by_length[len(answer)].append(answer)
    identity = {n: tuple(range(1, n + 1)) for n in by_length}
    return {
        **_random(answers),
        **_named(_random(answers, exclude=True), "{}_excluding_identity_and_reversal"),
        **_named(_always(answers, constant), "best_constant_{}"),
        **_named(_always(answers, identity), "identity_{}"),
        "best_constant_answers": {str(n): list(order) for n, order in sorted(constant.items())},
        "per_n": {
            str(n): {
                "count": len(group),
                "accuracy": _random(group)["accuracy"],
                "accuracy_excluding_identity_and_reversal": _random(group, exclude=True)["accuracy"],
                "best_constant_accuracy": _always(group, constant)["accuracy"],
            }
            for n, group in sorted(by_length.items())
        },
    }


def _named(scores: dict[str, float], pattern: str) -> dict[str, float]:
    return {pattern.format(name): value for name, value in scores.items()}


def best_constant(answers: Sequence[Numbers]) -> dict[int, tuple[int, ...]]:
    """The most frequent order of each length; the smallest one on ties."""
    counts: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for answer in answers:
        counts[len(answer)][tuple(answer)] += 1
    return {n: min(c, key=lambda order: (-c[order], order)) for n, c in counts.items()}


def _random(answers: Sequence[Numbers], *, exclude: bool = False) -> dict[str, float]:
    exact = [_chance_exact(a, exclude) for a in answers]
    hits = [_chance_hits(a, exclude) for a in answers]
    return {"accuracy": 100 * _mean(exact), "step_accuracy": 100 * math.fsum(hits) / max(1, sum(map(len, answers)))}


def _is_reversal(order: Numbers) -> bool:
    return list(order) == list(range(len(order), 0, -1))


def _chance_exact(answer: Numbers, exclude: bool) -> float:
    n = len(answer)
    if not exclude or n < 3:
        return 1 / math.factorial(n)
    return 0.0 if is_identity(answer) or _is_reversal(answer) else 1 / (math.factorial(n) - 2)


def _chance_hits(answer: Numbers, exclude: bool) -> float:
    n = len(answer)
    if not exclude or n < 3:
        return 1.0 if n else 0.0
    through_all = n * math.factorial(n - 1)
    taken_away = sum(position_hits(answer, range(1, n + 1))) + sum(position_hits(answer, range(n, 0, -1)))
    return (through_all - taken_away) / (math.factorial(n) - 2)


def _always(answers: Sequence[Numbers], constant: dict[int, tuple[int, ...]]) -> dict[str, float]:
    right = sum(exact_match(a, constant[len(a)]) for a in answers)
    hits = sum(sum(position_hits(a, constant[len(a)])) for a in answers)
    return {"accuracy": 100 * right / len(answers), "step_accuracy": 100 * hits / max(1, sum(map(len, answers)))}
