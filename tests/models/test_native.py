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

    def _note(self, prompt: str, options: Sequence[str], shown: FrameBatch | None) -> None:
        self.asked.append((prompt, tuple(options), None if shown is None else shown.pts_seconds.tolist()))
        self.keys.append(None if shown is None else shown.key)

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
    core = Core(tokenizer, "4.0 2.5 blue box leaves\njunk\n0.5 1.0 red ball hits blue box\n")
    found = model(core).events(frames([0.0, 1.0, 2.5, 4.0]))
    assert core.asked == [("events", (), [0.0, 1.0, 2.5, 4.0])]
    assert [(e.span, e.caption) for e in found] == [
        (Span(0.5, 1.0), "red ball hits blue box"),
        (Span(2.5, 4.0), "blue box leaves"),
    ]
    # Five tokens and a newline; "junk" in four pieces and a newline; seven tokens.
    last, first = (sum(-0.1 * (place % 3) for place in places) / len(places) for places in (range(5), range(11, 18)))
    assert [e.score for e in found] == pytest.approx([math.exp(first), math.exp(last)])


def test_a_time_between_two_frames_is_the_mean_of_what_the_model_is_torn_between(tokenizer: Any) -> None:
    core = Core(tokenizer, "1.0 3.0 red ball hits blue box\n")
    core.doubts = [[0.0, 0.75, 0.25, 0.0]] + [[0.2, 0.0, 0.3, 0.3]] * 7  # of 0.0, 1.0, 2.0 and 3.0 seconds
    (event,) = model(core).events(frames([0.0, 1.0, 2.0, 3.0]))
    assert (event.span.start, event.span.end) == pytest.approx((1.25, 2.5))


def test_nothing_said_is_nothing_found(tokenizer: Any) -> None:
    assert model(Core(tokenizer, "")).events(frames([0.0])) == []
    assert model(Core(tokenizer, "\n\nred ball\n")).events(frames([0.0])) == []


def test_a_line_that_was_cut_off_still_counts(tokenizer: Any) -> None:
    (event,) = model(Core(tokenizer, "0.5 1.0 red ball")).events(frames([0.0, 1.0]))
    assert event.caption == "red ball"


# ---- long videos ------------------------------------------------------------------------------------------------

LONG = [0.0, 60.0, 120.0, 300.0]
"""Shown at a quarter of the clock: 0, 15, 30 and 75 seconds."""


def test_a_long_video_is_shown_at_a_slower_clock_and_answers_are_in_its_own_seconds(tokenizer: Any) -> None:
    core = Core(tokenizer, "15.0 30.0 red ball hits blue box\n")
    (event,) = model(core).events(frames(LONG, key="k"))
    assert core.asked[0][2] == [0.0, 15.0, 30.0, 75.0]
    assert core.keys == ["k x0.25"]
    assert event.span == Span(60.0, 120.0)


def test_times_in_prompts_options_and_replies_change_with_the_clock(tokenizer: Any) -> None:
    core = Core(tokenizer, "from 15.0 to 30.0")
    made = model(core)
    assert made.chat("events\n60.0-120.0 s: box\nwhy 3?", frames(LONG)) == "from 60.0 to 120.0"
    assert core.asked[-1][0] == "events\n15.0 30.0 box\nwhy 3?"
    made.score_options("at 60.0 or later", ["at 120.0", "never"], frames(LONG))
    assert core.asked[-1][:2] == ("at 15.0 or later", ("at 30.0", "never"))


def test_records_of_a_long_video_are_read_without_its_frames_too(tokenizer: Any) -> None:
    core = Core(tokenizer, "30.0")
    assert model(core).chat("events\n60.0-120.0 s: box\nwhen box") == "60.0"
    assert core.asked == [("events\n30.0 60.0 box\nwhen box", (), None)]


def test_a_short_video_keeps_its_clock_whatever_the_words_say(tokenizer: Any) -> None:
    core = Core(tokenizer)
    shown = frames([0.0, 5.0])
    model(core).chat("what costs 999.9 euros", shown)
    assert core.asked == [("what costs 999.9 euros", (), [0.0, 5.0])]


