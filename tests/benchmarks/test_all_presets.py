"""Every benchmark preset: it can be made, says what it misses, and its official file gives well-formed samples."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.choice import letter
from vidcausal.benchmarks.registry import create_benchmark
from vidcausal.config.presets import available, load_preset
from vidcausal.errors import DataError
from vidcausal.evaluation.grades import spans_of
from vidcausal.protocols import Benchmark
from vidcausal.types import TASKS, Sample

NAMES = available("benchmark")
OURS = ("questions", "worlds")
"""They read files of our own, not official ones."""
MOST_SECONDS = 30.0
"""Of processor time, for loading every official file that there is."""


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_benchmark_of_its_name(name: str) -> None:
    benchmark = create_benchmark(name, annotations="questions.json" if name == "questions" else None)
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    assert load_preset("benchmark", name)["_target_"].startswith("vidcausal.benchmarks.")


@pytest.mark.parametrize("name", NAMES)
def test_without_data_a_benchmark_says_what_it_needs(name: str, tmp_path: Path) -> None:
    for given in ({}, {"data_dir": str(tmp_path)}):
        if name == "worlds" and given:
            continue  # an empty folder is another message there
        with pytest.raises(DataError) as caught:
            list(create_benchmark(name, **given).samples())
        assert name in str(caught.value) or name in OURS
    with pytest.raises(DataError):
        list(create_benchmark(name, annotations=str(tmp_path / "absent.json")).samples())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OURS])
@pytest.mark.parametrize(
    "content", [b"", b"3", b"[]", b"{}", b"[1, 2]", b'[{"id": NaN}]', b"\xff\xfe\x00", b"a,b\n1,2\n"]
)
def test_what_is_no_annotation_file_is_a_data_error(name: str, content: bytes, tmp_path: Path) -> None:
    for suffix in (".json", ".jsonl", ".csv", ".txt"):
        file = tmp_path / f"annotations{suffix}"
        file.write_bytes(content)
        with pytest.raises(DataError):
            list(create_benchmark(name, annotations=str(file)).samples())


# ---- official files ---------------------------------------------------------------------------------------------


def official(name: str, root: Path) -> Any | None:
    """The benchmark over its official file, wherever that is below ``root``; None where it is not there."""
    benchmark: Any = create_benchmark(name, data_dir=str(root))
    try:
        next(iter(benchmark.samples()))
        return benchmark
    except DataError:
        pass
    places = [place for file in getattr(benchmark, "files", ()) for place in sorted(root.glob(f"*/{file}"))]
    for place in places:
        benchmark = create_benchmark(name, annotations=str(place))
        try:
            next(iter(benchmark.samples()))
            return benchmark
        except DataError:
            continue  # a file of that name of another benchmark
    return None


def faults(sample: Sample[Any]) -> list[str]:
    """What is wrong with a sample."""
    found = []
    if not sample.id or not isinstance(sample.id, str):
        found.append("its id is no text")
    if sample.task not in TASKS:
        found.append(f"its task is {sample.task!r}")
    if not sample.question.strip() and not sample.goal.strip():
        found.append("it asks nothing")
    if not all(isinstance(video, str) and video for video in sample.media.videos):
        found.append("a video has no name")
    if not all(isinstance(option, str) for option in sample.options):
        found.append(f"its options are {sample.options}")
    if not isinstance(sample.meta.get("groups", {}), Mapping):
        found.append("its groups are no mapping")
    return found + _target_faults(sample)


def _target_faults(sample: Sample[Any]) -> list[str]:
    target = sample.target
    if target is None:
        return []
    if sample.task == "ask" and sample.options:
        letters = [letter(index) for index in range(len(sample.options))]
        named = isinstance(target, str) and target in (*sample.options, *letters)
        right = isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(sample.options)
        return [] if right or named else [f"its answer {target!r} is none of {len(sample.options)} options"]
    if sample.task == "order":
        return [] if sorted(target) == list(range(1, len(target) + 1)) else [f"its order is {target!r}"]
    if sample.task == "ground":
        curve = isinstance(target, (tuple, list)) and target and all(isinstance(value, float) for value in target)
        return [] if spans_of(target) or curve else [f"its moments are {target!r}"]
    return []


@pytest.mark.data
@pytest.mark.timeout(600)
def test_official_files_give_well_formed_samples(shared_data: Path) -> None:
    started = time.process_time()
    loaded: dict[str, int] = {}
    wrong: dict[str, Counter[str]] = {}
    for name in NAMES:
        benchmark = None if name in OURS else official(name, shared_data / "annotations")
        if benchmark is None:
            continue
        samples = list(benchmark.samples())
        loaded[name] = len(samples)
        assert len({sample.id for sample in samples}) == len(samples) == len(benchmark), name
        counted = Counter(fault for sample in samples for fault in faults(sample))
        if counted:
            wrong[name] = counted
    assert not wrong, {name: counted.most_common(3) for name, counted in wrong.items()}
    assert len(loaded) >= 25, f"only {sorted(loaded)} were found"
    seconds = time.process_time() - started
    assert seconds < MOST_SECONDS, f"{seconds:.0f} s for {loaded}"
