"""COPA: which of two sentences is the more plausible cause, or effect, of a premise (Roemmele et al., AAAI 2011).

Files, told apart by their content: ``benchmarks/copa.json`` of Haoang97/CausalProbe-2024@edb6a614 (all 1,000 questions,
ids as in the original), the original ``copa-all.xml``, ``copa-dev.xml``, ``copa-test.xml``, and SuperGLUE's
``train.jsonl``, ``val.jsonl``, ``test.jsonl`` (the last without labels). In the original, 1–500 are the development set
and 501–1000 the test set.

Official here is the script that CausalProbe-2024 ran on COPA (:mod:`vidcausal.benchmarks.text._digits`), with its
prompt, which numbers the sentences 0 and 1. The original ``copa-eval.jar`` (percent right, and a test whether two
systems differ) is not ported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vidcausal.benchmarks.choice import ChoiceBenchmark
from vidcausal.benchmarks.rows import Rows, read_values
from vidcausal.benchmarks.text._answers import parse_number, text_sample
from vidcausal.benchmarks.text._digits import digit_scores, read_results
from vidcausal.errors import DataError
from vidcausal.types import Prediction, Sample


class COPA(ChoiceBenchmark):
    """The questions of a COPA file."""

    name = "copa"
    files = ("copa.json", "causalprobe/copa.json", "copa-all.xml", "copa-test.xml", "copa-dev.xml", "val.jsonl")
    source = "github.com/Haoang97/CausalProbe-2024 (benchmarks/copa.json) or people.ict.usc.edu/~gordon/copa.html"
    groupings = ("asks for", "split")

    def load(self, path: Path) -> Iterable[Sample[int]]:
        """The questions in their order.

        Raises:
            DataError: none of the known forms, or malformed.
        """
        rows = _xml_rows(path) if path.suffix.lower() == ".xml" else _json_rows(path)
        for number, row in enumerate(rows, start=1):
            yield _sample(f"{path}: question {number}", row)

    def parse(self, sample: Sample[int], reply: str) -> int | None:
        """The number a sane reader finds, see :func:`~vidcausal.benchmarks.text._answers.parse_number`."""
        return parse_number(reply, 0, sample.options)

    def read_submission(self, path: Path) -> Rows:
        """Published results (rows with ``output``), SuperGLUE's ``{"idx": 0, "label": 1}``, or our rows."""
        numbered, bad = read_values(path)
        given = [row for _, row in numbered if isinstance(row, Mapping) and {"idx", "label"} <= set(row)]
        if not given or len(given) < len(numbered):
            return read_results(path)
        return Rows(path, tuple({"id": str(row["idx"]), "reply": str(row["label"])} for row in given), tuple(bad))

    def official(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        """See :func:`~vidcausal.benchmarks.text._digits.digit_scores`."""
        return digit_scores(predictions, notes)


def _json_rows(path: Path) -> list[Any]:
    numbered, bad = read_values(path)
    if bad:
        raise DataError(f"{path} is neither a JSON list nor JSON lines: {bad[0]}")
    return [row for _, row in numbered]


def _xml_rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if "<!ENTITY" in text:
        raise DataError(f"{path} declares XML entities, which COPA's files do not; it is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not XML: {error}") from error
    rows = []
    for item in root.iter("item"):
        right = item.get("most-plausible-alternative")
        row: dict[str, Any] = {"id": item.get("id"), "asks-for": item.get("asks-for"), "context": item.findtext("p")}
        row |= {"choice_0": item.findtext("a1"), "choice_1": item.findtext("a2")}
        rows.append(row | {"answer": int(right) - 1 if right and right.isdecimal() else right})
    return rows


def _sample(where: str, row: Any) -> Sample[int]:
    if not isinstance(row, Mapping):
        raise DataError(f"{where} must be an object, got {type(row).__name__}")
    if "hypothesis1" in row:
        raise DataError(f"{where} is one of e-CARE: use the benchmark ecare")
    glue = "choice1" in row and "premise" in row
    keys = ("premise", "choice1", "choice2", "question") if glue else ("context", "choice_0", "choice_1", "asks-for")
    texts = [row.get(key) for key in keys]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{where} needs the texts {', '.join(keys)}, got {json.dumps(dict(row), default=str)[:200]}")
    premise, first, second, asked = map(str, texts)
    if asked not in ("cause", "effect"):
        raise DataError(f"{where} must ask for a cause or an effect, got {asked!r}")
    answer = row.get("label") if glue else row.get("answer")
    target = None if answer is None or answer == -1 else answer
    if target is not None and (type(target) is not int or target not in (0, 1)):
        raise DataError(f"{where} needs the answer 0 or 1, got {answer!r}")
    identity = str(row.get("idx") if glue else row.get("id"))
    question = (
        f"Premise: {premise}\nQuestion: What is the {asked}?\nAnswer Choices:\n0. {first}\n1. {second}\n"
        "Pick one choice and do not explain. Answer:"
    )
    groups = {"asks for": asked}
    if not glue and identity.isdecimal():
        groups["split"] = "dev" if int(identity) <= 500 else "test"
    return text_sample(identity, question, (first, second), target, groups, truth=target)
