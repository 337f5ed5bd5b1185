"""What the model is asked is, token by token, what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from vidcausal.models import native_text as text
from vidcausal.models.native import NativeModel
from vidcausal.models.native_clock import Clock
from vidcausal.models.video_lm import VideoLM
from vidcausal.reasoning.direct import Direct
from vidcausal.reasoning.ordering import pairwise_log_odds
from vidcausal.reasoning.rrd import RRD
from vidcausal.reasoning.transcript import Transcript
from vidcausal.training import stories
from vidcausal.training.build import native_core, native_tokenizer
from vidcausal.training.packing import Row
from vidcausal.training.stories import Shape, Storyteller, all_kinds
from vidcausal.types import EventRecord, Media, Recognition, Sample, Span
from vidcausal.video.footage import Clip, Footage
from vidcausal.video.frames import FrameBatch

WORLD = "collisions"
SEED = 4


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> VideoLM:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = native_tokenizer([WORLD], folder, stories=40)
    projector = {"kind": "per-frame-causal", "num_queries": 4, "hidden_dim": 16, "num_heads": 2, "num_layers": 1}
    language = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return native_core(
        folder,
        tokenizer,
        encoder={"library": "conv", "model": {"width": 16, "image_size": 64, "stem_width": 16, "num_blocks": 0}},
        projector={**projector, "intermediate_dim": 16},
        language={**language, "num_key_value_heads": 2},
    ).eval()


@pytest.fixture(scope="module")
def teller(core: VideoLM) -> Storyteller:
    return Storyteller(WORLD, core.tokenizer, Shape(frames=8), split="train", kinds=all_kinds([WORLD]))


def learned(row: Row, task: str) -> set[tuple[int, ...]]:
    """What stands before the answers of a task in training: the ids of all its ancestors, then its own prompt."""
    found = set()
    for branch in row.branches:
        if branch.task.startswith(task) and branch.answer < len(branch.ids):
            ids = list(branch.ids[: branch.answer])
            parent = branch.parent
            while parent is not None:
                ids = [*row.branches[parent].ids, *ids]
                parent = row.branches[parent].parent
            found.add(tuple(ids))
    return found


class Asked(NativeModel):
    """Remembers the token ids of every prompt; recognizes what it is given."""

    def __init__(self, core: VideoLM, records: tuple[EventRecord, ...] = ()) -> None:
        super().__init__(core)
        self.records = records
        self.ids: list[tuple[int, ...]] = []
        read = core._read

        def reading(prompt: str, frames: FrameBatch | None, *, reserve: int) -> Any:
            before, after = core.lay_out(prompt, frames)
            self.ids.append((*before, *after))
            return read(prompt, frames, reserve=reserve)

        core._read = reading  # type: ignore[method-assign]

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Any = ()) -> Recognition:
        return Recognition(self.records)


@pytest.fixture
def asked(core: VideoLM) -> Any:
    made = Asked(core)
    yield made
    del core._read  # the method of the class is seen again


class Kept(Clock):
    """Remembers the seconds of the frames and every second that was told."""

    made: list[Kept] = []

    def __init__(self, seconds: Sequence[float]) -> None:
        super().__init__(seconds)
        self.asked: list[float] = []
        self.made.append(self)

    def told(self, second: float) -> float:
        self.asked.append(second)
        return super().told(second)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[Kept]:
    """The clocks that training makes: an example has told times only, a video the real ones."""
    monkeypatch.setattr(stories, "Clock", Kept)
    Kept.made.clear()
    return Kept.made


def shown(example: Any, clock: Clock, start: float = 0.0) -> FrameBatch:
    """The frames of an example with their real times."""
    data = torch.from_numpy(example.frames).permute(0, 3, 1, 2).contiguous()
    seconds = torch.tensor(clock.seconds, dtype=torch.float64) + start
    assert not torch.allclose(seconds, torch.from_numpy(example.times).double(), atol=0.05)
    return FrameBatch(data, seconds)


def sample(task: Any, **values: Any) -> Sample[Any]:
    return Sample(id="s", task=task, media=Media(("x.mp4",)), **{"question": "", **values})


def test_events_and_moments_are_asked_as_in_training(asked: Asked, teller: Storyteller, clocks: list[Kept]) -> None:
    example = teller.video(SEED)
    frames = shown(example, clocks[0])
    asked.events(frames)
    assert len(asked.ids) == 1
    assert set(asked.ids) <= learned(example.row, "describe")
    asked.ids.clear()
    wordings = {wording for event in teller.world.tell(SEED, "train").events for wording in event.wordings}
    for wording in sorted(wordings):
        asked.ground(Footage.from_frames(frames), wording)
    assert learned(example.row, "ground") <= set(asked.ids)


def test_clips_are_described_as_in_training(core: VideoLM, asked: Asked, clocks: list[Kept]) -> None:
    teller = Storyteller("procedures", core.tokenizer, Shape(), split="train", kinds=all_kinds(["procedures"]))
    for count in (3, 6):
        example = next(e for s in range(50) if (e := teller.clip(s, count)) is not None)
        frames = shown(example, clocks[-1], start=40.0)
        clip = Clip(1, Span(40.0, float(frames.pts_seconds[-1]) + 0.1), "x")
        asked.ids.clear()
        NativeModel.recognize(asked, Footage.from_frames(frames, clips=[clip]))
        assert set(asked.ids) == learned(example.row, "describe clip")


def test_questions_are_asked_as_in_training(asked: Asked, teller: Storyteller, clocks: list[Kept]) -> None:
    example, story = teller.video(SEED), teller.world.tell(SEED, "train")
    footage = Footage.from_frames(shown(example, clocks[0]))
    for question in teller.world.questions(story):
        strategy = Direct(asked, max_new_tokens=1)
        strategy.answer(sample("ask", question=question.text, options=question.options), footage)
    assert set(asked.ids) == learned(example.row, "ask")


def test_reasoning_over_records_is_asked_as_in_training(asked: Asked, teller: Storyteller) -> None:
    example, story = teller.reasoning(SEED), teller.world.tell(SEED, "train")
    asked.records = tuple(EventRecord(event.start, event.end, event.caption) for event in story.events)
    strategy = RRD(asked, max_new_tokens=1)
    footage = Footage.from_frames(FrameBatch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1).double()))
    for question in teller.world.questions(story):
        strategy.answer(sample("ask", question=question.text, options=question.options), footage)
    learned_prompts = learned(example.row, "reason")
    assert learned_prompts
    assert learned_prompts <= set(asked.ids)


def test_orders_are_asked_as_in_training(asked: Asked, teller: Storyteller) -> None:
    seed, example = next((s, e) for s in range(50) if (e := teller.ordering(s)) is not None)
    story = teller.world.tell(seed, "train")
    (listed,) = learned(example.row, "order")
    words = asked.core.tokenizer.decode(listed).splitlines()
    captions = [line.partition(": ")[2] for line in words if ":" in line]
    clips = [Clip(k, Span(k - 1.0, float(k)), "x") for k in range(1, len(captions) + 1)]
    asked.records = tuple(
        EventRecord(clip.span.start, clip.span.end, caption, clip=clip.number)
        for clip, caption in zip(clips, captions, strict=True)
    )
    frames = FrameBatch(torch.zeros(len(clips), 3, 8, 8, dtype=torch.uint8), torch.arange(len(clips)).double())
    RRD(asked, max_new_tokens=1).answer(sample("order", goal=story.goal), Footage.from_frames(frames, clips=clips))
    assert listed in asked.ids
    asked.ids.clear()
    pairwise_log_odds(Transcript(), asked, story.goal, captions)
    assert set(asked.ids) == learned(example.row, "pair")


def ordered(asked: Asked, teller: Storyteller, seed: int, frames: FrameBatch, spans: Sequence[Span]) -> str:
    """Ask for the order of shuffled clips; the goal that was asked for."""
    goal = teller.world.tell(seed, "train").goal
    clips = [Clip(number, span, "x") for number, span in enumerate(spans, start=1)]
    Direct(asked, max_new_tokens=1).answer(sample("order", goal=goal), Footage.from_frames(frames, clips=clips))
    return goal


SHUFFLED = [(3, True), (4, True), (5, True), (3, False), (5, False)]


@pytest.mark.parametrize(("count", "cards"), SHUFFLED)
def test_shuffled_clips_are_asked_as_in_training(core: VideoLM, asked: Asked, count: int, cards: bool) -> None:
    teller = Storyteller(WORLD, core.tokenizer, Shape(), split="train", kinds=all_kinds([WORLD]))
    seed, example = next((s, e) for s in range(99) if (e := teller.shuffled_clips(s, count, cards=cards)) is not None)
    (wanted,) = learned(example.row, "order directly")
    words = core.tokenizer.decode([token for token in wanted if token >= 0]).splitlines()
    table = [line.split() for line in words if line.startswith("clip ")]
    # A video whose own times are even ones: its times need no rounding to tenths but for the words.
    frames = FrameBatch(
        torch.from_numpy(example.frames).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(example.times).double()
    )
    ordered(asked, teller, seed, frames, [Span(float(start), float(end)) for _, _, start, end in table])
    assert asked.ids == [wanted]


@pytest.mark.parametrize(("count", "cards"), SHUFFLED)
def test_shuffled_clips_at_any_times_are_asked_as_in_training_but_for_the_tenths_of_a_prompt(
    core: VideoLM, asked: Asked, clocks: list[Kept], count: int, cards: bool
) -> None:
    teller = Storyteller(WORLD, core.tokenizer, Shape(), split="train", kinds=all_kinds([WORLD]))
    seed, example = next((s, e) for s in range(99) if (e := teller.shuffled_clips(s, count, cards=cards)) is not None)
    (clock,) = clocks
    seconds = list(clock.asked)
    ordered(asked, teller, seed, shown(example, clock), [Span(*seconds[at : at + 2]) for at in range(0, 2 * count, 2)])
    (wanted,), (found,) = learned(example.row, "order directly"), asked.ids
    times = set(core.tokenizer.convert_tokens_to_ids(text.time_words()))
    differ = [place for place, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other]
    in_table = [place for place, token in enumerate(wanted) if token in times][-2 * count :]
    assert set(differ) <= set(in_table)
    # A prompt says the seconds of a clip in tenths; what is told differs by no more than that.
    for place, second in zip(in_table, seconds, strict=True):
        said = float(core.tokenizer.convert_ids_to_tokens(found[place]))
        assert clock.told(second - 0.05) - 0.0501 <= said <= clock.told(second + 0.05) + 0.0501


def test_the_training_vocabulary_is_that_of_the_module(core: VideoLM) -> None:
    tokens = core.tokenizer.convert_ids_to_tokens(range(len(text.SPECIAL) + len(text.time_words())))
    assert tokens == [*text.SPECIAL, *text.time_words()]
