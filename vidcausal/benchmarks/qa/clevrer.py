"""CLEVRER: explanatory, predictive and counterfactual questions about colliding objects (arXiv 1910.01442).

A question has several candidate answers, and any number of them is right. Each candidate is a sample here (is it
correct or wrong?), its id ``SCENE_QUESTION_CHOICE``. Descriptive questions have no candidates and are left out.

Official scores, both from the questions' own files:

* CLEVRER (a list of scenes): chuangg/CLEVRER@1a213058 executor/run_mc.py, per option and per question (all candidates
  right), overall and for the three types, in percent with six decimals. A candidate without a prediction counts as its
  ``error``: wrong. A type without a question: ZeroDivisionError.
* CLEVRER-Humans (an object of scenes; human judgments of causes): xyang23/CLEVRER-Humans1.0@fb40ccd4 train_model.py,
  ``question acc`` and ``choice acc`` as shares. What is not judged "correct" counts as judged "wrong", what is missing
  too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.choice import Options, Samples, interval, video_of
from vidcausal.benchmarks.qa._multiple import (
    INSTRUCTION,
    NumberedChoices,
    OfficialStops,
    answered_by_id,
    is_submitted,
    submitted,
)
from vidcausal.benchmarks.rows import read_json
from vidcausal.errors import DataError
from vidcausal.metrics.statistics import bootstrap_interval
from vidcausal.types import Media, Prediction, Sample, Scores

JUDGMENTS = ("correct", "wrong")
_TYPES = ("explanatory", "predictive", "counterfactual")
_PROMPT = (
    "{question}\nCandidate answer: {choice}\nIs the candidate answer correct?\nA. correct\nB. wrong\n" + INSTRUCTION
)


class CLEVRER(NumberedChoices):
    """CLEVRER's (``validation.json``) or CLEVRER-Humans' (``valid.json``) multiple-choice questions.

    Videos are looked up as ``video_10494``, by ``video_filename`` or by the scene's number.
    """

    name = "clevrer"
    files = ("validation.json", "clevrer_humans_valid.json", "clevrer_humans_valid-orig-small.json")
    source = "clevrer.csail.mit.edu (validation.json), or github.com/xyang23/CLEVRER-Humans1.0"
    groupings = ("type",)
    choice_keys = ("answer",)

    # ---- samples -------------------------------------------------------------------------------------------------

    def load(self, path: Path) -> Iterator[Sample[int]]:
        humans, scenes = _scenes(read_json(path), str(path))
        for scene, filename, questions in scenes:
            media = self._media(scene, filename)
            for question in questions:
                if isinstance(question, Mapping) and question.get("question_type") == "descriptive":
                    continue
                yield from self._of_question(scene, question, media, humans, f"{path}, scene {scene}")

    def _media(self, scene: str, filename: Any) -> Media:
        names = [str(filename)] if filename else [f"video_{int(scene):05d}"] if scene.isdecimal() else []
        found = [self.video(name) for name in (*names, scene)]
        return next((media for media in found if Path(media.videos[0]).is_file()), found[0])

    def _of_question(self, scene: str, row: Any, media: Media, humans: bool, where: str) -> Iterator[Sample[int]]:
        try:
            text, kind, number = str(row["question"]), str(row["question_type"]), str(row["question_id"])
            choices = [(str(c["choice_id"]), str(c["choice"]), c.get("answer")) for c in row["choices"]]
        except (LookupError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where}: a question needs question, question_type, question_id, choices ({error!r})"
            ) from error
        for identity, choice, answer in choices:
            if answer is not None and answer not in JUDGMENTS:
                raise DataError(f"{where}: the answer of a choice must be correct or wrong, got {answer!r}")
            yield self.ask(
                f"{scene}_{number}_{identity}",
                text,
                JUDGMENTS,
                None if answer is None else JUDGMENTS.index(answer),
                media,
                video=scene,
                groups={"type": kind},
                prompt=_PROMPT.format(question=text, choice=choice),
                asked=f"{scene}_{number}",
                humans=humans,
            )

    # ---- submissions ---------------------------------------------------------------------------------------------

    def unfold(self, submission: Mapping[str, Any]) -> Iterable[Any]:
        if any(isinstance(entry, Mapping) and "questions" in entry for entry in submission.values()):
            for scene, entry in submission.items():
                yield from _judged(scene, entry)
        elif "questions" in submission:
            yield from self.expand(submission)
        else:
            yield from super().unfold(submission)

    def expand(self, value: Any) -> Iterable[Any]:
        if not isinstance(value, Mapping) or "questions" not in value:
            return (value,)
        return _judged(value.get("scene_index"), value)

    # ---- official ------------------------------------------------------------------------------------------------

    def figures(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        given = answered_by_id(predictions)
        if missing := sum(sample.id not in given for sample in self._samples):
            notes.append(
                f"{missing} candidates have no prediction: the official score takes them for wrong predictions"
            )
        if any(sample.target is None for sample in self._samples):
            raise OfficialStops("KeyError 'answer': the questions have no published answers")
        if self._samples[0].meta["humans"]:
            hits = [(self._judgment(given.get(s.id)) == JUDGMENTS[0]) == (s.target == 0) for s in self._samples]
            questions = _all_right(self._samples, hits)
            return {"question acc": sum(questions) / len(questions), "choice acc": sum(hits) / len(hits)}
        hits = [self._judgment(given.get(s.id)) == JUDGMENTS[s.target or 0] for s in self._samples]
        return self._per_type(hits)

    def _per_type(self, hits: Sequence[bool]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name in ("overall", *_TYPES):
            kinds = [(s, h) for s, h in zip(self._samples, hits, strict=True) if name == "overall" or _is(s, name)]
            if not kinds:
                raise OfficialStops(f"ZeroDivisionError: no {name} question")
            questions = _all_right([s for s, _ in kinds], [h for _, h in kinds])
            found[f"{name} accuracy per option"] = _printed(sum(h for _, h in kinds), len(kinds))
            found[f"{name} accuracy per question"] = _printed(sum(questions), len(questions))
        return found

    def _judgment(self, prediction: Prediction[int] | None) -> Any:
        if prediction is None:
            return None
        choice = self.chosen(prediction)
        if is_submitted(prediction):
            return choice
        return JUDGMENTS[choice] if choice is not None else None

    # ---- strict --------------------------------------------------------------------------------------------------

    def score(self, predictions: Sequence[Prediction[int]], *, expected: int | None = None) -> Scores:
        scores = super().score(predictions, expected=expected)
        sizes: dict[str, int] = {}
        for sample in self._samples:
            sizes[sample.meta["asked"]] = sizes.get(sample.meta["asked"], 0) + 1
        chance = 100 * sum(0.5**size for size in sizes.values()) / len(sizes)
        return dataclasses.replace(scores, chance=scores.chance | {"accuracy per question": chance})

    def _figures(self, samples: Samples, chosen: Options) -> dict[str, Any]:
        return super()._figures(samples, chosen) | {
            "accuracy per question": _per_question(samples, chosen),
            **{f"{key} per question": value for key, value in self._by_group(samples, chosen, _per_question).items()},
        }

    def _intervals(self, samples: Samples, chosen: Options) -> dict[str, Any]:
        questions = _all_right(samples, [c == s.target for s, c in zip(samples, chosen, strict=True)])
        scenes = {s.meta["asked"]: video_of(s) for s in samples}
        ends = bootstrap_interval([float(hit) for hit in questions], clusters=list(scenes.values()))
        return {
            "accuracy": interval(samples, chosen),
            "accuracy per question": [100 * end for end in ends],
            **self._by_group(samples, chosen, interval),
        }


def _per_question(samples: Samples, chosen: Options) -> float:
    questions = _all_right(samples, [c == s.target for s, c in zip(samples, chosen, strict=True)])
    return 100 * sum(questions) / len(questions)


def _all_right(samples: Samples, hits: Sequence[bool]) -> list[bool]:
    """Whether all candidates of a question are judged right, question by question."""
    found: dict[str, bool] = {}
    for sample, hit in zip(samples, hits, strict=True):
        found[sample.meta["asked"]] = found.get(sample.meta["asked"], True) and hit
    return list(found.values())


def _is(sample: Sample[int], kind: str) -> bool:
    return str(sample.meta["groups"]["type"]).startswith(kind)


def _printed(right: int, total: int) -> float:
    return float(f"{float(right) * 100.0 / total:f}")


def _judged(scene: Any, entry: Any) -> Iterator[Any]:
    """Rows of a scene in a submission, one a candidate; descriptive questions are left out, what is no scene stays."""
    questions = entry.get("questions") if isinstance(entry, Mapping) else None
    if not isinstance(questions, list):
        yield entry
        return
    for question in questions:
        choices = question.get("choices", ()) if isinstance(question, Mapping) else None
        if not isinstance(choices, (list, tuple)):
            yield question
            continue
        for choice in choices:
            if not isinstance(choice, Mapping):
                yield choice
                continue
            identity = f"{scene}_{question.get('question_id')}_{choice.get('choice_id')}"
            yield submitted(identity, choice.get("answer"), choice)


def _scenes(value: Any, where: str) -> tuple[bool, list[tuple[str, Any, Sequence[Any]]]]:
    """Whether the file is of CLEVRER-Humans, and number, video and questions of each scene."""
    if isinstance(value, list):
        entries = [(None if not isinstance(row, Mapping) else row.get("scene_index"), row) for row in value]
    elif isinstance(value, Mapping):
        entries = list(value.items())
    else:
        raise DataError(f"{where} must be a list or an object of scenes, got {type(value).__name__}")
    scenes = []
    for number, row in entries:
        if not isinstance(row, Mapping) or not isinstance(row.get("questions"), list) or number is None:
            raise DataError(f"{where}: a scene needs its number and a list of questions, got {str(row)[:80]}")
        scenes.append((str(number), row.get("video_filename"), row["questions"]))
    return isinstance(value, Mapping), scenes
