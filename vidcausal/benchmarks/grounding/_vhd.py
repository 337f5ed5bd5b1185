"""Highlights as TimeChat asks for them (task ``vhd``): seconds and saliency scores in words, turned into clip scores.

RenShuhuai-Andy/TimeChat@c60b332b utils/format_vhd.py. Quirks of its parser, kept: every "th" becomes a blank; a reply
without "second" or "score" says nothing; one that has each fewer than three times is read line by line, numbers before
the first "score" as seconds and numbers of the form d.d after it as scores (of a line without "score" all such numbers
again); any other reply is read as one description a line, with the last number above 10 as its second. A single
highlight keeps its score only where there is one. A highlight after the video's end is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidcausal.benchmarks.grounding._submissions import EVENTS, SUBMISSION
from vidcausal.metrics.highlights import Floats, fitted, ranking_precision, top_clip_liked
from vidcausal.types import Prediction

LEVELS = {"HL-min-Fair": 2, "HL-min-Good": 3, "HL-min-VeryGood": 4}
_QUESTION = (
    "You are given a video from the QVHighlights dataset. Please find the highlight contents in the video described by "
    "a sentence query, determining the highlight timestamps and its saliency score on a scale from 1 to 5. The output "
    "format should be like: 'The highlight timestamps are in the 82, 84, 86, 88, 90, 92, 94, 96, 98, 100 seconds. "
    "Their saliency scores are 1.3, 1.7, 1.7, 1.7, 1.7, 1.3, 1.7, 2.3, 2.3, 2.3'. Now I will give you the sentence "
    "query: {}. Please return the query-based highlight timestamps and salient scores."
)
_FEW = 3
_LEAST_SECOND = 10.0
_NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")
_SCORE = re.compile(r"\b\d\.\d\b")
_TIME = re.compile(r"\b((\d{1,2}:\d{2}:\d{2}))\b|\b(\d+\.\d+\b|\b\d+)\b")
_COUNT = re.compile(r"There are (\d+) highlight moments")
_MOST = 100
_SECONDS_A_CLIP = 2
_HUGE = 1e300


def highlights_question(query: str) -> str:
    """How TimeChat asks for highlights; it takes the full stops off the query's ends."""
    return _QUESTION.format(query.strip("."))


def parse_highlights(reply: str) -> tuple[list[float], list[float]]:
    """Seconds and scores that TimeChat's parser reads; there may be fewer scores than seconds."""
    text = reply.replace("th", " ")
    seconds, scores = text.count("second"), text.count("score")
    if not seconds or not scores:
        return [], []
    times, values = _listed(text) if seconds < _FEW and scores < _FEW else _described(text)
    if len(times) > 1:
        values = [*values, *[0.0] * (len(times) - len(values))][: len(times)]
    return times, values


def _listed(text: str) -> tuple[list[float], list[float]]:
    times: list[float] = []
    values: list[float] = []
    for line in text.split("\n"):
        if "second" not in line and "score" not in line:
            continue
        most = _MOST
        if counted := _COUNT.search(line):
            most = int(counted[1])
            line = line.replace(f"There are {most} highlight moments", "")
        if most:
            parts = line.split("score")
            times += [float(number) for number in _NUMBER.findall(parts[0])[:most]]
            values += [float(number) for number in _SCORE.findall(parts[1] if len(parts) > 1 else line)[:most]]
    return times, values


def _described(text: str) -> tuple[list[float], list[float]]:
    times: list[float] = []
    values: list[float] = []
    for line in re.split(r"\n+", text):
        if "second" not in line and "score" not in line and ":" not in line:
            continue
        if scores := _SCORE.findall(line):
            values.append(float(scores[-1]))
        # Clock times are found and then dropped: only the group of plain numbers is looked at.
        if large := [number for *_, number in _TIME.findall(line) if number and float(number) > _LEAST_SECOND]:
            times.append(float(large[-1]))
    return times, values


