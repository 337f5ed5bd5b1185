"""Which benchmarks there are; each is imported when it is loaded."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from vidcausal.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from vidcausal.protocols import Benchmark

_CLASSES = {
    "vcrbench": "vidcausal.benchmarks.vcrbench.VCRBench",
    "questions": "vidcausal.benchmarks.questions.UserQuestions",
}
_ABOUT = {
    "vcrbench": "order the shuffled, numbered clips of a procedural video (365 questions, 12 goals)",
    "questions": "your own questions in a JSON or JSONL file: order, ground, ask, events",
}


def available() -> dict[str, str]:
    """Name and one line about each benchmark."""
    return dict(_ABOUT)


def target(name: str) -> str:
    """The dotted path of a benchmark's class.

    Raises:
        UnknownNameError: no such benchmark.
    """
    if name not in _CLASSES:
        raise UnknownNameError("benchmark", name, _CLASSES)
    return _CLASSES[name]


def load(name: str, **arguments: Any) -> Benchmark[Any]:
    """The benchmark ``name``, built with ``arguments`` (``annotations``, ``data_dir``, ``video_root`` …).

    Raises:
        UnknownNameError: no such benchmark.
        ConfigError: an argument it does not take.
    """
    module, _, attribute = target(name).rpartition(".")
    cls = getattr(importlib.import_module(module), attribute)
    allowed = list(inspect.signature(cls).parameters)
    if unknown := sorted(set(arguments) - set(allowed)):
        raise ConfigError(f"{name} takes no argument {', '.join(unknown)}; it takes {', '.join(allowed)}")
    benchmark: Benchmark[Any] = cls(**arguments)
    return benchmark
