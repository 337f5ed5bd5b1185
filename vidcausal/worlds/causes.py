"""Actual causes by the modified Halpern-Pearl definition (Halpern, A Modification of the Halpern-Pearl Definition of
Causality, IJCAI 2015; Actual Causality, 2016, ch. 2), decided by enumeration.

``X = x`` is an actual cause of an effect in a context when AC1: both are so; AC2: there are a set ``W`` of other
variables and values ``x'`` such that, with ``W`` held at what it actually was, setting ``X`` to ``x'`` undoes the
effect; AC3: no proper subset of ``X`` does the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from vidcausal.worlds.scm import SCM, Value, Values, Variable, happened

MOST_WITNESSES = 16
"""Variables that may be held fixed at most; up to 2 to this power sets are tried."""


def alternatives(variable: Variable, actual: Value) -> tuple[Value, ...]:
    """What an event could have been instead: it does not happen, the other truth value, any other category."""
    if variable.kind == "time":
        return () if actual is None else (None,)
    if variable.kind == "truth":
        return (not actual,)
    return tuple(value for value in variable.domain if value != actual)


def actual_causes(
    model: SCM,
    noise: Values,
    effect: str,
    *,
    holds: Callable[[Value], bool] = happened,
    candidates: Iterable[str] | None = None,
    largest: int = 2,
) -> list[tuple[str, ...]]:
    """The actual causes of ``effect`` with up to ``largest`` conjuncts, smallest first.

    Args:
        model: the structural causal model.
        noise: the context.
        effect: variable whose value is to be explained.
        holds: what about the effect's value is to be explained; by default that the event happens.
        candidates: variables that may be causes; by default all ancestors of the effect.
        largest: number of conjuncts of a cause at most.

    Raises:
        ValueError: the effect does not hold, or more than :data:`MOST_WITNESSES` variables would have to be held.
    """
    actual = model.run(noise)
    if not holds(actual[effect]):
        raise ValueError(f"{effect!r} is {actual[effect]!r}, so there is nothing to explain")
    ancestors = model.ancestors(effect)
    pool = [name for name in model.variables if name in (ancestors if candidates is None else set(candidates))]
    above = {name: model.ancestors(name) for name in model.variables if name in ancestors}
    found: list[tuple[str, ...]] = []
    for size in range(1, largest + 1):
        for chosen in itertools.combinations(pool, size):
            if any(set(smaller) <= set(chosen) for smaller in found):
                continue  # AC3
            if _undoes(model, noise, actual, chosen, effect, holds, above):
                found.append(chosen)
    return found


def _undoes(
    model: SCM,
    noise: Values,
    actual: Values,
    chosen: Sequence[str],
    effect: str,
    holds: Callable[[Value], bool],
    above: Mapping[str, set[str]],
) -> bool:
    """AC2: some other value of ``chosen``, with some others held at what they were, undoes the effect."""
    # Only variables between the cause and the effect can matter when they are held at what they were.
    below = {name for name in above if above[name] & set(chosen)} - set(chosen)
    if len(below) > MOST_WITNESSES:
        raise ValueError(f"{len(below)} variables lie between {chosen} and {effect!r}, at most {MOST_WITNESSES}")
    path = [variable for name, variable in model.variables.items() if name in below or name == effect]
    others = [alternatives(model.variables[name], actual[name]) for name in chosen]
    return any(
        _reached({**actual, **dict(zip(chosen, instead, strict=True))}, path, noise, actual, holds)
        for instead in itertools.product(*others)
    )


def _reached(
    values: dict[str, Value],
    path: Sequence[Variable],
    noise: Values,
    actual: Values,
    holds: Callable[[Value], bool],
) -> bool:
    """Whether the last of ``path`` can come out otherwise when any of the others may be held at what they were.

    Only a variable that would change has to be tried both ways: holding one that stays as it was does nothing.
    """
    variable = path[0]
    name, value = variable.name, variable.mechanism(values, noise[variable.name])
    if len(path) == 1:
        return not holds(value)
    if _reached({**values, name: value}, path[1:], noise, actual, holds):
        return True
    return value != actual[name] and _reached({**values, name: actual[name]}, path[1:], noise, actual, holds)