def clip_scores(reply: str, duration: float, *, safe: bool = False) -> list[float]:
    """Mean score of the highlights in every clip of two seconds, 0 for clips without one.

    Args:
        reply: the text.
        duration: of the video, in seconds.
        safe: put a highlight of the video's last odd second into the last clip, and read a score that is missing as 0.

    Raises:
        IndexError: a highlight lies in that second, where the published code fails as well.
    """
    times, scores = parse_highlights(reply)
    totals = np.zeros(int(duration / _SECONDS_A_CLIP))
    counts = np.zeros(len(totals))
    if safe:
        scores = [*scores, *[0.0] * (len(times) - len(scores))]
    for second, score in zip(times, scores, strict=False):
        if second <= duration:
            clip = max(0, int((second - 1) / _SECONDS_A_CLIP))
            clip = min(clip, len(totals) - 1) if safe else clip
            totals[clip] += score
            counts[clip] += 1
    return [float(value) for value in np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)]


def trace_clip_scores(events: Mapping[str, Any], duration: float) -> list[float]:
    """Clip scores out of TRACE's events: its reformat_vhd.py puts second t into the clip before the one that holds it.

    Raises:
        TypeError: there are fewer scores than times; the published code puts numbers where it then wants lists.
        IndexError: there is no such clip.
    """
    times, scores = list(events["times"]), list(events["scores"])
    if not times or not scores:
        times, scores = [], []
    scores = [*scores, *[0.0] * (len(times) - len(scores))][: len(times)]
    totals = np.zeros(int(duration / _SECONDS_A_CLIP))
    counts = np.zeros(len(totals))
    for time, score in zip(times, scores, strict=True):
        if len(time) and len(score) and time[0] <= duration:
            clip = max(0, int(time[0] / _SECONDS_A_CLIP) - 1)
            totals[clip] += score[0]
            counts[clip] += 1
    return [float(value) for value in np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)]


# ---- the sane score ---------------------------------------------------------------------------------------------


def saliency_of(prediction: Prediction[Any], asked: str) -> list[float] | None:
    """A prediction's score for every clip: submitted, or read in a reply about highlights; None where there is none."""
    submission = prediction.extra.get(SUBMISSION)
    if submission is not None and EVENTS in submission:
        try:
            return trace_clip_scores(submission[EVENTS], prediction.sample.meta["duration"])
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None
    if submission is not None:
        scores = submission.get("pred_saliency_scores")
        numbers = (
            isinstance(scores, list)
            and scores
            and all(isinstance(s, (int, float)) and not abs(s) > _HUGE for s in scores)
        )
        return [float(score) for score in scores] if numbers else None
    if asked != "highlights":
        return None
    times, _ = parse_highlights(prediction.reply)
    return clip_scores(prediction.reply, prediction.sample.meta["duration"], safe=True) if times else None


def highlight_values(
    ratings: Sequence[Floats], given: Sequence[Sequence[float] | None]
) -> dict[str, dict[str, Floats]]:
    """Average precision and hit of every query at every level; 0 without scores.

    Scores are cut to the video. Clips without a score, and NaN, rank below all others.
    """
    scores = [_ranked_scores(own, len(clips)) for own, clips in zip(given, ratings, strict=True)]
    there = np.array([own is not None for own in given], dtype=np.float64)
    values: dict[str, dict[str, Floats]] = {}
    for name, least in LEVELS.items():
        liked = [clips >= least for clips in ratings]
        values[name] = {
            "HL-mAP": ranking_precision(liked, scores).mean(axis=1) * there,
            "HL-Hit1": top_clip_liked(liked, scores) * there,
        }
    return values


def _ranked_scores(given: Sequence[float] | None, clips: int) -> Floats:
    if given is None:
        return np.zeros(clips)
    scores = fitted(given, clips)
    scores[len(given) :] = -np.inf
    return np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
