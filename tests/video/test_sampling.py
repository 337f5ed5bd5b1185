from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.types import Span
from vidcausal.video.probe import VideoInfo
from vidcausal.video.sampling import (
    At,
    Clips,
    Fps,
    KeepAll,
    NearestKeyframe,
    SamplingPolicy,
    SceneChanges,
    Uniform,
)


def make_info(pts: Any, keyframes: Any = (0,), tail: float = 0.1) -> VideoInfo:
    times = np.asarray(pts, dtype=np.float64)
    return VideoInfo(
        path="x", digest="d", size_bytes=1, container="mov", codec="h264", pixel_format="yuv420p", width=4, height=4,
        rotation=0, pts_seconds=times, keyframes=np.asarray(keyframes, dtype=np.int64), start_offset=0.0,
        duration=float(times[-1] + tail),
    )  # fmt: skip


TEN = make_info(np.arange(100) / 10, keyframes=(0, 30, 60, 90))
HELD = make_info([0.0, 0.1, 5.0, 5.1, 9.0], tail=1.0)


def test_uniform_is_rounded_linspace() -> None:
    for n in (1, 2, 7, 32, 99, 100):
        expected = TEN.pts_seconds[np.unique(np.linspace(0, 99, n).round().astype(int))]
        assert Uniform(n).plan(TEN) == expected.tolist()
    assert Uniform(500).plan(TEN) == TEN.pts_seconds.tolist()


def test_uniform_segment_middle() -> None:
    assert Uniform(4, "segment_middle").plan(TEN) == pytest.approx([1.2, 3.7, 6.2, 8.7])
    assert Uniform(1, "segment_middle").plan(TEN) == pytest.approx([5.0])
    assert Uniform(200, "segment_middle").plan(TEN) == TEN.pts_seconds.tolist()


def test_spans_hold_half_open_and_never_give_nothing() -> None:
    assert Uniform(100).plan(TEN, Span(2.0, 3.0)) == pytest.approx(np.arange(20, 30) / 10)
    assert Uniform(4).plan(HELD, Span(2.0, 3.0)) == [0.1]
    assert Uniform(4).plan(HELD, Span(50.0, 60.0)) == [9.0]
    assert Fps(2).plan(HELD, Span(2.0, 3.0)) == [0.1]


def test_fps_takes_what_is_on_the_screen() -> None:
    assert Fps(1).plan(TEN) == pytest.approx(range(10))
    assert Fps(1).plan(HELD) == pytest.approx([0.0, 0.1, 5.0, 5.1, 9.0])
    assert Fps(0.5).plan(HELD) == pytest.approx([0.0, 0.1, 5.1])
    assert Fps(1000).plan(TEN) == TEN.pts_seconds.tolist()


def test_fps_over_its_cap_is_spread() -> None:
    plan = Fps(2, max_frames=5).plan(TEN)
    assert len(plan) == 5
    assert plan[0] == 0.0
    assert plan[-1] == pytest.approx(9.5)
    steps = np.diff(plan)
    assert steps.max() - steps.min() <= 0.5 + 1e-9


def test_clips() -> None:
    plan = np.asarray(Clips(3, 4, 1.0).plan(TEN))
    assert len(plan) == 12
    assert plan[:4] == pytest.approx([0.1, 0.3, 0.6, 0.8])
    assert plan[-4:].min() >= 8.9
    middle = Clips(1, 2, 2.0).plan(TEN)
    assert 4.0 <= middle[0] < middle[1] <= 6.0


def test_nearest_keyframe() -> None:
    assert NearestKeyframe(At((1.4, 1.6, 7.0, 9.9))).plan(TEN) == [0.0, 3.0, 6.0, 9.0]
    assert NearestKeyframe(Uniform(4)).plan(TEN, Span(2.5, 7.0)) == [3.0, 6.0]
    assert NearestKeyframe(Uniform(4)).plan(TEN, Span(4.0, 5.0)) == [3.0, 6.0]
    none = make_info(np.arange(5), keyframes=())
    assert NearestKeyframe(Uniform(2)).plan(none) == [0.0, 4.0]


def test_scene_changes() -> None:
    assert SceneChanges((5.0, 2.0)).plan(TEN) == pytest.approx([1.0, 3.5, 7.5])
    assert SceneChanges(()).plan(TEN) == pytest.approx([5.0])
    assert len(SceneChanges((2.0, 5.0), 2).plan(TEN)) == 6


def test_at_and_keep_all() -> None:
    assert At((3.04, 3.0, -1, 99)).plan(TEN) == pytest.approx([0.0, 3.0, 9.9])
    assert At((4.9,)).plan(HELD) == [0.1]
    assert At((4.9998,)).plan(HELD) == [5.0]
    assert KeepAll(1000).plan(TEN) == TEN.pts_seconds.tolist()
    assert len(KeepAll(7).plan(TEN)) == 7


POLICIES: list[SamplingPolicy] = [
    Uniform(5), Uniform(5, "segment_middle"), Fps(2.0), Fps(3.0, 4), Clips(3, 4, 0.7), NearestKeyframe(Uniform(6)),
    SceneChanges((0.3, 1.0), 2), At((0.0, 0.5)), KeepAll(9),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0.001, 3.0), min_size=0, max_size=40),
    span=st.one_of(st.none(), st.tuples(st.floats(0, 30), st.floats(0, 30))),
    policy=st.sampled_from(POLICIES),
)
def test_every_plan_is_from_the_index_ascending_and_not_empty(
    gaps: list[float], span: tuple[float, float] | None, policy: SamplingPolicy
) -> None:
    pts = np.concatenate([[0.0], np.cumsum(gaps)])
    info = make_info(pts, keyframes=range(0, len(pts), 7))
    plan = policy.plan(info, None if span is None else Span(min(span), max(span)))
    assert plan
    assert set(plan) <= set(info.pts_seconds.tolist())
    assert all(a < b for a, b in zip(plan, plan[1:], strict=False))


def test_keys_name_the_policy_and_all_its_fields() -> None:
    assert Uniform(32).key == "uniform(num_frames=32,mode='endpoints')"
    assert NearestKeyframe(Fps(1)).key == "nearestkeyframe(fps(fps=1,max_frames=None))"
    assert len({policy.key for policy in POLICIES}) == len(POLICIES)
    for policy in POLICIES:
        assert isinstance(policy, SamplingPolicy)
        assert dataclasses.replace(policy).key == policy.key  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(0), "num_frames"),
        (lambda: Uniform(2.5), "whole number"),
        (lambda: Uniform(3, "middle"), "segment_middle"),
        (lambda: Fps(0), "fps"),
        (lambda: Fps(float("nan")), "fps"),
        (lambda: Fps(1, 0), "max_frames"),
        (lambda: Clips(0, 1), "num_clips"),
        (lambda: Clips(1, 1, -1.0), "clip_seconds"),
        (lambda: NearestKeyframe(3), "sampling policy"),
        (lambda: SceneChanges((float("inf"),)), "cut_seconds"),
        (lambda: SceneChanges((1.0,), 0), "frames_per_scene"),
        (lambda: At(()), "at least one"),
        (lambda: KeepAll(-1), "max_frames"),
    ],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
