"""What the model is asked is, token by token, what it was trained on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vidcausal.models import native_text as text
from vidcausal.models.native import NativeModel
from vidcausal.models.video_lm import VideoLM
from vidcausal.reasoning.direct import Direct
from vidcausal.reasoning.ordering import pairwise_log_odds
from vidcausal.reasoning.rrd import RRD
from vidcausal.reasoning.transcript import Transcript
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


def shown(example: Any) -> FrameBatch:
    data = torch.from_numpy(example.frames).permute(0, 3, 1, 2).contiguous()
    return FrameBatch(data, torch.from_numpy(example.times).double())


def sample(task: Any, **values: Any) -> Sample[Any]:
    return Sample(id="s", task=task, media=Media(("x.mp4",)), **{"question": "", **values})


def test_events_and_moments_are_asked_as_in_training(asked: Asked, teller: Storyteller) -> None:
    example = teller.video(SEED)
    frames = shown(example)
    asked.events(frames)
    assert len(asked.ids) == 1
    assert set(asked.ids) <= learned(example.row, "describe")
    asked.ids.clear()
    wordings = {wording for event in teller.world.tell(SEED, "train").events for wording in event.wordings}
    for wording in sorted(wordings):
        asked.ground(Footage.from_frames(frames), wording)
    assert learned(example.row, "ground") <= set(asked.ids)


def test_questions_are_asked_as_in_training(asked: Asked, teller: Storyteller) -> None:
    example, story = teller.video(SEED), teller.world.tell(SEED, "train")
    questions = teller.world.questions(story)
    for question in questions:
        strategy = Direct(asked, max_new_tokens=1)
        strategy.answer(
            sample("ask", question=question.text, options=question.options), Footage.from_frames(shown(example))
        )
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


def test_shuffled_clips_are_asked_as_in_training(asked: Asked, teller: Storyteller) -> None:
    example = next(e for s in range(50) if (e := teller.shuffled_clips(s, 3, cards=True)) is not None)
    (wanted,) = learned(example.row, "order directly")
    words = asked.core.tokenizer.decode([token for token in wanted if token >= 0]).splitlines()
    table = [line.split() for line in words if line.startswith("clip ")]
    goal = next(line for line in words if line.startswith("order ")).removeprefix("order ")
    clips = [Clip(int(number), Span(float(start), float(end)), "x") for _, number, start, end in table]
    footage = Footage.from_frames(shown(example), clips=clips)
    Direct(asked, max_new_tokens=1).answer(sample("order", goal=goal), footage)
    assert asked.ids == [wanted]


def test_the_training_vocabulary_is_that_of_the_module(core: VideoLM) -> None:
    tokens = core.tokenizer.convert_ids_to_tokens(range(len(text.SPECIAL) + len(text.time_words())))
    assert tokens == [*text.SPECIAL, *text.time_words()]
