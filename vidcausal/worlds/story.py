"""What one seed of a world tells, before any pixel: events, causes, questions, clips.

Times are seconds since the first frame; places are shares of the frame's side, y downward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vidcausal.worlds.scm import SCM, Values

Split = Literal["train", "validation", "test", "composition"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "composition")
"""``composition`` holds goals, color-shape pairs and chain lengths that the other three never show."""

QUESTION_TYPES = ("CW", "CH", "TN", "TC", "TP", "DC", "DL", "DO", "CF", "PR")
"""NExT-QA's eight types (causal why and how; temporal next, current and previous; descriptive count, location and
other), counterfactual and predictive."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (244, 140, 30),
    "yellow": (240, 214, 50),
    "green": (44, 160, 60),
    "cyan": (70, 200, 215),
    "blue": (45, 80, 215),
    "purple": (140, 60, 190),
    "pink": (243, 140, 185),
}


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """Something that can be seen to happen.

    ``id`` is the variable of the causal model that it stands for. ``wordings`` are all the ways the narrator says it,
    the canonical ``caption`` first. ``saliency`` has three simulated annotators, 0 to 4. ``causes`` are the events of
    this story that its mechanism read (its parents that happened).
    """

    id: str
    kind: str
    start: float
    end: float
    wordings: tuple[str, ...]
    saliency: tuple[int, int, int] = (2, 2, 2)
    causes: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """The canonical wording."""
        return self.wordings[0]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with five options. ``answer`` is 0-based; ``spans`` are seconds that show the answer."""

    type: str
    text: str
    options: tuple[str, ...]
    answer: int
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class StoryClip:
    """A stretch of the video that shows one step or one link of a chain; ``caption`` is what a viewer would note."""

    start: float
    end: float
    caption: str


@dataclass(frozen=True)
class Story:
    """Everything about one sample.

    ``duration`` is what is shown; ``unseen`` are events that would come after it. ``clips`` stand in their true order;
    ``valid_orders`` holds every order of them (indices) that is right, the shown one among them. ``params`` is what the
    world's own painter needs; ``actual_causes`` maps an event's id to its Halpern-Pearl causes (tuples of ids).
    """

    world: str
    seed: int
    split: Split
    duration: float
    events: tuple[StoryEvent, ...]
    model: SCM
    noise: Values
    goal: str = ""
    clips: tuple[StoryClip, ...] = ()
    valid_orders: tuple[tuple[int, ...], ...] = ()
    unseen: tuple[StoryEvent, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to draw: the sprite ``kind`` in a color of :data:`COLORS` (or none), centered at ``x, y``.

    ``width`` and ``height`` are shares of the frame's side. ``state`` in [0, 1] is what the sprite makes of it: how far
    a door is open, how bright a lamp, how full a tank, how far a domino has fallen. ``variant`` is a material or a
    style.
    """

    kind: str
    color: str | None
    x: float
    y: float
    width: float
    height: float
    state: float = 0.0
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound at a time: ``kind`` is one of :data:`vidcausal.worlds.sound.SOUNDS`; ``pitch`` in [0, 1]."""

    time: float
    kind: str
    pitch: float = 0.5
    seconds: float = 0.3
