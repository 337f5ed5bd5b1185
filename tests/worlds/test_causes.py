from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vidcausal.worlds import causes
from vidcausal.worlds.causes import actual_causes, alternatives
from vidcausal.worlds.scm import SCM, Value, Values, Variable, after, first_of, happened

from .random_models import evaluate, models


def subsets(names: list[str]) -> Iterator[tuple[str, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))


def literal(
    model: SCM, noise: Values, effect: str, largest: int, holds: Callable[[Value], bool] = happened
) -> set[tuple[str, ...]]:
    """Halpern 2015, definition 2.1 (modified), word for word: all X, all x', all W among all other variables."""
    actual = evaluate(model, noise, {})
    names = list(model.variables)

    def ac2(chosen: tuple[str, ...]) -> bool:
        others = [name for name in names if name not in chosen]
        for instead in itertools.product(*(alternatives(model.variables[name], actual[name]) for name in chosen)):
            for held in subsets(others):
                do = dict(zip(chosen, instead, strict=True)) | {name: actual[name] for name in held}
                if not holds(evaluate(model, noise, do)[effect]):
                    return True
        return False

    assert holds(actual[effect])  # AC1
    found = set()
    for chosen in subsets([name for name in names if name != effect]):
        smaller = [part for part in subsets(list(chosen)) if 0 < len(part) < len(chosen)]
        if 1 <= len(chosen) <= largest and ac2(chosen) and not any(map(ac2, smaller)):  # AC3
            found.add(chosen)
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_causes_agree_with_the_definition_read_literally(data: st.DataObject) -> None:
    model = data.draw(models(fewest=5, most=5))
    noise = model.sample_noise(random.Random(data.draw(st.integers(0, 1000))))
    actual = model.run(noise)
    effect = list(model.variables)[-1]
    assume(happened(actual[effect]))
    largest = data.draw(st.integers(1, 3))
    found = actual_causes(model, noise, effect, largest=largest)
    assert set(found) == literal(model, noise, effect, largest)
    assert len(found) == len(set(found))
    assert [len(cause) for cause in found] == sorted(len(cause) for cause in found)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_an_exact_value_can_be_the_effect(data: st.DataObject) -> None:
    model = data.draw(models(fewest=5, most=5))
    noise = model.sample_noise(random.Random(data.draw(st.integers(0, 1000))))
    effect = data.draw(st.sampled_from(list(model.variables)))
    value = model.run(noise)[effect]

    def same(other: Value) -> bool:
        return bool(other == value)

    assert set(actual_causes(model, noise, effect, holds=same)) == literal(model, noise, effect, 2, same)


def given_truth(name: str, value: bool = True) -> Variable:
    return Variable(name, lambda v, u: u, noise=((value, 1.0),), kind="truth")


def truth(name: str, parents: str, rule: Callable[..., bool]) -> Variable:
    above = tuple(parents.split())
    return Variable(name, lambda v, u: bool(rule(*(v[parent] for parent in above))), above, kind="truth")


def causes_of(model: SCM, effect: str, largest: int = 2, **options: object) -> set[tuple[str, ...]]:
    noise = {name: variable.noise[0][0] for name, variable in model.variables.items()}
    return set(actual_causes(model, noise, effect, largest=largest, **options))  # type: ignore[arg-type]


def test_forest_fire_either_suffices() -> None:
    """Halpern 2015, example 3.1, disjunctive: neither alone, both together."""
    fire = truth("fire", "lightning match", lambda lightning, match: lightning or match)
    model = SCM([given_truth("lightning"), given_truth("match"), fire])
    assert causes_of(model, "fire") == {("lightning", "match")}
    assert causes_of(model, "fire", largest=1) == set()


def test_forest_fire_both_needed() -> None:
    """Halpern 2015, example 3.1, conjunctive: each of the two is a cause."""
    fire = truth("fire", "lightning match", lambda lightning, match: lightning and match)
    model = SCM([given_truth("lightning"), given_truth("match"), fire])
    assert causes_of(model, "fire") == {("lightning",), ("match",)}


