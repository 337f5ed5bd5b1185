"""The told clock: even times for any frames, and back."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right

import pytest
import torch

from vidcausal.models import native_text as text
from vidcausal.models.native_clock import STEP, TOLD_SECONDS, Clock, TextClock, told_frames
from vidcausal.video.frames import FrameBatch

SEEDS = range(30)


def drawn(seed: int) -> tuple[list[float], random.Random]:
    """Times of 2 to 40 frames, from a few hundredths of a second to a minute apart."""
    rng = random.Random(seed)
    scale, now, times = rng.choice((0.1, 1.0, 60.0)), rng.choice((0.0, 5.0, 400.0)), []
    for _ in range(rng.randint(2, 40)):
        times.append(now)
        now += scale * rng.uniform(0.2, 1.0)
    return times, rng


def by_hand(second: float, times: list[float], step: float) -> float:
    """The told time of a second from its share of the way between two frames, or of the mean distance beyond them."""
    last = len(times) - 1
    mean = (times[-1] - times[0]) / last
    if second < times[0]:
        place = (second - times[0]) / mean
    elif second >= times[-1]:
        place = last + (second - times[-1]) / mean
    else:
        left = bisect_right(times, second) - 1
        place = left + (second - times[left]) / (times[left + 1] - times[left])
    return max(0.0, (place + 0.5) * step)


def answer_by_hand(word: float, times: list[float], step: float) -> float:
    """The second of a word in an answer from its share of the way between the words of two frames."""
    words = [in_words((place + 0.5) * step) for place in range(len(times))]
    mean = (times[-1] - times[0]) / (len(times) - 1)
    if word < words[0]:
        return max(0.0, times[0] - (words[0] - word) / step * mean)
    if word >= words[-1]:
        return times[-1] + (word - words[-1]) / step * mean
    left = bisect_right(words, word) - 1
    share = (word - words[left]) / (words[left + 1] - words[left])
    return (1 - share) * times[left] + share * times[left + 1]


def in_words(told: float) -> float:
    """A told time as the model reads and writes it."""
    return float(f"{told:.1f}")


# ---- what is told -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_only_how_many_frames_there_are_decides_what_is_told_of_them(seed: int) -> None:
    times, _ = drawn(seed)
    step = 0.75 if len(times) <= 16 else 12 / len(times)
    assert Clock(times).shown == pytest.approx([(place + 0.5) * step for place in range(len(times))])
    assert Clock([3.0 + 7.0 * time for time in times]).shown == Clock(times).shown


def test_up_to_sixteen_frames_stand_as_in_training_and_more_share_the_same_twelve_seconds() -> None:
    assert STEP == 0.75
    assert TOLD_SECONDS == 12.0
    assert Clock([0.0, 9.0, 10.0]).shown == [0.375, 1.125, 1.875]
    for count in (16, 17, 24, 96):
        shown = Clock([float(number) for number in range(count)]).shown
        assert shown[0] + shown[-1] == pytest.approx(12.0)
        assert shown[1] - shown[0] == pytest.approx(12.0 / count)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_second_is_told_by_its_place_among_the_frames(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    assert [clock.told(time) for time in times] == clock.shown
    assert [clock.real(time) for time in clock.shown] == times
    length = times[-1] - times[0]
    for _ in range(50):
        second = rng.uniform(max(0.0, times[0] - length), times[-1] + length)
        assert clock.told(second) == pytest.approx(by_hand(second, times, clock.shown[0] * 2), abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_there_and_back_again(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    length = times[-1] - times[0]
    for _ in range(50):
        second = rng.uniform(times[0], times[-1] + length)
        assert clock.real(clock.told(second)) == pytest.approx(second)
        told = rng.uniform(clock.shown[0], 2 * clock.shown[-1])
        assert clock.told(clock.real(told)) == pytest.approx(told)


@pytest.mark.parametrize("seed", SEEDS)
def test_later_is_told_later_and_nothing_is_before_0(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    length = times[-1] - times[0]
    first = max(0.0, times[0] - length)
    last = 2 * clock.shown[-1]
    for way, low, high in (
        (clock.told, first, times[-1] + length),
        (clock.real, 0.0, last),
        (clock.answered, 0.0, last),
    ):
        found = [way(value) for value in sorted(rng.uniform(low, high) for _ in range(100))]
        assert min(found) >= 0.0
        assert all(one < other or one == other == 0.0 for one, other in itertools.pairwise(found))
        assert found[-1] > found[0]


def test_before_the_first_frame_the_clock_goes_on_as_far_as_0() -> None:
    clock = Clock([10.0, 12.0, 14.0])
    assert clock.told(9.5) == pytest.approx(0.375 - 0.75 / 4)
    assert clock.told(2.0) == 0.0
    assert clock.real(0.0) == pytest.approx(9.0)
    assert Clock([0.1, 2.1]).real(0.0) == 0.0  # a step and a half before the second frame would be before the video


def test_nothing_is_told_beyond_the_last_time_that_there_is_a_word_for() -> None:
    assert text.LONGEST == 102.3
    clock = Clock([0.0, 1.0, 2.0, 3.0])  # told 0.75 of a second a second, from 0.375 on
    assert clock.told(135.0) == pytest.approx(101.625)
    assert (clock.told(136.0), clock.told(1e6)) == (102.3, 102.3)
    assert clock.told_text("135.0 136.0 box at 99999.9") == "101.6 102.3 box at 102.3"
    assert Clock([]).told(500.0) == 102.3
    assert TextClock("10.0").told(500.0) == 102.3


# ---- what is answered -------------------------------------------------------------------------------------------


def test_a_time_in_an_answer_is_read_between_the_words_of_frames() -> None:
    clock = Clock([0.0, 60.0, 120.0, 300.0])
    assert [clock.answered(word) for word in (0.4, 1.1, 1.9, 2.6)] == [0.0, 60.0, 120.0, 300.0]
    assert clock.answered(1.5) == pytest.approx(90.0)
    assert clock.answered(0.6) == pytest.approx(60.0 * 2 / 7)
    assert clock.answered(2.1) == pytest.approx(120.0 + 180.0 * 2 / 7)
    # Beyond them it goes on at 100 seconds in 0.75, as on the average.
    assert clock.answered(3.2) == pytest.approx(380.0)
    assert Clock([10.0, 12.0, 14.0]).answered(0.1) == pytest.approx(9.2)
    assert clock.answered(0.0) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_words_of_frames_come_back_as_exactly_their_seconds(seed: int) -> None:
    times, _ = drawn(seed)
    clock = Clock(times)
    assert [clock.answered(in_words(told)) for told in clock.shown] == times
    told = " ".join(f"{told:.1f}" for told in clock.shown)
    assert clock.real_text(told) == " ".join(f"{time:.1f}" for time in times)


def test_so_they_do_for_any_number_of_frames_whose_words_differ() -> None:
    for count in range(1, 120):
        times = [7.0 * number for number in range(count)]
        clock = Clock(times)
        assert [clock.answered(in_words(told)) for told in clock.shown] == times


@pytest.mark.parametrize("seed", SEEDS)
def test_any_answer_is_read_by_its_place_among_the_words_of_frames(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    for _ in range(50):
        word = rng.uniform(0.0, 2 * clock.shown[-1])
        expected = answer_by_hand(word, times, clock.shown[0] * 2)
        assert clock.answered(word) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_where_frames_share_a_word_answers_are_read_as_they_are() -> None:
    clock = Clock([float(number) for number in range(240)])  # told every twentieth of a second, from a fortieth on
    assert clock.answered(6.0) == pytest.approx(119.5)  # the word of the frames at 119 and at 120
    assert clock.answered(0.025) == pytest.approx(0.0, abs=1e-9)
    for tenth in range(121):
        assert clock.answered(tenth / 10) == clock.real(tenth / 10)


def test_frames_of_one_second_share_a_word_and_are_one_frame() -> None:
    clock = Clock([0.0, 1.0, 1.0, 1.0, 2.0])
    assert [clock.answered(word) for word in (0.4, 1.1, 1.9)] == [0.0, 1.0, 2.0]
    assert Clock([5.0]).answered(0.4) == Clock([5.0, 5.0]).answered(0.4) == 5.0
    assert Clock([5.0]).answered(1.4) == pytest.approx(6.0)


def test_without_frames_answers_are_read_as_they_are() -> None:
    assert Clock([]).answered(7.5) == 7.5
    assert TextClock("10.0").answered(7.5) == 7.5
    quarters = TextClock("300.0")
    for word in (0.0, 0.2, 1.0, 50.0, 75.0):
        assert quarters.answered(word) == pytest.approx(4 * word)


# ---- few frames, and equal ones ---------------------------------------------------------------------------------


def test_of_one_frame_seconds_are_as_long_as_they_are() -> None:
    clock = Clock([5.0])
    assert clock.shown == [0.375]
    assert (clock.told(5.0), clock.told(6.0), clock.told(1.0)) == (0.375, 1.375, 0.0)
    assert (clock.real(0.375), clock.real(1.375)) == (5.0, 6.0)
    assert clock.nearest(77.0) == 0.375


def test_frames_of_one_second_are_told_the_same_and_count_once() -> None:
    clock = Clock([0.0, 1.0, 1.0, 1.0, 2.0])
    assert clock.shown == [0.375, 1.125, 1.125, 1.125, 1.875]
    assert (clock.told(1.0), clock.real(1.125), clock.told(1.5)) == (1.125, 1.0, 1.5)
    still = Clock([3.0, 3.0])
    assert still.shown == [0.375, 0.375]
    assert (still.told(3.0), still.real(0.375), still.real(1.375)) == (3.0 - 2.625, 3.0, 4.0)
    many = Clock([float(number // 2) for number in range(32)])
    assert many.shown[-1] == 15.5 * 0.75


def test_without_frames_nothing_changes() -> None:
    clock = Clock([])
    assert clock.shown == []
    assert (clock.told(7.5), clock.real(7.5)) == (7.5, 7.5)


# ---- the nearest frame ------------------------------------------------------------------------------------------


def test_the_nearest_frame_is_the_earlier_one_of_two() -> None:
    clock = Clock([0.0, 1.0, 2.0])
    assert clock.nearest(1.4) == 1.125
    assert clock.nearest(1.5) == 1.125
    assert clock.nearest(1.6) == 1.875
    assert (clock.nearest(-3.0), clock.nearest(9.0)) == (0.375, 1.875)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_frame_is_nearer(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    for _ in range(50):
        second = rng.uniform(0.0, 1.5 * times[-1])
        place = clock.shown.index(clock.nearest(second))
        assert abs(times[place] - second) == min(abs(time - second) for time in times)


# ---- texts ------------------------------------------------------------------------------------------------------


def test_times_in_a_text_are_told_and_put_back_and_other_numbers_stay() -> None:
    clock = Clock([0.0, 60.0, 120.0])
    real = "clip 1 0.0 60.0\nwhy 2 or 2.55 at 90.0?"
    told = "clip 1 0.4 1.1\nwhy 2 or 2.55 at 1.5?"
    assert clock.told_text(real) == told
    assert clock.real_text(told) == real
    assert clock.real_text("0.6 1.5 box 3") == "17.1 90.0 box 3"
    assert clock.told_text("red box") == clock.real_text("red box") == "red box"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_text_comes_back_but_for_the_tenths_it_is_written_in(seed: int) -> None:
    times, rng = drawn(seed)
    clock = Clock(times)
    seconds = [round(rng.uniform(times[0], times[-1]), 1) for _ in range(20)]
    words = clock.told_text(" ".join(f"{second:.1f}" for second in seconds))
    back = clock.real_text(words)
    for second, word, found in zip(seconds, words.split(), back.split(), strict=True):
        assert float(found) == pytest.approx(answer_by_hand(float(word), times, clock.shown[0] * 2), abs=0.0501)
        # Half a tenth is lost in the word of the second and as much in those of the frames around it.
        low, high = (clock.real(clock.told(second) + error) for error in (-0.1, 0.1))
        assert low - 0.051 <= float(found) <= high + 0.051


@pytest.mark.parametrize("longest", [0.0, 0.3, 99.9, 102.3])
def test_a_text_alone_keeps_its_times_where_there_are_words_for_them(longest: float) -> None:
    words = f"events\n0.0 {longest:.1f} box\nwhen box"
    clock = TextClock(words)
    assert clock.told_text(words) == clock.real_text(words) == words
    assert clock.shown == []


@pytest.mark.parametrize(
    ("longest", "scale"), [(102.3, 1.0), (102.4, 0.5), (204.6, 0.5), (204.7, 0.25), (3600.0, 1 / 64)]
)
def test_a_text_alone_is_halved_until_its_last_time_has_a_word(longest: float, scale: float) -> None:
    clock = TextClock(f"{longest:.1f} 1.0 why 9999?")
    assert clock.told(longest) == pytest.approx(longest * scale)
    assert clock.told(longest) <= text.LONGEST
    assert 2 * clock.told(longest) > text.LONGEST
    for second in (0.0, 0.4, 1.0, 55.5, longest):
        assert clock.told(second) == pytest.approx(second * scale)
        assert clock.real(clock.told(second)) == pytest.approx(second)
    assert clock.told_text(f"{longest:.1f}") in text.time_words()


def test_a_text_without_times_has_a_clock_too() -> None:
    assert TextClock("why?").real_text("2.5 4.0 box") == "2.5 4.0 box"


# ---- frames -----------------------------------------------------------------------------------------------------


def test_frames_get_told_times_and_another_key_and_nothing_else_changes() -> None:
    data = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    batch = FrameBatch(data, torch.tensor([0.0, 2.0, 9.0], dtype=torch.float64), key="k")
    told, clock = told_frames(batch)
    assert told.pts_seconds.tolist() == clock.shown == [0.375, 1.125, 1.875]
    assert told.pts_seconds.dtype == torch.float64
    assert torch.equal(told.data, data)
    assert told.key not in (None, "k")
    assert batch.pts_seconds.tolist() == [0.0, 2.0, 9.0]
    assert clock.real(1.875) == 9.0
    assert told_frames(FrameBatch(data, batch.pts_seconds))[0].key is None
