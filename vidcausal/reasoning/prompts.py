"""The prompts: one text file each in ``prompts/``, with ``{fields}``."""

from __future__ import annotations

import string
from collections.abc import Mapping
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


def own(model: object, name: str) -> str | None:
    """A model's own wording of a prompt, for a model that was trained on fixed words; None where it has none.

    A model has it in ``prompts``, a mapping from names of prompts to templates, which may leave fields out.
    """
    wordings = getattr(model, "prompts", None)
    return wordings.get(name) if isinstance(wordings, Mapping) else None


def fill(name: str, model: object = None, **values: object) -> str:
    """The prompt with every field filled in; braces inside values stay as they are. Lines left empty at the end go.

    Args:
        name: of the prompt.
        model: whom it is for; its :func:`own` wording is used where it has one.
        values: of the fields.

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
    template = own(model, name)
    return (load(name) if template is None else template).format(**values).strip()
