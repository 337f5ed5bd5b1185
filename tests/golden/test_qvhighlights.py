"""Submissions of three detectors, scored by moment_detr's own scorer: the whole tree of figures."""

from __future__ import annotations

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_every_figure_of_the_recorded_tree_is_equal(index, golden, annotations, shared_data, compared):
    case = golden("qvhighlights")["cases"][index]
    scores = score_file("qvhighlights", shared_data / "golden" / case["predictions"], annotations / case["gt"])
    assert scores.official == case["full"]
    assert list(scores.official) == list(case["full"])
    compared("qvhighlights", len(_leaves(case["full"])))
    for key, value in case["expected_from_repo"].items():
        if key in case["full"]["brief"]:
            assert scores.official["brief"][key] == value
    assert scores.coverage == 1.0


def test_all_recorded_submissions_are_looked_at(golden):
    assert len(golden("qvhighlights")["cases"]) == 3


def test_strict_agrees_where_official_has_no_quirk(golden, annotations, shared_data):
    """Sorted windows of 1,550 answered queries leave both policies nothing to differ in but rounding."""
    case = golden("qvhighlights")["cases"][0]
    scores = score_file("qvhighlights", shared_data / "golden" / case["predictions"], annotations / case["gt"])
    brief = case["full"]["brief"]
    assert scores.strict["mAP"] == pytest.approx(brief["MR-full-mAP"], abs=0.01)
    assert scores.strict["R@1 IoU=0.5"] == pytest.approx(brief["MR-full-R1@0.5"], abs=0.01)
    assert scores.strict["HL-min-VeryGood"]["HL-Hit1"] == pytest.approx(brief["HL-min-VeryGood-Hit1"], abs=0.01)


def _leaves(tree):
    return [tree] if not isinstance(tree, dict) else [leaf for own in tree.values() for leaf in _leaves(own)]
