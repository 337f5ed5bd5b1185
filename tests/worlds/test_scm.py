from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.worlds import scm
from vidcausal.worlds.scm import SCM, Value, Values, Variable, after, first_of, happened

from .random_models import DOMAINS, evaluate, models


def joint(model: SCM) -> list[tuple[dict[str, Value], float]]:
    """Every noise assignment with its probability."""
    names = list(model.variables)
    every = itertools.product(*(model.variables[name].noise for name in names))
    return [
        (dict(zip(names, (u for u, _ in chosen), strict=True)), math.prod(p for _, p in chosen)) for chosen in every
    ]


def by_brute_force(model: SCM, observed: Values, do: Values) -> dict[tuple[Value, ...], float]:
    """Keep the noise assignments of the whole joint that give what was observed, and run each again."""
    outcomes: dict[tuple[Value, ...], float] = defaultdict(float)
    for noise, probability in joint(model):
        if evaluate(model, noise, {}) == observed:
            outcomes[tuple(evaluate(model, noise, do).values())] += probability
    total = sum(outcomes.values())
    return {values: probability / total for values, probability in outcomes.items()}


def interventions(model: SCM) -> st.SearchStrategy[dict[str, Value]]:
    one = {name: st.sampled_from(DOMAINS[variable.kind]) for name, variable in model.variables.items()}
    return st.fixed_dictionaries({}, optional=one)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_runs_and_interventions_agree_with_a_second_implementation(data: st.DataObject) -> None:
    model = data.draw(models())
    noise = model.sample_noise(random.Random(data.draw(st.integers(0, 1000))))
    do = data.draw(interventions(model))
    assert model.run(noise) == evaluate(model, noise, {})
    done = model.run(noise, do)
    assert done == evaluate(model, noise, do)
    assert all(done[name] == value for name, value in do.items())
    factual = model.run(noise)
    below = {name for name in model.variables if set(do) & (model.ancestors(name) | {name})}
    assert all(done[name] == factual[name] for name in model.variables if name not in below)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_abduction_and_counterfactuals_agree_with_brute_force(data: st.DataObject) -> None:
    model = data.draw(models())
    observed = model.run(model.sample_noise(random.Random(data.draw(st.integers(0, 1000)))))
    do = data.draw(interventions(model))
    posterior = model.abduct(observed)
    fitting = [(noise, p) for noise, p in joint(model) if evaluate(model, noise, {}) == observed]
    total = sum(p for _, p in fitting)
    for name, pairs in posterior.items():
        marginal: dict[Value, float] = defaultdict(float)
        for noise, p in fitting:
            marginal[noise[name]] += p / total
        assert dict(pairs) == pytest.approx(dict(marginal))
    outcomes = model.counterfactual(observed, do)
    assert {tuple(values.values()): p for values, p in outcomes} == pytest.approx(by_brute_force(model, observed, do))
    assert sum(p for _, p in outcomes) == pytest.approx(1)
    assert all(first >= second for (_, first), (_, second) in itertools.pairwise(outcomes))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_without_an_intervention_the_counterfactual_is_what_was(data: st.DataObject) -> None:
    model = data.draw(models())
    observed = model.run(model.sample_noise(random.Random(data.draw(st.integers(0, 1000)))))
    [(values, probability)] = model.counterfactual(observed, {})
    assert values == observed
    assert probability == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ancestors_are_all_that_can_be_reached_against_the_edges(data: st.DataObject) -> None:
    model = data.draw(models())
    reach = {name: {parent for parent, child in model.edges() if child == name} for name in model.variables}
    for middle, low in itertools.product(list(model.variables), repeat=2):  # parents first, so one sweep suffices
        if middle in reach[low]:
            reach[low] |= reach[middle]
    for _ in model.variables:
        for name in model.variables:
            reach[name] |= {above for parent in reach[name] for above in reach[parent]}
    assert {name: model.ancestors(name) for name in model.variables} == reach


