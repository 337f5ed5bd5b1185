"""The scorer of CausalProbe-2024, used by its authors for CausalProbe, COPA, CausalNet and e-CARE alike.

Ported from Haoang97/CausalProbe-2024@edb6a614 ``compute_results_from_json.py`` and ``utils.py`` (``find_first_digit``).
Quirks: the *first digit anywhere* in the reply is the choice ("In 2019 …" chooses 2, "10" chooses 1), a digit that no
option has is wrong but valid; "Exact Match" divides by the valid replies only; precision, recall and F1 are weighted
over the valid ones; a character like "²" is a digit to Python's ``isdigit`` and not to ``int``, which stops the script;
so do a question with several right answers and a file without one digit. The truth is the one in the row itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.rows import BadLine, Rows, read_rows, read_values
from vidcausal.errors import DataError
from vidcausal.types import Prediction

_TRUTHS = ("answers", "answer", "answerKey", "label", "Correct_answer")
"""Where a row may keep its truth; the published script lets a later name win over an earlier one."""


def first_digit(text: str) -> int | None:
    """The first character that is a digit.

    Raises:
        ValueError: it is one of those that ``int`` refuses, as in the published script.
    """
    return next((int(character) for character in text if character.isdigit()), None)


def digit_scores(predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
    """The figures of the published script, in its names and with its four decimals.

    Args:
        predictions: the rows; where one has no truth of its own, the sample's ``meta["truth"]``, as the file has it.
        notes: takes why the script would stop.
    """
    gold: list[int] = []
    chosen: list[int] = []
    total = 0
    for prediction in predictions:
        if prediction.error is not None and prediction.error != UNKNOWN_ID:
            continue
        total += 1
        try:
            truth = int(str(_truth(prediction)))
            digit = first_digit(prediction.reply.strip())
        except (ValueError, TypeError) as error:
            notes.append(f"the official scorer stops: row {prediction.sample.id!r}: {error}")
            return {}
        if digit is not None:
            gold.append(truth)
            chosen.append(digit)
    if not gold:
        notes.append("the official scorer stops: no reply has a digit")
        return {}
    right = sum(g == c for g, c in zip(gold, chosen, strict=True))
    precision, recall, f1 = _weighted(gold, chosen)
    figures = {"Exact Match": right / len(gold), "All Exact Match": right / total}
    figures |= {"Precision": precision, "Recall": recall, "F1 Score": f1}
    return {**{key: float(f"{value:.4f}") for key, value in figures.items()}, "invalid": total - len(gold)}


def _truth(prediction: Prediction[int]) -> Any:
    own = prediction.extra.get("answer")
    if own is not None:
        return own
    truth = prediction.sample.meta.get("truth")
    if truth is None:
        raise ValueError("no true answer is known")
    return truth


def _weighted(gold: Sequence[int], chosen: Sequence[int]) -> tuple[float, float, float]:
    """Precision, recall and F1 of each class, averaged by how often it is right; 0 where nothing is to divide by."""
    support, picked = Counter(gold), Counter(chosen)
    hits = Counter(g for g, c in zip(gold, chosen, strict=True) if g == c)
    sums = [0.0, 0.0, 0.0]
    for label, count in sorted(support.items()):
        precision = hits[label] / picked[label] if picked[label] else 0.0
        recall = hits[label] / count
        both = precision + recall
        figures = (precision, recall, 2 * precision * recall / both if both else 0.0)
        sums = [total + figure * count for total, figure in zip(sums, figures, strict=True)]
    return sums[0] / len(gold), sums[1] / len(gold), sums[2] / len(gold)


def read_results(path: Path) -> Rows:
    """Rows with ``id`` (or ``index``), ``output`` and their own truth, as the published runs write them, or our rows.

    Raises:
        DataError: no row.
    """
    numbered, bad = read_values(path)
    if not any(isinstance(row, Mapping) and "output" in row for _, row in numbered):
        return read_rows(path)
    rows: list[dict[str, Any]] = []
    for line, row in numbered:
        reason = _refusal(row)
        if reason is not None:
            bad.append(BadLine(line, reason))
            continue
        truth = row.get("golds")
        if truth is None:
            truth = next((row[key] for key in reversed(_TRUTHS) if key in row), None)
        rows.append({"id": row.get("id", row.get("index")), "reply": row["output"], "answer": truth})
    if not rows:
        raise DataError(f"{path} holds no prediction; {min(bad)}")
    return Rows(path, tuple(rows), tuple(sorted(bad)))


def _refusal(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return f"a row must be an object, got {type(row).__name__}"
    identity = row.get("id", row.get("index"))
    if isinstance(identity, bool) or not isinstance(identity, (str, int)):
        return f'a row needs "id" or "index" (text or a whole number), got {identity!r}'
    return None if isinstance(row.get("output"), str) else f'"output" must be text, got {row.get("output")!r}'
