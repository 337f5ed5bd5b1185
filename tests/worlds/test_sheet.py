from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from vidcausal.errors import ConfigError, OutputError, UnknownNameError
from vidcausal.worlds._graph import layout
from vidcausal.worlds._pen import fitted, wide, wrapped
from vidcausal.worlds.annotations import annotate
from vidcausal.worlds.registry import create_world
from vidcausal.worlds.sheet import WIDTH, draw_sheet, save_sheet

# ---- the graph --------------------------------------------------------------------------------------------------


def crossings(plan):
    """Pairs of edge pieces between the same two layers that cross, counted from the routes alone."""
    pieces = [pair for route in plan.routes.values() for pair in itertools.pairwise(route)]
    return sum(
        a[0] == c[0] and (a[1] - c[1]) * (b[1] - d[1]) < 0 for (a, b), (c, d) in itertools.combinations(pieces, 2)
    )


@pytest.mark.parametrize("split", ["test", "composition"])
@pytest.mark.parametrize("name", ["tiny", "collisions", "mechanisms", "procedures"])
def test_causes_stand_left_of_effects(name, split):
    world = create_world(name)
    for seed in range(20):
        model = world.tell(seed, split).model
        plan = layout(list(model.variables), model.edges())
        assert set(plan.places) == set(model.variables)
        assert len(set(plan.places.values())) == len(plan.places), "no two in one place"
        for edge, route in plan.routes.items():
            assert (route[0], route[-1]) == tuple(plan.places[node] for node in edge)
            assert [layer for layer, _ in route] == list(range(route[0][0], route[-1][0] + 1))
        assert {layer for layer, _ in plan.places.values()} == set(range(plan.num_layers))
        assert all(abs(row) <= (plan.num_rows - 1) / 2 for _, row in plan.places.values())


def test_crossing_edges_are_untangled():
    plan = layout(["a", "b", "c", "x", "y", "z"], [("a", "z"), ("b", "y"), ("c", "x")])
    assert crossings(plan) == 0
    tangled = [("a", "y"), ("b", "x"), ("x", "q"), ("y", "p"), ("c", "z"), ("z", "p")]
    assert crossings(layout(["a", "b", "c", "x", "y", "z", "p", "q"], tangled)) == 0


def test_edges_that_skip_layers_go_around_nodes():
    plan = layout(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    route = plan.routes["a", "c"]
    assert len(route) == 3
    assert route[1] != plan.places["b"]


def test_a_late_source_stands_by_its_effect():
    plan = layout(["a", "b", "c", "late", "d"], [("a", "b"), ("b", "c"), ("c", "d"), ("late", "d")])
    assert plan.places["late"][0] == 2


def test_an_empty_graph():
    assert layout([], []).num_layers == 0
    assert layout(["alone"], []).places == {"alone": (0, 0.0)}


# ---- words ------------------------------------------------------------------------------------------------------


def test_words_are_cut_to_their_room():
    long = "the red ball hits the blue box and then the green can"
    assert fitted(long, 15, 1000) == long
    assert wide(fitted(long, 15, 120), 15) <= 120
    assert fitted(long, 15, 120).endswith("…")
    lines = wrapped(long, 15, 120, 9)
    assert " ".join(lines) == long
    assert all(wide(line, 15) <= 120 for line in lines)
    assert len(wrapped(long, 15, 120, 2)) == 2


# ---- the picture ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_sample():
    world = create_world("tiny")
    story = world.tell(1, "test")
    return world, story, annotate(world, story, size=64, fps=8)


def test_all_of_it_is_drawn(tiny_sample):
    world, story, sample = tiny_sample
    page = np.asarray(draw_sheet(world, story, sample))
    assert page.shape[1] == WIDTH
    paper = page[0, 0]
    ink = (np.abs(page.astype(int) - paper).max(axis=2) > 12).any(axis=1)
    assert not ink[-10:].any(), "a margin is left at the end"
    assert ink[-80:].any(), "and the page is not longer than what is on it"


def drawn(tiny_sample, **changes):
    world, story, sample = tiny_sample
    return np.asarray(draw_sheet(world, story, {**sample, **changes}))


def test_the_right_option_is_marked(tiny_sample):
    sample = tiny_sample[2]
    green = np.array((222, 240, 226))
    before = drawn(tiny_sample)
    first = {**sample["questions"][0], "answer": (sample["questions"][0]["answer"] + 1) % 5}
    after = drawn(tiny_sample, questions=[first, *sample["questions"][1:]])
    marked = [(np.abs(page.astype(int) - green).max(axis=2) < 3) for page in (before, after)]
    assert marked[0].sum() == pytest.approx(marked[1].sum(), rel=0.05)
    assert marked[0].sum() > 4000 * len(sample["questions"])
    assert (marked[0] != marked[1]).sum() > 8000, "it moved with the answer"


def test_an_event_is_a_bar_at_its_time(tiny_sample):
    sample = tiny_sample[2]
    before = drawn(tiny_sample)
    later = {**sample["events"][0], "start": sample["events"][0]["start"] + 0.5}
    after = drawn(tiny_sample, events=[later, *sample["events"][1:]])
    columns = np.flatnonzero((before != after).any(axis=(0, 2)))
    per_second = (WIDTH - 80) / sample["duration"]
    left = 40 + per_second * sample["events"][0]["start"]
    assert columns[0] == pytest.approx(left, abs=4)  # making the page smaller spreads an edge over some pixels
    assert columns[-1] == pytest.approx(left + 0.5 * per_second, abs=10)


@pytest.mark.parametrize("name", ["collisions", "mechanisms", "procedures"])
def test_every_world_can_be_drawn(name, tmp_path):
    found = save_sheet(name, 3, "composition", tmp_path / "sheet.png")
    assert found["annotation"]["id"] == f"{name}-composition-000003"
    with Image.open(found["picture"]) as image:
        assert image.width == WIDTH
        assert image.height > 700


# ---- the file ---------------------------------------------------------------------------------------------------


def test_only_own_pictures_are_written_over(tmp_path):
    path = tmp_path / "new" / "a.png"
    save_sheet("tiny", 0, out=path)
    first = path.read_bytes()
    save_sheet("tiny", 0, out=path)
    assert path.read_bytes() == first
    save_sheet("tiny", 1, out=path)
    assert path.read_bytes() != first
    holiday = tmp_path / "holiday.png"
    Image.new("RGB", (4, 4)).save(holiday)
    kept = holiday.read_bytes()
    with pytest.raises(OutputError, match="was not written by"):
        save_sheet("tiny", 0, out=holiday)
    assert holiday.read_bytes() == kept
    save_sheet("tiny", 0, out=holiday, force=True)
    assert holiday.read_bytes() != kept


def test_bad_arguments(tmp_path):
    with pytest.raises(UnknownNameError, match="'tiny'"):
        save_sheet("tinny", 0, out=tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="'test'"):
        save_sheet("tiny", 0, "tst", tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"end in \.png"):
        save_sheet("tiny", 0, out=tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match="seed"):
        save_sheet("tiny", -1, out=tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_sheet("tiny", 0, out=tmp_path / "file" / "a.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