def rocks(billy: bool = True, suzy: bool = True) -> SCM:
    return SCM(
        [
            given_truth("suzy_throws", suzy),
            given_truth("billy_throws", billy),
            truth("suzy_hits", "suzy_throws", bool),
            Variable(
                "billy_hits",
                lambda v, u: v["billy_throws"] and not v["suzy_hits"],
                ("billy_throws", "suzy_hits"),
                kind="truth",
            ),
            Variable(
                "bottle_shatters",
                lambda v, u: v["suzy_hits"] or v["billy_hits"],
                ("suzy_hits", "billy_hits"),
                kind="truth",
            ),
        ]
    )


def test_late_preemption_suzy_is_a_cause_and_billy_is_not() -> None:
    """Halpern 2015, example 3.2: Billy's rock would have shattered the bottle, but Suzy's was there first."""
    assert causes_of(rocks(), "bottle_shatters", largest=3) == {("suzy_throws",), ("suzy_hits",)}
    assert causes_of(rocks(suzy=False), "bottle_shatters") == {("billy_throws",), ("billy_hits",)}


def test_late_preemption_cannot_be_told_without_the_hits() -> None:
    """The naive model of the same example has the form of the disjunctive forest fire."""
    shatters = truth("bottle", "suzy billy", lambda suzy, billy: suzy or billy)
    model = SCM([given_truth("suzy"), given_truth("billy"), shatters])
    assert causes_of(model, "bottle") == {("suzy", "billy")}


def test_late_preemption_with_times() -> None:
    """The same story with ticks, the way the worlds tell it: the first to arrive is a cause."""

    def billy_hits(values: Values, noise: Value) -> Value:
        arrival = after(values["billy_throws"], delay=3)
        first = values["suzy_hits"]
        return None if arrival is None or (first is not None and first <= arrival) else arrival

    model = SCM(
        [
            Variable("suzy_throws", lambda v, u: 0),
            Variable("billy_throws", lambda v, u: 0),
            Variable("suzy_hits", lambda v, u: after(v["suzy_throws"], delay=2), ("suzy_throws",)),
            Variable("billy_hits", billy_hits, ("billy_throws", "suzy_hits")),
            Variable(
                "bottle_shatters",
                lambda v, u: first_of(v["suzy_hits"], v["billy_hits"]),
                ("suzy_hits", "billy_hits"),
            ),
        ]
    )
    assert causes_of(model, "bottle_shatters", largest=3) == {("suzy_throws",), ("suzy_hits",)}
    without_suzy = model.run(dict.fromkeys(model.variables), {"suzy_throws": None})
    assert without_suzy["bottle_shatters"] == 3


def voting(*votes: bool) -> SCM:
    names = tuple(f"voter_{k}" for k in range(1, len(votes) + 1))
    wins = Variable("suzy_wins", lambda v, u: 2 * sum(v[name] for name in names) > len(names), names, kind="truth")
    return SCM([*(given_truth(name, vote) for name, vote in zip(names, votes, strict=True)), wins])


def test_voting_eleven_to_nothing_any_six_are_a_cause() -> None:
    """Halpern 2015, section 3: when all eleven vote for Suzy, every set of six voters is a cause, no voter_alone is."""
    found = causes_of(voting(*[True] * 11), "suzy_wins", largest=6)
    names = [f"voter_{k}" for k in range(1, 12)]
    assert found == set(itertools.combinations(names, 6))


def test_voting_six_to_five_each_of_the_six_is_a_cause() -> None:
    found = causes_of(voting(*[True] * 6, *[False] * 5), "suzy_wins", largest=3)
    assert found == {(f"voter_{k}",) for k in range(1, 7)}


