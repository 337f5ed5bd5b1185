"""The physics of wind-up toys on three shelves, as a structural causal model.

A toy runs once. One that comes in at the side is wound: it waits, then runs along its shelf. A resting toy that is hit
hops, waits, and runs on in the same direction. A toy that runs into one that has already run just stops behind it: so a
second runner is a backup, which hits the target only where the first one does not. At the end of a shelf a toy leaves
the picture, stops at a wall, or falls to the next shelf and runs back.

Times are whole ticks (:data:`vidcausal.worlds.scm.TICK` seconds). Along a shelf, ``u`` runs from 0 (where toys come in)
to 1, as a share of the frame's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vidcausal.worlds.scm import SCM, Mechanism, Value, Values, Variable, first_of

Pace = Literal["slow", "fast"]
PACES: dict[Pace, tuple[float, int]] = {"slow": (0.055, 4), "fast": (0.08, 2)}
"""A toy's pace: share of the frame's side in a tick, and ticks that it waits before it runs."""

SIZE = 0.17
START = 0.11
"""Where a toy stands that came in or fell down."""
GONE = 1 + SIZE / 2
LANDING = 1 - START
AT_WALL = 0.825
ENTER_TICKS = 5
HOP_TICKS = 2
FALL_TICKS = 2
SHORTEST_RUN, LONGEST_RUN = 4, 8
LATEST_ENTRY = 48

End = Literal["exit", "wall", "fall"]


@dataclass(frozen=True)
class Lane:
    """One shelf.

    ``row`` counts from the top; ``right`` is whether toys run to the right. ``runners`` are the toys that come to its
    start, in the order in which they are expected; ``entering`` those of them that come in at the side (others fall
    from above). ``resting`` stand on the way, ``idle`` stand where nothing can reach them.
    """

    row: int
    right: bool
    runners: tuple[str, ...] = ()
    entering: tuple[str, ...] = ()
    resting: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    end: End = "exit"

    @property
    def slots(self) -> tuple[float, ...]:
        """``u`` of the resting toys; nothing may be nearer to another than a visible run."""
        if len(self.resting) < 2:
            return (0.62 if len(self.runners) > 1 else 0.5,)[: len(self.resting)]
        if self.end == "fall":
            return 0.39, 0.67
        return (0.60, 0.90) if len(self.runners) > 1 else (0.46, 0.87)

    @property
    def last(self) -> str | None:
        """The toy that can reach the end."""
        return self.resting[-1] if self.resting else self.runners[0] if self.runners else None

    def across(self, u: float) -> float:
        """``u`` as a share of the frame's width from the left."""
        return u if self.right else 1 - u


IDLE_SLOTS: dict[int, tuple[float, ...]] = {1: (0.22,), 2: (0.25, 0.72), 3: (0.18, 0.5, 0.82)}


@dataclass(frozen=True, slots=True)
class Step:
    """What one variable stands for: ``mover`` runs from ``u0`` to ``u1`` on the shelf ``row``.

    ``target`` is the toy that is hit or that stands in the way.
    """

    name: str
    kind: str
    mover: str
    row: int
    u0: float
    u1: float
    target: str | None = None

    def run_ticks(self, pace: Pace) -> int:
        """Ticks of the run itself."""
        if self.kind == "enter":
            return ENTER_TICKS
        ticks = round(abs(self.u1 - self.u0) / PACES[pace][0])
        return min(max(ticks, SHORTEST_RUN), LONGEST_RUN)

    def span(self, value: int, pace: Pace) -> tuple[int, int]:
        """First and last tick in which something moves, given the variable's value."""
        run = self.run_ticks(pace)
        if self.kind == "enter":
            return value, value + run
        if self.kind == "hit":
            return value - run, value + HOP_TICKS
        return value - run - (FALL_TICKS if self.kind == "fall" else 0), value


