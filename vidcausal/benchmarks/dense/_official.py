"""The published scorers of dense captioning, called with what a submission holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from vidcausal.benchmarks.dense._files import AnnotationFile
from vidcausal.metrics.caption_tools import CaptionToolError, CaptionTools
from vidcausal.metrics.dense import TIMECHAT_SPLITS, TimedCaption, densevid_eval, soda_eval, timechat_eval

Figures: TypeAlias = dict[str, Any]
Events: TypeAlias = Mapping[str, Sequence[TimedCaption]]


def published_figures(
    names: Sequence[str],
    events: Events,
    files: Sequence[AnnotationFile],
    tools: CaptionTools,
    notes: list[str],
    *,
    lacks: Sequence[str] = (),
) -> Figures:
    """Figures of the scorers called ``names``: those of the first one at the top, the others under their own name.

    ``lacks`` are fields that densevid_eval wants to see and the submission does not have. A scorer that would stop is
    left out, with a note that says why.
    """
    figures: Figures = {}
    for number, name in enumerate(names):
        if name == "densevid_eval" and lacks:
            notes.append(f"densevid_eval refuses a submission without {' and '.join(lacks)}: its figures are left out")
            continue
        found = _run(name, events, files, tools, notes)
        if found:
            figures |= found if number == 0 else {name: found}
    return figures


def _run(name: str, events: Events, files: Sequence[AnnotationFile], tools: CaptionTools, notes: list[str]) -> Figures:
    try:
        return _SCORERS[name](events, files, tools, notes)
    except ValueError as error:
        notes.append(f"the official scorer stops: {name}: {error}")
        return {}
    except CaptionToolError as error:
        notes.append(f"METEOR and all figures made with it were not computed: {error}")
        tools.meteor = None
        return _SCORERS[name](events, files, tools, notes)


def _truths(files: Sequence[AnnotationFile]) -> list[dict[str, Sequence[TimedCaption]]]:
    return [{video: each.events for video, each in file.videos.items()} for file in files]


def _timechat(events: Events, files: Sequence[AnnotationFile], tools: CaptionTools, notes: list[str]) -> Figures:
    if len(files) > 1:
        notes.append("TimeChat's scorer takes one set of annotations: its figures are left out")
        return {}
    file, truths = files[0], _truths(files)[0]
    split = file.path.name.split(".")[0]
    if split not in TIMECHAT_SPLITS:
        notes.append(
            f"TimeChat's scorer takes the split from the name of the annotations and would stop at {file.path.name!r}; "
            "these are its figures for a name that begins with val."
        )
        split = "val"
    if not file.coco:  # its own form ends every caption with a full stop
        truths = {video: [e._replace(text=e.text + ".") for e in each] for video, each in truths.items()}
    return dict(timechat_eval(events, truths, tools, split=split)[0])


def _densevid(events: Events, files: Sequence[AnnotationFile], tools: CaptionTools, notes: list[str]) -> Figures:
    by_threshold = densevid_eval(events, _truths(files), tools)
    return {**by_threshold.pop("average"), "by_tiou": by_threshold}


def _soda(events: Events, files: Sequence[AnnotationFile], tools: CaptionTools, notes: list[str]) -> Figures:
    return dict(soda_eval(events, _truths(files), tools))


_SCORERS: dict[str, Callable[[Events, Sequence[AnnotationFile], CaptionTools, list[str]], Figures]] = {
    "TimeChat": _timechat,
    "densevid_eval": _densevid,
    "SODA": _soda,
}
