"""Random structural causal models for property tests: gates and arbitrary tables over times, truths and categories."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from vidcausal.worlds.scm import SCM, Value, Values, Variable, after, first_of, happened

DOMAINS: dict[str, tuple[Value, ...]] = {
    "time": (None, 0, 1, 2),
    "truth": (False, True),
    "category": ("a", "b", "c"),
}


@dataclass(frozen=True)
class Rule:
    """A mechanism that can be read back: a gate over times, or a table drawn from ``seed``."""

    name: str
    kind: str
    parents: tuple[str, ...]
    gate: str
    seed: int

    def __call__(self, values: Values, noise: Value) -> Value:
        above = [values[parent] for parent in self.parents]
        if self.gate == "copy" and self.kind == "category":
            return "abc"[(noise + sum(map(happened, above))) % 3]
        if self.gate != "table" and self.kind == "truth":
            return bool(noise) and {"and": all, "or": any, "copy": lambda x: True}[self.gate](map(happened, above))
        times = [(value or 0) if happened(value) else None for value in above]
        times = [0 if isinstance(value, str) else value for value in times]
        if self.gate in ("and", "or") and self.kind == "time" and above:
            return {"and": after, "or": first_of}[self.gate](*times, delay=noise) if noise < 2 else None
        return random.Random(f"{self.seed}/{above}/{noise}").choice(DOMAINS[self.kind])


@st.composite
def models(draw: Any, fewest: int = 5, most: int = 6, noises: int = 3) -> SCM:
    variables: list[Variable] = []
    for k in range(draw(st.integers(fewest, most))):
        kind = draw(st.sampled_from(list(DOMAINS)))
        before = [variable.name for variable in variables]
        parents = tuple(draw(st.lists(st.sampled_from(before), unique=True, max_size=3))) if before else ()
        rule = Rule(
            f"v{k}", kind, parents, draw(st.sampled_from(["and", "or", "copy", "table"])), draw(st.integers(0, 99))
        )
        weights = draw(st.lists(st.integers(1, 5), min_size=1, max_size=noises))
        noise = tuple((value, weight / sum(weights)) for value, weight in enumerate(weights))
        variables.append(Variable(rule.name, rule, parents, noise, kind, DOMAINS[kind] if kind == "category" else ()))  # type: ignore[arg-type]
    return SCM(variables)


def evaluate(model: SCM, noise: Values, do: Values) -> dict[str, Value]:
    """All values, each looked up from below by asking its parents: a second way to run a model."""

    def value(name: str) -> Value:
        if name in do:
            return do[name]
        variable = model.variables[name]
        return variable.mechanism({parent: value(parent) for parent in variable.parents}, noise[name])

    return {name: value(name) for name in model.variables}
