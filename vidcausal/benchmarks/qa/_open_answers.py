"""Open-ended questions: exact match of short answers, and a judge where somebody passes one in."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from vidcausal.benchmarks.annotated import AnnotatedBenchmark
from vidcausal.benchmarks.choice import video_of
from vidcausal.benchmarks.joining import expected_samples, is_answered, latest_by_id
from vidcausal.benchmarks.qa._open_judge import Case, Verdict, judge_figures, judged, published_figures
from vidcausal.benchmarks.qa._open_rows import ANSWER_KEYS, ID_KEYS, read_answers
from vidcausal.benchmarks.rows import Rows
from vidcausal.errors import ConfigError, DataError
from vidcausal.metrics.statistics import bootstrap_interval
from vidcausal.parsing import normalize_answer
from vidcausal.protocols import TextChat
from vidcausal.types import Prediction, Sample, Scores

Samples = Sequence[Sample[str]]
Latest = Mapping[str, Prediction[str]]

SHORT_ANSWER = "Answer the question using a single word or phrase."


class OpenAnswerBenchmark(AnnotatedBenchmark):
    """Samples of task ``ask`` without options; ``target`` is the true answer, a short text.

    Args:
        annotations: the official file.
        data_dir: where it is looked for when it is not named.
        video_root: folder of the videos.
        judge: a language model that judges the answers, as an object; a model's name stands for it until whoever runs
            the benchmark puts the model in its place. None: exact match only.
    """

    groupings: ClassVar[tuple[str, ...]] = ("type",)

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        judge: TextChat | str | None = None,
    ) -> None:
        super().__init__(annotations, data_dir, video_root)
        self.judge: TextChat | str | None = judge
        self.verdicts: Path | None = None
        """JSONL file in which verdicts are kept; beside the predictions once these were read from a file."""

    @abstractmethod
    def official(self, predictions: Sequence[Prediction[str]], notes: list[str]) -> dict[str, Any]:
        """The published scorer's figures, bug for bug; see :class:`~vidcausal.benchmarks.choice.ChoiceBenchmark`."""

    def read_submission(self, path: Path) -> Rows:
        """Rows with ``reply``, ``pred`` or ``answer``; verdicts are kept beside the file from now on."""
        self.verdicts = path.with_name(path.stem + ".verdicts.jsonl")
        return read_answers(path, *self.submission_keys())

    def submission_keys(self) -> tuple[Sequence[str], Sequence[str]]:
        """Where a submission has ids and answers, best first."""
        return ID_KEYS, ANSWER_KEYS

    def normalize(self, text: str) -> str:
        """What two answers must share to be the same one under ``strict``."""
        return normalize_answer(text)

    def is_right(self, prediction: Prediction[str]) -> bool | None:
        """Whether a reply is the true answer; None where it says nothing."""
        said = self.normalize(prediction.reply)
        if not said or prediction.sample.target is None:
            return None
        return said == self.normalize(prediction.sample.target)

    def score(self, predictions: Sequence[Prediction[str]], *, expected: int | None = None) -> Scores:
        """``official`` as published; ``strict``: exact match after lower case and without punctuation, and the judge's
        figures where there is a judge. Missing and unreadable answers are wrong.
        """
        notes: list[str] = []
        latest = latest_by_id(predictions, notes)
        truths = [s for s in expected_samples(self._samples, latest, expected) if s.target is not None]
        if not truths:
            raise DataError(f"{self.annotations_path} has no answers to score against")
        answered = [is_answered(sample, latest) for sample in truths]
        read = [self.is_right(latest[s.id]) if there else None for s, there in zip(truths, answered, strict=True)]
        unread = sum(there and right is None for there, right in zip(answered, read, strict=True))
        hits = [float(right or False) for right in read]
        official = self.official(predictions, notes)
        strict = {"accuracy": _percent(hits), **self._by_group(truths, hits, lambda _, own: _percent(own))}
        intervals = {"accuracy": interval(truths, hits), **self._by_group(truths, hits, interval)}
        if (verdicts := self._verdicts(truths, latest, notes)) is not None:
            strict |= judge_figures(verdicts) | {"judge as published": published_figures(verdicts)}
            intervals["judge accuracy"] = interval(truths, [float(v is not None and v.right) for v in verdicts])
        return Scores(
            benchmark=self.name,
            official=official,
            strict=strict,
            count=len(truths),
            coverage=sum(answered) / len(truths),
            unparsed=unread / sum(answered) if any(answered) else 0.0,
            chance=constant_answer(truths, self.normalize),
            intervals=intervals,
            notes=tuple(notes),
        )

    def _verdicts(self, truths: Samples, latest: Latest, notes: list[str]) -> list[Verdict | None] | None:
        if self.judge is None:
            notes.append("no judge: only answers that match exactly are right (benchmark argument judge=MODEL)")
            return None
        if isinstance(self.judge, str):
            raise ConfigError(
                f"the judge of {self.name} is still the name {self.judge!r}: create the model and pass the object, "
                "or run vidcausal evaluate or vidcausal score, which do it"
            )
        cases = [
            Case(s.id, str(s.meta.get("asked") or s.question), str(s.target), latest[s.id].reply)
            for s in truths
            if is_answered(s, latest)
        ]
        found = judged(self.judge, cases, self.verdicts)
        if lost := sum(verdict is None for verdict in found.values()):
            notes.append(f"the judge gave no verdict on {lost} answers: wrong under strict")
        notes.append(f"judged by {self.judge.name}; another judge gives other figures")
        return [found.get(sample.id) for sample in truths]

    def _by_group(
        self, samples: Samples, hits: Sequence[float], figure: Callable[[Samples, Sequence[float]], Any]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for grouping in self.groupings:
            members: dict[Hashable, list[int]] = {}
            for index, sample in enumerate(samples):
                if (group := sample.meta.get("groups", {}).get(grouping)) is not None:
                    members.setdefault(group, []).append(index)
            found[f"by {grouping}"] = {
                str(group): figure([samples[i] for i in own], [hits[i] for i in own])
                for group, own in sorted(members.items(), key=lambda item: str(item[0]))
            }
        return found


def _percent(hits: Sequence[float]) -> float:
    return 100 * sum(hits) / len(hits)


def interval(samples: Sequence[Sample[Any]], hits: Sequence[float]) -> list[float]:
    """95 % interval of a mean, in percent: bootstrap over videos."""
    low, high = bootstrap_interval(list(hits), clusters=[video_of(sample) for sample in samples])
    return [100 * low, 100 * high]


def constant_answer(samples: Samples, normalize: Callable[[str], str]) -> dict[str, Any]:
    """The answer that is right most often, and how often."""
    counts = Counter(normalize(sample.target or "") for sample in samples)
    best, hits = max(counts.items(), key=lambda item: (item[1], item[0]))
    return {"best constant answer": best, "best constant accuracy": 100 * hits / len(samples)}