def test_voting_five_to_nothing_any_three_are_a_cause() -> None:
    names = [f"voter_{k}" for k in range(1, 6)]
    assert causes_of(voting(*[True] * 5), "suzy_wins", largest=5) == set(itertools.combinations(names, 3))


def loader(a_loads: bool, b_shoots: bool, c_shoots: bool) -> SCM:
    dies = truth("dies", "a b c", lambda a, b, c: (a and b) or c)
    return SCM([given_truth("a", a_loads), given_truth("b", b_shoots), given_truth("c", c_shoots), dies])


def test_loader() -> None:
    """Hopkins and Pearl 2003; Halpern 2015, example 3.5: A loads B's gun, B does not shoot, C loads and shoots."""
    assert causes_of(loader(True, False, True), "dies", largest=3) == {("c",)}
    assert causes_of(loader(True, True, False), "dies", largest=3) == {("a",), ("b",)}
    assert causes_of(loader(True, True, True), "dies", largest=3) == {("a", "c"), ("b", "c")}


def test_bogus_prevention_needs_both() -> None:
    """Halpern 2015, section 3 (Hiddleston): the antidote alone is no cause of surviving when no poison was given."""
    survives = truth("survives", "no_poison antidote", lambda no_poison, antidote: no_poison or antidote)
    model = SCM([given_truth("no_poison"), given_truth("antidote"), survives])
    assert causes_of(model, "survives") == {("no_poison", "antidote")}


def test_double_prevention() -> None:
    """Hall 2004: Suzy bombs, the enemy would have stopped her, Billy shoots the enemy down: both are causes."""
    model = SCM(
        [
            given_truth("suzy_bombs"),
            given_truth("billy_shoots"),
            given_truth("enemy_takes_off"),
            truth("enemy_attacks", "enemy_takes_off billy_shoots", lambda off, shot: off and not shot),
            truth("target_destroyed", "suzy_bombs enemy_attacks", lambda bombs, attacks: bombs and not attacks),
        ]
    )
    found = causes_of(model, "target_destroyed", largest=1)
    assert found == {("suzy_bombs",), ("billy_shoots",), ("enemy_attacks",)}


def test_overdetermination_of_two_times_at_once() -> None:
    model = SCM(
        [
            Variable("left", lambda v, u: 4),
            Variable("right", lambda v, u: 4),
            Variable("lamp", lambda v, u: first_of(v["left"], v["right"], delay=1), ("left", "right")),
        ]
    )
    assert causes_of(model, "lamp") == {("left", "right")}


def test_a_conjunct_that_lies_behind_another_is_set_too() -> None:
    """The backup hears of the main switch but comes on whatever it does: only both together undo the light."""
    model = SCM(
        [
            given_truth("main"),
            truth("backup", "main", lambda main: True),
            truth("light", "main backup", lambda main, backup: main or backup),
        ]
    )
    assert causes_of(model, "light") == {("main", "backup")}


def test_only_candidates_are_considered() -> None:
    assert causes_of(rocks(), "bottle_shatters", candidates=["suzy_throws", "billy_throws"]) == {("suzy_throws",)}
    assert causes_of(rocks(), "bottle_shatters", candidates=["billy_throws"]) == set()


def test_what_an_event_could_have_been_instead() -> None:
    def mechanism(values: Values, noise: Value) -> Value:
        return noise

    assert alternatives(Variable("x", mechanism), 3) == (None,)
    assert alternatives(Variable("x", mechanism), None) == ()
    assert alternatives(Variable("x", mechanism, kind="truth"), False) == (True,)
    assert alternatives(Variable("x", mechanism, kind="category", domain=("a", "b", "c")), "b") == ("a", "c")


def test_what_did_not_happen_has_no_cause_and_large_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="nothing to explain"):
        causes_of(rocks(billy=False, suzy=False), "bottle_shatters")
    monkeypatch.setattr(causes, "MOST_WITNESSES", 1)
    with pytest.raises(ValueError, match="variables lie between"):
        causes_of(rocks(), "bottle_shatters")
