"""CLadder: yes/no questions on all three rungs of causation, with the numbers to answer them (NeurIPS 2023).

Files: causalNLP/cladder@3d2d1169 ``data/test-generate-*.json`` and the ``cladder-v1-q-*.json`` of its archive; the
background of each question stands in ``test-model-meta.json`` or ``cladder-v1-meta-models.json``, which is used where
it lies beside the questions. Official scorer: ``causalbenchmark/eval/run_gpt_v1.5.py``. Quirks:

* Only the reply's beginning counts, and prefixes are tried from the longest to the shortest without looking where the
  word ends: "Not necessarily", "Nothing", "None" (alone) and "Now, let us see" are a no, "none of" and "As a language
  model" are neither.
* The denominator is the rows that are there; a row that says neither is wrong.
* Percentages have two decimals; groups are named ``query_type``, ``rung``, ``phenomenon`` (the graph), ``sensical`` and
  ``simpson`` (the last two only where the models' file is there).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidcausal.benchmarks.choice import ChoiceBenchmark
from vidcausal.benchmarks.rows import Rows, read_json, read_rows
from vidcausal.benchmarks.text._answers import YES_NO, parse_yes_no, text_sample
from vidcausal.benchmarks.text._tables import read_table
from vidcausal.errors import DataError
from vidcausal.types import Prediction, Sample

_MODELS = ("test-model-meta.json", "cladder-v1-meta-models.json")
_PREFIXES = {"i'm sorry ": -1, "neither ": -1, "none ": -1, "as a": -1, "yes": 1, "no": 0}
"""Longest first, as the published script sorts them."""
_SUFFIX = (
    'Start your answer with "Yes" or "No", followed by additional reasoning or evidence to support your explanation.'
)
_GROUPS = ("query_type", "rung", "phenomenon", "sensical", "simpson")


def parse_official(reply: str) -> int:
    """1 for yes, 0 for no, -1 for neither, by the reply's beginning."""
    text = reply.lower().strip().strip('"')
    return next((norm for prefix, norm in _PREFIXES.items() if text.startswith(prefix)), -1)


class CLadder(ChoiceBenchmark):
    """The questions of a CLadder file.

    Args:
        annotations: a file of questions.
        data_dir: see :class:`~vidcausal.benchmarks.annotated.AnnotatedBenchmark`.
        video_root: not used; the questions are about no video.
        models: the file with the background of each question; None looks for it beside the questions. Without it
            the questions are asked without the causal graph in words, which makes them harder.
    """

    name = "cladder"
    files = ("cladder-v1-q-balanced.json", "test-generate-easy.json", "test-generate-hard.json")
    source = "github.com/causalNLP/cladder (data/)"
    groupings = ("query_type", "rung", "phenomenon")

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        models: str | Path | None = None,
    ) -> None:
        super().__init__(annotations, data_dir, video_root)
        self._models_file = None if models is None else Path(models)

    def load(self, path: Path) -> Iterable[Sample[int]]:
        """The questions in their order.

        Raises:
            DataError: not such a file, or malformed.
        """
        value = read_json(path)
        if not isinstance(value, list):
            raise DataError(f"{path} must be a JSON list of questions, got {type(value).__name__}")
        models = self._models(path)
        for number, row in enumerate(value, start=1):
            yield _sample(f"{path}: question {number}", row, models)

    def _models(self, path: Path) -> dict[Any, Mapping[str, Any]]:
        file = self._models_file
        if file is None:
            file = next((path.with_name(name) for name in _MODELS if path.with_name(name).is_file()), None)
        if file is None:
            return {}
        value = read_json(file)
        if not isinstance(value, list) or not all(isinstance(m, Mapping) and "model_id" in m for m in value):
            raise DataError(f'{file} must be a JSON list of models with "model_id"')
        return {model["model_id"]: model for model in value}

    def parse(self, sample: Sample[int], reply: str) -> int | None:
        """Yes or no, as a sane reader understands it."""
        return parse_yes_no(reply)

    def read_submission(self, path: Path) -> Rows:
        """The published table (``.csv`` with ``question_id`` and ``pred``), or our rows."""
        if path.suffix.lower() != ".csv":
            return read_rows(path)
        rows = read_table(path, ("question_id", "pred"))
        return Rows(path, tuple({"id": row["question_id"], "reply": row["pred"]} for row in rows))

    def official(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        """Percent right of the rows, overall and by the groups of the published table."""
        rows = [p for p in predictions if p.error is None and p.sample.target is not None]
        if not rows:
            notes.append("the official scorer stops: no files for evaluation")
            return {}
        right = [parse_official(p.reply) == 1 - int(p.sample.target or 0) for p in rows]
        figures: dict[str, Any] = {"score": _percent(right)}
        for group in _GROUPS:
            members: dict[Any, list[bool]] = {}
            for hit, row in zip(right, rows, strict=True):
                if group in row.sample.meta["groups"]:
                    members.setdefault(row.sample.meta["groups"][group], []).append(hit)
            if members:
                figures[group] = {str(key): _percent(hits) for key, hits in sorted(members.items(), key=str)}
        return figures


def _percent(hits: Sequence[bool]) -> float:
    return float(np.round(sum(hits) / len(hits) * 100, 2))  # as pandas rounds


def _sample(where: str, row: Any, models: Mapping[Any, Mapping[str, Any]]) -> Sample[int]:
    if not isinstance(row, Mapping) or not all(isinstance(row.get(k), str) for k in ("given_info", "question")):
        raise DataError(f'{where} must be an object with the texts "given_info" and "question"')
    if row.get("answer") not in ("yes", "no"):
        raise DataError(f"{where}: the answer must be yes or no, got {row.get('answer')!r}")
    meta = row.get("meta") if isinstance(row.get("meta"), Mapping) else {}
    assert isinstance(meta, Mapping)
    model = models.get(meta.get("model_id"), {})
    background = row.get("background") or model.get("background") or ""
    told = " ".join(part.strip() for part in (str(background), row["given_info"], row["question"]) if part.strip())
    groups = {key: meta[key] for key in ("query_type", "rung") if key in meta}
    groups |= {"phenomenon": meta["graph_id"]} if "graph_id" in meta else {}
    if model:
        sense = -1 if model.get("anticommonsense") is not None else 0 if model.get("nonsense") else 1
        groups |= {"sensical": sense, "simpson": bool(model.get("simpson", False))}
    target = 0 if row["answer"] == "yes" else 1
    return text_sample(str(row.get("question_id")), f"{told}\n\n{_SUFFIX}", YES_NO, target, groups)
