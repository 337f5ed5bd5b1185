"""From ``{_target_: dotted.path, argument: value}`` to an object, for code that is ours only.

A configuration may come from somebody else, so a target must be *defined* under ``vidcausal.`` or ``torch.optim.``:
``vidcausal.errors.difflib.get_close_matches`` has an allowed name but foreign code behind it, and is refused.
Arguments are bound to the signature before anything is called, so that all misspelt ones are named at once.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vidcausal.errors import ConfigError, closest

ALLOWED = ("vidcausal.", "torch.optim.")
_KEYS = ("_target_", "_partial_", "_weights_")


def locate(target: str, *, where: str = "config") -> Callable[..., Any]:
    """The class or function that a dotted path names.

    Raises:
        ConfigError: it does not exist, or is not defined under one of :data:`ALLOWED`.
    """
    if not isinstance(target, str) or not target.startswith(ALLOWED):
        raise ConfigError(
            f"{where}._target_ is {target!r}; only code defined under {' or '.join(ALLOWED)} may be named"
        )
    parts = target.split(".")
    if any(not part.isidentifier() or part.startswith("__") for part in parts):
        raise ConfigError(f"{where}._target_ is {target!r}; write a dotted path of names, vidcausal.room.module.name")
    found = _walk(parts, target, where)
    home = str(getattr(found, "__module__", ""))
    if not (inspect.isclass(found) or inspect.isroutine(found)) or not (home + ".").startswith(ALLOWED):
        raise ConfigError(
            f"{where}._target_ {target!r} is {home or type(found).__name__} code; "
            f"only classes and functions defined under {' or '.join(ALLOWED)} may be named"
        )
    return found


def _walk(parts: list[str], target: str, where: str) -> Any:
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise
        for index, part in enumerate(parts[cut:], start=cut):
            if not hasattr(found, part):
                near = closest(part, dir(found))
                hint = f"; did you mean {'.'.join([*parts[:index], near[0]])!r}?" if near else ""
                raise ConfigError(f"{where}._target_ {target!r} does not exist{hint}")
            found = getattr(found, part)
        return found
    raise ConfigError(f"{where}._target_ {target!r} does not exist")


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of a target by name, without ``self``."""
    return dict(inspect.signature(target).parameters)


def check(node: Mapping[str, Any], *, where: str, given: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The target of a node, after its arguments were bound to the signature.

    Args:
        node: ``_target_`` and arguments.
        where: name of the node for messages, for example ``"model"``.
        given: arguments that the code will add when it calls the target.

    Raises:
        ConfigError: names every argument that the target does not know or that is missing.
    """
    if "_target_" not in node:
        raise ConfigError(f"{where} has no _target_; got the keys {', '.join(node) or 'none'}")
    target = locate(node["_target_"], where=where)
    known = parameters(target)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    names = [key for key in node if key not in _KEYS] + list(given)
    wrong = [] if takes_any else [name for name in names if name not in known]
    problems = [f"{where}.{name} is not known{_nearest(name, known, where)}" for name in wrong]
    if not node.get("_partial_"):
        problems += [
            f"{where}.{p.name} is missing"
            for p in known.values()
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in names
        ]
    if problems:
        allowed = ", ".join(name for name in known if name not in ("args", "kwargs"))
        raise ConfigError(f"{'; '.join(problems)}. {node['_target_']} takes: {allowed or 'nothing'}")
    return target


def _nearest(name: str, known: Mapping[str, Any], where: str) -> str:
    near = closest(name, known)
    return f" (did you mean {where}.{near[0]}?)" if near else ""


def instantiate(node: Mapping[str, Any], *, where: str = "config", **given: Any) -> Any:
    """Call the target of a node with its arguments; nested nodes first. ``_partial_: true`` gives a partial.

    Args:
        node: ``_target_`` and arguments, plain values; ``_weights_`` (for lists of what a model needs) is passed over.
        where: name of the node for messages.
        given: arguments that code supplies; they win over the node's.

    Raises:
        ConfigError: a forbidden or missing target, or arguments that do not fit.
    """
    target = check(node, where=where, given=tuple(given))
    arguments = {key: _value(value, f"{where}.{key}") for key, value in node.items() if key not in _KEYS}
    arguments.update(given)
    return functools.partial(target, **arguments) if node.get("_partial_") else target(**arguments)


def _value(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return instantiate(value, where=where)
        return {key: _value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, f"{where}[{i}]") for i, item in enumerate(value)]
    return value