def test_moments_of_a_long_video_are_in_its_own_seconds(tokenizer: Any) -> None:
    core = Core(tokenizer, likes=lambda prompt, option: 0.0 if option in ("15.0", "15.0 30.0") else -50.0)
    best = model(core).ground(footage(LONG), "box leaves")[0]
    assert (best.start, best.end) == (60.0, 120.0)
    assert {time for _, _, times in core.asked for time in times or ()} == {0.0, 15.0, 30.0, 75.0}


# ---- recognition ------------------------------------------------------------------------------------------------


def test_a_record_an_event(tokenizer: Any) -> None:
    core = Core(tokenizer, "0.5 1.0 red ball hits blue box\n2.0 3.0 blue box leaves\n")
    found = model(core).recognize(footage([0.0, 1.0, 2.0, 3.0]), goal="not used")
    assert [(r.start, r.end, r.caption, r.clip) for r in found.records] == [
        (0.5, 1.0, "red ball hits blue box", None),
        (2.0, 3.0, "blue box leaves", None),
    ]
    assert all(r.source == "native-small" and 0 < (r.confidence or 0) <= 1 for r in found.records)


def test_a_record_a_clip_from_its_longest_event(tokenizer: Any) -> None:
    core = Core(tokenizer, "0.0 0.5 red ball hits blue box\n0.5 2.0 blue box leaves\n")
    times = [0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0]
    found = model(core).recognize(footage(times, clips=[(1.0, 3.0), (4.0, 6.0)]))
    assert [(r.start, r.end, r.clip, r.caption) for r in found.records] == [
        (1.0, 3.0, 1, "blue box leaves"),
        (4.0, 6.0, 2, "blue box leaves"),
    ]
    # As in training, a clip's times count from its first frame.
    assert [times for _, _, times in core.asked] == [[0.0, 1.0], [0.0, 1.0]]


def test_a_clip_in_which_nothing_is_seen_keeps_its_place(tokenizer: Any) -> None:
    found = model(Core(tokenizer, "")).recognize(footage([0.0, 1.0], clips=[(0.0, 2.0)]))
    assert [(r.start, r.end, r.clip, r.caption, r.confidence) for r in found.records] == [(0.0, 2.0, 1, "", None)]


def test_candidates_are_chosen_by_the_mean_likelihood_of_their_words(tokenizer: Any) -> None:
    likes = {"red ball": -3.0, "blue box leaves": -3.5}  # over four and over five words
    core = Core(tokenizer, "0.5 1.0 junk\n", lambda prompt, option: likes[option.partition("1.0 ")[2]])
    found = model(core).recognize(footage([0.0, 1.0]), candidates=list(likes))
    assert core.asked[-1][:2] == ("events", ("0.5 1.0 red ball", "0.5 1.0 blue box leaves"))
    assert [record.caption for record in found.records] == ["blue box leaves"]


def test_candidates_of_a_long_video_are_scored_at_its_clock(tokenizer: Any) -> None:
    core = Core(tokenizer, "15.0 30.0 junk\n")
    found = model(core).recognize(footage(LONG), candidates=["red ball", "blue box"])
    assert core.asked[-1] == ("events", ("15.0 30.0 red ball", "15.0 30.0 blue box"), [0.0, 15.0, 30.0, 75.0])
    assert (found.records[0].start, found.records[0].caption) == (60.0, "red ball")


# ---- moments ----------------------------------------------------------------------------------------------------


def overlap_of(one: tuple[float, float], other: tuple[float, float]) -> float:
    """IoU of two moments by counting twentieths of a second."""
    a, b = (set(range(round(20 * start), round(20 * end))) for start, end in (one, other))
    return float(one == other) if not a | b else len(a & b) / len(a | b)


def with_middles(times: Sequence[float]) -> list[tuple[float, float]]:
    """Every pair of the times and the middles between them."""
    fine = sorted({*times, *((one + other) / 2 for one, other in itertools.pairwise(times))})
    return list(itertools.combinations_with_replacement(fine, 2))


