"""Structural causal models with discrete noise: runs, interventions, and counterfactuals that are exact.

A variable's value is a function of its parents' values and of its own noise. Three kinds of values are used in the
worlds: a time (whole ticks of :data:`TICK` seconds, or None: it never happens), a truth value, and a category. Noise is
independent between variables and has finitely many values, so abduction is exact (Pearl, Causality, 2009, ch. 7:
abduct, act, predict).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

TICK = 0.25
"""Seconds of one unit of a time variable."""

Value = Any
Values = Mapping[str, Value]
Mechanism = Callable[[Values, Value], Value]
Kind = Literal["time", "truth", "category"]
MOST_WORLDS = 100_000
"""Noise assignments that :meth:`SCM.counterfactual` enumerates at most."""


@dataclass(frozen=True)
class Variable:
    """One variable: its parents, the mechanism that sets it, and its noise.

    ``mechanism(values, noise)`` reads only the parents. ``noise`` holds ``(value, probability)`` pairs; one pair with
    probability 1 is no noise. ``domain`` lists the values of a category.
    """

    name: str
    mechanism: Mechanism
    parents: tuple[str, ...] = ()
    noise: tuple[tuple[Value, float], ...] = ((None, 1.0),)
    kind: Kind = "time"
    domain: tuple[Value, ...] = ()


def happened(value: Value) -> bool:
    """Whether an event variable says that the event happens: a time, or true."""
    return value is not None and value is not False


def after(*times: int | None, delay: int = 0) -> int | None:
    """``delay`` ticks after the last of ``times``: an AND gate; None when one of them never happens."""
    if any(time is None for time in times):
        return None
    return max(time for time in times if time is not None) + delay


def first_of(*times: int | None, delay: int = 0) -> int | None:
    """``delay`` ticks after the first of ``times``: an OR gate; None when none of them happens."""
    there = [time for time in times if time is not None]
    return min(there) + delay if there else None


class SCM:
    """Variables in an order in which parents come first.

    Raises:
        ValueError: a name twice, a parent that is not there or comes later, probabilities that do not sum to one.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables: dict[str, Variable] = {}
        for variable in variables:
            if variable.name in self.variables:
                raise ValueError(f"two variables are called {variable.name!r}")
            if late := [parent for parent in variable.parents if parent not in self.variables]:
                raise ValueError(f"{variable.name!r} needs {late} before it; list parents first")
            chances = [p for _, p in variable.noise]
            if abs(sum(chances) - 1) > 1e-9 or min(chances) < 0:
                raise ValueError(
                    f"the noise of {variable.name!r} has probabilities {chances}; make them 0 or more with the sum 1"
                )
            self.variables[variable.name] = variable

    def sample_noise(self, rng: random.Random) -> dict[str, Value]:
        """One value of the noise of each variable."""
        return {name: _draw(variable.noise, rng) for name, variable in self.variables.items()}

    def run(self, noise: Values, do: Values | None = None) -> dict[str, Value]:
        """Values of all variables under ``noise``; those in ``do`` are set from outside.

        Raises:
            KeyError: ``do`` names a variable that does not exist.
        """
        do = do or {}
        if unknown := [name for name in do if name not in self.variables]:
            raise KeyError(f"no variable {unknown[0]!r}; there are {', '.join(self.variables)}")
        values: dict[str, Value] = {}
        for name, variable in self.variables.items():
            values[name] = do[name] if name in do else variable.mechanism(values, noise[name])
        return values

    def abduct(self, observed: Values) -> dict[str, tuple[tuple[Value, float], ...]]:
        """What each variable's noise may have been, given all values: ``(value, posterior probability)`` pairs.

        With every variable observed the posterior is a product over variables, so it is exact and cheap.

        Raises:
            ValueError: no noise gives an observed value.
        """
        posterior = {}
        for name, variable in self.variables.items():
            fits = [(u, p) for u, p in variable.noise if variable.mechanism(observed, u) == observed[name]]
            total = sum(p for _, p in fits)
            if total <= 0:
                raise ValueError(f"{name!r} cannot be {observed[name]!r} when its parents are as observed")
            posterior[name] = tuple((u, p / total) for u, p in fits)
        return posterior

    def counterfactual(self, observed: Values, do: Values) -> list[tuple[dict[str, Value], float]]:
        """What would have been under ``do``, given what was: distinct outcomes with probabilities, likeliest first.

        Raises:
            ValueError: what was observed cannot happen, or leaves more than :data:`MOST_WORLDS` noise assignments.
        """
        outcomes: dict[tuple[Value, ...], float] = {}
        for noise, probability in self._assignments(self.abduct(observed)):
            values = tuple(self.run(noise, do).values())
            outcomes[values] = outcomes.get(values, 0.0) + probability
        ranked = sorted(outcomes.items(), key=lambda item: (-item[1], repr(item[0])))
        return [(dict(zip(self.variables, values, strict=True)), probability) for values, probability in ranked]

    def edges(self) -> list[tuple[str, str]]:
        """``(parent, child)`` pairs of the causal graph."""
        return [(parent, variable.name) for variable in self.variables.values() for parent in variable.parents]

    def ancestors(self, name: str) -> set[str]:
        """Everything that ``name`` depends on, itself left out."""
        found: set[str] = set()
        todo = list(self.variables[name].parents)
        while todo:
            parent = todo.pop()
            if parent not in found:
                found.add(parent)
                todo += self.variables[parent].parents
        return found

    def _assignments(
        self, posterior: Mapping[str, tuple[tuple[Value, float], ...]]
    ) -> Iterator[tuple[dict[str, Value], float]]:
        count = 1
        for choices in posterior.values():
            count *= len(choices)
        if count > MOST_WORLDS:
            raise ValueError(f"{count} noise assignments fit what was observed, at most {MOST_WORLDS} are enumerated")
        for chosen in itertools.product(*posterior.values()):
            probability = 1.0
            for _, p in chosen:
                probability *= p
            yield {name: value for name, (value, _) in zip(posterior, chosen, strict=True)}, probability


def _draw(noise: Sequence[tuple[Value, float]], rng: random.Random) -> Value:
    if len(noise) == 1:
        return noise[0][0]
    return rng.choices([value for value, _ in noise], [p for _, p in noise])[0]
