"""vidcausal: what happened in this video, in which order, when, and why.

Public names load on first use, so ``import vidcausal`` costs almost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidcausal._version import __version__

if TYPE_CHECKING:
    from vidcausal.api import (
        ask,
        create_model,
        create_strategy,
        diff,
        evaluate,
        events,
        ground,
        list_benchmarks,
        list_models,
        list_strategies,
        open_video,
        order,
        score,
    )
    from vidcausal.errors import VidcausalError
    from vidcausal.types import Answer, Event, EventRecord, Media, Order, Reply, Sample, Span
    from vidcausal.video.footage import Footage
    from vidcausal.video.frames import FrameBatch
    from vidcausal.video.sampling import At, Clips, Fps, KeepAll, NearestKeyframe, SceneChanges, Uniform

_HOMES = {
    "vidcausal.api": (
        "ask create_model create_strategy diff evaluate events ground list_benchmarks list_models list_strategies "
        "open_video order score"
    ),
    "vidcausal.errors": "VidcausalError",
    "vidcausal.types": "Answer Event EventRecord Media Order Reply Sample Span",
    "vidcausal.video.footage": "Footage",
    "vidcausal.video.frames": "FrameBatch",
    "vidcausal.video.sampling": "At Clips Fps KeepAll NearestKeyframe SceneChanges Uniform",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Answer",
    "At",
    "Clips",
    "Event",
    "EventRecord",
    "Footage",
    "Fps",
    "FrameBatch",
    "KeepAll",
    "Media",
    "NearestKeyframe",
    "Order",
    "Reply",
    "Sample",
    "SceneChanges",
    "Span",
    "Uniform",
    "VidcausalError",
    "__version__",
    "ask",
    "create_model",
    "create_strategy",
    "diff",
    "evaluate",
    "events",
    "ground",
    "list_benchmarks",
    "list_models",
    "list_strategies",
    "open_video",
    "order",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        import importlib

        value = getattr(importlib.import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'vidcausal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