@dataclass
class Machine:
    """The model of a set of shelves: the causal model, and what its variables look like."""

    lanes: tuple[Lane, ...]
    steps: dict[str, Step] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    model: SCM = field(init=False)

    def __post_init__(self) -> None:
        for lane in self.lanes:
            for toy in (*lane.entering, *lane.resting):
                self._pace(toy)
        for lane in self.lanes:
            self._lane(lane)
        self.model = SCM(self.variables)

    def pace(self, values: Values, step: Step) -> Pace:
        """The pace of a step's mover."""
        pace: Pace = values[f"pace({step.mover})"]
        return pace

    def spans(self, values: Values) -> dict[str, tuple[int, int]]:
        """``(first, last)`` tick of each step that happens under ``values``, in the order of their starts."""
        found = {
            name: step.span(values[name], values[f"pace({step.mover})"])
            for name, step in self.steps.items()
            if values[name] is not None
        }
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _pace(self, toy: str) -> None:
        self.variables.append(
            Variable(f"pace({toy})", _own_noise, noise=_PACE_NOISE, kind="category", domain=tuple(PACES))
        )

    def _add(self, step: Step, mechanism: Mechanism, parents: Sequence[str], noise: Any = None) -> str:
        self.steps[step.name] = step
        self.variables.append(Variable(step.name, mechanism, tuple(parents), noise or _NO_NOISE))
        return step.name

    def _lane(self, lane: Lane) -> None:
        ready: dict[str, tuple[str, int]] = {}
        for toy in lane.runners:
            if toy in lane.entering:
                step = Step(f"enter({toy})", "enter", toy, lane.row, -SIZE / 2, START)
                ready[toy] = self._add(step, _own_noise, (), _ENTRY_NOISE), ENTER_TICKS
            else:
                ready[toy] = f"fall({toy}, {lane.row})", 0
        if not lane.runners:
            return
        if lane.resting:
            pushed = self._contest(lane, ready)
            slots = lane.slots
            for toy, after, here, there in zip(lane.resting, lane.resting[1:], slots, slots[1:], strict=False):
                step = Step(f"hit({toy}, {after})", "hit", toy, lane.row, here, there - SIZE, after)
                pushed = [self._add(step, _runs(step, pushed, HOP_TICKS), [*pushed, f"pace({toy})"])]
            self._end(lane, slots[-1], pushed, HOP_TICKS)
        else:
            name, delay = ready[lane.runners[0]]
            self._end(lane, START, [name], delay)

    def _contest(self, lane: Lane, ready: dict[str, tuple[str, int]]) -> list[str]:
        """Hits of the first resting toy by the runners; whoever is there first wins."""
        goal, target = lane.slots[0] - SIZE, lane.resting[0]
        hits: list[str] = []
        arrive = {toy: Step(f"hit({toy}, {target})", "hit", toy, lane.row, START, goal, target) for toy in lane.runners}
        for index, toy in enumerate(lane.runners):
            later = lane.runners[index + 1 :]
            parents = [ready[toy][0], f"pace({toy})", *hits]
            parents += [name for other in later for name in (ready[other][0], f"pace({other})")]
            own, *others = (_runs(arrive[name], [ready[name][0]], ready[name][1]) for name in (toy, *later))
            hits.append(self._add(arrive[toy], _wins(own, others, tuple(hits)), parents))
        for toy in lane.runners:
            for other in lane.runners:
                if other != toy:
                    name = f"stop({toy}, {other})"
                    step = Step(name, "block", toy, lane.row, START, goal - SIZE, other)
                    run = _runs(step, [ready[toy][0]], ready[toy][1])
                    won = f"hit({other}, {target})"
                    self._add(step, _after(run, won), [ready[toy][0], f"pace({toy})", won])
        return hits

    def _end(self, lane: Lane, here: float, pushed: list[str], delay: int) -> None:
        toy = lane.last
        assert toy is not None
        parents = [*pushed, f"pace({toy})"]
        if lane.end == "fall":
            step = Step(f"fall({toy}, {lane.row + 1})", "fall", toy, lane.row, here, LANDING)
            self._add(step, _runs(step, pushed, delay, FALL_TICKS), parents)
        elif lane.end == "wall":
            step = Step(f"stop({toy}, wall)", "wall", toy, lane.row, here, AT_WALL)
            self._add(step, _runs(step, pushed, delay), parents)
        else:
            step = Step(f"exit({toy})", "exit", toy, lane.row, here, GONE)
            self._add(step, _runs(step, pushed, delay), parents)


_NO_NOISE: tuple[tuple[Value, float], ...] = ((None, 1.0),)
_PACE_NOISE: tuple[tuple[Value, float], ...] = tuple((pace, 0.5) for pace in PACES)
_ENTRY_NOISE: tuple[tuple[Value, float], ...] = tuple((t, 1 / LATEST_ENTRY) for t in range(1, LATEST_ENTRY + 1))


def _own_noise(values: Values, noise: Value) -> Value:
    return noise


def _runs(step: Step, pushed: Sequence[str], delay: int, extra: int = 0) -> Mechanism:
    """The mover is ready ``delay`` ticks after the first of ``pushed``, waits, runs: the tick in which it arrives."""
    waits = {pace: delay + wait + step.run_ticks(pace) + extra for pace, (_, wait) in PACES.items()}
    pace = f"pace({step.mover})"
    if len(pushed) == 1:
        only = pushed[0]

        def arrives(values: Values, noise: Value) -> int | None:
            time: int | None = values[only]
            return None if time is None else time + waits[values[pace]]

        return arrives

    def arrives_after_first(values: Values, noise: Value) -> int | None:
        return first_of(*(values[name] for name in pushed), delay=waits[values[pace]])

    return arrives_after_first


def _wins(own: Mechanism, rivals: Sequence[Mechanism], before: tuple[str, ...]) -> Mechanism:
    """The time of ``own`` where no rival was there earlier.

    Of the runners listed earlier the hits count that they made (``before``), and they win a tie; ``rivals`` are those
    listed later, who count when they would have come first.
    """

    def wins(values: Values, noise: Value) -> int | None:
        time: int | None = own(values, noise)
        if time is None:
            return None
        for name in before:
            there = values[name]
            if there is not None and there <= time:
                return None
        for rival in rivals:
            there = rival(values, noise)
            if there is not None and there < time:
                return None
        return time

    return wins


def _after(run: Mechanism, won: str) -> Mechanism:
    """The time of ``run`` where another toy has already ``won`` the race."""

    def stops(values: Values, noise: Value) -> int | None:
        there = values[won]
        time: int | None = run(values, noise)
        return None if there is None or time is None else max(time, there)

    return stops


def with_do(model: SCM, do: Values) -> SCM:
    """The model in which the variables of ``do`` are constants without parents."""
    changed = []
    for name, variable in model.variables.items():
        if name in do:
            changed.append(Variable(name, _constant(do[name]), (), _NO_NOISE, variable.kind, variable.domain))
        else:
            changed.append(variable)
    return SCM(changed)


def _constant(value: Value) -> Mechanism:
    return lambda values, noise: value
