"""The prompts: one text file each in ``prompts/``, with ``{fields}``."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path

from vidcausal.errors import ConfigError, UnknownNameError

_FOLDER = Path(__file__).with_name("prompts")


def available() -> tuple[str, ...]:
    """Names of the prompts."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.txt")))


@cache
def load(name: str) -> str:
    """The text of a prompt with its fields, without surrounding blanks.

    Raises:
        UnknownNameError: no such prompt.
    """
    path = _FOLDER / f"{name}.txt"
    if name not in available():
        raise UnknownNameError("prompt", name, available())
    return path.read_text(encoding="utf-8").strip()


def fields(name: str) -> frozenset[str]:
    """The fields of a prompt."""
    return frozenset(field for _, field, _, _ in string.Formatter().parse(load(name)) if field is not None)


def fill(name: str, **values: object) -> str:
    """The prompt with every field filled in; braces inside values stay as they are. Lines left empty at the end go.

    Raises:
        UnknownNameError: no such prompt.
        ConfigError: a field without a value, or a value without a field.
    """
    needed = fields(name)
    if missing := sorted(needed - set(values)):
        raise ConfigError(f"prompt {name!r} needs a value for {', '.join(missing)}; got {', '.join(sorted(values))}")
    if extra := sorted(set(values) - needed):
        raise ConfigError(
            f"prompt {name!r} has no field {', '.join(extra)}; its fields are {', '.join(sorted(needed))}"
        )
    return load(name).format(**values).strip()
