"""The native model's code: a core that answers by rule shows what is asked, a tiny random one that it all fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from vidcausal.cache import DiskCache
from vidcausal.errors import MissingWeightsError, ModelError, WeightsError
from vidcausal.models import native_text as text
from vidcausal.models.cached import CachedRecognizer
from vidcausal.models.native import CAVEAT, NativeModel, native, weights_folder
from vidcausal.models.video_lm import Generated, VideoLM
from vidcausal.protocols import EventCaptioner, Grounder, Recognizer, Scoring, VideoChat
from vidcausal.training.build import native_core
from vidcausal.types import OptionScore, Span
from vidcausal.video.footage import Clip, Footage
from vidcausal.video.frames import FrameBatch

SAID = ["red ball hits blue box", "blue box leaves", "clip order when events two steps"]

TOLD = [0.375, 1.125, 1.875, 2.625]
"""What the model is told of four frames, whatever their times are."""
WORDS = [0.4, 1.1, 1.9, 2.6, 3.4]
"""What is told of five frames, in words: answers are made of them, and each stands for exactly its frame."""


def frames(times: Sequence[float], *, key: str | None = None) -> FrameBatch:
    data = torch.randint(0, 256, (len(times), 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return FrameBatch(data, torch.tensor(list(times), dtype=torch.float64), key=key)


def footage(times: Sequence[float], clips: Sequence[tuple[float, float]] = ()) -> Footage:
    numbered = [Clip(k, Span(start, end), "x.mp4") for k, (start, end) in enumerate(clips, start=1)]
    return Footage.from_frames(frames(times), clips=numbered)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return text.build_tokenizer(SAID)


class Core:
    """Answers by rule and remembers what it was asked: ``(prompt, options, times of the frames)``."""

    fingerprint = "core"

    def __init__(self, tokenizer: Any, reply: str = "", likes: Callable[[str, str], float] | None = None) -> None:
        self.tokenizer, self.reply, self.likes = tokenizer, reply, likes or (lambda prompt, option: 0.0)
        self.doubts: list[list[float]] = []
        self.asked: list[tuple[str, tuple[str, ...], list[float] | None]] = []
        self.keys: list[str | None] = []
        self.pictures: list[torch.Tensor] = []

    def _note(self, prompt: str, options: Sequence[str], shown: FrameBatch | None) -> None:
        self.asked.append((prompt, tuple(options), None if shown is None else shown.pts_seconds.tolist()))
        self.keys.append(None if shown is None else shown.key)
        self.pictures += [] if shown is None else [shown.data]

    def generate(
        self,
        prompt: str,
        shown: FrameBatch | None = None,
        *,
        max_new_tokens: int = 512,
        watch: Sequence[int] = (),
    ) -> Generated:
        self._note(prompt, (), shown)
        ids = self.tokenizer(self.reply, add_special_tokens=False)["input_ids"]
        sure = [[float(token == other) for other in watch] for token in ids]
        return Generated(ids, [-0.1 * (place % 3) for place in range(len(ids))], self.doubts or sure)

    def chat(self, prompt: str, shown: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        self._note(prompt, (), shown)
        return self.reply

    def score_options(self, prompt: str, options: Sequence[str], shown: FrameBatch | None = None) -> list[OptionScore]:
        self._note(prompt, options, shown)
        return [OptionScore(self.likes(prompt, option), len(option.split())) for option in options]

    def next_log_probs(
        self, prompt: str, beginnings: Sequence[Sequence[int]], shown: FrameBatch | None = None
    ) -> torch.Tensor:
        """The chances of a time after a beginning of times: those of the words "begin … time"."""
        rows = []
        for beginning in beginnings:
            said = self.tokenizer.convert_ids_to_tokens(list(beginning))
            words = text.time_words()
            self._note(prompt, said, shown)
            row = torch.full((len(self.tokenizer),), -100.0)
            row[self.tokenizer.convert_tokens_to_ids(words)] = torch.tensor(
                [self.likes(prompt, " ".join([*said, word])) for word in words]
            )
            rows.append(row.log_softmax(-1))
        return torch.stack(rows)


def model(core: Any) -> NativeModel:
    return NativeModel(core)


def test_it_can_do_everything_that_strategies_ask_for(tokenizer: Any) -> None:
    made = model(Core(tokenizer))
    for able in (VideoChat, Scoring, Recognizer, Grounder, EventCaptioner):
        assert isinstance(made, able)
    assert made.caveat == CAVEAT
    assert made.prompts["neutral"] == ""


# ---- events -----------------------------------------------------------------------------------------------------


def test_events_are_read_in_time_order_with_the_mean_probability_of_their_words(tokenizer: Any) -> None:
    core = Core(tokenizer, "2.6 1.9 blue box leaves\njunk\n0.6 1.1 red ball hits blue box\n")
    found = model(core).events(frames([0.0, 1.0, 2.0, 3.0]))
    assert core.asked == [("events", (), TOLD)]
    assert [e.caption for e in found] == ["red ball hits blue box", "blue box leaves"]
    # 0.6 is told of no frame: it is taken as it is said, two sevenths of the way from 0.4 to 1.1.
    assert [e.span.start for e in found] == pytest.approx([2 / 7, 2.0])
    assert [e.span.end for e in found] == [1.0, 3.0]
    # Five tokens and a newline; "junk" in four pieces and a newline; seven tokens.
    last, first = (sum(-0.1 * (place % 3) for place in places) / len(places) for places in (range(5), range(11, 18)))
    assert [e.score for e in found] == pytest.approx([math.exp(first), math.exp(last)])


def test_a_time_between_two_frames_is_the_mean_of_what_the_model_is_torn_between(tokenizer: Any) -> None:
    core = Core(tokenizer, "1.1 2.6 red ball hits blue box\n")
    core.doubts = [[0.0, 0.75, 0.25, 0.0]] + [[0.2, 0.0, 0.3, 0.3]] * 7  # of 0.4, 1.1, 1.9 and 2.6
    (event,) = model(core).events(frames([0.0, 1.0, 2.0, 3.0]))
    # A quarter of the way from the second frame to the third, and the middle between the third and the fourth.
    assert (event.span.start, event.span.end) == pytest.approx((1.25, 2.5))


def test_nothing_said_is_nothing_found(tokenizer: Any) -> None:
    assert model(Core(tokenizer, "")).events(frames([0.0])) == []
    assert model(Core(tokenizer, "\n\nred ball\n")).events(frames([0.0])) == []


def test_a_line_that_was_cut_off_still_counts(tokenizer: Any) -> None:
    (event,) = model(Core(tokenizer, "0.5 1.0 red ball")).events(frames([0.0, 1.0]))
    assert event.caption == "red ball"


# ---- the told clock ---------------------------------------------------------------------------------------------

LONG = [0.0, 60.0, 120.0, 300.0]
"""A tenth of the told clock is seconds of these frames: told at 1.125 and 1.875, the two in the middle are 1.1 and 1.9
in words."""


@pytest.mark.parametrize("times", [LONG, [0.0, 1.0, 2.0, 3.0], [0.1, 0.2, 0.25, 9.0], [50.0, 50.1, 50.2, 50.3]])
def test_whatever_the_times_of_the_frames_the_model_is_told_the_same(tokenizer: Any, times: list[float]) -> None:
    core = Core(tokenizer, likes=lambda prompt, option: 0.0)
    made, shown = model(core), frames(times, key="k")
    made.events(shown)
    made.chat("why?", shown)
    made.score_options("why?", ["box"], shown)
    made.ground(Footage.from_frames(shown), "box leaves")
    assert all(told == TOLD for _, _, told in core.asked)
    assert [prompt for prompt, _, _ in core.asked[:4]] == ["events", "why?", "why?", "when box leaves"]
    assert set(core.keys) == {"k on the told clock"}  # not to be found in a cache as the frames with their own times


def test_answers_are_in_the_seconds_of_the_video(tokenizer: Any) -> None:
    (event,) = model(Core(tokenizer, "1.1 1.9 red ball hits blue box\n")).events(frames(LONG))
    assert (event.span.start, event.span.end) == (60.0, 120.0)
    (event,) = model(Core(tokenizer, "1.1 1.9 red ball hits blue box\n")).events(frames([9.0, 9.1, 9.2, 9.5]))
    assert (event.span.start, event.span.end) == (9.1, 9.2)
    # Four sevenths of the way from 0.4 to 1.1; half a second behind 2.6, at 100 seconds in 0.75 as on the average.
    (event,) = model(Core(tokenizer, "0.8 3.1 red ball hits blue box\n")).events(frames(LONG))
    assert (event.span.start, event.span.end) == pytest.approx((60.0 * 4 / 7, 300.0 + 100.0 * 2 / 3))


def test_times_in_prompts_options_and_replies_change_with_the_clock(tokenizer: Any) -> None:
    core = Core(tokenizer, "from 1.1 to 1.9, not 2.1")  # two sevenths of the way from 120 to 300
    made = model(core)
    assert made.chat("events\n60.0-120.0 s: box\nwhy 3?", frames(LONG)) == "from 60.0 to 120.0, not 171.4"
    assert core.asked[-1][0] == "events\n1.1 1.9 box\nwhy 3?"
    made.score_options("at 60.0 or later", ["at 120.0", "never"], frames(LONG))
    assert core.asked[-1][:2] == ("at 1.1 or later", ("at 1.9", "never"))


def test_records_of_a_long_video_are_read_without_its_frames_too(tokenizer: Any) -> None:
    core = Core(tokenizer, "30.0")
    assert model(core).chat("events\n60.0-120.0 s: box\nwhen box") == "60.0"
    assert core.asked == [("events\n30.0 60.0 box\nwhen box", (), None)]


def test_where_there_are_frames_words_do_not_set_the_clock(tokenizer: Any) -> None:
    core = Core(tokenizer)
    model(core).chat("what costs 300.0 euros at 5.0", frames([0.0, 5.0]))
    far = 1.125 + (300.0 - 5.0) * 0.75 / 5.0
    assert core.asked == [(f"what costs {far:.1f} euros at 1.1", (), TOLD[:2])]
    model(core).chat("what costs 9000.0 euros at 5.0", frames([0.0, 5.0]))
    assert core.asked[-1][0] == "what costs 102.3 euros at 1.1"  # the last time there is a word for


def test_moments_of_a_long_video_are_in_its_own_seconds(tokenizer: Any) -> None:
    core = Core(tokenizer, likes=lambda prompt, option: 0.0 if option in ("1.1", "1.1 1.9") else -50.0)
    best = model(core).ground(footage(LONG), "box leaves")[0]
    assert (best.start, best.end) == (60.0, 120.0)


# ---- recognition ------------------------------------------------------------------------------------------------


def test_a_record_an_event(tokenizer: Any) -> None:
    core = Core(tokenizer, "0.4 1.1 red ball hits blue box\n1.9 2.6 blue box leaves\n")
    found = model(core).recognize(footage([0.0, 1.0, 2.0, 3.0]), goal="not used")
    assert [(r.caption, r.clip) for r in found.records] == [("red ball hits blue box", None), ("blue box leaves", None)]
    assert [(r.start, r.end) for r in found.records] == [(0.0, 1.0), (2.0, 3.0)]
    assert all(r.source == "native-small" and 0 < (r.confidence or 0) <= 1 for r in found.records)


def test_a_record_a_clip_from_its_longest_event(tokenizer: Any) -> None:
    core = Core(tokenizer, "0.4 0.6 red ball hits blue box\n0.6 1.1 blue box leaves\n")
    times = [0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0]
    found = model(core).recognize(footage(times, clips=[(1.0, 3.0), (4.0, 6.0)]))
    assert [(r.start, r.end, r.clip, r.caption) for r in found.records] == [
        (1.0, 3.0, 1, "blue box leaves"),
        (4.0, 6.0, 2, "blue box leaves"),
    ]
    # Each clip has its own clock, as in training.
    assert [times for _, _, times in core.asked] == [TOLD[:2], TOLD[:2]]


def test_a_clip_in_which_nothing_is_seen_keeps_its_place(tokenizer: Any) -> None:
    found = model(Core(tokenizer, "")).recognize(footage([0.0, 1.0], clips=[(0.0, 2.0)]))
    assert [(r.start, r.end, r.clip, r.caption, r.confidence) for r in found.records] == [(0.0, 2.0, 1, "", None)]


def test_candidates_are_chosen_by_the_mean_likelihood_of_their_words(tokenizer: Any) -> None:
    likes = {"red ball": -3.0, "blue box leaves": -3.5}  # over four and over five words
    core = Core(tokenizer, "0.5 1.0 junk\n", lambda prompt, option: likes[option.partition("1.0 ")[2]])
    found = model(core).recognize(footage([0.0, 1.0]), candidates=list(likes))
    assert core.asked[-1][:2] == ("events", ("0.5 1.0 red ball", "0.5 1.0 blue box leaves"))
    assert [record.caption for record in found.records] == ["blue box leaves"]


@pytest.mark.parametrize("step", [60.0, 0.75, 0.01])
def test_candidates_are_scored_at_the_times_that_the_model_said(tokenizer: Any, step: float) -> None:
    core = Core(tokenizer, "1.1 1.9 junk\n")
    found = model(core).recognize(footage([place * step for place in range(4)]), candidates=["red ball", "blue box"])
    assert core.asked[-1] == ("events", ("1.1 1.9 red ball", "1.1 1.9 blue box"), TOLD)
    assert (found.records[0].start, found.records[0].end) == (step, 2 * step)
    assert found.records[0].caption == "red ball"


# ---- moments ----------------------------------------------------------------------------------------------------


def told_span(span: Span) -> tuple[float, float]:
    """The words of a moment of frames that stand every second, in hundredths."""
    start, end = (min(int(time), len(WORDS) - 2) for time in (span.start, span.end))
    return (
        round(WORDS[start] + (span.start - start) * (WORDS[start + 1] - WORDS[start]), 2),
        round(WORDS[end] + (span.end - end) * (WORDS[end + 1] - WORDS[end]), 2),
    )


def overlap_of(one: tuple[float, float], other: tuple[float, float]) -> float:
    """IoU of two moments by counting twentieths of a second."""
    a, b = (set(range(round(20 * start), round(20 * end))) for start, end in (one, other))
    return float(one == other) if not a | b else len(a & b) / len(a | b)


def with_middles(times: Sequence[float]) -> list[tuple[float, float]]:
    """Every pair of the times and the middles between them."""
    fine = sorted({*times, *(round((one + other) / 2, 2) for one, other in itertools.pairwise(times))})
    return list(itertools.combinations_with_replacement(fine, 2))


def pairs_model(tokenizer: Any, chances: dict[tuple[int, int], float]) -> tuple[NativeModel, Core]:
    """A model with these chances of first and last frames."""

    def likes(prompt: str, option: str) -> float:
        first, *last = map(float, option.split())
        spans = [(WORDS[start], WORDS[end], chance) for (start, end), chance in chances.items()]
        fits = [chance for start, end, chance in spans if start == first and last in ([], [end])]
        return math.log(max(sum(fits), 1e-12))

    core = Core(tokenizer, likes=likes)
    return model(core), core


def test_the_moment_with_the_largest_expected_overlap_comes_first_not_the_likeliest(tokenizer: Any) -> None:
    chances = {(0, 1): 0.40, (2, 3): 0.35, (2, 4): 0.25}
    made, core = pairs_model(tokenizer, chances)
    found = made.ground(footage([0.0, 1.0, 2.0, 3.0, 4.0]), "box leaves")
    assert {prompt for prompt, _, _ in core.asked} == {"when box leaves"}
    # Between the ends 2.6 and 3.4 lies a moment that overlaps with both.
    assert [told_span(span) for span in found[:4]] == [(1.9, 2.6), (1.9, 3.4), (1.9, 3.0), (0.4, 1.1)]
    both = 0.7 / 1.5
    middle = 0.35 * 0.7 / 1.1 + 0.25 * 1.1 / 1.5
    assert [s.score for s in found[:4]] == pytest.approx([0.35 + 0.25 * both, 0.25 + 0.35 * both, middle, 0.40])


@pytest.mark.parametrize("seed", range(5))
def test_expected_overlap_is_right_for_any_chances(tokenizer: Any, seed: int) -> None:
    times = range(5)
    drawn = torch.rand(25, generator=torch.Generator().manual_seed(seed)).tolist()
    chances = {pair: drawn[k] for k, pair in enumerate(itertools.combinations_with_replacement(times, 2))}
    total = sum(chances.values())
    made, _ = pairs_model(tokenizer, chances)
    found = made.ground(footage([float(time) for time in times]), "x")
    expected = {
        one: sum(p / total * overlap_of(one, (WORDS[i], WORDS[j])) for (i, j), p in chances.items())
        for one in with_middles(WORDS)
    }
    best = sorted(expected.values(), reverse=True)[:5]
    assert [span.score for span in found] == pytest.approx(best, abs=1e-6)
    for span in found:
        assert expected[told_span(span)] == pytest.approx(span.score, abs=1e-6)


def test_only_likely_starts_are_followed_up_and_nothing_ends_before_it_starts(tokenizer: Any) -> None:
    core = Core(tokenizer, likes=lambda prompt, option: float(option.split()[0]) - 9.0 * len(option.split()))
    found = model(core).ground(footage([float(time) for time in range(12)]), "x")
    words = ["8.6", "7.9", "7.1", "6.4", "5.6", "4.9"]  # of the last six frames, the last first
    assert [begun for _, begun, _ in core.asked] == [(), *((word,) for word in words)]
    assert all(6.0 <= span.start <= span.end <= 11.0 for span in found)


# ---- with a real, tiny core -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> NativeModel:
    folder = tmp_path_factory.mktemp("tokenizer")
    text.save_tokenizer(tokenizer, folder)
    sizes = {"width": 16, "image_size": 16, "stem_width": 16, "num_blocks": 1, "looks_back": True}
    projector = {"kind": "per-frame-causal", "num_queries": 2, "hidden_dim": 16, "num_heads": 2, "num_layers": 1}
    language = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    core = native_core(
        folder,
        tokenizer,
        encoder={"library": "conv", "model": sizes},
        projector={**projector, "intermediate_dim": 32},
        language={**language, "num_key_value_heads": 2, "initializer_range": 0.2},
    )
    return NativeModel(core.eval())


def test_all_parts_fit_together(tiny: NativeModel) -> None:
    video = footage([0.0, 0.8, 1.6, 2.4])
    spans = tiny.ground(video, "red ball hits blue box")
    assert 1 <= len(spans) <= 5
    assert [s.score for s in spans] == sorted((s.score for s in spans), key=lambda score: -(score or 0))
    assert all(0.0 <= s.start <= s.end <= 2.4 and 0 < (s.score or 0) <= 1 + 1e-9 for s in spans)
    assert tiny.ground(video, "red ball hits blue box") == spans
    assert all(event.caption and event.score for event in tiny.events(video.frames))
    assert isinstance(tiny.chat("why?", video.frames, max_new_tokens=4), str)
    assert isinstance(tiny.chat("why?", max_new_tokens=4), str)
    scores = tiny.score_options("why?", ["red ball", "blue box leaves"], video.frames)
    assert [score.num_tokens for score in scores] == [2, 3]
    assert all(score.log_likelihood < 0 for score in scores)


def test_chances_of_moments_are_those_of_their_words(tiny: NativeModel) -> None:
    times = [0.0, 0.8, 1.6, 2.4]
    video = footage(times)
    pairs = list(itertools.combinations_with_replacement(times, 2))
    words = [text.span_text(start, end) for start, end in pairs]
    scores = tiny.score_options("when red ball", words, video.frames)
    told = dict(zip(times, WORDS[:4], strict=True))
    chances = torch.tensor([score.log_likelihood for score in scores], dtype=torch.float64).softmax(0).tolist()
    expected = [
        sum(p * overlap_of(one, (told[start], told[end])) for (start, end), p in zip(pairs, chances, strict=True))
        for one in with_middles(WORDS[:4])
    ]
    found = tiny.ground(video, "red ball")
    assert [span.score for span in found] == pytest.approx(sorted(expected, reverse=True)[:5], rel=1e-4)


def test_the_pictures_decide_the_answers_and_when_they_were_sampled_does_not(tiny: NativeModel) -> None:
    one, other = frames([0.0, 1.0]), frames([0.3, 20.0])
    first = tiny.score_options("why?", ["red ball"], one)
    assert tiny.score_options("why?", ["red ball"], other) == first
    dark = FrameBatch(torch.zeros_like(one.data), one.pts_seconds)
    assert tiny.score_options("why?", ["red ball"], dark) != first


def test_a_candidate_is_chosen_for_each_clip(tiny: NativeModel) -> None:
    found = tiny.recognize(footage([0.0, 0.5, 1.0, 1.5], clips=[(0.0, 1.0), (1.0, 2.0)]), candidates=SAID[:2])
    assert [record.clip for record in found.records] == [1, 2]
    assert {record.caption for record in found.records} <= set(SAID[:2])


def test_no_frames_are_an_error_that_says_so_and_no_moment(tiny: NativeModel) -> None:
    nothing = frames([])
    for ask in (
        tiny.events,
        lambda shown: tiny.chat("why?", shown),
        lambda shown: tiny.score_options("a", ["b"], shown),
    ):
        with pytest.raises(ModelError, match="no frames"):
            ask(nothing)
    assert tiny.ground(Footage.from_frames(nothing, duration=0.0), "red ball") == []


def test_weights_on_disk_give_the_same_model_and_other_weights_another_fingerprint(
    tiny: NativeModel, tmp_path: Path
) -> None:
    tiny.core.save_pretrained(tmp_path)
    again = native(str(tmp_path), name="mine")
    assert again.name == "mine"
    assert weights_folder(str(tmp_path)) == tmp_path
    video = footage([0.0, 1.0, 2.0])
    for one, other in zip(again.ground(video, "red ball"), tiny.ground(video, "red ball"), strict=True):
        assert (one.start, one.end, one.score) == pytest.approx((other.start, other.end, other.score))
    before = again.fingerprint
    assert before != again.core.fingerprint
    with torch.no_grad():
        next(again.core.projector.parameters()).add_(1.0)
    assert again.fingerprint != before


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/folder", ""])
def test_weights_that_are_nowhere_are_named(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingWeightsError, match="no native model at") as error:
        native(name)
    assert "native-small" in str(error.value)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vidcausal.json").write_text('{"format": 99}')
    with pytest.raises(WeightsError, match="format 99"):
        native(str(tmp_path))
    (tmp_path / "vidcausal.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        native(str(tmp_path))


def test_a_core_is_a_video_lm(tiny: NativeModel) -> None:
    assert isinstance(tiny.core, VideoLM)
    assert tiny.core.time_format == text.TIME_FORMAT


def test_wording_and_caveat_stay_when_records_are_remembered(tokenizer: Any, tmp_path: Path) -> None:
    core = Core(tokenizer, "0.5 1.0 red ball\n")
    made = model(core)
    cached: Any = CachedRecognizer(made, DiskCache(tmp_path))
    assert cached.prompts is made.prompts
    assert cached.caveat == CAVEAT
    video = footage([0.0, 1.0])
    assert cached.recognize(video) == cached.recognize(video) == made.recognize(video)
    assert len(core.asked) == 2
    assert cached.ground(video, "x") == made.ground(video, "x")


def test_of_many_frames_it_looks_at_as_many_as_in_training(tokenizer: Any) -> None:
    core = Core(tokenizer, "0.4 1.1 red ball hits blue box\n")
    times = [0.1 * number for number in range(64)]
    (event,) = model(core).events(frames(times, key="k"))
    assert core.asked[-1][2] == pytest.approx([0.375 + 0.75 * part for part in range(16)])
    assert torch.equal(core.pictures[-1], frames(times).data[2::4])
    assert core.keys == ["k 16 of 64 on the told clock"]
    # The frames that it looks at stand every 0.4 seconds from 0.2 on.
    assert (event.span.start, event.span.end) == pytest.approx((0.2, 0.6), abs=1e-9)
    model(core).recognize(footage(times, clips=[(0.0, 3.2)]))
    assert core.asked[-1][2] == pytest.approx([0.375 + 0.75 * part for part in range(6)])
    for count, looked_at in ((16, 16), (17, 16), (24, 16)):
        model(core).chat("why?", frames(times[:count]))
        assert len(core.asked[-1][2] or []) == looked_at


@pytest.mark.parametrize(
    "prompt", ["clip 1 0.5 1.5\nclip 2 2.5 3.0\norder tea", "Clip 1: red\nClip 2: blue\norder tea"]
)
def test_of_shuffled_clips_it_looks_at_every_title_card(tokenizer: Any, prompt: str) -> None:
    core = Core(tokenizer)
    times = [0.1 * number for number in range(64)]
    for count, looked_at in ((15, 15), (18, 18), (20, 20), (21, 20), (64, 20)):
        model(core).chat(prompt, frames(times[:count]))
        model(core).score_options(prompt, ["1, 2"], frames(times[:count]))
        step = min(0.75, 12 / looked_at)
        even = [pytest.approx(step * (part + 0.5)) for part in range(looked_at)]
        assert [told for _, _, told in core.asked[-2:]] == [even, even]