def firing_squad() -> SCM:
    """Pearl, Causality, 2009, section 7.1.2: the court's order U, the captain C, two riflemen A and B, the death D."""
    return SCM(
        [
            Variable("U", lambda v, u: u, noise=((True, 0.3), (False, 0.7)), kind="truth"),
            Variable("W", lambda v, u: u, noise=((True, 0.1), (False, 0.9)), kind="truth"),
            Variable("C", lambda v, u: v["U"], ("U",), kind="truth"),
            Variable("A", lambda v, u: v["C"] or v["W"], ("C", "W"), kind="truth"),
            Variable("B", lambda v, u: v["C"], ("C",), kind="truth"),
            Variable("D", lambda v, u: v["A"] or v["B"], ("A", "B"), kind="truth"),
        ]
    )


def test_the_firing_squad() -> None:
    model = firing_squad()
    everybody = {"U": True, "W": False, "C": True, "A": True, "B": True, "D": True}
    assert model.counterfactual(everybody, {"A": False}) == [({**everybody, "A": False}, 1.0)]  # B shoots all the same
    alone = {"U": False, "W": True, "C": False, "A": True, "B": False, "D": True}
    assert model.counterfactual(alone, {"A": False}) == [({**alone, "A": False, "D": False}, 1.0)]


def test_noise_that_was_not_settled_stays_open() -> None:
    coin = ((True, 0.25), (False, 0.75))
    model = SCM(
        [
            Variable("fuse", lambda v, u: u, noise=coin, kind="truth"),
            Variable("bang", lambda v, u: v["fuse"] and u, ("fuse",), coin, kind="truth"),
        ]
    )
    outcomes = model.counterfactual({"fuse": False, "bang": False}, {"fuse": True})
    assert outcomes == [({"fuse": True, "bang": False}, 0.75), ({"fuse": True, "bang": True}, 0.25)]


def test_noise_is_drawn_with_its_probabilities() -> None:
    model = SCM([Variable("x", lambda v, u: u, noise=((1, 0.2), (2, 0.5), (None, 0.3)))])
    rng = random.Random(0)
    drawn = [model.sample_noise(rng)["x"] for _ in range(5000)]
    shares = [drawn.count(value) / 5000 for value in (1, 2, None)]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_gates_of_times() -> None:
    assert after(3, 5, 4, delay=2) == 7
    assert after(3, None) is None
    assert first_of(3, None, 5, delay=1) == 4
    assert first_of(None, None) is None
    assert first_of() is None
    assert [happened(value) for value in (0, 4, True, None, False)] == [True, True, True, False, False]


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def mechanism(values: Values, noise: Value) -> Value:
        return noise

    one = Variable("x", mechanism)
    with pytest.raises(ValueError, match="two variables"):
        SCM([one, one])
    with pytest.raises(ValueError, match="parents first"):
        SCM([Variable("x", mechanism, ("y",)), Variable("y", mechanism)])
    with pytest.raises(ValueError, match="parents first"):
        SCM([Variable("x", mechanism, ("x",))])
    with pytest.raises(ValueError, match="probabilities"):
        SCM([Variable("x", mechanism, noise=((1, 0.5), (2, 0.4)))])
    with pytest.raises(ValueError, match="probabilities"):
        SCM([Variable("x", mechanism, noise=((1, 1.5), (2, -0.5)))])
    with pytest.raises(KeyError, match="no variable 'y'; there are x"):
        SCM([one]).run({"x": 1}, {"y": 2})
    with pytest.raises(ValueError, match="cannot be 2"):
        SCM([Variable("x", mechanism, noise=((1, 1.0),))]).abduct({"x": 2})
    monkeypatch.setattr(scm, "MOST_WORLDS", 3)
    coins = [Variable(name, lambda v, u: True, noise=((0, 0.5), (1, 0.5)), kind="truth") for name in "ab"]
    with pytest.raises(ValueError, match="4 noise assignments"):
        SCM(coins).counterfactual({"a": True, "b": True}, {})
