"""BBH causal judgement: how a typical person answers 187 questions about causes (arXiv 2210.09261).

Files: suzgunmirac/BIG-Bench-Hard@9ee07bd4 ``bbh/causal_judgement.json``. No scoring code was published; its rule is
known from the released outputs of Codex and their ``*_eval_metrics.jsonl``, which it reproduces: what follows "the
answer is" up to the full stop, else the reply as it is, must equal the target, upper and lower case included. Quirks:

* A reasoned reply that never says "the answer is" counts as wrong, whatever it says.
* The denominator is the rows that are there.
* Two questions stand in the file twice, once with the answer Yes and once with No: nobody can have more than 185 right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.choice import ChoiceBenchmark
from vidcausal.benchmarks.joining import UNKNOWN_ID
from vidcausal.benchmarks.rows import BadLine, Rows, read_json, read_rows, read_values, row_id
from vidcausal.benchmarks.text._answers import YES_NO, parse_yes_no, text_sample
from vidcausal.errors import DataError
from vidcausal.types import Prediction, Sample

_OFFICIAL = re.compile(r"the answer is\s+(.*?)\s*(?:\.|\n|$)")
_SHOTS = "\n\nQ: "


def parse_official(reply: str) -> str:
    """What is compared with the target: after the first "the answer is" up to the full stop, else the whole reply."""
    match = _OFFICIAL.search(reply)
    return match[1] if match else reply.strip()


class BBHCausalJudgement(ChoiceBenchmark):
    """The questions of ``causal_judgement.json``; their ids are their places in the file, from 0."""

    name = "bbh_causal_judgement"
    files = ("causal_judgement.json", "bbh/causal_judgement.json")
    source = "github.com/suzgunmirac/BIG-Bench-Hard (bbh/causal_judgement.json)"
    groupings = ("type",)

    def load(self, path: Path) -> Iterable[Sample[int]]:
        """The examples in their order.

        Raises:
            DataError: not this file, or malformed.
        """
        value = read_json(path)
        examples = value.get("examples") if isinstance(value, Mapping) else None
        if not isinstance(examples, list):
            what = "Codex outputs, which are predictions" if isinstance(value, Mapping) and "outputs" in value else None
            raise DataError(f'{path} must be an object with a list "examples", got {what or type(value).__name__}')
        for number, example in enumerate(examples):
            yield _sample(path, number, example)

    def parse(self, sample: Sample[int], reply: str) -> int | None:
        """Yes or no, as a sane reader understands it."""
        return parse_yes_no(reply)

    def read_submission(self, path: Path) -> Rows:
        """Our rows, or the released form ``{"outputs": [{"input", "prediction", "target"}]}`` (also the bare list).

        An ``input`` may carry the worked examples before the question. Rows with neither ``id`` nor ``input`` are
        taken in the order of the file when there is one for each question.
        """
        numbered, bad = read_values(path)
        if len(numbered) == 1 and isinstance(numbered[0][1], Mapping) and "outputs" in numbered[0][1]:
            outputs = numbered[0][1]["outputs"]
            if not isinstance(outputs, list):
                raise DataError(f'{path}: "outputs" must be a list, got {type(outputs).__name__}')
            numbered = list(enumerate(outputs, start=1))
        if not any(isinstance(row, Mapping) and not {"id", "qid"} & set(row) for _, row in numbered):
            return read_rows(path)
        rows, refused = self._named(numbered)
        if not rows:
            raise DataError(f"{path} holds no prediction; {(bad + refused)[0] if bad + refused else 'it is empty'}")
        return Rows(path, tuple(rows), tuple(sorted(bad + refused)))

    def _named(self, numbered: Sequence[tuple[int, Any]]) -> tuple[list[dict[str, Any]], list[BadLine]]:
        """Released rows with the id of the question they repeat."""
        free: dict[str, list[Sample[int]]] = {}
        for sample in self._samples:
            free.setdefault(sample.question, []).append(sample)
        by_place = len(numbered) == len(self._samples)
        rows, refused = [], []
        for place, (line, row) in enumerate(numbered):
            reason = _refusal(row)
            if reason is not None:
                refused.append(BadLine(line, reason))
                continue
            question = str(row.get("input", "")).rpartition(_SHOTS)[2].removeprefix("Q: ").rpartition("\nA:")
            known = free.get(question[0] or question[2], [])
            if "id" in row or "qid" in row:
                identity = row_id(row)
            elif "input" not in row and by_place:
                identity = str(place)
            elif known:
                # The same question with two answers: the row's own target says which one, else the order does.
                twin = next((s for s in known if _answer(s) == row.get("target")), known[0])
                identity = twin.id
                if len(known) > 1:
                    known.remove(twin)
            else:
                identity = f"(input of row {line})"
            reply = row["prediction"] if "prediction" in row else row.get("pred", row.get("reply"))
            rows.append({"id": identity, "reply": reply, "answer": row.get("target")})
        return rows, refused

    def official(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        """Percent of the rows whose answer equals the target, with two decimals as it was recorded.

        A row's own ``target`` decides where it has one, as in the released files.
        """
        rows = [p for p in predictions if p.error is None]
        if any(p.error == UNKNOWN_ID for p in predictions):
            notes.append("official leaves out rows that repeat no question of the file")
        if not rows:
            notes.append("the official scorer stops: no prediction to divide by")
            return {}
        right = sum(parse_official(p.reply) == (p.extra.get("answer") or _answer(p.sample)) for p in rows)
        return {"n": len(rows), "correct": right, "accuracy": round(100 * right / len(rows), 2)}


def _sample(path: Path, number: int, example: Any) -> Sample[int]:
    if not isinstance(example, Mapping) or not isinstance(example.get("input"), str):
        raise DataError(f'{path}: example {number} must be an object with "input" and "target"')
    target = example.get("target")
    if target not in YES_NO:
        raise DataError(
            f"{path}: example {number} has the target {target!r}, and causal judgement knows Yes and No only "
            "(another task of BIG-Bench Hard?)"
        )
    story = example["input"]
    kind = "intention" if "intentionally" in story else "causation"
    return text_sample(str(number), story, YES_NO, YES_NO.index(target), {"type": kind}, story=story)


def _answer(sample: Sample[int]) -> str | None:
    return None if sample.target is None else YES_NO[sample.target]


def _refusal(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return f"a row must be an object, got {type(row).__name__}"
    reply = row["prediction"] if "prediction" in row else row.get("pred", row.get("reply"))
    return None if isinstance(reply, str) or reply is None else f'"prediction" must be text, got {reply!r}'
