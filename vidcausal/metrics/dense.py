"""How well the events of videos were found and told, as two published scorers count it.

ranjaykrishna/densevid_eval@9d4045a evaluate.py (ActivityNet Captions) and TimeChat@c60b332 metrics/dvc/eval_dvc.py
(YouCook2; TRACE took it over). Both pair every predicted event with every annotated one that overlaps it enough, at
four least overlaps, and compare the captions of the pairs; a prediction without a pair is compared with a random
string. What the random string is changes no figure, so that it is always the same here. Quirks, kept:

* Captions need an overlap of at least the threshold, precision and recall of more than it.
* An event may be paired any number of times; how rare words are (CIDEr) is counted over the pairs of one video.
* TimeChat's SODA_c looks up the caption scores of events 0, 1, 10, 11, 2 … where it means 0, 1, 2 …: beyond ten
  predicted events captions and spans do not belong together. ``SODA_c_1`` is a constant -1 on other splits than train.
* TimeChat's paragraph scores pair the predicted videos with the first annotated ones, wrongly once a video is missing.
* densevid_eval keeps the first 1,000 events of a video.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vidcausal.metrics.caption_tools import CaptionTools
from vidcausal.metrics.captions import bleu, cider, rouge_l
from vidcausal.metrics.soda import Kind, Matrix, PairScores, Story, best_path, f_measure, hull_iou, soda

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
MOST_EVENTS = 1000
NO_MATCH = "qzxjvkwqzxjvkw"
"""The reference of a predicted event that overlaps none: no word, as the random strings of the published scorers."""
TIMECHAT_SPLITS = {"train": 1, "val": 2, "test": 3}


class TimedCaption(NamedTuple):
    """An event: start and end in seconds, as given (they may be reversed or NaN), and its caption."""

    start: float
    end: float
    text: str

    @property
    def span(self) -> tuple[float, float]:
        """Start and end."""
        return self.start, self.end


Video = Sequence[TimedCaption]
Videos = Mapping[str, Video]
Overlap = Callable[[TimedCaption, TimedCaption], float]
"""Of a predicted and an annotated event."""


class Tokens:
    """Captions and their tokens, each caption tokenized once."""

    def __init__(self, tools: CaptionTools, captions: Iterable[str]) -> None:
        every = list(dict.fromkeys([*captions, NO_MATCH]))
        self._tokens = dict(zip(every, tools.tokenize(every), strict=True))

    def __getitem__(self, caption: str) -> str:
        return self._tokens[caption]


def texts(*sets: Videos) -> list[str]:
    """All captions of some sets of videos."""
    return [event.text for videos in sets for video in videos.values() for event in video]


def ascii_only(text: str) -> str:
    """The text with a blank for each character beyond ASCII, as densevid_eval and SODA change it."""
    return "".join(c if ord(c) < 128 else " " for c in text)


def _without_odd(videos: Videos) -> dict[str, list[TimedCaption]]:
    return {key: [event._replace(text=ascii_only(event.text)) for event in video] for key, video in videos.items()}


def pairs_at(
    predicted: Video, truths: Sequence[Video], threshold: float, overlap: Overlap
) -> tuple[list[str], list[list[str]]]:
    """Captions of one video and what each is compared with; :data:`NO_MATCH` for an event that overlaps none enough."""
    candidates: list[str] = []
    references: list[list[str]] = []
    for event in predicted:
        near = [t.text for truth in truths for t in truth if overlap(event, t) >= threshold] or [NO_MATCH]
        candidates += [event.text] * len(near)
        references += [[text] for text in near]
    return candidates, references


def covered(predicted: Video, truth: Video, threshold: float, overlap: Overlap) -> tuple[int, int]:
    """How many predicted and how many annotated events overlap one of the others by more than the threshold."""
    near = [(i, j) for i, p in enumerate(predicted) for j, t in enumerate(truth) if overlap(p, t) > threshold]
    return len({i for i, _ in near}), len({j for _, j in near})


# ---- densevid_eval ----------------------------------------------------------------------------------------------


def _densevid_overlap(predicted: TimedCaption, truth: TimedCaption) -> float:
    return hull_iou(truth.span, predicted.span)


def densevid_eval(
    predicted: Videos,
    truths: Sequence[Videos],
    tools: CaptionTools,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, dict[str, float]]:
    """The figures by threshold and their ``average``, in percent with four decimals, as ``evaluate.py -v`` prints them.

    ``METEOR`` is left out where ``tools`` has none.

    Raises:
        ValueError: no video has a predicted event at all (the published code stops).
    """
    videos = list(dict.fromkeys(video for truth in truths for video in truth))
    predicted = {v: events[:MOST_EVENTS] for v, events in _without_odd(predicted).items() if v in set(videos)}
    if predicted and not any(predicted.values()):
        raise ValueError("UnboundLocalError (no predicted video has an event)")
    clean = [_without_odd(truth) for truth in truths]
    tokens = Tokens(tools, texts(predicted, *clean))
    columns = []
    for threshold in thresholds:
        found = [_densevid_video(v, predicted, clean, threshold, tokens, tools) for v in videos]
        columns.append({name: float(np.mean([figures[name] for figures in found])) for name in found[0]})
    means = {name: sum(column[name] for column in columns) / len(columns) for name in columns[0]}
    named = zip([*map(str, thresholds), "average"], [*columns, means], strict=True)
    return {name: {key: float(f"{100 * value:.4f}") for key, value in column.items()} for name, column in named}


def _densevid_video(
    video: str,
    predicted: Mapping[str, Video],
    truths: Sequence[Videos],
    threshold: float,
    tokens: Tokens,
    tools: CaptionTools,
) -> dict[str, float]:
    annotated = [truth[video] for truth in truths if video in truth]
    events = predicted.get(video, ())
    counts = [(covered(events, truth, threshold, _densevid_overlap), len(truth)) for truth in annotated]
    figures = _caption_figures(*pairs_at(events, annotated, threshold, _densevid_overlap), tokens, tools)
    figures["Recall"] = max(hits / size for (_, hits), size in counts)
    figures["Precision"] = max(hits for (hits, _), _ in counts) / len(events) if events else 0.0
    return figures


def _caption_figures(
    candidates: Sequence[str], references: Sequence[Sequence[str]], tokens: Tokens, tools: CaptionTools
) -> dict[str, float]:
    own = [tokens[text] for text in candidates]
    others = [[tokens[text] for text in of_one] for of_one in references]
    blues = bleu(own, others) if own else [0.0] * 4
    figures = {f"Bleu_{n}": value for n, value in enumerate(blues, start=1)}
    if tools.meteor is not None:
        figures["METEOR"] = tools.meteor.score(own, others)[0]
    figures["ROUGE_L"] = float(np.mean(rouge_l(own, others))) if own else 0.0
    figures["CIDEr"] = float(np.mean(cider(own, others))) if own else 0.0
    return figures


# ---- SODA -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SodaRun:
    """One way to call the published program: what is given to it, and whether it needs METEOR."""

    arguments: str
    kind: Kind
    metric: str
    several: bool = False
    """Sets of annotations are kept apart and the best one counts (``-mr``)."""


SODA_RUNS = (
    SodaRun("-s a", "a", "Meteor"),
    SodaRun("-s b", "b", "Meteor"),
    SodaRun("-s c", "c", "Meteor"),
    SodaRun("-s d", "d", "none"),
    SodaRun("-s c -m Cider", "c", "Cider"),
)
SODA_RUNS_SEVERAL = (*SODA_RUNS, SodaRun("-s c -mr", "c", "Meteor", True), SodaRun("-s d -mr", "d", "none", True))


def soda_eval(
    predicted: Videos, truths: Sequence[Videos], tools: CaptionTools, *, runs: Sequence[SodaRun] | None = None
) -> dict[str, dict[str, float]]:
    """``precision``, ``recall`` and ``f1`` in percent with four decimals, by the arguments of ``soda.py``.

    Runs that need METEOR are left out where ``tools`` has none.

    Raises:
        ValueError: the published code stops; the message says why.
    """
    if runs is None:
        runs = SODA_RUNS_SEVERAL if len(truths) > 1 else SODA_RUNS
    clean, annotated = _without_odd(predicted), [_without_odd(truth) for truth in truths]
    tokens = Tokens(tools, texts(clean, *annotated))
    stories = {video: _story(sorted(events, key=lambda e: e.start), tokens) for video, events in clean.items()}
    merged = [_merged(annotated, tokens)]
    apart = [{video: _story(events, tokens) for video, events in truth.items()} for truth in annotated]
    metrics: dict[str, PairScores | None] = {"Cider": cider_matrix, "none": None}
    if tools.meteor is not None:
        metrics["Meteor"] = meteor_matrix(tools)
    found = {}
    for run in runs:
        if run.metric in metrics:
            scores = soda(stories, apart if run.several else merged, run.kind, metrics[run.metric])
            values = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
            found[run.arguments] = {name: float(f"{100 * value:.4f}") for name, value in values.items()}
    return found


def _story(events: Video, tokens: Tokens) -> Story:
    return Story([event.span for event in events], [tokens[event.text] for event in events])


def _merged(truths: Sequence[Videos], tokens: Tokens) -> dict[str, Story]:
    """All annotations of a video as one, by their starts."""
    together: dict[str, list[TimedCaption]] = {}
    for truth in truths:
        for video, events in truth.items():
            together.setdefault(video, []).extend(events)
    return {video: _story(sorted(events, key=lambda e: e.start), tokens) for video, events in together.items()}


def cider_matrix(predicted: Sequence[str], annotated: Sequence[str]) -> Matrix:
    """CIDEr of each annotated caption (row) measured by each predicted one (column), as SODA asks for it."""
    return np.array([cider([truth] * len(predicted), [[p] for p in predicted]) for truth in annotated])


def meteor_matrix(tools: CaptionTools) -> PairScores:
    """METEOR in the same direction as :func:`cider_matrix`; what was asked once is remembered."""
    known: dict[tuple[tuple[str, ...], tuple[str, ...]], Matrix] = {}

    def scores(predicted: Sequence[str], annotated: Sequence[str]) -> Matrix:
        asked = tuple(predicted), tuple(annotated)
        if asked not in known:
            known[asked] = measured(predicted, annotated)
        return known[asked]

    def measured(predicted: Sequence[str], annotated: Sequence[str]) -> Matrix:
        if tools.meteor is None:
            raise ValueError("METEOR is not there")
        rows, columns = len(annotated), len(predicted)
        _, each = tools.meteor.score(
            [t for t in annotated for _ in predicted], [[p] for _ in annotated for p in predicted]
        )
        return np.array(each, dtype=np.float64).reshape(rows, columns)

    return scores


# ---- TimeChat ---------------------------------------------------------------------------------------------------


def _timechat_overlap(predicted: TimedCaption, truth: TimedCaption) -> float:
    own, other = predicted.span, truth.span
    return hull_iou((min(*own), max(*own)), (min(*other), max(*other)))


def timechat_videos(
    predicted: Videos, truths: Videos, tools: CaptionTools, *, split: str = "val"
) -> dict[str, dict[str, float]]:
    """Every annotated video's figures, from 0 to 1, under TimeChat's names; a video without events has zeros.

    ``METEOR`` and ``SODA_c_N`` are left out where ``tools`` has no METEOR.
    """
    tokens = Tokens(tools, texts(predicted, truths))
    return {v: _timechat_video(predicted.get(v, ()), truth, tokens, tools, split) for v, truth in truths.items()}


def _timechat_video(events: Video, truth: Video, tokens: Tokens, tools: CaptionTools, split: str) -> dict[str, float]:
    figures = _timechat_captions(events, truth, tokens, tools)
    precisions, recalls = [], []
    for threshold in THRESHOLDS:
        hits, found = covered(events, truth, threshold, _timechat_overlap)
        precisions.append(hits / max(len(events), 1))
        recalls.append(found / len(truth))
        figures[f"Precision@{threshold}"], figures[f"Recall@{threshold}"] = precisions[-1], recalls[-1]
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    figures |= {"Precision_Mean": precision, "Recall_Mean": recall, "F1_Score": f_measure(precision, recall)}
    if tools.meteor is not None:
        own = TIMECHAT_SPLITS[split]
        figures |= {"SODA_c_1": -1.0, "SODA_c_2": -1.0, f"SODA_c_{own}": _timechat_soda(events, truth, tokens, tools)}
    return figures | {"n_preds": float(len(events))}


def _timechat_captions(events: Video, truth: Video, tokens: Tokens, tools: CaptionTools) -> dict[str, float]:
    ciders, meteors = [], []
    for threshold in THRESHOLDS:
        candidates, references = pairs_at(events, [truth], threshold, _timechat_overlap)
        own = [tokens[text] for text in candidates]
        others = [[tokens[text] for text in of_one] for of_one in references]
        ciders.append(float(np.mean(cider(own, others))) if own else 0.0)
        if tools.meteor is not None:
            meteors.append(float(np.nan_to_num(tools.meteor.score(own, others)[0])))
    figures = {"CIDER": float(np.mean(ciders))}
    return figures | ({"METEOR": float(np.mean(meteors))} if meteors else {})


def _timechat_soda(events: Video, truth: Video, tokens: Tokens, tools: CaptionTools) -> float:
    if not events:
        return 0.0
    iou = np.array([[_timechat_overlap(event, t) for event in events] for t in truth])
    close = np.nan_to_num(meteor_matrix(tools)([tokens[e.text] for e in events], [tokens[t.text] for t in truth]))
    as_text = sorted(range(len(events)), key=str)  # the published code sorts the numbers of events as text
    total, _ = best_path(iou * close[:, as_text])
    return f_measure(total / len(events), total / len(truth))


def timechat_eval(
    predicted: Videos, truths: Videos, tools: CaptionTools, *, split: str = "val"
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What ``eval_dvc.py`` prints (percent with one decimal; ``n_preds`` is a number), and each video's figures.

    Raises:
        ValueError: the published code stops; the message says why.
    """
    printed = _paragraphs(predicted, truths, tools)
    each = timechat_videos(predicted, truths, tools, split=split)
    for name in next(iter(each.values())):
        mean = sum(figures[name] for figures in each.values()) / len(each)
        printed[name] = round(mean if name == "n_preds" else 100 * mean, 1)
    return printed, each


def _paragraphs(predicted: Videos, truths: Videos, tools: CaptionTools) -> dict[str, float]:
    """TimeChat's scores of whole descriptions: the k-th predicted video against the k-th annotated one."""
    said = [". ".join(event.text for event in predicted[video]) for video in truths if video in predicted]
    meant = [" ".join(event.text for event in truth) for truth in truths.values()]
    own, others = [_words(text) for text in said], [[_words(text)] for text in meant[: len(said)]]
    printed = {"Para_CIDER": round(100 * float(np.nan_to_num(np.mean(cider(own, others)))), 1)}
    if tools.meteor is not None:
        printed["Para_METEOR"] = round(100 * float(np.nan_to_num(tools.meteor.score(own, others)[0])), 1)
    return printed


def _words(text: str) -> str:
    return " ".join(re.sub("[^a-zA-Z]", " ", text).lower().split())
