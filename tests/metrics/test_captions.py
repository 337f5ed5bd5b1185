from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcausal.metrics import caption_tools
from vidcausal.metrics._ptb import ptb_tokens
from vidcausal.metrics.caption_tools import CaptionToolError, Jars, Meteor, find_jars, java_tokens
from vidcausal.metrics.captions import bleu, cider, rouge_l

captions = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(" ".join)
corpora = st.lists(st.tuples(captions, st.lists(captions, min_size=1, max_size=3)), min_size=1, max_size=4)


def _slow_cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D written out as in its paper: vectors over all n-grams of the corpus."""

    def grams(text: str, n: int) -> Counter[str]:
        words = text.split()
        return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    found = []
    for candidate, own in zip(candidates, references, strict=True):
        total = 0.0
        for n in range(1, 5):
            known = {g for refs in references for r in refs for g in grams(r, n)} | set(grams(candidate, n))
            rarity = {
                g: math.log(len(references))
                - math.log(max(1, sum(any(g in grams(r, n) for r in refs) for refs in references)))
                for g in known
            }
            for reference in own:
                a = {g: grams(candidate, n)[g] * rarity[g] for g in known}
                b = {g: grams(reference, n)[g] * rarity[g] for g in known}
                norm = math.sqrt(sum(x * x for x in a.values())) * math.sqrt(sum(x * x for x in b.values()))
                dot = sum(min(a[g], b[g]) * b[g] for g in known)
                pairs = max(0, len(candidate.split()) - 1) - max(0, len(reference.split()) - 1)
                total += (dot / norm if norm else dot) * math.exp(-(pairs**2) / 72) / len(own)
        found.append(10 * total / 4)
    return found


@settings(deadline=None, max_examples=50)
@given(corpora)
def test_cider_against_an_obvious_one(corpus: list[tuple[str, list[str]]]) -> None:
    candidates, references = [c for c, _ in corpus], [r for _, r in corpus]
    assert cider(candidates, references) == pytest.approx(_slow_cider(candidates, references), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(corpora)
def test_the_three_scores_against_the_published_package(corpus: list[tuple[str, list[str]]]) -> None:
    package = pytest.importorskip("pycocoevalcap.cider.cider")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.rouge.rouge import Rouge

    own, refs = [c for c, _ in corpus], [r for _, r in corpus]
    gts, res = dict(enumerate(refs)), {i: [c] for i, c in enumerate(own)}
    assert cider(own, refs) == pytest.approx(list(package.Cider().compute_score(gts, res)[1]), abs=1e-9)
    assert bleu(own, refs) == pytest.approx(Bleu(4).compute_score(gts, res, verbose=0)[0], abs=1e-9)
    assert rouge_l(own, refs) == pytest.approx(list(Rouge().compute_score(gts, res)[1]), abs=1e-9)


def test_an_equal_caption_is_ten_and_a_foreign_one_nothing() -> None:
    scores = cider(["a b c d e", "x y"], [["a b c d e"], ["f g h"]])
    assert scores == pytest.approx([10, 0])
    with pytest.raises(ValueError, match="no reference caption has a word"):
        cider(["a"], [[""]])


def test_empty_captions() -> None:
    assert cider(["", "a"], [["b c"], ["a"]])[0] == 0
    assert rouge_l([""], [["a b"]]) == [0]
    assert all(score < 1e-3 for score in bleu([""], [["a b"]]))


# ---- tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man, in a U.S. kitchen!", "a man in a u.s. kitchen"),
        ("It's Mr. Smith's dog; they don't, cannot", "it 's mr. smith 's dog they do n't can not"),
        ('He says "stop" (twice)...', "he says stop -lrb- twice -rrb-"),
        ("add 1/2 cup at 3.50$ -- well", "add 1/2 cup at 3.50 $ well"),
        ("half-and-half, a/b & 10%", "half-and-half a/b & 10 %"),
        ("what?! ... #tag", "what ?! #tag"),
        ("", ""),
    ],
)
def test_tokens_without_java(caption: str, tokens: str) -> None:
    assert ptb_tokens(caption) == tokens


def _jars() -> Jars:
    try:
        return find_jars()
    except CaptionToolError as error:
        pytest.skip(str(error))


def test_tokens_without_java_are_those_of_java() -> None:
    caps = [
        "It's Mr. Smith's dog; they don't, cannot",
        "add 1/2 cup at 3.50$ -- well",
        "what?! ... #tag",
        "",
        "(x) [y]",
    ]
    assert [ptb_tokens(c) for c in caps] == java_tokens(caps, _jars())
    assert java_tokens([], _jars()) == []


def test_an_odd_line_end_shifts_the_lines_after_it() -> None:
    assert java_tokens(["a\x0cb", "c", "d"], _jars())[:2] != ["a b", "c"]
    assert java_tokens(["a\nb", "c"], _jars()) == ["a b", "c"]


# ---- METEOR -----------------------------------------------------------------------------------------------------


def test_meteor_and_what_it_does_when_it_is_ended() -> None:
    with Meteor(_jars(), timeout=600) as meteor:
        together, each = meteor.score(["a man cuts", "x", ""], [["a man cuts"], ["a man"], ["y"]])
        assert each[0] == 1
        assert each[1:] == [0, 0]
        assert 0 < together < 1
        assert meteor.score([], []) == (0, [])
        again = meteor.score(["a man cuts"], [["a man cuts", "someone cuts"]])
        assert again == (1, [1])
        meteor._process.kill()
        with pytest.raises(CaptionToolError, match="METEOR"):
            meteor.score(["other words"], [["another caption"]])


def test_meteor_that_takes_too_long() -> None:
    with Meteor(_jars(), timeout=0.05) as meteor, pytest.raises(CaptionToolError, match=r"within 0\.05 s"):
        meteor.score(["a"], [["b"]])


def test_without_java_nothing_is_called_meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_tools.shutil, "which", lambda name: None)
    with pytest.raises(CaptionToolError, match="no Java runtime"):
        find_jars()
    with caption_tools.caption_tools() as tools:
        assert tools.meteor is None
        assert tools.tokenize(["A man."]) == ["a man"]
        assert any("METEOR" in note and "not computed" in note for note in tools.notes)
        assert any("tokenized without" in note for note in tools.notes)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_tools.shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setattr(caption_tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CaptionToolError, match=r"vidcausal\[captions\]"):
        find_jars()


def test_java_that_cannot_be_started(tmp_path: object) -> None:
    from pathlib import Path

    nothing = Jars("/nonexistent/java", Path(str(tmp_path)) / "m.jar", Path(str(tmp_path)) / "t.jar")
    with pytest.raises(CaptionToolError, match="could not be started"):
        Meteor(nothing)
    with pytest.raises(CaptionToolError, match="tokenizer failed"):
        java_tokens(["a"], nothing)