def pairs_model(tokenizer: Any, chances: dict[tuple[int, int], float]) -> tuple[NativeModel, Core]:
    def likes(prompt: str, option: str) -> float:
        first, *last = map(float, option.split())
        fits = [chance for (start, end), chance in chances.items() if start == first and last in ([], [end])]
        return math.log(max(sum(fits), 1e-12))

    core = Core(tokenizer, likes=likes)
    return model(core), core


def test_the_moment_with_the_largest_expected_overlap_comes_first_not_the_likeliest(tokenizer: Any) -> None:
    chances = {(0, 1): 0.40, (2, 3): 0.35, (2, 4): 0.25}
    made, core = pairs_model(tokenizer, chances)
    found = made.ground(footage([0.0, 1.0, 2.0, 3.0, 4.0]), "box leaves")
    assert {prompt for prompt, _, _ in core.asked} == {"when box leaves"}
    # Between the ends 3 and 4 lies a moment that overlaps with both.
    assert [(s.start, s.end) for s in found[:4]] == [(2.0, 3.0), (2.0, 4.0), (2.0, 3.5), (0.0, 1.0)]
    middle = 0.35 / 1.5 + 0.25 * 1.5 / 2
    assert [s.score for s in found[:4]] == pytest.approx([0.35 + 0.25 / 2, 0.25 + 0.35 / 2, middle, 0.40])


@pytest.mark.parametrize("seed", range(5))
def test_expected_overlap_is_right_for_any_chances(tokenizer: Any, seed: int) -> None:
    times = range(5)
    drawn = torch.rand(25, generator=torch.Generator().manual_seed(seed)).tolist()
    chances = {pair: drawn[k] for k, pair in enumerate(itertools.combinations_with_replacement(times, 2))}
    total = sum(chances.values())
    made, _ = pairs_model(tokenizer, chances)
    found = made.ground(footage([float(time) for time in times]), "x")
    expected = {
        one: sum(p / total * overlap_of(one, other) for other, p in chances.items())
        for one in with_middles([float(time) for time in times])
    }
    best = sorted(expected.values(), reverse=True)[:5]
    assert [span.score for span in found] == pytest.approx(best, abs=1e-6)
    for span in found:
        assert expected[span.start, span.end] == pytest.approx(span.score, abs=1e-6)


def test_only_likely_starts_are_followed_up_and_nothing_ends_before_it_starts(tokenizer: Any) -> None:
    core = Core(tokenizer, likes=lambda prompt, option: float(option.split()[0]) - 9.0 * len(option.split()))
    found = model(core).ground(footage([float(second) for second in range(12)]), "x")
    assert all(6.0 <= span.start <= span.end <= 11.0 for span in found)
    assert [begun for _, begun, _ in core.asked] == [(), *((f"{second}.0",) for second in range(11, 5, -1))]


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
    chances = torch.tensor([score.log_likelihood for score in scores], dtype=torch.float64).softmax(0).tolist()
    expected = [
        sum(p * overlap_of(one, other) for other, p in zip(pairs, chances, strict=True)) for one in with_middles(times)
    ]
    found = tiny.ground(video, "red ball")
    assert [span.score for span in found] == pytest.approx(sorted(expected, reverse=True)[:5], rel=1e-4)


def test_the_video_decides_the_answers(tiny: NativeModel) -> None:
    one, other = frames([0.0, 1.0]), frames([0.0, 2.0])
    first = tiny.score_options("why?", ["red ball"], one)
    assert tiny.score_options("why?", ["red ball"], other) != first  # the times
    dark = FrameBatch(torch.zeros_like(one.data), one.pts_seconds)
    assert tiny.score_options("why?", ["red ball"], dark) != first  # the pixels


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
    core = Core(tokenizer, "0.5 1.0 red ball hits blue box\n")
    times = [0.1 * number for number in range(64)]
    model(core).chat("why?", frames(times, key="k"))
    seen = core.asked[-1][2] or []
    assert len(seen) == 16
    assert seen == pytest.approx([0.1 * (4 * part + 2) for part in range(16)])
    assert core.keys == ["k 16 of 64"]
    model(core).recognize(footage(times, clips=[(0.0, 3.2)]))
    assert len(core.asked[-1][2] or []) == 6
    model(core).chat("why?", frames(times[:24]))
    assert len(core.asked[-1][2] or []) == 24
